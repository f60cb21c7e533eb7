"""Accuracy under each blur: of one network, before and after fine-tuning, its loss taken apart, beside confidence."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import numbers, paper, selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import CARD, INK, QUIET, colour, styled, tint


@styled
def accuracy_by_blur(rows: pd.DataFrame, metric: str = "top5", training: str = "sharp", compare: bool = True) -> Figure:
    """Accuracy under each blur, a panel for each scale: ours filled with intervals, the paper's hollow.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A key of METRICS; the paper is drawn for top5 only, where it has the condition.
    training
        What the network was trained on, "as given" for one that is not ours.
    compare
        Whether to draw the paper at all.

    Raises
    ------
    UserError
        No such rows, or rows of two networks or data sets.
    """
    found = marks.plain(rows, "accuracy_by_blur", metric=metric, training=training, **marks.WHOLE)
    scales, blurs = labels.scales_in_order(found["scale"]), labels.in_order(found["blur"])
    columns = min(2, len(scales))
    figure, grid = marks.panels(len(scales), 0.26 * len(blurs) + 0.75, columns, 0.55, sharex=True, sharey=True)
    hollow = 0
    for axes, scale in zip(grid, scales):
        places = marks.blur_axis(axes, blurs)
        marks.dots(axes, marks.points(selection.select(found, scale=scale), metric), places)
        for one in paper.published(scale, training=training).itertuples() if compare and metric == "top5" else ():
            if one.blur in places:
                hollow += 1
                ring = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.1}
                axes.plot(one.top5_percent, places[one.blur], "o", zorder=4, gid="paper", **ring)
        axes.set(title=f"scale {scale}", xlim=(-3, 103), xticks=[0, 25, 50, 75, 100])
    for axes in grid[-columns:]:
        axes.set_xlabel(METRICS[metric].along)
        axes.tick_params(labelbottom=True)
    marks.subtitle(figure, found, marks.trained(training), "bar: 95 % interval", "ring: the paper" if hollow else "")
    return figure


@styled
def confidence(rows: pd.DataFrame, scale: str | None = None, training: str = "sharp") -> Figure:
    """Entropy (nats) and probability of the true class (%) under each blur, at one scale.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    scale
        256 where present, else the first.
    training
        What the network was trained on.
    """
    metrics = ["entropy", "p_true"]
    found = marks.plain_at(rows, "confidence", scale, metric=metrics, training=training, **marks.WHOLE)
    blurs = labels.in_order(found["blur"])
    figure, grid = marks.panels(2, 0.26 * len(blurs) + 1.3, 2, sharey=True)
    for axes, metric in zip(grid, metrics):
        here = marks.need(found, "confidence", metric=metric)
        marks.dots(axes, marks.points(here, metric), marks.blur_axis(axes, blurs))
        axes.set(xlim=(0, 100 if METRICS[metric].is_share else None), xlabel=METRICS[metric].along)
    marks.subtitle(figure, found, marks.at_scale(found), marks.trained(training), "bar: 95 % interval")
    return figure


@styled
def before_after(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> Figure:
    """Each blur before (pale) and after fine-tuning on the mix (full), both with intervals, joined by the change.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A key of METRICS.
    scale
        256 where present, else the first.

    Raises
    ------
    UserError
        No blur has rows of both trainings.
    """
    found = marks.plain_at(rows, "before_after", scale, metric=metric, training=["sharp", "mix"], **marks.WHOLE)
    ends = [marks.points(marks.need(found, "before_after", training=t), metric) for t in ("sharp", "mix")]
    if not (blurs := [b for b in labels.in_order(found["blur"]) if all(b in end for end in ends)]):
        raise UserError("before_after has no blur with rows for both sharp and mix; run both networks on it")
    figure, (axes,) = marks.panels(1, 0.3 * len(blurs) + 1.3)
    places = marks.blur_axis(axes, blurs)
    for blur in blurs:
        style = {"color": colour(blur), "linewidth": 1, "alpha": 0.6, "zorder": 1, "gid": "change"}
        axes.plot([end[blur][0] for end in ends], [places[blur]] * 2, **style)
    marks.pair(axes, *({b: end[b] for b in blurs} for end in ends), places)
    axes.set(xlim=(0, 100 if METRICS[metric].is_share else None), xlabel=METRICS[metric].along)
    marks.subtitle(figure, found, marks.at_scale(found), *marks.PAIR)
    return figure


PARTS = ("information lost", "blur unknown", "train-test mismatch")


@styled
def loss_split(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> Figure:
    """The loss under each blur in three parts.

    What a specialist for it loses too, what the mix loses beyond the specialist, what the sharp network loses beyond
    the mix. The specialist is the training that bears the blur's label (`shake` for shake). The whiskers are the
    intervals of the accuracies at the joints. A part below zero (the later network is better) is drawn hollow.

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
        No blur was tested with all three trainings.
    """
    found = marks.plain_at(rows, "loss_split", scale, metric=metric, **marks.WHOLE)
    parts = {training: marks.points(part, metric) for training, part in found.groupby("training")}
    level = {(training, blur): point for training, points in parts.items() for blur, point in points.items()}

    def complete(blur: str) -> bool:
        return blur != "sharp" and {(blur, blur), ("mix", blur), ("sharp", blur), ("sharp", "sharp")} <= set(level)

    if not (blurs := list(filter(complete, labels.in_order(found["blur"])))):
        raise UserError(
            "loss_split needs rows of sharp, mix and a specialist (training D8 on D8, say) under one blur, and of "
            "sharp on sharp; fine-tune a specialist first"
        )
    figure, (axes,) = marks.panels(1, 0.62 * len(blurs) + 1.45)
    marks.blur_axis(axes, blurs)
    axes.set_yticks(range(len(blurs)), blurs)
    axes.set_ylim(len(blurs) - 0.4, -0.95)
    top = level["sharp", "sharp"][0]
    joints = {b: [0.0, *(top - level[training, b][0] for training in (b, "mix", "sharp"))] for b in blurs}
    for place, blur in enumerate(blurs):
        _bars(axes, place, joints[blur], colour(blur), 0.06 * top)
        for training, end, height in zip((blur, "mix", "sharp"), joints[blur][1:], (0.37, 0.45, 0.37)):
            value, low, high = level[training, blur]
            mark = marks.whisker((end, end - (high - value), end + (value - low)))
            axes.errorbar(end, place + height, xerr=mark, fmt="|", color=INK, elinewidth=1, markersize=4, zorder=4)
    along = f"points of {METRICS[metric].spoken} lost under the blur"
    axes.set(xlim=(min(0.0, axes.get_xlim()[0]), None), xlabel=along)
    _name_parts(axes, joints[blurs[0]])
    marks.subtitle(figure, found, marks.at_scale(found), "bar below: 95 % interval at each joint")
    return figure


def _bars(axes, place: float, ends: Sequence[float], ink: str, least: float) -> None:
    """The three parts between `ends` in one line, those wider than `least` with their width written in them."""
    for i, (start, stop) in enumerate(zip(ends, ends[1:])):
        style = {"color": tint(ink, (1.0, 0.6, 0.28)[i]), "edgecolor": CARD, "height": 0.56, "zorder": 2}
        if stop < start:
            style = {"color": "none", "edgecolor": ink, "height": 0.3, "zorder": 3}
        axes.barh(place, stop - start, left=start, linewidth=1, gid=PARTS[i], **style)
        if stop - start > least:
            written = {"ha": "center", "va": "center", "color": "white" if i == 0 else INK, "zorder": 5}
            axes.text((start + stop) / 2, place, f"{stop - start:.0f}", **written)


def _name_parts(axes, ends: Sequence[float]) -> None:
    """Names above the parts of the first bar, pushed apart where they would collide."""
    low, high = axes.get_xlim()
    unit = (high - low) / 62  # the width of a letter, near enough
    widths, centres = [len(name) * unit for name in PARTS], [(a + b) / 2 for a, b in zip(ends, ends[1:])]
    wanted = [max(low, centre - width / 2) for centre, width in zip(centres, widths)]
    behind = {"facecolor": CARD, "edgecolor": "none", "pad": 1}
    for start, width, centre, name in zip(marks.apart(wanted, widths, 2.5 * unit, high), widths, centres, PARTS):
        axes.text(start, -0.62, name, fontsize=8.5, color=QUIET, ha="left", va="bottom", bbox=behind)
        foot = min(max(centre, start), start + width)  # the leader leaves the name where it is nearest
        axes.plot([foot, centre], [-0.6, -0.3], color=QUIET, linewidth=0.7, zorder=1)


@styled
def reliability(rows: pd.DataFrame, blurs: Sequence[str] = ("sharp", "D8")) -> Figure:
    """Accuracy against stated confidence of the sharp and the mix network, a panel for each blur that has bins.

    The area of a dot is its bin's share of the images; the first run of training and the first scale speak for all.

    Parameters
    ----------
    rows
        Answers of one network on one data set: bins (`part_kind` bin, metrics top1 and confidence), and ece.
    blurs
        What to draw, a line of panels for each blur.

    Raises
    ------
    UserError
        No bins were recorded of these.
    """
    whole = selection.estimates(rows, part_kind=["bin", ""], metric=["top1", "confidence", "ece"], **marks.WHOLE)
    panels = {}
    for blur in blurs:
        for training in ("sharp", "mix"):
            here = _first(selection.select(whole, training=training, blur=blur))
            if (here["part_kind"] == "bin").any():
                panels[training, blur] = here
    if not panels:
        wrong = "reliability has no bins of confidence for these trainings and blurs"
        raise UserError(f"{wrong}; run the chapter that does")
    source = selection.one_source(pd.concat(panels.values()), "reliability")
    columns, height = (2, 2.45) if len(panels) > 1 else (1, 4)
    figure, grid = marks.panels(len(panels), height, columns, 0.5, sharex=True, sharey=True)
    totals = []
    for axes, ((training, blur), here) in zip(grid, panels.items()):
        ink = colour(blur)
        totals.append(_curve(axes, here[here["part_kind"] == "bin"], ink))
        off = here[here["metric"] == "ece"]
        error = f"\noff by {numbers.cell(off, 'ece')} points" if off["ci_low"].notna().any() else ""
        axes.set_title(f"{training}, {blur}{error}", fontsize=9.5, color=ink)
    figure.supxlabel("stated confidence, %", fontsize=9.5)
    figure.supylabel("accuracy, %", fontsize=9.5)
    terms = numbers.counted(totals), "below the line: too sure", "bar: 95 % interval"
    marks.subtitle(figure, ", ".join(source), *terms)
    return figure


def _first(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first run of training at the first scale, in the main protocol."""
    rows = selection.main_protocol(rows)
    if rows.empty:
        return rows
    rows = selection.select(rows, scale=labels.scales_in_order(rows["scale"])[0])
    seeds = rows["train_seed"].dropna()
    return selection.select(rows, train_seed=seeds.min()) if len(seeds) else rows


def _curve(axes, bins: pd.DataFrame, ink: str) -> int:
    """One panel, % against %; returns the number of images in its bins."""
    parts = [part for _, part in bins.groupby("part", sort=False)]
    means = {m: [selection.estimate(selection.select(p, metric=m)) for p in parts] for m in ("confidence", "top1")}
    x = [100 * sure[0] for sure in means["confidence"]]
    right = [marks.percent(one, "top1") for one in means["top1"]]
    y, bars = [one[0] for one in right], np.hstack([marks.whisker(one) for one in right])
    n = np.array([int(part["n"].max()) for part in parts])
    axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.8, dashes=(4, 3), gid="diagonal")
    axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=ink, elinewidth=1, alpha=0.7)
    axes.scatter(x, y, s=12 + 260 * n / n.sum(), color=ink, alpha=0.85, linewidth=0, zorder=3)
    axes.set(aspect="equal", xlim=(-3, 103), ylim=(-3, 103), xticks=[0, 50, 100], yticks=[0, 50, 100])
    axes.tick_params(labelbottom=True)
    return int(n.sum())
