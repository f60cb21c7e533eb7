"""RQ4: whether to deblur first and ask the sharp network, or to train on the mix and ask straight away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from blurnb.errors import shown
from blurnb.optics import deblurring
from blurnb.study import parameters

SMALL = ("scenes", "tiny-imagenet")
"""Data sets of small images; all others are photographs."""
Methods = Annotated[parameters.MaybeWords, AfterValidator(parameters.one_of(deblurring.METHODS))]


_Chosen = Annotated[
    tuple[str, ...], BeforeValidator(parameters.listed), AfterValidator(lambda value: tuple(dict.fromkeys(value)))
]


class Capture(NamedTuple):
    """What a camera does to the blurred image: rounds it ("8-bit blur"; "none"), or adds noise (of [0, 1])."""

    rounding: str = "none"
    noise_sd: float = 0.0


def _captures(value: Any) -> Any:
    words = parameters.listed(value)
    return [_capture(one) for one in words] if isinstance(words, list) else words


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

    trained: str
    methods: _Chosen
    wrong_kernels: _Chosen

    @field_validator("trained")
    @classmethod
    def _known_networks_of(cls, value: str) -> str:
        return parameters.known(value, ("rq2", "as-is"))


class Parameters(parameters.Trained):
    """Deblurring; `methods` for small images, `photograph_methods` for the others, where some take seconds an image."""

    experiment: ClassVar[str] = "rq4"
    takes_one: ClassVar[str] = ""
    own_scale: ClassVar[bool] = True

    pairs: tuple[Pair, ...]
    methods: Annotated[Methods, Field(min_length=1)]
    photograph_methods: Annotated[Methods, Field(min_length=1)]
    wrong_kernels: Methods = []
    captures: Annotated[
        tuple[Capture, ...],
        BeforeValidator(_captures),
        Field(min_length=1),
        AfterValidator(lambda value: tuple(dict.fromkeys(value))),
    ]
    tuning_images: int = Field(8, ge=0, le=1000)
    repeats: int = Field(7, ge=1, le=1000)

    @field_validator("rounding")
    @classmethod
    def _rounding_is_a_capture(cls, value: str) -> str:
        if value != "none":
            raise ValueError("rounding is one of this chapter's captures; leave it at none")
        return value

    @classmethod
    def _completed(cls, pair: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        methods = shared["methods" if pair["dataset"] in SMALL else "photograph_methods"]
        return pair | {"methods": methods, "wrong_kernels": shared["wrong_kernels"] if pair["trained"] == "rq2" else ()}
