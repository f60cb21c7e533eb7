"""Image files by format, depth, colour model and orientation, with the pixels that they must decode to, or the refusal.

PNG, TIFF, PPM and PFM are written here byte by byte: what a file holds is known without the library that reads it.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from blurnb.recognition.decoding import FORMATS

Case = tuple[str, bytes, "np.ndarray | str"]
"""A name, the file, and its pixels (H, W, 3) in [0, 1], or words of the one line that refuses it."""

WIDTH, HEIGHT = 24, 16
UNCLEAR, RANGE, NO_IMAGE = "white or clear is not known", "of its 16 bits", "not a whole image"
TURNS = (None, 1, 2, 3, 4, 5, 6, 7, 8, 9)


def ramp(high: int, bands: int = 1, kind=np.int64) -> np.ndarray:
    """(H, W, bands): from 0 to `high`, each band with another course."""
    flat = np.linspace(0, 1, WIDTH * HEIGHT)
    courses = [np.roll(flat, 37 * band) for band in range(bands)]
    return np.stack([(course * high).reshape(HEIGHT, WIDTH) for course in courses], -1).round(9).astype(kind)


def turned(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """What a viewer shows of (H, W, bands) by EXIF's orientation."""
    return {
        2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1], 5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: p.transpose(1, 0, 2)[:, ::-1], 7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: p.transpose(1, 0, 2)[::-1],
    }.get(orientation, lambda p: p)(pixels)  # fmt: skip


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 3, 2) if values.shape[2] == 1 else values


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return grey(colours) * alpha + (1 - alpha)


def exif(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


# ------------------------------------------------------------------------------------------------ PNG

COLOURS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples a pixel


def packed(samples: np.ndarray, depth: int) -> list[bytes]:
    """The rows of (H, W, bands) with `depth` bits a sample, the highest first."""
    rows = samples.reshape(len(samples), -1)
    if depth >= 8:
        return [row.astype(f">u{depth // 8}").tobytes() for row in rows]
    bits = (rows[..., None] >> np.arange(depth)[::-1]) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]


