"""What deblurring gains and where it loses it again: the table of the chapter on deblurring, and two figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report import rules, selection, tables
from blurnb.report.marks import AXES, PERCENT, Triple, blur_axis, need, one_scale, points, subtitle, whisker
from blurnb.report.palette import CARD, INK, QUIET, card, colour, styled

PLAIN = "no deblurring"
MARKS = {PLAIN: "o", "wiener": "s", "krishnan_fergus": "D", "richardson_lucy": "^", "tv": "v", "epll": "P"}


def parted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `seen`, `versus` and the parts of `seen`: `method`, `factor` ("" for exact pixels), `kernel`."""
    frame = rows if "seen" in rows.columns else selection.split_view(rows)
    named = [rules.restoration(view) for view in frame["seen"]]
    factors = [[part for part in factors.split(", ") if part] for _, _, factors in named]
    return frame.assign(
        method=[method for _, method, _ in named],
        factor=[", ".join(p for p in parts if not p.startswith("kernel ")) for parts in factors],
        kernel=[next((p.removeprefix("kernel ") for p in parts if p.startswith("kernel ")), "") for parts in factors],
    )


def _way(training: str, method: str) -> str:
    """`sharp`, `wiener, then sharp`, `mix`; the method alone where no network is asked (PSNR)."""
    name = method.replace("_", " ")
    if not training:
        return name or PLAIN
    return f"{name}, then {training}" if method else training


def _in_order(found: pd.DataFrame) -> list[tuple[str, str]]:
    """(training, method) of the rows: networks as they are first, then the methods as they come by name."""
    pairs = set(zip(found["training"], found["method"]))
    return sorted(pairs, key=lambda pair: (pair[1] != "", selection.training_place(pair[0]), pair[1]))


