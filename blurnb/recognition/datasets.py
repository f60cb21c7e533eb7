"""Labelled photographs by name: every data set is ids, class indices and one function that decodes an image."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import pooch
import torch
from PIL import Image, ImageOps

from blurnb.errors import UserError, nearest, shown
from blurnb.recognition import scenes

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What a decoder is tried on, whatever a file is called. Pillow knows others: an EPS would be run by Ghostscript."""
LARGEST_ASPECT = 16  # a 20,000 x 1 strip would become 10 million pixels wide in the frame
SAMPLE_COMMIT = "bc69043e2862758a1906c6a24a792bb28c6bb2ff"
SAMPLE_URL = f"https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/{SAMPLE_COMMIT}/"
TINY_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"


class UnreadableImage(UserError):
    """An image file that cannot be decoded whole; evaluation names it, skips it and counts it."""


@dataclass(frozen=True)
class Dataset:
    """Images by index. `load(i)` gives float32 (3, H, W) RGB in [0, 1]; `labels[i]` the class index.

    `native_side` is None for photographs, which are brought to the frame before they are blurred; small images
    (scenes, Tiny ImageNet) are blurred as they are and it states their side in pixels. `fingerprint` changes
    with the images' identity: names, labels and file sizes; `source` is the fingerprint of the whole set that
    a subset was drawn from, so that answers to one image serve every subset it is in.
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


def subset(dataset: Dataset, indices: Sequence[int]) -> Dataset:
    """The images at `indices`, in that order."""
    chosen = tuple(int(i) for i in indices)
    ids = tuple(dataset.ids[i] for i in chosen)
    labels = tuple(dataset.labels[i] for i in chosen)
    return replace(
        dataset,
        ids=ids,
        labels=labels,
        load=partial(_load_at, dataset.load, chosen),
        fingerprint=fingerprint(dataset.fingerprint, ids),
    )


def _load_at(load: Callable[[int], torch.Tensor], chosen: tuple[int, ...], index: int) -> torch.Tensor:
    return load(chosen[index])


def sample(dataset: Dataset, n_images: int, seed: int = 0) -> Dataset:
    """`n_images` of the data set drawn by `seed`, in the data set's order; 0 means all.

    A larger draw with the same seed contains the smaller one, so that what was computed stays useful.
    Raises UserError when there are fewer.
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


def decode(source: str | Path | bytes) -> torch.Tensor:
    """Decode an image to float32 (3, H, W) RGB in [0, 1], upright as its EXIF says.

    Grey, palette, CMYK and 16-bit images become RGB; transparency is laid on white. Raises UnreadableImage,
    naming the file, for anything that cannot be decoded whole.
    """
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        with _open(source) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise UnreadableImage(f"{name} is too large ({image.width} x {image.height} pixels); make it smaller")
            if image.format == "PNG":  # its checksums, which reading passes over: a flipped bit would be other pixels
                with _open(source) as again:
                    again.verify()
            image.load()
            image = ImageOps.exif_transpose(image)
            pixels = _rgb(image)
    except UnreadableImage:
        raise
    except FileNotFoundError as error:
        raise UnreadableImage(f"{name} is gone since the folder was listed") from error
    except Exception as error:  # a damaged file can end anywhere in a decoder
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableImage(f"{name} is not a whole image ({reason[:120]})") from error
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise UnreadableImage(f"{name} is a strip of {width} x {height} pixels; crop it to at most {LARGEST_ASPECT}:1")
    if not np.isfinite(pixels).all():
        raise UnreadableImage(f"{name} has pixels that are not finite; save it as 8 or 16 bit")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _open(source: str | Path | bytes) -> Image.Image:
    return Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion clips 16-bit greys to white
        grey = np.asarray(image, dtype=np.float32) / (65535.0 if image.mode.startswith("I") else 1.0)
        return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)


def fingerprint(*facts) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()[:16]


@cache
def imagenet_classes() -> tuple[tuple[str, str, str], ...]:
    """(wnid, name, SHA-256 of the sample photograph) of the 1,000 ILSVRC2012 classes in network order."""
    lines = resources.files(__package__).joinpath("imagenet_classes.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return tuple((file[:9], file[10:].removesuffix(".JPEG").replace("_", " "), digest) for digest, file in rows)


def _wnid_index() -> dict[str, int]:
    return {wnid: index for index, (wnid, _, _) in enumerate(imagenet_classes())}


def _folder(root: str | Path | None, dataset: str) -> Path:
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


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}; check its permissions") from error


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}; check its permissions") from error


