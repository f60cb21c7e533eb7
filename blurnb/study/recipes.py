"""How networks are trained: every field decides weights, and the range of each is said here for all who take it."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from blurnb.errors import UserError, demand_known, shown
from blurnb.labels import FRAME
from blurnb.optics.transforms import parse_mix

Augmentation = Literal["flip", "square"]
Batch = Annotated[int, Field(ge=1, le=100_000)]
Border = Literal["reflect", "replicate", "circular"]
CropWidth = Annotated[int, Field(ge=0, le=8192)]
Epochs = Annotated[int, Field(ge=0, le=10_000)]
Frame = Annotated[int, Field(ge=16, le=65536)]
FrozenBlocks = Annotated[int, Field(ge=0, le=1000)]
LearningRate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
MaxShift = Annotated[int, Field(ge=0, le=64)]
Optimizer = Literal["sgd", "adamw"]
Part = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Resample = Literal["bicubic", "bilinear"]
Seed = Annotated[int, Field(ge=0, le=2**31)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
WeightDecay = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


class Recipe(BaseModel):
    """How a network is trained; every field decides the weights and is written into the manifest.

    Parameters
    ----------
    mix : str, list or dict
        A name in `blurnb.optics.MIXES`, a label, a list of labels, or {label: weight}.
    epochs, batch, learning_rate, momentum, weight_decay, schedule, warmup, optimizer
        Of the optimization; the paper states none of them. `warmup` is a share of the steps.
    clip : float
        Largest norm of the gradient; 0 for none.
    frozen_blocks : int
        The first so many blocks keep their weights (`models.blocks`); 0 trains all.
    scale : int
        Shorter side of the training images, pixels; 0 keeps small images as they are.
    max_shift : int
        Largest random translation of small images, pixels; photographs get a random 7/8 crop instead.
    frame, border, resample
        As in evaluation.
    augmentation : "flip" or "square"
        Half of the images flipped left to right; or any of the square's eight symmetries.
    sharp_share : float
        So many of the draws are sharp and the others blurred in the mix's proportions; 0 for what the mix says.
    targets : "labels" or "teacher"
        The images' classes; or what a teacher answers to the image as it was before it was blurred, in the same place.
    teacher, teacher_weights : str
        The network that teaches, one of as many classes; "" for the one in training, as it was before.
    batch_norm : "updated" or "frozen"
        Frozen norms keep the statistics they came with, and learn their scale and shift: so it is, where nothing else
        is said, with a teacher, whose answers come from those statistics.

    Raises
    ------
    UserError
        For the first field that is unknown or out of range: one line that names it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    mix: str | list | dict = "mix"
    epochs: Epochs = 3
    batch: Batch = 64
    learning_rate: LearningRate = 0.01
    momentum: Share = 0.9
    weight_decay: WeightDecay = 1e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.05
    clip: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 5.0
    frozen_blocks: FrozenBlocks = 0
    label_smoothing: Share = 0.0
    scale: Annotated[int, Field(ge=0, le=4096)] = 0
    max_shift: MaxShift = 4
    frame: Frame = FRAME
    border: Border = "reflect"
    resample: Resample = "bicubic"
    precision: Literal["float32", "bf16"] = "float32"
    seed: Seed = 0
    optimizer: Optimizer = "sgd"
    augmentation: Augmentation = "flip"
    sharp_share: Share = 0.0
    targets: Literal["labels", "teacher"] = "labels"
    teacher: str = ""
    teacher_weights: str = "imagenet"
    batch_norm: Literal["updated", "frozen"] = "updated"

    def __init__(self, **fields: Any):
        check_names(fields, type(self).model_fields, "field of a recipe ")
        if fields.get("targets") == "teacher":
            fields = {"batch_norm": "frozen", **fields}
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise refusal(error, fields) from None

    @model_validator(mode="after")
    def _known_mix(self):
        parse_mix(self.mix)
        if self.teacher and self.targets == "labels":
            raise UserError(f"teacher={shown(self.teacher)} teaches nothing where targets='labels'; use 'teacher'")
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False):
        """The same recipe with other fields, which are checked too; pydantic's own would believe them."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **(update or {})})


class SegmentationRecipe(Recipe):
    """How a zoomout network is trained; `scale` is read otherwise than in `Recipe`, `frozen_blocks` is not read.

    Parameters
    ----------
    scale : int
        Shorter side to which photographs are brought before they are blurred, pixels; 0 keeps small images.
    end_to_end : bool
        Train the backbone too, at `backbone_share` of the learning rate; else only the head learns.
    crop_width : int
        Width of the part of a photograph that is trained on, which is `scale` high, pixels; 0 for a square.
    start : "fresh" or "further"
        Standardise the features first, or go on from the head as it is.
    """

    end_to_end: bool = False
    backbone_share: Part = 0.1
    crop_width: CropWidth = 336
    start: Literal["fresh", "further"] = "fresh"

    @model_validator(mode="after")
    def _narrow_enough(self):
        if self.targets == "teacher":
            raise UserError("targets='teacher' is for classifiers; pixels need their labels")
        if self.scale and self.crop_width >= 2 * self.scale:  # a narrow photograph is reflected to that width
            raise UserError(f"crop_width={self.crop_width} is twice scale={self.scale} or more; use a narrower one")
        return self


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise UserError, one line, for the first of `given` that is not `known`; `what` stands before its name."""
    known = list(known)
    for name in given:
        demand_known(name, known, what.rstrip())


def refusal(error: ValidationError, given: Mapping[str, Any], what: str = "") -> UserError:
    """The first thing that pydantic found wrong with `given`, as one line; `what` stands before the field's name."""
    first = error.errors()[0]
    text = str(first.get("ctx", {}).get("error") or first["msg"])[:1200]
    if not first["loc"]:
        return UserError(text)
    where = str(first["loc"][0])
    return UserError(f"{what}{where}={shown(given.get(where))}: {text}")
