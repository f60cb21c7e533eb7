"""The chapter on segmentation: image and labels stay together, training resumes, answers cost nothing twice."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
from torch import nn

from blurnb import records
from blurnb.errors import UserError
from blurnb.labels import parse
from blurnb.optics import blurring
from blurnb.recognition import label_maps, models, zoomout
from blurnb.study import confusion, evaluation, finetuning, profiles, segmentation, segmenters

QUICK = {
    "profile": "smoke", "weights": "none", "hidden": 8, "train_images": 12, "base_epochs": 1, "train_batch": 6,
    "n_images": 4, "blurs": "sharp,D8", "precision": "float32",
}  # fmt: skip
RECIPE = segmenters.Recipe(mix="mix", epochs=2, batch=4, learning_rate=0.01, scale=0, symmetry="square")


def block_images(count=6, side=32, native=True):
    """Images whose red channel is their label map: 40 grey levels a label, so that any shift shows."""
    generator = np.random.default_rng(0)
    maps = [np.kron(generator.integers(0, 5, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)] * count
    images = [torch.from_numpy(m * 40 / 255).float().expand(3, -1, -1).clone() for m in maps]

    def load(index):
        return images[index], torch.from_numpy(maps[index].copy())

    ids = tuple(f"block{i}" for i in range(count))
    return label_maps.LabelMaps("blocks", tuple("abcde"), ids, load, side if native else None, "f", "f")


def small_network():
    return zoomout.Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=8)


# -- image and labels stay together


def best_shift(truth: np.ndarray, answer: np.ndarray, count: int) -> tuple[int, int]:
    """(down, right) by which `truth` must be moved to agree best with `answer`, within two pixels."""
    scores = {}
    for down in range(-2, 3):
        for right in range(-2, 3):
            moved = np.roll(truth, (down, right), (0, 1))[4:-4, 4:-4]
            scores[down, right] = float(confusion.miou(confusion.matrix(moved, answer[4:-4, 4:-4], count)))
    return max(scores, key=scores.get)


@pytest.mark.parametrize("blur", ["sharp", "D32", "G16", "M64@30", "shake", "inertial"])
def test_kernels_are_centred_so_labels_do_not_shift(blur):
    image, labels = block_images(1, 96).load(0)
    truth = labels.numpy()
    seeds = range(12) if parse(blur).is_random else range(1)
    moves = []
    for seed in seeds:
        seen = blurring.blur(image[None], blur, frame=512, seed=seed, image_ids=["a"])[0, 0]
        answer = (seen * 255 / 40).round().clamp(0, 4).byte().numpy()
        moves.append(best_shift(truth, answer, 5))
    # a shake's centroid is rounded to a pixel of the frame, so a draw may lean; the draws together must not
    assert np.abs(np.mean(moves, 0)).max() < 0.5, moves


def test_a_label_shift_of_one_pixel_is_detected():
    image, labels = block_images(1, 96).load(0)
    seen = blurring.blur(image[None], "D32", frame=512)[0, 0]
    answer = (seen * 255 / 40).round().clamp(0, 4).byte().numpy()
    for shift in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        assert best_shift(np.roll(labels.numpy(), shift, (0, 1)), answer, 5) == (-shift[0], -shift[1])


@pytest.mark.parametrize("symmetry", ["mirror", "square"])
def test_flips_and_turns_keep_image_and_labels_together(symmetry):
    maps = block_images()
    recipe = dataclasses.replace(RECIPE, mix="sharp", symmetry=symmetry)
    seen = set()
    for epoch in range(6):
        draws = segmenters.Draws(maps, recipe, epoch, None)
        for index in range(len(maps)):
            image, labels = draws[index]
            assert torch.equal((image[0] * 255 / 40).round().byte(), labels)
            seen.add(labels.numpy().tobytes())
    assert len(seen) == (2 if symmetry == "mirror" else 8)


@pytest.mark.parametrize("height, width", [(48, 80), (80, 48)])
def test_windows_keep_them_together_and_what_lies_beyond_a_narrow_image_is_void(height, width):
    generator = np.random.default_rng(1)
    truth = torch.from_numpy(generator.integers(0, 5, (height, width)).astype(np.uint8))
    image = (truth * 40 / 255).float().expand(3, -1, -1)
    maps = label_maps.LabelMaps("wide", tuple("abcde"), ("a",), lambda i: (image, truth), None, "f", "f")
    for epoch in range(8):
        recipe = dataclasses.replace(RECIPE, mix="sharp", symmetry="mirror", scale=48, window=64)
        picture, labels = segmenters.Draws(maps, recipe, epoch, None)[0]
        assert picture.shape == (3, 48, 64)
        assert labels.shape == (48, 64)
        known = labels != label_maps.VOID
        assert torch.equal((picture[0] * 255 / 40).round().byte()[known], labels[known])
        assert known.sum() == (48 * 64 if width > height else 48 * 48)


def test_a_smaller_map_has_its_labels_where_the_image_has_its_pixels():
    truth = torch.zeros(96, 96, dtype=torch.uint8)
    truth[:, 31:] = 4
    image = (truth * 40 / 255).float().expand(3, -1, -1)
    small, labels = segmenters.at_scale(image, truth, 48)
    assert small.shape[-2:] == labels.shape == (48, 48)
    grey = small[0, 0, 24] * 255 / 40
    assert abs(int((labels[24] == 4).nonzero()[0]) - int((grey > 2).nonzero()[0])) <= 1
    assert ((grey.round().byte() == labels[24]) | (grey % 4 > 0.01)).all()


def test_blur_touches_the_image_only():
    maps = block_images()
    blurred, sharp = (
        segmenters.Draws(maps, dataclasses.replace(RECIPE, mix=mix), 0, None)[0] for mix in ({"D64": 1}, {"sharp": 1})
    )
    assert torch.equal(blurred[1], sharp[1])
    assert not torch.allclose(blurred[0], sharp[0], atol=0.05)


# -- training


def test_head_only_leaves_the_backbone_and_end_to_end_does_not(tmp_path):
    maps = block_images()
    for whole in (False, True):
        network = small_network()
        start = models.fingerprint(network.backbone)
        recipe = dataclasses.replace(RECIPE, end_to_end=whole)
        network, about = segmenters.train(network, maps, recipe, store=tmp_path)
        assert (models.fingerprint(network.backbone) != start) == whole
        assert about["facts"]["end_to_end"] == whole
        again, _ = segmenters.train(small_network(), maps, recipe, store=tmp_path)
        assert models.fingerprint(again) == models.fingerprint(network)


def test_training_learns(tmp_path):
    recipe = dataclasses.replace(RECIPE, mix="sharp", epochs=40, batch=6, learning_rate=0.01, optimizer="adamw")
    network = zoomout.Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=32, dropout=0.0)
    _, about = segmenters.train(network, block_images(), recipe, store=tmp_path)
    assert about["loss"][-1] < 0.3 * about["loss"][0]


@pytest.mark.parametrize("whole", [False, True])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, whole):
    recipe = dataclasses.replace(RECIPE, end_to_end=whole)
    straight, _ = segmenters.train(small_network(), block_images(), recipe, store=tmp_path / "straight")
    save, saved = finetuning._save, []

    def die(path, module, optimizer, step, losses):
        save(path, module, optimizer, step, losses)
        saved.append(step)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "_save", die)
    with pytest.raises(KeyboardInterrupt):
        segmenters.train(small_network(), block_images(), recipe, store=tmp_path / "killed", checkpoint_seconds=0)
    (checkpoint,) = (tmp_path / "killed").rglob("checkpoint.pt")
    resumed, _ = segmenters.train(
        small_network(), block_images(), recipe, store=tmp_path / "killed", checkpoint_seconds=0
    )
    assert saved[:3] == [1, 2, 3], "it must go on, not begin again"
    assert models.fingerprint(resumed) == models.fingerprint(straight)
    assert not checkpoint.exists()


def test_void_pixels_teach_nothing(tmp_path):
    void = torch.full((32, 32), label_maps.VOID, dtype=torch.uint8)
    maps = dataclasses.replace(block_images(), load=lambda i: (torch.rand(3, 32, 32), void))
    recipe = dataclasses.replace(RECIPE, weight_decay=0.0)
    network = small_network()
    weight = network.head.first.weight.clone()
    network, about = segmenters.train(network, maps, recipe, store=tmp_path)
    assert set(about["loss"]) == {0.0}
    assert torch.equal(network.head.first.weight, weight)


def test_misuse_of_training_is_one_line(tmp_path):
    wrong = zoomout.Zoomout(models.load("vgg_mini", "none", 12), class_count=7, hidden=8)
    with pytest.raises(UserError, match="5 classes, zoomout of vgg_mini answers 7"):
        segmenters.train(wrong, block_images(), RECIPE, store=tmp_path)
    with pytest.raises(UserError, match="scale=0 is too small"):
        segmenters.train(small_network(), block_images(native=False), RECIPE, store=tmp_path)
    with pytest.raises(UserError, match="window=200 is more than twice"):
        segmenters.train(
            small_network(), block_images(), dataclasses.replace(RECIPE, scale=64, window=200), store=tmp_path
        )


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
        ({"band": 0}, "band=0"),
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
