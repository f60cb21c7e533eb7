"""The embedded data set: objects on 1/f backgrounds, rendered from numbers alone.

A class is a *shape* and a *fine texture* on it (a ball is striped, a kite is chequered). A network trained on sharp
scenes leans on the texture, as networks trained on photographs do (Geirhos et al. 2019, arXiv:1811.12231); blur takes
the texture away and leaves the shape, so robustness can be learnt. The background has the 1/f amplitude spectrum of
natural images (Field 1987).
"""

from collections.abc import Callable, Iterable

import numpy as np
import scipy.fft
import torch
from scipy import ndimage

from blurnb.errors import demand_known

Plane = np.ndarray  # (height, width), float32
SPLITS = ("train", "val", "test")
SIDE = 96  # side of a scene unless another is asked for: D8 has a radius of 1.5 of its pixels, D4 of 0.75
VERSION = 1  # part of every fingerprint; a change of the pixels must change it
BACKGROUND, AMBIGUOUS = 0, 255

_SUPERSAMPLING = 3  # samples per pixel and axis: texture and outline are box-filtered, so nothing aliases visibly


def _fish(x: Plane, y: Plane) -> Plane:
    body = ((x + 0.25) / 0.75) ** 2 + (y / 0.48) ** 2 < 1.0
    tail = (x > 0.3) & (x < 1.0) & (np.abs(y) < 0.9 * (x - 0.3) + 0.05)
    return body | tail


def _star(x: Plane, y: Plane) -> Plane:
    # a five-pointed star is the set on the inner side of at least four of five lines
    angles = [2 * np.pi * k / 5 for k in range(5)]
    return sum((x * np.sin(a) - y * np.cos(a) < 0.38).astype(np.int8) for a in angles) >= 4


def _heart(x: Plane, y: Plane) -> Plane:
    u, v = 1.25 * x, 0.2 - 1.2 * y
    q = u * u + v * v - 1.0
    return q * q * q < u * u * v * v * v


def _plaster(x: Plane, y: Plane) -> Plane:
    a, b = np.abs(x), np.abs(y)
    return (np.maximum(a, b) < 0.92) & (np.minimum(a, b) < 0.32)


# (x, y) in units of the object's radius, y down -> inside?
_SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "ball": lambda x, y: x * x + y * y < 0.81,
    "wheel": lambda x, y: (x * x + y * y < 0.92) & (x * x + y * y > 0.22),
    "moon": lambda x, y: (x * x + y * y < 1.0) & ((x - 0.55) ** 2 + y * y > 0.62),
    "leaf": lambda x, y: np.maximum((x - 0.65) ** 2, (x + 0.65) ** 2) + y * y < 1.42,
    "fish": _fish,
    "crate": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.76,
    "kite": lambda x, y: np.where(y < -0.25, np.abs(x) < 0.62 * (y + 1.0) / 0.75, np.abs(x) < 0.62 * (1.1 - y) / 1.35),
    "tent": lambda x, y: (y < 0.62) & (np.abs(x) < 0.58 * (y + 1.0)),
    "star": _star,
    "heart": _heart,
    "plaster": _plaster,
    "flower": lambda x, y: np.hypot(x, y) < 0.7 + 0.26 * np.cos(6 * np.arctan2(y, x)),
}
CLASSES = tuple(_SHAPES)  # class names; label k is ``CLASSES[k]``, and its pixels hold k + 1 in the label map


def _dashes(x: Plane, y: Plane) -> Plane:
    row = np.floor(y)
    return np.where((x / 2.2 + 0.5 * row) % 1.0 < 0.62, 0.68 - (y - row), -1.0)


def _dots(x: Plane, y: Plane) -> Plane:
    row = np.floor(y / 0.87)
    u, v = (x + 0.5 * row) % 1.0 - 0.5, y / 0.87 - row - 0.5
    return 0.36**2 - u * u - 0.757 * v * v


def _scales(x: Plane, y: Plane) -> Plane:
    row = np.floor(2 * y)
    u, v = (x + 0.5 * row) % 1.0 - 0.5, y - row / 2
    return np.abs(np.hypot(u, v) - 0.5) - 0.1


def _bricks(x: Plane, y: Plane) -> Plane:
    row = np.floor(y)
    return np.minimum(y - row, (x / 2 + 0.5 * row) % 1.0 * 2) - 0.33


def _grain(x: Plane, y: Plane) -> Plane:
    # an integer hash of the cell: random at every period, the same for the same place
    i, j = np.floor(2 * x).astype(np.int64), np.floor(2 * y).astype(np.int64)
    h = (i * 374761393 + j * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h >> 16) & 0xFF) - 127.5


