"""Which classes break first: accuracy lost by class, from records whose view names the class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb.errors import UserError
from blurnb.report import selection, tables
from blurnb.report.marks import subtitle, whisker
from blurnb.report.palette import INK, QUIET, card, colour, styled

MARK = ", class "


def losses(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a class, most lost first: class, n, blur, sharp (value, low, high), change (value, low, high).

    `rows` are of one network, data set and scale; empty where no class had images enough for rows of its own.
    """
    rows = selection.split_view(rows) if "seen" not in rows.columns else rows
    own = rows[np.array([MARK in seen for seen in rows["seen"]], dtype=bool)]  # typed: it may be of none
    lines = []
    for seen, part in own.groupby("seen", sort=True):
        sharp = selection.select(part, metric="top1", versus="")
        change = selection.select(part, metric="top1_change", versus="sharp image")
        if sharp.empty or change.empty:
            continue
        lines.append(
            {
                "class": seen.split(MARK, 1)[1],
                "n": int(change["n"].max()),
                "blur": change["blur"].iloc[0],
                "scale": change["scale"].iloc[0],
                "sharp": selection.estimate(sharp),
                "change": selection.estimate(change),
            }
        )
    frame = pd.DataFrame(lines, columns=["class", "n", "blur", "scale", "sharp", "change"])
    order = np.argsort([change[0] for change in frame["change"]], kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def table(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` classes that lose most and the `count` that lose least; all where there are no more."""
    found = losses(rows)
    shown = found if len(found) <= 2 * count else pd.concat([found.head(count), found.tail(count)])
    return pd.DataFrame(
        {
            "class": shown["class"],
            "n": [str(n) for n in shown["n"]],
            "sharp top-1, %": [tables.interval(*s, n) for s, n in zip(shown["sharp"], shown["n"])],
            f"change under {found['blur'].iloc[0] if len(found) else 'blur'}, points": [
                tables.interval(*c, n, "top1_change", signed=True) for c, n in zip(shown["change"], shown["n"])
            ],
        }
    )


def sentence(rows: pd.DataFrame) -> str:
    """How much there is in the order of the classes: how many differ from the mean loss, beside chance's share."""
    found = losses(rows)
    if found.empty:
        return "No class has enough images for a number of its own."
    mean = np.average([change[0] for change in found["change"]], weights=found["n"])
    worse = sum(change[2] < mean for change in found["change"])
    better = sum(change[1] > mean for change in found["change"])
    expected = 0.05 * len(found)
    counts = f"n = {_counts(found)} a class"
    return (
        f"Of {len(found)} classes ({counts}), {worse} lose more under {found['blur'].iloc[0]} than the mean of "
        f"{abs(100 * mean):.1f} points and {better} less, with whole 95 % intervals; about {expected:.1f} of "
        f"{len(found)} would by chance. The ends of an ordered list are always partly luck."
    )


def _counts(found: pd.DataFrame) -> str:
    least, most = found["n"].min(), found["n"].max()
    return f"{least}" if least == most else f"{least} to {most}"


@styled
def first_to_break(rows: pd.DataFrame, count: int = 12) -> Figure:
    """Sharp accuracy (hollow) and accuracy under blur (filled) of the `count` classes that lose most, worst on top.

    The bar is the 95 % interval of the paired loss, drawn from the sharp mark.
    """
    found = losses(rows).head(count)
    if found.empty:
        raise UserError("first_to_break needs rows by class: at least five images of a class, sharp and blurred")
    figure = card(0.3 * len(found) + 1.2)
    axes = figure.subplots()
    ink = colour(found["blur"].iloc[0])
    for place, line in enumerate(found.itertuples()):
        start, change = 100 * line.sharp[0], tuple(100 * end for end in line.change)
        axes.plot([start, start + change[0]], [place, place], color=ink, linewidth=1, alpha=0.5, zorder=1)
        axes.plot(start, place, "o", markersize=5.5, markerfacecolor="none", markeredgecolor=QUIET, zorder=3)
        end = start + change[0]
        bar = whisker((end, start + change[1], min(start + change[2], 100.0)))
        axes.errorbar(end, place, xerr=bar, fmt="o", color=ink, markersize=5.5, elinewidth=1.4, zorder=3)
    axes.set_yticks(range(len(found)), [name.replace("$", r"\$")[:32] for name in found["class"]], color=INK)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(-3, 103)
    axes.grid(axis="x")
    axes.set_xlabel("top-1 accuracy, %")
    names = ", ".join(sorted(set(rows["network"]))), ", ".join(sorted(set(rows["dataset"])))
    counts = f"n = {_counts(found)} a class"
    scale, blur = found["scale"].iloc[0], found["blur"].iloc[0]
    subtitle(figure, names[0], names[1], counts, f"scale {scale}", "hollow: sharp", f"filled: {blur}",
             "bar: 95 % interval of the change")  # fmt: skip
    return figure
