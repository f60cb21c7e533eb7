"""Camera to kernel: textbook numbers, limits, an independent ray construction, and situations that cannot be."""

import math

import numpy as np
import pytest

from blurnb import optics
from blurnb.errors import UserError
from blurnb.optics import blurring, camera

LENS = {"focal_length_mm": 50.0, "f_number": 2.0}


@pytest.mark.parametrize(
    "focal_length_mm, distance_m, expected_mm",
    [
        (100, 0.3, 150),  # 1/10 = 1/30 + 1/15 in cm, the usual first exercise (Hecht, ch. 5)
        (50, 0.1, 100),  # at twice the focal length the image is as large and as far
        (50, math.inf, 50),
        (50, 5.05, 50.5),
    ],
)
def test_the_thin_lens_equation(focal_length_mm, distance_m, expected_mm):
    found = camera.image_distance_mm(focal_length_mm=focal_length_mm, distance_m=distance_m)
    assert found == pytest.approx(expected_mm)


def test_a_blur_circle_by_hand():
    """c = A m |s - s_f| / s: f/1.8, 50 mm, focus 0.5 m, subject 10 cm behind: 27.78 * (50/450) * 100/600."""
    found = camera.blur_circle_mm(focal_length_mm=50, f_number=1.8, focus_distance_m=0.5, subject_distance_m=0.6)
    assert found == pytest.approx(0.5144, abs=1e-4)
    label = camera.defocus_label(
        focal_length_mm=50, f_number=1.8, focus_distance_m=0.5, subject_distance_m=0.6, sensor_height_mm=24
    )
    assert label == "D5.49"  # 0.5144 / 24 * 512 / 2


@pytest.mark.parametrize("subject", [0.3, 0.8, 1.2, 4.0, 1e5])
def test_rays_drawn_through_the_lens_hit_the_sensor_as_far_apart(subject):
    """Marginal rays bent by -y/f at the lens, traced to the sensor: no formula of the module is used."""
    f, radius, focus = 0.05, 0.05 / 2.0 / 2, 1.0
    sensor = 1 / (1 / f - 1 / focus)
    heights = []
    for y in (-radius, radius):
        slope = y / subject - y / f
        heights.append(y + slope * sensor)
    found = camera.blur_circle_mm(focus_distance_m=focus, subject_distance_m=subject, **LENS)
    assert found == pytest.approx(1000 * abs(heights[1] - heights[0]), rel=1e-9)


def test_limits():
    assert camera.blur_circle_mm(focus_distance_m=2, subject_distance_m=2, **LENS) == 0
    assert camera.blur_circle_mm(focus_distance_m=math.inf, subject_distance_m=math.inf, **LENS) == 0
    # focused at infinity: f^2 / (N s); a subject at infinity: f^2 / (N (s_f - f))
    assert camera.blur_circle_mm(focus_distance_m=math.inf, subject_distance_m=5, **LENS) == pytest.approx(0.25)
    assert camera.blur_circle_mm(focus_distance_m=1.05, subject_distance_m=math.inf, **LENS) == pytest.approx(1.25)
    assert camera.defocus_label(focus_distance_m=2, subject_distance_m=2, sensor_height_mm=24, **LENS) == "sharp"


def test_the_disk_grows_away_from_focus_on_either_side_and_shrinks_with_the_f_number():
    circles = [camera.blur_circle_mm(focus_distance_m=1, subject_distance_m=s, **LENS) for s in (0.5, 0.8, 1)]
    assert circles == sorted(circles, reverse=True)
    circles = [camera.blur_circle_mm(focus_distance_m=1, subject_distance_m=s, **LENS) for s in (1, 1.5, 9, math.inf)]
    assert circles == sorted(circles)
    fast, slow = (
        camera.blur_circle_mm(focal_length_mm=50, f_number=n, focus_distance_m=1, subject_distance_m=2) for n in (2, 8)
    )
    assert fast == pytest.approx(4 * slow)


def test_pixels_and_millimetres_of_sensor_agree():
    assert camera.frame_pixels(0.375, sensor_height_mm=24) == pytest.approx(8)  # 0.375 mm = 62.5 px of 4000
    assert camera.frame_pixels(0.375, sensor_height_mm=24, frame_px=4000) == pytest.approx(62.5)


def test_a_walker_by_hand():
    """1.4 m/s at 5.05 m, 50 mm focused there, 1/50 s: magnification 50.5/5050 = 1/100, 28 mm becomes 0.28 mm."""
    moved = camera.subject_motion_mm(
        focal_length_mm=50, focus_distance_m=5.05, subject_distance_m=5.05, speed_m_per_s=1.4, exposure_s=1 / 50
    )
    assert moved == pytest.approx(0.28)
    assert camera.motion_label(moved, sensor_height_mm=24, angle_deg=30) == "M5.97@30"  # 0.28 / 24 * 512
    assert camera.motion_label(moved, sensor_height_mm=24, angle_deg=-150) == "M5.97@30"
    assert camera.motion_label(moved / 10, sensor_height_mm=24) == "sharp"


