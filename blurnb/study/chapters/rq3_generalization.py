"""RQ3: every training against every blur, and the part that scale plays."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from blurnb import labels
from blurnb.errors import UserError
from blurnb.study import parameters, values


class Parameters(parameters.Trained):
    """Generalization; `train_scales` are sides with a mix network of their own."""

    experiment: ClassVar[str] = "rq3"

    train_scales: values.WholeNumbers[Annotated[int, Field(ge=labels.SMALLEST_SIDE, le=labels.LARGEST_SIDE)]] = ()

    @model_validator(mode="after")
    def _averaged(self):
        scales = self.pair.scales
        sides = {side for scale in scales if "+" in scale for side in labels.sides(scale)}
        missing = sorted(sides - set(self.train_scales)) if self.train_scales else []
        if missing:
            raise UserError(f"train_scales={self.train_scales} lacks {missing[0]}, which scales={scales} average")
        return self