def _of_files(name: str, classes, files: list[Path], labels: list[int], base: Path, native_side=None) -> Dataset:
    if not files:
        raise UserError(
            f"no images below {base}; {name} needs <class>/<image> with suffixes {', '.join(sorted(SUFFIXES))}"
        )
    # file names may be any bytes; an id must be text that can be written and hashed
    ids = tuple(_readable(path.relative_to(base).as_posix()) for path in files)
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise UserError(f"two files below {base} read as {twice[0]}; rename one, or their answers would be mixed up")
    try:
        sizes = tuple(path.stat().st_size for path in files)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; check its permissions") from error
    return Dataset(
        name,
        tuple(_readable(one) for one in classes),
        ids,
        tuple(labels),
        partial(_decode_at, tuple(files)),
        native_side,
        fingerprint(name, ids, labels, sizes),
    )


def _readable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _decode_at(files: tuple[Path, ...], index: int) -> torch.Tensor:
    return decode(files[index])


def _imagenet(root, split: str) -> Dataset:
    base = _folder(root, "imagenet")
    for candidate in (base / "imagenet" / split, base / split, base):
        if os.path.isdir(candidate) and any(_is_wnid(p.name) for p in _subfolders(candidate)):
            base = candidate
            break
    else:
        raise UserError(f"no {split}/<wnid> folders below {base}; expected names such as n01440764")
    index = _wnid_index()
    files, labels = [], []
    for folder in _subfolders(base):
        if folder.name not in index:
            raise UserError(
                f"folder {folder} is not one of the 1,000 ImageNet classes; remove it, or use dataset 'folder'"
            )
        for path in _listed(folder):
            files.append(path)
            labels.append(index[folder.name])
    return _of_files("imagenet", [name for _, name, _ in imagenet_classes()], files, labels, base)


