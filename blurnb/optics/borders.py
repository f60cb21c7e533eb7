"""Borders: an image extended before a method takes it as periodic.

A photograph is not periodic: what lies beyond its border has been blurred into it, and the jump from one side to the
other rings through the whole restoration.
"""

import scipy.fft
import torch
from torch.nn import functional

from blurnb.errors import UserError
from blurnb.optics import hyper_laplacian

VERSION = 1
BORDERS = ("fill", "liu_jia", "circular")


def load_deepinv():
    """The module deepinv; a UserError says how to get it."""
    try:
        import deepinv  # here, not above: it is optional, and takes seconds to load
    except ImportError:
        raise UserError("this method needs deepinv: pip install 'blurnb[deblurring]'") from None
    return deepinv


def transfer_function(filters: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """rfft2 of `filters` (N, 1, k, k) with their centres on pixel (0, 0): complex, (N, 1, H, W // 2 + 1)."""
    size = filters.shape[-1]
    placed = functional.pad(filters, (0, shape[1] - size, 0, shape[0] - size))
    return torch.fft.rfft2(placed.roll((-(size // 2), -(size // 2)), (-2, -1)))


def extend(images: torch.Tensor, filters: torch.Tensor, border: str) -> tuple[torch.Tensor, tuple[int, int]]:
    """Images made fit for periodic deconvolution, and where (row, column) the originals begin in them.

    Parameters
    ----------
    images
        (N, C, H, W), floating point.
    filters
        (N or 1, 1, k, k), k odd.
    border
        "liu_jia" adds a rim as wide as the kernel and fills it smoothly from side to side (Liu & Jia 2008, deepinv's);
        "fill" goes on from there and makes the rim what the kernel itself would have put there, see `fill`; "circular"
        adds nothing.
    """
    if border == "circular":
        return images, (0, 0)
    top, left = (_rim(side, filters.shape[-1]) for side in images.shape[-2:])
    extended = load_deepinv().physics.functional.liu_jia_pad(images, padding=(top, left))
    return (fill(extended, filters, (top, left)) if border == "fill" else extended), (top, left)


def _rim(side: int, size: int) -> int:
    """Pixels to add on both sides of `side`: a kernel's size or a few more, to a length that is fast to transform."""
    total = scipy.fft.next_fast_len(side + 2 * size, real=True)
    while (total - side) % 2:
        total = scipy.fft.next_fast_len(total + 1, real=True)
    return (total - side) // 2


def fill(
    images: torch.Tensor, filters: torch.Tensor, rim: tuple[int, int], weight: float = 1e-2, iterations: int = 10
) -> torch.Tensor:
    """The rim of extended `images` replaced by what some periodic sharp image, blurred, would show there.

    `images` (N, C, H, W) with `rim` (rows, columns) pixels added at each side, `filters` (N or 1, 1, k, k).
    Outside the frame nothing was seen, so nothing should be asked: the sharp image z minimises the misfit inside the
    frame alone, ``sum_inside (k * z - y)^2 + weight sum |grad z|^2``, and k * z is the rim. Conjugate gradients,
    started and preconditioned with the Wiener filter of the images as they come, need two transforms an iteration.
    The idea is that of Reeves 2005, "Fast image restoration without boundary artifacts".
    """
    shape = images.shape[-2:]
    inside = torch.zeros(shape, device=images.device)
    inside[rim[0] : shape[0] - rim[0], rim[1] : shape[1] - rim[1]] = 1
    transfer = transfer_function(filters, shape)
    adjoint = transfer.conj()
    # The small constant keeps frequency 0 invertible.
    ridge = weight * hyper_laplacian.gradient_power(*shape, like=images) + 1e-9
    inverse = 1 / (transfer.abs().square() + ridge)

    def blurred(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(transfer * spectrum, s=shape)

    # Half a spectrum stands for the whole: every column but the first (and the last of an even width) counts twice.
    counts = torch.full(ridge.shape[-1:], 2.0, device=images.device)
    counts[0] = 1
    if shape[1] % 2 == 0:
        counts[-1] = 1

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((torch.view_as_real(a) * torch.view_as_real(b)).sum(-1) * counts).sum((-2, -1), keepdim=True)

    sharp = inverse * adjoint * torch.fft.rfft2(images)
    residual = adjoint * torch.fft.rfft2(inside * (images - blurred(sharp))) - ridge * sharp
    step = inverse * residual
    size = dot(residual, step)
    for _ in range(iterations):
        image = adjoint * torch.fft.rfft2(inside * blurred(step)) + ridge * step
        length = size / dot(step, image).clamp(min=1e-30)
        sharp = sharp + length * step
        residual = residual - length * image
        ready = inverse * residual
        size, before = dot(residual, ready), size
        step = ready + size / before.clamp(min=1e-30) * step
    return torch.where(inside > 0, images, blurred(sharp))
