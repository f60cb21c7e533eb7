"""Blur kernels: square odd float32 arrays that sum to 1, centred, in pixels of the image they blur.

Row 0 is the top row, so y grows downwards; angles are counter-clockwise as a reader sees them.
"""

import functools
import math
import numbers
from collections.abc import Callable

import numpy as np

from blurnb.errors import UserError, shown
from blurnb.labels import GRIDS

VERSION = 1
LARGEST_HALF = 512
"""Half side of the largest kernel anyone needs here; more is a slip of the pen and would eat the memory."""
STEPS = 2000  # points of the path of an inertial shake


def defocus(radius: float) -> np.ndarray:
    """Disk of `radius` pixels: each pixel weighs the exact area of the circle inside it.

    Source: the geometry of MATLAB's ``fspecial('disk')``, here for any positive real radius.

    Returns
    -------
    ndarray
        (k, k) float32, ``k = 2 ceil(radius - 0.5) + 1``: up to 0.5 the circle lies inside one pixel.

    Raises
    ------
    UserError
        Unless 0 < radius <= 512.

    Examples
    --------
    >>> defocus(0.5), defocus(8).shape
    (array([[1.]], dtype=float32), (17, 17))
    >>> defocus(1).round(3)
    array([[0.025, 0.145, 0.025],
           [0.145, 0.318, 0.145],
           [0.025, 0.145, 0.025]], dtype=float32)
    """
    radius = _positive("radius", radius)
    half = max(0, math.ceil(radius - 0.5))
    edges = np.arange(-half, half + 2) - 0.5
    corner = _quadrant_area(edges[:, None], edges[None, :], radius)
    return _normalised(np.diff(np.diff(corner, axis=0), axis=1))


def gaussian(sigma: float) -> np.ndarray:
    """Gaussian of standard deviation `sigma` pixels, sampled at pixel centres and cut at 4 sigma.

    Cutting at 2 sigma, as some corruption benchmarks do, is a visibly weaker blur.

    Returns
    -------
    ndarray
        (k, k) float32, ``k = 2 ceil(4 sigma) + 1``.

    Raises
    ------
    UserError
        Unless 0 < 4 sigma <= 512.

    Examples
    --------
    >>> gaussian(2).shape, round(float(gaussian(2).max()), 4)
    ((17, 17), 0.0398)
    """
    sigma = _positive("sigma", sigma, LARGEST_HALF / 4)
    offsets = np.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1)
    profile = np.exp(-0.5 * (offsets / sigma) ** 2)
    return _normalised(np.outer(profile, profile))


def linear_motion(length: float, angle: float) -> np.ndarray:
    """Straight uniform motion over `length` pixels, `angle` degrees counter-clockwise from the x axis.

    Weight max(0, 1 - distance to a centred segment of length `length` - 1), as MATLAB's
    ``fspecial('motion')``; a length up to 1 is the identity.

    Returns
    -------
    ndarray
        (k, k) float32, k odd and at most the next odd number from `length` up.

    Raises
    ------
    UserError
        Unless 0 < length <= 1024 and the angle is finite.

    Examples
    --------
    >>> linear_motion(3, 0).round(3)
    array([[0.   , 0.   , 0.   ],
           [0.333, 0.333, 0.333],
           [0.   , 0.   , 0.   ]], dtype=float32)
    """
    length = _positive("length", length, 2 * LARGEST_HALF)
    if not _is_number(angle) or not abs(angle) < 1e9:  # beyond, a float has no degrees left
        raise UserError(f"angle={shown(angle)}: give a finite angle in degrees")
    reach = max(0.0, length - 1) / 2
    along_x, along_y = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    # The weight is 0 at distance 1, so a pixel beyond the segment's end by a whole pixel is never reached.
    half = math.ceil(reach * max(abs(along_x), abs(along_y)))
    offsets = np.arange(-half, half + 1)
    y, x = offsets[:, None], offsets[None, :]
    foot = np.clip(x * along_x + y * along_y, -reach, reach)
    distance = np.hypot(x - foot * along_x, y - foot * along_y)
    return _normalised(trimmed(np.maximum(0.0, 1.0 - distance)))


