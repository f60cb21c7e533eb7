"""A few images and kernels to look at."""

from types import SimpleNamespace

import numpy as np
import planted
import pytest
import torch

from blurnb.study import runs, specimens
from blurnb.study.chapters import rq1_degradation


@pytest.mark.parametrize("side, shown", [(None, 256), (48, 48)])
def test_the_sheet_shows_each_example_under_each_blur(monkeypatch, side, shown):
    images = planted.images(5, side, draw=lambda i: planted.noise(side or 60, side or 90, i))
    monkeypatch.setattr(runs, "opened_images", lambda *_: images)
    given = {"profile": "smoke", "dataset": "scenes", "frame": 64, "blurs": "sharp,D8"}
    sheet, rows, columns = specimens.examples(rq1_degradation.Parameters.validate(given), count=2)
    assert (rows, columns) == (["a", "e"], ["sharp", "D8"])  # the first and the last
    assert all(image.shape == (shown, shown, 3) for line in sheet for image in line)
    for sharp, soft in sheet:
        assert abs(soft.mean() - sharp.mean()) < 0.02
        assert soft.std() < sharp.std()


def test_places_are_spread_from_the_first_to_the_last():
    assert specimens.spread(9, 3).tolist() == [0, 4, 8]
    assert specimens.spread(2, 2).tolist() == [0, 1]


def test_the_square_is_the_middle():
    image = torch.arange(3 * 4 * 8, dtype=torch.float32).view(1, 3, 4, 8)
    np.testing.assert_array_equal(specimens.square(image), image[0, :, :, 2:6].permute(1, 2, 0).numpy())


def test_kernels_are_those_of_the_blurs():
    found, other = (specimens.kernels(SimpleNamespace(blurs=["sharp", "D8", "shake"], seed=seed)) for seed in (3, 4))
    assert list(found) == ["D8", "shake"]
    assert all(kernel.sum() == pytest.approx(1) for kernel in found.values())
    assert not np.array_equal(found["shake"], other["shake"])
