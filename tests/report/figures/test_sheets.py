"""Pictures beside each other stand where they should."""

import numpy as np
import pytest
from drawing import words
from matplotlib.colors import to_hex

from blurnb.errors import UserError
from blurnb.report import figures
from blurnb.report.figures import palette


def test_contact_sheet_shows_the_images_in_place():
    images = [[np.full((6, 9, 3), v) for v in line] for line in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))]
    figure = figures.contact_sheet(images, ["one", "two"], ["sharp", "D8", "shake"], [["a"] * 3, ["b"] * 3])
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert shown == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert to_hex(figure.axes[1].title.get_color()) == palette.colour("D8")
    assert figure.axes[5].get_xlabel() == "b"


def test_contact_sheet_of_nothing_is_refused_in_one_line():
    with pytest.raises(UserError, match="at least one"):
        figures.contact_sheet([], [], [])


def test_kernels_share_one_scale_and_keep_their_place():
    small, large = np.zeros((3, 3)), np.full((11, 11), 1 / 121)
    small[0, 1] = 1.0
    figure = figures.kernels({"D2": small, "D8": large})
    pages = [axes.images[0].get_array() for axes in figure.axes]
    assert pages[0].shape == pages[1].shape == (13, 13)
    assert np.argwhere(pages[0] == 1).tolist() == [[5, 6]]  # one above the centre, unflipped
    assert (pages[1] > 0).sum() == 121
    (bar,) = [line for line in figure.axes[0].lines if line.get_gid() == "bar"]
    assert f"{bar.get_xdata()[1] - bar.get_xdata()[0]:.0f} px" in words(figure)
    with pytest.raises(UserError, match="at least one named array"):
        figures.kernels({})
