"""The chapter on segmentation: image and labels stay together, training resumes, answers cost nothing twice."""

import functools
import json

import numpy as np
import pytest
import torch
from torch import nn

from blurnb import records
from blurnb.errors import UserError
from blurnb.recognition import label_maps
from blurnb.study import confusion, evaluation, profiles, segmentation

QUICK = {
    "profile": "smoke", "weights": "none", "hidden_channels": 8, "train_images": 12, "base_epochs": 1, "train_batch": 6,
    "n_images": 4, "blurs": "sharp,D8", "precision": "float32",
}  # fmt: skip


def block_images(count=6, side=32, native=True):
    """Images whose red channel is their label map: 40 grey levels a label, so that any shift shows."""
    generator = np.random.default_rng(0)
    maps = [np.kron(generator.integers(0, 5, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)] * count
    images = [torch.from_numpy(m * 40 / 255).float().expand(3, -1, -1).clone() for m in maps]

    def load(index):
        return images[index], torch.from_numpy(maps[index].copy())

    ids = tuple(f"block{i}" for i in range(count))
    return label_maps.LabelMaps("blocks", tuple("abcde"), ids, load, side if native else None, "f", "f")


# -- evaluation


class Oracle(nn.Module):
    """Answers the label map that `block_images` paints into the image, moved by some pixels."""

    name, class_count = "oracle", 5

    def __init__(self, shift=0):
        super().__init__()
        self.anchor, self.shift = nn.Parameter(torch.tensor([float(shift)])), shift

    def forward(self, images):
        labels = (images[:, 0] * 255 / 40).round().clamp(0, 4).long()
        return nn.functional.one_hot(labels, 5).permute(0, 3, 1, 2).float().roll(self.shift, -1)


def evaluate(network, maps, tmp_path, blurs=("sharp", "D64"), band=1.0, **changed):
    protocol = evaluation.Protocol(flip=False, **changed)
    return segmentation.evaluate(network, maps, blurs, protocol, 0, band, store=tmp_path)


def test_a_perfect_network_scores_1_and_one_shifted_by_a_pixel_does_not(tmp_path):
    maps = block_images(3, 96)
    found, about = evaluate(Oracle(), maps, tmp_path)
    assert confusion.miou(sum(found["sharp"].values()).sum(0)) == 1
    shifted, _ = evaluate(Oracle(shift=1), maps, tmp_path)
    assert confusion.miou(sum(shifted["sharp"].values()).sum(0)) < 0.95
    assert confusion.miou(shifted["sharp"]["interior"].sum(0)) > confusion.miou(shifted["sharp"]["boundary"].sum(0))
    assert sum(found["sharp"].values()).sum() == 3 * 96 * 96
    assert about["computed_images"] == 3


def test_answers_are_kept_and_only_what_is_new_is_computed(tmp_path):
    maps = block_images(3, 96)
    first, _ = evaluate(Oracle(), maps, tmp_path, ("sharp",))
    both, about = evaluate(Oracle(), maps, tmp_path)
    again, later = evaluate(Oracle(), maps, tmp_path)
    assert (about["computed_images"], later["computed_images"]) == (3, 0)
    for label, regions in again.items():
        for region, matrices in regions.items():
            np.testing.assert_array_equal(matrices, both[label][region])
    np.testing.assert_array_equal(first["sharp"]["boundary"], both["sharp"]["boundary"])


def test_scores_that_are_not_finite_are_one_line(tmp_path):
    network = Oracle()
    network.forward = functools.partial(torch.Tensor.mul, other=float("nan"))
    with pytest.raises(UserError, match="not finite on block0"):
        evaluate(network, block_images(1, 96), tmp_path)


# -- the chapter


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rq5")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BLURNB_CACHE", str(folder / "cache"))
        runs = [
            segmentation.run(profiles.validate("rq5", {**QUICK, "output_dir": str(folder / name)}))
            for name in ("first", "second")
        ]
        shown = segmentation.examples(profiles.validate("rq5", QUICK), count=1)
    return folder, runs, shown


def test_a_run_writes_its_records_and_a_second_one_computes_nothing(chapter):
    folder, (first, second), _ = chapter
    assert (folder / "first/rq5.csv").read_bytes() == (folder / "second/rq5.csv").read_bytes()
    assert records.read(folder / "first/rq5.csv").equals(first.rows)
    assert all(note["computed_images"] == 0 for note in second.manifests.values())
    assert set(first.rows["training"]) == {"sharp", "mix", "sharp, head only", "mix, head only"}
    assert set(first.rows["scale"]) == {"96"}
    changed = first.rows[first.rows["metric"] == "miou_change"]
    assert "all vs sharp network" in set(changed[changed["training"] == "mix"]["view"])
    assert {"all vs sharp head", "all vs sharp image"} <= set(changed["view"])


def test_the_manifest_names_absent_classes_and_no_path(chapter):
    folder, (run, _), _ = chapter
    text = (folder / "first/rq5.json").read_text()
    assert str(folder) not in text
    note = next(iter(json.loads(text).values()))
    there = set(run.rows.loc[run.rows["metric"] == "iou", "view"])
    classes = set(label_maps.load("scenes", n_images=1).classes)
    assert set(note["absent_classes"]) == classes - there
    assert note["absent_classes"], "four scenes cannot show twelve classes"


def test_the_gallery_has_what_it_shows(chapter):
    _, _, shown = chapter
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
        profiles.validate("rq5", given)


def test_photographs_need_a_scale():
    parameters = profiles.validate("rq5", {"profile": "photographs", "scales": "native"})
    with pytest.raises(UserError, match="give one shorter side"):
        segmentation.scale_of(parameters)
