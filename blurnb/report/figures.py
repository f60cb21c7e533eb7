"""Every figure of the book, from records: a colour means the same blur in all, and each states network, data and n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import FuncFormatter, NullLocator

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report import paper, rules, selection
from blurnb.report.marks import (
    AXES,
    PERCENT,
    Triple,
    blur_axis,
    dots,
    need,
    one_scale,
    plain,
    points,
    subtitle,
    whisker,
)
from blurnb.report.matrices import layer_heatmap, transfer_matrix
from blurnb.report.palette import CARD, COLOURS, INK, QUIET, card, colour, styled, tint
from blurnb.report.sheets import contact_sheet, kernels

__all__ = [
    "accuracy_by_blur",
    "before_after",
    "confidence",
    "contact_sheet",
    "dose_response",
    "frontier",
    "kernels",
    "layer_heatmap",
    "loss_split",
    "reliability",
    "scale_cost",
    "transfer_matrix",
]


@styled
def accuracy_by_blur(rows: pd.DataFrame, metric: str = "top5", training: str = "sharp", compare: bool = True) -> Figure:
    """Accuracy under each blur, a panel for each scale: ours filled with intervals, the paper's hollow.

    Rows of one network on one data set; the paper is drawn only for `metric` top5 and where it has the condition.
    """
    found = plain(rows, "accuracy_by_blur", metric=metric, training=training)
    scales, blurs = selection.scales_in_order(found["scale"]), selection.in_order(found["blur"])
    columns = min(2, len(scales))
    lines = math.ceil(len(scales) / columns)
    figure = card(lines * (0.26 * len(blurs) + 0.75) + 0.55)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(scales) :]:
        axes.set_visible(False)
    hollow = 0
    for axes, scale in zip(grid, scales):
        places = blur_axis(axes, blurs)
        dots(axes, points(found[found["scale"] == scale], metric), places)
        for one in paper.published(scale, training=training).itertuples() if compare and metric == "top5" else ():
            if one.blur in places:
                hollow += 1
                ring = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.1}
                axes.plot(one.top5_percent, places[one.blur], "o", zorder=4, gid="paper", **ring)
        axes.set_title(f"scale {scale}")
        axes.set_xlim(-3, 103)
        axes.set_xticks([0, 25, 50, 75, 100])
    for axes in grid[max(0, len(scales) - columns) : len(scales)]:
        axes.set_xlabel(AXES.get(metric, metric))
        axes.tick_params(labelbottom=True)
    subtitle(figure, found, _trained(training), "bar: 95 % interval", "ring: the paper" if hollow else "")
    return figure


def _trained(training: str) -> str:
    return "" if training == "as given" else f"trained on {training}"


@styled
def confidence(rows: pd.DataFrame, scale: str | None = None, training: str = "sharp") -> Figure:
    """Entropy and probability of the true class under each blur, at one scale (256 where present, else the first)."""
    found = plain(rows, "confidence", metric=["entropy", "p_true"], training=training)
    found = one_scale(found, "confidence", scale)
    blurs = selection.in_order(found["blur"])
    figure = card(0.26 * len(blurs) + 1.3)
    for axes, metric in zip(figure.subplots(1, 2, sharey=True), ("entropy", "p_true")):
        here = need(found, "confidence", metric=metric)
        dots(axes, points(here, metric), blur_axis(axes, blurs))
        axes.set_xlim(0, 100 if metric == "p_true" else None)
        axes.set_xlabel(AXES[metric])
    subtitle(figure, found, f"scale {found['scale'].iloc[0]}", _trained(training), "bar: 95 % interval")
    return figure


@styled
def before_after(
    rows: pd.DataFrame, metric: str = "top1", before: str = "sharp", after: str = "mix", scale: str | None = None
) -> Figure:
    """Each blur before (pale) and after fine-tuning (full), both with intervals, joined by the change."""
    found = plain(rows, "before_after", metric=metric, training=[before, after])
    found = one_scale(found, "before_after", scale)
    ends = [points(need(found, "before_after", training=t), metric) for t in (before, after)]
    blurs = [b for b in selection.in_order(found["blur"]) if all(b in end for end in ends)]
    if not blurs:
        raise UserError(f"before_after has no blur with rows for both {before} and {after}; run both networks on it")
    figure = card(0.3 * len(blurs) + 1.3)
    axes = figure.subplots()
    places = blur_axis(axes, blurs)
    for blur in blurs:
        start, stop = ends[0][blur][0], ends[1][blur][0]
        axes.plot([start, stop], [places[blur]] * 2, color=colour(blur), linewidth=1, alpha=0.6, zorder=1, gid="change")
    below = {blur: place + 0.13 for blur, place in places.items()}
    above = {blur: place - 0.13 for blur, place in places.items()}
    pale = {"markerfacecolor": CARD, "markeredgewidth": 1.3, "elinewidth": 1.1, "alpha": 0.75}
    dots(axes, {b: ends[0][b] for b in blurs}, below, joined=False, **pale)
    dots(axes, {b: ends[1][b] for b in blurs}, above, joined=False)
    axes.set_xlim(0, 100 if metric in PERCENT else None)
    axes.set_xlabel(AXES.get(metric, metric))
    subtitle(
        figure,
        found,
        f"scale {found['scale'].iloc[0]}",
        f"hollow: {_trained(before)}",
        f"full: {_trained(after)}",
        "bar: 95 % interval",
    )
    return figure


PARTS = ("information lost", "blur unknown", "train-test mismatch")


@styled
def loss_split(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> Figure:
    """The loss under each blur in three: what a specialist for it loses too, what the mix loses beyond the
    specialist, what the sharp network loses beyond the mix.

    The specialist is the training that bears the blur's label (`shake` for shake). The whiskers are the
    intervals of the accuracies at the joints. A part below zero (the later network is better) is drawn hollow.
    """
    found = plain(rows, "loss_split", metric=metric)
    found = one_scale(found, "loss_split", scale)
    level = {
        (training, blur): points(part, metric)[blur] for (training, blur), part in found.groupby(["training", "blur"])
    }
    blurs = [
        b
        for b in selection.in_order(found["blur"])
        if b != "sharp" and all((t, b) in level for t in (b, "mix", "sharp")) and ("sharp", "sharp") in level
    ]
    if not blurs:
        raise UserError(
            "loss_split needs rows of sharp, mix and a specialist (training D8 on D8, say) under one blur, and of "
            "sharp on sharp; fine-tune a specialist first"
        )
    figure = card(0.62 * len(blurs) + 1.45)
    axes = figure.subplots()
    places = {blur: float(i) for i, blur in enumerate(blurs)}
    blur_axis(axes, blurs)
    axes.set_yticks(list(places.values()), blurs)
    axes.set_ylim(len(blurs) - 0.4, -0.95)
    top = level["sharp", "sharp"][0]
    for blur in blurs:
        ends = [0.0, *(top - level[training, blur][0] for training in (blur, "mix", "sharp"))]
        for i, (start, stop) in enumerate(zip(ends, ends[1:])):
            full = stop >= start
            axes.barh(
                places[blur],
                stop - start,
                left=start,
                height=0.56 if full else 0.3,
                color=tint(colour(blur), (1.0, 0.6, 0.28)[i]) if full else "none",
                edgecolor=CARD if full else colour(blur),
                linewidth=1,
                zorder=2 if full else 3,
                gid=PARTS[i],
            )
            if stop - start > 0.06 * top:
                axes.text(
                    (start + stop) / 2,
                    places[blur],
                    f"{stop - start:.0f}",
                    ha="center",
                    va="center",
                    color="white" if i == 0 else INK,
                    zorder=5,
                )
        for training, end, height in zip((blur, "mix", "sharp"), ends[1:], (0.37, 0.45, 0.37)):
            value, low, high = level[training, blur]
            mark = whisker((end, end - (high - value), end + (value - low)))
            axes.errorbar(
                end, places[blur] + height, xerr=mark, fmt="|", color=INK, elinewidth=1, markersize=4, zorder=4
            )
    axes.set_xlim(min(0.0, axes.get_xlim()[0]), None)
    ends = [0.0, *(top - level[training, blurs[0]][0] for training in (blurs[0], "mix", "sharp"))]
    _spread_labels(axes, [(a + b) / 2 for a, b in zip(ends, ends[1:])], PARTS, -0.5)
    axes.set_xlabel(f"points of {metric.replace('top', 'top-')} lost under the blur")
    subtitle(figure, found, f"scale {found['scale'].iloc[0]}", "bar below: 95 % interval at each joint")
    return figure


def _spread_labels(axes, centres: Sequence[float], names: Sequence[str], height: float) -> None:
    """Names above the parts of the first bar, pushed apart where they would collide."""
    low, high = axes.get_xlim()
    unit = (high - low) / 62  # the width of a letter, near enough
    widths, gap = [len(name) * unit for name in names], 2.5 * unit
    starts: list[float] = []
    for centre, width in zip(centres, widths):
        least = starts[-1] + widths[len(starts) - 1] + gap if starts else low
        starts.append(max(least, centre - width / 2))
    for i in reversed(range(len(starts))):
        limit = high if i == len(starts) - 1 else starts[i + 1] - gap
        starts[i] = min(starts[i], limit - widths[i])
    behind = {"facecolor": CARD, "edgecolor": "none", "pad": 1}
    for start, width, centre, name in zip(starts, widths, centres, names):
        axes.text(start, height - 0.12, name, fontsize=8.5, color=QUIET, ha="left", va="bottom", bbox=behind)
        foot = min(max(centre, start), start + width)  # the leader leaves the name where it is nearest
        axes.plot([foot, centre], [height - 0.1, height + 0.2], color=QUIET, linewidth=0.7, zorder=1)


_SPREAD = {"sharp": 0.0, "defocus": 0.5, "gaussian": 1.0, "motion": 24**-0.5}


def spread(blur: str) -> float:
    """Standard deviation of a blur's kernel, frame pixels, root mean square over the two axes: radius/2 of a disk,
    sigma of a Gaussian, length/sqrt(24) of a line. NaN for shake, whose kernels differ."""
    kind = selection.family(blur)
    return _SPREAD[kind] * selection.strength(blur) if kind in _SPREAD else math.nan


@styled
def dose_response(
    rows: pd.DataFrame,
    metric: str = "top1",
    by: str = "training",
    family: str = "defocus",
    scale: str | None = None,
    training: str = "sharp",
    chance: float = 0.0,
) -> Figure:
    """Accuracy against blur strength, and where half of the sharp accuracy (above `chance`) is gone.

    One line for each value of `by`: "training" or "scale" (of `family`, by radius or sigma), or "family" (all
    families of the network `training` against the standard deviation of the kernel, so that only its shape differs;
    shake appears where its spread was recorded).
    """
    if by not in ("training", "scale", "family"):
        raise UserError(f"by must be training, scale or family, not {by!r}")
    found = plain(rows, "dose_response", metric=metric)
    if by != "training":
        found = need(found, "dose_response", training=training)
    if by != "scale":
        found = one_scale(found, "dose_response", scale)
    recorded = selection.select(rows, metric="spread")
    spreads = dict(zip(recorded["blur"], recorded["value"]))
    kinds = [*list(_SPREAD)[1:], "shake"] if by == "family" else [family]
    lines = {}
    for kind in kinds:
        part = found[[selection.family(b) in ("sharp", kind) for b in found["blur"]]]
        for name, line in [(kind, part)] if by == "family" else part.groupby(by, sort=False):
            dose = {
                b: spreads.get(b, spread(b)) if by == "family" else selection.strength(b) for b in set(line["blur"])
            }
            if any(map(math.isnan, dose.values())):
                continue
            if "sharp" in dose and len(set(dose.values())) == len(dose) >= (2 if by == "family" else 3):
                lines[name] = [(dose[b], point) for b, point in points(line, metric).items()]
    if not lines:
        raise UserError(f"dose_response needs sharp and at least two strengths of {' or '.join(kinds)} at one scale")
    if by == "scale":
        lines = {name: lines[name] for name in selection.scales_in_order(lines)}
    figure = card(3.3)
    axes = figure.subplots()
    shades = np.linspace(0.45, 1.0, len(lines)) if len(lines) > 1 else [1.0]
    labels, factor = [], 100 if metric in PERCENT else 1
    for shade, (name, line) in zip(shades, lines.items()):
        doses, found_points = [dose for dose, _ in line], [point for _, point in line]
        ink = COLOURS[name] if by == "family" else tint(COLOURS[family], shade)
        ends = [whisker(point) if whisker(point) is not None else np.zeros((2, 1)) for point in found_points]
        values = [point[0] for point in found_points]
        axes.errorbar(doses, values, yerr=np.hstack(ends), fmt="o-", color=ink, markersize=4.5, label=name)
        known = not any(map(math.isnan, np.ravel(found_points)))
        columns = [[point[k] / factor for point in found_points] for k in range(3 if known else 1)]
        half = intervals.half_accuracy_radius(doses, *columns, chance=chance)
        if math.isfinite(half.radius):
            middle = (values[0] + factor * chance) / 2
            axes.plot(half.radius, middle, "|", color=ink, markersize=15, markeredgewidth=2.2, gid="half")
        text = f"{name}  {f'> {half.largest:.3g}' if math.isinf(half.radius) else half}"
        labels.append((values[-1], text, ink if by == "family" else INK))
    right = max(dose for line in lines.values() for dose, _ in line)
    axes.set_ylim(0, None)
    labels.sort()
    gap = axes.get_ylim()[1] * 0.075
    heights = _apart([value for value, _, _ in labels], gap, axes.get_ylim()[1] - gap)
    heights, labels = [*heights, heights[-1] + gap], [*labels, (0, "half gone at", QUIET)]
    for height, (_, text, ink) in zip(heights, labels):
        where = {"xytext": (8, 0), "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(text, (right, height), **where, fontsize=8.5, va="center", color=ink)
    ticks = sorted({round(dose, 2) for line in lines.values() for dose, _ in line})
    if by != "family":
        axes.set_xticks(ticks)
    unit = {"defocus": "defocus radius", "gaussian": "Gaussian sigma", "motion": "length of motion"}
    axes.set_xlabel(
        ("standard deviation of the kernel" if by == "family" else unit.get(family, family)) + ", frame pixels"
    )
    axes.set_ylabel(AXES.get(metric, metric))
    axes.grid(axis="y")
    terms = [f"scale {found['scale'].iloc[0]}"] if by != "scale" else []
    terms += [_trained(training)] if by != "training" else []
    half = "half the sharp accuracy" if chance == 0 else "midway from sharp to chance"
    subtitle(figure, found, *terms, f"tick: {half}, 95 % interval in brackets")
    return figure


def _apart(places: Sequence[float], gap: float, top: float) -> list[float]:
    """Ascending places, moved up as little as keeps them `gap` apart, then down as far as `top` demands."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], top - gap * (len(moved) - 1 - i))
    return moved


