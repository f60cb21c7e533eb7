"""Photographs without labels: all of them, wherever they lie, and none that anything is tested on."""

import hashlib
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from blurnb.errors import UserError
from blurnb.recognition import readers
from blurnb.recognition.datasets import load


def paint(path, seed: int):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def kinds(tmp_path):
    for seed, name in enumerate(["a/deep/one.png", "a/two.png", "b/three.png", "b/.hidden/four.png"]):
        paint(tmp_path / "kinds" / name, seed)
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
