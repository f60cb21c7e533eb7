"""How robust is one network, anybody's: its answers to one's own photographs, from which a card is drawn."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from blurnb.recognition import datasets, models
from blurnb.study import parameters, values


def _is_custom(network: str) -> bool:
    """Whether it is no name but a place; what is there, and whether it loads, is seen later."""
    return ":" in network or values.is_file(network)


class Pair(parameters.Pair):
    """`network` is a name, a TorchScript or torch.export file, or module:function; `dataset` "auto" is imagenet where
    every class folder is a WordNet id, else folder; an n_images beyond the set means all."""

    dataset: Annotated[str, values.one_of("auto", *datasets.NAMES)]
    network: Annotated[str, values.one_of(*models.names(), unless=_is_custom)]


def _written(value: Any) -> Any:
    """papermill's -p makes a number of 0.5."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Written = Annotated[str, BeforeValidator(_written)]


class Parameters(parameters.Evaluated):
    """One network that may be anybody's, on photographs sorted into folders, and the camera that takes them."""

    experiment: ClassVar[str] = "card"
    takes_one: ClassVar[str] = "a card is about one network"

    pairs: tuple[Pair, ...]
    mean: _Written = ""
    std: _Written = ""
    focal_length_mm: float = Field(50, gt=0, le=1e5)
    f_number: float = Field(1.8, gt=0, le=1e4)
    focus_distance_m: float = Field(1.0, gt=0, le=1e9)
    sensor_height_mm: float = Field(24, gt=0, le=1e4)
    exposure_s: float = Field(0.02, gt=0, le=1e5)

    @field_validator("blurs")
    @classmethod
    def _beside_sharp(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found = values.distinct(("sharp", *value))
        if len(found) < 2:
            raise ValueError("give at least one blur beside sharp")
        return found