def png(samples: np.ndarray, depth: int, colour: int, palette=b"", clear=b"", turn: int | None = None) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    extra = [(b"PLTE", palette), (b"tRNS", clear), (b"eXIf", exif(turn) if turn else b"")]
    body = zlib.compress(b"".join(b"\0" + row for row in packed(samples, depth)))
    chunks = [(b"IHDR", header), *((kind, data) for kind, data in extra if data), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(itertools.starmap(chunk, chunks))


def pngs() -> Iterator[Case]:
    for (colour, bands), depth in itertools.product(COLOURS.items(), (1, 2, 4, 8, 16)):
        if depth < 8 and colour not in (0, 3) or depth == 16 and colour == 3:
            continue
        top = 2**depth - 1
        samples = ramp(top, bands)
        palette = np.stack([np.arange(top + 1) * k % 256 for k in (255 // top or 1, 31, 77)], -1).astype(np.uint8)
        if colour == 3:
            seen = palette[samples[..., 0]] / 255
        elif colour in (4, 6):
            seen = on_white(samples[..., :-1] / top, samples[..., -1:] / top)
        else:
            seen = grey(samples / top)
        given = palette.tobytes() if colour == 3 else b""
        name = f"PNG colour {colour}, {depth} bit"
        for turn in TURNS:
            yield f"{name}, orientation {turn}", png(samples, depth, colour, given, turn=turn), turned(seen, turn)
        if depth == 16:
            for dark in (1023, 4095, 16383):
                opaque = ramp(dark, bands)
                opaque[..., -1] = top if colour in (4, 6) else opaque[..., -1]
                yield f"{name}, to {dark}", png(opaque, depth, colour), RANGE
            if colour in (0, 2):
                yield f"{name}, black", png(samples * 0, depth, colour), np.zeros_like(seen)
                clear = samples[3, 5].astype(">u2").tobytes()
                yield f"{name}, a clear colour", png(samples, depth, colour, clear=clear), UNCLEAR
        elif colour == 3:
            alpha = (np.arange(top + 1) * 255 // top).astype(np.uint8)
            transparent = on_white(seen, alpha[samples] / 255)
            yield f"{name}, clear entries", png(samples, depth, colour, given, alpha.tobytes()), transparent
        elif colour in (0, 2):
            chosen = samples[3, 5]
            hidden = (samples == chosen).all(-1, keepdims=True)
            expected = np.where(hidden, 1.0, seen) if depth in (1, 8) else UNCLEAR
            yield f"{name}, a clear colour", png(samples, depth, colour, clear=chosen.astype(">u2").tobytes()), expected


# ------------------------------------------------------------------------------------------------ TIFF


def tiff(samples: np.ndarray, bits: int, form: int = 1, inverted: bool = False, order: str = "<", photometric=None,
         extra: tuple[int, ...] = (), turn: int | None = None, planes: bool = False, more=()) -> bytes:  # fmt: skip
    """One strip, uncompressed; `form` is SampleFormat: 1 whole, 2 with a sign, 3 real."""
    height, width, bands = samples.shape
    if bits in (8, 16, 32, 64):
        kind = f"{order}{'.uif'[form]}{bits // 8}"
        data = (samples.transpose(2, 0, 1) if planes else samples).astype(kind).tobytes()
    else:
        data = b"".join(packed(samples, bits))
    if photometric is None:
        photometric = 0 if inverted else 1 if bands - len(extra) == 1 else 2
    end, shorts = [], lambda values: struct.pack(f"{order}{len(values)}H", *values)
    size = len(data) // (bands if planes else 1)
    tags = [(256, "H", (width,)), (257, "H", (height,)), (258, "H", (bits,) * bands), (259, "H", (1,)),
            (262, "H", (photometric,)), (273, "I", tuple(8 + size * k for k in range(bands if planes else 1))),
            (274, "H", (turn or 1,)), (277, "H", (bands,)), (278, "H", (height,)),
            (279, "I", (size,) * (bands if planes else 1)), (284, "H", (1 + planes,)),
            *more, *([(338, "H", extra)] if extra else []), (339, "H", (form,) * bands)]  # fmt: skip
    offset = 8 + len(data)
    where = offset + 2 + 12 * len(tags) + 4
    body = struct.pack(f"{order}H", len(tags))
    for tag, kind, values in tags:
        packed_values = shorts(values) if kind == "H" else struct.pack(f"{order}{len(values)}I", *values)
        if len(packed_values) > 4:
            end.append(packed_values)
            packed_values, where = struct.pack(f"{order}I", where), where + len(packed_values)
        body += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(values)) + packed_values.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", offset) + data + body + struct.pack(f"{order}I", 0) + b"".join(end)


def tiffs() -> Iterator[Case]:
    unit = np.linspace(0, 1, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH, 1)
    for order in "<>":
        name, unclear = (
            ("TIFF, little", UNCLEAR) if order == "<" else ("TIFF, big", NO_IMAGE)
        )  # Pillow has fewer of those
        for bits in (1, 2, 4, 8, 16):
            top, samples = 2**bits - 1, ramp(2**bits - 1)
            for turn in TURNS[1:-1]:
                seen = turned(grey(samples / top), turn)
                yield f"{name}, {bits} bit, orientation {turn}", tiff(samples, bits, order=order, turn=turn), seen
            seen = grey(1 - samples / top) if bits < 16 else unclear
            yield f"{name}, {bits} bit, 0 is white", tiff(samples, bits, inverted=True, order=order), seen
        for dark in (1023, 4095, 16383):
            yield f"{name}, 16 bit to {dark}", tiff(ramp(dark), 16, order=order), RANGE
            yield f"{name}, 16 bit colour to {dark}", tiff(ramp(dark, 3), 16, order=order), RANGE
        yield f"{name}, 16 bit, black", tiff(ramp(0), 16, order=order), np.zeros((HEIGHT, WIDTH, 3))
        yield f"{name}, 12 bit", tiff(ramp(4095), 12, order=order), ""
        for bits, high in itertools.product((8, 16, 32), (127, 30_000, 2**31 - 1)):
            if high < 2 ** (bits - 1):
                signed = tiff(ramp(high) - high // 2, bits, 2, order=order)
                yield f"{name}, {bits} bit with a sign, to {high}", signed, UNCLEAR
        for high in (1, 255, 65535, 2**32 - 1):
            yield f"{name}, 32 bit to {high}", tiff(ramp(high), 32, order=order), unclear
        for low, high in ((0, 1), (0, 0.001), (0.2, 0.9), (-0.0005, 1.0005)):
            reals = (low + (high - low) * unit).astype(np.float32)
            yield f"{name}, float {low} to {high}", tiff(reals, 32, 3, order=order), grey(reals.clip(0, 1))
        for low, high in ((0, 255), (0, 65535), (-1, 1), (0, 1.5), (0, 1e30), (0, np.inf), (0, np.nan), (-3e38, 3e38)):
            reals = np.where(unit < 0.5, low, high).astype(np.float32)
            yield f"{name}, float {low} to {high}", tiff(reals, 32, 3, order=order), "float pixels"
        yield f"{name}, float, 0 is white", tiff(unit, 32, 3, True, order), UNCLEAR
        for bits in (16, 64):
            yield f"{name}, float of {bits} bit", tiff(unit, bits, 3, order=order), NO_IMAGE
        yield f"{name}, float colours", tiff(np.repeat(unit, 3, 2), 32, 3, order=order), NO_IMAGE
        for bits in (8, 16):
            top, colours = 2**bits - 1, ramp(2**bits - 1, 3)
            for turn in TURNS[1:-1]:
                seen = turned(colours / top, turn)
                yield (
                    f"{name}, {bits} bit colour, orientation {turn}",
                    tiff(colours, bits, order=order, turn=turn),
                    seen,
                )
            deep = ramp(top, 4)
            seen = on_white(deep[..., :3] / top, deep[..., 3:] / top)
            yield f"{name}, {bits} bit, alpha", tiff(deep, bits, order=order, extra=(2,)), seen
            yield f"{name}, {bits} bit, a fourth band", tiff(deep, bits, order=order, extra=(0,)), deep[..., :3] / top
        yield f"{name}, planes", tiff(ramp(255, 3), 8, order=order, planes=True), ramp(255, 3) / 255
        yield f"{name}, LAB", tiff(ramp(255, 3), 8, order=order, photometric=8), UNCLEAR
        ink = ramp(255, 4)
        seen = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255**2
        yield f"{name}, CMYK", tiff(ink, 8, order=order, photometric=5), seen


# ------------------------------------------------------------------------------------------------ what is left


def portables() -> Iterator[Case]:
    size = f"{WIDTH} {HEIGHT}".encode()
    for top in (1, 15, 100, 255, 256, 1023, 4095, 16383, 65535):
        width = 1 if top < 256 else 2
        for magic, bands in ((b"P5", 1), (b"P6", 3)):
            samples = ramp(top, bands)
            data = samples.astype(f">u{width}").tobytes()
            yield f"{magic.decode()} to {top}", b"%s\n%s\n%d\n" % (magic, size, top) + data, grey(samples / top)
        text = " ".join(str(v) for v in ramp(top).ravel()).encode()
        yield f"P2 to {top}", b"P2\n%s\n%d\n%s\n" % (size, top, text), grey(ramp(top) / top)
    bits = ramp(1)
    yield "P4", b"P4\n%s\n" % size + b"".join(packed(1 - bits, 1)), grey(bits / 1)
    for order, sign in (("<", b"-1.0"), (">", b"1.0")):
        for high in (1, 0.5, 255, 1.5, np.nan, np.inf):
            rising = np.linspace(0, 1, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH, 1)
            reals = np.where(rising < 0.5, rising, high).astype(f"{order}f4")
            data = b"Pf\n%s\n%s\n" % (size, sign) + reals[::-1].tobytes()
            yield f"PFM {order} to {high}", data, grey(reals.astype(np.float32)) if high <= 1 else "float pixels"


MODES = {
    "JPEG": ("L", "RGB", "CMYK"), "WEBP": ("RGB", "RGBA"), "GIF": ("L", "P", "RGB"), "BMP": ("1", "L", "P", "RGB"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"), "AVIF": ("RGB", "RGBA") if "AVIF" in FORMATS else (),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"), "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"),
}  # fmt: skip
OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
TURNED = ("JPEG", "WEBP", "AVIF", "PNG")


def saved() -> Iterator[Case]:
    """By Pillow, from one coarse picture: losses are small."""
    flat = np.kron(ramp(255, 3, np.uint8)[::4, ::4], np.ones((8, 8, 1), np.uint8))
    picture = Image.fromarray(flat)
    for form, modes in MODES.items():
        for mode in modes:
            if mode == "I;16":
                image = Image.fromarray(flat[..., 0].astype(np.uint16) * 257)
                seen = grey(flat[..., :1] / 255)
            else:
                image = picture.convert("RGBA" if "A" in mode else mode)
                if "A" in mode:
                    image.putalpha(Image.fromarray(flat[..., 2]))
                    image = image.convert(mode)
                bands = np.asarray(image.convert("RGBA"), dtype=float) / 255
                seen = on_white(bands[..., :3], bands[..., 3:]) if "A" in mode else bands[..., :3]
            for turn in TURNS if form in TURNED else (None,):
                given = {"exif": b"Exif\0\0" + exif(turn)} if turn else {}
                file = io.BytesIO()
                image.save(file, form, **OPTIONS.get(form, {}), **given)
                yield f"{form} of mode {mode}, orientation {turn}", file.getvalue(), turned(seen, turn)


def cases() -> Iterator[Case]:
    yield from pngs()
    yield from tiffs()
    yield from portables()
    yield from saved()


TOLERANCE = {"JPEG": 0.05, "AVIF": 0.05}  # what they lose at these settings
EIGHT_BITS = 1.01 / 255  # what rounding to 8 bits may cost, twice where transparency is laid on white


def allowed(name: str) -> float:
    """By how much pixels may differ."""
    return TOLERANCE.get(name.split()[0], 2 * EIGHT_BITS if "16" in name or "alpha" in name else EIGHT_BITS)