@styled
def reliability(curves: Mapping[str, Mapping[str, np.ndarray]], source: str = "") -> Figure:
    """Accuracy against stated confidence, a panel for each named curve of `intervals.reliability`; `source`
    names network and data. The area of a dot is its share of the images."""
    if not curves:
        raise UserError("reliability needs at least one named curve of intervals.reliability")
    columns = min(2, len(curves))
    lines = math.ceil(len(curves) / columns)
    figure = card(lines * (2.45 if columns == 2 else 4) + 0.5)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(curves) :]:
        axes.set_visible(False)
    total = [int(np.sum(curve["n"])) for curve in curves.values()]
    for axes, (name, curve), n in zip(grid, curves.items(), total):
        x, y = 100 * np.asarray(curve["confidence"]), 100 * np.asarray(curve["accuracy"])
        ends = np.array([np.maximum(0, y - 100 * curve["ci_low"]), np.maximum(0, 100 * curve["ci_high"] - y)])
        ink = _label_ink(name)
        axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.8, dashes=(4, 3), gid="diagonal")
        axes.errorbar(x, y, yerr=ends, fmt="none", ecolor=ink, elinewidth=1, alpha=0.7)
        axes.scatter(x, y, s=12 + 260 * np.asarray(curve["n"]) / n, color=ink, alpha=0.85, linewidth=0, zorder=3)
        gap = 100 * np.average(np.abs(np.asarray(curve["accuracy"]) - curve["confidence"]), weights=curve["n"])
        axes.set_title(f"{name}\noff by {gap:.1f} points", fontsize=9.5, color=ink)
        axes.set_aspect("equal")
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        axes.tick_params(labelbottom=True)
    figure.supxlabel("stated confidence, %", fontsize=9.5)
    figure.supylabel("accuracy, %", fontsize=9.5)
    counts = f"n = {total[0]:,}" if len(set(total)) == 1 else f"n = {min(total):,} to {max(total):,}"
    subtitle(figure, source, counts, "below the line: too sure", "bar: 95 % interval")
    return figure


