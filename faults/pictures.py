"""Image files as they come: sound ones in every mode, with the pixels that they must decode to, and broken ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw


def scene(width: int = 48, height: int = 40) -> Image.Image:
    picture = Image.new("RGB", (width, height), (200, 30, 60))
    ImageDraw.Draw(picture).ellipse((width // 6, height // 6, width // 2, height // 2), fill=(20, 220, 90))
    return picture


def saved(picture: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def rgb(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / 255


def _seen(data: bytes) -> np.ndarray:
    return rgb(Image.open(io.BytesIO(data)))


def sound() -> Iterator[tuple[str, bytes, np.ndarray]]:
    """(name, bytes, pixels (H, W, 3) in [0, 1]) of files that must be read right."""
    picture = scene()
    grey = picture.convert("L")
    yield "plain.png", saved(picture, "PNG"), rgb(picture)
    for name, mode in (("gray", "L"), ("cmyk", "CMYK"), ("plain", "RGB")):
        data = saved(picture.convert(mode), "JPEG", quality=90)
        yield f"{name}.jpg", data, _seen(data)
    data = saved(picture, "JPEG", progressive=True, quality=85)
    yield "progressive.jpeg", data, _seen(data)
    for turn, method in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270),
                         (8, Image.Transpose.ROTATE_90), (2, Image.Transpose.FLIP_LEFT_RIGHT)):  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turned{turn}.png", saved(picture, "PNG", exif=exif), rgb(picture.transpose(method))
    yield "bilevel.png", saved(grey.convert("1"), "PNG"), rgb(grey.convert("1"))
    yield "palette.png", saved(picture.quantize(16), "PNG"), rgb(picture.quantize(16))
    clear = picture.copy()
    clear.putalpha(Image.new("L", picture.size, 128))
    white = np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), clear).convert("RGB")) / 255
    yield "alpha.png", saved(clear, "PNG"), white
    indexed = picture.quantize(8)
    indexed.info["transparency"] = 0
    data = saved(indexed, "PNG", transparency=0)
    back = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), Image.open(io.BytesIO(data)).convert("RGBA"))
    yield "palette alpha.png", data, rgb(back)
    values = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) * 34
    deep = Image.fromarray(values)
    yield "sixteen bit.png", saved(deep, "PNG"), np.repeat(values[..., None] / np.float32(65535), 3, 2)
    yield "sixteen bit.tif", saved(deep, "TIFF"), np.repeat(values[..., None] / np.float32(65535), 3, 2)
    yield "real.tif", saved(Image.fromarray(values.astype(np.float32) / 65535), "TIFF"), np.repeat(
        values[..., None] / np.float32(65535), 3, 2)  # fmt: skip
    yield "one pixel.png", saved(Image.new("RGB", (1, 1), (255, 0, 0)), "PNG"), np.array([[[1.0, 0, 0]]])
    for form, suffix in (("BMP", "bmp"), ("PPM", "ppm"), ("TIFF", "tiff")):
        yield f"plain.{suffix}", saved(picture, form), rgb(picture)
    yield "lossless.webp", saved(picture, "WEBP", lossless=True), rgb(picture)
    wide = scene(20_000, 1_300)
    yield "twenty thousand wide.png", saved(wide, "PNG"), rgb(wide)
    yield "png inside.jpg", saved(picture, "PNG"), rgb(picture)
    for name in ("with space.png", "ünïcode 日本.png", "new\nline.png", "tab\t.png", "quote'\".png", "-dash.png",
                 "semi;colon&.png", "%s{}.png", "\x1b[31mred.png", "a" * 200 + ".png"):  # fmt: skip
        yield name, saved(picture, "PNG"), rgb(picture)


def broken() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of files that must be refused in one line."""
    whole, lossless = saved(scene(), "JPEG", quality=90), saved(scene(), "PNG")
    for share in (0, 1, 2, 10, 30, 50, 70, 90, 97):
        yield f"cut at {share}.jpg", whole[: len(whole) * share // 100]
        yield f"cut at {share}.png", lossless[: len(lossless) * share // 100]
    yield "text.jpg", b"this is no image\n"
    yield "page.png", b"<!doctype html><title>404</title>"
    yield "zeros.jpg", bytes(4096)
    yield "program.jpg", b"\x7fELF" + bytes(200)
    yield "archive.jpg", b"PK\x03\x04" + bytes(200)
    yield "postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\n%%EOF\n"
    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    yield "bomb.png", png_of(50_000, 50_000)
    yield "smaller bomb.png", png_of(12_000, 12_000)
    yield "enormous.png", png_of(2**31 - 1, 2**31 - 1)
    yield "no size.png", png_of(0, 0)
    yield "strip.png", saved(Image.new("RGB", (20_000, 1)), "PNG")
    yield "not finite.tif", saved(Image.fromarray(np.full((20, 20), np.nan, np.float32)), "TIFF")
    flipped = bytearray(lossless)
    flipped[len(flipped) // 2] ^= 255
    yield "flipped.png", bytes(flipped)


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
