import math

import numpy as np
import pytest
from scipy import stats

from blurnb import intervals
from blurnb.errors import UserError


@pytest.mark.parametrize("successes, n", [(0, 5), (5, 5), (3, 20), (61, 100), (44_000, 50_000), (0, 1)])
def test_wilson_equals_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, "wilson")
    assert intervals.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_holds_the_estimate_at_the_ends():
    for n in (1, 7, 50, 1000):
        assert intervals.wilson(0, n)[0] == 0 < intervals.wilson(0, n)[1]
        assert intervals.wilson(n, n)[1] == 1 > intervals.wilson(n, n)[0]


@pytest.mark.parametrize("successes, n", [(1, 0), (5, 4), (-1, 4)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(UserError, match="n >= 1"):
        intervals.wilson(successes, n)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(3).gamma(2.0, size=150)
    mean, low, high = intervals.bootstrap_mean(values, seed=1, resamples=6000)
    other = stats.bootstrap((values,), np.mean, n_resamples=6000, method="percentile", rng=2).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((other.low, other.high), abs=0.02)


def test_bootstrap_of_few_values_equals_that_of_many():
    """The multinomial shortcut for repeated values draws from the same distribution as drawing indices."""
    counts = np.random.default_rng(0).integers(0, 4, 200).astype(float)
    jittered = counts + np.linspace(0, 1e-9, counts.size)  # all distinct: takes the general way
    short, general = (intervals.bootstrap_mean(v, seed=5, resamples=8000) for v in (counts, jittered))
    assert short == pytest.approx(general, abs=0.012)


def test_bootstrap_covers():
    generator = np.random.default_rng(11)
    hits = 0
    for trial in range(300):
        _, low, high = intervals.bootstrap_mean(generator.exponential(size=60), seed=trial, resamples=400)
        hits += low <= 1.0 <= high
    assert 0.89 <= hits / 300 <= 0.98


def test_bootstrap_is_deterministic_and_depends_on_its_seed():
    values = np.random.default_rng(0).normal(size=80)
    assert intervals.bootstrap_mean(values, seed=4) == intervals.bootstrap_mean(values, seed=4)
    assert intervals.bootstrap_mean(values, seed=4) != intervals.bootstrap_mean(values, seed=5)


def test_bootstrap_of_many_images_is_bounded_in_memory():
    import tracemalloc

    values = np.random.default_rng(0).normal(size=50_000)
    tracemalloc.start()
    intervals.bootstrap_mean(values, resamples=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6  # 200 resamples at once would take 160 MB


def test_bootstrap_of_one_and_of_equal_values():
    mean, low, high = intervals.bootstrap_mean([0.4])
    assert mean == 0.4
    assert math.isnan(low)
    assert math.isnan(high)
    assert intervals.bootstrap_mean([0.25] * 9) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf], [[0.1, 0.2]]])
def test_bootstrap_refuses_what_is_no_sample(values):
    with pytest.raises(UserError, match="values"):
        intervals.bootstrap_mean(values)


def test_paired_difference_of_answers_covers():
    """Both few images and rare disagreement, where a bootstrap fails."""
    generator = np.random.default_rng(7)
    for n, up, down in ((20, 0.15, 0.05), (200, 0.02, 0.01)):
        hits = 0
        for _ in range(600):
            change = generator.choice([1, -1, 0], p=[up, down, 1 - up - down], size=n)
            a, b = (change > 0).astype(float), (change < 0).astype(float)
            _, low, high = intervals.paired_difference(a, b)
            hits += low <= up - down <= high
        assert hits / 600 >= 0.93, (n, up, down)


def test_no_disagreement_seen_is_not_no_difference():
    same = np.ones(20)
    value, low, high = intervals.paired_difference(same, same)
    assert value == 0
    assert low < -0.05
    assert high > 0.05


def test_paired_difference_is_antisymmetric_and_bounded():
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 2, 50), generator.integers(0, 2, 50)
    forth, back = intervals.paired_difference(a, b), intervals.paired_difference(b, a)
    assert forth == pytest.approx((-back[0], -back[2], -back[1]))
    assert intervals.paired_difference(np.ones(30), np.zeros(30))[2] == 1.0


def test_pairing_narrows_the_interval_of_continuous_values():
    generator = np.random.default_rng(0)
    image = generator.normal(size=300)
    a, b = image + 0.1 + 0.05 * generator.normal(size=300), image
    value, low, high = intervals.paired_difference(a, b)
    assert low < 0.1 < high
    unpaired = intervals.difference(intervals.bootstrap_mean(a), intervals.bootstrap_mean(b))
    assert high - low < 0.2 * (unpaired[2] - unpaired[1])
    assert value == pytest.approx(unpaired[0])


