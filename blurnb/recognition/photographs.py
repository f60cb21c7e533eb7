"""Photographs of any kind without labels: to learn from where a teacher answers, never to test on."""

import os
from collections.abc import Sequence
from pathlib import Path

from blurnb.errors import UserError
from blurnb.recognition import contents, readers


def listing(root: str | Path | None, apart_from: Sequence[str | Path] = ()) -> readers.Listing:
    """Every image below one folder, or several joined by os.pathsep.

    Raises UserError for one whose bytes are those of an image below `apart_from`, or of `imagenet-sample`.
    """
    bases = [readers.data_folder(one, "photographs").absolute() for one in str(root or "").split(os.pathsep)]
    known = {digest[: contents.DIGITS]: file for file, _, digest in readers.imagenet_classes()}
    for folder in (readers.data_folder(one, "photographs") for one in apart_from):
        tests = [str(path) for path in _below(folder)]
        known |= zip(contents.known(folder, tests), tests)
    known.pop(contents.UNREADABLE, None)
    found = [path for base in bases for path in _below(base)]
    listed = readers.of_files("photographs", ["photograph"], found, [0] * len(found), Path(os.path.commonpath(bases)))
    for path, digest in zip(found, listed.files.digests()):
        if same := known.get(digest):
            raise UserError(f"{path} is a test photograph ({same}); take it out of what is learnt from")
    return listed


def _below(folder: Path) -> list[Path]:
    return readers.images(folder, _folders(folder))


def _folders(folder: Path) -> list[Path]:
    return [folder, *(below for one in readers.subfolders(folder) for below in _folders(one))]