def _label_ink(label: str) -> str:
    """Family colour where the last word of a label is a blur ("mix, D8"), else ink."""
    try:
        return colour(label.replace(",", " ").split()[-1])
    except (UserError, IndexError):
        return INK


def _seconds_axis(axes, seconds: Sequence[float]) -> None:
    """A logarithmic axis of seconds with plain numbers: decades, or the values themselves where they span few."""
    axes.set_xscale("log")
    if max(seconds) / min(seconds) < 100:
        ticks: list[float] = []
        for value in sorted(set(seconds)):
            if not ticks or value / ticks[-1] > 1.4:
                ticks.append(value)
        axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}" if value < 10 else f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("seconds per image")
    # Names stand to the right of their points.
    axes.set_xlim(min(seconds) / 1.5, max(seconds) * (max(seconds) / min(seconds)) ** 0.2 * 2.2)
    axes.grid(axis="both")


def _named_points(axes, named: Sequence[tuple[str, float, Triple, bool]], inches: float) -> None:
    """Points (name, seconds, estimate, ours) with whiskers, ours filled, their names beside them and apart."""
    for name, seconds, point, ours in named:
        face = INK if ours else CARD
        mark = {"color": INK, "markerfacecolor": face, "markersize": 6, "elinewidth": 1, "label": name}
        axes.errorbar(seconds, point[0], yerr=whisker(point), fmt="o", **mark)
    axes.margins(y=0.12)
    low, high = axes.get_ylim()
    per_unit = inches * 72 / (high - low)  # points on paper for one unit of y
    placed: list[tuple[float, float]] = []
    for name, seconds, point, ours in sorted(named, key=lambda p: p[2][0]):
        height = (point[0] - low) * per_unit
        near = [y for x, y in placed if abs(math.log10(seconds / x)) < 0.5 and height - y < 11]
        shown = max([height, *(y + 11 for y in near)])
        placed.append((seconds, shown))
        text = axes.annotate(
            name,
            (seconds, point[0]),
            (7, shown - height),
            textcoords="offset points",
            fontsize=8.5,
            va="center",
            fontweight="bold" if ours else "normal",
        )
        text.set_path_effects([Stroke(linewidth=2.5, foreground=CARD), Normal()])


