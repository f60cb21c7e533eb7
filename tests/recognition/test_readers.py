"""The named sets: the official layouts are found, whole or packed, and every download is checked."""

import functools
import hashlib
import http.server
import os
import shutil
import tempfile
import threading
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blurnb.errors import UserError
from blurnb.optics import blur
from blurnb.recognition import readers
from blurnb.recognition.datasets import load
from blurnb.recognition.decoding import UnreadableImage, decode
from faults.outside import strangers

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30), **options) -> Path:
    """A photograph's stand-in: `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


# ------------------------------------------------------------------------------------------------ ImageNet


def test_the_class_list_is_that_of_ilsvrc2012():
    rows = readers.imagenet_classes()
    wnids = [wnid for wnid, _, _ in rows]
    assert len(set(wnids)) == len(rows) == 1000
    assert wnids == sorted(wnids)  # ILSVRC2012's order, which networks answer in
    known = {0: "n01440764", 1: "n01443537", 207: "n02099601", 282: "n02123159", 985: "n11939491", 999: "n15075141"}
    assert {index: wnids[index] for index in known} == known
    assert "tench" in rows[0][1].lower()
    assert all(len(digest) == 64 and int(digest, 16) for _, _, digest in rows)


def test_the_class_list_agrees_with_torchvision():
    from torchvision.models import VGG16_Weights

    theirs = VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    ours = [name for _, name, _ in readers.imagenet_classes()]
    same = [a.lower() == b.lower() for a, b in zip(ours, theirs)]
    assert np.mean(same) > 0.9  # the names differ in spelling here and there; a shifted list would match nowhere


def test_a_folder_may_have_its_splits(tmp_path):
    for split, names in (("train", "ab"), ("val", "a")):
        for name in ("cat", "dog"):
            for one in names:
                paint(tmp_path / split / name / f"{one}.png")
    assert load("folder", tmp_path, split="train").ids == ("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png")
    assert load("folder", tmp_path).ids == ("cat/a.png", "dog/a.png")
    assert load("folder", tmp_path / "train").classes == ("cat", "dog")


def test_classes_of_one_name_are_told_apart(tmp_path):
    paint(tmp_path / TENCH / "a.JPEG")
    names = load("imagenet", tmp_path).classes
    assert len(set(names)) == 1000
    assert [name for name in names if name.startswith("crane")] == ["crane (n02012849)", "crane (n03126707)"]
    assert names[0] == "tench"


def test_two_folders_whose_names_read_alike_are_refused(tmp_path):
    paint(tmp_path / "caf\\xe9" / "a.png")
    try:
        paint(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")) / "b.png")
    except OSError:
        pytest.skip("names here are text")
    with pytest.raises(UserError, match=r"two class folders below .* read as caf.xe9; rename one"):
        load("folder", tmp_path)


@pytest.fixture(params=["", "val", "imagenet/val"])
def tree(request, tmp_path):
    for place, (wnid, count) in enumerate([(TOILET_TISSUE, 2), (TENCH, 1), (GOLDFISH, 3)]):
        for i in range(count):
            paint(tmp_path / request.param / wnid / f"ILSVRC2012_val_{i:08d}.JPEG", 10 * place + i)
    (tmp_path / request.param / TENCH / "notes.txt").write_text("no image")
    return tmp_path


def test_a_partial_imagenet_tree_is_found_and_indexed_by_wnid(tree):
    found = load("imagenet", tree)
    assert len(found.classes) == 1000
    assert found.labels == (0, 1, 1, 1, 999, 999)
    assert found.ids[0] == f"{TENCH}/ILSVRC2012_val_00000000.JPEG"
    assert found.native_side is None
    assert found.load(0).shape == (3, 30, 40)


def test_training_and_validation_trees_are_told_apart(tmp_path):
    paint(tmp_path / "train" / TENCH / "a.JPEG")
    paint(tmp_path / "val" / GOLDFISH / "b.JPEG")
    assert load("imagenet", tmp_path).labels == (1,)
    assert load("imagenet", tmp_path, split="train").labels == (0,)


def test_a_wnid_that_is_not_in_imagenet_is_one_line(tree):
    base = next(tree.rglob(TENCH)).parent
    paint(base / "n99999999" / "a.JPEG")
    with pytest.raises(UserError, match="n99999999 is not one of the 1,000 ImageNet classes"):
        load("imagenet", tree)


# ------------------------------------------------------------------------------------------------ Tiny ImageNet


@pytest.fixture
def tiny(tmp_path) -> Path:
    """The official layout, two classes, unpacked; their order in wnids.txt is not the alphabet's."""
    base = tmp_path / "tiny-imagenet-200"
    for place, wnid in enumerate([GOLDFISH, TENCH]):
        for i in range(3):
            paint(base / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 10 * place + i, (64, 64))
        (base / "train" / wnid / f"{wnid}_boxes.txt").write_text("0 0 1 1")
    for i in range(4):
        paint(base / "val" / "images" / f"val_{i}.JPEG", 100 + i, (64, 64))
    (base / "wnids.txt").write_text(f"{GOLDFISH}\n{TENCH}\n")
    (base / "words.txt").write_text(f"{TENCH}\ttench, Tinca tinca\n{GOLDFISH}\tgoldfish, Carassius auratus\n")
    notes = [f"val_{i}.JPEG\t{[TENCH, GOLDFISH][i % 2]}\t0\t0\t62\t57\n" for i in (2, 0, 1, 3)]
    (base / "val" / "val_annotations.txt").write_text("".join(notes))
    return base


