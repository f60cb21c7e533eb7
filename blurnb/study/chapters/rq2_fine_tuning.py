"""RQ2: what fine-tuning on blur recovers, what it does to the layers, and where the loss comes from."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, StrictInt

from blurnb.study import parameters


class Parameters(parameters.Trained):
    """Fine-tuning; `frozen` are numbers of first blocks that keep their weights while a network learns the mix."""

    experiment: ClassVar[str] = "rq2"

    layer_blurs: parameters.Blurs
    layer_images: int = Field(256, ge=8)
    frozen: Annotated[list[Annotated[StrictInt, Field(ge=1, le=1000)]], BeforeValidator(parameters.whole_numbers)] = []
