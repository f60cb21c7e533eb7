"""Plans: the cheapest way to apply one kernel with the compiled loops.

One of three: its taps one by one (motion, shake), or the average of two where the kernel is its own mirror image
(small disks); vertical runs (disks: most of a disk is one weight); or down and across (Gaussians, and other products of
two profiles). Kernels with more taps than that is good for take an FFT.
"""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

VERSION = 1

# Costs in units of one tap of `loops.weigh` on one row, 5.5 ns for 512 pixels on the machine they were measured on
# (2 x AMD EPYC, AVX-512, quiet), beyond what every plan needs. They only choose the plan: being wrong by a third costs
# a few per cent.
_LOAD_COST = 0.68  # one tap of `weigh_pair`, for each of its rows
_MIRROR_COST = 1.1  # the same, of the average of two pixels
_GROUP_COST = 1.0
_FIRST_RUN_COST = 24.0
_RUN_COST = 4.0
_LINE_COST = 25.0  # a row between down and across
_BETWEEN_COST = 22.0  # a row between two coarse ones
_FOURIER_COST = 400.0
_SMALL_COST = 12.0

_GROUP = 16
_NEGLIGIBLE = 1e-5  # share of a kernel that may be left out: 0.003 of an 8-bit level at most


@dataclass(frozen=True)
class Plan:
    """One way to apply one kernel: the name of its loop (or copy, or fourier), its cost in taps, its arguments.

    `reach`: rows that the loop wants above the image; `half`: columns beside it.
    """

    loop: str
    cost: float
    half: int = 0
    reach: int = 0
    arguments: tuple = ()


def plan_for(kernel: np.ndarray) -> Plan:
    """The cheapest plan for `kernel`, (h, w) with odd sides; the same object for equal kernels."""
    return _plan_for(kernel.astype(np.float32).tobytes(), kernel.shape)


@functools.lru_cache(maxsize=256)
def _plan_for(data: bytes, shape: tuple[int, int]) -> Plan:
    kernel = np.frombuffer(data, dtype=np.float32).reshape(shape).astype(np.float64)
    if kernel.size == 1:
        return Plan("copy", 0.0)
    kernel /= kernel.sum()
    clean = _without_dust(kernel)
    taps = _tap_plan(clean)
    if taps and taps.cost < _SMALL_COST:
        return taps  # a fresh shake for every small image: looking for better costs more than it saves
    plans = [Plan("fourier", _FOURIER_COST), taps, _run_plan(clean), _separable_plan(kernel)]
    return min((plan for plan in plans if plan), key=lambda plan: plan.cost)


def _without_dust(kernel: np.ndarray) -> np.ndarray:
    """`kernel` without its smallest weights, a share of 1e-5 of it in all."""
    ascending = np.sort(kernel, axis=None)
    least = ascending[np.searchsorted(np.cumsum(ascending), _NEGLIGIBLE)]
    kept = np.where(kernel < least, 0.0, kernel)
    return kept / kept.sum()


def _taps(offsets: np.ndarray, weights: np.ndarray, whites: np.ndarray | int = 65535) -> tuple:
    """`Taps` for real `weights` on sources in which white is `whites`, one for each or one for all.

    Every 16-bit product loses under 1 unit, and every weight under 1/2 by rounding, in a group of n <= 16 taps whose
    share of the kernel is s: at most 1.5 n s of 65535, so 24 / 65535 = 0.094 of an 8-bit level over all groups. Typical
    is a tenth of that. Scaling by what the loop makes of white keeps white white, and black is black.
    """
    from blurnb.optics.loops import Taps  # numba takes most of a second to import

    count = math.ceil(len(weights) / _GROUP)
    whites = np.broadcast_to(whites, len(weights))
    groups = np.round(np.linspace(0, len(weights), count + 1)).astype(np.intp)
    shorts, scales = np.empty(len(weights), np.uint16), np.empty(count, np.float32)
    for group, (first, last) in enumerate(zip(groups[:-1], groups[1:])):
        part = weights[first:last]
        # Rounding the running sum, not each weight, keeps equal weights from erring all one way.
        shorts[first:last] = np.diff(np.round(np.cumsum(part) / part.sum() * 65535), prepend=0)
        made = (whites[first:last] * shorts[first:last].astype(np.int64)) >> 16
        scales[group] = (part * whites[first:last]).sum() / max(made.sum(), 1)
    return Taps(offsets.astype(np.intp), shorts, groups, scales)


