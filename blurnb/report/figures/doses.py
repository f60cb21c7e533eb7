"""Accuracy against the strength of blur, and where half of it is gone: by training, by scale, by family of blur."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb import intervals, labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import INK, QUIET, family_colour, styled, tint

Line = list[tuple[float, marks.Triple]]
_IN_FRAME = " in frame pixels"
_OWN = ["training", "frozen", "per_scale", "scale"]


@styled
def by_training(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> Figure:
    """A line for each training: accuracy against the radius of defocus, its half marked.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A share, a key of METRICS.
    scale
        256 where present, else the first.

    Raises
    ------
    UserError
        Fewer than two radii beside sharp.
    """
    found = marks.plain_at(rows, "by_training", scale, metric=metric)
    parts = dict(sorted(selection.trainings(found).items()))
    return _by_radius(rows, found, parts, metric, "by_training", marks.at_scale(found))


@styled
def by_scale(rows: pd.DataFrame, metric: str = "top1", training: str = "sharp", chance: float = 0.0) -> Figure:
    """A line for each scale: accuracy against the radius of defocus, its half marked.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A share, a key of METRICS.
    training
        What the network was trained on.
    chance
        Accuracy of guessing: half is midway from sharp to it.

    Raises
    ------
    UserError
        Fewer than two radii beside sharp.
    """
    found = marks.plain(rows, "by_scale", metric=metric, training=training, **marks.WHOLE)
    parts = {scale: selection.select(found, scale=scale) for scale in labels.scales_in_order(found["scale"])}
    return _by_radius(rows, found, parts, metric, "by_scale", marks.trained(training), chance)


def _by_radius(
    rows: pd.DataFrame, found: pd.DataFrame, parts: Mapping[str, pd.DataFrame], metric: str, what: str, term: str,
    chance: float = 0.0,
) -> Figure:  # fmt: skip
    """A line for each part of what was `found` in the rows, one colour, the paler the earlier."""
    lines = {
        name: _line(part, metric, "defocus", lambda blur: labels.parse(blur).strength) for name, part in parts.items()
    }
    lines = {name: line for name, line in lines.items() if len(line) > 2}
    if not lines:
        raise UserError(f"{what} needs sharp and at least two strengths of defocus at one scale")
    inks = [tint(family_colour("defocus"), strength) for strength in np.linspace(1.0, 0.45, len(lines))[::-1]]
    halves = {name: selection.half_radius(rows, metric, **part[_OWN].iloc[0]) for name, part in parts.items()}
    along = labels.FAMILIES["defocus"].axis + _IN_FRAME
    return _drawn(found, lines, metric, inks, along, term, chance=chance, halves=halves)


@styled
def by_family(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None, training: str = "sharp") -> Figure:
    """A line for each family of blur against the standard deviation of its kernels, so that only the shape differs.

    Parameters
    ----------
    rows
        Answers of one network on one data set. Shake appears where kernel_sd was recorded, which goes before what a
        label states.
    metric
        A share, a key of METRICS.
    scale
        256 where present, else the first.
    training
        What the network was trained on.

    Raises
    ------
    UserError
        No family was tested beside sharp.
    """
    found = marks.plain_at(rows, "by_family", scale, metric=metric, training=training, **marks.WHOLE)
    recorded = selection.select(rows, metric="kernel_sd")
    measured = dict(zip(recorded["blur"], recorded["value"]))

    def width(blur: str) -> float:
        return measured.get(blur, labels.parse(blur).kernel_sd)

    lines = {family: _line(found, metric, family, width) for family in labels.FAMILIES if family != "sharp"}
    lines = {family: line for family, line in lines.items() if len(line) > 1}
    if not lines:
        raise UserError("by_family needs sharp and at least one blur of known width at one scale")
    inks = [family_colour(family) for family in lines]
    along = METRICS["kernel_sd"].axis + _IN_FRAME
    terms = marks.at_scale(found), marks.trained(training)
    return _drawn(found, lines, metric, inks, along, *terms, ticks=False)


def _line(rows: pd.DataFrame, metric: str, family: str, dose: Callable[[str], float]) -> Line:
    """(dose, point) of the blurs of a family, from sharp on; empty where that is missing, or doses unknown or equal."""
    here = rows[[labels.family(blur) in ("sharp", family) for blur in rows["blur"]]]
    doses = {blur: dose(blur) for blur in set(here["blur"])}
    if "sharp" not in doses or any(map(math.isnan, doses.values())) or len(set(doses.values())) < len(doses):
        return []
    return [(doses[blur], point) for blur, point in marks.points(here, metric).items()]


def _drawn(
    found: pd.DataFrame, lines: Mapping[str, Line], metric: str, inks: Sequence[str], along: str, *terms: str,
    chance: float = 0.0, ticks: bool = True, halves: Mapping[str, intervals.HalfRadius | None] = {},
) -> Figure:  # fmt: skip
    """The figure of the lines, with their `halves` where these were recorded; with `ticks` the doses themselves are
    marked, and the words beside lines are ink."""
    figure, (axes,) = marks.panels(1, 3.3)
    beside, factor = [], METRICS[metric].factor
    for ink, (name, line) in zip(inks, lines.items()):
        doses, drawn = [dose for dose, _ in line], [point for _, point in line]
        values, bars = [point[0] for point in drawn], np.hstack([marks.whisker(point) for point in drawn])
        axes.errorbar(doses, values, yerr=bars, fmt="o-", color=ink, markersize=4.5, label=name)
        known = not any(map(math.isnan, np.ravel(drawn)))
        shares = [[point[k] / factor for point in drawn] for k in range(3 if known else 1)]
        half = halves.get(name) or intervals.half_accuracy_radius(doses, *shares, chance=chance)
        if math.isfinite(half.radius):
            place = half.radius, np.interp(half.radius, doses, values)
            axes.plot(*place, "|", color=ink, markersize=15, markeredgewidth=2.2, gid="half")
        text = f"{name}  {f'> {half.largest:.3g}' if math.isinf(half.radius) else half}"
        beside.append((values[-1], text, INK if ticks else ink))
    axes.set_ylim(0, None)
    every = [dose for line in lines.values() for dose, _ in line]
    _write_beside(axes, beside, max(every))
    if ticks:
        axes.set_xticks(sorted({round(dose, 2) for dose in every}))
    axes.set(xlabel=along, ylabel=METRICS[metric].along)
    axes.grid(axis="y")
    half = "half the sharp accuracy" if chance == 0 and not any(halves.values()) else "midway from sharp to chance"
    marks.subtitle(figure, found, *terms, f"tick: {half}, 95 % interval in brackets")
    return figure


def _write_beside(axes, beside: list[tuple[float, str, str]], right: float) -> None:
    """Each line's words (height, text, colour) to the right of its end, and what they mean above them all."""
    beside.sort()
    top = axes.get_ylim()[1]
    gap = top * 0.075
    heights = marks.apart([height for height, _, _ in beside], [0.0] * len(beside), gap, top - gap)
    for height, (_, text, ink) in zip([*heights, heights[-1] + gap], [*beside, (0, "half gone at", QUIET)]):
        where = {"xytext": (8, 0), "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(text, (right, height), **where, fontsize=8.5, va="center", color=ink)
