"""Light: kernels (arrays), blurring (an act), and what undoes it.

Names are loaded when first used, so that importing this room compiles nothing and pulls in no more than the
name needs.
"""

import importlib

_ROOM = {
    "kernels": ("defocus", "gaussian", "linear_motion", "camera_shake", "camera_shake_inertial", "rescale"),
    "blurring": ("blur", "kernel_for"),
    "deblurring": ("deblur",),
    "transforms": ("RandomBlur", "MIXES"),
    "camera": ("blur_circle_mm", "camera_turn_mm", "defocus_label", "motion_label", "situations", "subject_motion_mm"),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _ROOM.items() for name in names}
_HOMES |= {"Blur": "blurnb.labels", "parse": "blurnb.labels"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
