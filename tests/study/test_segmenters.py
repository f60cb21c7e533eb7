"""Training of segmenters: it learns, leaves alone what it must, resumes to the bit, and says what does not fit."""

import dataclasses

import numpy as np
import pytest
import torch

from blurnb.errors import UserError
from blurnb.recognition import label_maps, models, zoomout
from blurnb.recognition.datasets import Dataset
from blurnb.study import segmenters, training
from blurnb.study.recipes import SegmentationRecipe

RECIPE = SegmentationRecipe(mix="mix", epochs=2, batch=4, learning_rate=0.01, augmentation="square")


def block_images(count=6, side=32, native=True):
    """Images whose red channel is their label map: 40 grey levels a label, so that any shift shows."""
    generator = np.random.default_rng(0)
    maps = [np.kron(generator.integers(0, 5, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)] * count
    images = [torch.from_numpy(m * 40 / 255).float().expand(3, -1, -1).clone() for m in maps]

    def load(index):
        return images[index], torch.from_numpy(maps[index].copy())

    ids = tuple(f"block{i}" for i in range(count))
    return Dataset("blocks", tuple("abcde"), ids, (), load, side if native else None, "f")


def small_network():
    return zoomout.Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=8)


def test_head_only_leaves_the_backbone_and_end_to_end_does_not(tmp_path):
    maps = block_images()
    for whole in (False, True):
        network = small_network()
        start = models.fingerprint(network.backbone)
        recipe = RECIPE.model_copy(update={"end_to_end": whole})
        network, about = segmenters.train(network, maps, recipe, store=tmp_path)
        assert (models.fingerprint(network.backbone) != start) == whole
        assert about["facts"]["end_to_end"] == whole
        again, _ = segmenters.train(small_network(), maps, recipe, store=tmp_path)
        assert models.fingerprint(again) == models.fingerprint(network)


def test_training_learns(tmp_path):
    recipe = RECIPE.model_copy(
        update={"mix": "sharp", "epochs": 40, "batch": 6, "learning_rate": 0.01, "optimizer": "adamw"}
    )
    network = zoomout.Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=32, dropout=0.0)
    _, about = segmenters.train(network, block_images(), recipe, store=tmp_path)
    assert about["loss"][-1] < 0.3 * about["loss"][0]


@pytest.mark.parametrize("whole", [False, True])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, whole):
    recipe = RECIPE.model_copy(update={"end_to_end": whole})
    straight, _ = segmenters.train(small_network(), block_images(), recipe, store=tmp_path / "straight")
    save, saved = training.save, []

    def die(path, module, optimizer, step, losses):
        save(path, module, optimizer, step, losses)
        saved.append(step)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "save", die)
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
    recipe = RECIPE.model_copy(update={"weight_decay": 0.0})
    network = small_network()
    weight = network.head.first.weight.clone()
    network, about = segmenters.train(network, maps, recipe, store=tmp_path)
    assert set(about["loss"]) == {0.0}
    assert torch.equal(network.head.first.weight, weight)


def test_misuse_of_training_is_one_line(tmp_path):
    with pytest.raises(UserError, match="crop_width=200 is twice scale=64 or more"):
        segmenters.train(
            small_network(), block_images(), RECIPE.model_copy(update={"scale": 64, "crop_width": 200}), store=tmp_path
        )