def test_a_pan_moves_the_image_as_a_projected_point_moves():
    found = camera.camera_turn_mm(focal_length_mm=50, focus_distance_m=math.inf, turn_deg_per_s=60, exposure_s=1 / 30)
    ends = [50 * math.tan(math.radians(a)) for a in (-1, 1)]  # two degrees, half to either side
    assert found == pytest.approx(ends[1] - ends[0])
    assert camera.camera_turn_mm(focal_length_mm=50, focus_distance_m=2, turn_deg_per_s=0, exposure_s=1) == 0


def test_the_label_is_the_disk_that_the_optics_make():
    """The kernel of the label weighs every pixel that the circle covers: its second moment is the disk's."""
    label = camera.defocus_label(focus_distance_m=1, subject_distance_m=2, sensor_height_mm=24, **LENS)
    circle = camera.blur_circle_mm(focus_distance_m=1, subject_distance_m=2, **LENS)
    kernel = blurring.kernel_for(label).astype(float)
    x = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    radius = circle / 24 * 512 / 2
    assert (kernel * x[None] ** 2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.015)


WHOLE = {**LENS, "focus_distance_m": 1.0, "subject_distance_m": 2.0}


@pytest.mark.parametrize(
    "changed, name",
    [
        ({"subject_distance_m": 0.05}, "focal length of 50 mm"),
        ({"focus_distance_m": 0.04}, "focal length of 50 mm"),
        ({"subject_distance_m": -1}, "distance_m=-1"),
        ({"subject_distance_m": math.nan}, "distance_m=nan"),
        ({"focus_distance_m": 0}, "distance_m=0"),
        ({"focal_length_mm": math.inf}, "focal_length_mm=inf"),
        ({"focal_length_mm": "50"}, "focal_length_mm='50'"),
        ({"f_number": 0}, "f_number=0"),
        ({"f_number": True}, "f_number=True"),
        ({"f_number": math.nan}, "f_number=nan"),
    ],
)
def test_impossible_situations_are_one_line(changed, name):
    with pytest.raises(UserError) as caught:
        camera.blur_circle_mm(**{**WHOLE, **changed})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: camera.frame_pixels(1, sensor_height_mm=-24), "sensor_height_mm=-24"),
        (lambda: camera.frame_pixels(math.nan, sensor_height_mm=24), "length_mm=nan"),
        (lambda: camera.motion_label(1, sensor_height_mm=24, angle_deg=math.nan), "angle_deg=nan"),
        (lambda: camera.defocus_label(sensor_height_mm=1e-3, **WHOLE), "radius must be"),
        (
            lambda: camera.camera_turn_mm(focal_length_mm=50, focus_distance_m=1, turn_deg_per_s=720, exposure_s=1),
            "turn_deg_per_s=720",
        ),
        (
            lambda: camera.subject_motion_mm(
                focal_length_mm=50, focus_distance_m=1, subject_distance_m=2, speed_m_per_s=-1, exposure_s=1
            ),
            "speed_m_per_s=-1",
        ),
        (
            lambda: camera.subject_motion_mm(
                focal_length_mm=50, focus_distance_m=1, subject_distance_m=2, speed_m_per_s=1, exposure_s=math.inf
            ),
            "exposure_s=inf",
        ),
    ],
)
def test_other_impossible_numbers_are_one_line(call, name):
    with pytest.raises(UserError) as caught:
        call()
    assert name in str(caught.value)


def test_the_wing_offers_them():
    assert optics.defocus_label is camera.defocus_label
    assert optics.motion_label is camera.motion_label
    assert {"blur_circle_mm", "camera_turn_mm", "situations", "subject_motion_mm"} <= set(optics.__all__)


# ------------------------------------------------------------------------------------- the table of situations

GIVEN = {"focal_length_mm": 50, "f_number": 1.8, "focus_distance_m": 1.0, "exposure_s": 0.02, "sensor_height_mm": 24}


def blurs(**changed) -> dict[str, str]:
    found = camera.situations(**{**GIVEN, **changed})["situations"]
    return {one["situation"]: one["blur"] for one in found}


def test_situations_follow_the_camera():
    assert blurs(focus_distance_m=0.5)["subject 10 cm behind focus"] == "D5.49"  # by hand above
    assert blurs(focus_distance_m=0.12)["subject 10 cm before focus"] == ""  # inside the focal length: no image
    assert blurs(focus_distance_m=5.05)["a person walking across the view, 1.4 m/s, at the focus distance"] == "M5.97@0"
    assert blurs(exposure_s=100)["a camera panned over the scene, 20 degrees a second"] == ""  # far beyond the frame


def test_the_table_names_the_camera_and_every_situation_once():
    table = camera.situations(**GIVEN)
    assert table["camera"] == "50 mm at f/1.8, focused at 1 m, 0.02 s, sensor 24 mm high"
    assert len(blurs()) == len(table["situations"]) == 7
    assert "background at infinity" in blurs()


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "x"])
def test_a_camera_that_cannot_be_is_refused(name, value):
    with pytest.raises(UserError, match=f"{name}="):
        blurs(**{name: value})
