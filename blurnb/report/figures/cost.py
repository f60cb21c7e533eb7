"""What an answer costs: accuracy against seconds per image, by way of deblurring and by scale."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import CARD, INK, styled


class _Way(NamedTuple):
    """One way of answering: what it costs, and the rows of what it is right in under each blur."""

    name: str
    seconds: float
    answers: pd.DataFrame
    full: bool


@styled
def frontier(rows: pd.DataFrame, metric: str = "top1", capture: str | None = None) -> Figure:
    """Accuracy against seconds per image: the mix network as it is, the sharp one with and without deblurring.

    The accuracy is the mean over the blurs that all ways share, the sharp images not among them.

    Parameters
    ----------
    rows
        Answers and seconds of one network on one data set, after each method.
    metric
        A share, a key of METRICS.
    capture
        "exact pixels", "8-bit", "noise 0.01"; a panel for each that was recorded where none is named.

    Raises
    ------
    UserError
        No blur has accuracy and seconds for every way.
    """
    wanted = {"metric": metric, "training": ["sharp", "mix"], **marks.WHOLE, "part_kind": ["", "mean"]}
    found = marks.plain_at(rows, "frontier", None, marks.TREATED, **wanted)
    times = marks.need(rows, "frontier", metric="seconds", scale=found["scale"].iloc[0], kernel=["none", "true"])
    found, panels = selection.select(found, kernel=["none", "true"]), {}
    for name, columns in selection.captures(found).items():
        if capture in (None, name):
            ways = _deblurred(selection.select(found, **columns), times)
            shared = _shared(ways)
            panels |= {name: (ways, shared)} if shared else {}
    if not panels:
        raise UserError("frontier has no blur with accuracy and seconds for every way; run the chapter on deblurring")
    return _drawn(found, panels, metric, 2.5, marks.at_scale(found), "mean over the blurs", "bar: 95 % interval")


def _deblurred(rows: pd.DataFrame, times: pd.DataFrame) -> list[_Way]:
    """The ways to answer under one capture; a time that was measured on exact pixels serves every capture."""
    exact = (times["rounding"] == "none") & (times["noise_sd"] == 0)
    same = (times["rounding"] == rows["rounding"].iloc[0]) & (times["noise_sd"] == rows["noise_sd"].iloc[0])
    ways = []
    for (training, method), part in rows.groupby(["training", "method"]):
        clock = times[(times["method"] == method) & (exact | same)]
        own = clock[clock["training"] == training]
        seconds = (own if len(own) else clock)["value"].mean()
        name = "sharp, no deblurring" if method == "none" else method.replace("_", " ")
        if np.isfinite(seconds) and (training == "sharp" or method == "none"):
            answered = part[part["blur"] != "sharp"]
            ways.append(_Way("mix" if training == "mix" else name, seconds, answered, training == "mix"))
    return ways


@styled
def scale_cost(rows: pd.DataFrame, metric: str = "top1", training: str = "mix") -> Figure:
    """Accuracy on sharp and on blurred images (mean over those all share) against seconds per image, by scale.

    Parameters
    ----------
    rows
        Answers and seconds of one network on one data set; one network for all scales is drawn full, a network for
        each hollow.
    metric
        A share, a key of METRICS.
    training
        What the networks were trained on.

    Raises
    ------
    UserError
        No scale has accuracy and seconds, or no blur was tested at all of them.
    """
    wanted = {"training": training, "frozen": "none"}
    found = marks.plain(rows, "scale_cost", metric=metric, part_kind=["", "mean"], **wanted)
    times = marks.need(rows, "scale_cost", metric="seconds", **wanted)
    ways = []
    for (per_scale, scale), part in found.groupby(["per_scale", "scale"]):
        seconds = selection.select(times, per_scale=per_scale, scale=scale)["value"].mean()
        if np.isfinite(seconds):
            name = f"{scale}, a network each" if per_scale else scale
            ways.append(_Way(name, seconds, part, not per_scale))
    if not ways:
        raise UserError("scale_cost found no scale with accuracy and seconds; run the chapter on scales")
    shared = _shared(ways)
    blurs = {"sharp images": shared & {"sharp"}, "blurred images, mean": shared - {"sharp"}}
    if not (panels := {title: (ways, some) for title, some in blurs.items() if some}):
        raise UserError("scale_cost has no blur that every scale was tested on")
    return _drawn(found, panels, metric, 2.4, "filled: one network for all scales", "bar: 95 % interval")


def _shared(ways: Sequence[_Way]) -> set[str]:
    """The blurs under which every way was tested."""
    return set.intersection(*(set(way.answers["blur"]) for way in ways)) - {""} if ways else set()


def _drawn(found: pd.DataFrame, panels: Mapping, metric: str, height: float, *terms: str) -> Figure:
    """A panel by title of its ways and the blurs that are averaged; `height` of one in inches."""
    figure, grid = marks.panels(len(panels), height, more=0.5, sharex=True)
    for axes, (title, (ways, blurs)) in zip(grid, panels.items()):
        _seconds_axis(axes, [way.seconds for way in ways])
        means = [marks.mean(way.answers, metric, labels.in_order(blurs)) for way in ways]
        _named_points(axes, list(zip(ways, means)))
        axes.set(title=title, ylabel=METRICS[metric].along)
        axes.label_outer()
    marks.subtitle(figure, found, *terms)
    return figure


def _seconds_axis(axes, seconds: Sequence[float]) -> None:
    """A logarithmic axis of seconds with plain numbers: decades, or the values themselves where they span few."""
    axes.set_xscale("log")
    if max(seconds) / min(seconds) < 100:
        ticks: list[float] = []
        for value in sorted(set(seconds)):
            if not ticks or value / ticks[-1] > 1.4:
                ticks.append(value)
        axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}" if value < 10 else f"{value:,.0f}")
    axes.minorticks_off()
    # Names stand to the right of their points.
    right = max(seconds) * (max(seconds) / min(seconds)) ** 0.2 * 2.2
    axes.set(xlabel="seconds per image", xlim=(min(seconds) / 1.5, right))
    axes.grid(axis="both")


def _named_points(axes, named: Sequence[tuple[_Way, marks.Triple]]) -> None:
    """Points with whiskers, their names beside them and apart."""
    for way, point in named:
        face = INK if way.full else CARD
        mark = {"color": INK, "markerfacecolor": face, "markersize": 6, "elinewidth": 1, "label": way.name}
        axes.errorbar(way.seconds, point[0], yerr=marks.whisker(point), fmt="o", **mark)
    axes.margins(y=0.12)
    low, high = axes.get_ylim()
    per_unit = 1.7 * 72 / (high - low)  # points on paper for one unit of y, of a panel 1.7 inches high
    placed: list[tuple[float, float]] = []
    for way, point in sorted(named, key=lambda pair: pair[1][0]):
        height = (point[0] - low) * per_unit
        near = [y for x, y in placed if abs(math.log10(way.seconds / x)) < 0.5 and height - y < 11]
        shown = max([height, *(y + 11 for y in near)])
        placed.append((way.seconds, shown))
        where = {"xytext": (7, shown - height), "textcoords": "offset points", "fontsize": 8.5, "va": "center"}
        where |= {"fontweight": "bold" if way.full else "normal"}
        halo = [Stroke(linewidth=2.5, foreground=CARD), Normal()]
        axes.annotate(way.name, (way.seconds, point[0]), **where, path_effects=halo)
