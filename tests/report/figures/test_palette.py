"""Colours are legible, apart to all eyes, and enough: a family that is added needs no edit here."""

import matplotlib as mpl
import numpy as np
import pytest
from drawing import curve
from planted import rows
from skimage import color

from blurnb import labels
from blurnb.report import figures
from blurnb.report.figures import palette


def contrast(one, other):
    high, low = sorted((palette.luminance(one), palette.luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_are_legible_and_distinct():
    for ink in palette.TESTED:
        assert contrast(ink, palette.CARD) >= 3
    assert contrast(palette.INK, palette.CARD) >= 7
    assert contrast(palette.QUIET, palette.CARD) >= 4.5
    assert len(set(palette.TESTED)) == len(set(palette.MARKERS)) == len(palette.TESTED) == len(palette.MARKERS)
    assert len(palette.TESTED) > len(labels.FAMILIES)


@pytest.mark.parametrize(
    "eyes",
    [
        np.eye(3),
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    ],
    ids=["normal", "deuteranopia", "protanopia"],
)
def test_no_two_families_fall_together(eyes):
    """Colours as colour-blind readers see them (Machado et al. 2009, severity 1), apart in CIELAB."""
    rgb = np.array([mpl.colors.to_rgb(ink) for ink in palette.TESTED])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(eyes).T, 0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = color.rgb2lab(seen[None])[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert apart[~np.eye(len(lab), dtype=bool)].min() > 20


def test_a_seventh_family_has_a_colour_and_a_marker_of_its_own(monkeypatch):
    ring = labels.Family(0.7, "ring radius", "a ring", words={"ring": {"radius": 5.0}})
    monkeypatch.setitem(labels.FAMILIES, "ring", ring)
    monkeypatch.setitem(labels._WORDS, "ring", ("ring", {"radius": 5.0}))
    blurs = ("sharp", "D8", "G4", "M21@30", "shake", "inertial", "ring")
    assert len({palette.colour(blur) for blur in blurs}) == len({palette.marker(blur) for blur in blurs}) == 7
    axes = figures.accuracy_by_blur(rows(*curve(), curve()[0] | {"blur": "ring"})).axes[0]
    inks = {bar.get_label(): bar.lines[0].get_color() for bar in axes.containers}
    assert inks["ring"] == palette.family_colour("ring")
