"""Photographs whose every pixel is labelled: VOC2012, anything in its layout, and the procedural scenes."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps

from blurnb import files
from blurnb.errors import UserError, demand_known
from blurnb.recognition import contents, datasets, decoding, downloads, readers, scenes

VOID = 255  # the label of pixels that no class is claimed for; they are neither learnt from nor counted
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_ARCHIVE = "VOCtrainval_11-May-2012.tar"
VOC_MIRRORS = (  # the first is often out of reach
    f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012/{VOC_ARCHIVE}",
    f"https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/{VOC_ARCHIVE}",
    f"https://data.pjreddie.com/files/{VOC_ARCHIVE}",
    f"https://pjreddie.com/media/files/{VOC_ARCHIVE}",
)
VOC_SHA256 = "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"
NAMES = ("scenes", "voc2012", "camvid", "voc-layout")
BLOCKS = {"camvid": 20}  # frames of a drive: so many in a row show one street
SUFFIXES = (".jpg", ".png", ".jpeg", ".JPEG")


def load(
    name: str, root: str | Path | None = None, *, split: str = "val", n_images: int = 0, seed: int = 0
) -> datasets.Dataset:
    """Open labelled pixels by name.

    Parameters
    ----------
    name : str
        scenes: the procedural scenes, the background being class 0. voc2012: from `root`, else downloaded and checked.
        camvid, voc-layout: `root` holds ImageSets/Segmentation/<split>.txt, JPEGImages, SegmentationClass and
        classes.txt, a class a line, the first being label 0.
    root : str or Path, optional
        That folder, or the one above it, or the one above VOCdevkit/VOC2012.
    split : str
        A list in ImageSets/Segmentation; of the scenes train, val or test.
    n_images : int
        So many of them are drawn by `seed`; 0 means all (of the scenes, which have no end, 1,000).

    Returns
    -------
    datasets.Dataset
        `classes` are what the labels 0, 1, ... of a map mean. ``load(i)`` gives the image, float32 (3, H, W), RGB in
        [0, 1], and its map, uint8 (H, W): 0 to ``len(classes) - 1``, or VOID. It raises UserError for a map that is
        damaged, of another size than its image or with a label beyond the classes.

    Raises
    ------
    UserError
        Naming the file: a split, classes.txt, an image or a map is missing or cannot be read.
    """
    demand_known(name, NAMES, "dataset with labelled pixels")
    if n_images < 0:
        raise UserError(f"n_images={n_images} is negative; use 0 for all")
    if name == "scenes":
        drawn, classes = datasets.load(name, split=split, n_images=n_images, seed=seed), ("background", *scenes.CLASSES)
        return replace(drawn, classes=classes, labels=(), load=partial(_scene_at, split, seed))
    found = _voc_layout(name, root, split)
    return datasets.subset(found, datasets.drawn(len(found), n_images, seed, name)) if n_images else found


def _scene_at(split: str, seed: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, _, maps = scenes.scenes(split, [index], seed=seed)
    return images[0], maps[0]


def _voc_layout(name: str, root: str | Path | None, split: str) -> datasets.Dataset:
    base = _base(name, root)
    listing = base / "ImageSets" / "Segmentation" / f"{split}.txt"
    ids = tuple(files.read_text(listing, "it lists the images of the split, an id a line").split())
    if not ids:
        raise UserError(f"{listing} lists no image; an id a line is needed")
    odd = next((one for one, count in Counter(ids).items() if count > 1 or Path(one).name != one), None)
    if odd:
        raise UserError(f"{listing} lists {odd} twice, or it is a path; each line must be an id of its own")
    pairs = tuple((_image(base, one, listing), base / "SegmentationClass" / f"{one}.png") for one in ids)
    for _, file in pairs:
        if not os.path.isfile(file):
            raise UserError(f"{file} is missing, though {listing} lists its image; add the label map or drop the line")
    classes = _classes(name, base)
    load_at, listed = partial(_pair_at, pairs, len(classes)), datasets.fingerprint(name, classes, ids)
    own, block = contents.Files(base, pairs), BLOCKS.get(name, 1)
    return datasets.Dataset(name, classes, ids, (), load_at, None, listed, files=own, block=block)


def _base(name: str, root: str | Path | None) -> Path:
    """The folder with ImageSets, JPEGImages and SegmentationClass."""
    if root:
        given = readers.data_folder(root, name)
        for folder in (given, given / "VOC2012", given / "VOCdevkit" / "VOC2012"):
            if os.path.isdir(folder / "ImageSets" / "Segmentation"):
                return folder
        raise UserError(f"data_root {str(root)!r} holds no VOCdevkit/VOC2012/ImageSets/Segmentation; give another")
    if name != "voc2012":
        raise UserError(f"data_root is needed for dataset {name!r}: a folder in VOC2012's layout, with classes.txt")
    otherwise = "give data_root, a folder with VOCdevkit/VOC2012"
    folder = downloads.unpacked(VOC_MIRRORS, VOC_SHA256, VOC_ARCHIVE, "voc2012", otherwise)
    return folder / "VOCdevkit" / "VOC2012"


def _image(base: Path, one: str, listing: Path) -> Path:
    for suffix in SUFFIXES:
        file = base / "JPEGImages" / f"{one}{suffix}"
        if os.path.isfile(file):
            return file
    raise UserError(f"{base / 'JPEGImages' / one}.jpg is missing, though {listing} lists it; add it or drop the line")


def _classes(name: str, base: Path) -> tuple[str, ...]:
    file = base / "classes.txt"
    if not os.path.isfile(file):
        if name == "voc2012":
            return VOC_CLASSES
        raise UserError(f"{file} is missing; it names the classes, one a line, the first being label 0")
    lines = files.read_text(file, "it names the classes, one a line").splitlines()
    classes = tuple(line.strip() for line in lines if line.strip())
    if name == "voc2012" and classes != VOC_CLASSES:
        raise UserError(f"{file} names other classes than VOC2012's; use dataset voc-layout")
    if not 2 <= len(classes) <= VOID or len(set(classes)) < len(classes):
        raise UserError(f"{file} must name 2 to {VOID} classes, each once; it has {len(classes)} lines")
    return classes


def _pair_at(pairs: Sequence[tuple[Path, Path]], count: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    image_file, map_file = pairs[index]
    with decoding.opened(image_file) as opened:
        upright, image = decoding.orientation(opened), decoding.pixels(opened)
    try:
        with decoding.opened(map_file) as opened:
            form, mode, depth, turned = opened.format, opened.mode, str(opened.tile), decoding.orientation(opened)
            labels = np.array(ImageOps.exif_transpose(opened))
    except decoding.UnreadableImage as error:  # of an image it is one fewer; a map that is damaged ends the run
        raise UserError(f"{error}; fetch it again") from error
    if mode not in ("P", "L") or "L;" in depth or form == "JPEG":
        raise UserError(f"{map_file} is an image of mode {mode} ({form}); give an index of 8 bits a pixel (P or L)")
    if turned != upright:
        differ = f"is turned by its EXIF ({upright}), its map {map_file} is not ({turned})"
        raise UserError(f"{image_file} {differ}; save both upright, without that tag")
    height, width = image.shape[-2:]
    if labels.shape != (height, width):
        size = f"{labels.shape[1]} x {labels.shape[0]} pixels"
        raise UserError(f"{map_file} has {size}, its image {width} x {height}; they must agree")
    beyond = labels[(labels >= count) & (labels != VOID)]
    if beyond.size:
        raise UserError(f"{map_file} holds label {beyond.max()}, the classes end at {count - 1}; {VOID} means no class")
    return image, torch.from_numpy(labels)