def pack(base: Path, into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(into / "tiny-imagenet-200.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(base.rglob("*")):
            zipped.write(path, Path("tiny-imagenet-200") / path.relative_to(base))
    return into


@pytest.mark.parametrize("split, labels", [("train", (1,) * 3 + (0,) * 3), ("val", (1, 0, 1, 0))])
def test_the_archive_and_its_unpacked_folder_agree(tiny, tmp_path, split, labels):
    packed = load("tiny-imagenet", pack(tiny, tmp_path / "zip"), split=split)
    for root in (tiny, tiny.parent):
        found = load("tiny-imagenet", root, split=split)
        assert found.classes == packed.classes == ("goldfish", "tench")
        assert (found.ids, found.labels, found.native_side) == (packed.ids, packed.labels, 64)
        assert found.labels == labels
        for i in range(len(found)):
            assert torch.equal(found.load(i), packed.load(i))


def test_a_byte_of_one_image_makes_another_set_packed_or_not(tiny, tmp_path):
    def found(place):
        packed = load("tiny-imagenet", pack(tiny, tmp_path / place))
        return [one.fingerprint for one in (packed, load("tiny-imagenet", tiny))]

    before = found("one")
    assert found("two") == before
    path = tiny / "val" / "images" / "val_1.JPEG"
    path.write_bytes(path.read_bytes()[:-3] + b"x\xff\xd9")
    assert not set(found("three")) & set(before)


def test_tiny_imagenet_has_no_labelled_test_images(tiny, tmp_path):
    for root in (tiny, pack(tiny, tmp_path / "zip")):
        with pytest.raises(UserError, match="split 'test'"):
            load("tiny-imagenet", root, split="test")


@pytest.mark.parametrize("missing", ["words.txt", "val/val_annotations.txt", "wnids.txt"])
def test_an_incomplete_tiny_imagenet_is_one_line(tiny, tmp_path, missing):
    (tiny / missing).unlink()
    with pytest.raises(UserError, match="tiny-imagenet-200"):
        load("tiny-imagenet", tiny)
    with pytest.raises(UserError, match="tiny-imagenet-200"):
        load("tiny-imagenet", pack(tiny, tmp_path / "zip"))


def test_a_training_class_that_no_list_names_is_one_line(tiny, tmp_path):
    paint(tiny / "train" / "n99999999" / "images" / "a.JPEG")
    for root in (tiny, pack(tiny, tmp_path / "zip")):
        with pytest.raises(UserError, match="n99999999"):
            load("tiny-imagenet", root, split="train")


def test_a_torn_archive_is_one_line(tiny, tmp_path):
    root = pack(tiny, tmp_path / "zip")
    whole = (root / "tiny-imagenet-200.zip").read_bytes()
    (root / "tiny-imagenet-200.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole Tiny ImageNet archive"):
        load("tiny-imagenet", root)


def test_a_damaged_member_is_named(tiny, tmp_path):
    root = pack(tiny, tmp_path / "zip")
    archive = root / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive) as zipped:
        at = zipped.getinfo("tiny-imagenet-200/val/images/val_2.JPEG").header_offset
    for offset in (60, 90, 400):  # in the name and header of the member, in its first deflated block, further on
        data = bytearray(archive.read_bytes())
        data[at + offset : at + offset + 20] = b"\xff" * 20
        broken = tmp_path / f"broken{offset}"
        broken.mkdir()
        (broken / "tiny-imagenet-200.zip").write_bytes(data)
        found = load("tiny-imagenet", broken)
        with pytest.raises(UnreadableImage, match="val_2.JPEG"):
            found.load(2)
        assert found.load(1).shape == (3, 64, 64)


# ------------------------------------------------------------------------------------------------ foolbox20


def test_the_twenty_photographs_of_foolbox():
    pytest.importorskip("foolbox", reason="NOT TESTED: foolbox is not installed")
    found = load("foolbox20")
    assert len(found) == 20
    assert len(set(found.labels)) > 15
    assert all(0 <= label < 1000 for label in found.labels)
    assert found.load(0).shape[0] == 3
    assert len(load("foolbox20", n_images=3)) == 3


# ------------------------------------------------------------------------------------------------ downloads


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def sample_site(tmp_path, monkeypatch):
    """A local address for the sample photographs: three classes, with the registry that belongs to them."""
    site = tmp_path / "site"
    names = [(TENCH, "tench"), (GOLDFISH, "goldfish"), (TOILET_TISSUE, "toilet tissue")]
    files = [paint(site / f"{wnid}_{name.replace(' ', '_')}.JPEG", i) for i, (wnid, name) in enumerate(names)]
    rows = tuple((*pair, hashlib.sha256(f.read_bytes()).hexdigest()) for pair, f in zip(names, files))
    monkeypatch.setattr(readers, "imagenet_classes", lambda: rows)
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(readers, "SAMPLE_URL", f"http://127.0.0.1:{server.server_port}/")
    yield site
    server.shutdown()
    server.server_close()


def test_the_sample_is_downloaded_once_and_checked(sample_site, tmp_path):
    found = load("imagenet-sample")
    assert found.labels == (0, 1, 2)
    assert found.ids[2] == f"{TOILET_TISSUE}_toilet_tissue.JPEG"
    assert torch.equal(found.load(1), decode(sample_site / f"{GOLDFISH}_goldfish.JPEG"))
    for file in sample_site.iterdir():
        file.unlink()  # the second time nothing is asked of the site
    assert load("imagenet-sample").fingerprint == found.fingerprint
    assert load("imagenet-sample", tmp_path / "cache" / "imagenet-sample").ids == found.ids


def test_a_wrong_download_is_one_line(sample_site, monkeypatch):
    paint(sample_site / f"{GOLDFISH}_goldfish.JPEG", 99)
    with pytest.raises(UserError, match=f"cannot download {GOLDFISH}_goldfish.JPEG .*does not match its SHA-256"):
        load("imagenet-sample")


def test_a_sample_without_network_is_one_line(sample_site, monkeypatch):
    monkeypatch.setattr(readers, "SAMPLE_URL", "http://127.0.0.1:9/")
    with pytest.raises(UserError, match="cannot download .*give data_root"):
        load("imagenet-sample")


# ------------------------------------------------------------------------------------------------ whole, or said


def wrong(cases, step: int, start: int = 0) -> list[str]:
    return [found for case in list(cases)[start::step] if (found := case())]


def test_what_lies_in_a_folder_is_read_or_said(tmp_path):
    assert wrong(strangers.odd_folders(tmp_path), 2) == []


def test_a_list_that_was_cut_or_changed_leaves_nothing_out_in_silence(tmp_path):
    assert wrong(strangers.odd_lists(tmp_path, 9), 1) == []


def test_an_archive_that_was_cut_or_changed_leaves_nothing_out_in_silence(tmp_path):
    cases = list(strangers.odd_archives(tmp_path / "archive"))
    assert wrong(cases[:-18], 16) + wrong(cases[-18:], 1) == []


def test_a_smaller_set_in_silence_would_be_seen(tmp_path):
    root = strangers.classes(tmp_path)
    look = lambda: strangers.read("folder", root)  # noqa: E731
    (root / TENCH / "0.png").rename(root / TENCH / ".hidden")
    whole = {f"{TENCH}/0.png": (1, []), **look()[0]}
    nothing = lambda: None  # noqa: E731
    assert "without a word" in strangers.wrong_reading(whole, look, nothing, nothing, "planted")
    other = {one: (1 - label, pixels) for one, (label, pixels) in look()[0].items()}
    assert "read as another" in strangers.wrong_reading(other, look, nothing, nothing, "planted")


def test_what_is_passed_over_is_counted_by_kind_and_said_once(tmp_path):
    for wnid in (TENCH, GOLDFISH):
        for name in ("a.png", "a.GIF", "a.jfif", "a.jpe", "a.webp"):
            paint(tmp_path / wnid / name, format=None if name != "a.jpe" and name != "a.jfif" else "JPEG")
        (tmp_path / wnid / "a.heic").touch()
        (tmp_path / wnid / "b.HEIC").touch()
        (tmp_path / wnid / ".DS_Store").touch()
        (tmp_path / wnid / "gone.jpg").symlink_to("nothing")
        (tmp_path / wnid / "sub").mkdir()
    paint(tmp_path / "loose.png")
    with pytest.warns(UserWarning, match="passed over") as said:
        found = load("folder", tmp_path)
    assert len(found) == 10
    assert [str(one.message).partition(": ")[2] for one in said] == [
        "4 .heic, 2 folder, 2 link to nothing or pipe, 1 image in no class folder; convert what is a photograph"
    ]


def test_lines_of_tiny_imagenet_without_a_file_or_a_class_are_said(tiny, tmp_path):
    (tiny / "wnids.txt").write_text(f"{TENCH}\n")
    (tiny / "val" / "images" / "val_0.JPEG").unlink()
    for root in (tiny, pack(tiny, tmp_path / "zip")):
        with pytest.warns(UserWarning, match="3 lines of val_annotations.txt without a file or a class; unpack"):
            assert len(load("tiny-imagenet", root)) == 1


# ------------------------------------------------------------------------------------------------ odd places


@pytest.mark.parametrize("name", ["folder", "imagenet", "tiny-imagenet", "imagenette", "imagenet-sample"])
@pytest.mark.parametrize("root", ["a" * 5000, "~nobody-here/x", "zero\0byte", "new\nline", "\udcff"])
def test_a_root_that_is_no_folder_is_one_line_that_names_it(name, root):
    with pytest.raises(UserError, match="data_root") as caught:
        load(name, root)
    assert "\n" not in str(caught.value)


def test_a_folder_of_tiny_imagenet_that_may_not_be_listed_is_no_smaller_data_set(tmp_path):
    base = Path(tempfile.mkdtemp())
    locked = base / "train" / "n01440764"
    locked.mkdir(parents=True)
    (base / "val").mkdir()
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        (base / name).write_text("n01440764\ttench\n")
    Image.new("RGB", (64, 64)).save(base / "train" / "a.JPEG")
    base.chmod(0o755)
    locked.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="cannot list .*n01440764: Permission denied"):
            load("tiny-imagenet", base, split="train")
    finally:
        if user == 0:
            os.seteuid(user)
        locked.chmod(0o755)
        shutil.rmtree(base)


