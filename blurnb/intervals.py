"""Intervals and effect sizes for images that are counted, paired or resampled.

An estimate with its interval is a triple ``(value, low, high)`` throughout. All intervals are 95 %.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from blurnb.errors import UserError

VERSION = 2
Triple = tuple[float, float, float]
_LEVEL = 0.95
_Z = float(stats.norm.ppf(0.5 + _LEVEL / 2))


def _finite(name: str, values, *, least: int = 1) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < least:
        raise UserError(f"{name} must be a list of at least {least} numbers, not an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise UserError(f"{name} holds {np.sum(~np.isfinite(array))} values that are not finite; find where they arose")
    return array


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Score interval (low, high) of a proportion (Wilson 1927); never empty, never outside [0, 1].

    Examples
    --------
    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n < 1 or not 0 <= successes <= n:
        raise UserError(f"a proportion needs n >= 1 and 0 <= successes <= n, not {successes} of {n}")
    share = successes / n
    centre = (share + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * math.sqrt(share * (1 - share) / n + (_Z / (2 * n)) ** 2)
    # At the ends the closed form equals 0 or 1 only up to rounding, and the estimate must lie inside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def bootstrap_mean(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> Triple:
    """Mean with a percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    values
        One per image. One value has no interval (NaN ends). Equal values have one of no width: for 0/1 answers use
        `wilson`, for their differences `paired_difference`, which know that "never seen" is not "never".
    seed, resamples
        Of the draws, and how many.

    Raises
    ------
    UserError
        For no values, and one that is not finite.

    Examples
    --------
    >>> [round(part, 2) for part in bootstrap_mean([1, 2, 3, 4])]
    [2.5, 1.5, 3.5]
    """
    array = _finite("values", values)
    mean = float(array.mean())
    if array.size == 1:
        return mean, math.nan, math.nan
    generator = np.random.default_rng(seed)
    kinds, counts = np.unique(array, return_counts=True)
    if kinds.size <= 32:  # the same distribution as drawing indices, at a cost that does not grow with n
        means = generator.multinomial(array.size, counts / array.size, size=resamples) @ kinds / array.size
    else:
        step = max(1, 2_000_000 // array.size)  # 16 MB of indices at a time, whatever n
        shapes = ((min(step, resamples - start), array.size) for start in range(0, resamples, step))
        means = np.concatenate([array[generator.integers(0, array.size, shape)].mean(axis=1) for shape in shapes])
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return mean, float(min(low, mean)), float(max(high, mean))


def paired_difference(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Triple:
    """Mean of ``a - b`` over images seen under both conditions, with its interval.

    Bootstrap over images for continuous values. For 0/1 answers the adjusted Wald interval of Bonett & Price
    (2012), because a bootstrap has no width where no image changed its answer and too little where few did.

    Examples
    --------
    >>> [round(part, 3) for part in paired_difference([1, 1, 0, 1], [1, 0, 0, 1])]
    [0.25, -0.383, 0.717]
    """
    a, b = _finite("a", a), _finite("b", b)
    if a.shape != b.shape:
        raise UserError(f"a and b must hold the same images, not {a.size} and {b.size}")
    difference = a - b
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        return bootstrap_mean(difference, seed)
    n, up, down = a.size, np.sum(difference > 0), np.sum(difference < 0)
    up_share, down_share = (up + 1) / (n + 2), (down + 1) / (n + 2)
    centre = up_share - down_share
    half = _Z * math.sqrt((up_share + down_share - centre**2) / (n + 2))
    value = float(difference.mean())
    return value, float(min(value, max(-1.0, centre - half))), float(max(value, min(1.0, centre + half)))


def mcnemar(a_correct: Sequence[bool], b_correct: Sequence[bool]) -> float:
    """Exact two-sided p-value that two networks (or conditions) err equally often on the same images (McNemar 1947).

    Examples
    --------
    >>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
    0.0625
    """
    a, b = _finite("a_correct", a_correct) > 0, _finite("b_correct", b_correct) > 0
    if a.shape != b.shape:
        raise UserError(f"a_correct and b_correct must hold the same images, not {a.size} and {b.size}")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def reliability(confidence: Sequence[float], correct: Sequence[bool], bins: int = 15) -> dict[str, np.ndarray]:
    """Accuracy against stated confidence in equal-width bins ``(low, high]``; empty bins are left out.

    Parameters
    ----------
    confidence, correct
        Probability of the answer given, in [0, 1], and whether it was right; one per image.

    Returns
    -------
    dict
        Arrays of equal length, an element a bin: `bin` (from 1), `confidence` (mean), `accuracy`, its Wilson
        ends `ci_low` and `ci_high`, and `n`.

    Examples
    --------
    >>> reliability([0.55, 0.58, 0.95], [True, False, True], bins=10)["n"].tolist()
    [2, 1]
    """
    confidence, correct = _finite("confidence", confidence), _finite("correct", correct) > 0
    if confidence.shape != correct.shape:
        raise UserError(f"confidence and correct must hold the same images, not {confidence.size} and {correct.size}")
    if confidence.min() < 0 or confidence.max() > 1 + 1e-6:
        raise UserError("confidence must be a probability; pass the softmax, not the scores")
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    kept = n > 0
    right = np.bincount(place, weights=correct, minlength=bins)[kept]
    mean = np.bincount(place, weights=confidence, minlength=bins)[kept] / n[kept]
    ends = np.array([wilson(int(k), int(m)) for k, m in zip(right, n[kept])])
    return {
        "bin": np.flatnonzero(kept) + 1,
        "confidence": mean,
        "accuracy": right / n[kept],
        "ci_low": ends[:, 0],
        "ci_high": ends[:, 1],
        "n": n[kept],
    }


def ece(confidence: Sequence[float], correct: Sequence[bool], bins: int = 15, seed: int = 0) -> Triple:
    """Expected calibration error (Guo et al. 2017): mean gap of accuracy and confidence, bins weighted by n.

    Chance opens gaps in bins of few images, so that even a calibrated network is off by something on n images. The
    interval is about what it is off by *on average over sets of this n*, in the same bins: the value and, to both
    sides, 1.96 standard deviations of a bootstrap over images. (Quantiles of the bootstrap would lie too high: drawing
    opens the gaps a second time.) One image has none (NaN ends).
    """
    curve = reliability(confidence, correct, bins)
    sure, right, share = curve["confidence"], curve["accuracy"], curve["n"] / curve["n"].sum()
    value, n = float(share @ np.abs(right - sure)), int(curve["n"].sum())
    # Of a bin it matters how many are right and how many wrong, hardly which: they are as sure as their mean.
    drawn = np.random.default_rng(seed).multinomial(n, np.concatenate([share * right, share * (1 - right)]), size=1000)
    hits, misses = np.split(drawn / n, 2, axis=1)
    # Two images that went the other way, as in `paired_difference`: all right as stated is not always right.
    spread = math.sqrt(np.var(np.abs(hits - sure * (hits + misses)).sum(axis=1)) + 2 / n**2)
    half = _Z * spread if n > 1 else math.nan
    return value, max(value - half, 0.0), min(value + half, 1.0)


def difference(a: Triple, b: Triple) -> Triple:
    """``a - b`` of two estimates, limits by square-and-add (Zou & Donner 2008).

    Treats them as independent; on the same images they usually move together, so the interval errs wide.
    """
    value = a[0] - b[0]
    low = value - math.hypot(a[0] - a[1], b[2] - b[0])
    high = value + math.hypot(a[2] - a[0], b[0] - b[1])
    return value, low, high


def mean_of(estimates: Sequence[Triple]) -> Triple:
    """Mean of estimates made on the same images: the mean of the ends, which holds however they are correlated."""
    if not estimates:
        raise UserError("the mean of no estimates is not a number; select rows that exist")
    return tuple(float(end) for end in np.mean(np.asarray(estimates, dtype=float), axis=0))


def ratio(a: Triple, b: Triple) -> Triple:
    """``a / b`` of two estimates with MOVER limits (Donner & Zou 2012), as if independent (see `difference`).

    The ends are infinite where the interval of `b` is so wide that zero cannot be told from it; the ratio is NaN where
    `b` is not above 0.

    Examples
    --------
    >>> [round(part, 3) for part in ratio((0.4, 0.3, 0.5), (0.8, 0.8, 0.8))]
    [0.5, 0.375, 0.625]
    """
    if not b[0] > 0:
        return math.nan, -math.inf, math.inf

    def end(limit: float, side: float) -> float:
        # Root of (a - x b)^2 = (a - limit)^2 + x^2 spread^2, where x has the sign of the limit.
        spread = (b[2] - b[0]) if (limit >= 0) == (side < 0) else (b[0] - b[1])
        square = b[0] ** 2 - spread**2
        if not square > 0 or not math.isfinite(limit):
            return side * math.inf
        inside = (a[0] * b[0]) ** 2 - square * (a[0] ** 2 - (a[0] - limit) ** 2)
        return (a[0] * b[0] + side * math.sqrt(max(0.0, inside))) / square

    return a[0] / b[0], end(a[1], -1.0), end(a[2], 1.0)


class HalfRadius(NamedTuple):
    """The radius at which half the sharp accuracy is gone; infinite where it lies beyond `largest`, the last tested."""

    radius: float
    low: float
    high: float
    largest: float

    def __str__(self) -> str:
        def text(radius: float) -> str:
            return f"beyond {self.largest:.3g}" if math.isinf(radius) else f"{radius:.1f}"

        if math.isinf(self.radius):
            least = f" (at least {self.low:.1f})" if math.isfinite(self.low) else ""
            return f"{text(self.radius)}, the largest radius tested{least}"
        return text(self.radius) + ("" if math.isnan(self.low) else f" [{text(self.low)}, {text(self.high)}]")


def half_accuracy_radius(
    radii: Sequence[float],
    accuracies: Sequence[float] | np.ndarray,
    lows: Sequence[float] | None = None,
    highs: Sequence[float] | None = None,
    *,
    chance: float = 0.0,
    seed: int = 0,
    draws: int = 1000,
) -> HalfRadius:
    """Where accuracy, made monotone by isotonic regression and joined linearly, crosses half of that at radius 0.

    Parameters
    ----------
    radii
        Distinct, in pixels of the frame; 0 (sharp) among them.
    accuracies
        Answers, right or wrong (images, radii), or shares of 1, one a radius. The interval of the result follows from
        curves of answers to images drawn with replacement, which know that the radii saw the same images.
    lows, highs
        Of shares, their 95 % intervals: the curves' points vary independently within these, so the interval errs
        wide. Without them its ends are NaN.
    chance
        The accuracy above it is what is halved.

    Raises
    ------
    UserError
        For radii without 0 or twice the same, lists that do not pair up, and a sharp accuracy not above chance.

    Examples
    --------
    >>> print(half_accuracy_radius([0, 4, 8], [0.8, 0.6, 0.2]))
    6.0
    >>> print(half_accuracy_radius([0, 4, 8], [0.8, 0.7, 0.6]))
    beyond 8, the largest radius tested
    """
    answers = np.asarray(accuracies, dtype=float)
    radii = _finite("radii", radii, least=2)
    shares = _finite("accuracies", answers.mean(0) if answers.ndim == 2 else answers, least=2)
    if radii.shape != shares.shape:
        raise UserError(f"radii and accuracies must pair up, not {radii.size} and {shares.size}")
    order = np.argsort(radii)
    radii, shares = radii[order], shares[order]
    if radii[0] != 0 or np.any(np.diff(radii) == 0):
        raise UserError("radii must be distinct and hold 0, the sharp image: half of its accuracy is what is sought")
    if shares[0] <= chance:
        raise UserError(f"the sharp accuracy {shares[0]:.3f} is not above chance {chance:.3f}: nothing to halve")
    point, generator = _crossing(radii, shares, chance), np.random.default_rng(seed)
    if answers.ndim == 2:
        kinds, counts = np.unique(answers[:, order], axis=0, return_counts=True)
        n = len(answers)
        curves = generator.multinomial(n, counts / n, size=draws) @ kinds / n
    elif lows is None or highs is None:
        return HalfRadius(point, math.nan, math.nan, float(radii[-1]))
    else:
        lows, highs = _finite("lows", lows, least=2)[order], _finite("highs", highs, least=2)[order]
        noise = generator.standard_normal((draws, radii.size))
        # Each half of an asymmetric interval spreads its own side.
        noise *= np.where(noise < 0, (shares - lows) / _Z, (highs - shares) / _Z)
        curves = np.clip(shares + noise, 0, 1)
    found = np.sort([_crossing(radii, curve, chance) for curve in curves])
    low, high = found[int(0.025 * draws)], found[min(draws - 1, math.ceil(0.975 * draws))]
    return HalfRadius(point, float(min(low, point)), float(max(high, point)), float(radii[-1]))


def _crossing(radii: np.ndarray, accuracies: np.ndarray, chance: float) -> float:
    fitted = optimize.isotonic_regression(accuracies, increasing=False).x
    target = chance + (fitted[0] - chance) / 2
    below = np.flatnonzero(fitted <= target)
    if below.size == 0:
        return math.inf
    right = below[0]
    if right == 0:  # a curve drawn at or below chance has nothing left to lose
        return 0.0
    left = right - 1
    share = (fitted[left] - target) / (fitted[left] - fitted[right])
    return float(radii[left] + share * (radii[right] - radii[left]))
