"""RandomBlur: draws what its mix names, as often as it says, on whatever torchvision passes through it."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binom
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from blurnb.errors import UserError
from blurnb.labels import SHARP_SHARE, learnt
from blurnb.optics import MIXES, RandomBlur, blur, parse
from blurnb.optics.transforms import draw_blur, parse_mix


def photographs(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# ----------------------------------------------------------------------------------------------- mixes


@pytest.mark.parametrize("name", MIXES)
def test_a_named_mix_is_a_distribution_over_valid_labels(name):
    pool = parse_mix(name)
    assert sum(probability for _, probability in pool) == pytest.approx(1)
    assert len({one.label for one, _ in pool}) == len(pool)
    share = sum(probability for one, probability in pool if one.family == "sharp")
    assert share == pytest.approx(1 if name == "sharp" else SHARP_SHARE)


@pytest.mark.parametrize("training", [*MIXES, "D8", "D8+G4"])
def test_what_a_training_draws_from_is_what_it_is_said_to_have_seen(training):
    pool = {one.label for one, _ in parse_mix(training.split("+") if "+" in training else training)}
    grids = {"shake8", "shake16", "shake24"}
    assert learnt([training]) == pool | ({"shake"} if grids <= pool else set())  # shake is one of the three at random


def test_the_mix_gives_every_family_the_same_weight():
    shares = {}
    for one, probability in parse_mix("mix"):
        shares[one.family] = shares.get(one.family, 0) + probability
    assert shares == pytest.approx(dict.fromkeys(["sharp", "defocus", "motion", "shake", "gaussian"], 0.2))


@pytest.mark.parametrize("mix", ["mix", "defocus", ["D8", "G4"], {"sharp": 1, "D8": 2.5, "M21@30": 0.5, "D2": 0}])
def test_draws_come_as_often_as_the_mix_says(mix):
    pool, count = parse_mix(mix), 3000
    generator = np.random.default_rng(1)
    drawn = [draw_blur(pool, generator).label for _ in range(count)]
    assert set(drawn) <= {one.label for one, _ in pool}
    for one, probability in pool:
        low, high = binom.interval(1 - 1e-5, count, probability)
        assert low <= drawn.count(one.label) <= high


def test_a_weight_of_zero_is_never_drawn():
    class Largest:  # the number closest to 1 that a generator can give
        def random(self):
            return np.nextafter(1, 0)

    assert draw_blur(parse_mix([("D8", 1), ("D2", 0)]), Largest()).label == "D8"


@pytest.mark.parametrize(
    "mix, labels",
    [
        ("D8", ["D8"]),
        (["shake"], ["shake"]),
        ([("D8", 3), ("sharp", 1)], ["D8", "sharp"]),
        ([parse("D8")], ["D8"]),
    ],
)
def test_other_ways_to_say_a_mix(mix, labels):
    assert [one.label for one, _ in parse_mix(mix)] == labels


@pytest.mark.parametrize(
    "mix, hint",
    [
        ([], "empty"),
        ({}, "empty"),
        ("", "mix"),
        ("defcus", "defocus"),
        ("D8x", "D8"),
        (["D8", "D9x"], "D9x"),
        ({"D8": -1}, "D8"),
        ({"D8": float("nan")}, "D8"),
        ({"D8": 0}, "sum to 0"),
        ({"D8": "2"}, "weight"),
        ([3], "pair"),
        (None, "mix"),
    ],
)
def test_a_bad_mix_is_one_line(mix, hint):
    with pytest.raises(UserError) as caught:
        RandomBlur(mix)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- transform


def test_the_transform_blurs_with_the_kernel_that_the_label_names():
    image = photographs(3, 64, 80)
    assert torch.equal(RandomBlur("D16")(image), blur(image, "D16"))
    assert torch.equal(RandomBlur("D16", frame=256, border="circular")(image), blur(image, "D32", border="circular"))


def test_a_draw_that_does_nothing_to_the_images_is_said_by_name():
    with pytest.warns(UserWarning, match="^D2.444 does nothing .* smaller frame") as caught:
        RandomBlur(["D2.444"])(photographs(5, 3, 96, 96))
    assert len(caught) == 1


def test_a_batch_gets_a_draw_per_image():
    torch.manual_seed(0)
    images = photographs(1, 3, 48, 48).repeat(300, 1, 1, 1)
    result = RandomBlur({"sharp": 1, "D24": 1, "G30": 2})(images)
    expected = {label: blur(images[0], label) for label in ("sharp", "D24", "G30")}
    counts = {label: sum(torch.equal(one, twin) for one in result) for label, twin in expected.items()}
    assert sum(counts.values()) == 300
    for label, probability in (("sharp", 0.25), ("D24", 0.25), ("G30", 0.5)):
        low, high = binom.interval(1 - 1e-5, 300, probability)
        assert low <= counts[label] <= high


def test_every_shake_is_fresh_in_the_batch_and_in_time():
    images = photographs(1, 3, 64, 64).repeat(4, 1, 1, 1)
    shaken = RandomBlur(["shake"], frame=64)
    results = [*shaken(images), *shaken(images)]
    for i, one in enumerate(results):
        assert not any(torch.equal(one, other) for other in results[:i])


def test_torchs_seed_repeats_the_draws():
    transform, images = RandomBlur("mix"), photographs(6, 3, 64, 64)
    torch.manual_seed(5)
    first = [transform(images), transform(images)]
    torch.manual_seed(5)
    assert torch.equal(transform(images), first[0])
    assert torch.equal(transform(images), first[1])
    assert not torch.equal(first[0], first[1])


def test_zero_probability_of_blur_changes_no_bit():
    images = photographs(4, 3, 32, 32)
    assert torch.equal(RandomBlur({"sharp": 1, "D8": 0})(images), images)
    pil = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert np.array_equal(RandomBlur("sharp")(pil), pil)


def test_bytes_in_bytes_out_rounded():
    pixels = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    result = RandomBlur("D24")(pixels)
    assert result.dtype == torch.uint8
    exact = blur(pixels / 255, "D24") * 255
    assert (result - exact).abs().max() <= 0.5001


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pil(mode):
    pil = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).convert(mode)
    result = RandomBlur("D32")(pil)
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size) == (pil.mode, pil.size)
    assert np.asarray(result).std() < 0.8 * np.asarray(pil).std()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_keep_their_type(dtype):
    assert RandomBlur("D16")(photographs(3, 32, 32).to(dtype)).dtype == dtype


def test_masks_boxes_and_labels_are_left_alone():
    image = tv_tensors.Image(photographs(3, 64, 64))
    mask = tv_tensors.Mask(torch.randint(0, 5, (64, 64)))
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[1, 2, 3, 4]]), format="XYXY", canvas_size=(64, 64))
    out = RandomBlur("D32")({"image": image, "mask": mask, "boxes": boxes, "label": 3, "weight": torch.ones(2)})
    assert isinstance(out["image"], tv_tensors.Image)
    assert not torch.equal(out["image"], image)
    assert out["mask"] is mask
    assert out["boxes"] is boxes
    assert out["label"] == 3
    assert torch.equal(out["weight"], torch.ones(2))


def test_a_plain_tensor_and_its_label():
    image, label = RandomBlur("D32")(photographs(3, 64, 64), torch.tensor(7))
    assert not torch.equal(image, photographs(3, 64, 64))
    assert label == 7


def test_it_composes_and_pickles():
    chain = v2.Compose([v2.RandomHorizontalFlip(), RandomBlur("mix"), v2.ToDtype(torch.float32, scale=True)])
    twin = pickle.loads(pickle.dumps(chain))
    pixels = torch.randint(0, 256, (5, 3, 48, 48), dtype=torch.uint8)
    torch.manual_seed(1)
    first = chain(pixels)
    torch.manual_seed(1)
    assert torch.equal(twin(pixels), first)
    assert "mix=mix" in repr(chain)


@pytest.mark.parametrize(
    "sample, hint",
    [
        (torch.zeros(3, 8, 8, dtype=torch.int32), "int32"),
        (torch.zeros(8, 8), "(8, 8)"),
        (Image.new("P", (8, 8)), "convert"),
        (tv_tensors.Video(torch.zeros(2, 3, 8, 8)), "video"),
    ],
)
def test_what_it_cannot_blur_is_said_in_one_line(sample, hint):
    with pytest.raises(UserError, match="RandomBlur") as caught:
        RandomBlur("D8")(sample)
    assert hint in str(caught.value)


class OnePhotograph(Dataset):
    """The same image over and over, so that what differs is the draw."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.transform(photographs(3, 32, 32))


def test_the_loaders_seed_decides_in_every_worker():
    # The parent blurs first: what the engine keeps for a process (threads, plans) must survive the fork.
    data = OnePhotograph(RandomBlur(["shake"], frame=64))
    data[0]
    runs = []
    for seed in (3, 3, 4):
        loader = DataLoader(data, batch_size=2, num_workers=2, generator=torch.Generator().manual_seed(seed))
        runs.append(torch.cat(list(loader)))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    for i, one in enumerate(runs[0]):
        assert not any(torch.equal(one, other) for other in runs[0][:i])


@pytest.mark.parametrize(
    "mix",
    [
        10**5000,
        [10**5000],
        {"D8": 10**400},
        {"D8": 1e308, "D4": 1e308},
        [("D8", 10**5000)],
        [((10**5000,), None)],
        "9" * 5000,
    ],
    ids=range(7),
)
def test_a_mix_of_numbers_that_cannot_be_printed_is_one_line(mix):
    with pytest.raises(UserError, match="mix") as caught:
        parse_mix(mix)
    assert len(str(caught.value)) < 3000