def test_paired_difference_needs_the_same_images():
    with pytest.raises(UserError, match="same images"):
        intervals.paired_difference([1, 0], [1, 0, 1])


def test_mcnemar_equals_the_binomial_tail():
    a = [1] * 10 + [0] * 2 + [1] * 30
    b = [0] * 10 + [1] * 2 + [1] * 30
    by_hand = 2 * sum(math.comb(12, k) for k in range(3)) / 2**12
    assert intervals.mcnemar(a, b) == pytest.approx(by_hand)
    assert intervals.mcnemar(a, a) == 1.0


def test_mcnemar_holds_its_level():
    generator = np.random.default_rng(1)
    a, b = generator.random((2, 500, 80)) < 0.6
    rejected = np.mean([intervals.mcnemar(x, y) < 0.05 for x, y in zip(a, b)])
    assert rejected <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 500)


def test_calibration_error_by_hand_and_planted():
    confidence, correct = [0.05, 0.95, 0.95, 0.95, 0.95], [0, 1, 1, 1, 0]
    assert intervals.ece(confidence, correct, bins=10)[0] == pytest.approx((0.05 + 4 * 0.2) / 5)
    generator = np.random.default_rng(0)
    stated = generator.random(40_000)
    calibrated = generator.random(40_000) < stated
    too_sure = generator.random(40_000) < stated**2
    assert intervals.ece(stated, calibrated)[0] < 0.02
    value, low, high = intervals.ece(stated, too_sure)
    assert value == pytest.approx(1 / 6, abs=0.01)  # the integral of x - x^2
    assert low < value < high < low + 0.02


@pytest.mark.parametrize("power, most", [(2.0, 0.97), (1.0, 1.0)])
def test_intervals_of_the_calibration_error_cover_what_it_is_on_average_over_sets_of_this_size(power, most):
    """Calibrated networks too, of which all intervals that correct for chance would leave out the value itself."""
    generator = np.random.default_rng(2)
    found = []
    for _ in range(200):
        stated = generator.beta(4, 1.5, 400)
        found.append(intervals.ece(stated, generator.random(400) < stated**power))
    value, low, high = np.transpose(found)
    assert 0.93 <= np.mean((low <= value.mean()) & (value.mean() <= high)) <= most
    assert (low >= 0).all()


def test_all_right_as_stated_is_not_always_right_as_stated():
    value, low, high = intervals.ece([0.95] * 40, [1] * 40)
    assert (value, low) == (pytest.approx(0.05), 0)
    assert high > 0.1
    assert np.isnan(intervals.ece([0.9], [1])[1:]).all()


def test_reliability_bins_hold_every_image_once():
    confidence = np.array([0.0, 1 / 15, 1.0, 0.5, 0.5])
    curve = intervals.reliability(confidence, [0, 0, 1, 1, 0])
    assert curve["n"].sum() == 5
    assert (curve["n"] > 0).all()
    assert curve["n"][0] == 2  # 0 and the upper edge of the first bin
    assert ((curve["ci_low"] <= curve["accuracy"]) & (curve["accuracy"] <= curve["ci_high"])).all()


def test_reliability_refuses_scores():
    with pytest.raises(UserError, match="softmax"):
        intervals.reliability([3.0, 0.2], [1, 0])


def test_ratio_equals_fieller_where_both_hold():
    """For symmetric independent intervals MOVER is Fieller's theorem; a simulation is the second method."""
    a, b = (0.30, 0.26, 0.34), (0.80, 0.74, 0.86)
    value, low, high = intervals.ratio(a, b)
    generator = np.random.default_rng(0)
    z = stats.norm.ppf(0.975)
    drawn = generator.normal(0.30, 0.04 / z, 400_000) / generator.normal(0.80, 0.06 / z, 400_000)
    assert value == pytest.approx(0.375)
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.002)


def test_ratio_of_negative_values_and_of_nothing():
    value, low, high = intervals.ratio((-0.1, -0.2, 0.05), (0.5, 0.4, 0.6))
    assert low < value == -0.2 < high
    assert low < 0 < high
    assert intervals.ratio((0.1, 0.05, 0.15), (0.1, -0.1, 0.3))[1:] == (-math.inf, math.inf)
    assert math.isnan(intervals.ratio((0.1, 0.0, 0.2), (0.0, -0.1, 0.1))[0])


def test_shares_by_hand():
    assert intervals.ratio((0.2,) * 3, (0.8,) * 3) == pytest.approx((0.25, 0.25, 0.25))
    value, low, high = intervals.ratio((0.6, 0.55, 0.65), (0.8, 0.76, 0.84))
    assert low < value < high
    assert value == pytest.approx(0.75)


def test_mean_of_estimates_on_the_same_images_keeps_their_width():
    one = (0.1, 0.0, 0.2)
    assert intervals.mean_of([one, one, one]) == pytest.approx(one)
    with pytest.raises(UserError):
        intervals.mean_of([])


