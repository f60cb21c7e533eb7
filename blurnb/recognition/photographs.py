"""Photographs of any kind without labels: to learn from where a teacher answers, never to test on."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from blurnb.errors import UserError
from blurnb.recognition import readers


def listing(root: str | Path | None, apart_from: Sequence[str | Path] = ()) -> readers.Listing:
    """Every image below one folder, or several joined by os.pathsep.

    Raises UserError for one whose bytes are those of an image below `apart_from`, or of `imagenet-sample`.
    """
    bases = [readers.data_folder(one, "photographs").absolute() for one in str(root or "").split(os.pathsep)]
    tests = [path for folder in apart_from for path in _below(readers.data_folder(folder, "photographs"))]
    known = {digest: file for file, _, digest in readers.imagenet_classes()}
    known |= {_digest(path): str(path) for path in tests}
    found = [path for base in bases for path in _below(base)]
    for path in tqdm(found, "comparing photographs", unit="file", leave=False, mininterval=1):
        if same := known.get(_digest(path)):
            raise UserError(f"{path} is a test photograph ({same}); take it out of what is learnt from")
    return readers.of_files("photographs", ["photograph"], found, [0] * len(found), Path(os.path.commonpath(bases)))


def _below(folder: Path) -> list[Path]:
    return readers.images(folder, _folders(folder))


def _folders(folder: Path) -> list[Path]:
    return [folder, *(below for one in readers.subfolders(folder) for below in _folders(one))]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
