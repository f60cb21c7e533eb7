"""Accuracy against the strength of blur, and where half of it is gone: by training, by scale, by family of blur."""

from __future__ import annotations

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
from blurnb.report.figures.palette import INK, QUIET, card, family_colour, styled, tint

Line = list[tuple[float, marks.Triple]]


@styled
def by_training(
    rows: pd.DataFrame, metric: str = "top1", family: str = "defocus", scale: str | None = None, chance: float = 0.0
) -> Figure:
    """A line for each training: accuracy against the strength of one family of blur, its half marked.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A share, a key of METRICS.
    family
        A key of FAMILIES whose labels hold a number.
    scale
        256 where present, else the first.
    chance
        Accuracy of guessing: half is midway from sharp to it.

    Raises
    ------
    UserError
        Fewer than two strengths beside sharp.
    """
    found = marks.plain_at(rows, "by_training", scale, metric=metric)
    lines = _lines(dict(sorted(selection.trainings(found).items())), metric, family, labels.strength, "by_training")
    return _drawn(found, lines, metric, _shades(lines, family), _axis(family), chance, marks.at_scale(found))


@styled
def by_scale(
    rows: pd.DataFrame, metric: str = "top1", family: str = "defocus", training: str = "sharp", chance: float = 0.0
) -> Figure:
    """A line for each scale: accuracy against the strength of one family of blur, its half marked.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A share, a key of METRICS.
    family
        A key of FAMILIES whose labels hold a number.
    training
        What the network was trained on.
    chance
        Accuracy of guessing: half is midway from sharp to it.

    Raises
    ------
    UserError
        Fewer than two strengths beside sharp.
    """
    found = marks.plain(rows, "by_scale", metric=metric, training=training, **marks.WHOLE)
    parts = {scale: found[found["scale"] == scale] for scale in labels.scales_in_order(found["scale"])}
    lines = _lines(parts, metric, family, labels.strength, "by_scale")
    return _drawn(found, lines, metric, _shades(lines, family), _axis(family), chance, marks.trained(training))


@styled
def by_family(
    rows: pd.DataFrame, metric: str = "top1", scale: str | None = None, training: str = "sharp", chance: float = 0.0
) -> Figure:
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
    chance
        Accuracy of guessing: half is midway from sharp to it.

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

    lines = {}
    families = [labels.family(blur) for blur in found["blur"]]
    for family in (name for name in labels.FAMILIES if name != "sharp"):
        part = found[[one in ("sharp", family) for one in families]]
        line = _line(part, metric, width, least=2)
        lines |= {family: line} if line else {}
    if not lines:
        raise UserError("by_family needs sharp and at least one blur of known width at one scale")
    colours = [family_colour(family) for family in lines]
    along = _in_frame(METRICS["kernel_sd"].axis)
    terms = marks.at_scale(found), marks.trained(training)
    return _drawn(found, lines, metric, colours, along, chance, *terms, ticks=False)


def _lines(
    parts: Mapping[str, pd.DataFrame], metric: str, family: str, dose: Callable[[str], float], what: str
) -> dict[str, Line]:
    """Of each part the line under one family; those that have no sharp image or too few strengths are left out."""
    lines = {}
    for name, part in parts.items():
        here = part[[labels.family(blur) in ("sharp", family) for blur in part["blur"]]]
        line = _line(here, metric, dose, least=3)
        lines |= {name: line} if line else {}
    if not lines:
        raise UserError(f"{what} needs sharp and at least two strengths of {family} at one scale")
    return lines


def _line(rows: pd.DataFrame, metric: str, dose: Callable[[str], float], least: int) -> Line | None:
    """(dose, point) from sharp on; None where sharp is missing or doses are unknown, equal or fewer than `least`."""
    doses = {blur: dose(blur) for blur in set(rows["blur"])}
    if any(map(math.isnan, doses.values())) or "sharp" not in doses:
        return None
    if len(set(doses.values())) != len(doses) or len(doses) < least:
        return None
    return [(doses[blur], point) for blur, point in marks.points(rows, metric).items()]


def _shades(lines: Mapping, family: str) -> list[str]:
    """One colour, the paler the earlier the line."""
    strengths = np.linspace(0.45, 1.0, len(lines)) if len(lines) > 1 else [1.0]
    return [tint(family_colour(family), one) for one in strengths]


def _axis(family: str) -> str:
    return _in_frame(labels.FAMILIES[family].axis)


def _in_frame(quantity: str) -> str:
    return ", ".join([quantity, "frame pixels"])


def _drawn(
    found: pd.DataFrame, lines: Mapping[str, Line], metric: str, inks: Sequence[str], along: str, chance: float,
    *terms: str, ticks: bool = True,
) -> Figure:  # fmt: skip
    """The figure of the lines; with `ticks` the doses themselves are marked, and the words beside lines are ink."""
    figure = card(3.3)
    axes = figure.subplots()
    beside, factor = [], METRICS[metric].factor
    for ink, (name, line) in zip(inks, lines.items()):
        doses, drawn = [dose for dose, _ in line], [point for _, point in line]
        ends = [marks.whisker(point) if marks.whisker(point) is not None else np.zeros((2, 1)) for point in drawn]
        values = [point[0] for point in drawn]
        axes.errorbar(doses, values, yerr=np.hstack(ends), fmt="o-", color=ink, markersize=4.5, label=name)
        half = _half(doses, drawn, factor, chance)
        if math.isfinite(half.radius):
            middle = (values[0] + factor * chance) / 2
            axes.plot(half.radius, middle, "|", color=ink, markersize=15, markeredgewidth=2.2, gid="half")
        text = f"{name}  {f'> {half.largest:.3g}' if math.isinf(half.radius) else half}"
        beside.append((values[-1], text, INK if ticks else ink))
    axes.set_ylim(0, None)
    every = [dose for line in lines.values() for dose, _ in line]
    _write_beside(axes, beside, max(every))
    if ticks:
        axes.set_xticks(sorted({round(dose, 2) for dose in every}))
    axes.set_xlabel(along)
    axes.set_ylabel(METRICS[metric].along)
    axes.grid(axis="y")
    half = "half the sharp accuracy" if chance == 0 else "midway from sharp to chance"
    marks.subtitle(figure, found, *terms, f"tick: {half}, 95 % interval in brackets")
    return figure


def _half(doses: Sequence[float], drawn: Sequence[marks.Triple], factor: float, chance: float) -> intervals.HalfRadius:
    known = not any(map(math.isnan, np.ravel(drawn)))
    ends = [[point[k] / factor for point in drawn] for k in range(3 if known else 1)]
    return intervals.half_accuracy_radius(doses, *ends, chance=chance)


def _write_beside(axes, beside: list[tuple[float, str, str]], right: float) -> None:
    """Each line's words (height, text, colour) to the right of its end, and what they mean above them all."""
    beside.sort()
    top = axes.get_ylim()[1]
    gap = top * 0.075
    heights = _apart([height for height, _, _ in beside], gap, top - gap)
    for height, (_, text, ink) in zip([*heights, heights[-1] + gap], [*beside, (0, "half gone at", QUIET)]):
        where = {"xytext": (8, 0), "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(text, (right, height), **where, fontsize=8.5, va="center", color=ink)


def _apart(places: Sequence[float], gap: float, top: float) -> list[float]:
    """Ascending places, moved up as little as keeps them `gap` apart, then down as far as `top` demands."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], top - gap * (len(moved) - 1 - i))
    return moved
