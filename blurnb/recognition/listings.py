"""What there is in a folder of image files, before any of them is decoded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from blurnb.errors import UserError, shown
from blurnb.recognition.decoding import decode

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


class Listing(NamedTuple):
    """What a reader found: names of the classes; ids, class indices and `load` of the images, as in `datasets.Dataset`.

    `identity` are the facts that change when the images do, such as ids, labels and sizes of files in bytes.
    """

    classes: Sequence[str]
    ids: Sequence[str]
    labels: Sequence[int]
    load: Callable[[int], torch.Tensor]
    native_side: int | None
    identity: tuple


def data_folder(root: str | Path | None, dataset: str) -> Path:
    """The folder that the user names; UserError, naming `data_root`, where there is none."""
    if not root:
        raise UserError(f"data_root is needed for dataset {dataset!r}: the folder that holds it")
    try:
        path = Path(root).expanduser()
        if path.is_dir():
            return path
    except (OSError, RuntimeError) as error:  # RuntimeError: the home of nobody
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data_root {shown(str(root))}: {reason}; give the folder that holds {dataset}") from error
    raise UserError(f"data_root {shown(str(root))} is not a folder; give the one that holds {dataset}")


def images(folder: Path) -> list[Path]:
    """The image files in a folder, in sorted order."""
    return _entries(folder, lambda path: path.suffix.lower() in SUFFIXES and path.is_file())


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, but for hidden ones, in sorted order."""
    return _entries(folder, lambda path: path.is_dir() and not path.name.startswith("."))


def _entries(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if wanted(path))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}; check its permissions") from error


def of_files(
    name: str,
    classes: Sequence[str],
    found: Sequence[Path],
    labels: list[int],
    base: Path,
    native_side: int | None = None,
) -> Listing:
    """The listing of image files below `base`, one label each.

    Raises UserError where there is none, where one cannot be read, and where two names read alike.
    """
    if not found:
        raise UserError(
            f"no images below {base}; {name} needs <class>/<image> with suffixes {', '.join(sorted(SUFFIXES))}"
        )
    # file names may be any bytes; an id must be text that can be written and hashed
    ids = tuple(_readable(path.relative_to(base).as_posix()) for path in found)
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise UserError(f"two files below {base} read as {twice[0]}; rename one, or their answers would be mixed up")
    try:
        sizes = tuple(path.stat().st_size for path in found)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; check its permissions") from error
    names = tuple(_readable(one) for one in classes)
    return Listing(names, ids, labels, partial(_decode_at, tuple(found)), native_side, (ids, labels, sizes))


def _readable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _decode_at(files: tuple[Path, ...], index: int) -> torch.Tensor:
    return decode(files[index])
