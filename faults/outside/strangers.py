"""What strangers hand over: image files of every kind, folders with odd things in them, cut lists, strange archives.

Whatever it is, what comes out is right and whole, or less with a warning that says so, or one line that refuses it.
"""

from __future__ import annotations

import bz2
import io
import os
import random
import socket
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from blurnb.errors import UserError
from blurnb.recognition import datasets, decoding, label_maps

from .. import formats
from ..disturb import folder
from ..ledger import Ledger
from ..processes import forked

MEMORY = 12_000_000_000  # bytes of address space
WNIDS = ("n01443537", "n01440764")


# ------------------------------------------------------------------------------------------------ images


def wrong_pixels(case: formats.Case) -> str:
    """Nothing, where the file is decoded to its pixels or refused as it should be; else what is wrong."""
    name, data, expected = case
    try:
        found = decoding.decode(data).permute(1, 2, 0).numpy()
    except decoding.UnreadableImage as error:
        right = isinstance(expected, str) and expected in str(error) and "\n" not in str(error)
        return "" if right else f"{name}: refused, {error}"
    if isinstance(expected, str):
        return f"{name}: accepted"
    alike = found.shape == expected.shape and np.abs(found - expected).max() <= formats.allowed(name)
    return "" if alike else f"{name}: other pixels"


def wrong_after_damage(data: bytes, place: int) -> str:
    """Nothing, where a file with a flipped byte, or cut, is decoded to something finite in range, or refused."""
    for what, spoilt in (
        ("flipped", data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :]),
        ("cut", data[:place]),
    ):
        try:
            found = decoding.decode(spoilt)
        except decoding.UnreadableImage as error:
            if "\n" in str(error):
                return f"{what} at {place}: two lines"
            continue
        if not (found.min() >= 0 and found.max() <= 1):
            return f"{what} at {place}: out of range"
        if data.startswith(b"\x89PNG") and not found.equal(decoding.decode(data)):  # its end alone has no checksum
            return f"{what} at {place}: other pixels of a damaged PNG"
    return ""


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    return {"images": partial(images, brief=brief), "lists and archives": partial(listings, brief=brief)}


def images(ledger: Ledger, brief: bool) -> None:
    """Every format, depth, colour model and orientation; then damage in a sample of them."""
    every = list(formats.cases())[:: 20 if brief else 1]
    together(ledger, "image by format, depth, colours and orientation", [partial(wrong_pixels, one) for one in every])
    draw = random.Random(0)
    sample = [data for _, data, _ in every[:: 1 if brief else 5]]
    cases = [partial(wrong_after_damage, data, draw.randrange(8, len(data) - 8)) for data in sample for _ in range(4)]
    together(ledger, "damaged image by format", cases, each=2)


def together(ledger: Ledger, kind: str, cases: list[Callable[[], str]], each: int = 1) -> None:
    """Cases in a child of their own, which ends at the first that crashes or hangs."""

    def run() -> None:
        warnings.simplefilter("ignore")
        for wrong in filter(None, (case() for case in cases)):
            print(f"WRONG {wrong}")

    ledger.inputs[kind] += each * len(cases)
    outcome = forked(run, memory=MEMORY, patience=300)
    if outcome.kind != "done":
        ledger.failed("tracebacks", f"{kind} ({outcome.kind}): {outcome.text[-1200:]}")
    elif wrong := [line for line in outcome.text.splitlines() if line.startswith("WRONG")]:
        ledger.failed("wrong numbers", f"{kind}: {wrong[:5]}", len(wrong))


# ------------------------------------------------------------------------------------------------ sets


