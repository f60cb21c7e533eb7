"""From a camera's situation to a blur label: thin lens and shutter, geometrical optics, units in every name.

Distances are measured from the lens. The lens is thin and free of aberrations and the aperture round, so that an
object point out of focus becomes a uniform disk (Ray, Applied Photographic Optics; Hecht, Optics, ch. 5). Diffraction
is left out: near focus at high f-numbers the true blur is larger.
"""

import math
from collections.abc import Callable
from numbers import Real

from blurnb.errors import UserError
from blurnb.labels import FRAME, parse

SMALLEST = 0.05
"""Radius, pixels of the frame, below which a disk changes nothing and the label is `sharp`."""
OFF_FOCUS_M = (-0.1, 0.1, 0.5, math.inf)
"""Metres from focus of the subjects in `situations`."""
SPEEDS_M_PER_S = {"a person walking across the view": 1.4, "a person running across the view": 5.0}
TURNS_DEG_PER_S = {"a camera panned over the scene": 20.0}


def _positive(**given: float) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:
            raise UserError(f"{name}={value!r}: give a positive number")


def _finite(**given: float) -> None:
    _positive(**given)
    for name, value in given.items():
        if math.isinf(value):
            raise UserError(f"{name}={value!r}: give a finite number")


def image_distance_mm(*, focal_length_mm: float, distance_m: float) -> float:
    """Distance behind the lens at which an object at `distance_m` is sharp: 1/f = 1/s + 1/s' (Hecht, ch. 5).

    Raises
    ------
    UserError
        For an object at or inside the focal length, which has no real image.

    Examples
    --------
    >>> round(image_distance_mm(focal_length_mm=100, distance_m=0.3), 9)
    150.0
    >>> image_distance_mm(focal_length_mm=50, distance_m=math.inf)  # sharp in the focal plane
    50.0
    """
    _finite(focal_length_mm=focal_length_mm)
    _positive(distance_m=distance_m)
    distance_mm = 1000 * distance_m
    if distance_mm <= focal_length_mm:
        why = f"within the focal length of {focal_length_mm:g} mm a lens forms no real image"
        raise UserError(f"distance_m={distance_m:g}: {why}; move the object away, or use a shorter focal length")
    return focal_length_mm / (1 - focal_length_mm / distance_mm)


def blur_circle_mm(
    *, focal_length_mm: float, f_number: float, focus_distance_m: float, subject_distance_m: float
) -> float:
    """Diameter on the sensor of the disk that a point at `subject_distance_m` becomes.

    The cone of light from the aperture, f/N wide, meets the sensor at s'_focus instead of at its tip s'_subject:
    ``c = (f/N) |s'_subject - s'_focus| / s'_subject``. Either distance may be infinite; in focus it is 0.

    Raises
    ------
    UserError
        For a lens or a distance that cannot be.

    Examples
    --------
    >>> round(blur_circle_mm(focal_length_mm=50, f_number=1.8, focus_distance_m=0.5, subject_distance_m=0.6), 4)
    0.5144
    """
    _finite(f_number=f_number)
    sensor = image_distance_mm(focal_length_mm=focal_length_mm, distance_m=focus_distance_m)
    tip = image_distance_mm(focal_length_mm=focal_length_mm, distance_m=subject_distance_m)
    return focal_length_mm / f_number * abs(tip - sensor) / tip


def frame_pixels(length_mm: float, *, sensor_height_mm: float, frame_px: float = FRAME) -> float:
    """A length on the sensor in pixels of the frame, whose shorter side shows `sensor_height_mm` of the sensor.

    Examples
    --------
    >>> frame_pixels(0.375, sensor_height_mm=24)
    8.0
    """
    _finite(sensor_height_mm=sensor_height_mm, frame_px=frame_px)
    if not 0 <= length_mm < math.inf:
        raise UserError(f"length_mm={length_mm!r}: give a length of 0 or more")
    return length_mm / sensor_height_mm * frame_px


def defocus_label(*, sensor_height_mm: float, **situation: float) -> str:
    """The label of the defocus in a situation, which is what `blur_circle_mm` takes.

    Half the blur circle, in frame pixels; ``sharp`` below SMALLEST.

    Raises
    ------
    UserError
        For a situation that cannot be, and where the disk would be wider than the frame.

    Examples
    --------
    >>> lens = {"focal_length_mm": 50, "f_number": 1.8, "sensor_height_mm": 24}
    >>> defocus_label(focus_distance_m=0.5, subject_distance_m=0.6, **lens)
    'D5.49'
    """
    radius = frame_pixels(blur_circle_mm(**situation), sensor_height_mm=sensor_height_mm) / 2
    return "sharp" if radius < SMALLEST else parse(f"D{radius:.2f}").label