def by_way(rows: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Ways of answering down, blurs across, with the true kernel: value with interval, and n in the last column.

    `metric` is top1, top5, psnr (of what the networks are shown) or seconds. Every noise and rounding has lines of its
    own; the time of a way that was not measured under a blur is left empty.
    """
    found = need(rows, "the table of restorations", metric=metric, versus="")
    found = parted(found)
    found = found[found["kernel"] == ""]
    selection.one_source(found, "the table of restorations")
    blurs, lines = selection.in_order(found["blur"]), []
    for factor in dict.fromkeys(sorted(found["factor"])):
        here = found[found["factor"] == factor]
        for training, method in _in_order(here):
            part = here[(here["training"] == training) & (here["method"] == method)]
            line = {"pixels": factor or "exact", "way": _way(training, method)}
            for blur in blurs:
                cell = part[part["blur"] == blur]
                line[blur] = (
                    tables.interval(*selection.estimate(cell), int(cell["n"].max()), metric) if len(cell) else "–"
                )
            lines.append(line | {"n": f"{int(part['n'].min()):,}"})
    return pd.DataFrame(lines)


def paired(rows: pd.DataFrame, versus: str = "mix network", metric: str = "top1_change") -> pd.DataFrame:
    """Paired differences of every way, true kernel and wrong ones, from the condition `versus`; means over blurs.

    The p-value of McNemar's test is not averaged: the last columns say in how many of the blurs the interval lies
    above and below zero.
    """
    found = parted(need(rows, "the table of paired differences", metric=metric, versus=versus))
    found = found[found["kernel"] == ""]
    selection.one_source(found, "the table of paired differences")
    lines = []
    for factor in dict.fromkeys(sorted(found["factor"])):
        here = found[found["factor"] == factor]
        for training, method in _in_order(here):
            part = here[(here["training"] == training) & (here["method"] == method)]
            each = {b: selection.estimate(part[part["blur"] == b]) for b in selection.in_order(part["blur"])}
            n = int(part["n"].max())
            mean = tables.interval(*intervals.mean_of(list(each.values())), n, metric, signed=True)
            line = {"pixels": factor or "exact", "way": _way(training, method), "mean, points": mean}
            line |= {b: tables.interval(*one, n, metric, signed=True) for b, one in each.items()}
            lines.append(line | {"n": f"{n:,}"})
    return pd.DataFrame(lines).fillna("–")


@styled
def wrong_kernels(rows: pd.DataFrame, metric: str = "top1", factor: str = "", method: str | None = None) -> Figure:
    """A panel for each method: accuracy of the sharp network when the method is given a kernel that is not the blur's.

    One line a kernel, below its blur; a bar across them marks the mix network, a dashed one the sharp network on the
    image as it is. `factor` is the noise ("" exact pixels).
    """
    what = "wrong_kernels"
    found = parted(one_scale(need(rows, what, metric=metric, versus="", training=["sharp", "mix"]), what, None))
    found = found[found["factor"] == factor]
    selection.one_source(found, what)
    sharp = found[(found["training"] == "sharp") & (found["method"] != "")]
    wrong = sharp[(sharp["kernel"] != "") & (sharp["method"] == method if method else True)]
    if wrong.empty:
        raise UserError(
            f"wrong_kernels has no rows of a wrong kernel with {factor or 'exact pixels'}; run rq4 with wrong_kernels"
        )
    methods, blurs = sorted(set(wrong["method"])), selection.in_order(wrong["blur"])
    lines = [(blur, kernel) for blur in blurs for kernel in _kernels(wrong, blur)]
    columns = len(methods)
    figure = card(0.24 * len(lines) + 0.2 * len(blurs) + 1.3)
    factor_of = 100 if metric in PERCENT else 1
    heights, height = {}, 0.0
    for place, line in enumerate(lines):
        height += 0.6 if place and line[0] != lines[place - 1][0] else 0.0
        heights[line] = height
        height += 1
    for axes, one in zip(figure.subplots(1, columns, sharex=True, sharey=True, squeeze=False)[0], methods):
        part = sharp[sharp["method"] == one]
        for (blur, kernel), y in heights.items():
            cell = part[(part["blur"] == blur) & (part["kernel"] == kernel)]
            if cell.empty:
                continue
            point = _percent(selection.estimate(cell), factor_of)
            face = colour(blur) if not kernel else CARD
            axes.errorbar(
                point[0], y, xerr=whisker(point), fmt="o", color=colour(blur), markerfacecolor=face, markersize=5,
                elinewidth=1.2, gid="kernel",
            )  # fmt: skip
        for blur in blurs:
            ends = [y for (b, _), y in heights.items() if b == blur]
            for training, dashes in (("mix", (None, None)), ("sharp", (2, 1.5))):
                plain = found[(found["training"] == training) & (found["method"] == "") & (found["blur"] == blur)]
                if not plain.empty:
                    x = _percent(selection.estimate(plain), factor_of)[0]
                    axes.plot(
                        [x, x], [min(ends) - 0.45, max(ends) + 0.45], color=INK if training == "mix" else QUIET,
                        linewidth=1.4, dashes=dashes, zorder=1, gid=training,
                    )  # fmt: skip
        axes.set_title(one.replace("_", " "))
        axes.set_yticks(list(heights.values()), [f"{b}: {k or 'true kernel'}" for b, k in heights])
        for text, (blur, kernel) in zip(axes.get_yticklabels(), heights):
            text.set_color(colour(blur))
            text.set_fontweight("normal" if kernel else "bold")
        axes.set_ylim(height - 0.3, -0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(AXES.get(metric, metric))
    for axes in figure.axes[1:]:
        axes.tick_params(axis="y", labelleft=False)
    bars = "bar: mix network as it is" if (found["training"] == "mix").any() else ""
    subtitle(figure, wrong, factor or "exact pixels", bars, "dashed: sharp network as it is", "whisker: 95 % interval")
    return figure


def _percent(point: Triple, factor: float) -> Triple:
    return tuple(factor * end for end in point)


def _kernels(wrong: pd.DataFrame, blur: str) -> list[str]:
    """The true kernel ("") first, then the wrong ones by their labels' order."""
    names = set(wrong.loc[wrong["blur"] == blur, "kernel"])
    labels = [name for name in names if " " not in name]
    return ["", *selection.in_order(labels), *sorted(names - set(labels))]


@styled
def by_noise(rows: pd.DataFrame, metric: str = "top1", training: str = "sharp") -> Figure:
    """Accuracy of a network after each method, a panel for each rounding and noise, beside both networks as they are.

    True kernels; marks of one blur lie on one line, so that a panel read against the next shows who loses most.
    """
    found = parted(
        one_scale(need(rows, "by_noise", metric=metric, versus="", training=["sharp", "mix"]), "by_noise", None)
    )
    found = found[(found["kernel"] == "") & (found["blur"] != "sharp")]
    selection.one_source(found, "by_noise")
    asked: Sequence[str] = sorted(set(found.loc[found["method"] != "", "method"]))
    factors, blurs = sorted(set(found["factor"])), selection.in_order(found["blur"])
    figure = card(len(factors) * (0.34 * len(blurs) + 0.75) + 0.75)
    grid = figure.subplots(len(factors), 1, sharex=True, squeeze=False)[:, 0]
    ways = [("mix", "", "mix"), ("sharp", "", PLAIN), *((training, method, method) for method in asked)]
    handles = {}
    for axes, factor in zip(grid, factors):
        places = blur_axis(axes, blurs)
        for (who, method, name), shift in zip(ways, np.linspace(-0.3, 0.3, len(ways))):
            part = found[(found["factor"] == factor) & (found["training"] == who) & (found["method"] == method)]
            if part.empty:
                continue
            for blur, point in points(part, metric).items():
                face = INK if name == "mix" else CARD if name == PLAIN else colour(blur)
                ink = INK if name == "mix" else colour(blur)
                drawn = axes.errorbar(
                    point[0], places[blur] + shift, xerr=whisker(point), fmt=MARKS.get(name, "*"), color=ink,
                    markerfacecolor=face, markersize=5, elinewidth=1, gid=name,
                )  # fmt: skip
                handles.setdefault(name.replace("_", " "), drawn)
        axes.set_title(factor or "exact pixels")
    grid[-1].set_xlabel(AXES.get(metric, metric))
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=8.5, handletextpad=0.3
    )
    subtitle(figure, found, f"methods followed by the {training} network", "bar: 95 % interval")
    return figure
