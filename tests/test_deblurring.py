"""Restorations are right before they are compared."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import skimage.data
import skimage.restoration
import torch

from blurnb.errors import UserError
from blurnb.optics import deblurring, hyper_laplacian
from blurnb.optics.blurring import blur
from blurnb.optics.deblurring import deblur, psnr
from blurnb.optics.kernels import camera_shake, defocus

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


# dB gained on the 8-bit-free D4 photographs; the margins are about two thirds of what was measured.
@pytest.mark.parametrize("method, margin", [("wiener", 1.5), ("richardson_lucy", 2), ("tv", 1), ("krishnan_fergus", 3)])
def test_gains_on_noiseless_defocus(method, margin):
    sharp = photograph()
    blurred = blur(sharp, defocus(4))
    gain = psnr(deblur(blurred, defocus(4), method), sharp) - psnr(blurred, sharp)
    assert gain.min() > margin


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
    together = deblur(images, kernels, method)
    alone = torch.stack([deblur(image, kernel, method) for image, kernel in zip(images, kernels)])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=0)


@pytest.mark.parametrize("alpha", hyper_laplacian.ALPHAS)
@pytest.mark.parametrize("beta", [1.0, 8.0, 181.0])
def test_shrink_is_the_minimum(alpha, beta):
    values = torch.linspace(-2, 2, 41)
    grid = np.linspace(-2.2, 2.2, 440001)
    for v, w in zip(values.tolist(), hyper_laplacian.shrink(values, beta, alpha).tolist()):
        cost = np.abs(grid) ** alpha + beta / 2 * (grid - v) ** 2
        assert abs(w) ** alpha + beta / 2 * (w - v) ** 2 <= cost.min() + 1e-6


def test_image_step_is_the_direct_minimum():
    generator = torch.Generator().manual_seed(0)
    blurred = torch.rand(1, 1, 8, 7, generator=generator, dtype=torch.float64)
    auxiliary = torch.randn(2, 1, 1, 8, 7, generator=generator, dtype=torch.float64)
    kernel = torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    transfer = deblurring.transfer_function(kernel / kernel.sum(), (8, 7))
    strength = 0.3

    def cost(flat):
        x = torch.tensor(flat.reshape(1, 1, 8, 7), requires_grad=True)
        misfit = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=(8, 7)) - blurred
        value = (misfit**2).sum() / 2 + strength / 2 * ((hyper_laplacian.gradients(x) - auxiliary) ** 2).sum()
        value.backward()
        return value.item(), x.grad.numpy().ravel()

    direct = scipy.optimize.minimize(cost, np.zeros(56), jac=True, method="BFGS", options={"gtol": 1e-10}).x
    ours = hyper_laplacian.image_step(
        auxiliary,
        torch.fft.rfft2(blurred) * transfer.conj(),
        transfer.abs().square(),
        hyper_laplacian.gradient_power(8, 7, blurred),
        strength,
    )
    np.testing.assert_allclose(ours.numpy().ravel(), direct, atol=1e-7)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kernel": defocus(20)}, "larger than the image"),
        ({"kernel": defocus(2) * 2}, "sums to 2"),
        ({"kernel": np.full((2, 2), 0.25)}, "square odd"),
        ({"kernel": np.full((3, 3), np.nan)}, "NaN"),
        ({"kernel": [defocus(2)] * 3}, "3 kernels for 1 images"),
        ({"noise_sd": -0.1}, "noise_sd"),
        ({"noise_sd": float("nan")}, "noise_sd"),
        ({"method": "weiner"}, "did you mean wiener"),
        ({"border": "tapper"}, "did you mean taper"),
        ({"weight": -1.0}, "weight"),
        ({"pryor": "flat"}, "did you mean prior"),
        ({"images": torch.full((3, 32, 32), float("nan"))}, "NaN"),
        ({"images": torch.zeros(3, 32, 32, dtype=torch.uint8)}, "floating-point"),
        ({"images": torch.zeros(1, 32, 32)}, "shape"),
    ],
)
def test_bad_input_is_one_line(change, words):
    arguments = {"images": torch.rand(3, 32, 32), "kernel": defocus(2), "method": "wiener"} | change
    with pytest.raises(UserError, match=words) as caught:
        deblur(**arguments)
    assert "\n" not in str(caught.value)