@styled
def frontier(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None, factors: str | None = None) -> Figure:
    """Accuracy against seconds per image: the mix network as it is, the sharp one with and without deblurring.

    Mean over the blurs that all ways share. A panel for each noise or rounding recorded, or the one `factors`
    names ("" is exact pixels, "noise 0.01", "8-bit").
    """
    found = need(rows, "frontier", metric=metric, versus="", training=["sharp", "mix"])
    selection.one_source(found, "frontier")
    found = one_scale(found, "frontier", scale)
    times = need(rows, "frontier", metric="seconds", scale=found["scale"].iloc[0])
    found, times = (
        part.assign(
            method=[rules.restoration(v)[1] for v in part["seen"]],
            factor=[rules.restoration(v)[2] for v in part["seen"]],
        )
        for part in (found, times)
    )
    panels = [factors] if factors is not None else [f for f in dict.fromkeys(found["factor"]) if "kernel" not in f]
    panels = sorted(panels)
    drawn = {}
    for factor in panels:
        ways = {}
        for (training, method), part in found[found["factor"] == factor].groupby(["training", "method"]):
            clock = times[(times["method"] == method) & times["factor"].isin([factor, ""])]
            own = clock[clock["training"] == training]
            seconds = (own if len(own) else clock)["value"].mean()
            name = "mix" if training == "mix" else method.replace("_", " ") or "sharp, no deblurring"
            if np.isfinite(seconds) and (training == "sharp" or method == ""):
                ways[name] = (seconds, points(part[part["blur"] != "sharp"], metric), training == "mix")
        shared = set.intersection(*(set(way[1]) for way in ways.values())) if ways else set()
        if shared:
            drawn[factor] = [
                (name, seconds, intervals.mean_of([found_[b] for b in shared]), mix)
                for name, (seconds, found_, mix) in ways.items()
            ]
    if not drawn:
        raise UserError("frontier has no blur with accuracy and seconds for every way; run the chapter on deblurring")
    figure = card(2.5 * len(drawn) + 0.5)
    for axes, (factor, named) in zip(figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0], drawn.items()):
        _seconds_axis(axes, [seconds for _, seconds, _, _ in named])
        _named_points(axes, named, 1.7)
        axes.set_title(factor or "exact pixels")
        axes.set_ylabel(AXES.get(metric, metric))
        axes.label_outer()
    subtitle(figure, found, f"scale {found['scale'].iloc[0]}", "mean over the blurs", "bar: 95 % interval")
    return figure


