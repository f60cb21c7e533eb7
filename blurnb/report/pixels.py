"""What segmentation shows: maps in colours with their legend, outlines against insides, classes one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report import selection, tables
from blurnb.report.marks import AXES, blur_axis, dots, need, one_scale, points, subtitle, whisker
from blurnb.report.palette import CARD, INK, QUIET, WIDTH, card, colour, styled

VOID = 255
_TWENTY = [to_rgb(one) for one in (*colormaps["tab20"].colors[::2], *colormaps["tab20"].colors[1::2])]
"""Strong colours first, then their pale ones; a class keeps its colour in every picture of a run."""


def class_colours(count: int) -> np.ndarray:
    """(count, 3) in [0, 1]; the first, often the background, is dark grey from the thirteenth class on."""
    chosen = _TWENTY if count <= 12 else [to_rgb("#3b3b40"), *_TWENTY]
    return np.array([chosen[place % len(chosen)] for place in range(count)])


def coloured(labels: np.ndarray, count: int) -> np.ndarray:
    """A label map (H, W) as a picture (H, W, 3); void is white."""
    if labels.size and labels[labels != VOID].max(initial=0) >= count:
        raise UserError(f"a map holds label {labels[labels != VOID].max()}, the classes end at {count - 1}")
    table = np.vstack([class_colours(count), np.ones((VOID + 1 - count, 3))])
    return table[labels]


@styled
def gallery(examples: Mapping) -> Figure:
    """Image, truth and each network's answer in columns, sharp and blurred in rows; below, the classes that appear.

    `examples` has `classes`, `columns` (names of the networks) and `rows`, each with `blur`, `image` (H, W, 3), `truth`
    and `answers` (label maps, one a network).
    """
    classes, rows = examples["classes"], examples["rows"]
    if not rows:
        raise UserError("gallery needs at least one image; raise n_images")
    titles = ["image", "truth", *(f"{name} network" for name in examples["columns"])]
    shown = sorted({int(v) for row in rows for one in (row["truth"], *row["answers"]) for v in np.unique(one)})
    legend = [v for v in shown if v != VOID]
    side = (WIDTH - 0.25) / len(titles)
    heights = [side * row["truth"].shape[0] / row["truth"].shape[1] for row in rows]
    lines = -(-(len(legend) + (VOID in shown)) // 4)
    figure = card(sum(heights) + 0.03 * len(rows) + 0.25 + 0.2 * lines + 0.1)
    figure.get_layout_engine().set(h_pad=0.015, w_pad=0.01, hspace=0, wspace=0)
    grid = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row in zip(grid, rows):
        pictures = [
            np.clip(row["image"], 0, 1),
            *(coloured(one, len(classes)) for one in (row["truth"], *row["answers"])),
        ]
        for axes, picture in zip(line, pictures):
            axes.imshow(picture, interpolation="nearest" if picture is not pictures[0] else "antialiased")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
        line[0].set_ylabel(row["blur"], color=colour(row["blur"]), fontsize=9, labelpad=2)
    for axes, title in zip(grid[0], titles):
        axes.set_title(title, loc="center", fontsize=8.5, pad=3)
    colours = class_colours(len(classes))
    patches = [Patch(facecolor=colours[v], edgecolor=QUIET, linewidth=0.4, label=classes[v]) for v in legend]
    if VOID in shown:
        patches.append(Patch(facecolor="white", edgecolor=QUIET, linewidth=0.4, label="void"))
    figure.legend(
        handles=patches, loc="outside lower center", ncols=4, fontsize=8, handlelength=1.1, columnspacing=1.2,
        handletextpad=0.5, borderpad=0.1, labelspacing=0.3,
    )  # fmt: skip
    return figure


@styled
def by_region(rows: pd.DataFrame, metric: str = "miou", before: str = "sharp", after: str = "mix") -> Figure:
    """Near the outlines of the label map and inside them: before (pale) and after training on the mix, by blur."""
    found = need(rows, "by_region", metric=metric, versus="", training=[before, after], seen=["boundary", "interior"])
    selection.one_source(found, "by_region")
    found = one_scale(found, "by_region", None)
    blurs = selection.in_order(found["blur"])
    figure = card(0.3 * len(blurs) + 1.35)
    for axes, region in zip(figure.subplots(1, 2, sharex=True, sharey=True), ("boundary", "interior")):
        places = blur_axis(axes, blurs)
        for training, shift, style in (
            (before, 0.13, {"markerfacecolor": CARD, "markeredgewidth": 1.3, "elinewidth": 1.1, "alpha": 0.75}),
            (after, -0.13, {}),
        ):
            part = found[(found["seen"] == region) & (found["training"] == training)]
            if len(part):
                dots(axes, points(part, metric), {b: y + shift for b, y in places.items()}, joined=False, **style)
        axes.set_title(region)
        axes.set_xlabel(AXES.get(metric, metric))
    axes.set_xlim(0, None)
    subtitle(
        figure, found, f"scale {found['scale'].iloc[0]}", f"hollow: trained on {before}", f"full: trained on {after}",
        "bar: 95 % interval",
    )  # fmt: skip
    return figure


def kept(rows: pd.DataFrame, metric: str, training: str) -> dict[str, tuple[float, float, float]]:
    """Share of the sharp network's score on sharp images that `training` keeps under each blur, with interval."""
    found = selection.select(rows, metric=metric, versus="", training=[training, "sharp"])
    found = found[found["seen"] == selection.main_view(found)]
    sharp = selection.estimate(selection.select(found, training="sharp", blur="sharp"))
    own = found[found["training"] == training]
    if sharp is None or own.empty:
        return {}
    return {
        blur: intervals.share_kept(sharp, selection.estimate(own[own["blur"] == blur]))
        for blur in selection.in_order(own["blur"])
    }