def _pluses(x: Plane, y: Plane) -> Plane:
    row = np.floor(y / 1.1)
    u, v = np.abs(((x / 1.1) + 0.5 * row) % 1.0 - 0.5), np.abs(y / 1.1 - row - 0.5)
    return np.where(np.maximum(u, v) < 0.42, 0.15 - np.minimum(u, v), -1.0)


def _lattice(x: Plane, y: Plane) -> Plane:
    a, b = 0.5 * x + 0.866 * y, 0.5 * x - 0.866 * y
    return np.cos(2 * np.pi * x) + np.cos(2 * np.pi * a) + np.cos(2 * np.pi * b) - 0.1


# (x, y) in periods -> light where it is above 0, else dark: about half of the area
_TEXTURES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "ball": lambda x, y: np.sin(2 * np.pi * x),  # stripes
    "wheel": _dashes,
    "moon": _dots,
    "leaf": lambda x, y: np.sin(2 * np.pi * (x + np.abs((y / 1.5) % 2.0 - 1.0))),  # chevrons
    "fish": _scales,
    "crate": _bricks,
    "kite": lambda x, y: np.sin(np.pi * 1.4 * x) * np.sin(np.pi * 1.4 * y),  # checks
    "tent": lambda x, y: np.sin(2 * np.pi * (x + 0.3 * np.sin(2 * np.pi * y / 2.2))),  # waves
    "star": _grain,
    "heart": lambda x, y: 0.3 - np.minimum(x % 1.0, y % 1.0),  # mesh
    "plaster": _pluses,
    "flower": _lattice,
}

# What is drawn uniformly, scene by scene; lengths in sides of the image, colours in [0, 1].
_RANGES = {
    "radius": (0.24, 0.42),  # of the object
    "period": (0.036, 0.06),  # of the texture: 9 to 15 pixels of a frame of 256, in which D8 removes it
    "figure": (0.17, 0.68),  # distance of the object's mean colour from the background's
    "contrast": (0.17, 0.42),  # half the distance between the texture's two colours
    "spread": (0.05, 0.13),  # standard deviation of the background
    "warp": (0.0, 0.08),  # of the outline, in radii
    "stretch": (-0.13, 0.13),  # natural logarithm of the axis ratio's root
    "shade": (-0.12, 0.12),  # of the light across the object, a radius
}