def test_half_dose_planted():
    radii = [0, 2, 4, 6, 8]
    accuracies = [0.8, 0.7, 0.5, 0.3, 0.1]
    half = intervals.half_accuracy_radius(
        radii, accuracies, [a - 0.03 for a in accuracies], [a + 0.03 for a in accuracies]
    )
    assert half.radius == pytest.approx(5.0)
    assert 4.5 < half.low < 5 < half.high < 5.6
    assert str(half).startswith("5.0 [")
    assert math.isnan(intervals.half_accuracy_radius(radii, accuracies).low)


RADII = np.array([0, 2, 4, 6, 8, 12, 16])


def answered(generator, n, middle=6.0, spread=4.0, noise=3.0):
    """Right or wrong (n, radii): an image bears blur up to a radius of its own, and a little more or less each time."""
    bears = generator.normal(middle, spread, (n, 1)) + generator.normal(0, noise, (n, RADII.size))
    return (bears > RADII).astype(float)


def test_intervals_of_the_half_dose_cover():
    """Of that of the curve through the radii tested, which is what it is of."""
    true = intervals.half_accuracy_radius(RADII, stats.norm.sf((RADII - 6) / 5)).radius
    generator = np.random.default_rng(5)
    held = []
    for trial in range(400):
        half = intervals.half_accuracy_radius(RADII, answered(generator, 500), seed=trial, draws=150)
        held.append(half.low <= true <= half.high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_half_dose_of_answers_is_that_of_their_shares_in_any_order():
    answers = answered(np.random.default_rng(0), 400)
    half, alone = (intervals.half_accuracy_radius(RADII, given) for given in (answers, answers.mean(0)))
    assert half.radius == alone.radius
    assert half.low < half.radius < half.high
    turned = intervals.half_accuracy_radius(RADII[::-1], answers[:, ::-1])
    assert turned == pytest.approx(half)
    assert math.isinf(intervals.half_accuracy_radius(RADII[:2], answers[:, :2]).radius)


def test_the_half_dose_of_answers_knows_that_the_radii_saw_the_same_images():
    """Images that bear all or nothing: the share of them moves, the place of the half does not."""
    bears = np.random.default_rng(0).random((300, 1)) < 0.7
    right = bears & np.array([True, True, True, False, False, False, False])
    half = intervals.half_accuracy_radius(RADII, right)
    ends = np.transpose([intervals.wilson(int(share * 300), 300) for share in right.mean(0)])
    apart = intervals.half_accuracy_radius(RADII, right.mean(0), *ends)
    assert half.low == half.radius == half.high == pytest.approx(5.0)
    assert apart.high - apart.low > 0.1


def test_half_dose_does_not_mind_the_order_and_levels_a_bump():
    straight = intervals.half_accuracy_radius([0, 2, 4, 8], [0.8, 0.6, 0.6, 0.2])
    bumped = intervals.half_accuracy_radius([8, 0, 4, 2], [0.2, 0.8, 0.62, 0.58])
    assert bumped.radius == pytest.approx(straight.radius) == pytest.approx(6.0)


def test_half_dose_above_chance():
    assert intervals.half_accuracy_radius([0, 10], [0.9, 0.1]).radius == pytest.approx(5.625)
    assert intervals.half_accuracy_radius([0, 10], [0.9, 0.1], chance=0.1).radius == pytest.approx(5.0)


def test_half_dose_beyond_the_largest_radius_says_so():
    half = intervals.half_accuracy_radius([0, 2, 4], [0.9, 0.89, 0.88], [0.88, 0.87, 0.86], [0.92, 0.91, 0.90])
    assert math.isinf(half.radius)
    assert math.isinf(half.high)
    assert str(half) == "beyond 4, the largest radius tested"


def test_half_dose_interval_may_reach_beyond():
    half = intervals.half_accuracy_radius([0, 4], [0.8, 0.38], [0.7, 0.28], [0.9, 0.48])
    assert half.low < half.radius < 4 < half.high
    assert "beyond 4]" in str(half)


@pytest.mark.parametrize(
    "radii, accuracies, word",
    [
        ([2, 4], [0.5, 0.4], "hold 0"),
        ([0, 2, 2], [0.5, 0.4, 0.4], "distinct"),
        ([0, 2], [0.0, 0.0], "chance"),
        ([0, 2], [math.nan, 0.1], "finite"),
        ([0, 2], [0.5], "accuracies"),
    ],
)
def test_half_dose_refuses_in_one_line(radii, accuracies, word):
    with pytest.raises(UserError, match=word) as caught:
        intervals.half_accuracy_radius(radii, accuracies)
    assert "\n" not in str(caught.value)
