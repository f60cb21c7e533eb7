"""Accuracy against stated confidence, drawn from the recorded bins."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import QUIET, colour, styled


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
        raise UserError(
            "reliability has no bins of confidence for these trainings and blurs; run the chapter that does"
        )
    source = selection.one_source(pd.concat(panels.values()), "reliability")
    columns, height = (2, 2.45) if len(panels) > 1 else (1, 4)
    figure, grid = marks.panels(len(panels), height, columns, 0.5, sharex=True, sharey=True)
    totals = []
    for axes, ((training, blur), here) in zip(grid, panels.items()):
        ink = colour(blur)
        totals.append(_curve(axes, here[here["part_kind"] == "bin"], ink))
        off = METRICS["ece"].factor * here.loc[here["metric"] == "ece", "value"].mean()
        error = f"\noff by {off:.1f} points" if math.isfinite(off) else ""
        axes.set_title(f"{training}, {blur}{error}", fontsize=9.5, color=ink)
    figure.supxlabel("stated confidence, %", fontsize=9.5)
    figure.supylabel("accuracy, %", fontsize=9.5)
    terms = marks.counted(totals), "below the line: too sure", "bar: 95 % interval"
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
