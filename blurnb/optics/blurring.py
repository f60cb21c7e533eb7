"""Blur: from a label of the paper (`D8`) to a blurred batch.

The unit of a label is a pixel of the *frame*, an image whose shorter side is 512: on a photograph whose
shorter side is s, the kernel is the one for an image s/512 as large (D8 on a 64-pixel image: radius 1).
"""

from __future__ import annotations

import functools
import hashlib
import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from blurnb.errors import UserError, nearest, shown
from blurnb.optics import engines, kernels

FRAME = 512
"""Shorter side, in pixels, of the frame in which the labels count."""

GRAMMAR = "sharp, D<radius>, G<sigma>, M<length>@<angle>, shake, shake8, shake16, shake24, inertial"

_FIXED = {
    "sharp": ("sharp", {}),
    "shake": ("shake", {}),
    **{f"shake{grid}": ("shake", {"grid": grid}) for grid in kernels.GRIDS},
    "inertial": ("inertial", {}),
}
# letter -> family, (name, smallest, largest) of the first number. A blur as wide as the frame is a typing error.
_LETTERS = {
    "D": ("defocus", ("radius", 0.0, FRAME / 2)),
    "G": ("gaussian", ("sigma", 0.0, FRAME / 8)),
    "M": ("motion", ("length", 1.0, FRAME)),
}
_NUMBER = "(?:0|[1-9][0-9]*)(?:[.][0-9]+)?"
_PATTERN = re.compile(f"(?P<letter>[DGM])(?P<size>{_NUMBER})(?:@(?P<angle>-?{_NUMBER}))?")


@dataclass(frozen=True)
class Blur:
    """One blur: its canonical label, its family, and its parameters in frame pixels (and degrees).

    `family` is sharp | defocus | gaussian | motion | shake | inertial. `parameters` is a tuple of pairs such
    as ``(("length", 21.0), ("angle", 30.0))``, so that a Blur can be hashed, compared and pickled.
    """

    label: str
    family: str
    parameters: tuple[tuple[str, float], ...] = ()

    @property
    def is_random(self) -> bool:
        """Whether every image gets a kernel of its own."""
        return self.family in ("shake", "inertial")

    def kernel(self, factor: float = 1.0, seed: int = 0, image_id: object = "") -> np.ndarray:
        """The kernel for an image `factor` times the frame: square, odd, float32, sum 1.

        Shake kernels are drawn in the frame from (seed, image_id, label) alone, so one image has the same
        shake at every scale; the others ignore both. Raises UserError for a factor that is not positive.
        """
        if not isinstance(factor, numbers.Real) or not 0 < factor < math.inf:
            raise UserError(f"factor={shown(factor)}: give a positive number, image side / frame side")
        if not self.is_random:
            return _kernel(self, float(factor)).copy()
        generator = generator_for(seed, image_id, self.label)
        if self.family == "inertial":
            drawn = kernels.camera_shake_inertial(generator)
        else:
            grid = dict(self.parameters).get("grid") or int(generator.choice(kernels.GRIDS))
            drawn = kernels.camera_shake(generator, grid)
        return kernels.rescale(drawn, factor)


@functools.lru_cache(maxsize=256)
def _kernel(blur: Blur, factor: float) -> np.ndarray:
    parameters = dict(blur.parameters)
    match blur.family:
        case "defocus":
            return kernels.defocus(parameters["radius"] * factor)
        case "gaussian":
            return kernels.gaussian(parameters["sigma"] * factor)
        case "motion":
            return kernels.linear_motion(parameters["length"] * factor, parameters["angle"])
    return np.ones((1, 1), dtype=np.float32)


