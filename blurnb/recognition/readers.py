"""The named data sets: a function each, with the address of what it downloads and the hash beside it.

A reader takes the folder that holds the set (empty: the download, where there is one) and the split, and says what is
there without decoding any of it. A new data set is a reader, its address and its hash here, and a line of READERS.
"""

import os
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from blurnb import files
from blurnb.errors import UserError, reason, shown
from blurnb.recognition import downloads, scenes
from blurnb.recognition.contents import DIGITS, Dataset, Files, fingerprint
from blurnb.recognition.decoding import FORMATS, UnreadableImage, decode

SUFFIXES = {suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS}
WNID = re.compile(r"n\d{8}")
SAMPLE_COMMIT = "bc69043e2862758a1906c6a24a792bb28c6bb2ff"
SAMPLE_URL = f"https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/{SAMPLE_COMMIT}/"
SAMPLE_HASHES = "imagenet_classes.txt"  # a SHA-256 and a file a line
IMAGENETTE_URL = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz"
IMAGENETTE_SHA256 = "6cbfac238434d89fe99e651496f0812ebc7a10fa62bd42d6874042bf01de4efd"
TINY_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_LISTS = ("wnids.txt", "words.txt", "val/val_annotations.txt")
TINY_SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
# a damaged directory can claim any method, offset or password; NotImplementedError is a RuntimeError
DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, OSError, EOFError, ValueError, RuntimeError)


def data_folder(root: str | Path | None, dataset: str) -> Path:
    """The folder that the user names; UserError, naming `data_root`, where there is none."""
    if not root:
        raise UserError(f"data_root is needed for dataset {dataset!r}: the folder that holds it")
    try:
        path = Path(root).expanduser()
        if path.is_dir():
            return path
    except (OSError, RuntimeError) as error:  # RuntimeError: the home of nobody
        wrong = f"data_root {shown(str(root))}: {reason(error)}"
        raise UserError(f"{wrong}; give the folder that holds {dataset}") from error
    raise UserError(f"data_root {shown(str(root))} is not a folder; give the one that holds {dataset}")


def images(base: Path, folders: Sequence[Path]) -> list[Path]:
    """The image files in `base` or in folders below it, in order; what else lies there is counted by kind and said."""
    passed, listed = Counter(), set(folders)

    def wanted(path: Path) -> bool:
        kind = path.suffix.lower() if path.is_file() else "folder" if path.is_dir() else "link to nothing or pipe"
        is_passed = kind not in SUFFIXES and not path.name.startswith(".") and path not in listed
        passed[kind or "without a suffix"] += is_passed
        return kind in SUFFIXES

    found = [path for folder in folders for path in _entries(folder, wanted)]
    if base not in listed:
        passed["image in no class folder"] = len(_entries(base, lambda p: p.suffix.lower() in SUFFIXES and p.is_file()))
    _passed_over(base, +passed, "convert what is a photograph")
    return found


