"""Accuracy against stated confidence, drawn from the recorded bins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import selection
from blurnb.report.figures.marks import WHOLE, counted, subtitle, whisker
from blurnb.report.figures.palette import QUIET, card, colour, styled


@styled
def reliability(
    rows: pd.DataFrame, blurs: Sequence[str] = ("sharp", "D8"), trainings: Sequence[str] = ("sharp", "mix")
) -> Figure:
    """Accuracy against stated confidence, a panel for each training and blur that has bins.

    The area of a dot is its bin's share of the images; the first run of training and the first scale speak for all.

    Parameters
    ----------
    rows
        Answers of one network on one data set: bins (`part_kind` bin, metrics top1 and confidence), and ece.
    blurs, trainings
        What to draw, a line of panels for each blur.

    Raises
    ------
    UserError
        No bins were recorded of these.
    """
    whole = selection.estimates(rows, part_kind=["bin", ""], metric=["top1", "confidence", "ece"], **WHOLE)
    panels = {}
    for blur in blurs:
        for training in trainings:
            here = _first(selection.select(whole, training=training, blur=blur))
            if (here["part_kind"] == "bin").any():
                panels[training, blur] = here
    if not panels:
        raise UserError(
            "reliability has no bins of confidence for these trainings and blurs; run the chapter that does"
        )
    every = pd.concat(panels.values())
    source = selection.one_source(every, "reliability")
    columns = min(2, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = card(lines * (2.45 if columns == 2 else 4) + 0.5)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    totals = []
    for axes, ((training, blur), here) in zip(grid, panels.items()):
        ink = colour(blur)
        totals.append(_curve(axes, here[here["part_kind"] == "bin"], ink))
        off = METRICS["ece"].factor * here.loc[here["metric"] == "ece", "value"].mean()
        error = f"\noff by {off:.1f} points" if math.isfinite(off) else ""
        axes.set_title(f"{training}, {blur}{error}", fontsize=9.5, color=ink)
    figure.supxlabel("stated confidence, %", fontsize=9.5)
    figure.supylabel("accuracy, %", fontsize=9.5)
    terms = counted(totals), "below the line: too sure", "bar: 95 % interval"
    subtitle(figure, ", ".join(source), *terms)
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
    right = [tuple(100 * end for end in one) for one in means["top1"]]
    y = [one[0] for one in right]
    n = np.array([int(part["n"].max()) for part in parts])
    axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.8, dashes=(4, 3), gid="diagonal")
    axes.errorbar(x, y, yerr=np.hstack([whisker(o) for o in right]), fmt="none", ecolor=ink, elinewidth=1, alpha=0.7)
    axes.scatter(x, y, s=12 + 260 * n / n.sum(), color=ink, alpha=0.85, linewidth=0, zorder=3)
    axes.set_aspect("equal")
    for limit in (axes.set_xlim, axes.set_ylim):
        limit(-3, 103)
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    axes.tick_params(labelbottom=True)
    return int(n.sum())
