"""One image file to float RGB in [0, 1], or refused by its name."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from blurnb.errors import UserError

VERSION = 1
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What a decoder is tried on, whatever a file is called. Pillow knows others: an EPS would be run by Ghostscript."""
LARGEST_ASPECT = 16  # a 20,000 x 1 strip would become 10 million pixels wide in the frame


class UnreadableImage(UserError):
    """An image file that cannot be decoded whole; whoever answers images names it, skips it and counts it."""


def decode(source: str | Path | bytes) -> torch.Tensor:
    """Decode an image, upright as its EXIF says.

    Grey, palette, CMYK and 16-bit images become RGB; transparency is laid on white.

    Parameters
    ----------
    source : str, Path or bytes
        The image file, or its content.

    Returns
    -------
    torch.Tensor
        float32 (3, H, W), RGB in [0, 1].

    Raises
    ------
    UnreadableImage
        Naming the file: it cannot be decoded whole, is a strip of more than 16:1, is too large, or holds values that
        are not finite.
    """
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        with _open(source) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise UnreadableImage(f"{name} is too large ({image.width} x {image.height} pixels); make it smaller")
            if image.format == "PNG":  # its checksums, which reading passes over: a flipped bit would be other pixels
                with _open(source) as again:
                    again.verify()
            image.load()
            image = ImageOps.exif_transpose(image)
            pixels = _rgb(image)
    except UnreadableImage:
        raise
    except FileNotFoundError as error:
        raise UnreadableImage(f"{name} is gone since the folder was listed") from error
    except Exception as error:  # a damaged file can end anywhere in a decoder
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableImage(f"{name} is not a whole image ({reason[:120]})") from error
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise UnreadableImage(f"{name} is a strip of {width} x {height} pixels; crop it to at most {LARGEST_ASPECT}:1")
    if not np.isfinite(pixels).all():
        raise UnreadableImage(f"{name} has pixels that are not finite; save it as 8 or 16 bit")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _open(source: str | Path | bytes) -> Image.Image:
    return Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion clips 16-bit greys to white
        grey = np.asarray(image, dtype=np.float32) / (65535.0 if image.mode.startswith("I") else 1.0)
        return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
