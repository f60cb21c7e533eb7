"""RQ2: what fine-tuning on blur recovers, what it does to the layers, and where the loss comes from."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from blurnb.study import parameters, recipes, values


class Parameters(parameters.Trained):
    """Fine-tuning; `frozen` are numbers of first blocks that keep their weights while a network learns the mix."""

    experiment: ClassVar[str] = "rq2"

    layer_blurs: values.Blurs
    layer_images: int = Field(256, ge=8)
    frozen: values.WholeNumbers[Annotated[recipes.FrozenBlocks, Field(ge=1)]] = ()