def _passed_over(base: Path, kinds: Counter, remedy: str) -> None:
    if kinds:
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(12))
        warnings.warn(str(UserError(f"passed over below {base}: {told}; {remedy}")), stacklevel=2)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, but for hidden ones, in sorted order."""
    return _entries(folder, lambda path: path.is_dir() and not path.name.startswith("."))


def _entries(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if wanted(path))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}; check its permissions") from error


def of_files(
    name: str, classes: Sequence[str], found: Sequence[Path], labels: list, base: Path, native_side: int | None = None
) -> Dataset:
    """The image files below `base`, one label each.

    Raises UserError where there is none, where one cannot be read, and where two names read alike.
    """
    if not found:
        raise UserError(f"no images below {base}; {name} needs <class>/<image>, with {', '.join(sorted(SUFFIXES))}")
    # file names may be any bytes; an id must be text that can be written and hashed
    ids = tuple(_readable(path.relative_to(base).as_posix()) for path in found)
    names = tuple(_readable(one) for one in classes)
    for what, read in (("files", ids), ("class folders", names)):
        if twice := [one for one, count in Counter(read).items() if count > 1]:
            raise UserError(f"two {what} below {base} read as {twice[0]}; rename one, or they would be mixed up")
    own = Files(base, [(path,) for path in found])
    load, listed = partial(_decode_at, tuple(found)), fingerprint(name, ids, labels)
    return Dataset(name, names, ids, tuple(labels), load, native_side, listed, files=own)


def _readable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _decode_at(files: tuple[Path, ...], index: int) -> torch.Tensor:
    return decode(files[index])


def drawn_scenes(split: str, n_images: int, seed: int) -> Dataset:
    """The procedural scenes, which have no end: the first `n_images` of a split."""
    ids = tuple(f"{split}-{seed}-{i:06d}" for i in range(n_images))
    labels = tuple(int(v) for v in scenes.labels(split, range(n_images), seed=seed))
    load, listed = partial(_scene_at, split, seed), fingerprint("scenes", scenes.VERSION, split, seed)
    return Dataset("scenes", scenes.CLASSES, ids, labels, load, scenes.SIDE, listed)


def _scene_at(split: str, seed: int, index: int) -> torch.Tensor:
    return scenes.scenes(split, [index], seed=seed)[0][0]


@cache
def imagenet_classes() -> tuple[tuple[str, str, str], ...]:
    """(wnid, name, SHA-256 of the sample photograph) of the 1,000 ILSVRC2012 classes in network order."""
    lines = resources.files(__package__).joinpath(SAMPLE_HASHES).read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return tuple((file[:9], file[10:].removesuffix(".JPEG").replace("_", " "), digest) for digest, file in rows)


def _imagenet_names() -> list[str]:
    return _told_apart({wnid: name for wnid, name, _ in imagenet_classes()})


def _told_apart(names: dict[str, str]) -> list[str]:
    """The names, with the WordNet id behind those that two classes have: a crane is a bird, and a machine."""
    count = Counter(names.values())
    return [f"{name} ({wnid})" if count[name] > 1 else name for wnid, name in names.items()]


def _imagenet(root, split: str) -> Dataset:
    base = data_folder(root, "imagenet")
    for candidate in (base / "imagenet" / split, base / split, base):
        if os.path.isdir(candidate) and any(WNID.fullmatch(p.name) for p in subfolders(candidate)):
            return _by_wnid("imagenet", candidate, candidate)
    raise UserError(f"no {split}/<wnid> folders below {base}; expected names such as n01440764")


def _by_wnid(name: str, folder: Path, base: Path) -> Dataset:
    index = {wnid: place for place, (wnid, _, _) in enumerate(imagenet_classes())}
    folders = subfolders(folder)
    for one in folders:
        if one.name not in index:
            raise UserError(f"folder {one} is not one of the 1,000 ImageNet classes; remove it, or use dataset folder")
    found = images(folder, folders)
    return of_files(name, _imagenet_names(), found, [index[path.parent.name] for path in found], base)


def _imagenet_sample(root, split: str) -> Dataset:
    """One photograph a class: from `root` when given, else downloaded; every file checked against its SHA-256."""
    folder = data_folder(root, "imagenet-sample") if root else files.cache_folder() / "imagenet-sample"
    registry = {f"{wnid}_{name.replace(' ', '_')}.JPEG": digest for wnid, name, digest in imagenet_classes()}
    otherwise = "give data_root, a folder with the photographs of github.com/EliSchwartz/imagenet-sample-images"
    named = tqdm(sorted(registry.items()), "imagenet-sample", unit="file", leave=False, mininterval=1)
    found = [downloads.fetch([SAMPLE_URL + file], digest, file, otherwise, folder) for file, digest in named]
    return of_files("imagenet-sample", _imagenet_names(), found, list(range(len(found))), folder)


def _foolbox20(root, split: str) -> Dataset:
    """The 20 ImageNet photographs that the foolbox package carries, named imagenet_<nn>_<class index>.jpg."""
    spec = find_spec("foolbox")  # found, not imported: foolbox pulls in frameworks we do not need
    if spec is None:
        raise UserError("dataset 'foolbox20' needs the photographs of the foolbox package: pip install foolbox")
    folder = Path(spec.origin).parent / "data"
    found = sorted(folder.glob("imagenet_*.jpg"))
    labels = [int(path.stem.rsplit("_", 1)[1]) for path in found]
    return of_files("foolbox20", _imagenet_names(), found, labels, folder)


def _imagenette(root, split: str) -> Dataset:
    otherwise = "give data_root, a folder with the unpacked imagenette2"
    if root:
        base = data_folder(root, "imagenette")
    else:
        base = downloads.unpacked([IMAGENETTE_URL], IMAGENETTE_SHA256, "imagenette2.tgz", "imagenette", otherwise)
    if not os.path.isdir(base / "imagenette2" / split):
        raise UserError(f"no imagenette2/{split} in {base}; {otherwise}")
    return _by_wnid("imagenette", base / "imagenette2" / split, base)


def _tiny_imagenet(root, split: str) -> Dataset:
    """Tiny ImageNet from the official archive (read in place) or its unpacked folder."""
    if split == "test":
        raise UserError("split 'test' of tiny-imagenet was published without labels; use val")
    if not root:
        file = "tiny-imagenet-200.zip"
        otherwise = f"give data_root, a folder with {file}"
        return _tiny_archive(split, downloads.fetch([TINY_URL], TINY_SHA256, file, otherwise))
    base = data_folder(root, "tiny-imagenet")
    if os.path.isfile(base / "tiny-imagenet-200.zip"):
        return _tiny_archive(split, base / "tiny-imagenet-200.zip")
    folder = next((p for p in (base, base / "tiny-imagenet-200") if os.path.isfile(p / "wnids.txt")), None)
    if folder is None:
        raise UserError(f"no tiny-imagenet-200.zip and no wnids.txt in {base}; give the folder that holds either")
    lists = [files.read_text(folder / name, "unpack the archive of tiny-imagenet-200 again") for name in TINY_LISTS]
    paths = sorted(path.relative_to(folder).as_posix() for path in _jpegs_below(folder))
    names, members, labels = _tiny_members(folder, paths, lists, split)
    return of_files("tiny-imagenet", names, [folder / m for m in members], labels, folder, native_side=64)


def _tiny_members(
    where: Path, present: Sequence[str], lists: Sequence[str], split: str
) -> tuple[list[str], list[str], list[int]]:
    """(names of the classes; files of the split among those that are there, and their labels) by TINY_LISTS' texts."""
    wnids, words, annotations = lists
    index = {wnid: i for i, wnid in enumerate(wnids.split())}
    named = dict(line.split("\t", 1) for line in words.splitlines() if "\t" in line)
    names = _told_apart({wnid: named.get(wnid, wnid).split(",")[0] for wnid in index})
    if len(index) < len(wnids.split()) or not all(map(WNID.fullmatch, index)):
        raise UserError(f"wnids.txt in {where} is damaged (a class twice, or none); unpack the archive again")
    if split == "train":
        members = sorted(n for n in present if n.startswith("train/") and n.endswith(".JPEG"))
        for member in members:
            if member.split("/")[1] not in index:
                raise UserError(f"wnids.txt of tiny-imagenet-200 does not name the class of {member}; remove it")
        return names, members, [index[n.split("/")[1]] for n in members]
    rows = [line.split("\t") for line in annotations.splitlines()]
    label = {f"val/images/{row[0]}": row[1] for row in rows if len(row) > 1 and WNID.fullmatch(row[1])}
    there = {name for name in present if name.startswith("val/images/") and name.endswith(".JPEG")}
    if len(label) < len(rows) or there - label.keys():
        odd = min(there - label.keys(), default="an image twice, or without a class")
        raise UserError(f"val/val_annotations.txt in {where} is damaged ({odd}); unpack the archive again")
    members = sorted(file for file, wnid in label.items() if wnid in index and file in there)
    lacking = Counter({"lines of val_annotations.txt without a file or a class": len(label) - len(members)})
    _passed_over(where, +lacking, "unpack the archive again if this should be all of Tiny ImageNet")
    return names, members, [index[label[file]] for file in members]


