"""What is done to an image before a network sees it: what the method says, the same alone as among others."""

from dataclasses import replace

import numpy as np
import planted
import pytest
import torch

from blurnb.optics import blurring, deblurring, resampling
from blurnb.study import treatments
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import ANOTHER_DRAW, Condition, Treatment

SIDE = 48
PLAIN = Protocol(frame=SIDE)
WEIGHTS = {("wiener", 0.0): 1e-3, ("wiener", 0.01): 1e-2}
SMALL = {"methods": ["wiener"], "noises": [0.0, 0.01], "protocol": PLAIN}


def pixels(count=2):
    return torch.stack([planted.squares(SIDE, i) for i in range(count)])


# ------------------------------------------------------------------------------------------------ names


def test_a_treatment_is_nothing_but_its_columns():
    one = Condition(Treatment("D8", 0.01, method="wiener", kernel="D9"), "64+96", "mix")
    assert one.columns() == {
        "blur": "D8", "noise_sd": 0.01, "rounding": "none", "method": "wiener", "kernel": "D9",
        "scale": "64+96", "training": "mix",
    }  # fmt: skip
    assert one.treatment.captured == Treatment("D8", 0.01)
    assert one.sharp == Condition(Treatment("sharp", 0.01), "64+96", "mix")
    assert one.sharp.sharp == one.sharp


def test_conditions_are_every_blur_at_every_scale_each_once():
    made = treatments.conditions(["sharp", "D8.0", "D8"], ["48", "64"], "mix", "8-bit")
    assert made == [
        Condition(Treatment(blur, rounding="8-bit"), scale, "mix") for scale in ("48", "64") for blur in ("sharp", "D8")
    ]


def test_wrong_kernels_are_off_by_what_the_method_says():
    assert treatments.wrong_kernels("D8") == ["D6", "D7", "D9", "D10"]
    assert treatments.wrong_kernels("D2") == ["D1", "D3", "D4"]
    assert treatments.wrong_kernels("M21@30") == ["M21@45"]
    assert treatments.wrong_kernels("M21@170") == ["M21@5"]
    assert treatments.wrong_kernels("shake") == treatments.wrong_kernels("shake24") == [ANOTHER_DRAW]
    assert treatments.wrong_kernels("G4") == treatments.wrong_kernels("sharp") == []


# ------------------------------------------------------------------------------------------------ captures


def test_captured_images_have_the_noise_and_the_rounding_asked_for_and_one_image_the_same_alone():
    images = torch.full((2, 3, SIDE, SIDE), 0.5) + torch.tensor([0.0, 0.001]).view(2, 1, 1, 1)
    noisy = treatments.captured(images, Treatment("D3", 0.01), ["a", "b"], PLAIN)
    assert (noisy - images).std().item() == pytest.approx(0.01, rel=0.03)
    assert not torch.allclose(noisy[0] - images[0], noisy[1] - images[1], atol=1e-3)
    alone = treatments.captured(images[1:], Treatment("D3", 0.01), ["b"], PLAIN)
    assert torch.equal(noisy[1:], alone)  # noise is drawn by the image, whatever the batch
    for rounding in ("8-bit blur", "8-bit"):
        eighths = treatments.captured(images, Treatment("D3", rounding=rounding), ["a", "b"], PLAIN) * 255
        assert torch.allclose(eighths, eighths.round(), atol=1e-4)
    dark = treatments.captured(0 * images, Treatment("D3", 0.01), ["a", "b"], PLAIN)
    assert dark.min() == 0


def test_noise_depends_on_seed_image_and_blur():
    images = torch.full((1, 3, SIDE, SIDE), 0.5)
    drawn = [
        treatments.captured(images, Treatment(blur, 0.01), [name], Protocol(frame=SIDE, seed=seed))
        for blur, name, seed in (("D3", "a", 0), ("D4", "a", 0), ("D3", "b", 0), ("D3", "a", 1))
    ]
    assert not any(torch.allclose(drawn[0], other, atol=1e-3) for other in drawn[1:])


@pytest.mark.parametrize("rounding, after", [("none", False), ("8-bit blur", False), ("8-bit", True)])
def test_8_bit_rounds_after_the_resize_too(rounding, after):
    seen = treatments.captured(pixels(1), Treatment("D3", rounding=rounding), ["a"], PLAIN)
    small = treatments.at_side(seen, 31, torch.tensor([rounding == "8-bit"]), "bicubic") * 255
    assert torch.allclose(small, small.round(), atol=1e-4) == after


