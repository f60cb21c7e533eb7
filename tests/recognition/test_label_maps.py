"""Labelled pixels: the published layout as torchvision reads it, and one line for every way it can be broken."""

import os
import shutil
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from PIL import Image
from torchvision.datasets import VOCSegmentation

from blurnb.errors import UserError
from blurnb.recognition import decoding, label_maps, scenes
from faults import formats

DATA = os.environ.get("BLURNB_DATA")


def write_root(folder: Path, classes=("road", "tree", "sky")) -> Path:
    """A VOCdevkit/VOC2012 with three images of different sizes."""
    base = folder / "VOCdevkit" / "VOC2012"
    for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (base / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for place, (width, height) in enumerate([(60, 40), (40, 60), (48, 48)]):
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(base / "JPEGImages" / f"2007_00{place}.jpg")
        labels = generator.choice([0, 1, 2, 255], (height, width)).astype(np.uint8)
        drawn = Image.fromarray(labels, "P")
        drawn.putpalette([7 * k % 256 for k in range(768)])
        drawn.save(base / "SegmentationClass" / f"2007_00{place}.png")
    (base / "ImageSets/Segmentation/train.txt").write_text("2007_000\n2007_001\n")
    (base / "ImageSets/Segmentation/val.txt").write_text("2007_002\n2007_000\n")
    if classes:
        (base / "classes.txt").write_text("\n".join(classes) + "\n")
    return base


def test_the_layout_is_read_as_torchvision_reads_it(tmp_path):
    write_root(tmp_path)
    found = label_maps.load("voc-layout", tmp_path, split="train")
    theirs = VOCSegmentation(str(tmp_path), year="2012", image_set="train")
    assert len(found) == len(theirs) == 2
    for index in range(2):
        image, labels = found.load(index)
        expected, target = theirs[index]
        np.testing.assert_array_equal(labels.numpy(), np.array(target))
        np.testing.assert_array_equal((image * 255).round().numpy(), np.array(expected).transpose(2, 0, 1))
        assert labels.dtype == torch.uint8
    assert found.classes == ("road", "tree", "sky")
    assert found.native_side is None


def test_a_root_may_be_any_of_three_folders_and_images_keep_the_order_of_the_list(tmp_path):
    base = write_root(tmp_path)
    one, two, three = (label_maps.load("camvid", root) for root in (tmp_path, base.parent, base))
    assert one.ids == two.ids == three.ids == ("2007_002", "2007_000")
    assert one.fingerprint == three.fingerprint
    assert label_maps.load("camvid", tmp_path, split="train").fingerprint != one.fingerprint


def test_frames_of_a_drive_are_known_to_be_alike_in_a_part_of_them_too(tmp_path):
    write_root(tmp_path)
    blocks = [label_maps.load(name, tmp_path).block for name in ("camvid", "voc-layout")]
    assert blocks == [20, 1]
    assert label_maps.load("camvid", tmp_path, n_images=1).block == 20
    assert label_maps.load("scenes", n_images=1).block == 1


def test_voc2012_needs_no_list_of_classes_and_refuses_another(tmp_path):
    base = write_root(tmp_path, classes=None)
    found = label_maps.load("voc2012", tmp_path)
    assert len(found.classes) == 21
    assert found.classes[0] == "background"
    assert found.classes[-1] == "tvmonitor"
    (base / "classes.txt").write_text("road\ntree\nsky\n")
    with pytest.raises(UserError, match="classes.txt names other classes.*voc-layout"):
        label_maps.load("voc2012", tmp_path)


def break_image(base):
    (base / "JPEGImages/2007_000.jpg").unlink()


def break_map(base):
    (base / "SegmentationClass/2007_000.png").unlink()


def break_size(base):
    Image.fromarray(np.zeros((39, 60), np.uint8)).save(base / "SegmentationClass/2007_000.png")


def break_label(base):
    Image.fromarray(np.full((40, 60), 3, np.uint8)).save(base / "SegmentationClass/2007_000.png")


def break_mode(base):
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(base / "SegmentationClass/2007_000.png")


def break_file(base):
    (base / "SegmentationClass/2007_000.png").write_bytes(b"\x89PNG nothing")


def disguise_map(base):
    """PostScript, which an image library would hand to an interpreter, under the name of a label map."""
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n%%EndComments\nshowpage\n"
    (base / "SegmentationClass" / "2007_000.png").write_text(text)


def break_split(base):
    (base / "ImageSets/Segmentation/val.txt").unlink()


def empty_split(base):
    (base / "ImageSets/Segmentation/val.txt").write_text("\n")


def break_classes(base):
    (base / "classes.txt").unlink()


def repeat_class(base):
    (base / "classes.txt").write_text("road\nroad\n")


def read_all(root):
    found = label_maps.load("voc-layout", root)
    return [found.load(index) for index in range(len(found))]


@pytest.mark.parametrize(
    "damage, said",
    [
        (break_image, r"2007_000\.jpg is missing, though .*val\.txt"),
        (break_map, r"SegmentationClass/2007_000\.png is missing"),
        (break_size, r"2007_000\.png has 60 x 39 pixels, its image 60 x 40"),
        (break_label, r"2007_000\.png holds label 3, the classes end at 2"),
        (break_mode, r"2007_000\.png is an image of mode RGB"),
        (break_file, r"2007_000\.png is not a whole image"),
        (disguise_map, r"2007_000\.png is not a whole image \(cannot identify image file\)"),
        (break_split, r"cannot read .*val\.txt"),
        (empty_split, r"val\.txt lists no image"),
        (break_classes, r"classes\.txt is missing"),
        (repeat_class, r"classes\.txt must name 2 to 255 classes"),
    ],
)
def test_what_is_broken_is_one_line_that_names_the_file(tmp_path, damage, said):
    base = write_root(tmp_path)
    damage(base)
    with pytest.raises(UserError, match=said) as caught:
        read_all(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_misuse_is_one_line(tmp_path):
    with pytest.raises(UserError, match="'voc2O12'.*did you mean voc2012"):
        label_maps.load("voc2O12", tmp_path)
    with pytest.raises(UserError, match="holds no VOCdevkit"):
        label_maps.load("camvid", tmp_path)
    with pytest.raises(UserError, match="data_root is needed"):
        label_maps.load("camvid")
    write_root(tmp_path)
    with pytest.raises(UserError, match="n_images=3 is more than the 2"):
        label_maps.load("camvid", tmp_path, n_images=3)


def test_a_subset_keeps_images_with_their_maps(tmp_path):
    write_root(tmp_path)
    whole = label_maps.load("camvid", tmp_path)
    one = label_maps.load("camvid", tmp_path, n_images=1)
    place = whole.ids.index(one.ids[0])
    assert all(torch.equal(a, b) for a, b in zip(one.load(0), whole.load(place)))
    assert one.source == whole.source
    assert one.fingerprint != whole.fingerprint


@pytest.mark.parametrize("changed", ["JPEGImages/2007_002.jpg", "SegmentationClass/2007_002.png"])
def test_a_byte_of_an_image_or_of_its_map_makes_another_set(tmp_path, changed):
    base = write_root(tmp_path)
    before = {split: label_maps.load("camvid", tmp_path, split=split) for split in ("val", "train")}
    prints = {split: found.fingerprint for split, found in before.items()}
    with open(base / changed, "r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"x")
    after = {split: label_maps.load("camvid", tmp_path, split=split) for split in before}
    assert after["val"].fingerprint != prints["val"]
    assert after["train"].fingerprint == prints["train"]  # which lists other images
    assert [a == b for a, b in zip(after["val"].keys, before["val"].keys)] == [False, True]
    assert after["val"].source == before["val"].source


def test_scenes_come_with_their_maps():
    found = label_maps.load("scenes", split="test", n_images=24)
    images, _, maps = scenes.scenes("test", [5])
    image, labels = found.load(5)
    assert torch.equal(image, images[0])
    assert torch.equal(labels, maps[0])
    assert found.classes[0] == "background"
    assert len(found.classes) == 13
    assert found.native_side == scenes.SIDE


def write_pair(base, name: str, **exif):
    """An image and its map, each with the orientation given for it (`photograph`, `drawn`)."""
    tags = {part: Image.Exif() for part in exif}
    for part, turn in exif.items():
        tags[part][0x0112] = turn
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(base / "JPEGImages" / f"{name}.png", exif=tags.get("photograph"))
    labels = np.arange(40 * 60).reshape(40, 60) // 800
    Image.fromarray(labels.astype(np.uint8)).save(base / "SegmentationClass" / f"{name}.png", exif=tags.get("drawn"))
    (base / "ImageSets/Segmentation/val.txt").write_text(f"{name}\n")
    return pixels, labels


def test_a_map_is_turned_with_its_photograph_or_refused(tmp_path):
    base = write_root(tmp_path)
    for turn, turned in ((3, lambda p: p[::-1, ::-1]), (6, lambda p: np.rot90(p, -1)), (8, np.rot90)):
        pixels, labels = write_pair(base, "both", photograph=turn, drawn=turn)
        image, found = label_maps.load("voc-layout", tmp_path).load(0)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), turned(pixels) / np.float32(255))
        assert np.array_equal(found.numpy(), turned(labels))
        for given in ({"photograph": turn}, {"drawn": turn}, {"photograph": turn, "drawn": 2}):
            write_pair(base, "one", **given)
            with pytest.raises(UserError, match="one.png is turned by its EXIF .*, its map .* is not") as caught:
                read_all(tmp_path)
            assert not isinstance(caught.value, decoding.UnreadableImage)


@pytest.mark.parametrize("depth", [2, 4])
def test_grey_maps_of_few_bits_are_refused_for_reading_stretches_them(tmp_path, depth):
    base = write_root(tmp_path, classes=[f"class {number}" for number in range(200)])
    file = base / "SegmentationClass" / "2007_002.png"
    file.write_bytes(formats.png(np.ones((48, 48, 1), int), depth, 0))
    with pytest.raises(UserError, match="2007_002.png is an image of mode L .*8 bits a pixel"):
        read_all(tmp_path)
    file.write_bytes(formats.png(np.ones((48, 48, 1), int), depth, 3, bytes(range(12))))
    assert read_all(tmp_path)[0][1].unique().tolist() == [1]  # of a palette it is the index


def test_a_map_with_loss_is_refused(tmp_path):
    base = write_root(tmp_path)
    Image.fromarray(np.ones((48, 48), np.uint8)).save(base / "SegmentationClass" / "2007_002.png", "JPEG")
    with pytest.raises(UserError, match=r"2007_002.png is an image of mode L \(JPEG\)"):
        read_all(tmp_path)


@pytest.mark.parametrize("line", ["2007_000", "../JPEGImages/2007_001", "/etc/hostname"])
def test_a_list_names_each_image_once_and_no_place(tmp_path, line):
    base = write_root(tmp_path)
    (base / "ImageSets/Segmentation/val.txt").write_text(f"2007_000\n{line}\n")
    with pytest.raises(UserError, match="lists .* twice, or it is a path"):
        read_all(tmp_path)


def test_lists_that_are_no_text_and_roots_that_are_no_place_are_one_line(tmp_path):
    base = write_root(tmp_path)
    (base / "classes.txt").write_bytes(b"caf\xe9\ntree\n")
    with pytest.raises(UserError, match=r"classes.txt \(not UTF-8\); it names the classes"):
        read_all(tmp_path)
    for root in ("~nobody-here/x", "a" * 5000, "zero\0byte"):
        with pytest.raises(UserError, match="data_root"):
            label_maps.load("voc-layout", root)


def test_a_downloaded_archive_is_unpacked_and_read(tmp_path, monkeypatch):
    write_root(tmp_path / "made", classes=None)
    archive = shutil.make_archive(str(tmp_path / "voc"), "tar", tmp_path / "made")
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    asked = []

    def retrieve(url, known_hash, name, folder, **_):
        asked.append((url, known_hash))
        if "thor" not in url:
            raise ConnectionError("out of reach")
        Path(folder).mkdir(exist_ok=True)
        return shutil.copy(archive, Path(folder) / name)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(label_maps.load("voc2012")) == 2
    assert [url for url, _ in asked] == list(label_maps.VOC_MIRRORS[:2])
    assert {known for _, known in asked} == {"sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"}
    assert len(label_maps.load("voc2012", split="train")) == 2
    assert len(asked) == 2  # the second time nothing is asked for


@pytest.mark.skipif(not DATA, reason="BLURNB_DATA does not name a folder with VOCdevkit")
def test_voc2012_is_whole():
    train, val = (label_maps.load("voc2012", DATA, split=split) for split in ("train", "val"))
    assert (len(train), len(val)) == (437, 445)
    assert len(val.classes) == 21
    assert not set(train.ids) & set(val.ids)
    seen = set()
    for index in range(0, len(val), 40):
        image, labels = val.load(index)
        assert image.shape[-2:] == labels.shape
        seen |= set(labels.unique().tolist())
    assert label_maps.VOID in seen
    assert seen <= {*range(21), label_maps.VOID}