def camera_shake(seed: int | np.random.Generator, grid: int = 24) -> np.ndarray:
    """Random camera shake on a grid of 8, 16 or 24 pixels: a thin curve without dwell time.

    Six control points, uniform integers in 1..grid; a not-a-knot cubic spline through them, rounded and
    clamped to the grid; every distinct pixel it visits weighs max(0, Normal(1, 0.5)); the rounded centroid
    is moved to the centre. Source: Chakrabarti 2016, "A neural approach to blind motion deblurring", section 4.

    Returns
    -------
    ndarray
        (k, k) float32, as small as the curve allows, k at most 2 grid - 1.

    Raises
    ------
    UserError
        For any other grid.

    Examples
    --------
    >>> kernel = camera_shake(seed=0, grid=8)
    >>> kernel.shape, int((kernel > 0).sum())
    ((9, 9), 23)
    """
    if not _is_number(grid) or grid not in GRIDS:
        raise UserError(f"grid={shown(grid)}: camera shake is defined on a grid of 8, 16 or 24 pixels")
    generator = _generator(seed)
    control = generator.integers(1, grid, size=(6, 2), endpoint=True)
    curve = np.clip(np.rint(_spline_basis() @ control), 1, grid).astype(np.intp) - 1
    visited = np.zeros((grid, grid), dtype=bool)
    visited[curve[:, 1], curve[:, 0]] = True
    weights = np.zeros((grid, grid))
    while not weights.any():
        weights[visited] = np.maximum(0.0, generator.normal(1.0, 0.5, np.count_nonzero(visited)))
    return _normalised(_centred(weights))


def camera_shake_inertial(
    seed: int | np.random.Generator, length: float = 64.0, exposure: float = 1.0, anxiety: float = 0.005
) -> np.ndarray:
    """Random camera shake with inertia: a path of `length` pixels, of which the first `exposure` is seen.

    A particle of constant speed is pushed by Gaussian jerks, pulled back to its start, and sometimes thrown
    around; `anxiety` scales all three. Its dwell time is splatted bilinearly with the exact centroid at the
    centre, and renormalised to sum 1, also for a short exposure.
    Source: Boracchi & Foi 2012, "Modeling the performance of image restoration from motion blur".

    Parameters
    ----------
    seed
        Or the generator to draw from.
    length
        Of the whole path, pixels, in (0, 512].
    exposure
        Share of the path that is seen, in (0, 1].
    anxiety
        In [0, 1]; 0 is a straight path.

    Returns
    -------
    ndarray
        (k, k) float32, k odd.

    Raises
    ------
    UserError
        For a parameter out of its range.
    """
    length = _positive("length", length)
    if not _is_number(exposure) or not 0 < exposure <= 1:
        raise UserError(f"exposure={shown(exposure)}: give the seen fraction of the path, above 0 and at most 1")
    if not _is_number(anxiety) or not 0 <= anxiety <= 1:
        raise UserError(f"anxiety={shown(anxiety)}: give a number from 0 (a smooth path) to 1")
    generator = _generator(seed)
    pull, jerk, throw, heading = generator.uniform(0.0, [0.7, 10.0, 0.2, 2 * math.pi])
    pushes = jerk * (generator.normal(size=(STEPS, 2)) @ [1, 1j])
    thrown = generator.random(STEPS) < throw * anxiety
    turns = 2 * np.exp(1j * (math.pi + generator.random(STEPS) - 0.5))
    speed = length / (STEPS - 1)
    velocity, position, path = speed * complex(math.cos(heading), math.sin(heading)), 0j, []
    for push, is_thrown, turn in zip(pushes.tolist(), thrown.tolist(), turns.tolist()):
        path.append(position)
        force = (velocity * turn if is_thrown else 0j) + anxiety * speed * (push - pull * position)
        velocity += force
        velocity *= speed / (abs(velocity) or 1.0)
        position += velocity
    seen = np.array(path[: max(1, round(exposure * STEPS))])
    seen -= seen.mean()
    return _normalised(trimmed(_splatted(seen)))


