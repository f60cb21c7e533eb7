"""Means and ratios over images that the networks of several seeds answered: two levels, the seeds and the images.

Every seed answers the same images, so that what differs has three parts: the images, the seeds, and what a seed makes
of an image. With three seeds or more all are estimated, and the interval is about the mean over seeds to come and
images to come; with fewer it is about the mean of the seeds at hand (`blurnb.report.selection.estimate` puts an
envelope around two).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from blurnb.errors import UserError
from blurnb.intervals import Triple

VERSION = 1
LEAST_SEEDS = 3
"""Seeds from which on their spread enters the interval."""


class Moments:
    """Means of d quantities over seeds and images, with what is needed for an interval of any mixture of them.

    Parameters
    ----------
    values
        (seeds, images, d).
    counted
        Whether every value is an answer that was right or wrong, or a difference or mean of such. Two images that
        went against each other are then added to the spread (Bonett & Price 2012), for "never seen" is not "never".

    Raises
    ------
    UserError
        For an array of another shape, fewer than two images, and a value that is not finite.
    """

    def __init__(self, values: np.ndarray, *, counted: bool = False):
        values = np.asarray(values, dtype=float)
        if values.ndim != 3 or values.shape[1] < 2 or not np.isfinite(values).all():
            raise UserError(f"values must be finite, of shape (seeds, images >= 2, quantities), not {values.shape}")
        self.seeds, self.images, size = values.shape
        by_image, by_seed = values.mean(0), values.mean(1)
        self.means = by_image.mean(0)
        self.of_images = np.cov(by_image.T, ddof=1).reshape(size, size) / self.images
        if counted:
            self.of_images += np.eye(size) * 2 / self.images**2
        self.of_seeds, self._raw = np.zeros((size, size)), np.zeros((size, size))
        if self.seeds >= LEAST_SEEDS:
            rest = (values - by_image - by_seed[:, None] + self.means).reshape(-1, size)
            rest = rest.T @ rest / ((self.seeds - 1) * (self.images - 1))
            self._raw = np.cov(by_seed.T, ddof=1).reshape(size, size) / self.seeds
            sizes, axes = np.linalg.eigh(self._raw - rest / (self.images * self.seeds))
            self.of_seeds = axes @ np.diag(sizes.clip(0)) @ axes.T  # no spread is less than none

    def quantile(self, mixture: Sequence[float]) -> float:
        """Student's quantile for a mixture of the quantities, its degrees of freedom by Satterthwaite (1946)."""
        mixture = np.asarray(mixture, dtype=float)
        images, seeds, raw = (mixture @ part @ mixture for part in (self.of_images, self.of_seeds, self._raw))
        spent = images**2 / (self.images - 1) + (raw**2 / (self.seeds - 1) if raw else 0)
        return float(stats.t.ppf(0.975, max(1, (images + seeds) ** 2 / spent))) if spent else 0.0


def mean(values: np.ndarray, *, counted: bool = False) -> Triple:
    """Mean over seeds and images of `values` (seeds, images), with its interval.

    Examples
    --------
    >>> [round(part, 3) for part in mean(np.array([[1, 1, 0, 1]]) - np.array([[1, 0, 0, 1]]), counted=True)]
    [0.25, -1.128, 1.628]
    """
    found = Moments(np.asarray(values)[..., None], counted=counted)
    half = found.quantile([1.0]) * math.sqrt(found.of_images[0, 0] + found.of_seeds[0, 0])
    value = float(found.means[0])
    return value, value - half, value + half


def ratio(above: np.ndarray, below: np.ndarray, *, counted: bool = False) -> Triple:
    """The mean of `above` in units of the mean of `below`, both (seeds, images), on the same images.

    The interval holds the ratios x for which ``above - x below`` cannot be told from zero (Fieller 1954), so it knows
    that the two move together. Infinite where `below` cannot be told from zero, NaN where it is not above zero.
    """
    found = Moments(np.stack([above, below], axis=-1), counted=counted)
    a, b = found.means
    if not b > 0:
        return math.nan, -math.inf, math.inf
    spread = found.quantile([1.0, -a / b]) ** 2 * (found.of_images + found.of_seeds)
    square, middle, end = b * b - spread[1, 1], a * b - spread[0, 1], a * a - spread[0, 0]
    inside = middle * middle - square * end
    if square <= 0 or inside < 0:
        return float(a / b), -math.inf, math.inf
    half = math.sqrt(inside)
    return float(a / b), float((middle - half) / square), float((middle + half) / square)
