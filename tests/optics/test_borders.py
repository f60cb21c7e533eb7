"""What an image is given beyond its border, before a method takes it as periodic."""

import numpy as np
import pytest
import skimage.data
import torch

from blurnb.optics import borders, hyper_laplacian
from blurnb.optics.blurring import blur
from blurnb.optics.deblurring import deblur, psnr
from blurnb.optics.kernels import defocus, linear_motion

pytest.importorskip("deepinv")


def photograph(side: int = 160) -> torch.Tensor:
    """Photographs that scikit-image ships inside its wheel: (2, 3, side, side)."""
    crops = [image[60 : 60 + side, 150 : 150 + side, :3] for image in (skimage.data.astronaut(), skimage.data.coffee())]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def to_8_bits(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round() / 255


def test_fill_solves_the_problem_without_a_border():
    """Against dense least squares over all pixels of a small periodic scene, of which only the inside was seen."""
    image, kernel, weight = photograph(12)[:1, :1], defocus(1.5), 0.01
    filters = torch.from_numpy(kernel)[None, None]
    extended, rim = borders.extend(image, filters, "liu_jia")
    filled = borders.fill(extended, filters, rim, weight, iterations=60)
    shape = extended.shape[-2:]
    basis = torch.eye(shape[0] * shape[1]).reshape(-1, 1, *shape)
    matrix = torch.fft.irfft2(torch.fft.rfft2(basis) * borders.transfer_function(filters, shape), s=shape)
    matrix = matrix.reshape(len(basis), -1).T.double().numpy()
    slopes = weight**0.5 * hyper_laplacian.gradients(basis).transpose(1, 0).reshape(len(basis), -1).T.double().numpy()
    seen = np.zeros(shape, bool)
    seen[rim[0] : -rim[0], rim[1] : -rim[1]] = True
    left = np.concatenate([matrix[seen.ravel()], slopes])
    right = np.concatenate([image.numpy().ravel(), np.zeros(len(slopes))])
    sharp = np.linalg.lstsq(left, right, rcond=None)[0]
    wanted = np.where(seen, extended.numpy()[0, 0], (matrix @ sharp).reshape(shape))
    np.testing.assert_allclose(filled.numpy()[0, 0], wanted, atol=2e-3)


def test_fill_is_the_best_border_for_a_cropped_scene():
    scene, kernel = photograph(192), linear_motion(15, 30)
    inside = np.s_[..., 32:-32, 32:-32]
    blurred, sharp = to_8_bits(blur(scene, kernel)[inside]), scene[inside]
    found = {b: psnr(deblur(blurred, kernel, "wiener", border=b), sharp).mean() for b in borders.BORDERS}
    assert found["fill"] > max(value for border, value in found.items() if border != "fill") + 1
    assert found["circular"] < psnr(blurred, sharp).mean()  # without any care the method makes things worse


@pytest.mark.parametrize("border", borders.BORDERS)
def test_an_extended_image_holds_the_image_where_it_says(border):
    images, filters = photograph(24)[:, :, :, :20], torch.from_numpy(defocus(2))[None, None]
    extended, (top, left) = borders.extend(images, filters, border)
    inside = extended[..., top : top + 24, left : left + 20]
    assert (inside - images).abs().max() <= 1e-6