@styled
def scale_cost(rows: pd.DataFrame, metric: str = "top1", trainings: Sequence[str] = ("mix", "mix per scale")) -> Figure:
    """Accuracy on sharp and on blurred images (mean over those all share) against seconds per image, by scale."""
    found = need(rows, "scale_cost", metric=metric, versus="", training=list(trainings))
    found = found[found["seen"] == selection.main_view(found)]
    selection.one_source(found, "scale_cost")
    times = need(rows, "scale_cost", metric="seconds", training=list(trainings))
    ways = {}
    for (training, scale), part in found.groupby(["training", "scale"]):
        seconds = times.loc[(times["training"] == training) & (times["scale"] == scale), "value"].mean()
        if np.isfinite(seconds):
            ways[training, scale] = (seconds, points(part, metric))
    if not ways:
        raise UserError("scale_cost found no scale with accuracy and seconds; run the chapter on scales")
    shared = set.intersection(*(set(way[1]) for way in ways.values()))
    panels = {"sharp images": shared & {"sharp"}, "blurred images, mean": shared - {"sharp"}}
    panels = {title: blurs for title, blurs in panels.items() if blurs}
    if not panels:
        raise UserError("scale_cost has no blur that every scale was tested on")
    figure = card(2.4 * len(panels) + 0.5)
    for axes, (title, blurs) in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels.items()):
        named = [
            (
                scale + {"mix": "", "mix per scale": ", a network each"}.get(training, f", {training}"),
                seconds,
                intervals.mean_of([own[b] for b in blurs]),
                training == "mix",
            )
            for (training, scale), (seconds, own) in ways.items()
        ]
        _seconds_axis(axes, [seconds for _, seconds, _, _ in named])
        _named_points(axes, named, 1.7)
        axes.set_title(title)
        axes.set_ylabel(AXES.get(metric, metric))
        axes.label_outer()
    subtitle(figure, found, "filled: one network for all scales", "bar: 95 % interval")
    return figure
