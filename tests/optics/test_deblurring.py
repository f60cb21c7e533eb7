"""Restorations are right before they are compared."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import skimage.data
import skimage.restoration
import torch

from blurnb.errors import UserError
from blurnb.optics import deblurring, hyper_laplacian
from blurnb.optics.blurring import blur
from blurnb.optics.deblurring import deblur, psnr, tune
from blurnb.optics.kernels import camera_shake, defocus, linear_motion

pytest.importorskip("deepinv")


@pytest.fixture(autouse=True)
def _one_thread():
    """Images this small are slower on two threads than on one, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


FAST = ("wiener", "krishnan_fergus", "richardson_lucy", "tv")


def photograph(side: int = 160) -> torch.Tensor:
    """Photographs that scikit-image ships inside its wheel: (2, 3, side, side)."""
    crops = [image[60 : 60 + side, 150 : 150 + side, :3] for image in (skimage.data.astronaut(), skimage.data.coffee())]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def to_8_bits(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round() / 255


# dB; each margin is about two thirds of what was measured when it was written.
@pytest.mark.parametrize("method, margin", [("wiener", 2), ("richardson_lucy", 2), ("tv", 2), ("krishnan_fergus", 3)])
def test_gains_on_noiseless_defocus(method, margin):
    sharp = photograph()
    blurred = blur(sharp, defocus(4))
    gain = psnr(deblur(blurred, defocus(4), method), sharp) - psnr(blurred, sharp)
    assert gain.min() > margin


@pytest.mark.parametrize("kernel", [defocus(4), linear_motion(15, 30)], ids=["defocus", "motion"])
def test_krishnan_fergus_is_not_below_total_variation(kernel):
    """Each at its best weight, and level within 0.1 dB.

    On sharp photographs the paper's six betas stop early for motion: 0.25 dB, which two more betas win back.
    """
    sharp = photograph(128)
    blurred = to_8_bits(blur(sharp, kernel))

    def best(method, weights, **options):
        return max(psnr(deblur(blurred, kernel, method, weight=w, **options), sharp).mean() for w in weights)

    theirs = best("tv", (4e-5, 8e-5))
    weights = (1e-5, 2e-5, 4e-5, 8e-5)
    assert best("krishnan_fergus", weights, betas=(*hyper_laplacian.BETAS, 512, 1448)) >= theirs - 0.1
    assert best("krishnan_fergus", weights) >= theirs - 0.4


def test_wiener_is_the_formula_in_float64():
    image, kernel, weight = photograph(48)[0], camera_shake(2, 8), 0.003
    spectrum = np.fft.fft2(image.numpy().astype(np.float64))
    half = len(kernel) // 2
    offsets = np.arange(-half, half + 1)
    # The transfer function straight from its definition, not by an FFT.
    wave_rows = np.exp(-2j * np.pi * np.outer(np.arange(48) / 48, offsets))
    transfer = wave_rows @ kernel.astype(np.float64) @ wave_rows.T
    ridge = np.abs(1 - np.exp(2j * np.pi * np.arange(48) / 48)) ** 2
    wanted = transfer.conj() * spectrum / (np.abs(transfer) ** 2 + weight * (ridge[:, None] + ridge))
    wanted = np.fft.ifft2(wanted).real.clip(0, 1)
    ours = deblur(image, kernel, "wiener", weight=weight, border="circular")
    np.testing.assert_allclose(ours.numpy(), wanted, atol=2e-4)


def test_richardson_lucy_agrees_with_scikit_image():
    sharp, kernel = photograph(96)[0], defocus(2)
    blurred = blur(sharp, kernel)
    ours = deblur(blurred, kernel, "richardson_lucy", weight=60)
    wanted = [skimage.restoration.richardson_lucy(channel, kernel, 60) for channel in blurred.numpy()]
    inside = np.s_[..., 16:-16, 16:-16]  # scikit-image takes the world beyond the border as black
    assert np.abs(ours.numpy()[inside] - np.array(wanted)[inside]).mean() < 0.01


@pytest.mark.parametrize("method", FAST)
def test_kernel_of_one_pixel_returns_the_image(method):
    sharp = photograph(32)
    dot = np.zeros((5, 5), np.float32)
    dot[2, 2] = 1
    assert torch.equal(deblur(sharp, dot, method), sharp)
    assert torch.equal(deblur(sharp, np.ones((1, 1), np.float32), method), sharp)


@pytest.mark.parametrize("method", FAST)
def test_batch_is_one_by_one(method):
    kernels = [defocus(2), camera_shake(1, 8), defocus(2), np.ones((1, 1), np.float32)]
    images = blur(photograph(64).repeat(2, 1, 1, 1), kernels)
    weight = 20 if method == "richardson_lucy" else None  # 200 iterations would prove no more
    together = deblur(images, kernels, method, weight=weight)
    alone = torch.stack([deblur(image, kernel, method, weight=weight) for image, kernel in zip(images, kernels)])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=0)