def rescale(kernel: np.ndarray, factor: float) -> np.ndarray:
    """`kernel` for an image `factor` times as large, exact in area.

    The kernel is read as constant on its pixels, scaled about its centre, and integrated over the new
    pixels; so its mass is kept, and its centroid to part of a new pixel. For disks, Gaussians and straight
    motion make the kernel anew from the scaled parameter instead.

    Returns
    -------
    ndarray
        (k, k) float32, k odd.

    Raises
    ------
    UserError
        Unless factor is positive and the result at most 1025 pixels a side.

    Examples
    --------
    >>> rescale(np.full((9, 9), 1 / 81), 1 / 3).round(3)
    array([[0.111, 0.111, 0.111],
           [0.111, 0.111, 0.111],
           [0.111, 0.111, 0.111]], dtype=float32)
    """
    factor = _positive("factor", factor, 1e6)
    if factor == 1:
        return kernel.astype(np.float32)
    halves = [size // 2 for size in kernel.shape]
    if max(halves) * factor > LARGEST_HALF:
        raise UserError(f"factor={factor!r} makes a {kernel.shape[0]}-pixel kernel larger than 1025 pixels")
    half = math.ceil(factor * (max(halves) + 0.5) - 0.5)
    new = np.arange(-half, half + 2) - 0.5
    rows, columns = (_overlap(factor * (np.arange(-h, h + 2) - 0.5), new) for h in halves)
    return _normalised(_centred(rows @ kernel.astype(np.float64) @ columns.T))


def _draw_shake(given: dict[str, float], factor: float, generator: np.random.Generator) -> np.ndarray:
    grid = given.get("grid") or int(generator.choice(GRIDS))
    return rescale(camera_shake(generator, grid), factor)


MAKERS: dict[str, Callable[..., np.ndarray]] = {
    "sharp": lambda given, factor: np.ones((1, 1), dtype=np.float32),
    "defocus": lambda given, factor: defocus(given["radius"] * factor),
    "gaussian": lambda given, factor: gaussian(given["sigma"] * factor),
    "motion": lambda given, factor: linear_motion(given["length"] * factor, given["angle"]),
    "shake": _draw_shake,
    "inertial": lambda given, factor, generator: rescale(camera_shake_inertial(generator), factor),
}
"""Family of `labels.FAMILIES` -> its kernel, from the parameters of a Blur and the factor (image side / frame side);
families that are random take a generator too."""


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _positive(name: str, value: float, largest: float = LARGEST_HALF) -> float:
    if not _is_number(value) or not 0 < value <= largest or value == math.inf:  # NaN fails the comparison
        raise UserError(f"{name}={shown(value)}: give a number above 0 and at most {largest:g}")
    return float(value)


def _generator(seed: int | np.random.Generator) -> np.random.Generator:
    if not isinstance(seed, np.random.Generator) and not (isinstance(seed, numbers.Integral) and seed >= 0):
        raise UserError(f"seed={shown(seed)}: give a whole number from 0 up, or a NumPy generator")
    return np.random.default_rng(seed)


def _quadrant_area(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Signed area of the circle about 0 inside the rectangle from 0 to (x, y); odd in x and in y."""
    a, b = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    # Where the top edge of the rectangle leaves the circle.
    rim = np.minimum(np.sqrt(np.maximum(0.0, radius**2 - b**2)), a)
    area = rim * b + _under_circle(a, radius) - _under_circle(rim, radius)
    return np.sign(x) * np.sign(y) * area


def _under_circle(x: np.ndarray, radius: float) -> np.ndarray:
    """Area under the arc y = sqrt(radius^2 - t^2) from 0 to x, 0 <= x <= radius."""
    return (x * np.sqrt(np.maximum(0.0, radius**2 - x**2)) + radius**2 * np.arcsin(x / radius)) / 2


@functools.cache
def _spline_basis(samples: int = 2000) -> np.ndarray:
    """(samples, 6) matrix from six control points to the curve: the spline is linear in its points."""
    from scipy.interpolate import CubicSpline  # imported late: only shake needs it

    return CubicSpline(np.arange(6), np.eye(6), bc_type="not-a-knot")(np.linspace(0, 5, samples))


def _splatted(points: np.ndarray) -> np.ndarray:
    """Histogram of complex `points` (x + iy) with bilinear weights, 0 at the centre of the array."""
    half = math.ceil(max(np.abs(points.real).max(), np.abs(points.imag).max())) + 1
    x, y = points.real + half, points.imag + half
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, below = x - left, y - top
    weights = np.zeros((2 * half + 1, 2 * half + 1))
    for row, row_share in ((top, 1 - below), (top + 1, below)):
        for column, column_share in ((left, 1 - right), (left + 1, right)):
            np.add.at(weights, (row, column), row_share * column_share)
    return weights


def _overlap(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(new cells, old cells) matrix: the share of each old cell, given by its edges, in each new one."""
    low = np.maximum(old[None, :-1], new[:-1, None])
    high = np.minimum(old[None, 1:], new[1:, None])
    return np.maximum(0.0, high - low) / (old[1] - old[0])


def _centred(weights: np.ndarray) -> np.ndarray:
    """The smallest odd square around the rounded centroid that holds every weight."""
    rows, columns = np.nonzero(weights)
    mass = weights[rows, columns]
    centre = [round(float(index @ mass / mass.sum())) for index in (rows, columns)]
    half = max(np.abs(rows - centre[0]).max(), np.abs(columns - centre[1]).max())
    square = np.zeros((2 * half + 1, 2 * half + 1))
    square[rows - centre[0] + half, columns - centre[1] + half] = mass
    return square


def trimmed(weights: np.ndarray) -> np.ndarray:
    """`weights` without rims that are zero on all four sides; the centre stays."""
    rows, columns = np.nonzero(weights)
    half = weights.shape[0] // 2
    reach = max(np.abs(rows - half).max(), np.abs(columns - half).max())
    inside = slice(half - reach, half + reach + 1)
    return weights[inside, inside]


def _normalised(weights: np.ndarray) -> np.ndarray:
    # Rounding in the area formula can leave -1e-16 outside the circle.
    weights = np.maximum(weights, 0.0)
    return (weights / weights.sum()).astype(np.float32)
