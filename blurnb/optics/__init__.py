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
}

__all__ = [
    "MIXES",
    "Blur",
    "RandomBlur",
    "blur",
    "camera_shake",
    "camera_shake_inertial",
    "deblur",
    "defocus",
    "gaussian",
    "linear_motion",
    "parse",
    "rescale",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
