"""Pixels counted by true and by answered class: one matrix over a set gives IoU, mIoU and pixel accuracy."""

import numpy as np
from scipy import ndimage, stats

from blurnb.errors import UserError
from blurnb.recognition.label_maps import VOID

VERSION = 1
REGIONS = ("boundary", "interior")
RESAMPLES = 2000


def matrix(truth: np.ndarray, answer: np.ndarray, count: int, where: np.ndarray | None = None) -> np.ndarray:
    """Pixels (count, count) by true class (rows) and answered class (columns); void pixels are left out.

    Parameters
    ----------
    truth, answer : integer maps (H, W).
    count : how many classes there are.
    where : mask (H, W) of the pixels to count; all where there is none.

    Raises
    ------
    UserError
        For maps of two shapes and for a label that is neither a class nor void.
    """
    if truth.shape != answer.shape:
        raise UserError(f"truth is a map of shape {truth.shape}, the answer of shape {answer.shape}; they must agree")
    kept = truth != VOID if where is None else (truth != VOID) & where
    one, other = truth[kept].astype(np.int64), answer[kept].astype(np.int64)
    if one.size and not (min(one.min(), other.min()) >= 0 and max(one.max(), other.max()) < count):
        raise UserError(f"a map holds label {max(one.max(), other.max())}, the classes end at {count - 1}")
    return np.bincount(one * count + other, minlength=count * count).reshape(count, count)


def boundary(truth: np.ndarray, width: float) -> np.ndarray:
    """Mask (H, W) of the pixels at most about `width` pixels from another label, in an integer map (H, W).

    An edge pixel has a pixel of another label (void is one) to its left, right, above or below; the band holds the
    pixels less than `width` from the nearest edge pixel, centre to centre, so that a width of 1 is the edge pixels
    themselves, one on each side of an outline.
    """
    beside = {"footprint": ndimage.generate_binary_structure(2, 1), "mode": "nearest"}
    edge = ndimage.maximum_filter(truth, **beside) != ndimage.minimum_filter(truth, **beside)
    if not edge.any():
        return edge
    return ndimage.distance_transform_edt(~edge) < width


def iou(matrices: np.ndarray) -> np.ndarray:
    """Intersection over union (..., count) of matrices (..., count, count); NaN for a class that no pixel truly is."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)
    true, answered = matrices.sum(-1), matrices.sum(-2)
    union = true + answered - right
    return np.where(true > 0, right / np.maximum(union, 1), np.nan)


def miou(matrices: np.ndarray) -> np.ndarray:
    """Mean of `iou` (...) over the classes that are there; NaN where none is."""
    each = iou(matrices)
    there = ~np.isnan(each)
    return np.where(there.any(-1), np.where(there, each, 0).sum(-1) / np.maximum(there.sum(-1), 1), np.nan)


def pixel_accuracy(matrices: np.ndarray) -> np.ndarray:
    """Share (...) of the pixels of matrices (..., count, count) that are answered rightly; NaN where there is none."""
    total = matrices.sum((-2, -1))
    return np.where(total > 0, np.trace(matrices, axis1=-2, axis2=-1) / np.maximum(total, 1), np.nan)


def resampled(matrices: np.ndarray, seed: int, block: int = 1, resamples: int = RESAMPLES) -> np.ndarray:
    """Summed matrices (resamples, count, count) of sets of images drawn with replacement from `matrices` (n, count,
    count). The same seed draws the same sets, so two conditions on the same images stay paired.

    Frames of a clip are alike: `block` so many in a row are drawn as one, the last being followed by the first
    (Politis & Romano 1992), so that what they share is not counted anew with every frame. A set of fewer than four
    blocks takes shorter ones.
    """
    n, count = len(matrices), matrices.shape[-1]
    block = max(1, min(block, n // 4))
    weights = np.random.default_rng(seed).multinomial(n // block, np.full(n, 1 / n), size=resamples)
    weights = sum(np.roll(weights, place, axis=1) for place in range(block))
    return (weights.astype(float) @ matrices.reshape(n, -1).astype(float)).reshape(resamples, count, count)


def interval(value: float, draws: np.ndarray, part: float = 0.0) -> tuple[float, float, float]:
    """Value with the 95 % percentile interval of its draws; none where there is but one image or nothing to draw.

    `part`: of the set that is drawn as one, a block or an image. Of few blocks the draws differ too little, which
    levels further out make up for (Kiefer & Vogelsang 2005, the Bartlett kernel). Where images further apart than
    a block are still alike, the interval remains too narrow.
    """
    draws = draws[~np.isnan(draws)]
    if not draws.size or np.isnan(value):
        return float(value), np.nan, np.nan
    part = min(part, 0.25)
    level = stats.norm.cdf(-1.96 - 2.9694 * part - 0.416 * part**2 + 0.5324 * part**3)
    low, high = np.quantile(draws, [level, 1 - level])
    return float(value), float(min(low, value)), float(max(high, value))
