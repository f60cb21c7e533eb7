"""The frame and the act of blurring, against SciPy in float64."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, gaussian_filter

from blurnb import labels
from blurnb.errors import UserError
from blurnb.optics import Blur, blur, camera_shake, defocus, kernel_for, kernels, linear_motion, parse, rescale

SCIPY_BORDERS = {"reflect": "mirror", "replicate": "nearest", "circular": "wrap"}
LEVEL = 1 / 255


def photograph(count: int = 1, height: int = 96, width: int = 120, seed: int = 0) -> torch.Tensor:
    """Steps, ramps and noise over the full range: the hard cases for rounding and for borders."""
    generator = np.random.default_rng(seed)
    images = generator.random((count, 3, height, width)).astype(np.float32)
    images[:, :, : height // 2, : width // 3] = 1.0
    images[:, :, height // 2 :, width // 2 :] = 0.0
    images[:, 1, :, -width // 4 :] = np.linspace(0, 1, height)[:, None]
    return torch.from_numpy(images)


def reference(images: torch.Tensor, kernel: np.ndarray, border: str = "reflect") -> np.ndarray:
    exact = kernel.astype(np.float64)
    return np.stack(
        [[convolve(plane, exact, mode=SCIPY_BORDERS[border]) for plane in image] for image in images.double().numpy()]
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["sharp", "D3", "D7.3", "G2", "M21@30", "M33@121", "shake", "shake8", "inertial"]),
    st.floats(0.05, 1.5),
    st.integers(0, 5),
)
def test_the_kernel_of_a_blur(label, factor, seed):
    kernel = kernel_for(label, factor, seed, "some image")
    assert kernel.dtype == np.float32
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum(dtype=float) == pytest.approx(1, abs=2e-6)
    np.testing.assert_array_equal(kernel, kernel_for(label, factor, seed, "some image"))


def test_a_blur_and_its_label_have_one_kernel():
    np.testing.assert_array_equal(kernel_for("M21@30", 0.5), kernel_for(parse("M21@30"), 0.5))


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), "1", None])
def test_a_factor_that_is_none_is_named(factor):
    with pytest.raises(UserError, match="factor="):
        kernel_for("D8", factor)


def test_one_line_of_labels_and_a_maker_are_a_new_family(monkeypatch):
    box = labels.Family(12**-0.5, "side of the box", "a box of {:g} pixels", "B", ("side", 1.0, labels.FRAME))
    monkeypatch.setitem(labels.FAMILIES, "box", box)
    monkeypatch.setitem(kernels.MAKERS, "box", lambda given, factor: np.full((5, 5), 1 / 25, np.float32))
    one = Blur("B5", "box", (("side", 5.0),))
    assert (one.strength, one.is_random, kernel_for(one).shape) == (5, False, (5, 5))


def test_a_returned_kernel_is_the_callers_own():
    kernel_for("D8")[:] = 0
    assert kernel_for("D8").sum() == pytest.approx(1)


@pytest.mark.parametrize("label", ["shake", "shake24", "inertial"])
def test_shake_depends_on_seed_image_and_label(label):
    first = kernel_for(label, seed=1, image_id="a")
    assert not np.array_equal(first, kernel_for(label, seed=2, image_id="a"))
    assert not np.array_equal(first, kernel_for(label, seed=1, image_id="b"))
    assert parse(label).is_random


def test_shake_is_the_same_on_every_machine():
    # A planted draw: it changes only if every stored record of a shake must be made anew.
    kernel = kernel_for("shake16", seed=0, image_id="n01440764_10026")
    assert (kernel.shape, round(float(kernel.max()), 5)) == PLANTED


PLANTED = ((19, 19), 0.03872)


def test_shake_draws_all_three_grids_equally():
    sides = [kernel_for("shake", image_id=i) for i in range(300)]
    small = sum((k > 0).sum() < 33 for k in sides)  # a grid of 8 visits 23 pixels on average, 16 visits 52
    assert 0.22 < small / 300 < 0.45


def test_shake_of_an_image_is_one_shake_at_every_scale():
    whole = kernel_for("shake24", 1.0, seed=3, image_id="x")
    np.testing.assert_array_equal(kernel_for("shake24", 0.25, seed=3, image_id="x"), rescale(whole, 0.25))


# ------------------------------------------------------------------------------------------ convolution


@pytest.mark.parametrize("kernel", [camera_shake(1, 24), linear_motion(9, 30), defocus(3.3)])
def test_an_impulse_returns_the_kernel_unflipped(kernel):
    side, half = 101, kernel.shape[0] // 2
    impulse = torch.zeros(1, 3, side, side)
    impulse[:, :, 50, 50] = 1
    result = blur(impulse, kernel)
    window = slice(50 - half, 50 + half + 1)
    for plane in result[0]:
        np.testing.assert_allclose(plane[window, window], kernel, atol=5e-5)
        assert plane.sum() == pytest.approx(1, abs=2e-3)


def said(act) -> list[str]:
    """The warnings that `act` makes. A label warns once in a process: each test below has labels of its own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(one.message) for one in caught]