def picture(seed: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def classes(place: Path, top: str = "") -> Path:
    """Two class folders of three images."""
    for label, wnid in enumerate(WNIDS):
        for number in range(3):
            write(place / top / wnid / f"{number}.png", picture(3 * label + number))
    return place


def tiny(place: Path) -> Path:
    """Tiny ImageNet, unpacked, of two classes."""
    base = place / "tiny-imagenet-200"
    classes(base, "train")
    for path in list((base / "train").rglob("*.png")):
        write(path.parent / "images" / f"{path.parent.name}_{path.stem}.JPEG", path.read_bytes())
        path.unlink()
    for number in range(4):
        write(base / "val" / "images" / f"val_{number}.JPEG", picture(10 + number, "JPEG"))
    write(base / "wnids.txt", "".join(f"{wnid}\n" for wnid in WNIDS))
    write(base / "words.txt", "".join(f"{wnid}\ta name, another\n" for wnid in WNIDS))
    lines = "".join(f"val_{number}.JPEG\t{WNIDS[number % 2]}\t0\t0\t62\t57\n" for number in range(4))
    write(base / "val" / "val_annotations.txt", lines)
    return place


def zipped(place: Path, changed: dict[str, bytes] | None = None, **options) -> Path:
    """The same as an archive, with some members as `changed` has them."""
    with folder() as whole, zipfile.ZipFile(place / "tiny-imagenet-200.zip", "w", **options) as archive:
        tiny(whole)
        for path in sorted(whole.rglob("*.*")):
            name = path.relative_to(whole).as_posix()
            archive.writestr(name, (changed or {}).get(path.name, path.read_bytes()))
    return place


def voc(place: Path) -> Path:
    """VOC2012's layout: three images with their maps."""
    for number in range(3):
        write(place / "JPEGImages" / f"a{number}.jpg", picture(number, "JPEG"))
        labels = np.full((16, 16), number % 2, np.uint8)
        write(place / "SegmentationClass" / f"a{number}.png", formats.png(labels[..., None], 8, 0))
    write(place / "ImageSets" / "Segmentation" / "val.txt", "a0\na1\na2\n")
    write(place / "classes.txt", "road\ntree\n")
    return place


def read(dataset: str, root: Path, split: str = "val") -> tuple[dict, list[str]]:
    """{id: (label, what `load` gives, or None where it is refused)} and what was warned of."""
    source = label_maps if dataset == "voc-layout" else datasets
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = source.load(dataset, root, split=split)
    seen = {}
    for index, one in enumerate(found.ids):
        try:
            given = found.load(index)
            parts = given if isinstance(given, tuple) else (given,)
            seen[one] = (
                found.labels[index] if dataset != "voc-layout" else 0,
                [part.numpy().tobytes() for part in parts],
            )
        except datasets.UnreadableImage as error:
            seen[one] = None, None
            said += [error] if "\n" in str(error) else []
    if len(seen) < len(found.ids):
        raise AssertionError("an id is there twice")
    return seen, [str(getattr(one, "message", one)) for one in said]


def wrong_reading(
    whole: dict,
    read_it: Callable,
    make: Callable[[], object],
    undo: Callable[[], object],
    name: str,
    fewer: bool = False,
) -> str:
    """Nothing, where what is read of a set that `make` made odd is right and whole, less and said so, or refused."""
    make()
    try:
        seen, said = read_it()
    except UserError as error:
        return f"{name}: two lines" if "\n" in str(error) else ""
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    finally:
        undo()
    for one, (label, pixels) in seen.items():
        if one in whole and pixels is not None and (label, pixels) != whole[one]:
            return f"{name}: {one} is read as another"
    if not (fewer or said) and (lacking := whole.keys() - seen.keys()):
        return f"{name}: without a word {min(lacking)} is left out"
    return f"{name}: two lines" if any("\n" in line for line in said) else ""


# ------------------------------------------------------------------------------------------------ what lies in folders


def a_socket(path: Path) -> None:
    """Bound by a short name: the whole path may be longer than a socket's may be."""
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


NAMES = ("new\nline", "tab\t", "\x1b[31m", "-dash", "%s{}$x`", "'\"", "ünïcode 日本", "a" * 240, os.fsdecode(b"\xff"),
         "\u2028", "..x", " ", "=1+1", "-1", "~", "*", "\\", "#")  # fmt: skip
SUFFIXES = (".heic", ".cr2", ".svg", ".pdf", ".mp4", ".txt", "", ".PNG", ".Jpeg", ".gif", ".jfif", ".jpe", ".jp2",
            ".webp", ".avif", ".tiff", ".pfm", ".png ", ".png.part", ".db")  # fmt: skip
THINGS: dict[str, Callable[[Path], object]] = {
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to zeros without end": lambda path: path.symlink_to("/dev/zero"),
    "link to a device": lambda path: path.symlink_to("/dev/tty"),
    "link to the folder above": lambda path: path.symlink_to(".."),
    "link out": lambda path: path.symlink_to("/etc/hostname"),
    "pipe": os.mkfifo, "socket": a_socket, "folder": Path.mkdir, "empty file": Path.touch,
}  # fmt: skip


def oddities(suffix: str) -> Iterator[tuple[str, str, Callable[[Path], object]]]:
    """(what, a file's name, what makes it) of things that may lie beside images with this suffix."""
    for what, make in THINGS.items():
        yield what, f"odd{suffix}", make
    for name in NAMES:
        yield f"name {name!a:.20}", f"{name}{suffix}", lambda path: path.write_bytes(picture(5))
    yield "a name in other case", f"0{suffix.swapcase()}", lambda path: path.write_bytes(picture(6))
    for other in SUFFIXES:
        yield f"suffix {other!r}", f"odd{other}", lambda path: path.write_bytes(picture(7))


def gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def odd_folders(place: Path) -> Iterator[Callable[[], str]]:
    """Things beside images, and in place of one."""
    shapes = {
        "folder": (classes, WNIDS[0], ".png", "val"), "imagenet": (classes, WNIDS[0], ".png", "val"),
        "tiny-imagenet": (tiny, "tiny-imagenet-200/val/images", ".JPEG", "val"),
        "tiny-imagenet, train": (tiny, f"tiny-imagenet-200/train/{WNIDS[0]}/images", ".JPEG", "train"),
        "voc-layout": (voc, "JPEGImages", ".jpg", "val"), "voc-layout, maps": (voc, "SegmentationClass", ".png", "val"),
    }  # fmt: skip
    for name, (build, below, suffix, split) in shapes.items():
        root = build(place / name)
        look = partial(read, name.partition(",")[0], root, split)
        whole, _ = look()
        for what, file, make in oddities(suffix):
            path = root / below / file
            yield partial(wrong_reading, whole, look, partial(make, path), partial(gone, path), f"{name}, {what}")
        first = min((root / below).iterdir())
        data = first.read_bytes()
        for what, make in THINGS.items():

            def replaced(path=first, make=make):
                path.unlink()
                make(path)

            def restored(path=first, data=data):
                gone(path)
                path.write_bytes(data)

            yield partial(wrong_reading, whole, look, replaced, restored, f"{name}, an image became a {what}")


# ------------------------------------------------------------------------------------------------ lists


def spoilt(text: bytes) -> Iterator[tuple[str, bytes]]:
    """A list as it may arrive."""
    for place in range(len(text)):
        yield f"cut at {place}", text[:place]
    for place in range(0, len(text), 3):
        yield f"flipped at {place}", text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
    lines = text.splitlines(keepends=True)
    yield from {
        "twice": text * 2, "first line twice": lines[0] + text, "backwards": b"".join(lines[::-1]),
        "not UTF-8": b"\xff\xe9\n" + text, "UTF-16": text.decode().encode("utf-16"), "mark": b"\xef\xbb\xbf" + text,
        "DOS": text.replace(b"\n", b"\r\n"), "zero bytes": text.replace(b"\t", b"\0"), "zeros": bytes(5000),
        "20 MB of zeros": bytes(20 << 20), "20 MB of lines": b"a\n" * (10 << 20), "20 MB of text": b"a" * (20 << 20),
        "spaces": text.replace(b"\t", b" "), "climbing": b"../../x\tn01440764\n" + text, "root": b"/etc/x\n" + text,
        "tabs": b"\t\t\t\n" + text, "blank lines": text.replace(b"\n", b"\n\n"), "a page": b"<!doctype html>\n",
    }.items()  # fmt: skip


def odd_lists(place: Path, step: int = 1) -> Iterator[Callable[[], str]]:
    """Every list of a set, spoilt."""
    root = tiny(place / "tiny")
    for list_ in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        for split in ("val", "train"):
            yield from _spoilt_lists(
                partial(read, "tiny-imagenet", root, split), root / "tiny-imagenet-200" / list_, step
            )
    root = voc(place / "voc")
    for list_ in ("classes.txt", "ImageSets/Segmentation/val.txt"):  # what a split is, its list alone says
        yield from _spoilt_lists(partial(read, "voc-layout", root), root / list_, step, fewer=True)


def _spoilt_lists(look: Callable, file: Path, step: int, fewer: bool = False) -> Iterator[Callable[[], str]]:
    whole, text = look()[0], file.read_bytes()
    put = partial(file.write_bytes, text)
    for what, content in list(spoilt(text))[::step]:
        if (file.name, what) != ("wnids.txt", "backwards"):  # its order numbers the classes: this is another set
            yield partial(
                wrong_reading, whole, look, partial(file.write_bytes, content), put, f"{file.name} {what}", fewer
            )
    for what, make in THINGS.items():

        def replaced(make=make):
            file.unlink()
            make(file)

        def restored():
            gone(file)
            file.write_bytes(text)

        yield partial(wrong_reading, whole, look, replaced, restored, f"{file.name} became a {what}", fewer)


# ------------------------------------------------------------------------------------------------ archives


def odd_archives(place: Path, step: int = 1) -> Iterator[Callable[[], str]]:
    """Tiny ImageNet's archive: cut, flipped, with members that lie of their size, method, name or number."""
    place.mkdir(parents=True)
    root = zipped(place)
    file, look = root / "tiny-imagenet-200.zip", partial(fresh, root)
    whole, data = look()[0], file.read_bytes()
    cases = {f"cut at {at}": data[:at] for at in range(0, len(data), 97)}
    cases |= {f"flipped at {at}": data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] for at in range(0, len(data), 41)}
    packed = zipfile.ZIP_DEFLATED
    with folder() as other:

        def made(**options) -> bytes:
            return (zipped(other, **options) / "tiny-imagenet-200.zip").read_bytes()

        cases["deflated"] = made(compression=packed)
        for name in ("wnids.txt", "words.txt", "val_annotations.txt", "val_0.JPEG"):
            cases[f"a bomb in {name}"] = made(changed={name: bytes(64 << 20)}, compression=packed)
            cases[f"a page in {name}"] = made(changed={name: b"<html>"})
        for name, method in (("bzip2", zipfile.ZIP_BZIP2), ("LZMA", zipfile.ZIP_LZMA)):
            cases[name] = made(compression=method)
        with warnings.catch_warnings(), zipfile.ZipFile(zipped(other) / "tiny-imagenet-200.zip", "a") as again:
            warnings.simplefilter("ignore")
            again.writestr("tiny-imagenet-200/val/images/val_0.JPEG", picture(99, "JPEG"))
        cases["a name twice"] = (other / "tiny-imagenet-200.zip").read_bytes()
    cases["a secret"] = data.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0")
    size = struct.pack("<I", len(picture(10, "JPEG")))
    cases["false sizes"] = data.replace(size, struct.pack("<I", 2**31 - 1))
    cases["no archive"] = bz2.compress(data)
    cases["an empty archive"] = b"PK\x05\x06" + bytes(18)
    for what, content in list(cases.items())[::step]:
        put = partial(file.write_bytes, data)
        yield partial(wrong_reading, whole, look, partial(file.write_bytes, content), put, f"archive, {what}")


def fresh(root: Path) -> tuple[dict, list[str]]:
    """`read`, at a place where no archive was opened before."""
    with folder() as place:
        os.link(root / "tiny-imagenet-200.zip", place / "tiny-imagenet-200.zip")
        return read("tiny-imagenet", place)


def listings(ledger: Ledger, brief: bool) -> None:
    """Folders with odd things, lists and archives that are not what they should be."""
    step = 40 if brief else 1
    with folder() as place:
        together(ledger, "odd thing in a folder", list(odd_folders(place))[::step])
        together(ledger, "spoilt list of a data set", list(odd_lists(place, step)))
        together(ledger, "spoilt archive of a data set", list(odd_archives(place / "archive", step)))