def subject_motion_mm(
    *,
    focal_length_mm: float,
    focus_distance_m: float,
    subject_distance_m: float,
    speed_m_per_s: float,
    exposure_s: float,
) -> float:
    """How far the image of a subject that crosses the view moves on the sensor while the shutter is open.

    `speed_m_per_s` is the part of its speed at right angles to the line of sight: motion towards the camera
    counts for nothing here. The magnification is that of the chief ray, s'_focus / subject distance.

    Examples
    --------
    >>> lens = {"focal_length_mm": 50, "focus_distance_m": 5.05, "exposure_s": 1 / 50}
    >>> round(subject_motion_mm(subject_distance_m=5.05, speed_m_per_s=1.4, **lens), 9)  # magnified 1/100
    0.28
    """
    _finite(subject_distance_m=subject_distance_m, exposure_s=exposure_s)
    if not 0 <= speed_m_per_s < math.inf:
        raise UserError(f"speed_m_per_s={speed_m_per_s!r}: give a speed of 0 or more")
    sensor = image_distance_mm(focal_length_mm=focal_length_mm, distance_m=focus_distance_m)
    image_distance_mm(focal_length_mm=focal_length_mm, distance_m=subject_distance_m)  # refuses what has no image
    return sensor * speed_m_per_s * exposure_s / subject_distance_m


def camera_turn_mm(
    *, focal_length_mm: float, focus_distance_m: float, turn_deg_per_s: float, exposure_s: float
) -> float:
    """How far the middle of the image moves on the sensor while the camera turns (pans or tilts).

    Examples
    --------
    >>> lens = {"focal_length_mm": 50, "focus_distance_m": math.inf, "exposure_s": 1 / 30}
    >>> round(camera_turn_mm(turn_deg_per_s=60, **lens), 3)
    1.746
    """
    _finite(exposure_s=exposure_s)
    if not 0 <= turn_deg_per_s * exposure_s < 180:
        raise UserError(f"turn_deg_per_s={turn_deg_per_s!r}: give 0 or more, and under 180 degrees in one exposure")
    sensor = image_distance_mm(focal_length_mm=focal_length_mm, distance_m=focus_distance_m)
    return 2 * sensor * math.tan(math.radians(turn_deg_per_s * exposure_s) / 2)


def motion_label(motion_mm: float, *, sensor_height_mm: float, angle_deg: float = 0.0) -> str:
    """The label of a straight motion on the sensor, such as M21@30; ``sharp`` for less than a frame pixel.

    `angle_deg` is that of the path in the image, counter-clockwise from horizontal.

    Examples
    --------
    >>> motion_label(0.28, sensor_height_mm=24, angle_deg=-150), motion_label(0.02, sensor_height_mm=24)
    ('M5.97@30', 'sharp')
    """
    length = frame_pixels(motion_mm, sensor_height_mm=sensor_height_mm)
    if not math.isfinite(angle_deg):
        raise UserError(f"angle_deg={angle_deg!r}: give a finite number")
    return "sharp" if length < 1 else parse(f"M{length:.2f}@{angle_deg % 180:.2f}").label


def situations(
    *, focal_length_mm: float, f_number: float, focus_distance_m: float, exposure_s: float, sensor_height_mm: float
) -> dict:
    """What a camera does to a subject off focus or crossing the view, and to a scene while it is turned.

    Returns
    -------
    dict
        ``{"camera": text, "situations": [{"situation": text, "blur": label}]}``; the label is empty where the blur
        would be wider than the frame, or the situation cannot be.

    Raises
    ------
    UserError
        For a number that is not positive and finite.

    Examples
    --------
    >>> lens = {"focal_length_mm": 50, "f_number": 1.8, "focus_distance_m": 0.5}
    >>> situations(**lens, exposure_s=0.02, sensor_height_mm=24)["situations"][1]
    {'situation': 'subject 10 cm behind focus', 'blur': 'D5.49'}
    """
    lens = {"focal_length_mm": focal_length_mm, "focus_distance_m": focus_distance_m}
    sensor, shutter = {"sensor_height_mm": sensor_height_mm}, {"exposure_s": exposure_s}
    _finite(**lens, **sensor, **shutter, f_number=f_number)

    def defocused(away: float) -> str:
        return defocus_label(subject_distance_m=focus_distance_m + away, f_number=f_number, **lens, **sensor)

    def moved(speed: float) -> str:
        moving = {"subject_distance_m": focus_distance_m, "speed_m_per_s": speed}
        return motion_label(subject_motion_mm(**moving, **lens, **shutter), **sensor)

    def turned(turn: float) -> str:
        return motion_label(camera_turn_mm(turn_deg_per_s=turn, **lens, **shutter), **sensor)

    found = []
    for away in OFF_FOCUS_M:
        where = f"subject {abs(100 * away):g} cm {'behind' if away > 0 else 'before'} focus"
        found.append((where if math.isfinite(away) else "background at infinity", _or_empty(defocused, away)))
    for text, speed in SPEEDS_M_PER_S.items():
        found.append((f"{text}, {speed:g} m/s, at the focus distance", _or_empty(moved, speed)))
    for text, turn in TURNS_DEG_PER_S.items():
        found.append((f"{text}, {turn:g} degrees a second", _or_empty(turned, turn)))
    described = (
        f"{focal_length_mm:g} mm at f/{f_number:g}, focused at {focus_distance_m:g} m, {exposure_s:g} s, "
        f"sensor {sensor_height_mm:g} mm high"
    )
    return {"camera": described, "situations": [{"situation": text, "blur": blur} for text, blur in found]}


def _or_empty(make: Callable[[float], str], number: float) -> str:
    try:
        return make(number)
    except UserError:
        return ""