def _paired(levels: np.ndarray, taps: tuple, spacing: int) -> tuple[np.ndarray, tuple]:
    """(levels, taps) with two weights a tap, for a row and the one `spacing` below it.

    Within its group: what the two rows share is loaded once. Groups are by column, as that is what they share.
    """
    places, weights, groups = [], [], [0]
    for first, last in zip(taps.groups[:-1], taps.groups[1:]):
        pairs: dict[tuple[int, int], list[int]] = {}
        for level, offset, weight in zip(levels[first:last], taps.offsets[first:last], taps.weights[first:last]):
            pairs.setdefault((int(level), int(offset)), [0, 0])[0] = int(weight)
            pairs.setdefault((int(level) + spacing, int(offset)), [0, 0])[1] = int(weight)
        places += pairs
        weights += pairs.values()
        groups.append(len(places))
    levels, offsets = np.array(places, dtype=np.intp).T.copy()
    return levels, taps._replace(
        offsets=offsets, weights=np.array(weights, dtype=np.uint16).ravel(), groups=np.array(groups, dtype=np.intp)
    )


def _folded(kernel: np.ndarray) -> tuple[np.ndarray, bool]:
    """(what is left of `kernel` when its right half is added to its mirror image, True); itself where it has none."""
    if np.abs(kernel - kernel[:, ::-1]).max() > 1e-7:
        return kernel, False
    folded = kernel + kernel[:, ::-1]
    middle = kernel.shape[1] // 2
    folded[:, middle] = kernel[:, middle]
    folded[:, middle + 1 :] = 0
    return folded, True


def _cost(taps: int) -> float:
    return taps + _GROUP_COST * math.ceil(taps / _GROUP)


def _tap_plan(kernel: np.ndarray) -> Plan | None:
    kernel, is_mirrored = _folded(kernel)
    columns, rows = np.nonzero(kernel.T)
    middle_row, middle_column = kernel.shape[0] // 2, kernel.shape[1] // 2
    below = np.vstack([kernel[1:], np.zeros_like(kernel[:1])])
    loads = np.count_nonzero((kernel > 0) | (below > 0)) + np.count_nonzero(kernel[0])
    load_cost = _MIRROR_COST if is_mirrored else _LOAD_COST
    cost = load_cost * loads + _GROUP_COST * math.ceil(len(rows) / _GROUP)
    if cost >= _FOURIER_COST:
        return None
    half = max(middle_row, middle_column)
    taps = _taps(middle_column - columns, kernel[rows, columns])
    return Plan("convolve", cost, half, half, (*_paired(middle_row - rows, taps, 1), is_mirrored))


def _run_plan(kernel: np.ndarray) -> Plan | None:
    """Columns as sums of centred runs: what a weight exceeds the next one outwards by is a run's weight."""
    middle_row, middle_column = kernel.shape[0] // 2, kernel.shape[1] // 2
    profiles = kernel[middle_row:]
    if np.abs(kernel - kernel[::-1]).max() > 1e-7:
        return None
    steps = profiles - np.vstack([profiles[1:], np.zeros_like(profiles[:1])])
    if steps.min() < -1e-7:
        return None
    lengths, columns = np.nonzero(steps > 1e-7)
    cost = _cost(len(lengths)) + _FIRST_RUN_COST + _RUN_COST * lengths.max()
    if cost >= _FOURIER_COST:
        return None
    pixels = 2 * np.arange(lengths.max() + 1) + 1
    shares = 65536 // pixels
    shares[0] = 65536  # the pixel itself is copied
    whites = (65535 * pixels * shares) >> 16
    taps = _taps(middle_column - columns, (steps[lengths, columns] * 65536) / shares[lengths], whites[lengths])
    half = max(middle_row, middle_column)
    arguments = (lengths.astype(np.intp), taps, shares.astype(np.uint32))
    return Plan("convolve_runs", cost, half, half, arguments)


