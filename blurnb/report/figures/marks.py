"""The marks that figures share: which rows to draw, the axis of blurs, dots with whiskers, the line that states n."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blurnb import intervals, labels, records
from blurnb.errors import UserError
from blurnb.intervals import Triple
from blurnb.metrics import METRICS
from blurnb.report import numbers, selection
from blurnb.report.figures.palette import CARD, QUIET, card, colour, family_colour, marker

WHOLE = {"frozen": "none", "per_scale": False}
"""What a training is unless it says otherwise: of the whole network, one for all scales."""
TREATED = ("rounding", "noise_sd", "method")
"""Columns of the protocol that are conditions where images were deblurred."""

# Of two marks for one blur the earlier network's is pale and hollow.
HOLLOW = {"markerfacecolor": CARD, "markeredgewidth": 1.3, "elinewidth": 1.1, "alpha": 0.75}
PAIR = "hollow: trained on sharp", "full: trained on mix", "bar: 95 % interval"
"""What the line above a figure says of `pair`."""


def panels(count: int, height: float, columns: int = 1, more: float = 0.0, **shared) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, each `height` inches high, and `more` inches around them."""
    lines = math.ceil(count / columns)
    figure = card(lines * height + more)
    grid = figure.subplots(lines, columns, squeeze=False, **shared).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def pair(axes: Axes, before: Mapping[str, Triple], after: Mapping[str, Triple], places: Mapping[str, float]) -> None:
    """The earlier network's dots, hollow, a little below the later one's."""
    for found, shift, style in ((before, 0.13, HOLLOW), (after, -0.13, {})):
        dots(axes, found, {blur: y + shift for blur, y in places.items()}, joined=False, **style)


def need(rows: pd.DataFrame, what: str, **wanted) -> pd.DataFrame:
    """The rows about all images and no comparison that match; UserError naming what is missing where none does."""
    if (found := selection.estimates(rows, **wanted)).empty:
        named = {k: v if isinstance(v, list) else [v] for k, v in wanted.items() if k not in WHOLE and v}
        terms = [f"{k} {' or '.join(map(str, v))}" for k, v in named.items()]
        raise UserError(f"{what} has no rows with {', '.join(terms)}; run the notebook that writes them")
    return found


def plain(rows: pd.DataFrame, what: str, but: Sequence[str] = (), **wanted) -> pd.DataFrame:
    """`need`, of one network on one data set in its main protocol; `but` are columns of it that are conditions here."""
    found = selection.main_protocol(need(rows, what, **wanted), but)
    selection.one_source(found, what)
    return found


def plain_at(rows: pd.DataFrame, what: str, scale: str | None, but: Sequence[str] = (), **wanted) -> pd.DataFrame:
    """`plain`, at one scale; without one at the main scale."""
    found = plain(rows, what, but, **wanted)
    return need(found, what, **wanted, scale=scale or selection.main_scale(found))


def points(rows: pd.DataFrame, metric: str) -> dict[str, Triple]:
    """(value, low, high) by blur, in order; percent where the metric is a share."""
    blurs = labels.in_order(set(rows["blur"]) - {""})
    return {b: percent(selection.estimate(rows[rows["blur"] == b]), metric) for b in blurs}


def mean(rows: pd.DataFrame, metric: str, blurs: Sequence[str]) -> Triple:
    """The mean over the blurs, as `points`: recorded image by image, else from the ends of each, which errs wide."""
    joint = selection.estimate(selection.select(rows, **records.over(blurs)))
    return percent(joint, metric) if joint else intervals.mean_of([points(rows, metric)[blur] for blur in blurs])


def percent(point: Triple, metric: str) -> Triple:
    """The point as it is drawn: percent where the metric is a share."""
    return tuple(METRICS[metric].factor * end for end in point)


def trained(training: str) -> str:
    """What a figure says of a training; nothing of a network that is shown as it was given."""
    return "" if training == "as given" else f"trained on {training}"


def at_scale(rows: pd.DataFrame) -> str:
    """`scale 256`, of rows at one scale."""
    return f"scale {rows['scale'].iloc[0]}"


def subtitle(figure: Figure, rows: pd.DataFrame | str, *more: str) -> None:
    """Network, data and n, which no figure may leave out, small above the panels; wrapped to the figure's width."""
    if isinstance(rows, str):
        parts = [rows, *more]
    else:
        parts = [*selection.one_source(rows, "a figure"), numbers.counted(rows["n"]), *more]
    width, lines = int(figure.get_size_inches()[0] * 12.6), []
    for part in filter(None, (part.replace("$", r"\$") for part in parts)):  # a file name is no formula
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=9, color=QUIET, linespacing=1.35)


def whisker(point: Triple) -> np.ndarray:
    """Lengths (2, 1) below and above for errorbar; of none without a finite end."""
    value, low, high = point
    return np.nan_to_num(np.maximum(0.0, [[value - low], [high - value]]), posinf=0.0)


def dots(axes: Axes, found: Mapping[str, Triple], places: Mapping[str, float], joined: bool = True, **style) -> None:
    """A dot with a whisker for each blur at its height; a thin line joins the doses of a family."""
    parsed = [labels.parse(blur) for blur in found if joined]
    doses = [one.label for one in parsed if len(one.parameters) == 1 and not one.is_random]  # they differ in one number
    for family, some in itertools.groupby(doses, labels.family):
        line = [(found[blur][0], places[blur]) for blur in some]
        axes.plot(*zip(*line), color=family_colour(family), linewidth=1, alpha=0.5, zorder=1, gid="family")
    for blur, point in found.items():
        shown = {"markersize": 5.5, "elinewidth": 1.6, "zorder": 3, "label": blur} | style
        shown |= {"fmt": marker(blur), "color": colour(blur), "capsize": 0}
        axes.errorbar(point[0], places[blur], xerr=whisker(point), **shown)


def blur_axis(axes: Axes, blurs: Sequence[str]) -> dict[str, float]:
    """Blur labels down the y axis in the colours of their families, sharp on top; returns their heights."""
    places, height = {}, 0.0
    for i, blur in enumerate(blurs):
        # A little air between families groups them without a box or a legend.
        height += 0.5 if i and labels.family(blur) != labels.family(blurs[i - 1]) else 0.0
        places[blur] = height
        height += 1
    axes.set_yticks(list(places.values()), list(places))
    paint(axes.get_yticklabels())
    down(axes, height - 0.3)
    return places


def down(axes: Axes, end: float, start: float = -0.7) -> None:
    """Make the y axis a list that is read from the top: its ends, no ticks, no line, a grid for the values."""
    axes.set_ylim(end, start)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def paint(ticks) -> None:
    """Give tick labels that are blurs the colours of their families."""
    for text in ticks:
        text.set_color(colour(text.get_text()))
        text.set_fontweight("bold")


def bare(axes: Axes, ticks: bool = False) -> None:
    """Take the frame off a picture, and its ticks unless they carry labels."""
    axes.tick_params(length=0)
    if not ticks:
        axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def apart(wanted: Sequence[float], sizes: Sequence[float], gap: float, end: float) -> list[float]:
    """Ascending places, moved up as little as keeps things of these sizes `gap` apart, then down as `end` demands."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + sizes[len(places) - 1] + gap) if places else place)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], end - sizes[i])
        end = places[i] - gap
    return places
