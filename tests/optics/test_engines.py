"""Every way to convolve gives what SciPy gives in float64, the same to the bit for every split of the work."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from blurnb.errors import UserError
from blurnb.optics import blur, camera_shake, defocus, engines, gaussian, linear_motion
from blurnb.optics.plans import plan_for

LEVEL = 1 / 255
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def dense(size: int) -> np.ndarray:
    weights = np.random.default_rng(size).random((size, size)).astype(np.float32)
    return weights / weights.sum()


KERNELS = {
    "one row": np.pad(np.full((1, 13), 1 / 13, np.float32), ((6, 6), (0, 0))),
    "one column of 61": np.pad(np.full((61, 1), 1 / 61, np.float32), ((0, 0), (30, 30))),
    "one tap, off centre": np.eye(5, 5, 1, dtype=np.float32) * np.float32([[0], [0], [1], [0], [0]]),
    "box 3": np.full((3, 3), 1 / 9, np.float32),
    "dense 9": dense(9),
    "D2": defocus(2),
    "D8": defocus(8),
    "D15": defocus(15),
    "box 21": np.full((21, 21), 1 / 441, np.float32),
    "G1": gaussian(1),
    "G4": gaussian(4),
    "G7.3": gaussian(7.3),
    "M21": linear_motion(21, 30),
    "shake": camera_shake(1, 24),
    "tent, down and across": np.outer(np.bartlett(23)[1:-1], np.bartlett(23)[1:-1]).astype(np.float32) / 121**2 * 121,
    "dense 31": dense(31),
    "5 x 9": np.full((5, 9), 1 / 45, np.float32),
}
LOOPS = ("box 3", "M21", "shake", "D8", "G7.3", "tent, down and across", "dense 31")
"""One kernel or more for each loop."""


def hard_images(count: int, height: int, width: int) -> torch.Tensor:
    """Checkerboards, bars and noise in black and white: where 16-bit weights and sums show most."""
    generator = np.random.default_rng(height)
    y, x = np.mgrid[:height, :width]
    noise = generator.random((height, width))
    planes = [(x + y) % 2, noise > 0.5, noise, (x // 9) % 2, np.full_like(noise, 0.3), (y // 5 + x // 7) % 2]
    images = np.stack([np.roll(np.stack(planes[i % 2 :: 2]), i, axis=1) for i in range(count)])
    return torch.from_numpy(images.astype(np.float32))


def reference(images: torch.Tensor, kernel: np.ndarray, border: str = "reflect") -> np.ndarray:
    half_y, half_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    margins = ((0, 0), (0, 0), (half_y, half_y), (half_x, half_x))
    wide = np.pad(images.double().numpy(), margins, mode=PAD_MODES[border])
    return fftconvolve(wide, kernel[None, None].astype(np.float64), mode="valid")


@pytest.mark.parametrize("border", PAD_MODES)
@pytest.mark.parametrize("name", KERNELS)
def test_within_a_tenth_of_a_level_of_float64(name, border):
    kernel = KERNELS[name] / KERNELS[name].sum()
    images = hard_images(2, 75, 107)
    error = np.abs(blur(images, kernel, border=border).numpy() - reference(images, kernel, border)).max()
    assert error < 0.1 * LEVEL


@pytest.mark.parametrize("sigma", [3, 4.4, 5, 7.7, 9.2, 12, 14])
def test_a_wide_gaussian_is_made_at_few_rows_and_still_within_a_tenth(sigma):
    kernel, images = gaussian(sigma), hard_images(2, 131, 150)
    plan = plan_for(kernel)
    assert plan.loop == "convolve_separably"
    assert plan.arguments[0] >= sigma / 2  # rows from one to the next
    assert np.abs(blur(images, kernel).numpy() - reference(images, kernel)).max() < 0.1 * LEVEL


@pytest.mark.parametrize("border", PAD_MODES)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", KERNELS)
def test_torchs_path_agrees_with_float64(name, device, border):
    # On the processor, the path that a GPU takes.
    kernel = KERNELS[name] / KERNELS[name].sum()
    images = hard_images(3, 64, 81)
    result = blur(images.to(device), kernel, engine="torch", border=border).cpu()
    assert np.abs(result.numpy() - reference(images, kernel, border)).max() < 0.01 * LEVEL


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("half", ["small", "large"])
def test_torchs_path_takes_a_kernel_per_image(half, device):
    kernels = [defocus(1), dense(5), defocus(0.3)] if half == "small" else [defocus(6), dense(15), defocus(2)]
    images = hard_images(3, 64, 81)
    result = blur(images.to(device), kernels, engine="torch").cpu().numpy()
    for i, kernel in enumerate(kernels):
        assert np.abs(result[i : i + 1] - reference(images[i : i + 1], kernel)).max() < 0.01 * LEVEL


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", engines.WAYS)
def test_every_way_of_torch_is_exact_whichever_is_chosen(way, device, monkeypatch):
    images = hard_images(2, 64, 81)
    monkeypatch.setattr(engines, "way_for", lambda side, kind: way)
    for kernel in (gaussian(0.6), gaussian(2)):
        result = blur(images.to(device), kernel, engine="torch").cpu().numpy()
        assert np.abs(result - reference(images, kernel)).max() < 0.01 * LEVEL


def test_a_gpu_convolves_small_kernels_directly_and_the_rest_by_fft():
    ways = [engines.way_for(side, "cuda") for side in (3, 5, 7, 65)]
    assert ways == ["direct", "direct", "fourier", "fourier"]


def test_images_that_share_a_label_share_its_kernel(monkeypatch):
    given = []
    monkeypatch.setattr(engines, "convolve", lambda batch, kernels, *_: given.append(kernels) or batch)
    blur(torch.rand(3, 3, 64, 64), "D8")
    blur(torch.rand(3, 3, 64, 64), "shake")
    assert len({id(kernel) for kernel in given[0]}) == 1
    assert len({id(kernel) for kernel in given[1]}) == 3


@pytest.mark.parametrize("name", LOOPS)
def test_the_same_to_the_bit_for_every_split(name):
    kernel = KERNELS[name] / KERNELS[name].sum()
    images = hard_images(3, 256, 257)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(blur(images, kernel))
    finally:
        torch.set_num_threads(threads)
    alone = torch.stack([blur(image, kernel) for image in images])
    for other in [*results[1:], alone]:
        assert torch.equal(results[0], other)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(1, 4),
    st.sampled_from([defocus(0.6), defocus(2.2), gaussian(0.9), linear_motion(7, 40), dense(7), gaussian(2.5)]),
    st.sampled_from(list(PAD_MODES)),
)
def test_any_size(height, width, channels, kernel, border):
    images = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(1))
    if kernel.shape[0] // 2 >= min(height, width):
        with pytest.raises(UserError, match="too far"):
            blur(images, kernel, border=border)
        return
    error = np.abs(blur(images, kernel, border=border).numpy() - reference(images, kernel, border)).max()
    assert error < 0.1 * LEVEL


def test_values_outside_the_unit_interval_are_blurred_too():
    images = hard_images(3, 64, 64)
    images[1] = images[1] * 7 - 3
    result = blur(images, defocus(3))
    assert np.abs(result.numpy() - reference(images, defocus(3))).max() < 0.1 * LEVEL
    assert torch.equal(result[0], blur(images[0], defocus(3)))  # a strange neighbour changes nothing


def test_a_pixel_that_is_no_number_stays_in_its_image():
    images = hard_images(2, 64, 64)
    images[0, 0, 5, 5] = float("nan")
    result = blur(images, defocus(3))
    assert result[0].isnan().any()
    assert not result[1].isnan().any()


def test_negative_zero_is_black():
    assert torch.equal(blur(torch.full((3, 32, 32), -0.0), defocus(2)), torch.zeros(3, 32, 32))


def test_gradients_pass():
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    blur(images, defocus(2)).sum().backward()
    assert images.grad.sum() == pytest.approx(images.numel(), rel=1e-4)


def test_many_threads_at_once():
    images, kernels = hard_images(4, 128, 128), [defocus(3), camera_shake(2, 16), gaussian(5)]
    expected = [blur(images, kernel) for kernel in kernels]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda i: blur(images, kernels[i % 3]), range(30)))
    assert all(torch.equal(result, expected[i % 3]) for i, result in enumerate(results))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_blurs():
    # A pool of threads does not survive a fork; a child that waited for it would wait for ever.
    code = (
        "import os, torch; from blurnb.optics import blur; torch.set_num_threads(2)\n"
        "images = torch.rand(4, 3, 256, 256); expected = blur(images, 'D16')\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if torch.equal(blur(images, 'D16'), expected) else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_it_works_where_nothing_can_be_written(tmp_path):
    # Numba finds no folder for its cache: neither beside the source nor in the home directory.
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import torch; from blurnb.optics import blur\n"
        "assert blur(torch.ones(1, 3, 32, 32), 'D16').mean() == 1"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=240, cwd=Path(tmp_path)).returncode == 0


@pytest.mark.parametrize("least", [1, 2, 7, 11, 97, 128, 512, 641, 1025, 2049])
def test_the_side_of_a_transform_is_the_next_even_product_of_2_3_and_5(least):
    products = {2 ** (a + 1) * 3**b * 5**c for a in range(12) for b in range(8) for c in range(6)}
    assert engines.fast_side(least) == min(one for one in products if one >= least)


def test_an_unknown_engine_is_named():
    with pytest.raises(UserError, match="engine 'cuda' is unknown; known: auto, torch"):
        blur(torch.zeros(1, 3, 8, 8), "D8", engine="cuda")