def test_a_label_that_does_nothing_is_said_once_and_by_name_whatever_asks_for_it():
    images = photograph(2, 96, 96)
    (line,) = said(lambda: [blur(images, "D2.111"), blur(images, ["D2.111", "sharp"]), kernel_for("D2.111", 0.1)])
    assert line.startswith("D2.111 does nothing")
    assert "(96 pixels of 512)" in line
    assert "smaller frame" in line
    assert "\n" not in line
    assert said(lambda: blur(images, "D2.222", frame=256)) == []
    # a Gaussian has taps beside its centre, of a millionth; a shake may fall into one pixel
    assert len(said(lambda: blur(images, ["G0.999", "M5.111@30"]))) == 2
    (line,) = said(lambda: [kernel_for(Blur("my shake", "shake"), 0.01, 0, f"{i}") for i in range(9)])
    assert line.startswith("a draw of my shake does nothing")


def test_what_blurs_and_what_is_sharp_by_name_say_nothing():
    images, names = photograph(1, 96, 96), ("sharp", "D3.111", "G2", "M21@30", "shake", "inertial")
    assert said(lambda: [blur(images, name) for name in names]) == []
    assert said(lambda: blur(images, np.ones((1, 1)))) == []  # an array is what its owner made it


def test_of_many_threads_one_says_it():
    factors = np.linspace(0.01, 0.05, 64)
    with ThreadPoolExecutor(16) as pool:
        assert len(said(lambda: list(pool.map(lambda factor: kernel_for("D2.333", factor), factors)))) == 1


