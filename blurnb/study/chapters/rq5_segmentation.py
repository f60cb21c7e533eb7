"""RQ5: what blur does to the labelling of every pixel, and what training on it recovers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from blurnb.recognition import label_maps
from blurnb.study import parameters, recipes, values


class Pair(parameters.Pair):
    """A set of labelled pixels with the backbone below its head, and one scale."""

    dataset: Annotated[str, values.one_of(*label_maps.NAMES)]


class Parameters(parameters.Trained):
    """Segmentation: a zoomout head trained on sharp images first (`base_*`), then further on each mix.

    features: "trained" for training the backbone too, "frozen" for the head alone. hidden_channels, dropout: of the
    head. crop_width: of the part of a photograph that is trained on, pixels. backbone_share: of the learning rate.
    boundary_width: in radii of D8.
    """

    experiment: ClassVar[str] = "rq5"
    own_scale: ClassVar[bool] = True

    pairs: tuple[Pair, ...]
    view: Literal["dense"] = "dense"
    mixes: values.Mixes = ("sharp", "mix")
    features: values.Some[Annotated[str, values.one_of("trained", "frozen")]] = ("trained", "frozen")
    hidden_channels: int = Field(1000, ge=1, le=100_000)
    dropout: float = Field(0.5, ge=0, lt=1)
    crop_width: recipes.CropWidth = 336
    backbone_share: recipes.Part = 0.1
    boundary_width: float = Field(1.0, gt=0, le=16)
    base_epochs: parameters.SomeEpochs = 3

    def trainings(self) -> list[tuple]:
        """(mix, seed, whether the backbone is trained too) of every network that is trained further."""
        return [
            (mix, seed, feature == "trained")
            for seed in self.train_seeds
            for feature in self.features
            for mix in self.mixes
        ]

    def recipe(self, pair: parameters.Pair | None = None, **changed) -> recipes.SegmentationRecipe:
        """As for every chapter that trains, with what a head takes beside; `scale` is the side it is trained at."""
        shared = super().recipe(pair).model_dump()
        own = {"crop_width": self.crop_width, "backbone_share": self.backbone_share}
        return recipes.SegmentationRecipe(**{**shared, **own, **changed})