# -------------------------------------------- folders: whatever bytes names are, an id is text, unlike any other


def test_file_names_that_are_not_unicode_can_be_blurred_and_kept(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")  # Linux allows any bytes in a name
    try:
        (tmp_path / "one").mkdir()
        Image.new("RGB", (40, 30), "red").save(tmp_path / "one" / name)
    except OSError:
        pytest.skip("NOT TESTED: this file system wants names in Unicode")
    found = load("folder", tmp_path)
    found.ids[0].encode()
    blur(found.load(0)[None], "shake", image_ids=found.ids)


def test_a_class_folder_without_images_is_an_empty_set(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images below"):
        load("folder", tmp_path)


def test_two_names_that_read_alike_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "cat" / "\\xff.png")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/\xff.png")).write_bytes(b"other")
    except OSError:
        pytest.skip("NOT TESTED: this file system takes no such names")
    with pytest.raises(UserError, match="read as cat/.*rename one"):
        load("folder", tmp_path)


def test_a_class_folder_whose_name_is_no_text_is_spelled_out(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    assert load("folder", tmp_path).classes == ("\\xff",)


# ------------------------------------------------------------------------------------------------ without labels


@pytest.fixture
def kinds(tmp_path):
    for seed, name in enumerate(["a/deep/one.png", "a/two.png", "b/three.png", "b/.hidden/four.png"]):
        paint(tmp_path / "kinds" / name, seed, (9, 8))
    return tmp_path / "kinds"


def test_all_below_one_folder_or_several(kinds):
    found = load("photographs", kinds)
    assert found.ids == ("a/two.png", "a/deep/one.png", "b/three.png")
    assert found.classes == ("photograph",)
    assert set(found.labels) == {0}
    assert found.native_side is None
    assert found.load(0).shape == (3, 8, 9)
    several = load("photographs", f"{kinds / 'a'}{os.pathsep}{kinds / 'b'}")
    assert several.ids == found.ids
    assert several.fingerprint == found.fingerprint
    assert len(load("photographs", kinds, n_images=2)) == 2
    with pytest.raises(UserError, match="data_root is needed for dataset 'photographs'"):
        load("photographs")


def test_what_lies_beside_the_folders_is_learnt_from_and_not_said_to_be_passed_over(kinds):
    paint(kinds / "loose.png", 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("photographs", kinds).ids[0] == "loose.png"
    (kinds / "notes.txt").write_text("not a photograph")
    with pytest.warns(UserWarning, match="passed over below .*: 1 .txt; convert"):
        load("photographs", kinds)


def test_a_test_photograph_is_refused_by_its_bytes_whatever_it_is_called(kinds, monkeypatch):
    copy = paint(kinds / "b" / "another name.png", 7)
    assert len(load("photographs", kinds)) == 4
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    monkeypatch.setattr(readers, "imagenet_classes", lambda: (("n00000001", "planted", digest),))
    with pytest.raises(UserError, match="another name.png is a test photograph .n00000001.; take it out") as told:
        load("photographs", kinds)
    assert "\n" not in str(told.value)
