"""Folders of image files: whatever bytes their names are, an id is text, and unlike any other."""

import os
from pathlib import Path

import pytest
from PIL import Image

from blurnb.errors import UserError
from blurnb.optics import blur
from blurnb.recognition.datasets import load


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
