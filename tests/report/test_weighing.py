"""What a rule weighs with: parts get a word by their whole interval, and differences are paired where they can be."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from planted import row, rows

from blurnb.report import weighing


@pytest.mark.parametrize(
    "ends, bar, least, word",
    [
        ((0.1, 0.05, 0.2), 0.0, 0.02, "supported"),
        ((0.1, 0.01, 0.2), 0.0, 0.02, "undecided"),  # an effect, perhaps not one of interest
        ((0.01, 0.005, 0.015), 0.0, 0.02, "no effect"),  # shown to be there, and shown to be too small
        ((0.0, -0.01, 0.01), 0.0, 0.02, "no effect"),
        ((0.0, -0.01, 0.03), 0.0, 0.02, "undecided"),
        ((-0.1, -0.2, 0.0), 0.0, 0.0, "undecided"),
        ((-0.1, -0.2, -0.03), 0.0, 0.02, "contradicted"),
        ((0.02, -0.08, 0.016), 0.0, 0.02, "undecided"),  # does not exclude an effect against it
        ((0.6, 0.55, 0.7), 0.5, 0.0, "supported"),
        ((0.4, 0.3, 0.45), 0.5, 0.0, "contradicted"),
        (weighing.UNKNOWN, 0.0, 0.02, "undecided"),
    ],
)
def test_a_part_has_the_word_of_the_region_that_holds_its_interval(ends, bar, least, word):
    assert weighing.Part("a part", ends, bar, least).word == word


sizes = st.floats(-1, 1).map(lambda x: round(x, 4))
widths = st.floats(0.0001, 2).map(lambda x: round(x, 4))


@given(sizes, widths, widths, sizes, st.sampled_from([0.0, 0.02, 0.1]))
def test_more_evidence_leaves_undecided_and_nothing_else(estimate, one, other, bar, least):
    """An interval that shrinks around its estimate is decided once; the mirrored claim gets the mirrored word."""
    narrow, wide = sorted((one, other))
    words = [
        weighing.Part("a part", (estimate, estimate - half, estimate + half), bar, least).word
        for half in (wide, narrow)
    ]
    assert words[0] in ("undecided", words[1])
    mirrored = weighing.Part("a part", (-estimate, -estimate - narrow, -estimate + narrow), -bar, least).word
    swap = {"supported": "contradicted", "contradicted": "supported"}
    assert mirrored == swap.get(words[1], words[1])


@given(sizes, widths, st.sampled_from([0.0, 0.02, 0.1]))
def test_the_images_that_would_decide_it_do_and_half_of_them_do_not(estimate, half, least):
    times = weighing.Part("a part", (estimate, estimate - half, estimate + half), 0.0, least).times
    assume(math.isfinite(times))

    def word(more):
        width = half / math.sqrt(more)
        return weighing.Part("a part", (estimate, estimate - width, estimate + width), 0.0, least).word

    assert word(1.01 * times) != "undecided"
    assert word(0.5 * times) == "undecided"


def test_no_number_of_images_decides_what_lies_on_the_bar():
    assert weighing.Part("a part", (0.02, -0.1, 0.1), 0.0, 0.02).times == math.inf
    assert math.isnan(weighing.Part("a part", weighing.UNKNOWN, 0.0, 0.02).times)


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


JOINT = {"blur": None, "part_kind": "mean", "part": "D4+D8", "training": "mix"}


def test_a_mean_over_blurs_is_taken_as_recorded_and_never_for_another_set_of_blurs():
    each = [row(0.05, value=v, versus_training="sharp", training="mix", blur=b) for v, b in ((0.1, "D4"), (0.3, "D8"))]
    assert weighing.mean_gap(rows(*each), "top1", ["D4", "D8"], {"training": "mix"}, THERE) == pytest.approx(
        (0.2, 0.15, 0.25)
    )
    joint = row(0.01, value=0.2, versus_training="sharp", **JOINT)
    found = rows(*each, joint)
    assert weighing.mean_gap(found, "top1", ["D4", "D8"], {"training": "mix"}, THERE) == pytest.approx(
        (0.2, 0.19, 0.21)
    )
    assert weighing.mean_gap(found, "top1", ["D8"], {"training": "mix"}, THERE)[1] == pytest.approx(0.25)


def test_shares_are_taken_as_recorded():
    versus = {"versus_training": "sharp", "versus_blur": "sharp"}
    shares = [row(0.02, value=v, statistic=s, **JOINT, **versus) for v, s in ((0.7, "recovered"), (0.8, "kept"))]
    losses = row(0.03, value=-0.3, **{**JOINT, "training": "sharp"}, versus_blur="sharp")
    found = rows(*shares, losses)
    assert weighing.recovered(found, "top1", ["D4", "D8"]) == (
        pytest.approx((0.7, 0.68, 0.72)),
        pytest.approx((0.3, 0.27, 0.33)),
    )
    assert weighing.kept(found, "top1", ["D4", "D8"]) == pytest.approx((0.8, 0.78, 0.82))
