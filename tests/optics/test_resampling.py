"""Sizes, and 8 bits."""

import numpy as np
import PIL.Image
import pytest
import torch

from blurnb.optics import resampling


def test_a_resized_image_keeps_its_shape_and_gets_the_shorter_side():
    image = torch.rand(1, 3, 45, 90, generator=torch.Generator().manual_seed(0))
    assert resampling.resized(image, 32).shape == (1, 3, 32, 64)
    assert resampling.resized(image.transpose(2, 3), 32).shape == (1, 3, 64, 32)
    assert resampling.resized(image, 45) is image
    assert resampling.resized(torch.ones(1, 3, 500, 333), 64).sub(1).abs().max() < 1e-6


@pytest.mark.parametrize("resample", resampling.RESAMPLE)
@pytest.mark.parametrize("size", [(40, 30), (180, 135)])
def test_resizing_is_pillows_and_clipped_as_its_files_are(resample, size):
    values = np.random.default_rng(0).random((90, 120), np.float32).round()
    wanted = np.asarray(PIL.Image.fromarray(values).resize(size, PIL.Image.Resampling[resample.upper()]))
    found = resampling.resized(torch.from_numpy(values)[None, None], size[1], resample)[0, 0]
    assert wanted.max() > 1.001 or resample == "bilinear" or size[0] == 40
    np.testing.assert_allclose(found, wanted.clip(0, 1), atol=2e-5)


def test_bicubic_is_the_usual_way():
    image = torch.rand(1, 3, 45, 90, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resampling.resized(image, 32), resampling.resized(image, 32, "bicubic"))
    assert not torch.allclose(resampling.resized(image, 32), resampling.resized(image, 32, "bilinear"), atol=1e-3)


def test_rounded_is_what_a_file_of_8_bits_holds():
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    before = images.clone()
    found = resampling.rounded(images)
    assert torch.equal(images, before)
    assert torch.equal(found, (images.clamp(0, 1) * 255).round() / 255)
    assert torch.equal(resampling.rounded(found), found)


@pytest.mark.parametrize("levels", [255, 65535])
def test_bytes_stand_for_an_image_only_where_nothing_is_lost(levels):
    image = torch.arange(levels + 1).float().div(levels).repeat(3, 2, 1)
    kept = resampling.in_bytes(image)
    assert kept.dtype == (torch.uint8 if levels == 255 else torch.float32)
    assert torch.equal(resampling.in_floats(kept), image)
