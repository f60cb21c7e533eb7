"""What a rule weighs with: parts take sides by their whole interval, and differences are paired where they can be."""

import pytest
from planted import row, rows

from blurnb.report import weighing


@pytest.mark.parametrize(
    "ends, bar, margin, side",
    [
        ((0.1, 0.05, 0.2), 0.0, 0.02, "for"),
        ((0.1, 0.0, 0.2), 0.0, 0.02, "unclear"),
        ((-0.1, -0.2, 0.0), 0.0, 0.0, "against"),
        ((0.0, -0.01, 0.01), 0.0, 0.02, "against"),  # leaves no effect as large as the margin
        ((0.0, -0.01, 0.03), 0.0, 0.02, "unclear"),
        ((0.6, 0.55, 0.7), 0.5, 0.0, "for"),
        (weighing.UNKNOWN, 0.0, 0.02, "unclear"),
    ],
)
def test_a_part_takes_sides_by_its_whole_interval(ends, bar, margin, side):
    assert weighing.Part("a part", ends, bar, margin).side == side


HERE, THERE = {"training": "mix", "blur": "D8"}, {"training": "sharp"}
TWO = [row(0.02, value=0.6, **HERE), row(0.02, value=0.4, blur="D8")]


def test_a_gap_is_paired_where_it_was_recorded():
    assert weighing.gap(rows(*TWO), "top1", HERE, THERE) == pytest.approx(
        (0.2, 0.2 - 0.02 * 2**0.5, 0.2 + 0.02 * 2**0.5)
    )
    paired = row(0.001, value=0.21, versus_training="sharp", **HERE)
    assert weighing.gap(rows(*TWO, paired), "top1", HERE, THERE) == pytest.approx((0.21, 0.209, 0.211))


@pytest.mark.parametrize("more", [{"versus_blur": "sharp"}, {"versus_training": "shake"}, {"versus_scale": "128"}])
def test_a_gap_to_something_else_is_not_taken_for_it(more):
    other = row(0.001, value=0.9, **{"versus_training": "sharp", **HERE, **more})
    assert weighing.gap(rows(*TWO, other), "top1", HERE, THERE)[0] == pytest.approx(0.2)


def test_what_is_missing_is_named():
    with pytest.raises(weighing.Missing, match="metric top1, training sharp, blur D8"):
        weighing.gap(rows(*TWO[:1]), "top1", HERE, THERE)