def _jpegs_below(folder: Path) -> list[Path]:
    """Every .JPEG below `folder`; a sub-folder that cannot be listed is an error, not a smaller data set."""

    def refuse(error: OSError):
        raise UserError(f"cannot list {error.filename}: {error.strerror}; check its permissions") from error

    found = os.walk(folder, onerror=refuse)
    return [Path(place, name) for place, *names in found for name in sum(names, []) if name.endswith(".JPEG")]


def _tiny_archive(split: str, archive: Path) -> Dataset:
    try:
        with zipfile.ZipFile(archive) as zipped:
            prefix = "tiny-imagenet-200/"
            infos = {i.filename.removeprefix(prefix): i for i in zipped.infolist()}
            if len(infos) < len(zipped.infolist()):
                raise zipfile.BadZipFile("a name is there twice")
            lists = [_member(zipped, prefix + name).decode() for name in TINY_LISTS]
    except DAMAGED as error:
        raise UserError(f"{archive} is not a whole Tiny ImageNet archive ({error}); fetch it again") from error
    names, members, labels = _tiny_members(archive, list(infos), lists, split)
    load = partial(_decode_member, str(archive), tuple(prefix + m for m in members))
    listed = fingerprint("tiny-imagenet", members, labels, [infos[m].CRC for m in members])
    return Dataset("tiny-imagenet", tuple(names), tuple(members), tuple(labels), load, 64, listed)


