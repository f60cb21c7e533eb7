"""What segmentation shows: maps in colours with their legend, outlines against insides; and classes one by one."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import numbers, selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import CARD, INK, QUIET, WIDTH, card, colour, styled
from blurnb.report.tables.segmentation import class_changes

VOID = 255
_TWENTY = [to_rgb(one) for one in (*colormaps["tab20"].colors[::2], *colormaps["tab20"].colors[1::2])]
"""Strong colours first, then their pale ones; a class keeps its colour in every picture of a run."""


def class_colours(count: int) -> np.ndarray:
    """(count, 3) in [0, 1]; the first, often the background, is dark grey from the thirteenth class on."""
    chosen = _TWENTY if count <= 12 else [to_rgb("#3b3b40"), *_TWENTY]
    return np.array([chosen[place % len(chosen)] for place in range(count)])


def coloured(maps: np.ndarray, count: int) -> np.ndarray:
    """A label map (H, W) as a picture (H, W, 3); void is white."""
    return np.vstack([class_colours(count), np.ones((VOID + 1 - count, 3))])[maps]


@styled
def gallery(examples: Mapping) -> Figure:
    """Image, truth and each network's answer in columns, sharp and blurred in rows; below, the classes that appear.

    Parameters
    ----------
    examples
        `classes`, `columns` (names of the networks) and `rows`, each with `blur`, `image` (H, W, 3) in [0, 1], `truth`
        and `answers` (label maps (H, W), one a network).
    """
    classes, rows = examples["classes"], examples["rows"]
    titles = ["image", "truth", *(f"{name} network" for name in examples["columns"])]
    shown = sorted({int(v) for row in rows for one in (row["truth"], *row["answers"]) for v in np.unique(one)})
    side = (WIDTH - 0.25) / len(titles)
    heights = [side * row["truth"].shape[0] / row["truth"].shape[1] for row in rows]
    lines = math.ceil(len(shown) / 4)
    figure = card(sum(heights) + 0.03 * len(rows) + 0.25 + 0.2 * lines + 0.1)
    figure.get_layout_engine().set(h_pad=0.015, w_pad=0.01, hspace=0, wspace=0)
    grid = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row in zip(grid, rows):
        line[0].imshow(np.clip(row["image"], 0, 1), interpolation="antialiased")
        for axes, one in zip(line[1:], (row["truth"], *row["answers"])):
            axes.imshow(coloured(one, len(classes)), interpolation="nearest")
        for axes in line:
            marks.bare(axes)
        line[0].set_ylabel(row["blur"], color=colour(row["blur"]), fontsize=9, labelpad=2)
    for axes, title in zip(grid[0], titles):
        axes.set_title(title, loc="center", fontsize=8.5, pad=3)
    named = dict(enumerate(zip(classes, class_colours(len(classes))))) | {VOID: ("void", "white")}
    patches = [Patch(label=named[v][0], facecolor=named[v][1], edgecolor=QUIET, linewidth=0.4) for v in shown]
    tight = {"handlelength": 1.1, "columnspacing": 1.2, "handletextpad": 0.5, "borderpad": 0.1, "labelspacing": 0.3}
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=8, **tight)
    return figure


@styled
def by_region(rows: pd.DataFrame, metric: str = "miou") -> Figure:
    """Near the outlines of the label map and inside them: before (pale) and after training on the mix, by blur.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A key of METRICS.
    """
    wanted = {"metric": metric, "training": ["sharp", "mix"], **marks.WHOLE, "part_kind": "region"}
    found = marks.plain_at(rows, "by_region", None, **wanted)
    blurs = labels.in_order(found["blur"])
    figure, grid = marks.panels(2, 0.3 * len(blurs) + 1.35, 2, sharex=True, sharey=True)
    for axes, region in zip(grid, ("boundary", "interior")):
        places = marks.blur_axis(axes, blurs)
        parts = (selection.select(found, part=region, training=training) for training in ("sharp", "mix"))
        marks.pair(axes, *(marks.points(part, metric) for part in parts), places)
        axes.set(title=region, xlabel=METRICS[metric].along)
    axes.set_xlim(0, None)
    marks.subtitle(figure, found, marks.at_scale(found), *marks.PAIR)
    return figure


RINGS = {"o": "ring", "s": "square", "^": "triangle", "D": "diamond"}


@styled
def share_kept(rows: pd.DataFrame, classification: pd.DataFrame, metric: str = "top1") -> Figure:
    """Share of the sharp score kept: mIoU (full) beside the accuracy of RQ2's networks (hollow), before and after.

    Parameters
    ----------
    rows
        Answers of one network of RQ5 on one data set.
    classification
        The rows of RQ2, a mark for each network and data set in it; empty leaves them out. They stand beside the same
        blur relative to the image: D2 in a frame of 128 beside D8.
    metric
        That of the classification.
    """
    found = _first_scale(marks.need(rows, "share_kept", metric="miou", **marks.WHOLE))
    selection.one_source(found, "share_kept")
    blurs = [b for b in labels.in_order(found["blur"]) if b != "sharp"]
    same = selection.in_frame(classification, found["frame"].iloc[0])
    classified = selection.select(same, metric=metric, **marks.WHOLE)
    beside = {
        (network, data): part
        for network, data, part in selection.grouped(classified)
        if set(_first_scale(part)["blur"]) & set(blurs)
    }
    mine = selection.select(rows, metric="miou", **marks.WHOLE)
    figure, grid = marks.panels(2, 0.34 * len(blurs) + 1.45, 2, sharex=True, sharey=True)
    low = 100.0
    for axes, training in zip(grid, ("sharp", "mix")):
        places = marks.blur_axis(axes, blurs)
        shares = [_shares(part, training, blurs) for part in (mine, *beside.values())]
        low = min([low, *(share[1] for one in shares for share in one.values() if np.isfinite(share[1]))])
        marks.dots(axes, shares[0], {b: y - 0.18 for b, y in places.items()}, joined=False)
        for place, (mark, one) in enumerate(zip(RINGS, shares[1:])):
            style = {"fmt": mark, "color": QUIET, "markerfacecolor": CARD, "markeredgecolor": INK, "markersize": 5}
            for blur, share in one.items():
                where = share[0], places[blur] + 0.1 + 0.2 * place
                axes.errorbar(*where, xerr=marks.whisker(share), elinewidth=1, gid="classification", **style)
        axes.axvline(100, color=QUIET, linewidth=0.8, zorder=0)
        axes.set(title=f"trained on {training}", xlabel="share of sharp score kept, %", xlim=(max(0.0, low - 5), None))
    score = METRICS[metric].spoken
    named = [f"{RINGS[mark]}: {score} of {network} on {data}" for mark, (network, data) in zip(RINGS, beside)]
    marks.subtitle(figure, found, "full: mIoU", *named, "bar: 95 % interval")
    return figure


def _shares(rows: pd.DataFrame, training: str, blurs: list[str]) -> dict[str, marks.Triple]:
    """Share of the sharp network's score on sharp images that `training` keeps under each of the blurs, %."""
    found = selection.main_protocol(_first_scale(rows))
    known = {blur: selection.share_kept(found, blur, training, "sharp") for blur in blurs}
    return {blur: marks.percent(share, "top1") for blur, share in known.items() if share is not None}


