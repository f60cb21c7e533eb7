"""Labels, the frame, and the act of blurring, against SciPy in float64."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, gaussian_filter

from blurnb.errors import UserError
from blurnb.optics import Blur, blur, camera_shake, defocus, linear_motion, parse, rescale

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


# ---------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "label, family, parameters",
    [
        ("sharp", "sharp", {}),
        ("D8", "defocus", {"radius": 8}),
        ("D0.25", "defocus", {"radius": 0.25}),
        ("G4", "gaussian", {"sigma": 4}),
        ("M21@30", "motion", {"length": 21, "angle": 30}),
        ("shake", "shake", {}),
        ("shake16", "shake", {"grid": 16}),
        ("inertial", "inertial", {}),
    ],
)
def test_labels(label, family, parameters):
    found = parse(label)
    assert (found.label, found.family, dict(found.parameters)) == (label, family, parameters)


@pytest.mark.parametrize(
    "label, canonical",
    [("D8.0", "D8"), ("D2.50", "D2.5"), ("M21@210", "M21@30"), ("M21@-45", "M21@135"), ("M9@180", "M9@0")],
)
def test_one_blur_has_one_label(label, canonical):
    assert parse(label).label == canonical
    assert parse(label) == parse(canonical)


@pytest.mark.parametrize(
    "label, hint",
    [
        ("d8", "D8"),
        ("D08", "D8"),
        (" D8", "D8"),
        ("D-3", "D3"),
        ("D0", "above 0"),
        ("D0.0000001", "above 0"),
        ("G1000", "at most"),
        ("D1" + "0" * 400, "at most"),
        ("M0.5@3", "from 1"),
        ("M21", "M21@0"),
        ("M21@", "M21@0"),
        ("m21@30", "M21@30"),
        ("D8@30", "D8"),
        ("Dnan", "D<radius>"),
        ("Dinf", "D<radius>"),
        ("D8\n", "D8"),
        ("D\uff18", "D<radius>"),
        ("G", "G4"),
        ("shake12", "shake16"),
        ("Sharp", "sharp"),
        ("", "D8"),
        (8, "text"),
        (None, "text"),
        ([], "text"),
    ],
)
def test_a_bad_label_is_named_with_the_way_out(label, hint):
    with pytest.raises(UserError) as caught:
        parse(label)
    message = str(caught.value)
    assert repr(label) in message
    assert hint in message
    assert "\n" not in message.replace(repr(label), "")


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[DGM][0-9]{1,4}(\.[0-9]{1,8})?(@-?[0-9]{1,3})?")))
def test_parsing_ends_in_a_stable_blur_or_a_user_error(label):
    try:
        found = parse(label)
    except UserError:
        return
    assert parse(found.label) == found
    assert all(np.isfinite(value) for _, value in found.parameters)
    assert hash(found) == hash(parse(label))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["sharp", "D3", "D7.3", "G2", "M21@30", "M33@121", "shake", "shake8", "inertial"]),
    st.floats(0.05, 1.5),
    st.integers(0, 5),
)
def test_the_kernel_of_a_blur(label, factor, seed):
    kernel = parse(label).kernel(factor, seed, "some image")
    assert kernel.dtype == np.float32
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum(dtype=float) == pytest.approx(1, abs=2e-6)
    np.testing.assert_array_equal(kernel, parse(label).kernel(factor, seed, "some image"))


def test_a_returned_kernel_is_the_callers_own():
    parse("D8").kernel()[:] = 0
    assert parse("D8").kernel().sum() == pytest.approx(1)


@pytest.mark.parametrize("label", ["shake", "shake24", "inertial"])
def test_shake_depends_on_seed_image_and_label(label):
    first = parse(label).kernel(seed=1, image_id="a")
    assert not np.array_equal(first, parse(label).kernel(seed=2, image_id="a"))
    assert not np.array_equal(first, parse(label).kernel(seed=1, image_id="b"))
    assert parse(label).is_random


def test_shake_is_the_same_on_every_machine():
    # A planted draw: it changes only if every stored record of a shake must be made anew.
    kernel = parse("shake16").kernel(seed=0, image_id="n01440764_10026")
    assert (kernel.shape, round(float(kernel.max()), 5)) == PLANTED


PLANTED = ((19, 19), 0.03872)


def test_shake_draws_all_three_grids_equally():
    sides = [parse("shake").kernel(image_id=i) for i in range(300)]
    small = sum((k > 0).sum() < 33 for k in sides)  # a grid of 8 visits 23 pixels on average, 16 visits 52
    assert 0.22 < small / 300 < 0.45


def test_shake_of_an_image_is_one_shake_at_every_scale():
    whole = parse("shake24").kernel(1.0, seed=3, image_id="x")
    np.testing.assert_array_equal(parse("shake24").kernel(0.25, seed=3, image_id="x"), rescale(whole, 0.25))


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


@pytest.mark.parametrize("border", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("label", ["D0.3", "D1", "D8", "G1", "G6", "M21@30", "M9@90", "shake24", "inertial"])
def test_agrees_with_scipy_in_float64(label, border):
    images = photograph()
    kernel = parse(label).kernel(seed=5, image_id="a")
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


def test_a_blur_is_a_value():
    assert {parse("D8"): 1}[Blur("D8", "defocus", (("radius", 8.0),))] == 1


def test_importing_is_light():
    # In a process of its own: what the import pulls in must not depend on the tests that ran before.
    code = (
        "import sys; from blurnb.optics import blur, defocus; "
        "heavy = {'deepinv', 'matplotlib', 'pandas', 'torchvision', 'numba'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_angle_that_is_no_number_is_refused():
    with pytest.raises(UserError, match="angle must be a number of degrees"):
        parse("M21@" + "9" * 400)


@pytest.mark.parametrize("option", [{"frame": "512"}, {"border": []}, {"image_ids": 5}])
def test_an_option_of_a_wrong_type_is_one_line_that_names_it(option):
    with pytest.raises(UserError, match=next(iter(option))):
        blur(torch.rand(1, 3, 24, 24), "D8", **option)


def test_a_kernel_of_words_is_refused():
    with pytest.raises(UserError, match="kernel of type <U1"):
        blur(torch.rand(1, 3, 24, 24), np.array([["a"]]))
