"""Figures from records: the blur's colour is the same in all of them, and each states network, data and n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb.errors import UserError
from blurnb.report import paper, selection
from blurnb.report.palette import CARD, HAIR, INK, QUIET, WIDTH, card, colour, marker, styled

AXES = {
    "top1": "top-1 accuracy, %",
    "top5": "top-5 accuracy, %",
    "entropy": "entropy of the answer, nats",
    "p_true": "probability of the true class, %",
    "miou": "mIoU, %",
    "cosine": "cosine similarity with the sharp twin",
    "cka": "linear CKA with the sharp twins",
}
PERCENT = ("top1", "top5", "p_true", "miou", "pixel_accuracy", "top1_change", "top5_change")


def _need(rows: pd.DataFrame, what: str, **wanted) -> pd.DataFrame:
    found = selection.select(rows, **wanted)
    if found.empty:
        terms = ", ".join(
            f"{k} {v if isinstance(v, str) else ' or '.join(map(str, v))}".strip() for k, v in wanted.items()
        )
        raise UserError(f"{what} has no rows with {terms}; run the notebook that writes them or pass other records")
    return found


def _plain(rows: pd.DataFrame, what: str, **wanted) -> pd.DataFrame:
    found = _need(rows, what, versus="", **wanted)
    return found[found["seen"] == selection.main_view(found)]


def _points(rows: pd.DataFrame, metric: str) -> dict[str, tuple[float, float, float]]:
    """(value, low, high) by blur label, in order, percent where the metric is a share."""
    factor = 100 if metric in PERCENT else 1
    found = {}
    for blur in selection.in_order(rows["blur"]):
        value, low, high = selection.estimate(rows[rows["blur"] == blur])
        found[blur] = (factor * value, factor * low, factor * high)
    return found


def _subtitle(figure: Figure, rows: pd.DataFrame, *more: str) -> None:
    """Network, data and n, which no figure may leave out, small above the panels."""
    network = ", ".join(sorted(set(rows["network"])))
    data = ", ".join(sorted(set(rows["dataset"])))
    counts = sorted(set(rows["n"]))
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    figure.suptitle(" · ".join([network, data, f"n = {n}", *more]), x=0.02, ha="left", fontsize=9, color=QUIET)


def _whisker(point: tuple[float, float, float]) -> np.ndarray | None:
    value, low, high = point
    if math.isnan(low) or math.isnan(high):
        return None
    return np.array([[max(0.0, value - low)], [max(0.0, high - value)]])


def _dots(axes, points: Mapping[str, tuple[float, float, float]], places: Mapping[str, float], **style) -> None:
    """One dot with whiskers for each blur at its height; a thin line joins the doses of a family."""
    for family in selection.FAMILIES:
        joined = [b for b in points if selection.family(b) == family and not math.isnan(selection.strength(b))]
        if len(joined) > 1 and family in ("defocus", "gaussian"):
            axes.plot(
                [points[b][0] for b in joined],
                [places[b] for b in joined],
                color=colour(joined[0]),
                linewidth=1,
                alpha=0.5,
                zorder=1,
                gid="family",
            )
    for blur, point in points.items():
        axes.errorbar(
            point[0],
            places[blur],
            xerr=_whisker(point),
            fmt=marker(blur),
            color=colour(blur),
            markersize=5.5,
            elinewidth=1.6,
            capsize=0,
            zorder=3,
            label=f"ours {blur}",
            **style,
        )


def _blur_axis(axes, blurs: Sequence[str]) -> dict[str, float]:
    """Blur labels down the y axis, each in its family's colour, sharp on top; returns their heights."""
    places, height = {}, 0.0
    for i, blur in enumerate(blurs):
        if i and selection.family(blur) != selection.family(blurs[i - 1]):
            height += 0.5
        places[blur] = height
        height += 1
    axes.set_yticks(list(places.values()), list(places))
    for text, blur in zip(axes.get_yticklabels(), blurs):
        text.set_color(colour(blur))
        text.set_fontweight("bold")
    axes.set_ylim(height - 0.3, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return places


@styled
def contact_sheet(
    images: Sequence[Sequence[np.ndarray]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    captions: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Photographs (rows) under blurs (columns); `images[i][j]` float HWC, `captions[i][j]` below it."""
    rows, columns = len(row_titles), len(column_titles)
    if not rows or not columns:
        raise UserError("contact_sheet needs at least one row and one column of images")
    if len(images) != rows or any(len(line) != columns for line in images):
        raise UserError(f"contact_sheet needs {rows} x {columns} images, one for each row and column title")
    first = np.asarray(images[0][0])
    if first.ndim != 3 or first.shape[2] not in (1, 3):
        raise UserError(f"contact_sheet takes images of shape (height, width, 3), not {first.shape}")
    side = (WIDTH - 0.25) / columns
    heights = [side * np.asarray(line[0]).shape[0] / np.asarray(line[0]).shape[1] for line in images]
    below = 0.22 if captions is not None else 0.03
    figure = card(sum(heights) + rows * below + 0.3)
    figure.get_layout_engine().set(h_pad=0.01, w_pad=0.01, hspace=0, wspace=0)
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    small = 9 if columns <= 5 else 7.5
    for i, line in enumerate(images):
        for j, image in enumerate(line):
            axes = grid[i][j]
            array = np.clip(np.asarray(image, dtype=float), 0, 1)
            axes.imshow(array.squeeze(), cmap="gray" if array.shape[2] == 1 else None, vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if captions is not None:
                axes.set_xlabel(captions[i][j], fontsize=small, labelpad=2)
            if i == 0:
                axes.set_title(
                    column_titles[j], loc="center", fontsize=small + 0.5, color=_known(column_titles[j]), pad=3
                )
        grid[i][0].set_ylabel(row_titles[i], fontsize=small, labelpad=2)
    return figure


def _known(label: str) -> str:
    try:
        return colour(label)
    except UserError:
        return INK


@styled
def kernels(named: Mapping[str, np.ndarray]) -> Figure:
    """Kernels side by side on one pixel scale, each in full range, darker where more light falls; with a pixel bar."""
    if not named:
        raise UserError("kernels needs at least one named array; pass {'D8': array}")
    for label, kernel in named.items():
        if np.ndim(kernel) != 2:
            raise UserError(f"kernel {label!r} must be a two-dimensional array, not of shape {np.shape(kernel)}")
    side = max(max(k.shape) for k in named.values())
    side += 2 if side % 2 else 3
    columns = min(4, len(named))
    lines = math.ceil(len(named) / columns)
    figure = card(lines * (WIDTH / columns + 0.22) + 0.25)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[len(named) :]:
        axes.set_visible(False)
    bar = next(b for b in (2, 5, 10, 20, 50, 100, 200) if b * 5 >= side or b == 200)
    for axes, (label, kernel) in zip(grid, named.items()):
        page = np.zeros((side, side))
        top, left = (side - kernel.shape[0]) // 2, (side - kernel.shape[1]) // 2
        page[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
        # The root shows the faint tails that a linear scale would drown.
        axes.imshow(np.sqrt(page / page.max()), cmap=_shade(_known(label)), vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(label, loc="center", fontsize=10, color=_known(label), pad=3)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_edgecolor(HAIR)
    first = grid[0]
    first.plot([0.5, 0.5 + bar], [side - 2, side - 2], color=INK, linewidth=2, solid_capstyle="butt", gid="scale bar")
    first.text(0.5, side - 2.6, f"{bar} px", ha="left", va="bottom", fontsize=9)
    figure.suptitle(
        f"all at one scale, {side} frame pixels wide · shade: square root of the weight",
        x=0.02,
        ha="left",
        fontsize=9,
        color=QUIET,
    )
    return figure


def _shade(ink: str):
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shade", [CARD, ink])


@styled
def accuracy_by_blur(rows: pd.DataFrame, metric: str = "top5", training: str = "sharp", compare: bool = True) -> Figure:
    """Accuracy under each blur, a panel for each scale: ours filled with intervals, the paper's hollow.

    Rows of one network on one data set; the paper is drawn only for `metric` top5 and where it has the condition.
    """
    found = _plain(rows, "accuracy_by_blur", metric=metric, training=training)
    selection.one_source(found, "accuracy_by_blur")
    scales = selection.scales_in_order(found["scale"])
    blurs = selection.in_order(found["blur"])
    columns = 1 if len(scales) == 1 else 2
    lines = math.ceil(len(scales) / columns)
    figure = card(lines * (0.26 * len(blurs) + 0.95) + 0.4)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(scales) :]:
        axes.set_visible(False)
    hollow = 0
    for axes, scale in zip(grid, scales):
        places = _blur_axis(axes, blurs)
        here = found[found["scale"] == scale]
        _dots(axes, _points(here, metric), places)
        for one in paper.published(scale, training=training).itertuples() if compare and metric == "top5" else ():
            if one.blur in places:
                hollow += 1
                axes.plot(
                    one.top5_percent,
                    places[one.blur],
                    marker="o",
                    markersize=8.5,
                    markerfacecolor="none",
                    markeredgecolor=INK,
                    markeredgewidth=1.1,
                    linestyle="none",
                    zorder=4,
                    gid="paper",
                )
        axes.set_title(f"scale {scale}")
        axes.set_xlim(-3, 103)
        axes.set_xticks([0, 25, 50, 75, 100])
    for axes in grid[max(0, len(scales) - columns) : len(scales)]:
        axes.set_xlabel(AXES.get(metric, metric))
        axes.tick_params(labelbottom=True)
    key = ["bar: 95 % interval"] + (["ring: the paper"] if hollow else [])
    _subtitle(figure, found, *key)
    return figure


@styled
def confidence(rows: pd.DataFrame, scale: str | None = None, training: str = "sharp") -> Figure:
    """Entropy and probability of the true class under each blur at one scale (256 where present, else the first)."""
    found = _need(rows, "confidence", metric=["entropy", "p_true"], training=training, versus="")
    selection.one_source(found, "confidence")
    have = selection.scales_in_order(found["scale"])
    scale = scale or ("256" if "256" in have else have[0])
    found = _need(found, "confidence", scale=scale)
    blurs = selection.in_order(found["blur"])
    figure = card(0.26 * len(blurs) + 1.3)
    for axes, metric in zip(figure.subplots(1, 2, sharey=True), ("entropy", "p_true")):
        here = _plain(found, "confidence", metric=metric)
        _dots(axes, _points(here, metric), _blur_axis(axes, blurs))
        axes.set_xlim(left=0)
        if metric == "p_true":
            axes.set_xlim(0, 100)
        axes.set_xlabel({"entropy": "entropy, nats", "p_true": "p(true class), %"}[metric])
    _subtitle(figure, found, f"scale {scale}", "bar: 95 % interval")
    return figure
