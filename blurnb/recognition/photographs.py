"""Photographs of any kind without labels: to learn from where a teacher answers, never to test on."""

import os
from pathlib import Path

from blurnb.errors import UserError
from blurnb.recognition import contents, readers
from blurnb.recognition.contents import Dataset


def listing(root: str | Path | None, split: str) -> Dataset:
    """Every image below one folder, or several joined by os.pathsep.

    Raises UserError for one whose bytes are those of an image of `imagenet-sample`.
    """
    bases = [readers.data_folder(one, "photographs").absolute() for one in str(root or "").split(os.pathsep)]
    known = {digest[: contents.DIGITS]: file for file, _, digest in readers.imagenet_classes()}
    found = [path for base in bases for path in readers.images(base, _folders(base))]
    listed = readers.of_files("photographs", ["photograph"], found, [0] * len(found), Path(os.path.commonpath(bases)))
    for path, digest in zip(found, listed.digests):
        if same := known.get(digest):
            raise UserError(f"{path} is a test photograph ({same}); take it out of what is learnt from")
    return listed


def _folders(folder: Path) -> list[Path]:
    return [folder, *(below for one in readers.subfolders(folder) for below in _folders(one))]
