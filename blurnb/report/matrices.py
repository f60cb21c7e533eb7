"""Heat maps: layers against blurs, and trainings against tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from blurnb.errors import UserError
from blurnb.report import selection
from blurnb.report.marks import AXES, PERCENT, need, one_scale, paint, plain, subtitle
from blurnb.report.palette import INK, card, luminance, styled

_MAP = "cividis"  # even steps of lightness, the same to colour-blind readers
_TRAINED = {"sharp": "trained on sharp", "mix": "fine-tuned on the mix"}


def _readable(value: float, low: float, high: float) -> str:
    """Ink or white, whichever stands out more from the cell (WCAG contrast)."""
    cell = luminance(colormaps[_MAP]((value - low) / max(high - low, 1e-9)))
    return INK if (cell + 0.05) / (luminance(INK) + 0.05) > 1.05 / (cell + 0.05) else "white"


def _bare(axes) -> None:
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


@styled
def layer_heatmap(
    rows: pd.DataFrame,
    metric: str = "cosine",
    trainings: Sequence[str] = ("sharp", "mix"),
    layers: Sequence[str] | None = None,
    scale: str | None = None,
) -> Figure:
    """Similarity of each layer's answer to the blurred image and its sharp twin; a panel for each training.

    Layers run down from the input. The last column is the baseline, another sharp image: only what exceeds it
    is invariance. `layers` chooses and orders; else all, by their numbers.
    """
    found = need(rows, "layer_heatmap", metric=metric, training=list(trainings))
    selection.one_source(found, "layer_heatmap")
    found = one_scale(found, "layer_heatmap", scale)
    found = found.assign(layer=found["seen"].str.removeprefix("layer "))
    names = list(layers or selection.layers_in_order(found["layer"]))
    twins = found[(found["versus"] == "") & (found["blur"] != "sharp")]
    if twins.empty:
        raise UserError(f"layer_heatmap has no {metric} rows under blur; run the notebook that writes them")
    blurs = selection.in_order(twins["blur"])
    others = found[found["versus"] == "other image"]
    columns = [*blurs, "other"] if len(others) else blurs
    values = {}
    for training in trainings:
        need(found, "layer_heatmap", training=training)
        grid = np.full((len(names), len(columns)), np.nan)
        for i, layer in enumerate(names):
            for j, column in enumerate(columns):
                part = others if column == "other" else twins[twins["blur"] == column]
                one = selection.estimate(part[(part["layer"] == layer) & (part["training"] == training)])
                grid[i, j] = np.nan if one is None else one[0]
        values[training] = grid
    low = min(0.0, float(np.nanmin(np.stack(list(values.values())))))
    figure = card(0.21 * len(names) + 1.75)
    panels = figure.subplots(1, len(trainings), sharey=True, squeeze=False)[0]
    for axes, training in zip(panels, trainings):
        image = axes.imshow(values[training], cmap=_MAP, vmin=low, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_title(_TRAINED.get(training, training), fontsize=9.5)
        axes.set_xticks(range(len(columns)), columns, rotation=90)
        paint([text for text in axes.get_xticklabels() if text.get_text() != "other"])
        axes.set_yticks(range(len(names)), names)
        if "other" in columns:
            axes.axvline(len(blurs) - 0.5, color="white", linewidth=2.5)
        _bare(axes)
    bar = figure.colorbar(image, ax=list(panels), location="bottom", aspect=40, pad=0.02, shrink=0.9)
    bar.set_label(AXES.get(metric, metric))
    bar.outline.set_visible(False)
    subtitle(figure, found, f"scale {found['scale'].iloc[0]}", "other: another sharp image")
    return figure


@styled
def transfer_matrix(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> Figure:
    """Training (rows) against tested blur (columns): value in each cell, half the width of its interval below.

    A frame marks the cells whose test is of the family trained on.
    """
    found = plain(rows, "transfer_matrix", metric=metric)
    found = one_scale(found, "transfer_matrix", scale)
    blurs = selection.in_order(found["blur"])
    trainings = sorted(set(found["training"]), key=selection.training_place)
    factor = 100 if metric in PERCENT else 1
    cells = {}
    for i, training in enumerate(trainings):
        for j, blur in enumerate(blurs):
            one = selection.estimate(found[(found["training"] == training) & (found["blur"] == blur)])
            if one is not None:
                cells[i, j] = tuple(factor * end for end in one)
    grid = np.full((len(trainings), len(blurs)), np.nan)
    for place, one in cells.items():
        grid[place] = one[0]
    low, high = float(np.nanmin(grid)), float(np.nanmax(grid))
    figure = card(0.44 * len(trainings) + 1.55)
    axes = figure.subplots()
    axes.imshow(grid, cmap=_MAP, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    digits = 0 if factor == 100 else 2
    for (i, j), (value, down, up) in cells.items():
        ink = _readable(value, low, high)
        known = np.isfinite([down, up]).all()
        axes.text(
            j, i - (0.14 if known else 0), f"{value:.{digits}f}", ha="center", va="center", color=ink, gid="value"
        )
        if known:
            half = f"±{max(value - down, up - value):.{max(1, digits) if up - down < 3 else digits}f}"
            axes.text(j, i + 0.26, half, ha="center", va="center", color=ink, fontsize=7, gid="interval")
        if blurs[j] != "sharp" and trainings[i] in (selection.family(blurs[j]), blurs[j]):
            axes.add_patch(Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, edgecolor=ink, linewidth=1.2))
    axes.set_xticks(range(len(blurs)), blurs, rotation=90)
    paint(axes.get_xticklabels())
    axes.set_yticks(range(len(trainings)), trainings)
    axes.set_ylabel("trained on")
    axes.set_xlabel("tested on")
    _bare(axes)
    subtitle(
        figure, found, f"scale {found['scale'].iloc[0]}", AXES.get(metric, metric), "frame: trained on that family"
    )
    return figure