def _separable_plan(kernel: np.ndarray) -> Plan | None:
    """Down and across; a wide Gaussian only at every n-th row, and few taps between these."""
    profile_down, profile_across = kernel.sum(1), kernel.sum(0)
    if np.abs(kernel - np.outer(profile_down, profile_across)).max() > 1e-7 or min(kernel.shape) == 1:
        return None
    plans = [_decimated_plan(profile_down, profile_across, step) for step in range(1, 13)]
    return min((plan for plan in plans if plan), key=lambda plan: plan.cost, default=None)


def _decimated_plan(profile_down: np.ndarray, profile_across: np.ndarray, step: int) -> Plan | None:
    parts = (profile_down, np.ones((1, 1))) if step == 1 else _gaussian_parts(profile_down, step)
    if parts is None:
        return None
    first, between = parts
    down = _profile_taps(first)
    levels, down = _paired(down.offsets, down, step)
    down = down._replace(offsets=levels)
    across = _profile_taps(profile_across)
    reach = between.shape[1] // 2
    cost = (_LOAD_COST * _cost(len(first)) + _cost(len(profile_across)) + _LINE_COST) / step
    if step > 1:
        cost += _cost(between.shape[1]) + _BETWEEN_COST
    if cost >= _FOURIER_COST:
        return None
    sets = [_taps(np.arange(-reach, reach + 1), weights) for weights in between]
    up = type(down)(*(np.stack(arrays) for arrays in zip(*sets)))
    rows = len(first) // 2 + step * (reach + 1)
    return Plan("convolve_separably", cost, len(profile_across) // 2, rows, (step, down, across, up))


def _profile_taps(profile: np.ndarray) -> tuple:
    (places,) = np.nonzero(profile)
    return _taps(len(profile) // 2 - places, profile[places])


def _gaussian_parts(profile: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(first Gaussian, weights of the coarse rows for each row after one) that make the Gaussian `profile`.

    Variances add up, so a Gaussian may be applied in two parts, and the first one leaves so little beyond the Nyquist
    frequency of every `step`-th row that the second can bridge the gap. The second one's weights are those that come
    nearest to `profile` at each place between two coarse rows. None where they do not come near enough: the profile
    is no Gaussian, or too narrow.
    """
    tried = (_parts(profile, step, *one) for one in itertools.product(_COARSE_REACHES, _FIRST_SHARES))
    return next((parts for parts in tried if parts), None)


_FIRST_SHARES = (0.62, 0.57, 0.67, 0.75)
"""Of a Gaussian's variance, in the first part: where the profile is cut off decides which comes near enough."""
_COARSE_REACHES = (3, 4)  # coarse rows to each side that the second part weighs; fewer are never near enough


def _parts(profile: np.ndarray, step: int, coarse_reach: int, share: float) -> tuple[np.ndarray, np.ndarray] | None:
    middle = len(profile) // 2
    variance = share * float(profile @ (np.arange(len(profile)) - middle) ** 2)
    if math.sqrt(variance) < step / 3:  # far too narrow to be sampled so coarsely, down to a single pixel
        return None
    reach = math.ceil(3.5 * math.sqrt(variance))
    first = np.exp(-0.5 * np.arange(-reach, reach + 1) ** 2 / variance)
    first /= first.sum()
    width = max(middle, reach + step * (coarse_reach + 1))
    target = np.pad(profile, width - middle)
    between = np.empty((step, 2 * coarse_reach + 1))
    for phase, weights in enumerate(between):
        made = np.zeros((len(weights), 2 * width + 1))
        for row, line in enumerate(made):
            start = width + step * (row - coarse_reach) - phase - reach
            line[start : start + len(first)] = first
        weights[:] = np.linalg.lstsq(made.T, target, rcond=None)[0].clip(0)
        weights /= weights.sum()
        if not np.abs(weights @ made - target).sum() <= 5e-4:  # 0.064 of an 8-bit level on the worst image there is
            return None
    return first, between
