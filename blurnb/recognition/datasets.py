"""Labelled photographs by name: every data set is ids, class indices and one function that decodes an image."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from blurnb.errors import UserError, nearest, shown
from blurnb.recognition import photographs, readers
from blurnb.recognition.decoding import UnreadableImage

__all__ = ["NAMES", "Dataset", "UnreadableImage", "drawn", "fingerprint", "load", "sample", "subset"]

NAMES = ("scenes", *readers.READERS, "photographs")
MOST_IMAGES = 10_000_000  # scenes have no end, memory has
SCENES = 1000  # when no number of them is asked for


@dataclass(frozen=True)
class Dataset:
    """Images by index.

    Attributes
    ----------
    name : str
        One of NAMES.
    classes : tuple of str
        What the class indices mean.
    ids : tuple of str
        A name for each image, unique in the set.
    labels : tuple of int
        The class index of each image.
    load : callable
        ``load(i)`` gives float32 (3, H, W), RGB in [0, 1]; it raises UnreadableImage.
    native_side : int or None
        None for photographs, which are brought to the frame before they are blurred; small images (scenes, Tiny
        ImageNet) are blurred as they are, and this is their side in pixels.
    fingerprint : str
        Changes with the images' identity: names, labels and sizes of files.
    source : str
        The fingerprint of the whole set that a subset was drawn from, so that answers to one image serve every subset
        it is in.
    """

    name: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: tuple[int, ...]
    load: Callable[[int], torch.Tensor]
    native_side: int | None
    fingerprint: str
    source: str = ""

    def __post_init__(self):
        if not self.source:
            object.__setattr__(self, "source", self.fingerprint)

    def __len__(self) -> int:
        return len(self.ids)


def subset(dataset, indices: Sequence[int]):
    """The images at `indices` of a `Dataset`, or of `label_maps.LabelMaps`, in that order."""
    chosen = tuple(int(i) for i in indices)
    ids = tuple(dataset.ids[i] for i in chosen)
    own = {"labels": tuple(dataset.labels[i] for i in chosen)} if isinstance(dataset, Dataset) else {}
    load = partial(_load_at, dataset.load, chosen)
    return replace(dataset, ids=ids, load=load, fingerprint=fingerprint(dataset.fingerprint, ids), **own)


def _load_at(load: Callable, chosen: tuple[int, ...], index: int):
    return load(chosen[index])


def sample(dataset: Dataset, n_images: int, seed: int = 0) -> Dataset:
    """`n_images` of the data set drawn by `seed`, in the data set's order; 0 means all.

    A larger draw with the same seed contains the smaller one, so that what was computed stays useful.

    Raises
    ------
    UserError
        The set has fewer.
    """
    if n_images in (0, len(dataset)):
        return dataset
    return subset(dataset, drawn(len(dataset), n_images, seed, dataset.name))


def drawn(count: int, n_images: int, seed: int, name: str) -> list[int]:
    """Indices of `n_images` out of `count`, in order; see `sample`."""
    if n_images > count:
        raise UserError(
            f"n_images={n_images} is more than the {count} images of {name}; use at most that, or 0 for all"
        )
    return sorted(np.random.default_rng([seed, 20161118]).permutation(count)[:n_images])


def fingerprint(*facts: object) -> str:
    """16 hex digits that change when any of the facts does (as `repr` shows them)."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()[:16]


def load(
    name: str,
    root: str | Path | None = None,
    *,
    split: str = "val",
    n_images: int = 0,
    seed: int = 0,
    apart_from: Sequence[str | Path] = (),
) -> Dataset:
    """Open a data set by name.

    Parameters
    ----------
    name : str
        One of NAMES: scenes, foolbox20, imagenet, imagenet-sample, tiny-imagenet, imagenette, folder, photographs.
    root : str or Path, optional
        The folder that holds it (`imagenet` and `tiny-imagenet` are also found one level down). Sets with a published
        address are downloaded, with their hash checked, when it is empty.
    split : {"train", "val", "test"}
        Which of the published parts, where there are several.
    n_images : int
        So many of them are drawn by `seed`; 0 means all (of the scenes, which have no end, 1,000).
    seed : int
        What draws them; of the scenes, what paints them.
    apart_from : folders
        Of `photographs`, which are learnt from: none of them may be an image below these.

    Returns
    -------
    Dataset

    Raises
    ------
    UserError
        An unknown name or split, a missing folder, a wnid that is not in ImageNet, an `n_images` that is larger than
        the set, a download that fails or does not match its hash.
    """
    if not isinstance(name, str) or name not in NAMES:
        raise UserError(f"dataset {shown(name)} is unknown{nearest(str(name)[:80], NAMES)}; known: {', '.join(NAMES)}")
    if split not in ("train", "val", "test"):
        raise UserError(f"split {shown(split)} is unknown; use train, val or test")
    if isinstance(n_images, bool) or not isinstance(n_images, int) or n_images > MOST_IMAGES:
        raise UserError(f"n_images={shown(n_images)}: give a whole number up to {MOST_IMAGES:,}; 0 means all")
    if n_images < 0:
        raise UserError(f"n_images={shown(n_images)} is negative; use 0 for all")
    if name == "scenes":
        return _dataset(name, readers.scenes_listing(split, n_images or SCENES, seed))
    if name == "photographs":
        return sample(_dataset(name, photographs.listing(root, apart_from)), n_images, seed)
    return sample(_dataset(name, readers.READERS[name](root, split)), n_images, seed)


def _dataset(name: str, found: readers.Listing) -> Dataset:
    classes, ids, labels, load, native_side, identity = found
    return Dataset(name, tuple(classes), tuple(ids), tuple(labels), load, native_side, fingerprint(name, *identity))