def _is_wnid(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()


def cache_folder() -> Path:
    """Where downloads, trained networks and finished answers are kept: $BLURNB_CACHE, else the user's cache folder."""
    named = os.environ.get("BLURNB_CACHE") or pooch.os_cache("blurnb")
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise UserError(f"BLURNB_CACHE={named}: there is no such home folder; give another") from error


def _imagenet_sample(root, split: str) -> Dataset:
    """One photograph a class: from `root` when given, else downloaded; every file checked against its SHA-256."""
    folder = _folder(root, "imagenet-sample") if root else cache_folder() / "imagenet-sample"
    registry = {f"{wnid}_{name.replace(' ', '_')}.JPEG": digest for wnid, name, digest in imagenet_classes()}
    fetcher = pooch.create(folder, SAMPLE_URL, registry=registry, retry_if_failed=3)
    files = []
    for file in _progress(sorted(registry), "imagenet-sample"):
        try:
            files.append(Path(fetcher.fetch(file)))
        except ValueError as error:
            raise UserError(f"{folder / file} does not match its SHA-256; delete it and fetch it again") from error
        except Exception as error:  # pooch lets every kind of network error through
            raise UserError(
                f"cannot download {file} ({type(error).__name__}); connect to the network, or give data_root, "
                "a folder with the photographs of github.com/EliSchwartz/imagenet-sample-images"
            ) from error
    return _of_files("imagenet-sample", [n for _, n, _ in imagenet_classes()], files, list(range(len(files))), folder)


def _progress(items, title):
    from tqdm import tqdm

    return tqdm(items, desc=title, unit="file", leave=False, mininterval=1)


def _foolbox20(root, split: str) -> Dataset:
    """The 20 ImageNet photographs that the foolbox package carries, named imagenet_<nn>_<class index>.jpg."""
    import importlib.util

    spec = importlib.util.find_spec("foolbox")  # found, not imported: foolbox pulls in frameworks we do not need
    if spec is None:
        raise UserError("dataset 'foolbox20' needs the photographs of the foolbox package: pip install foolbox")
    folder = Path(spec.origin).parent / "data"
    files = sorted(folder.glob("imagenet_*.jpg"))
    labels = [int(path.stem.rsplit("_", 1)[1]) for path in files]
    return _of_files("foolbox20", [name for _, name, _ in imagenet_classes()], files, labels, folder)


def _tiny_imagenet(root, split: str) -> Dataset:
    """Tiny ImageNet from the official archive (read in place) or its unpacked folder."""
    if split == "test":
        raise UserError("split 'test' of tiny-imagenet was published without labels; use val")
    base = _folder(root, "tiny-imagenet") if root else None
    if base is None:
        archive = _download_tiny()
    elif os.path.isfile(base / "tiny-imagenet-200.zip"):
        archive = base / "tiny-imagenet-200.zip"
    else:
        folder = next((p for p in (base, base / "tiny-imagenet-200") if os.path.isfile(p / "wnids.txt")), None)
        if folder is None:
            raise UserError(f"no tiny-imagenet-200.zip and no wnids.txt in {base}; give the folder that holds either")
        return _tiny_tree(split, folder)
    return _tiny_archive(split, archive)


def _download_tiny() -> Path:
    try:
        return Path(
            pooch.retrieve(TINY_URL, f"sha256:{TINY_SHA256}", "tiny-imagenet-200.zip", cache_folder(), progressbar=True)
        )
    except Exception as error:
        raise UserError(
            f"cannot download {TINY_URL} ({type(error).__name__}); give data_root, a folder with tiny-imagenet-200.zip"
        ) from error


def _tiny_lists(wnids: str, words: str) -> tuple[list[str], list[str]]:
    order = wnids.split()
    names = dict(line.split("\t", 1) for line in words.splitlines() if "\t" in line)
    return order, [names.get(w, w).split(",")[0] for w in order]


def _tiny_members(names: Sequence[str], annotations: str, split: str, order: list[str]) -> tuple[list[str], list[int]]:
    index = {wnid: i for i, wnid in enumerate(order)}
    if split == "train":
        members = sorted(n for n in names if n.startswith("train/") and n.endswith(".JPEG"))
        for member in members:
            if member.split("/")[1] not in index:
                raise UserError(f"wnids.txt of tiny-imagenet-200 does not name the class of {member}; remove it")
        return members, [index[n.split("/")[1]] for n in members]
    present = set(names)
    rows = sorted(line.split("\t")[:2] for line in annotations.splitlines())
    rows = [(f"val/images/{file}", index[wnid]) for file, wnid in rows if wnid in index]
    rows = [row for row in rows if row[0] in present]
    return [file for file, _ in rows], [label for _, label in rows]


def _tiny_tree(split: str, folder: Path) -> Dataset:
    try:
        order, names = _tiny_lists((folder / "wnids.txt").read_text(), (folder / "words.txt").read_text())
        notes = (folder / "val" / "val_annotations.txt").read_text()
    except (OSError, UnicodeDecodeError) as error:
        named = getattr(error, "filename", None) or f"a list in {folder}"
        raise UserError(f"{named} of tiny-imagenet-200 is missing or damaged; unpack the archive again") from error
    paths = sorted(path.relative_to(folder).as_posix() for path in _jpegs_below(folder))
    members, labels = _tiny_members(paths, notes, split, order)
    return _of_files("tiny-imagenet", names, [folder / m for m in members], labels, folder, native_side=64)


def _jpegs_below(folder: Path) -> list[Path]:
    """Every .JPEG below `folder`; a sub-folder that cannot be listed is an error, not a smaller data set."""

    def refuse(error: OSError):
        raise UserError(f"cannot list {error.filename}: {error.strerror}; check its permissions") from error

    found = os.walk(folder, onerror=refuse)
    return [Path(place, name) for place, _, names in found for name in names if name.endswith(".JPEG")]


def _tiny_archive(split: str, archive: Path) -> Dataset:
    try:
        with zipfile.ZipFile(archive) as zipped:
            prefix = "tiny-imagenet-200/"
            infos = {i.filename.removeprefix(prefix): i for i in zipped.infolist()}
            order, names = _tiny_lists(*(zipped.read(f"{prefix}{f}").decode() for f in ("wnids.txt", "words.txt")))
            notes = zipped.read(f"{prefix}val/val_annotations.txt").decode()
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError, NotImplementedError, RuntimeError,
            zlib.error) as error:  # fmt: skip  # a damaged directory can claim any method, offset or password
        raise UserError(f"{archive} is not a whole Tiny ImageNet archive ({error}); fetch it again") from error
    members, labels = _tiny_members(list(infos), notes, split, order)
    return Dataset(
        "tiny-imagenet",
        tuple(names),
        tuple(members),
        tuple(labels),
        partial(_decode_member, str(archive), tuple(prefix + m for m in members)),
        64,
        fingerprint("tiny-imagenet", members, labels, [infos[m].CRC for m in members]),
    )


def _decode_member(archive: str, members: tuple[str, ...], index: int) -> torch.Tensor:
    try:
        return decode(_opened(archive, os.getpid()).read(members[index]))
    except UnreadableImage as error:
        raise UnreadableImage(f"{archive}: {members[index]}: {error}") from error
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError, NotImplementedError, RuntimeError,
            zlib.error) as error:  # fmt: skip
        raise UnreadableImage(f"{archive}: {members[index]} is damaged ({error})") from error