def test_tune_finds_more_weight_for_more_noise(monkeypatch):
    weights = [1e-5, 1e-4, 1e-3, 1e-2]
    monkeypatch.setitem(deblurring.GRIDS, "wiener", weights)
    quiet, loud = (tune(photograph(64), [defocus(2)], "wiener", sd) for sd in (0.0, 0.03))
    assert quiet.weight < loud.weight
    assert set(quiet.psnr) == set(weights)
    assert quiet.psnr[quiet.weight] == max(quiet.psnr.values())


def test_default_weights_lie_on_the_tuned_ones():
    for method, table in deblurring.WEIGHTS.items():
        for noise_sd, weight in table.items():
            assert deblurring.default_weight(method, noise_sd) == pytest.approx(weight)
        assert deblurring.default_weight(method, 0.0) == pytest.approx(table[deblurring.EIGHT_BIT_SD])


def test_epll_says_what_file_to_get(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="GMM_BSDS_color2.pt") as caught:
        deblur(photograph(32), defocus(2), "epll")
    assert "\n" not in str(caught.value)


def test_epll_gains_with_a_small_prior_of_our_own(tmp_path):
    import deepinv

    torch.manual_seed(0)
    sharp = photograph(64)
    patches = torch.nn.functional.unfold(photograph(160)[1:], 3).transpose(1, 2).reshape(-1, 27)[::7]
    model = deepinv.optim.EPLL(n_components=5, pretrained=None, patch_size=3, channels=3)
    model.GMM.fit(torch.utils.data.DataLoader([{"x": patch} for patch in patches], batch_size=1000), max_iters=5)
    torch.save(model.state_dict(), tmp_path / "prior.pt")
    blurred = blur(sharp, defocus(2)) + 0.01 * torch.randn(sharp.shape)
    restored = deblur(blurred, defocus(2), "epll", 0.01, prior_file=tmp_path / "prior.pt")
    assert (psnr(restored, sharp) - psnr(blurred, sharp)).min() > 0.2  # 5 components cannot do more


def test_without_deepinv_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    image = photograph(32)
    with pytest.raises(UserError, match="pip install"):
        deblur(image, defocus(2), "wiener")
    assert deblur(image, defocus(2), "krishnan_fergus", border="circular").shape == image.shape  # ours needs none of it


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kernel": defocus(20)}, "larger than the image"),
        ({"kernel": defocus(2) * 2}, "sum to 1"),
        ({"kernel": np.full((2, 2), 0.25)}, "odd sides"),
        ({"kernel": np.full((1, 3), 1 / 3)}, "square odd"),
        ({"kernel": np.full((3, 3), np.nan)}, "finite"),
        ({"kernel": [defocus(2)] * 3}, "3 kernels for 1 images"),
        ({"noise_sd": -0.1}, "noise_sd"),
        ({"noise_sd": float("nan")}, "noise_sd"),
        ({"method": "weiner"}, "did you mean wiener"),
        ({"border": "fil"}, "did you mean fill"),
        ({"weight": -1.0}, "weight"),
        ({"method": "tv", "iteration": 9}, "did you mean iterations"),
        ({"images": torch.full((3, 32, 32), float("nan"))}, "NaN"),
        ({"images": torch.zeros(3, 32, 32, dtype=torch.uint8)}, "float tensor"),
        ({"images": torch.zeros(1, 32, 32)}, "shape"),
    ],
)
def test_bad_input_is_one_line(change, words):
    arguments = {"images": torch.rand(3, 32, 32), "kernel": defocus(2), "method": "wiener"} | change
    with pytest.raises(UserError, match=words) as caught:
        deblur(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [{"noise_sd": 10**400}, {"noise_sd": 2.0}, {"weight": "x"}, {"weight": []}, {"weight": 10**400}, {"method": []}],
)
def test_an_option_of_a_wrong_type_or_size_is_one_line_that_names_it(option):
    with pytest.raises(UserError, match=next(iter(option))):
        deblur(torch.rand(1, 3, 24, 24), defocus(2), **option)
