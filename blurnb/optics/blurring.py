"""Blur: from a label of the paper (`D8`) to a blurred batch."""

import functools
import hashlib
import math
import numbers
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from blurnb.errors import UserError, demand_known, shown
from blurnb.labels import FRAME, Blur, parse
from blurnb.optics import engines, kernels

VERSION = 1
LEAST_CHANGE = 1 / 510  # with less of a kernel's weight beside its largest, no pixel moves by half a level of 8 bits
_SAID: dict[str, np.ndarray] = {}  # labels that were told of, each with the kernel whose thread was the first


def kernel_for(blur_or_label: Blur | str, factor: float = 1.0, seed: int = 0, image_id: object = "") -> np.ndarray:
    """The kernel of a blur, for an image `factor` times the frame.

    Parameters
    ----------
    blur_or_label
        A Blur, or a label such as ``D8``.
    factor
        Shorter side of the image over that of the frame.
    seed, image_id
        Shake kernels are drawn in the frame from (seed, image_id, label) alone, so one image has the same shake at
        every scale; the other families ignore both.

    Returns
    -------
    ndarray
        (k, k) float32, k odd, sum 1; the caller's own.

    Raises
    ------
    UserError
        For what is no label, and a factor that is not positive.

    Warns
    -----
    UserWarning
        Once for a label, in one line, where the kernel is so small that it does nothing; `blur` does so too.
    """
    blur = blur_or_label if isinstance(blur_or_label, Blur) else parse(blur_or_label)
    if not isinstance(factor, numbers.Real) or not 0 < factor < math.inf:
        raise UserError(f"factor={shown(factor)}: give a positive number, image side / frame side")
    if blur.is_random:
        return _made(blur, float(factor), generator_for(seed, image_id, blur.label))
    return _kernel(blur, float(factor)).copy()


def _made(blur: Blur, factor: float, *generator: np.random.Generator) -> np.ndarray:
    """A kernel; that it does nothing is said, as images under it would count as blurred in training and in records."""
    kernel = kernels.MAKERS[blur.family](dict(blur.parameters), factor, *generator)
    if blur.family != "sharp" and 1 - kernel.max() < LEAST_CHANGE and _SAID.setdefault(blur.label, kernel) is kernel:
        warnings.warn(
            f"{'a draw of ' * blur.is_random}{blur.label} does nothing to images {factor:.4g} times the frame's size "
            f"({FRAME * factor:.4g} pixels of {FRAME}): its kernel is one pixel; give a smaller frame or a larger blur",
            stacklevel=2,
        )
    return kernel


_kernel = functools.lru_cache(maxsize=256)(_made)


def generator_for(seed: int, image_id: object, label: str) -> np.random.Generator:
    """A generator that depends on (seed, image id, label) alone: not on order, batch, process or machine."""
    digest = hashlib.blake2b(f"{seed}\0{image_id}\0{label}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


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
    images
        Float tensor in [0, 1], (N, C, H, W) or (C, H, W); never changed.
    blur_or_kernel
        A label or Blur, in frame pixels; or a kernel array, in the image's own pixels; or a list of these, one per
        image.
    frame
        Shorter side of the frame in which labels count, pixels; None: a label counts in the image's own pixels.
    border
        reflect (the edge pixel is not repeated) | replicate | circular.
    seed, image_ids
        What the shake kernel of an image depends on, besides the label; `image_ids` has one entry per image, by
        default its place in the batch.
    engine
        auto | torch; see `blurnb.optics.engines`.

    Returns
    -------
    Tensor
        New, float32, of the same shape, on the same device, also for `sharp`. On a CPU each image's result is the
        same to the bit whatever batch it comes in.

    Raises
    ------
    UserError
        For a wrong shape, type or label, a kernel that is no blur, and one whose half side does not fit into the
        image.

    Warns
    -----
    UserWarning
        Once for a label that does nothing to images of this size in this frame (`kernel_for`).
    """
    check_images(images)
    check_frame_and_border(frame, border)
    batch = images if images.ndim == 4 else images[None]
    chosen = _one_per_image(blur_or_kernel, len(batch))
    ids = range(len(batch)) if image_ids is None else image_ids
    if not isinstance(ids, Sequence | np.ndarray) or isinstance(ids, str) or len(ids) != len(batch):
        count = len(ids) if isinstance(ids, Sequence) else shown(ids)
        raise UserError(f"image_ids: {count} given for {len(batch)} images; give a list, one per image")
    factor = 1.0 if frame is None else min(batch.shape[-2:]) / frame
    # the same array for images that share a kernel: engines go by that
    arrays = [
        one if not isinstance(one, Blur)
        else kernel_for(one, factor, seed, image_id) if one.is_random else _kernel(one, float(factor))
        for one, image_id in zip(chosen, ids)
    ]  # fmt: skip
    height, width = batch.shape[-2:]
    for one, kernel in zip(chosen, arrays):
        if (half := max(kernel.shape) // 2) >= min(height, width):
            name = one.label if isinstance(one, Blur) else "the kernel"
            wrong = f"reaches {half} pixels, too far for a {width} x {height} image"
            raise UserError(f"{name} {wrong}: use a smaller blur, or images of more than {half} pixels a side")
    return engines.convolve(batch, arrays, border, engine).reshape(images.shape)


def check_images(images: torch.Tensor) -> None:
    """Raise UserError for what is no batch of float images, and no image."""
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise UserError(f"images: give a float tensor in [0, 1], not {kind} (for uint8, divide by 255)")
    if images.ndim not in (3, 4):
        raise UserError(f"images: give (N, C, H, W) or (C, H, W), not {tuple(images.shape)}")
    if min(images.shape[-3:]) < 1:
        raise UserError(f"images: {tuple(images.shape)} holds no pixel")


def check_frame_and_border(frame: float | None, border: str) -> None:
    """Raise UserError for what is no frame's side, and for an unknown border."""
    demand_known(border, engines.BORDERS, "border")
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
    return checked_kernel(one) if isinstance(one, np.ndarray) else parse(one)


def checked_kernel(one: np.ndarray) -> np.ndarray:
    """A kernel as float32; UserError for an array that is no blur."""
    if one.ndim != 2 or one.shape[0] % 2 == 0 or one.shape[1] % 2 == 0:
        raise UserError(f"kernel of shape {one.shape}: give a two-dimensional array with odd sides")
    if one.dtype.kind not in "fiu":
        raise UserError(f"kernel of type {one.dtype}: give an array of numbers")
    kernel = one.astype(np.float32)
    if not (np.isfinite(kernel).all() and kernel.min() >= 0 and abs(kernel.sum(dtype=float) - 1) < 1e-3):
        raise UserError("kernel: its weights must be finite, not negative, and sum to 1")
    return kernel