@cache
def _opened(archive: str, process: int) -> zipfile.ZipFile:  # one handle a process: a forked file position is shared
    return zipfile.ZipFile(archive)


def _imagenette(root, split: str) -> Dataset:
    """Imagenette through torchvision (its archive is checked by torchvision); labels are ImageNet's class indices."""
    from torchvision.datasets import Imagenette

    base = _folder(root, "imagenette") if root else cache_folder() / "imagenette"
    try:
        if not root and not os.path.isdir(base / "imagenette2"):
            _download_imagenette(base)
        found = Imagenette(str(base), split=split, size="full")
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"cannot read or download Imagenette in {base} ({type(error).__name__}); "
            "give data_root, a folder with the unpacked imagenette2"
        ) from error
    index = _wnid_index()
    files = [Path(path) for path, _ in found._samples]
    labels = [index[path.parent.name] for path in files]
    return _of_files("imagenette", [name for _, name, _ in imagenet_classes()], files, labels, base)


def _download_imagenette(base: Path) -> None:
    """Fetch and unpack beside `base`, then rename: a killed download must not pass for a small data set."""
    from torchvision.datasets import Imagenette

    base.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base.parent, prefix=f".{base.name}.", suffix=".new") as unpacked:
        Imagenette(unpacked, split="val", size="full", download=True)
        base.mkdir(exist_ok=True)
        Path(unpacked, "imagenette2").rename(base / "imagenette2")


def _image_folder(root, split: str) -> Dataset:
    """Any tree <root>/<class>/<image>; the classes are the folders in sorted order."""
    base = _folder(root, "folder")
    folders = _subfolders(base)
    if not folders:
        raise UserError(f"{base} has no class sub-folders; dataset 'folder' needs <class>/<image>")
    pairs = [(path, label) for label, folder in enumerate(folders) for path in _listed(folder)]
    return _of_files("folder", [f.name for f in folders], [p for p, _ in pairs], [label for _, label in pairs], base)


def _scenes(root, split: str, n_images: int = 1000, seed: int = 0) -> Dataset:
    ids = tuple(f"{split}-{seed}-{i:06d}" for i in range(n_images))
    labels = tuple(int(v) for v in scenes.labels(split, range(n_images), seed=seed))
    return Dataset(
        "scenes",
        tuple(scenes.CLASSES),
        ids,
        labels,
        partial(_scene_at, split, seed),
        scenes.SIDE,
        fingerprint("scenes", scenes.VERSION, split, seed),
    )


def _scene_at(split: str, seed: int, index: int) -> torch.Tensor:
    return scenes.scenes(split, [index], seed=seed)[0][0]


READERS = {
    "foolbox20": _foolbox20,
    "imagenet": _imagenet,
    "imagenet-sample": _imagenet_sample,
    "tiny-imagenet": _tiny_imagenet,
    "imagenette": _imagenette,
    "folder": _image_folder,
}
NAMES = ("scenes", *READERS)
MOST_IMAGES = 10_000_000  # scenes have no end, memory has
PHOTOGRAPHS = ("foolbox20", "imagenet", "imagenet-sample", "imagenette")


def load(name: str, root: str | Path | None = None, *, split: str = "val", n_images: int = 0, seed: int = 0) -> Dataset:
    """Open a data set by name: scenes, foolbox20, imagenet, imagenet-sample, tiny-imagenet, imagenette, folder.

    `root` is the folder that holds it (`imagenet` and `tiny-imagenet` are also found one level down); data sets
    with a published address are downloaded, with their hash checked, when it is empty. `n_images` of them are
    drawn by `seed`; 0 means all. Raises UserError for an unknown name, a missing folder, a wnid that is not in
    ImageNet and an n_images that is larger than the set.
    """
    if not isinstance(name, str) or name not in NAMES:
        raise UserError(f"dataset {shown(name)} is unknown{nearest(str(name)[:80], NAMES)}; known: {', '.join(NAMES)}")
    if split not in ("train", "val", "test"):
        raise UserError(f"split {shown(split)} is unknown; use train, val or test")
    if isinstance(n_images, bool) or not isinstance(n_images, int) or n_images > MOST_IMAGES:
        raise UserError(f"n_images={shown(n_images)}: give a whole number up to {MOST_IMAGES:,}; 0 means all")
    if n_images < 0:
        raise UserError(f"n_images={shown(n_images)} is negative; use 0 for all")
    if name == "scenes":  # as many as asked for: the set has no end
        return _scenes(root, split, n_images or 1000, seed)
    return sample(READERS[name](root, split), n_images, seed)
