"""The marks that figures share: which rows to draw, the axis of blurs, dots with whiskers, the line that states n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blurnb.errors import UserError
from blurnb.report import selection
from blurnb.report.palette import QUIET, colour, marker

AXES = {
    "top1": "top-1 accuracy, %",
    "top5": "top-5 accuracy, %",
    "entropy": "entropy, nats",
    "p_true": "p(true class), %",
    "ece": "calibration error, %",
    "miou": "mIoU, %",
    "cosine": "cosine similarity with the sharp twin",
    "cka": "linear CKA with the sharp twins",
    "psnr": "PSNR, dB",
}
PERCENT = ("top1", "top5", "p_true", "ece", "miou", "pixel_accuracy", "top1_change", "top5_change", "miou_change")

Triple = tuple[float, float, float]


def need(rows: pd.DataFrame, what: str, **wanted) -> pd.DataFrame:
    """The rows that match; UserError naming what is missing where none does."""
    found = selection.select(rows, **wanted)
    if found.empty:
        terms = [f"{k} {v if isinstance(v, str) else ' or '.join(v)}" for k, v in wanted.items() if v not in ("", None)]
        raise UserError(f"{what} has no rows with {', '.join(terms)}; run the notebook that writes them")
    return found


def plain(rows: pd.DataFrame, what: str, **wanted) -> pd.DataFrame:
    """The rows of one network on one data set in its main view, without comparisons."""
    found = need(rows, what, versus="", **wanted)
    found = found[found["seen"] == selection.main_view(found)]
    selection.one_source(found, what)
    return found


def one_scale(rows: pd.DataFrame, what: str, scale: str | None) -> pd.DataFrame:
    """The rows at `scale`; without one at 256, the paper's main scale, where present, else at the first."""
    have = selection.scales_in_order(rows["scale"])
    return need(rows, what, scale=scale or ("256" if "256" in have else have[0]))


def points(rows: pd.DataFrame, metric: str, by: str = "blur") -> dict[str, Triple]:
    """(value, low, high) by label of the column `by`, blurs in order; percent where the metric is a share."""
    factor = 100 if metric in PERCENT else 1
    labels = selection.in_order(rows["blur"]) if by == "blur" else list(dict.fromkeys(rows[by]))
    return {label: tuple(factor * end for end in selection.estimate(rows[rows[by] == label])) for label in labels}


def subtitle(figure: Figure, rows: pd.DataFrame | str, *more: str) -> None:
    """Network, data and n, which no figure may leave out, small above the panels; wrapped to the figure's width."""
    if isinstance(rows, str):
        parts = [rows, *more]
    else:
        counts = sorted(set(rows["n"]))
        n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        names = [", ".join(sorted(set(rows[c]))) for c in ("network", "dataset")]
        parts = [*names, f"n = {n}", *more]
    width, lines = int(figure.get_size_inches()[0] * 12.6), []
    for part in filter(None, (part.replace("$", r"\$") for part in parts)):  # a file name is no formula
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=9, color=QUIET, linespacing=1.35)


def whisker(point: Triple) -> np.ndarray | None:
    """Lengths (2, 1) below and above for errorbar; None without an interval."""
    value, low, high = point
    if math.isnan(low) or math.isnan(high):
        return None
    return np.array([[max(0.0, value - low)], [max(0.0, high - value)]])


def dots(axes: Axes, found: Mapping[str, Triple], places: Mapping[str, float], joined: bool = True, **style) -> None:
    """A dot with a whisker for each blur at its height; a thin line joins the doses of a family."""
    for family in ("defocus", "gaussian") if joined else ():
        doses = [blur for blur in found if selection.family(blur) == family]
        axes.plot(
            [found[blur][0] for blur in doses],
            [places[blur] for blur in doses],
            color=colour(doses[0]) if doses else QUIET,
            linewidth=1,
            alpha=0.5,
            zorder=1,
            gid="family",
        )
    for blur, point in found.items():
        shown = {"markersize": 5.5, "elinewidth": 1.6, "zorder": 3, "label": blur} | style
        axes.errorbar(
            point[0], places[blur], xerr=whisker(point), fmt=marker(blur), color=colour(blur), capsize=0, **shown
        )


def blur_axis(axes: Axes, blurs: Sequence[str]) -> dict[str, float]:
    """Blur labels down the y axis in the colours of their families, sharp on top; returns their heights."""
    places, height = {}, 0.0
    for i, blur in enumerate(blurs):
        # A little air between families groups them without a box or a legend.
        height += 0.5 if i and selection.family(blur) != selection.family(blurs[i - 1]) else 0.0
        places[blur] = height
        height += 1
    axes.set_yticks(list(places.values()), list(places))
    paint(axes.get_yticklabels())
    axes.set_ylim(height - 0.3, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return places


def paint(labels) -> None:
    """Give tick labels that are blurs the colours of their families."""
    for text in labels:
        text.set_color(colour(text.get_text()))
        text.set_fontweight("bold")
