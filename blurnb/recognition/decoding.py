"""One image file to float RGB in [0, 1], or refused by its name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from blurnb import files
from blurnb.errors import UserError, reason

VERSION = 2
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
FORMATS += ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()
"""What a decoder is tried on, whatever a file is called. Pillow knows others: an EPS would be run by Ghostscript."""
LARGEST_ASPECT = 16  # a 20,000 x 1 strip would become 10 million pixels wide in the frame
WHITE = {"I;16": 65535.0, "I;16B": 65535.0, "F": 1.0}
WHITE |= dict.fromkeys(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"), 255.0)
"""What is white, in the modes that are read. Pillow's I is not one: whatever a file has is put there as it is."""
LEAST_RANGE = 1 / 4  # of 16 bits: pixels that are all below it may as well have 10, 12 or 14


class UnreadableImage(UserError):
    """An image file that cannot be decoded whole; whoever answers images names it, skips it and counts it."""


def decode(source: str | Path | bytes) -> torch.Tensor:
    """Decode an image, upright as its EXIF says.

    Grey, palette, CMYK and 16-bit images become RGB (16-bit colours to 8 bit); transparency is laid on white. Of an
    animation it is the first image. What 1.0 is must be said by the file: pixels of 32 bits or with a sign, 16 bits of
    which the upper two are not used, and floats outside [0, 1] are refused.

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
        Naming the file: it cannot be decoded whole, is no regular file, is a strip of more than 16:1, has more than 64
        megapixels (or $BLURNB_MEGAPIXELS), or does not say how bright its pixels are.
    """
    with opened(source) as image:
        return pixels(image)


def pixels(image: Image.Image) -> torch.Tensor:
    """`decode` of an image that is `opened`."""
    deep = image.mode.startswith(("I", "F")) or ";16" in str(image.tile[:1])
    white = _white(image, deep)
    return torch.from_numpy(_rgb(ImageOps.exif_transpose(image), white, deep))


@contextmanager
def opened(source: str | Path | bytes) -> Iterator[Image.Image]:
    """An image file whose header is good, not yet decoded; what goes wrong with it meanwhile is an UnreadableImage."""
    name, most = "image" if isinstance(source, bytes) else str(source), os.environ.get("BLURNB_MEGAPIXELS") or "64"
    if not most.isdecimal():
        raise UserError(f"BLURNB_MEGAPIXELS={most}: give the most megapixels of an image, a whole number")
    try:
        with BytesIO(source) if isinstance(source, bytes) else files.opened(source) as file:
            image = Image.open(file, formats=FORMATS)
            (width, height), tags = image.size, getattr(image, "tag_v2", {})
            tile = tags.get(322, 0) * tags.get(323, 0)  # which is made whole for the smallest TIFF
            if max(width * height, tile) > int(most) * 1e6:  # 64 megapixels are 0.8 GB of floats, in every worker
                raise UserError(f"is too large ({width} x {height} pixels); make it smaller or set BLURNB_MEGAPIXELS")
            if max(width, height) > LARGEST_ASPECT * min(width, height):
                raise UserError(f"is a strip of {width} x {height} pixels; crop it to at most {LARGEST_ASPECT}:1")
            if image.format == "PNG":  # its checksums, which reading passes over: a flipped bit would be other pixels
                image.verify()
                file.seek(0)
                image = Image.open(file, formats=FORMATS)
            yield image
    except UserError as error:
        raise UnreadableImage(f"{name} {error}") from error
    except Exception as error:  # a damaged file can end anywhere in a decoder
        why = reason(error).partition(" <")[0][:120]  # without an address in memory
        raise UnreadableImage(f"{name} is not a whole image ({why})") from error


def orientation(image: Image.Image) -> int:
    """How a viewer turns an image that is not yet decoded: 2 to 8 as EXIF has it, 1 for not at all."""
    said = image.getexif().get(0x0112)
    return said if said in range(2, 9) else 1


def _white(image: Image.Image, deep: bool) -> float:
    mode, tags = image.mode, getattr(image, "tag_v2", {})
    white = WHITE["I;16"] if (image.format, mode) == ("PPM", "I") else WHITE.get(mode)
    signed, inverted = 2 in tags.get(339, ()), deep and tags.get(262) == 0  # SampleFormat, and 0 for white: passed over
    # the colour named clear stays as it was when the others are rescaled
    rescaled = mode != "P" and ";" in str(image.tile[:1]) and "transparency" in image.info
    if not white or signed or inverted or rescaled:
        raise UserError(f"has pixels of mode {mode}, whose white or clear is not known; save it as 8 bit")
    return white


def _rgb(image: Image.Image, white: float, deep: bool) -> np.ndarray:
    """(3, H, W) in [0, 1]."""
    low, top = 0.0, 1.0
    if white != 255:
        grey = np.asarray(image, dtype=np.float32) / np.float32(white)
        low, top = grey.min(), grey.max()
    elif deep:
        top = max(high for _, high in image.convert("RGB").getextrema()) / 255
    if not (low >= -1e-3 and top <= 1 + 1e-3):  # so that what is not finite is refused
        raise UserError(f"has float pixels from {low:g} to {top:g}; scale them to 0 to 1, all finite")
    if deep and white > 1 and 0 < top < LEAST_RANGE:
        raise UserError(f"uses {top:.1%} of its 16 bits, as cameras of 10 to 14 bits do; save it as 8 bit, or scaled")
    if white != 255:
        return np.repeat(np.clip(grey, 0, 1)[None], 3, axis=0)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    planes = np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    return np.divide(planes, np.float32(white), dtype=np.float32)
