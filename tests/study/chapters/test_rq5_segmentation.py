"""RQ5: what is recorded of pixels, that it says how images were shown, and that answers cost nothing twice."""

import json
from dataclasses import replace

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.recognition import datasets, label_maps
from blurnb.study import confusion, segmenting
from blurnb.study.chapters import rq5_segmentation as chapter
from blurnb.study.chapters.rq5_segmentation import Parameters

QUICK = {
    "profile": "smoke", "weights": "none", "hidden_channels": 8, "train_images": 12, "base_epochs": 1, "train_batch": 6,
    "n_images": 4, "blurs": "sharp,D8", "precision": "float32", "mixes": "sharp", "features": "frozen",
}  # fmt: skip


@pytest.fixture
def study(smoke, monkeypatch):
    found = smoke("rq5")
    monkeypatch.setenv("BLURNB_CACHE", str(found.cache))
    return found


def test_a_run_writes_its_records_and_a_second_one_computes_nothing(study, tmp_path):
    again = chapter.run(study.parameters.model_copy(update={"output_dir": str(tmp_path)}))
    assert (study.folder / "rq5.csv").read_bytes() == (tmp_path / "rq5.csv").read_bytes()
    assert records.read(study.folder / "rq5.csv").equals(study.run.rows)
    assert all(note["computed_images"] == 0 for note in again.manifests.values())


def test_that_images_are_frames_of_a_drive_reaches_every_interval(study, tmp_path, monkeypatch):
    load, resampled, drawn = label_maps.load, confusion.resampled, []
    monkeypatch.setattr(label_maps, "load", lambda *a, **k: replace(load(*a, **k), block=2))
    monkeypatch.setattr(
        confusion, "resampled", lambda m, seed, block=1: drawn.append(block) or resampled(m, seed, block)
    )
    chapter.run(study.parameters.model_copy(update={"output_dir": str(tmp_path)}))
    assert set(drawn) == {2}


def test_every_network_is_named_by_columns_and_compared_with_its_rivals(study):
    rows = study.run.rows
    trained = {(mix, frozen) for mix in ("sharp", "mix") for frozen in ("none", "backbone")}
    assert set(zip(rows["training"], rows["frozen"])) == trained
    assert set(rows["scale"]) == {"96"}
    changed = rows[(rows["metric"] == "miou") & (rows["statistic"] == "difference") & (rows["part"] == "")]

    def rivals(training, frozen, blur):
        mine = changed[(changed["training"] == training) & (changed["frozen"] == frozen) & (changed["blur"] == blur)]
        return set(zip(mine["versus_training"], mine["versus_frozen"], mine["versus_blur"]))

    assert rivals("mix", "none", "D8") == {("sharp", "", ""), ("", "", "sharp")}
    assert rivals("mix", "backbone", "D8") == {("sharp", "", ""), ("sharp", "none", ""), ("", "", "sharp")}
    assert rivals("sharp", "none", "sharp") == set()
    regions = rows[rows["part_kind"] == "region"]
    assert set(regions["part"]) == {"boundary", "interior"}


def test_the_manifest_names_absent_classes_and_no_path(study):
    text = (study.folder / "rq5.json").read_text()
    assert str(study.folder) not in text
    note = next(iter(json.loads(text).values()))
    rows = study.run.rows
    there = set(rows.loc[(rows["metric"] == "iou") & (rows["part_kind"] == "class"), "part"])
    assert set(note["absent_classes"]) == set(label_maps.load("scenes", n_images=1).classes) - there


def test_a_run_of_rounded_mirrored_images_says_so_in_every_row(tmp_path, smoke, monkeypatch):
    """It used to round for "8-bit" alone, and its rows told neither rounding nor flip."""
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    show, shown = segmenting.Segmenting.show, []
    monkeypatch.setattr(segmenting.Segmenting, "show", lambda *given: shown.append(show(*given)) or shown[-1])
    plain, rounded = (
        chapter.run(Parameters.validate(QUICK | given | {"output_dir": str(tmp_path / name)}))
        for name, given in (("plain", {}), ("rounded", {"rounding": "8-bit blur", "flip": True}))
    )
    assert (set(plain.rows["rounding"]), set(plain.rows["flip"])) == ({"none"}, {False})
    assert (set(rounded.rows["rounding"]), set(rounded.rows["flip"])) == ({"8-bit blur"}, {True})
    half = len(shown) // 2
    for seen, whole in ((shown[:half], False), (shown[half:], True)):
        assert all(bool((255 * one - (255 * one).round()).abs().max() < 1e-3) == whole for one in seen)
    (first,), (second,) = plain.manifests, rounded.manifests
    assert first != second
    absent = plain.manifests[first]["absent_classes"]
    assert absent, "four scenes cannot show twelve classes"


def test_the_gallery_has_what_it_shows(study):
    shown = chapter.examples(study.parameters, count=1)
    assert shown["columns"] == ["sharp", "mix"]
    assert [row["blur"] for row in shown["rows"]] == ["sharp", "D8"]
    for row in shown["rows"]:
        assert row["image"].shape == (96, 96, 3)
        assert len(row["answers"]) == 2
        assert all(one.shape == row["truth"].shape for one in row["answers"])


@pytest.mark.parametrize(
    "given, said",
    [
        ({"dataset": "tiny-imagenet"}, "dataset='tiny-imagenet'"),
        ({"dataset": "scenes,camvid"}, "this chapter takes one"),
        ({"features": "thawed"}, "features='thawed'"),
        ({"boundary_width": 0}, "boundary_width=0"),
        ({"view": "center-crop"}, "view='center-crop'"),
    ],
)
def test_parameters_are_checked(given, said):
    with pytest.raises(UserError, match=said):
        Parameters.validate(given)


def test_photographs_need_a_scale(monkeypatch):
    given = {"profile": "photographs", "scales": "native"}
    maps = datasets.Dataset("camvid", ("a", "b"), ("x",), (), None, None, "f")
    monkeypatch.setattr(label_maps, "load", lambda *_, **__: maps)
    with pytest.raises(UserError, match="'native' means nothing for camvid, whose photographs differ in size"):
        chapter.run(Parameters.validate(given))
