"""Resampling: photographs brought to a size, and pixels to 8 bits."""

import torch
from torch.nn.functional import interpolate

VERSION = 2
RESAMPLE = ("bicubic", "bilinear")
"""How pixels may be weighed when an image is resized, the usual way first; always antialiased."""


def resized(images: torch.Tensor, side: int, resample: str = RESAMPLE[0]) -> torch.Tensor:
    """Images whose shorter side is `side` pixels, antialiased, the aspect ratio kept.

    Parameters
    ----------
    images
        (N, C, H, W), floating point.
    side
        Shorter side wanted, pixels.
    resample
        One of RESAMPLE. Bicubic weights overshoot at edges: what leaves [0, 1] is clipped, as files of 8 bits do.

    Returns
    -------
    Tensor
        (N, C, h, w) with min(h, w) = side; `images` itself where it has that size.
    """
    height, width = images.shape[-2:]
    if min(height, width) == side:
        return images
    factor = side / min(height, width)
    size = (max(side, round(height * factor)), max(side, round(width * factor)))
    found = interpolate(images, size=size, mode=resample, antialias=True, align_corners=False)
    return found.clamp_(0, 1) if resample == "bicubic" else found


def rounded(images: torch.Tensor) -> torch.Tensor:
    """`images` as a file of 8 bits a channel would hold them: a new tensor of 0/255 to 255/255, clipped."""
    return (images * 255).round_().clamp_(0, 255) / 255


def in_bytes(image: torch.Tensor) -> torch.Tensor:
    """A float image as uint8 where nothing is lost by it, a quarter of the memory; else itself."""
    whole = (image * 255).round().to(torch.uint8)
    return whole if torch.equal(in_floats(whole), image) else image


def in_floats(image: torch.Tensor) -> torch.Tensor:
    """What `in_bytes` was given, to the bit."""
    return image.float() / 255 if image.dtype == torch.uint8 else image