def _first_scale(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    scored = rows[rows["metric"] == metric]
    return rows if scored.empty else selection.select(rows, scale=selection.scales_in_order(scored["scale"])[0])


RINGS = {"o": "ring", "s": "square", "^": "triangle", "D": "diamond"}


@styled
def share_kept(rows: pd.DataFrame, classification: pd.DataFrame, metric: str = "top1") -> Figure:
    """Share of the sharp score kept: mIoU (full) beside the accuracy of RQ2's networks (hollow), before and after.

    `classification` are the rows of RQ2, a mark for each network and data set in it; empty leaves them out. They stand
    beside the same blur relative to the image: D2 in a frame of 128 beside D8.
    """
    classification = selection.in_papers_frame(classification)
    found = _first_scale(need(rows, "share_kept", metric="miou", versus="", seen="all"), "miou")
    selection.one_source(found, "share_kept")
    blurs = [b for b in selection.in_order(found["blur"]) if b != "sharp"]
    beside = {
        source: _first_scale(part, metric)
        for source, part in classification.groupby(["network", "dataset"], sort=True)
        if (part["metric"] == metric).any() and set(part["blur"]) & set(blurs)
    }
    figure = card(0.34 * len(blurs) + 1.45)
    low = 100.0
    for axes, training in zip(figure.subplots(1, 2, sharex=True, sharey=True), ("sharp", "mix")):
        places = blur_axis(axes, blurs)
        shares = _percent(kept(found, "miou", training), blurs)
        dots(axes, shares, {b: y - 0.18 for b, y in places.items()}, joined=False)
        low = min([low, *(share[1] for share in shares.values() if np.isfinite(share[1]))])
        for place, (mark, part) in enumerate(zip(RINGS, beside.values())):
            shares = _percent(kept(part, metric, training), blurs)
            low = min([low, *(share[1] for share in shares.values() if np.isfinite(share[1]))])
            for blur, share in shares.items():
                axes.errorbar(
                    share[0], places[blur] + 0.1 + 0.2 * place, xerr=whisker(share), fmt=mark, color=QUIET,
                    markerfacecolor=CARD, markeredgecolor=INK, markersize=5, elinewidth=1, gid="classification",
                )  # fmt: skip
        axes.axvline(100, color=QUIET, linewidth=0.8, zorder=0)
        axes.set_title(f"trained on {training}")
        axes.set_xlabel("share of sharp score kept, %")
        axes.set_xlim(max(0.0, low - 5), None)
    named = [
        f"{RINGS[mark]}: {metric.replace('top', 'top-')} of {network} on {dataset}"
        for mark, (network, dataset) in zip(RINGS, beside)
    ]
    subtitle(figure, found, "full: mIoU", *named, "bar: 95 % interval")
    return figure


def _percent(shares: Mapping, blurs: Sequence[str]) -> dict[str, tuple[float, ...]]:
    return {blur: tuple(100 * end for end in shares[blur]) for blur in blurs if blur in shares}


def by_class(rows: pd.DataFrame, blur: str = "D8") -> pd.DataFrame:
    """IoU of each class, sharp and under `blur`, of the sharp and the mix network, and what the mix adds under blur.

    The gain is the difference of the two columns before it, without an interval; n is that of the set.
    """
    found = need(rows, "the table of classes", metric="iou", versus="", training=["sharp", "mix"])
    selection.one_source(found, "the table of classes")
    if blur not in set(found["blur"]):
        raise UserError(f"the table of classes has no rows under {blur}; there: {', '.join(set(found['blur']))}")
    lines = []
    order = dict.fromkeys(found["seen"])
    for name in order:
        part = found[found["seen"] == name]
        n, line, ends = int(part["n"].max()), {"class": name}, {}
        for label in ("sharp", blur):
            for training in ("sharp", "mix"):
                one = selection.estimate(selection.select(part, training=training, blur=label))
                ends[training, label] = one
                shown = "–" if one is None else tables.interval(*one, n, "iou")
                line[f"{label}: {training} network"] = shown
        pair: Sequence = [ends[t, blur] for t in ("mix", "sharp")]
        gain = np.nan if None in pair else pair[0][0] - pair[1][0]
        line[f"gain under {blur}"] = tables.number(gain, n, "iou", signed=True)
        lines.append(line | {"n": f"{n:,}"})
    return pd.DataFrame(lines)
