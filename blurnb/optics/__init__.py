"""Light: kernels (arrays), blurring (an act), and what undoes it.

Names are loaded when first used, so that importing this wing compiles nothing and pulls in no more than the
name needs.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "defocus": "kernels",
    "gaussian": "kernels",
    "linear_motion": "kernels",
    "camera_shake": "kernels",
    "camera_shake_inertial": "kernels",
    "rescale": "kernels",
    "Blur": "blurring",
    "parse": "blurring",
    "blur": "blurring",
    "deblur": "deblurring",
    "RandomBlur": "transforms",
    "MIXES": "transforms",
    "blur_circle_mm": "camera",
    "camera_turn_mm": "camera",
    "defocus_label": "camera",
    "depth_of_field_m": "camera",
    "hyperfocal_m": "camera",
    "motion_label": "camera",
    "sensor_height_mm": "camera",
    "subject_motion_mm": "camera",
}

__all__ = [
    "MIXES",
    "Blur",
    "RandomBlur",
    "blur",
    "blur_circle_mm",
    "camera_shake",
    "camera_shake_inertial",
    "camera_turn_mm",
    "deblur",
    "defocus",
    "defocus_label",
    "depth_of_field_m",
    "gaussian",
    "hyperfocal_m",
    "linear_motion",
    "motion_label",
    "parse",
    "rescale",
    "sensor_height_mm",
    "subject_motion_mm",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