def scenes(
    split: str, indices: Iterable[int], *, seed: int = 0, side: int = SIDE
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scenes with their labels and label maps.

    Image i depends on (split, seed, i, side) alone. Every twelve consecutive indices from a multiple of twelve hold
    each class once. A scene holds one object, whose class is the label. Objects are the same at every side; the
    background noise is not.

    Parameters
    ----------
    split : {"train", "val", "test"}
        Disjoint streams.
    indices : iterable of int
        Whole numbers from 0, as many as one likes.
    seed : int
        Another seed, other scenes.
    side : int
        In pixels, 16 or more to show an object.

    Returns
    -------
    images : torch.Tensor
        float32 (N, 3, side, side), RGB in [0, 1].
    labels : torch.Tensor
        int64 (N,).
    maps : torch.Tensor
        uint8 (N, side, side), as VOC has them: 0 background, k + 1 the class, 255 the pixels that the outline crosses
        or touches.

    Raises
    ------
    UserError
        An unknown split.
    """
    chosen, stream = _checked(split, indices, seed)
    images = np.empty((len(chosen), 3, side, side), np.float32)
    maps = np.empty((len(chosen), side, side), np.uint8)
    classes = [_label(stream, index) for index in chosen]
    for row, (index, label) in enumerate(zip(chosen, classes)):
        images[row], maps[row] = _scene(np.random.default_rng([*stream, index, 0]), label, side)
    return torch.from_numpy(images), torch.tensor(classes, dtype=torch.int64), torch.from_numpy(maps)


def labels(split: str, indices: Iterable[int], *, seed: int = 0) -> torch.Tensor:
    """The labels (N,) int64 of the same scenes, without rendering them. Raises UserError as `scenes` does."""
    chosen, stream = _checked(split, indices, seed)
    return torch.tensor([_label(stream, index) for index in chosen], dtype=torch.int64)


def _checked(split: str, indices: Iterable[int], seed: int) -> tuple[list[int], tuple[int, int]]:
    demand_known(split, SPLITS, "split")
    return [int(index) for index in indices], (int(seed) & 0xFFFFFFFFFFFFFFFF, SPLITS.index(split))


def _label(stream: tuple[int, int], index: int) -> int:
    block, place = divmod(index, len(CLASSES))
    return int(np.random.default_rng([*stream, block, 1]).permutation(len(CLASSES))[place])


def _scene(generator: np.random.Generator, label: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = {name: generator.uniform(*ends) for name, ends in _RANGES.items()}
    mean = np.clip(generator.uniform(0.25, 0.75) + generator.normal(0, 0.07, 3), 0.2, 0.8)
    base = np.clip(mean + drawn["figure"] * _direction(generator), 0.12, 0.88)
    ink = drawn["contrast"] * _direction(generator)
    radius = side * drawn["radius"]
    centre = generator.uniform(1.1 * radius, side - 1.1 * radius, 2)
    top, left, inside, inked, light = _object(generator, label, drawn, centre, side)

    image = _background(generator, mean, drawn["spread"], side)
    window = (slice(top, top + inside.shape[0]), slice(left, left + inside.shape[1]))
    patch = image[(slice(None), *window)]
    patch *= 1 - inside
    patch += base.astype(np.float32)[:, None, None] * (inside * light) + ink.astype(np.float32)[:, None, None] * inked
    label_map = np.full((side, side), BACKGROUND, np.uint8)
    label_map[window][inside > 0] = AMBIGUOUS
    within = (inside > 0.999) & ~ndimage.binary_dilation(inside == 0)  # an outline may run between two pixels
    label_map[window][within] = label + 1
    return np.clip(image, 0, 1), label_map


def _object(
    generator: np.random.Generator, label: int, drawn: dict[str, float], centre: np.ndarray, side: int
) -> tuple[int, int, Plane, Plane, Plane]:
    """Top and left pixel of the object's window, and over it: coverage in [0, 1], texture, light."""
    name = CLASSES[label]
    angle, texture_angle, bend, sway = generator.uniform(0, 2 * np.pi, 4).tolist()
    phase = generator.uniform(0, 64, 2).tolist()
    tilt = generator.uniform(*_RANGES["shade"])
    radius, period = side * drawn["radius"], side * drawn["period"]
    reach = 1.4 * radius  # the corners of the largest shape, stretched and warped
    spans = [(max(0, int(c - reach)), min(side, int(c + reach) + 2)) for c in centre]
    n = _SUPERSAMPLING
    across, down = (
        np.float32((np.arange((end - begin) * n) + 0.5) / n + begin - c) for (begin, end), c in zip(spans, centre)
    )
    x, y = across[None], down[:, None]
    u, v = _turn(x, y, angle, 1 / radius)
    u, v = u * float(np.exp(-drawn["stretch"])), v * float(np.exp(drawn["stretch"]))
    u, v = u + drawn["warp"] * np.sin(2.6 * v + bend), v + drawn["warp"] * np.sin(2.6 * u + sway)
    mask = _SHAPES[name](u, v)
    s, t = _turn(x, y, texture_angle, 1 / period)
    inked = np.zeros(mask.shape, np.float32)
    inked[mask] = np.where(_TEXTURES[name](s[mask] + phase[0], t[mask] + phase[1]) > 0, 1, -1)
    light = 1 + (drawn["shade"] * x[:, n // 2 :: n] + tilt * y[n // 2 :: n]) / radius
    return spans[1][0], spans[0][0], _pixels(mask), _pixels(inked), np.float32(light)


def _turn(x: Plane, y: Plane, angle: float, scale: float) -> tuple[Plane, Plane]:
    c, s = float(np.cos(angle)) * scale, float(np.sin(angle)) * scale
    return c * x + s * y, c * y - s * x


def _pixels(samples: Plane) -> Plane:
    """Mean over each pixel's samples, float32."""
    n = _SUPERSAMPLING
    rows = sum(samples[k::n].astype(np.float32) for k in range(n))
    return sum(rows[:, k::n] for k in range(n)) / (n * n)


def _background(generator: np.random.Generator, mean: np.ndarray, spread: float, side: int) -> np.ndarray:
    """(3, side, side) noise whose amplitude falls as 1/f, mostly grey, as photographs are."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]).astype(np.float32)
    frequency[0, 0] = np.inf
    white = generator.standard_normal((3, side, side), dtype=np.float32)
    noise = scipy.fft.irfft2(scipy.fft.rfft2(white) / frequency, s=(side, side))
    noise = 0.8 * noise[:1] + 0.6 * noise  # a grey part that the channels share, and a coloured one
    noise *= spread / noise.std()
    return noise + np.float32(mean)[:, None, None]


def _direction(generator: np.random.Generator) -> np.ndarray:
    """A unit vector in RGB, nearer to light or dark than to pure hue."""
    vector = generator.standard_normal(3) + generator.choice((-0.7, 0.7))
    return vector / np.linalg.norm(vector)