def _member(zipped: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive, of a size that it states and by the method that the published one uses."""
    info = zipped.getinfo(name)
    if info.file_size > files.MOST_TEXT or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name} has {info.file_size:,} bytes, packed by method {info.compress_type}")
    return zipped.read(info)


def _decode_member(archive: str, members: tuple[str, ...], index: int) -> torch.Tensor:
    try:
        return decode(_member(_opened(archive, os.getpid()), members[index]))
    except UnreadableImage as error:
        raise UnreadableImage(f"{archive}: {members[index]}: {error}") from error
    except DAMAGED as error:
        raise UnreadableImage(f"{archive}: {members[index]} is damaged ({error})") from error


@cache
def _opened(archive: str, process: int) -> zipfile.ZipFile:  # one handle a process: a forked file position is shared
    return zipfile.ZipFile(archive)


def _folders(root, split: str) -> Dataset:
    """Any tree <class>/<image>, in <root> or in its folders train and val; the classes are the folders in order."""
    base = data_folder(root, "folder")
    if all(os.path.isdir(base / part) and subfolders(base / part) for part in ("train", "val")):
        base = base / split
    if not (folders := subfolders(base)):
        raise UserError(f"{base} has no class sub-folders; dataset 'folder' needs <class>/<image>")
    place = {folder: label for label, folder in enumerate(folders)}
    found = images(base, folders)
    return of_files("folder", [f.name for f in folders], found, [place[path.parent] for path in found], base)


def _photographs(root, split: str) -> Dataset:
    """Every image below one folder, or several joined by os.pathsep: to learn from without labels, never to test on.

    Raises UserError for one whose bytes are those of an image of `imagenet-sample`.
    """
    bases = [data_folder(one, "photographs").absolute() for one in str(root or "").split(os.pathsep)]
    known = {digest[:DIGITS]: file for file, _, digest in imagenet_classes()}
    found = [path for base in bases for path in images(base, _below(base))]
    learnt = of_files("photographs", ["photograph"], found, [0] * len(found), Path(os.path.commonpath(bases)))
    for path, digest in zip(found, learnt.digests):
        if same := known.get(digest):
            raise UserError(f"{path} is a test photograph ({same}); take it out of what is learnt from")
    return learnt


def _below(folder: Path) -> list[Path]:
    return [folder, *(below for one in subfolders(folder) for below in _below(one))]


READERS: dict[str, Callable[[str | Path | None, str], Dataset]] = {
    "foolbox20": _foolbox20,
    "imagenet": _imagenet,
    "imagenet-sample": _imagenet_sample,
    "tiny-imagenet": _tiny_imagenet,
    "imagenette": _imagenette,
    "folder": _folders,
    "photographs": _photographs,
}
"""What opens each named set, but for the scenes, which have no end and must be told how many."""
