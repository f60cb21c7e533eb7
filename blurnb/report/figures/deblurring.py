"""What deblurring gains and where it loses it again: wrong kernels, and rounding and noise."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import CARD, INK, QUIET, colour, styled

PLAIN = "no deblurring"
MARKS = {PLAIN: "o", "wiener": "s", "krishnan_fergus": "D", "richardson_lucy": "^", "tv": "v", "epll": "P"}


def _restored(rows: pd.DataFrame, what: str, metric: str) -> pd.DataFrame:
    """The answers of the sharp and the mix network at the main scale, with and without deblurring."""
    wanted = {"metric": metric, "training": ["sharp", "mix"], **marks.WHOLE}
    return marks.plain_at(rows, what, None, marks.TREATED, **wanted)


@styled
def wrong_kernels(rows: pd.DataFrame, metric: str = "top1", capture: str = "exact pixels") -> Figure:
    """A panel for each method: accuracy of the sharp network when the method is given a kernel that is not the blur's.

    One line a kernel, below its blur; a bar across them marks the mix network, a dashed one the sharp network on the
    image as it is.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A share, a key of METRICS.
    capture
        "exact pixels", "8-bit", "noise 0.01".

    Raises
    ------
    UserError
        No method was given a wrong kernel.
    """
    found = _restored(rows, "wrong_kernels", metric)
    columns = selection.captures(found).get(capture)
    found = selection.select(found, **columns) if columns else found.head(0)
    wrong = found[(found["training"] == "sharp") & ~found["kernel"].isin(["none", "true"])]
    if wrong.empty:
        raise UserError(f"wrong_kernels has no rows of a wrong kernel with {capture}; run rq4 with wrong_kernels")
    methods, blurs = sorted(set(wrong["method"])), labels.in_order(wrong["blur"])
    heights, height = {}, 0.0
    for blur in blurs:
        height += 0.6 if heights else 0.0
        for kernel in _kernels(wrong, blur):
            heights[blur, kernel] = height
            height += 1
    tall = 0.24 * len(heights) + 0.2 * len(blurs) + 1.3
    figure, grid = marks.panels(len(methods), tall, len(methods), sharex=True, sharey=True)
    for axes, one in zip(grid, methods):
        _kernel_marks(axes, selection.select(found, training="sharp", method=one), metric, heights)
        _network_bars(axes, selection.select(found, method="none"), metric, heights)
        axes.set_yticks(list(heights.values()), [f"{b}: {_kernel_name(b, k)}" for b, k in heights])
        for text, (blur, kernel) in zip(axes.get_yticklabels(), heights):
            text.set_color(colour(blur))
            text.set_fontweight("bold" if kernel == "true" else "normal")
        marks.down(axes, height - 0.3)
        axes.set(title=one.replace("_", " "), xlabel=METRICS[metric].along)
    for axes in grid[1:]:
        axes.tick_params(axis="y", labelleft=False)
    bars = "bar: mix network as it is" if (found["training"] == "mix").any() else ""
    marks.subtitle(figure, wrong, capture, bars, "dashed: sharp network as it is", "whisker: 95 % interval")
    return figure


def _kernels(wrong: pd.DataFrame, blur: str) -> list[str]:
    """The true kernel first, then the wrong ones by their labels' order."""
    names = set(wrong.loc[wrong["blur"] == blur, "kernel"])
    return ["true", *labels.in_order(names - {"another draw"}), *(names & {"another draw"})]


def _kernel_name(blur: str, kernel: str) -> str:
    return {"true": "true kernel", "another draw": f"another {labels.family(blur)}"}.get(kernel, kernel)


def _kernel_marks(axes, rows: pd.DataFrame, metric: str, heights: Mapping[tuple[str, str], float]) -> None:
    """A mark for each (blur, kernel) that one method was given, the true ones full."""
    for (blur, kernel), cell in rows.groupby(["blur", "kernel"]):
        if (blur, kernel) in heights:
            point, ink = marks.percent(selection.estimate(cell), metric), colour(blur)
            style = {"color": ink, "markerfacecolor": ink if kernel == "true" else CARD, "markersize": 5}
            style |= {"fmt": "o", "elinewidth": 1.2, "gid": "kernel"}
            axes.errorbar(point[0], heights[blur, kernel], xerr=marks.whisker(point), **style)


def _network_bars(axes, rows: pd.DataFrame, metric: str, heights: Mapping[tuple[str, str], float]) -> None:
    """Across the kernels of each blur the accuracy of both networks on the image as it is."""
    for training, ink, dashes in (("mix", INK, (None, None)), ("sharp", QUIET, (2, 1.5))):
        style = {"color": ink, "linewidth": 1.4, "dashes": dashes, "zorder": 1, "gid": training}
        for blur, point in marks.points(selection.select(rows, training=training), metric).items():
            if ends := [y for (one, _), y in heights.items() if one == blur]:
                axes.plot([point[0]] * 2, [min(ends) - 0.45, max(ends) + 0.45], **style)


@styled
def by_noise(rows: pd.DataFrame, metric: str = "top1") -> Figure:
    """Accuracy of the sharp network after each method, a panel for each rounding and noise, and both as they are.

    True kernels; marks of one blur lie on one line, so that a panel read against the next shows who loses most.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A share, a key of METRICS.
    """
    found = selection.select(_restored(rows, "by_noise", metric), kernel=["none", "true"])
    found = found[found["blur"] != "sharp"]
    methods = sorted(set(found["method"]) - {"none"})
    captures, blurs = selection.captures(found), labels.in_order(found["blur"])
    figure, grid = marks.panels(len(captures), 0.34 * len(blurs) + 0.75, more=0.75, sharex=True)
    ways = [("mix", "none", "mix"), ("sharp", "none", PLAIN), *(("sharp", method, method) for method in methods)]
    handles = {}
    for axes, (capture, columns) in zip(grid, captures.items()):
        places, here = marks.blur_axis(axes, blurs), selection.select(found, **columns)
        for (who, method, name), shift in zip(ways, np.linspace(-0.3, 0.3, len(ways))):
            part = selection.select(here, training=who, method=method)
            for blur, point in marks.points(part, metric).items():
                ink = INK if name == "mix" else colour(blur)
                style = {"color": ink, "markerfacecolor": CARD if name == PLAIN else ink, "gid": name}
                style |= {"fmt": MARKS.get(name, "*"), "markersize": 5, "elinewidth": 1}
                drawn = axes.errorbar(point[0], places[blur] + shift, xerr=marks.whisker(point), **style)
                handles.setdefault(name.replace("_", " "), drawn)
        axes.set_title(capture)
    grid[-1].set_xlabel(METRICS[metric].along)
    below = {"loc": "outside lower center", "ncols": 3, "fontsize": 8.5, "handletextpad": 0.3}
    figure.legend(list(handles.values()), list(handles), **below)
    marks.subtitle(figure, found, "methods followed by the sharp network", "bar: 95 % interval")
    return figure
