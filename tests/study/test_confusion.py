"""mIoU from one matrix, against loops written out and against scikit-image; bands; intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from skimage.metrics import contingency_table
from skimage.segmentation import find_boundaries

from blurnb.errors import UserError
from blurnb.recognition.label_maps import VOID
from blurnb.study import confusion, measures


def maps(seed, shape=(13, 17), count=5, absent=(), void=0.2):
    """Random truths and answers of three images; `absent` classes never occur in the truth."""
    generator = np.random.default_rng(seed)
    there = [k for k in range(count) if k not in absent]
    truth = generator.choice(there, (3, *shape)).astype(np.uint8)
    truth[generator.random(truth.shape) < void] = VOID
    return truth, generator.integers(0, count, truth.shape).astype(np.uint8)


def by_loops(truth, answer, count):
    """(mIoU, IoU by class, pixel accuracy) counted pixel by pixel, class by class, as their definitions read."""
    pairs = [(t, a) for t, a in zip(truth.ravel().tolist(), answer.ravel().tolist()) if t != 255]
    ious = {}
    for k in range(count):
        union = [1 for t, a in pairs if t == k or a == k]
        if any(t == k for t, _ in pairs):
            ious[k] = sum(1 for t, a in pairs if t == k and a == k) / len(union)
    return sum(ious.values()) / len(ious), ious, sum(1 for t, a in pairs if t == a) / len(pairs)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(), (0,), (2, 4)]))
def test_miou_equals_an_independent_count_with_void_and_absent_classes(seed, absent):
    truth, answer = maps(seed, absent=absent)
    matrices = np.stack([confusion.matrix(t, a, 5) for t, a in zip(truth, answer)])
    expected, each, accuracy = by_loops(truth, answer, 5)
    total = matrices.sum(0)
    assert math.isclose(confusion.miou(total), expected)
    assert math.isclose(confusion.pixel_accuracy(total), accuracy)
    mine = confusion.iou(total)
    assert {k for k in range(5) if not math.isnan(mine[k])} == set(each)
    assert all(math.isclose(mine[k], each[k]) for k in each)


def test_the_matrix_is_scikit_images_contingency_table():
    truth, answer = maps(1)
    theirs = contingency_table(truth, answer, ignore_labels=[VOID]).toarray()[:5, :5]
    np.testing.assert_array_equal(confusion.matrix(truth, answer, 5), theirs)


def test_one_matrix_over_the_set_is_not_the_mean_of_the_images():
    truth = np.array([[[0, 0, 0, 1]], [[1, 1, 1, 1]]], np.uint8)
    answer = np.array([[[0, 0, 0, 0]], [[1, 1, 1, 1]]], np.uint8)
    matrices = np.stack([confusion.matrix(t, a, 2) for t, a in zip(truth, answer)])
    assert confusion.miou(matrices.sum(0)) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert confusion.miou(matrices).mean() == pytest.approx(((3 / 4 + 0) / 2 + 1) / 2)


def test_a_perfect_answer_gives_1_and_void_alone_gives_nothing():
    truth, _ = maps(2)
    perfect = confusion.matrix(truth, np.where(truth == VOID, 0, truth), 5)
    assert confusion.miou(perfect) == confusion.pixel_accuracy(perfect) == 1
    nothing = confusion.matrix(np.full((4, 4), VOID, np.uint8), np.zeros((4, 4), np.uint8), 5)
    assert nothing.sum() == 0
    assert math.isnan(confusion.miou(nothing))
    assert math.isnan(confusion.pixel_accuracy(nothing))


def test_the_boundary_of_width_1_is_the_pixels_on_both_sides_of_an_outline():
    truth, _ = maps(3, shape=(20, 30), void=0.0)
    for one in np.kron(truth[:, :5, :6], np.ones((1, 4, 5), np.uint8)):  # patches of 4 x 5 pixels
        np.testing.assert_array_equal(confusion.boundary(one, 1), find_boundaries(one, connectivity=1, mode="thick"))


def test_a_band_counts_its_width_on_each_side_and_void_is_another_label():
    truth = np.zeros((5, 21), np.uint8)
    truth[:, 10:] = 1
    assert [int(confusion.boundary(truth, w)[2].sum()) for w in (1, 2, 3.5)] == [2, 4, 8]
    truth[:, 10:] = VOID
    assert confusion.boundary(truth, 1)[2].sum() == 2
    assert not confusion.boundary(np.zeros((5, 5), np.uint8), 3).any()


def test_the_two_regions_part_the_pixels():
    truth, answer = maps(4)
    edge = confusion.boundary(truth[0], 1)
    parts = [confusion.matrix(truth[0], answer[0], 5, where) for where in (edge, ~edge)]
    np.testing.assert_array_equal(sum(parts), confusion.matrix(truth[0], answer[0], 5))


def test_rows_hold_regions_classes_and_intervals_and_leave_absent_classes_out():
    truth, answer = maps(5, absent=(3,))
    right = np.random.default_rng(0).random(truth.shape) < 0.6
    answer = np.where(right & (truth != VOID), truth, answer)
    regions = {"boundary": [], "interior": []}
    for t, a in zip(truth, answer):
        half = np.zeros(t.shape, bool)
        half[:, :8] = True
        regions["boundary"].append(confusion.matrix(t, a, 5, half))
        regions["interior"].append(confusion.matrix(t, a, 5, ~half))
    regions = {name: np.stack(each) for name, each in regions.items()}
    rows = measures.of_pixels(regions, "abcde", {"blur": "D8", "seed": 0})
    miou = {row.get("part", ""): row for row in rows if row["metric"] == "miou"}
    assert set(miou) == {"", "boundary", "interior"}
    assert miou[""]["value"] == pytest.approx(by_loops(truth, answer, 5)[0])
    assert {row["part"] for row in rows if row["metric"] == "iou"} == set("abce")
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert all(row["n"] == 3 for row in rows)


def test_paired_draws_know_that_both_conditions_saw_the_same_images():
    generator = np.random.default_rng(6)
    hard = generator.random(40) < 0.5  # images differ far more than the two answers to one image
    one = np.stack([np.diag([900 - 800 * h, 900 - 800 * h]) + np.full((2, 2), 50) for h in hard])
    other = one + np.stack([np.array([[0, 5], [5, 0]])] * 40)
    regions = [{"boundary": m // 2, "interior": m - m // 2} for m in (one, other)]
    here, there = ({"training": training, "seed": 0} for training in ("mix", "sharp"))
    (row,) = (r for r in measures.pixel_difference(*regions, here, there) if "part" not in r)
    own = [r for r in measures.of_pixels(regions[0], "ab", here) if r["metric"] == "miou" and "part" not in r][0]
    assert (row["metric"], row["statistic"], row["versus_training"]) == ("miou", "difference", "sharp")
    assert row["value"] == pytest.approx(confusion.miou(one.sum(0)) - confusion.miou(other.sum(0)))
    assert row["ci_low"] > 0
    assert row["ci_high"] - row["ci_low"] < 0.1 * (own["ci_high"] - own["ci_low"])
    again = measures.pixel_difference(regions[0], regions[0], here, there)
    assert {(r["value"], r["ci_low"], r["ci_high"]) for r in again} == {(0.0, 0.0, 0.0)}


def test_the_interval_covers_what_it_should():
    generator = np.random.default_rng(7)

    def image(size):
        right = generator.binomial(400, 0.8, (size, 2))
        return np.stack([np.stack([r, 400 - r], 1) for r in right]) * np.array([[[1, 1], [1, 1]]])

    def ordered(stack):  # rows are [right, wrong]; put the right ones on the diagonal
        stack = stack.copy()
        stack[:, 1] = stack[:, 1, ::-1]
        return stack

    true = confusion.miou(ordered(image(20_000)).sum(0))
    held = 0
    for seed in range(100):
        matrices = ordered(image(40))
        drawn = confusion.miou(confusion.resampled(matrices, seed, resamples=400))
        _, low, high = confusion.interval(confusion.miou(matrices.sum(0)), drawn)
        held += low <= true <= high
    assert 86 <= held <= 99


def clip(generator, n, alike):
    """Matrices (n, 2, 2) of frames whose share answered right drifts: each is `alike` the one before (AR(1))."""
    drift = lfilter([math.sqrt(1 - alike**2)], [1, -alike], generator.normal(size=(n + 100, 2)), axis=0)[100:]
    right = np.round(400 / (1 + np.exp(-1.2 - 0.8 * drift)))
    return np.stack([right[:, 0], 400 - right[:, 0], 400 - right[:, 1], right[:, 1]], axis=1).reshape(n, 2, 2)


def test_frames_of_a_clip_are_drawn_in_blocks_for_alone_they_cover_little_more_than_half():
    """Blocks fall somewhat short of 95 %, the more the fewer they are and the longer frames stay alike."""
    generator, n = np.random.default_rng(0), 160
    true = confusion.miou(clip(generator, 100_000, 0).sum(0))
    held = []
    for trial in range(150):
        matrices = clip(generator, n, 0.6)
        value = confusion.miou(matrices.sum(0))
        draws = {block: confusion.miou(confusion.resampled(matrices, trial, block, 250)) for block in (1, 16)}
        ends = [confusion.interval(value, drawn, block / n) for block, drawn in draws.items()]
        held.append([low <= true <= high for _, low, high in ends])
    alone, blocks = np.mean(held, axis=0)
    assert alone < 0.75
    assert 0.9 <= blocks <= 0.97


def test_a_block_is_so_many_images_in_a_row_around_the_end_too():
    each = np.eye(40, dtype=int).reshape(40, 1, 40) * np.ones(
        (40, 40, 1), int
    )  # the matrix of image i counts in column i
    often = confusion.resampled(each, 0, 10, 50)[:, 0]
    assert (often.sum(1) == 40).all()
    changes = (often != np.roll(often, 1, axis=1)).sum(1)
    assert changes.max() <= 8, "four blocks, each with a beginning and an end"
    assert (often[:, 0] == often[:, -1]).mean() > 0.5
    np.testing.assert_array_equal(confusion.resampled(each, 0, 10, 9), confusion.resampled(each, 0, 99, 9))


def test_measures_draw_blocks_where_they_are_told_to():
    matrices = clip(np.random.default_rng(3), 120, 0.9).astype(int)
    halves = {"boundary": matrices // 2, "interior": matrices - matrices // 2}
    other = {name: one[::-1] for name, one in halves.items()}
    here, there = ({"training": training, "seed": 0} for training in ("mix", "sharp"))
    for found in (
        lambda block: measures.of_pixels(halves, "ab", here, block),
        lambda block: measures.pixel_difference(halves, other, here, there, block),
    ):
        alone, together = ({tuple(r.get(c) for c in ("part", "metric")): r for r in found(b)} for b in (1, 20))
        for name, row in together.items():
            assert row["value"] == alone[name]["value"]
            assert row["ci_high"] - row["ci_low"] > 1.5 * (alone[name]["ci_high"] - alone[name]["ci_low"]), name


def test_one_image_has_no_interval():
    regions = {"boundary": np.ones((1, 2, 2), int), "interior": np.ones((1, 2, 2), int)}
    here, there = ({"training": training, "seed": 0} for training in ("mix", "sharp"))
    rows = measures.of_pixels(regions, "ab", here) + measures.pixel_difference(regions, regions, here, there)
    assert all(math.isnan(row["ci_low"]) for row in rows)


def test_misuse_is_one_line():
    with pytest.raises(UserError, match="must agree"):
        confusion.matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
    with pytest.raises(UserError, match="label 7, the classes end at 1"):
        confusion.matrix(np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.uint8), 2)
