"""Labelled photographs by name: every data set is ids, class indices and one function that decodes an image."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from blurnb.errors import UserError, demand_known, shown
from blurnb.recognition import contents, readers, scenes
from blurnb.recognition.contents import Dataset, fingerprint
from blurnb.recognition.decoding import UnreadableImage as UnreadableImage  # whoever loads an image meets it

NAMES = ("scenes", *readers.READERS)
NO_FOLDER = ("scenes", "foolbox20")  # drawn, or of a package: no root is read
NO_SPLIT = ("foolbox20", "imagenet-sample")
MOST_IMAGES = 10_000_000  # scenes have no end, memory has
SCENES = 1000  # when no number of them is asked for


def subset(dataset: Dataset, indices: Sequence[int]) -> Dataset:
    """The images at `indices`, in that order."""
    chosen = tuple(int(i) for i in indices)
    ids = tuple(dataset.ids[i] for i in chosen)
    labels = tuple(dataset.labels[i] for i in chosen) if dataset.labels else ()
    own = dataset.files and dataset.files._replace(each=[dataset.files.each[i] for i in chosen])
    load, listed = partial(_load_at, dataset.load, chosen), fingerprint(dataset.listed, ids)
    return replace(dataset, ids=ids, labels=labels, load=load, listed=listed, files=own)


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


HELD = 10  # one training image in so many is of the validation part


def part(dataset: Dataset, held: bool) -> Dataset:
    """Of a training set the tenth that is held back from all training, or what is learnt.

    What an image's file holds decides, so that a copy of it is on the same side; where images are no files, its id.
    Raises UserError where that is none of them.
    """
    known = [one[: contents.DIGITS] for one in dataset.digests] if dataset.files else dataset.ids
    chosen = [i for i, one in enumerate(known) if (zlib.crc32(one.encode()) % HELD == 0) == held]
    if not chosen:
        raise UserError(f"{dataset.name} has {len(dataset)} training images, too few to hold some back; add more")
    return subset(dataset, chosen)


def drawn(count: int, n_images: int, seed: int, name: str) -> list[int]:
    """Indices of `n_images` out of `count`, in order; see `sample`."""
    if n_images > count:
        raise UserError(f"n_images={n_images} is more than the {count} images of {name}; use fewer, or 0 for all")
    return sorted(np.random.default_rng([seed, 20161118]).permutation(count)[:n_images])


def load(name: str, root: str | Path | None = None, *, split: str = "val", n_images: int = 0, seed: int = 0) -> Dataset:
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

    Returns
    -------
    Dataset

    Raises
    ------
    UserError
        An unknown name or split, a missing folder, a wnid that is not in ImageNet, an `n_images` that is larger than
        the set, a download that fails or does not match its hash.
    """
    demand_known(name, NAMES, "dataset")
    demand_known(split, scenes.SPLITS, "split")
    if isinstance(n_images, bool) or not isinstance(n_images, int) or not 0 <= n_images <= MOST_IMAGES:
        raise UserError(f"n_images={shown(n_images)}: give a whole number from 1 to {MOST_IMAGES:,}; 0 means all")
    if name == "scenes":
        return readers.drawn_scenes(split, n_images or SCENES, seed)
    return sample(readers.READERS[name](root, split), n_images, seed)
