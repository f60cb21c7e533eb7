"""Intervals hold what they promise: the truth, in 93 to 97 of 100 simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from blurnb import intervals, samples
from blurnb.errors import UserError

TRIALS = 1500


def coverage(truth, trial, seed=0, trials=TRIALS):
    """How often the interval that `trial(generator)` gives holds the truth."""
    generator = np.random.default_rng(seed)
    found = [trial(generator)[-2:] for _ in range(trials)]
    return np.mean([low <= truth <= high for low, high in found])


def answers(generator, levels, n, noise=0.4):
    """Right or wrong (levels, n) on images of unlike difficulty, so that conditions move together."""
    difficulty = generator.normal(size=n)
    return (difficulty + noise * generator.normal(size=(len(levels), n)) < np.array(levels)[:, None]).astype(float)


def expected(level, noise=0.4):
    return stats.norm.cdf(level / math.sqrt(1 + noise**2))


def nominal(share):
    return 0.93 <= share <= 0.97


@pytest.mark.parametrize("level, n", [(0.3, 250), (1.0, 1000)])
def test_intervals_of_proportions_cover(level, n):
    assert nominal(coverage(expected(level), lambda g: intervals.wilson(int(answers(g, [level], n).sum()), n)))


@pytest.mark.parametrize("n", [250, 1000])
def test_intervals_of_paired_differences_cover(n):
    truth = expected(0.3) - expected(1.0)
    assert nominal(coverage(truth, lambda g: intervals.paired_difference(*answers(g, [0.3, 1.0], n))))


def test_intervals_of_means_over_blurs_cover():
    levels, weights = [1.0, 0.6, 0.3, 0.1], np.array([-1, 1 / 3, 1 / 3, 1 / 3])
    truth = weights @ [expected(level) for level in levels]
    assert nominal(coverage(truth, lambda g: samples.mean((weights @ answers(g, levels, 400))[None], counted=True)))


@pytest.mark.parametrize("n", [200, 1000])
def test_intervals_of_recovered_shares_cover(n):
    sharp, blurred, mix = 1.0, 0.1, 0.6
    truth = (expected(mix) - expected(blurred)) / (expected(sharp) - expected(blurred))

    def trial(generator):
        a, b, c = answers(generator, [sharp, blurred, mix], n)
        return samples.ratio((c - b)[None], (a - b)[None], counted=True)

    assert nominal(coverage(truth, trial))


def test_a_ratio_as_if_independent_is_too_wide_and_says_so():
    """What the recorded share is for: gain and loss move together, which MOVER cannot know."""
    generator = np.random.default_rng(0)
    a, b, c = answers(generator, [1.0, 0.1, 0.6], 1000)
    gain, loss = intervals.paired_difference(c, b), intervals.paired_difference(a, b)
    _, low, high = samples.ratio((c - b)[None], (a - b)[None], counted=True)
    _, lower, higher = intervals.ratio(gain, loss)
    assert 1.2 * (high - low) < higher - lower


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.03])
def test_intervals_over_seeds_and_images_cover(spread):
    """Seeds to come and images to come, whichever of them differ more."""

    def trial(generator):
        seeds, images = generator.normal(0, spread, (3, 1)), generator.normal(0, 0.4, (1, 500))
        return samples.mean(seeds + images + generator.normal(0, 0.25, (3, 500)))

    assert nominal(coverage(0.0, trial))


def test_drawing_seeds_and_images_with_replacement_would_not_cover():
    """Why it is no bootstrap: of three seeds it never draws a spread as large as theirs."""

    def bootstrap(generator):
        values = generator.normal(0, 0.1, (3, 1)) + generator.normal(0, 0.4, (1, 300))
        seeds = generator.integers(0, 3, (200, 3))
        images = generator.integers(0, 300, (200, 300))
        drawn = [values[s][:, i].mean() for s, i in zip(seeds, images)]
        return np.quantile(drawn, [0.025, 0.975])

    assert coverage(0.0, bootstrap, trials=300) < 0.9


def test_shares_over_seeds_cover():
    truth = 0.6

    def trial(generator):
        loss = 0.3 + generator.normal(0, 0.4, (1, 400)) + generator.normal(0, 0.2, (3, 400))
        seeds = generator.normal(0, 0.02, (3, 1))
        gain = seeds + truth * loss + generator.normal(0, 0.3, (3, 400))
        return samples.ratio(gain, loss)

    assert nominal(coverage(truth, trial))


def test_one_seed_and_one_blur_is_a_paired_difference():
    a, b = answers(np.random.default_rng(1), [0.3, 1.0], 900)
    assert samples.mean((a - b)[None], counted=True) == pytest.approx(intervals.paired_difference(a, b), abs=2e-3)


def test_never_seen_is_not_never():
    same = np.zeros((1, 20))
    value, low, high = samples.mean(same, counted=True)
    assert value == 0
    assert low < -0.05 < 0.05 < high
    assert samples.mean(same) == (0, 0, 0)


def test_a_ratio_of_nothing():
    assert math.isnan(samples.ratio(np.ones((1, 9)), np.zeros((1, 9)), counted=True)[0])
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(2, 1, 50))
    noise += 0.05 - noise.mean(axis=2, keepdims=True)
    assert samples.ratio(*noise)[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize("values", [np.ones(3), np.ones((1, 1)), np.full((1, 5), np.nan)])
def test_what_is_no_sample_is_refused(values):
    with pytest.raises(UserError, match="values"):
        samples.mean(values)
