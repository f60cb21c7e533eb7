"""RQ4: whether to deblur first and ask the sharp network, or to train on the mix and ask straight away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from blurnb.errors import shown
from blurnb.optics import deblurring
from blurnb.study import parameters, values

SMALL = ("scenes", "tiny-imagenet")
"""Data sets of small images; all others are photographs."""
Method = Annotated[str, values.one_of(*deblurring.METHODS)]


class Capture(NamedTuple):
    """What a camera does to the blurred image: rounds it ("8-bit blur"; "none"), or adds noise (of [0, 1])."""

    rounding: str = "none"
    noise_sd: float = 0.0


def _capture(word: Any) -> Capture:
    if word in ("exact", "8-bit"):
        return Capture("8-bit blur" if word == "8-bit" else "none")
    noise = re.fullmatch(r"noise (0\.\d+)", word) if isinstance(word, str) else None
    if not (noise and 0 < float(noise[1]) <= 0.5):
        raise ValueError(f"{shown(word)} is none of exact, 8-bit, noise 0.01 (a standard deviation up to 0.5)")
    return Capture(noise_sd=float(noise[1]))


class Pair(parameters.Pair):
    """A pair with its one scale, the methods that suit its images, and whose networks it has.

    `trained`: "rq2" the sharp and the mix network as RQ2 trains them, "as-is" the weights themselves, taken as trained
    on sharp. Wrong kernels are for pairs with a mix network, which needs no kernel to be compared with.
    """

    trained: Annotated[str, values.one_of("rq2", "as-is")]
    methods: values.Listed[str]
    wrong_kernels: values.Listed[str]


class Parameters(parameters.Trained):
    """Deblurring; `methods` for small images, `photograph_methods` for the others, where some take seconds an image."""

    experiment: ClassVar[str] = "rq4"
    takes_one: ClassVar[str] = ""
    own_scale: ClassVar[bool] = True

    pairs: tuple[Pair, ...]
    methods: values.Some[Method]
    photograph_methods: values.Some[Method]
    wrong_kernels: values.Listed[Method] = ()
    captures: values.Some[Annotated[Capture, BeforeValidator(_capture)]]
    tuning_images: int = Field(8, ge=0, le=1000)
    repeats: int = Field(7, ge=1, le=1000)

    @field_validator("rounding")
    @classmethod
    def _rounding_is_a_capture(cls, value: str) -> str:
        if value != "none":
            raise ValueError("rounding is one of this chapter's captures; leave it at none")
        return value

    @classmethod
    def completed(cls, pair: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        """The pair with the methods for its images, and with wrong kernels where it has a mix network."""
        methods = shared["methods" if pair["dataset"] in SMALL else "photograph_methods"]
        return pair | {"methods": methods, "wrong_kernels": shared["wrong_kernels"] if pair["trained"] == "rq2" else ()}
