"""What training sees: drawn anew in every epoch, the same whatever else is drawn, a map together with its image."""

from functools import partial

import numpy as np
import pytest
import torch

from blurnb.optics import blurring
from blurnb.recognition import label_maps
from blurnb.recognition.datasets import Dataset
from blurnb.study import confusion, draws
from blurnb.study.draws import Draws, MapDraws
from blurnb.study.recipes import Recipe, SegmentationRecipe

RECIPE = Recipe(mix={"sharp": 1, "D64": 2}, batch=8, max_shift=2)
MAPS = SegmentationRecipe(mix="mix", batch=4, augmentation="square")


def noise(side: tuple[int, int], index: int) -> torch.Tensor:
    return torch.rand(3, *side, generator=torch.Generator().manual_seed(index))


def images(count: int = 21, native_side: int | None = 16, side: tuple[int, int] = (16, 16)) -> Dataset:
    ids, labels = tuple(f"image {i}" for i in range(count)), tuple(i % 4 for i in range(count))
    return Dataset("noise", tuple("abcd"), ids, labels, partial(noise, side), native_side, f"noise {count} {side}")


def block_images(count=6, side=32, native=True):
    """Images whose red channel is their label map: 40 grey levels a label, so that any shift shows."""
    generator = np.random.default_rng(0)
    maps = [np.kron(generator.integers(0, 5, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)] * count
    images = [torch.from_numpy(m * 40 / 255).float().expand(3, -1, -1).clone() for m in maps]

    def load(index):
        return images[index], torch.from_numpy(maps[index].copy())

    ids = tuple(f"block{i}" for i in range(count))
    return Dataset("blocks", tuple("abcde"), ids, (), load, side if native else None, "f")


def test_a_training_image_depends_on_seed_epoch_and_identity_alone():
    drawn = Draws(images(), RECIPE, 1)
    assert torch.equal(drawn[5][0], Draws(images(40), RECIPE, 1)[5][0])
    assert not torch.equal(drawn[5][0], Draws(images(), RECIPE, 2)[5][0])
    assert not torch.equal(drawn[5][0], Draws(images(), RECIPE.model_copy(update={"seed": 1}), 1)[5][0])
    assert drawn[5][1] == 1


def test_a_training_on_blur_that_does_nothing_to_its_images_is_told_of_it():
    with pytest.warns(UserWarning, match="^D2.555 does nothing") as caught:
        list(Draws(images(3), RECIPE.model_copy(update={"mix": ["D2.555"]})))
    assert len(caught) == 1


def test_photographs_are_brought_to_the_frame_and_cropped():
    recipe = RECIPE.model_copy(update={"frame": 64, "mix": "sharp"})
    photographs = images(30, None, (40, 50))
    assert {tuple(Draws(photographs, recipe, 0)[i][0].shape) for i in range(4)} == {(3, 56, 56)}
    scaled = recipe.model_copy(update={"scale": 32})
    views = [Draws(photographs, scaled, 0)[i][0] for i in range(30)]
    assert {tuple(one.shape) for one in views} == {(3, 28, 28)}


def test_what_is_decoded_once_is_seen_as_what_is_decoded_anew(monkeypatch):
    for anew in (Draws(images(), RECIPE), MapDraws(block_images(), MAPS), MapDraws(block_images(native=False), MAPS)):
        held = anew.of(0)
        held.decoded = []
        held.decode()
        assert len(held.decoded) == len(anew)
        assert not anew.decoded
        for epoch in range(2):
            for one, other in zip(held.of(epoch)[3], anew.of(epoch)[3]):
                assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    monkeypatch.setattr(draws, "DECODED_BYTES", 1000)
    large = Draws(images(), RECIPE)
    large.decode()
    assert large.decoded == []


@pytest.mark.parametrize("device", ["meta", *(["cuda"] if torch.cuda.is_available() else [])])
def test_what_lies_on_a_device_is_drawn_there(device):
    for here in (Draws(images(), RECIPE), MapDraws(block_images(), MAPS)):
        there = here.of(0)
        there.decoded = []
        there.decode(device)
        seen, wanted = there[3][0], here[3][0]
        assert (seen.device.type, seen.shape) == (device, wanted.shape)
        assert device == "meta" or (seen.cpu() - wanted).abs().max() < 1e-3


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
    seeds = range(12) if blurring.parse(blur).is_random else range(1)
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


@pytest.mark.parametrize("augmentation", ["flip", "square"])
def test_flips_and_turns_keep_image_and_labels_together(augmentation):
    maps = block_images()
    recipe = MAPS.model_copy(update={"mix": "sharp", "augmentation": augmentation})
    seen = set()
    for epoch in range(6):
        drawn = MapDraws(maps, recipe, epoch)
        for index in range(len(maps)):
            image, labels = drawn[index]
            assert torch.equal((image[0] * 255 / 40).round().byte(), labels)
            seen.add(labels.numpy().tobytes())
    assert len(seen) == (2 if augmentation == "flip" else 8)


@pytest.mark.parametrize("height, width", [(48, 80), (80, 48)])
def test_windows_keep_them_together_and_what_lies_beyond_a_narrow_image_is_void(height, width):
    generator = np.random.default_rng(1)
    truth = torch.from_numpy(generator.integers(0, 5, (height, width)).astype(np.uint8))
    image = (truth * 40 / 255).float().expand(3, -1, -1)
    maps = Dataset("wide", tuple("abcde"), ("a",), (), lambda i: (image, truth), None, "f")
    for epoch in range(8):
        recipe = MAPS.model_copy(update={"mix": "sharp", "augmentation": "flip", "scale": 48, "crop_width": 64})
        picture, labels = MapDraws(maps, recipe, epoch)[0]
        assert picture.shape == (3, 48, 64)
        assert labels.shape == (48, 64)
        known = labels != label_maps.VOID
        assert torch.equal((picture[0] * 255 / 40).round().byte()[known], labels[known])
        assert known.sum() == (48 * 64 if width > height else 48 * 48)


def test_a_smaller_map_has_its_labels_where_the_image_has_its_pixels():
    truth = torch.zeros(96, 96, dtype=torch.uint8)
    truth[:, 31:] = 4
    image = (truth * 40 / 255).float().expand(3, -1, -1)
    small, labels = draws.at_scale(image, truth, 48, "bilinear")
    assert small.shape[-2:] == labels.shape == (48, 48)
    grey = small[0, 0, 24] * 255 / 40
    assert abs(int((labels[24] == 4).nonzero()[0]) - int((grey > 2).nonzero()[0])) <= 1
    assert ((grey.round().byte() == labels[24]) | (grey % 4 > 0.01)).all()


def test_blur_touches_the_image_only():
    maps = block_images()
    blurred, sharp = (MapDraws(maps, MAPS.model_copy(update={"mix": mix}), 0)[0] for mix in ({"D64": 1}, {"sharp": 1}))
    assert torch.equal(blurred[1], sharp[1])
    assert not torch.allclose(blurred[0], sharp[0], atol=0.05)


# -- without labels


def test_a_teacher_is_shown_what_was_there_before_the_blur_in_the_same_place():
    photographs, fields = images(12, None, (40, 50)), {"frame": 64, "scale": 32, "max_shift": 0}
    taught, mixes = {}, {"D32": {"D32": 1}, "sharp": "sharp"}
    for name, mix in mixes.items():
        recipe = Recipe(mix=mix, targets="teacher", **fields)
        taught[name] = [Draws(photographs, recipe, 3)[i] for i in range(12)]
    for (seen, sharp), (also, untouched) in zip(taught["D32"], taught["sharp"]):
        assert seen.shape == sharp.shape == (3, 28, 28)
        assert torch.equal(sharp, untouched)  # flipped and cut alike, whatever blurred its twin
        assert torch.equal(also, untouched)
        assert not torch.allclose(seen, sharp, atol=0.05)
    labelled = Draws(photographs, Recipe(mix={"D32": 1}, **fields), 3)
    assert torch.equal(labelled[5][0], taught["D32"][5][0])
    small = Draws(images(), Recipe(mix={"D64": 1}, targets="teacher", max_shift=2))[0]
    assert [tuple(one.shape) for one in small] == [(3, 16, 16)] * 2


def test_a_share_of_the_draws_is_sharp_and_the_others_keep_their_proportions():
    pool = dict(Draws(images(), Recipe(mix={"sharp": 1, "D8": 3, "G4": 1}, sharp_share=0.5)).pool)
    assert {one.label: weight for one, weight in pool.items()} == pytest.approx(
        {"sharp": 0.5, "D8": 0.375, "G4": 0.125}
    )
    shares = {one.label: weight for one, weight in Draws(images(), Recipe(mix="mix", sharp_share=0.5)).pool}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["sharp"] == 0.5
    assert shares["D8"] == pytest.approx(shares["G4"])
    assert Draws(images(), Recipe(mix="sharp", sharp_share=0.5)).pool == Draws(images(), Recipe(mix="sharp")).pool
