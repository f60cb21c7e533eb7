"""Data sets: folders of classes, draws that are nested, fingerprints, and mistakes in one line."""

import pickle
from pathlib import Path

import numpy as np
import planted
import pytest
import torch
from PIL import Image

from blurnb.errors import UserError
from blurnb.recognition import contents
from blurnb.recognition.datasets import HELD, load, part, sample, subset
from blurnb.recognition.decoding import decode


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30), **options) -> Path:
    """A photograph's stand-in: `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda at: load("imagnet", at), "'imagnet' is unknown; did you mean imagenet"),
        (lambda at: load("imagenet", None), "data_root is needed for dataset 'imagenet'"),
        (lambda at: load("imagenet", at / "absent"), "absent' is not a folder"),
        (lambda at: load("imagenet-sample", at / "absent"), "absent' is not a folder"),
        (lambda at: load("tiny-imagenet", at / "absent"), "absent' is not a folder"),
        (lambda at: load("imagenet", at), "no val/<wnid> folders below"),
        (lambda at: load("tiny-imagenet", at), "no tiny-imagenet-200.zip and no wnids.txt"),
        (lambda at: load("folder", at), "has no class sub-folders"),
        (lambda at: load("folder", ""), "data_root is needed"),
        (lambda at: load("scenes", split="validation"), "split 'validation' is unknown"),
        (lambda at: load("foolbox20", n_images=21), "n_images=21 is more than the 20 images of foolbox20"),
        (lambda at: load("foolbox20", n_images=-1), "n_images=-1: give a whole number from 1"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, call, message):
    with pytest.raises(UserError) as caught:
        call(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [10**12, 10**5000, True, 2.5, "3"], ids=lambda count: type(count).__name__)
def test_more_scenes_than_memory_holds_are_refused(count):
    with pytest.raises(UserError, match="n_images="):
        load("scenes", n_images=count)


@pytest.fixture
def folder(tmp_path):
    for place, name in enumerate(["cat", "a dog", "日本"]):
        for i in range(4):
            paint(tmp_path / name / f"photo {i} é.png", 10 * place + i)
    return tmp_path


def test_a_folder_of_classes(folder):
    found = load("folder", folder)
    assert found.classes == ("a dog", "cat", "日本")
    assert found.labels == (0,) * 4 + (1,) * 4 + (2,) * 4
    assert found.ids[4] == "cat/photo 0 é.png"
    assert torch.equal(found.load(8), decode(folder / "日本" / "photo 0 é.png"))


def test_data_sets_can_be_sent_to_workers(folder):
    found = subset(load("folder", folder), [3, 1])
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(again.load(0), found.load(0))
    assert again.fingerprint == found.fingerprint


def test_a_subset_keeps_images_with_their_labels(folder):
    whole = load("folder", folder)
    part = subset(subset(whole, [9, 2, 5, 0]), [2, 0])
    assert part.ids == (whole.ids[5], whole.ids[9])
    assert part.labels == (whole.labels[5], whole.labels[9])
    assert torch.equal(part.load(1), whole.load(9))
    assert part.source == whole.source == whole.listed != part.listed
    assert part.fingerprint != subset(whole, [9, 5]).fingerprint


def test_larger_samples_hold_the_smaller_ones(folder):
    whole = load("folder", folder)
    for seed in range(5):
        drawn = [set(sample(whole, n, seed).ids) for n in range(1, 13)]
        assert [len(d) for d in drawn] == list(range(1, 13))
        assert all(small < large for small, large in zip(drawn, drawn[1:]))
    assert sample(whole, 3, 1).ids == sample(whole, 3, 1).ids
    assert len({sample(whole, 3, seed).ids for seed in range(10)}) > 1
    assert sample(whole, 0) is whole
    assert sample(whole, 12) is whole


def test_a_tenth_is_held_back_by_what_the_files_hold_wherever_they_lie(tmp_path):
    for place in range(120):
        file = tmp_path / "abc"[place % 3] / f"{place}.bmp"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"%d" % place)
    whole = load("folder", tmp_path)
    held, learnt = (part(whole, side) for side in (True, False))
    assert not set(held.ids) & set(learnt.ids)
    assert len(held) + len(learnt) == len(whole) == 120
    assert abs(len(held) / len(whole) - 1 / HELD) < 0.06
    copied, moved = held.files.each[0][0], held.files.each[1][0]
    before = set(held.digests), set(learnt.digests) - {learnt.digests[0]}
    (tmp_path / "a" / "0 copy.bmp").write_bytes(copied.read_bytes())
    moved.rename(tmp_path / "b" / "a other name.bmp")
    (tmp_path / learnt.ids[0]).unlink()  # every place after it is another one
    again = load("folder", tmp_path)
    assert (set(part(again, True).digests), set(part(again, False).digests)) == before
    assert {"a/0 copy.bmp", "b/a other name.bmp"} < set(part(again, True).ids)


def test_images_that_are_no_files_are_held_back_by_name():
    whole = planted.images(200)
    assert set(part(whole, True).ids) == set(part(subset(whole, range(199, -1, -1)), True).ids)
    few = subset(whole, [0, 1])
    with pytest.raises(UserError, match="photographs has 2 training images, too few to hold some back"):
        part(few, True), part(few, False)


def test_the_fingerprint_changes_with_names_labels_and_sizes(folder):
    first = load("folder", folder).fingerprint
    assert load("folder", folder).fingerprint == first
    seen = {first}
    paint(folder / "cat" / "photo 0 é.png", size=(41, 30))
    seen.add(load("folder", folder).fingerprint)
    (folder / "cat" / "photo 0 é.png").rename(folder / "cat" / "renamed.png")
    seen.add(load("folder", folder).fingerprint)
    (folder / "cat" / "renamed.png").rename(folder / "a dog" / "renamed.png")
    seen.add(load("folder", folder).fingerprint)
    (folder / "a dog" / "renamed.png").unlink()
    seen.add(load("folder", folder).fingerprint)
    assert len(seen) == 5


@pytest.mark.parametrize("suffix", ["bmp", "ppm", "tif"])
def test_other_photographs_of_the_same_names_and_sizes_are_another_set(tmp_path, suffix):
    found = []
    for place in ("first", "second", "third"):
        for i in range(3):
            paint(tmp_path / place / "cat" / f"{i}.{suffix}", seed=i + 10 * (place == "second"))
        found.append(load("folder", tmp_path / place))
    sizes = [[path.stat().st_size for (path,) in one.files.each] for one in found]
    assert sizes[0] == sizes[1]
    assert found[0].listed == found[1].listed
    assert found[0].fingerprint != found[1].fingerprint
    assert found[0].fingerprint == found[2].fingerprint  # wherever they lie
    assert not set(found[0].keys) & set(found[1].keys)


def test_only_the_images_that_are_drawn_are_read(folder, monkeypatch):
    read = []
    digest = contents.digest
    monkeypatch.setattr(contents, "digest", lambda path: read.append(Path(path).name) or digest(path))
    found = load("folder", folder, n_images=2)
    assert not read
    assert found.fingerprint
    assert len(read) == 2
    other = load("folder", folder, n_images=3)
    unread = set(load("folder", folder).ids) - set(other.ids)
    paint(folder / min(unread), 99)
    assert load("folder", folder, n_images=3).fingerprint == other.fingerprint
    paint(folder / other.ids[0], 99)
    assert load("folder", folder, n_images=3).fingerprint != other.fingerprint


def test_an_image_that_changes_while_it_is_answered_is_named(folder):
    found = load("folder", folder)
    assert found.digests
    found.demand_same(0)
    paint(folder / found.ids[0], 99)
    with pytest.raises(UserError, match="photo 0 é.png changed while it was answered"):
        found.demand_same(0)