def test_only_the_flagged_images_are_rounded_after_the_resize():
    small = treatments.at_side(pixels(2), 31, torch.tensor([True, False]), "bicubic")
    plain = resampling.resized(pixels(2), 31)
    assert torch.equal(small[0], resampling.rounded(plain)[0])
    assert torch.equal(small[1], plain[1])


# ------------------------------------------------------------------------------------------------ restoration


def test_neighbours_that_differ_only_in_how_they_are_restored_share_a_capture(monkeypatch):
    captured, counted = treatments.captured, []
    monkeypatch.setattr(treatments, "captured", lambda *given: counted.append(given[1]) or captured(*given))
    plain, noisy = Treatment("D3"), Treatment("D3", 0.01)
    some = [
        plain, plain._replace(method="wiener", kernel="true"), plain._replace(method="wiener", kernel="D5"),
        noisy, noisy._replace(method="wiener", kernel="true"),
    ]  # fmt: skip
    shown = treatments.shown(pixels(), some, ["a", "b"], PLAIN, WEIGHTS)
    assert counted == [plain, noisy]
    assert shown.shape == (10, 3, SIDE, SIDE)
    for place, one in enumerate(some):  # treatment by treatment, each as it is alone
        alone = treatments.shown(pixels(), [one], ["a", "b"], PLAIN, WEIGHTS)
        assert torch.equal(shown[2 * place : 2 * place + 2], alone)


def given_to_the_restorer(monkeypatch, one, protocol=PLAIN):
    """The kernels, noise and weight that `deblur` is called with for two images of 48 pixels."""
    called = []
    monkeypatch.setattr(deblurring, "deblur", lambda images, *given: called.append(given) or images)
    treatments.restored(pixels(), one, ["a", "b"], protocol, WEIGHTS)
    ((kernels, method, noise, weight),) = called
    assert (method, noise, weight) == (one.method, one.noise_sd, WEIGHTS[one.method, one.noise_sd])
    return kernels


def test_the_true_kernel_is_that_of_the_blur_and_the_wrong_one_is_another(monkeypatch):
    protocol = Protocol(frame=2 * SIDE, seed=3)
    one = Treatment("shake24", method="wiener", kernel="true")
    right = given_to_the_restorer(monkeypatch, one, protocol)
    for kernel, name in zip(right, "ab"):
        assert np.array_equal(kernel, blurring.kernel_for("shake24", 0.5, 3, name))
    wrong = given_to_the_restorer(monkeypatch, one._replace(kernel=ANOTHER_DRAW), protocol)
    for mine, theirs in zip(right, wrong):
        assert mine.shape != theirs.shape or np.abs(mine - theirs).max() > 0.01
    given = given_to_the_restorer(monkeypatch, Treatment("D8", 0.01, method="wiener", kernel="D9"), protocol)
    assert np.array_equal(given[0], blurring.kernel_for("D9", 0.5))


def test_what_names_no_method_is_left_as_it_is():
    assert treatments.restored(pixels(), Treatment("D3"), ["a", "b"], PLAIN, {}).equal(pixels())


# ------------------------------------------------------------------------------------------------ weights


def test_tuned_weights_lie_on_the_grid_and_are_found_only_once(tmp_path):
    asked = []

    def draw(index):
        asked.append(index)
        return pixels(2)[index]

    images = planted.images(2, SIDE, draw=draw)
    given = {**SMALL, "images": images, "blurs": ["sharp", "D3"], "store": tmp_path}
    weights = treatments.tuned_weights(**given)
    assert set(weights) == {("wiener", 0.0), ("wiener", 0.01)}
    assert set(weights.values()) <= set(deblurring.GRIDS["wiener"])
    assert weights["wiener", 0.01] > weights["wiener", 0.0]
    assert treatments.tuned_weights(**given) == weights
    assert asked == [0, 1], "images are loaded where something is missing, and once"
    treatments.tuned_weights(**given | {"images": replace(images, listed="others")})
    assert asked == [0, 1, 0, 1]


def test_only_what_restores_brings_the_versions_of_restoration():
    plain = treatments.versions([Treatment("D8")])
    both = treatments.versions([Treatment("D8"), Treatment("D8", method="wiener")])
    assert "optics.deblurring" not in plain
    assert both.keys() - plain.keys() == {"optics.deblurring", "optics.borders", "optics.hyper_laplacian"}
