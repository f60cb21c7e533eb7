"""Images by what their files hold: digests, read once, and known again by size and times until one of these moves."""

import contextlib
import functools
import hashlib
import json
import os
import sys
import sysconfig
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from modulefinder import ModuleFinder
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from blurnb import files, provenance
from blurnb.errors import UserError

SETTLED = 2 * 10**9
"""Nanoseconds for which a file must have been left alone: within one tick of a clock its times do not tell a change."""
BATCH = 64  # files that a thread reads at a time; handing over one takes longer than reading it
DIGITS, UNREADABLE = 32, "unreadable"


class Files(NamedTuple):
    """The files below `base` that each image is made of."""

    base: Path
    each: Sequence[tuple[Path, ...]]

    def digests(self) -> tuple[str, ...]:
        """The `digest` of each image's files, one after the other."""
        found = iter(known(self.base, [str(path) for own in self.each for path in own]))
        return tuple("".join(next(found) for _ in own) for own in self.each)


@dataclass(frozen=True)
class Dataset:
    """Images by index.

    Attributes
    ----------
    name : str
        By which `datasets.load`, or `label_maps.load`, opens it.
    classes : tuple of str
        What the class indices mean.
    ids : tuple of str
        A name for each image, unique in the set.
    labels : tuple of int
        The class index of each image; empty where every pixel has a label of its own (`label_maps`).
    load : callable
        ``load(i)`` gives float32 (3, H, W), RGB in [0, 1], and where every pixel is labelled its map too, uint8 (H, W);
        it raises UnreadableImage.
    native_side : int or None
        None for photographs, which are brought to the frame before they are blurred; small images (scenes, Tiny
        ImageNet) are blurred as they are, and this is their side in pixels.
    listed : str
        Changes with what is listed: names and labels, of images that are no files with what they hold.
    source : str
        `listed` of the whole set that a subset was drawn from, so that answers to one image serve every subset it is
        in.
    files : Files, optional
        The files of each image; `fingerprint` and `digests` tell what they hold.
    block : int
        How many images in a row are alike, being frames of a clip.
    """

    name: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: tuple[int, ...]
    load: Callable[[int], torch.Tensor]
    native_side: int | None
    listed: str
    source: str = ""
    files: Files | None = None
    block: int = 1

    def __post_init__(self):
        if not self.source:
            object.__setattr__(self, "source", self.listed)

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """What the files of each image hold; empty where `listed` tells it."""
        return self.files.digests() if self.files else ()

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with the images: their names, labels and the bytes of their files."""
        return fingerprint(self.listed, self.digests) if self.files else self.listed

    @property
    def keys(self) -> tuple[str, ...]:
        """What the answers to each image are kept under: its id, and what its files hold."""
        return tuple(map("{} {}".format, self.ids, self.digests)) if self.files else self.ids

    def demand_same(self, index: int) -> None:
        """Raise UserError for an image whose files are not those any more that `digests` told of."""
        own = self.files.each[index] if self.files else ()
        if own and "".join(map(digest, own)) != self.digests[index]:
            raise UserError(f"{own[0]} changed while it was answered; run again when nothing writes to it")


def fingerprint(*facts: object) -> str:
    """16 hex digits that change when any of the facts does (as `repr` shows them)."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()[:16]


def digest(path: str | Path) -> str:
    """32 hex digits of the bytes in a file, or "unreadable"."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError:
        return UNREADABLE


def known(base: Path, paths: Sequence[str]) -> list[str]:
    """`digest` of files below `base`; those that were read before, and are as they were, are not read again.

    What is known is kept in the cache, where it can be written. A file is as it was while its size, inode and both its
    times are the same (that of its content and that of its entry, which nothing sets back), and is known only if it had
    been left alone for SETTLED when it was read.
    """
    place = provenance.address({"base": os.fsencode(os.path.abspath(base)).hex(), "digest": "sha256"})
    kept, began = files.cache_folder() / "contents" / f"{place}.json", time.time_ns()
    before, states = _read(kept), {path: files.state(path) for path in paths}
    found = {path: before[path][1] for path, state in states.items() if path in before and before[path][0] == state}
    missing, new = [path for path in states if path not in found], {}
    batches = (missing[i : i + BATCH] for i in range(0, len(missing), BATCH))
    with ThreadPoolExecutor(4) as pool, tqdm(missing, f"reading {base}", unit="file", leave=False, delay=2) as bar:
        try:
            hashed = (one for batch in pool.map(lambda batch: list(map(digest, batch)), batches) for one in batch)
            for path, found[path] in zip(bar, hashed):
                if states[path] and max(states[path][1:3]) < began - SETTLED:
                    new[path] = [states[path], found[path]]
        finally:  # what was read before an interruption is known as well
            pool.shutdown(cancel_futures=True)
            if new:
                _keep(kept, new)
    return [found[path] for path in paths]


def _keep(path: Path, new: dict[str, list]) -> None:
    with contextlib.suppress(UserError), files.locked(path):  # what cannot be kept is read again
        text = json.dumps(_read(path) | new).encode()
        files.write_whole(path, b"%08x\n%b" % (zlib.crc32(text), text))


def _read(path: Path) -> dict[str, list]:
    """File -> [state, digest]; nothing where what was kept is absent or damaged."""
    try:
        crc, _, text = path.read_bytes().partition(b"\n")
        return json.loads(text) if int(crc, 16) == zlib.crc32(text) else {}
    except (OSError, ValueError):
        return {}


def of_program(source: str) -> dict[str, str]:
    """What a network of one's own is made of: {part: digest or version}; none of it is run.

    Of a file its bytes. Of ``module:function`` the sources of the module and of all that they import by name, from the
    working folder or anywhere on the path; what lies among the installed packages is known by its version.
    """
    found, file = {"torch": torch.__version__}, os.path.expanduser(source)
    if os.path.isfile(file):
        return found | {"file": digest(file)}
    installed = "site-packages", "dist-packages", sysconfig.get_path("stdlib")
    finder = ModuleFinder([os.getcwd(), *(place for place in sys.path if not any(one in place for one in installed))])
    with contextlib.suppress(ImportError, SyntaxError, ValueError):
        finder.import_hook(source.rpartition(":")[0])
    for name in {name.partition(".")[0] for name in (source.rpartition(":")[0], *finder.badmodules)}:
        with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
            found[name] = metadata.version(name)
    return found | {name: digest(one.__file__) for name, one in finder.modules.items() if one.__file__}