@pytest.mark.parametrize("border", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("label", ["D0.3", "D1", "D8", "G1", "G6", "M21@30", "M9@90", "shake24", "inertial"])
def test_agrees_with_scipy_in_float64(label, border):
    images = photograph()
    kernel = kernel_for(label, seed=5, image_id="a")
    result = blur(images, label, frame=None, border=border, seed=5, image_ids=["a"])
    assert np.abs(result.numpy() - reference(images, kernel, border)).max() < 0.1 * LEVEL


def test_gaussian_agrees_with_scipys_own():
    images = photograph()
    expected = gaussian_filter(images[0].double().numpy(), 3, mode="mirror", axes=(1, 2), truncate=6)
    assert np.abs(blur(images, "G3", frame=None)[0].numpy() - expected).max() < 0.1 * LEVEL


def test_d8_in_the_frame_is_radius_two_on_128_pixels():
    images = photograph(1, 128, 150)
    np.testing.assert_array_equal(blur(images, "D8"), blur(images, "D2", frame=None))
    np.testing.assert_array_equal(blur(images, "D8"), blur(images, defocus(2)))
    np.testing.assert_array_equal(blur(images, "D8"), blur(images, "D4", frame=256))


@pytest.mark.parametrize("label", ["D8", "G4", "M21@30", "shake", "inertial"])
def test_a_result_depends_on_neither_batch_nor_order(label):
    images, ids = photograph(5, 64, 72), list("abcde")
    together = blur(images, label, frame=256, seed=9, image_ids=ids)
    for i in range(5):
        alone = blur(images[i], label, frame=256, seed=9, image_ids=[ids[i]])
        assert torch.equal(alone, together[i])
    backwards = blur(images.flip(0), label, frame=256, seed=9, image_ids=ids[::-1])
    assert torch.equal(backwards.flip(0), together)


def test_each_image_of_a_shaken_batch_has_its_own_kernel():
    images = photograph(1, 64, 64).expand(4, -1, -1, -1)
    result = blur(images, "shake", frame=64)
    assert not any(torch.equal(result[0], other) for other in result[1:])


def test_one_blur_per_image():
    images, kernel = photograph(3, 64, 64), defocus(2.2)
    result = blur(images, ["sharp", "D8", kernel])
    assert torch.equal(result[0], images[0])
    assert torch.equal(result[1], blur(images[1], "D8"))
    assert torch.equal(result[2], blur(images[2], kernel))


@pytest.mark.parametrize("label", ["sharp", "D4", "shake"])
def test_the_input_is_neither_changed_nor_returned(label):
    images = photograph(2, 64, 64)
    before = images.clone()
    result = blur(images, label)
    assert torch.equal(images, before)
    assert result.data_ptr() != images.data_ptr()
    assert (result.shape, result.dtype) == (images.shape, torch.float32)


@pytest.mark.parametrize("label", ["D4", "G4", "M21@30", "shake"])
def test_a_constant_image_stays_constant(label):
    for value, tolerance in ((0.0, 0.0), (1.0, 2e-7), (0.3, 0.1 * LEVEL), (0.7, 0.1 * LEVEL)):
        result = blur(torch.full((1, 3, 96, 96), value), label, frame=96)
        assert (result - value).abs().max() <= tolerance


@pytest.mark.parametrize("images", [photograph(2, 64, 64)[:, :, ::2, 1::2], photograph(2, 64, 64).permute(0, 1, 3, 2)])
def test_views_and_other_layouts(images):
    assert torch.equal(blur(images, "D16"), blur(images.contiguous(), "D16"))
    assert torch.equal(blur(images.to(memory_format=torch.channels_last), "D16"), blur(images, "D16"))


def test_double_and_half_come_back_as_float32():
    images = photograph(1, 64, 64)
    assert blur(images.double(), "D16").dtype == torch.float32
    assert torch.equal(blur(images.half(), "D16"), blur(images.half().float(), "D16"))


def test_an_empty_batch_is_no_error():
    assert blur(torch.empty(0, 3, 8, 8), "D8").shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    "arguments, hint",
    [
        ((torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "D8"), "255"),
        ((np.zeros((1, 3, 8, 8)), "D8"), "tensor"),
        ((torch.zeros(8, 8), "D8"), "(8, 8)"),
        ((torch.zeros(3, 0, 8), "D8"), "no pixel"),
        ((torch.zeros(1, 3, 20, 30), defocus(20)), "20"),
        ((torch.zeros(2, 3, 8, 8), ["D8"]), "2 images"),
        ((torch.zeros(1, 3, 8, 8), np.ones((2, 2)) / 4), "(2, 2)"),
        ((torch.zeros(1, 3, 8, 8), np.ones((3, 3))), "sum to 1"),
        ((torch.zeros(1, 3, 8, 8), np.full((3, 3), np.nan)), "finite"),
        ((torch.zeros(1, 3, 8, 8), "D8x"), "D8x"),
    ],
)
def test_bad_input_is_one_line(arguments, hint):
    with pytest.raises(UserError) as caught:
        blur(*arguments)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, hint",
    [({"border": "zero"}, "border"), ({"frame": 0}, "frame"), ({"image_ids": ["a", "b"]}, "image_ids")],
)
def test_bad_options_are_named(options, hint):
    with pytest.raises(UserError, match=hint):
        blur(torch.zeros(1, 3, 8, 8), "D8", **options)


def test_importing_is_light():
    # In a process of its own: what the import pulls in must not depend on the tests that ran before.
    code = (
        "import sys; from blurnb.optics import blur, defocus; "
        "heavy = {'deepinv', 'matplotlib', 'pandas', 'torchvision', 'numba'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("option", [{"frame": "512"}, {"border": []}, {"image_ids": 5}])
def test_an_option_of_a_wrong_type_is_one_line_that_names_it(option):
    with pytest.raises(UserError, match=next(iter(option))):
        blur(torch.rand(1, 3, 24, 24), "D8", **option)


def test_a_kernel_of_words_is_refused():
    with pytest.raises(UserError, match="kernel of type <U1"):
        blur(torch.rand(1, 3, 24, 24), np.array([["a"]]))