def generator_for(seed: int, image_id: object, label: str) -> np.random.Generator:
    """A generator that depends on (seed, image id, label) alone: not on order, batch, process or machine."""
    digest = hashlib.blake2b(f"{seed}\0{image_id}\0{label}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def parse(label: str) -> Blur:
    """The Blur that `label` names: sharp, D8, G4, M21@30, shake, shake8, shake16, shake24, inertial.

    Strict: case counts, no blanks, sizes above 0 (motion from 1) and at most the frame. ``D8.0`` is ``D8``,
    and an angle is taken modulo 180, as a motion blur has no direction. Raises UserError, which names the
    label, the grammar and the nearest valid form.
    """
    if not isinstance(label, str):
        raise UserError(f"blur label {shown(label)}: give text, one of {GRAMMAR}")
    if label in _FIXED:
        family, parameters = _FIXED[label]
        return Blur(label, family, tuple(parameters.items()))
    found = _PATTERN.fullmatch(label)
    if not found or (found["letter"] == "M") != (found["angle"] is not None):
        raise UserError(f"blur label {shown(label)} is none of {GRAMMAR}{_suggestion(label[:40])}")
    family, (name, smallest, largest) = _LETTERS[found["letter"]]
    size = round(float(found["size"]), 6)
    if not (size > 0 and smallest <= size <= largest):
        least = "from 1" if smallest else "above 0"
        raise UserError(f"blur label {shown(label)}: {name} must be {least} and at most {largest:g} frame pixels")
    parameters = [(name, size)]
    canonical = found["letter"] + _text(size)
    if found["angle"] is not None:
        angle = round(float(found["angle"]), 6)
        if not abs(angle) < 1e6:  # a float of 400 digits is infinite, and infinity modulo 180 no number
            raise UserError(f"blur label {shown(label)}: angle must be a number of degrees below 1,000,000")
        angle %= 180.0
        parameters.append(("angle", angle))
        canonical += "@" + _text(angle)
    return Blur(canonical, family, tuple(parameters))


def _text(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _suggestion(label: str) -> str:
    """``; did you mean D8?`` for a label that is nearly one, else examples."""
    numbers = [_text(float(number)) for number in re.findall("[0-9]+(?:[.][0-9]+)?", label)]
    letter = label.strip()[:1].upper()
    if letter == "M" and numbers:
        return f"; did you mean M{numbers[0]}@{numbers[1] if len(numbers) > 1 else 0}?"
    if letter in ("D", "G") and numbers:
        return f"; did you mean {letter}{numbers[0]}?"
    examples = ["D8", "G4", "M21@30"]
    return nearest(label.strip().lower(), [*_FIXED, *examples]) or f"; for example {', '.join(examples)}"


def blur(
    images: torch.Tensor,
    blur_or_kernel: str | Blur | np.ndarray | Sequence[str | Blur | np.ndarray],
    *,
    frame: float | None = FRAME,
    border: str = "reflect",
    seed: int = 0,
    image_ids: Sequence[object] | None = None,
    engine: str = "auto",
) -> torch.Tensor:
    """`images` convolved (true convolution, the kernel flipped) with one blur, or with one blur each.

    Parameters
    ----------
    images: float tensor in [0, 1], (N, C, H, W) or (C, H, W); never changed.
    blur_or_kernel: a label or Blur, in frame pixels; or a kernel array, in the image's own pixels; or a list
        of these, one per image.
    frame: shorter side of the frame in which labels count; None: a label counts in the image's own pixels.
    border: reflect (the edge pixel is not repeated) | replicate | circular.
    seed, image_ids: what the shake kernel of an image depends on, besides the label; `image_ids` has one
        entry per image, by default its place in the batch.
    engine: auto | torch; see `blurnb.optics.engines`.

    Returns a new float32 tensor of the same shape, on the same device, also for `sharp`. Each image's result
    is the same to the bit whatever batch it comes in. Raises UserError for a wrong shape, type or label, a
    kernel that is no blur, and one whose half side does not fit into the image.
    """
    _check_images(images, border, frame)
    batch = images if images.ndim == 4 else images[None]
    chosen = _one_per_image(blur_or_kernel, len(batch))
    ids = range(len(batch)) if image_ids is None else image_ids
    if not isinstance(ids, Sequence | np.ndarray) or isinstance(ids, str) or len(ids) != len(batch):
        count = len(ids) if isinstance(ids, Sequence) else shown(ids)
        raise UserError(f"image_ids: {count} given for {len(batch)} images; give a list, one per image")
    factor = 1.0 if frame is None else min(batch.shape[-2:]) / frame
    arrays = [
        one.kernel(factor, seed, image_id) if isinstance(one, Blur) else one for one, image_id in zip(chosen, ids)
    ]
    for one, kernel in zip(chosen, arrays):
        _check_fits(one, kernel, batch.shape[-2:])
    return engines.convolve(batch, arrays, border, engine).reshape(images.shape)


def _check_images(images: torch.Tensor, border: str, frame: float | None) -> None:
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise UserError(f"images: give a float tensor in [0, 1], not {kind} (for uint8, divide by 255)")
    if images.ndim not in (3, 4):
        raise UserError(f"images: give (N, C, H, W) or (C, H, W), not {tuple(images.shape)}")
    if min(images.shape[-3:]) < 1:
        raise UserError(f"images: {tuple(images.shape)} holds no pixel")
    if not isinstance(border, str) or border not in engines.BORDERS:
        raise UserError(f"border={shown(border)}: give one of {', '.join(engines.BORDERS)}")
    if frame is not None and not (isinstance(frame, numbers.Real) and 0 < frame < math.inf):
        raise UserError(f"frame={shown(frame)}: give the frame's shorter side in pixels, or None")


def _one_per_image(blur_or_kernel: object, count: int) -> list[Blur | np.ndarray]:
    if isinstance(blur_or_kernel, list | tuple):
        if len(blur_or_kernel) != count:
            raise UserError(f"{len(blur_or_kernel)} blurs for {count} images: give one, or one per image")
        return [_blur_or_kernel(one) for one in blur_or_kernel]
    return [_blur_or_kernel(blur_or_kernel)] * count


def _blur_or_kernel(one: object) -> Blur | np.ndarray:
    if isinstance(one, Blur):
        return one
    if not isinstance(one, np.ndarray):
        return parse(one)
    if one.ndim != 2 or one.shape[0] % 2 == 0 or one.shape[1] % 2 == 0:
        raise UserError(f"kernel of shape {one.shape}: give a two-dimensional array with odd sides")
    if one.dtype.kind not in "fiu":
        raise UserError(f"kernel of type {one.dtype}: give an array of numbers")
    kernel = one.astype(np.float32)
    if not (np.isfinite(kernel).all() and kernel.min() >= 0 and abs(kernel.sum(dtype=float) - 1) < 1e-3):
        raise UserError("kernel: its weights must be finite, not negative, and sum to 1")
    return kernel


def _check_fits(one: Blur | np.ndarray, kernel: np.ndarray, sides: Sequence[int]) -> None:
    half = max(kernel.shape) // 2
    if half >= min(sides):
        name = one.label if isinstance(one, Blur) else "the kernel"
        raise UserError(
            f"{name} reaches {half} pixels, too far for a {sides[1]} x {sides[0]} image: "
            f"use a smaller blur, or images of more than {half} pixels a side"
        )
