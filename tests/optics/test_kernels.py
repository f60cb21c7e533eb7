"""Kernels against second constructions: supersampled rasters, moments, definitions written another way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from blurnb.errors import UserError
from blurnb.labels import FAMILIES, parse
from blurnb.optics import (
    camera_shake,
    camera_shake_inertial,
    defocus,
    gaussian,
    kernel_for,
    kernels,
    linear_motion,
    rescale,
)


def raster_disk(radius: float, fold: int) -> np.ndarray:
    """Share of fold x fold points of each pixel that lie in the circle, normalised."""
    half = max(0, int(np.ceil(radius - 0.5)))
    side = 2 * half + 1
    points = (np.arange(side * fold) + 0.5) / fold - side / 2
    inside = points[:, None] ** 2 + points[None, :] ** 2 <= radius**2
    shares = inside.reshape(side, fold, side, fold).mean(axis=(1, 3))
    return shares / shares.sum()


def moment(kernel: np.ndarray, order: int, axis: int) -> float:
    offsets = np.arange(kernel.shape[axis]) - kernel.shape[axis] // 2
    return float(kernel.astype(np.float64).sum(axis=1 - axis) @ offsets**order)


def assert_is_kernel(kernel: np.ndarray) -> None:
    assert kernel.dtype == np.float32
    assert kernel.ndim == 2
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=2e-6)
    for axis in (0, 1):
        assert abs(moment(kernel, 1, axis)) <= 0.5 + 1e-5


@pytest.mark.parametrize("radius", np.round(np.arange(0.3, 12.01, 0.1), 1))
def test_defocus_equals_a_supersampled_raster(radius):
    # From 0.5 to 0.8 the slivers outside the centre pixel are thinner than a 64-fold raster resolves (its own
    # error is 2e-3 at 0.6): there the raster is made finer, not the tolerance wider.
    fold = 256 if 0.5 < radius < 0.8 else 64
    assert np.abs(defocus(radius) - raster_disk(radius, fold)).max() < 1e-3


def test_defocus_keeps_the_area_that_an_unnormalised_circle_has():
    # pi r^2 once the weights are divided by a pixel that lies wholly inside.
    for radius in (2.0, 3.7, 8.0, 40.25):
        kernel = defocus(radius).astype(np.float64)
        centre = kernel.shape[0] // 2
        assert 1 / kernel[centre, centre] == pytest.approx(np.pi * radius**2, rel=1e-6)


@pytest.mark.parametrize("radius", [*range(4, 13), 4.55, 5.5, 16.0])
def test_defocus_second_moment(radius):
    expected = radius**2 / 4 + 1 / 12
    assert moment(defocus(radius), 2, 0) == pytest.approx(expected, rel=0.01)
    assert moment(defocus(radius), 2, 1) == pytest.approx(expected, rel=0.01)


def test_a_disk_within_one_pixel_is_the_identity():
    assert defocus(0.3).tolist() == [[1.0]]
    assert defocus(0.5).tolist() == [[1.0]]
    assert defocus(0.51).shape == (3, 3)


def test_disk_is_symmetric():
    kernel = defocus(5.3)
    for twin in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        np.testing.assert_allclose(kernel, twin, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.5, 8.0])
def test_gaussian_reaches_four_sigma_and_has_its_variance(sigma):
    kernel = gaussian(sigma)
    assert kernel.shape[0] // 2 >= 4 * sigma
    assert moment(kernel, 2, 0) == pytest.approx(sigma**2, rel=5e-3)
    assert kernel[0, 0] > 0


def test_defocus_8_is_about_as_wide_as_gaussian_4():
    assert moment(defocus(8), 2, 0) == pytest.approx(moment(gaussian(4), 2, 0), rel=0.02)


def test_motion_along_an_axis_is_a_box():
    np.testing.assert_allclose(linear_motion(5, 0), np.pad(np.full((1, 5), 0.2), ((2, 2), (0, 0))), atol=1e-7)
    np.testing.assert_allclose(linear_motion(5, 90), linear_motion(5, 0).T, atol=1e-7)


def test_motion_angle_is_counter_clockwise():
    kernel = linear_motion(21, 30)
    half = kernel.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    # To the right the path rises, and rows count downwards.
    assert np.sum(kernel * x * y) < -1
    np.testing.assert_allclose(linear_motion(21, -30), kernel[::-1], atol=1e-7)
    np.testing.assert_allclose(linear_motion(21, 210), kernel, atol=1e-7)


def test_motion_weighs_by_distance_to_the_segment():
    kernel = linear_motion(9.5, 37)
    half = kernel.shape[0] // 2
    direction = np.exp(-1j * np.radians(37))  # rows count downwards
    segment = np.linspace(-4.25, 4.25, 20001) * direction
    expected = np.array(
        [
            [max(0, 1 - np.abs(complex(x, y) - segment).min()) for x in range(-half, half + 1)]
            for y in range(-half, half + 1)
        ]
    )
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-5)


def test_motion_of_length_one_is_the_identity():
    assert linear_motion(1, 33).tolist() == [[1.0]]
    assert linear_motion(0.2, 33).tolist() == [[1.0]]


@pytest.mark.parametrize("grid", [8, 16, 24])
def test_camera_shake_visits_the_pixels_of_its_spline(grid):
    # The same draws, the curve built point by point with SciPy.
    for seed in range(20):
        generator = np.random.default_rng(seed)
        control = generator.integers(1, grid, size=(6, 2), endpoint=True)
        spline = CubicSpline(np.arange(6.0), control)
        x, y = np.clip(np.rint(spline(np.linspace(0, 5, 2000))), 1, grid).astype(int).T
        visited = sorted(set(zip(y.tolist(), x.tolist())))
        weights = np.maximum(0, generator.normal(1, 0.5, len(visited)))
        expected = {pixel: weight / weights.sum() for pixel, weight in zip(visited, weights) if weight > 0}
        kernel = camera_shake(seed, grid)
        rows, columns = np.nonzero(kernel)
        top, left = min(expected)[0], min(column for _, column in expected)
        found = {
            (int(row) + top - rows.min(), int(column) + left - columns.min()): kernel[row, column]
            for row, column in zip(rows, columns)
        }
        assert found == pytest.approx(expected, abs=1e-6)


def test_camera_shake_weights_have_no_dwell_time():
    # Over many kernels, the weights before normalisation are max(0, Normal(1, 0.5)) of distinct pixels: their
    # coefficient of variation is that of the positive part, about 0.47.
    variations = []
    for seed in range(200):
        kernel = camera_shake(seed, 24)
        weights = kernel[kernel > 0]
        variations.append(weights.std() / weights.mean())
    assert np.mean(variations) == pytest.approx(0.47, abs=0.03)


def test_camera_shake_takes_a_seed_or_a_generator():
    np.testing.assert_array_equal(camera_shake(3, 16), camera_shake(np.random.default_rng(3), 16))
    generator = np.random.default_rng(3)
    first, second = camera_shake(generator, 16), camera_shake(generator, 16)
    assert first.shape != second.shape or (first != second).any()


def test_inertial_shake_is_longer_with_longer_exposure_and_always_sums_to_one():
    spreads = {}
    for exposure in (0.0625, 0.25, 1.0):
        drawn = [camera_shake_inertial(seed, exposure=exposure) for seed in range(30)]
        for kernel in drawn:
            assert_is_kernel(kernel)
        spreads[exposure] = np.mean([moment(k, 2, 0) + moment(k, 2, 1) for k in drawn])
    assert spreads[0.0625] < spreads[0.25] < spreads[1.0]


def test_inertial_shake_without_anxiety_is_straight_and_as_long_as_asked():
    kernel = camera_shake_inertial(1, length=30, anxiety=0)
    rows, columns = np.nonzero(kernel > 1e-4)
    length = np.hypot(np.ptp(rows), np.ptp(columns))
    assert length == pytest.approx(30, abs=2.5)
    covariance = np.cov(np.repeat([rows, columns], 1, axis=0), aweights=kernel[rows, columns])
    assert np.linalg.eigvalsh(covariance)[0] < 0.5
    assert np.linalg.eigvalsh(covariance)[1] == pytest.approx(30**2 / 12, rel=0.1)


def test_rescale_keeps_the_centroid_on_average():
    # Integrating over pixels forgets where in a pixel the mass lay: single kernels move by part of a pixel, but
    # in no direction.
    for factor in (0.25, 0.73):
        shifts = []
        for seed in range(100):
            kernel = camera_shake(seed, 24)
            small = rescale(kernel, factor)
            shifts.append([moment(small, 1, axis) - factor * moment(kernel, 1, axis) for axis in (0, 1)])
        assert np.abs(shifts).max() < 0.5
        assert np.abs(np.mean(shifts, axis=0)).max() < 0.03


def test_rescale_to_a_third_sums_blocks_of_nine():
    kernel = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    kernel /= kernel.sum()
    np.testing.assert_allclose(rescale(kernel, 1 / 3), kernel.reshape(3, 3, 3, 3).sum(axis=(1, 3)), atol=1e-7)


def test_rescale_agrees_with_the_regenerated_disk():
    # A disk has no finer structure than its rim, so scaling its array is close to scaling its radius; the two
    # area steps differ at the rim by part of a pixel.
    np.testing.assert_allclose(rescale(defocus(32), 0.25), defocus(8), atol=4e-4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_kernel_is_centred_odd_non_negative_and_sums_to_one(data):
    size = st.floats(0.05, 20)
    kernel = data.draw(
        st.one_of(
            size.map(defocus),
            size.map(gaussian),
            st.builds(linear_motion, st.floats(0.05, 60), st.floats(-720, 720)),
            st.builds(camera_shake, st.integers(0, 2**64), st.sampled_from([8, 16, 24])),
            st.builds(camera_shake_inertial, st.integers(0, 2**32), st.floats(1, 80)),
        )
    )
    assert_is_kernel(kernel)
    assert_is_kernel(rescale(kernel, data.draw(st.floats(0.05, 2.5))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: defocus(0),
        lambda: defocus(float("nan")),
        lambda: defocus(float("inf")),
        lambda: defocus(1e6),
        lambda: gaussian(-1),
        lambda: linear_motion(0, 3),
        lambda: linear_motion(5, float("nan")),
        lambda: camera_shake(0, 12),
        lambda: camera_shake_inertial(0, exposure=0),
        lambda: camera_shake_inertial(0, exposure=1.5),
        lambda: rescale(defocus(2), 0),
        lambda: rescale(defocus(2), 1e9),
    ],
)
def test_senseless_parameters_are_named_in_one_line(make):
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)


JUNK = [None, "8", [], {}, float("nan"), float("inf"), -1, 0, 10**400, 1j, True, np.array([1.0, 2.0]), object()]


@pytest.mark.parametrize("value", JUNK, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "call, name",
    [
        (defocus, "radius"),
        (gaussian, "sigma"),
        (lambda v: linear_motion(v, 0), "length"),
        (lambda v: camera_shake(0, v), "grid"),
        (lambda v: rescale(defocus(3), v), "factor"),
        (lambda v: camera_shake_inertial(0, v), "length"),
        (lambda v: camera_shake_inertial(0, exposure=v if v is not True else 2), "exposure"),
    ],
)
def test_what_is_no_such_number_is_one_line_that_names_it(call, name, value):
    with pytest.raises(UserError, match=f"{name}=") as caught:
        call(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "8", [], float("nan"), float("inf"), 10**400, 1j, object()])
def test_an_angle_or_a_seed_that_is_none_is_one_line_that_names_it(value):
    with pytest.raises(UserError, match="angle="):
        linear_motion(5, value)
    if value != 10**400:  # a large seed is a seed
        with pytest.raises(UserError, match="seed="):
            camera_shake(value, 8)


def test_every_family_has_a_maker():
    assert list(kernels.MAKERS) == list(FAMILIES)


@pytest.mark.parametrize("label", ["D8", "D30.5", "G4", "G11", "M41@0", "M100@30"])
def test_the_standard_deviation_that_a_family_states_is_that_of_its_kernels(label):
    kernel = kernel_for(label)
    found = ((moment(kernel, 2, 0) + moment(kernel, 2, 1)) / 2) ** 0.5
    assert parse(label).kernel_sd == pytest.approx(found, rel=0.02)