def _first_scale(rows: pd.DataFrame) -> pd.DataFrame:
    return selection.select(rows, scale=labels.scales_in_order(rows["scale"])[0])


@styled
def most_affected(rows: pd.DataFrame, count: int = 12) -> Figure:
    """Sharp accuracy (hollow) and accuracy under blur (filled) of the `count` classes that lose most, worst on top.

    The bar is the 95 % interval of the paired loss, drawn from the sharp mark.

    Parameters
    ----------
    rows
        Answers by class of one network on one data set, at one scale.
    count
        How many classes at most.

    Raises
    ------
    UserError
        No class has rows of its own.
    """
    if (found := class_changes(rows).head(count)).empty:
        raise UserError("most_affected needs rows by class: at least five images of a class, sharp and blurred")
    figure, (axes,) = marks.panels(1, 0.3 * len(found) + 1.2)
    ink = colour(found["blur"].iloc[0])
    for place, line in enumerate(found.itertuples()):
        start, change = 100 * line.sharp[0], marks.percent(line.change, "top1")
        axes.plot([start, start + change[0]], [place, place], color=ink, linewidth=1, alpha=0.5, zorder=1)
        axes.plot(start, place, "o", markersize=5.5, markerfacecolor="none", markeredgecolor=QUIET, zorder=3)
        end = start + change[0]
        bar = marks.whisker((end, start + change[1], min(start + change[2], 100.0)))
        axes.errorbar(end, place, xerr=bar, fmt="o", color=ink, markersize=5.5, elinewidth=1.4, zorder=3)
    axes.set_yticks(range(len(found)), [name.replace("$", r"\$")[:32] for name in found["class"]], color=INK)
    marks.down(axes, len(found) - 0.4, -0.6)
    axes.set(xlim=(-3, 103), xlabel=METRICS["top1"].along)
    source = selection.one_source(selection.select(rows, part_kind="class"), "most_affected")
    terms = f"{numbers.counted(found['n'])} a class", f"scale {found['scale'].iloc[0]}", "hollow: sharp"
    blurred = f"filled: {found['blur'].iloc[0]}", "bar: 95 % interval of the change"
    marks.subtitle(figure, *source, *terms, *blurred)
    return figure
