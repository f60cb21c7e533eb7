"""Pictures beside each other: photographs under blurs, and the kernels that made them."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from blurnb.errors import UserError
from blurnb.report.figures import marks
from blurnb.report.figures.palette import INK, WIDTH, card, colour, styled


def _ink(label: str) -> str:
    try:
        return colour(label)
    except UserError:  # a title that is not a blur
        return INK


@styled
def contact_sheet(
    images: Sequence[Sequence[np.ndarray]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    captions: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Photographs (rows) under blurs (columns).

    Parameters
    ----------
    images
        `images[i][j]` float (height, width, 3) in [0, 1].
    row_titles
        Upright at the left; empty strings leave them out.
    column_titles
        Above; a blur label has the colour of its family.
    captions
        `captions[i][j]` below its image, wrapped to the image's width.

    Raises
    ------
    UserError
        No image.
    """
    rows, columns = len(row_titles), len(column_titles)
    if not rows or not columns:
        raise UserError("contact_sheet needs at least one row and one column of images")
    small = 9 if columns <= 4 else 8 if columns <= 6 else 7
    side = (WIDTH - 0.3) / columns
    letters = max(8, int(side * 72 / small * 1.75))
    notes = [["\n".join(textwrap.wrap(text, letters)[:3]) for text in line] for line in captions or ()]
    below = [(max(text.count("\n") + 1 for text in line) * small * 1.25 + 4) / 72 for line in notes] or [0.03] * rows
    heights = [side * max(np.shape(image)[0] / np.shape(image)[1] for image in line) for line in images]
    figure = card(sum(heights) + sum(below) + 0.32)
    figure.get_layout_engine().set(h_pad=0.03, w_pad=0.01, hspace=0, wspace=0)
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for i, line in enumerate(images):
        for j, (axes, image) in enumerate(zip(grid[i], line)):
            array = np.clip(np.asarray(image, dtype=float), 0, 1)
            axes.imshow(array.squeeze(), cmap="gray" if array.shape[2] == 1 else None, vmin=0, vmax=1)
            marks.bare(axes)
            if notes:
                axes.set_xlabel(notes[i][j], fontsize=small, labelpad=2)
            if i == 0:
                title = column_titles[j]
                axes.set_title(title, loc="center", fontsize=small + 0.5, color=_ink(title), pad=3)
        grid[i][0].set_ylabel(row_titles[i], fontsize=small, labelpad=2)
    return figure


@styled
def kernels(named: Mapping[str, np.ndarray]) -> Figure:
    """Kernels on one pixel scale, each over its own full range, darker where more light falls; with a pixel bar.

    Parameters
    ----------
    named
        Arrays (height, width) that sum to 1, by blur label, in frame pixels.

    Raises
    ------
    UserError
        Nothing to draw.
    """
    if not named:
        raise UserError("kernels needs at least one named array; pass {'D8': array}")
    widest = max(max(kernel.shape) for kernel in named.values())
    side = widest + (3 if widest % 2 == 0 else 2)
    columns = min(4, len(named))
    figure, grid = marks.panels(len(named), WIDTH / columns + 0.22, columns, 0.3)
    for axes, (label, kernel) in zip(grid, named.items()):
        before = [(side - size) // 2 for size in kernel.shape]
        page = np.pad(np.maximum(kernel, 0), [(n, side - size - n) for n, size in zip(before, kernel.shape)])
        shade = LinearSegmentedColormap.from_list("shade", ["#f0f0ec", _ink(label)])
        # The root shows the faint tails that a linear scale would drown.
        axes.imshow(np.sqrt(page / page.max()), cmap=shade, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(label, loc="center", fontsize=10, color=_ink(label), pad=3)
        marks.bare(axes)
    bar = max(b for b in (1, 2, 5, 10, 20, 50, 100) if b <= max(1, side / 3))
    low = side - 0.5 - 0.06 * side
    grid[0].plot([0.05 * side, 0.05 * side + bar], [low, low], color=INK, linewidth=2, solid_capstyle="butt", gid="bar")
    grid[0].text(0.05 * side, low - 0.03 * side, f"{bar} px", ha="left", va="bottom", fontsize=9)
    marks.subtitle(figure, f"one scale for all, {side} frame pixels wide", "shade: square root of the weight")
    return figure
