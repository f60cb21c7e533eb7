"""Heat maps: layers against blurs, and trainings against tests."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import selection
from blurnb.report.figures import marks
from blurnb.report.figures.palette import INK, luminance, styled

_MAP = "cividis"  # even steps of lightness, the same to colour-blind readers
_UNSEEN = "\N{DEGREE SIGN}"
_TRAINED = {"sharp": "trained on sharp", "mix": "fine-tuned on the mix"}


def _readable(value: float, low: float, high: float) -> str:
    """Ink or white, whichever stands out more from the cell (WCAG contrast)."""
    cell = luminance(colormaps[_MAP]((value - low) / max(high - low, 1e-9)))
    return INK if (cell + 0.05) / (luminance(INK) + 0.05) > 1.05 / (cell + 0.05) else "white"


@styled
def layer_heatmap(rows: pd.DataFrame, metric: str = "cosine", scale: str | None = None) -> Figure:
    """Similarity of each layer's answer to the blurred image and its sharp twin, before and after training on the mix.

    Layers run down from the input. The last column is the baseline, another sharp image: only what exceeds it
    is invariance.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        "cosine" or "cka".
    scale
        256 where present, else the first.

    Raises
    ------
    UserError
        A training or the rows under blur are missing.
    """
    what = "layer_heatmap"
    wanted = {"metric": metric, "training": list(_TRAINED), **marks.WHOLE, "part_kind": "layer"}
    wanted |= {"versus_blur": ["sharp", ""], "versus_image": ["other", ""]}
    found = marks.plain_at(rows, what, scale, **wanted)
    twins, others = selection.select(found, versus_blur="sharp"), selection.select(found, versus_image="other")
    if twins.empty:
        raise UserError(f"layer_heatmap has no {metric} rows under blur; run the notebook that writes them")
    names, blurs = labels.layers_in_order(found["part"]), labels.in_order(twins["blur"])
    columns, values = [*blurs, "other"] if len(others) else blurs, {}
    for training in _TRAINED:
        here = marks.need(found, what, **(wanted | {"training": training}))
        parts = here.groupby(["part", "blur", "versus_image"])
        grid = {(layer, other or blur): selection.estimate(part)[0] for (layer, blur, other), part in parts}
        values[training] = [[grid.get((layer, column), np.nan) for column in columns] for layer in names]
    low = min(0.0, float(np.nanmin(list(values.values()))))
    figure, panels = marks.panels(2, 0.21 * len(names) + 1.75, 2, sharey=True)
    for axes, (training, title) in zip(panels, _TRAINED.items()):
        image = axes.imshow(values[training], cmap=_MAP, vmin=low, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=9.5)
        axes.set_xticks(range(len(columns)), columns, rotation=90)
        marks.paint([text for text in axes.get_xticklabels() if text.get_text() != "other"])
        axes.set_yticks(range(len(names)), names)
        if "other" in columns:
            axes.axvline(len(blurs) - 0.5, color="white", linewidth=2.5)
        marks.bare(axes, ticks=True)
    bar = figure.colorbar(image, ax=panels, location="bottom", aspect=40, pad=0.02, shrink=0.9)
    bar.set_label(METRICS[metric].along)
    bar.outline.set_visible(False)
    marks.subtitle(figure, found, marks.at_scale(found), "other: another sharp image")
    return figure


@styled
def transfer_matrix(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> Figure:
    """Training (rows) against tested blur (columns): value in each cell, half the width of its interval below.

    A frame marks the cells whose test is of the family trained on, a degree sign the blurs that no network has seen in
    training.

    Parameters
    ----------
    rows
        Answers of one network on one data set.
    metric
        A key of METRICS.
    scale
        256 where present, else the first.
    """
    found = marks.plain_at(rows, "transfer_matrix", scale, metric=metric)
    blurs, parts, share = labels.in_order(found["blur"]), selection.trainings(found), METRICS[metric].is_share
    trainings, cells, grid = list(parts), {}, np.full((len(parts), len(blurs)), np.nan)
    for i, part in enumerate(parts.values()):
        for blur, point in marks.points(part, metric).items():
            cells[i, blurs.index(blur)] = point
            grid[i, blurs.index(blur)] = point[0]
    low, high = float(np.nanmin(grid)), float(np.nanmax(grid))
    figure, (axes,) = marks.panels(1, 0.44 * len(trainings) + 1.55)
    axes.imshow(grid, cmap=_MAP, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    for (i, j), cell in cells.items():
        ink = _readable(cell[0], low, high)
        _write(axes, j, i, cell, 0 if share else 2, ink)
        if blurs[j] != "sharp" and trainings[i] in (labels.family(blurs[j]), blurs[j]):
            axes.add_patch(Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, edgecolor=ink, linewidth=1.2))
    seen = labels.learnt(found["training"])
    named = [blur if blur in seen else f"{blur}{_UNSEEN}" for blur in blurs]
    axes.set_xticks(range(len(blurs)), blurs, rotation=90)
    marks.paint(axes.get_xticklabels())
    axes.set_xticklabels(named)
    axes.set_yticks(range(len(trainings)), trainings)
    axes.set(ylabel="trained on", xlabel="tested on")
    marks.bare(axes, ticks=True)
    legend = ["frame: trained on that family", *([f"{_UNSEEN}: in no training"] if named != blurs else [])]
    marks.subtitle(figure, found, marks.at_scale(found), METRICS[metric].along, *legend)
    return figure


def _write(axes, x: int, y: int, cell: tuple[float, float, float], digits: int, ink: str) -> None:
    """The value of a cell and, below it, the longer half of its interval."""
    value, down, up = cell
    known = np.isfinite([down, up]).all()
    middle = {"ha": "center", "va": "center", "color": ink}
    axes.text(x, y - (0.14 if known else 0), f"{value:.{digits}f}", **middle, gid="value")
    if known:
        half = f"±{max(value - down, up - value):.{max(1, digits) if up - down < 3 else digits}f}"
        axes.text(x, y + 0.26, half, **middle, fontsize=7, gid="interval")
