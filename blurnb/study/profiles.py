"""Parameters of the chapters, checked before any work starts: a profile gives defaults, explicit values override."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)

from blurnb.errors import UserError, nearest, shown
from blurnb.optics import blurring, deblurring, transforms
from blurnb.recognition import datasets, label_maps, models
from blurnb.study import evaluation

WEIGHTS = ("imagenet", "none", "hed", "trained", "trained-briefly")
PROFILES = ("smoke", "embedded", "photographs", "paper")
PAPER_BLURS = ["sharp", "D2", "D4", "D6", "D8", "shake", "G4", "G8", "M21@30"]
PAPER_SCALES = ["128", "256", "512", "256+512"]
CARD_BLURS = ["sharp", "D2", "D4", "D8", "D16", "G4", "G8", "M10@30", "M21@30", "M40@30", "shake"]
CARD_SCALES = ["128", "256", "512"]


def _listed(value: Any) -> Any:
    """papermill's -p gives one text or number where a list is meant: "sharp,D8" or 256."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        return [str(value)]
    return (
        [str(part) if isinstance(part, int) else part for part in value] if isinstance(value, list | tuple) else value
    )


def _numbers(value: Any) -> Any:
    """As `_listed`, for whole numbers."""
    if isinstance(value, bool):
        return value  # refused by the type
    if isinstance(value, str) and value.replace(",", "").replace(" ", "").isdigit():
        return [int(part) for part in value.split(",") if part.strip()] if "," in value else int(value)
    return value


def _number_list(value: Any) -> Any:
    value = _numbers(value)
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Numbers = Annotated[list[StrictInt], BeforeValidator(_number_list)]
Words = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class Common(BaseModel):
    """What every chapter takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["smoke", "embedded", "photographs", "paper"] = "embedded"
    data_root: str = ""
    seed: int = Field(0, ge=0, le=2**31)
    device: str = "cpu"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    output_dir: str = "out"
    strict: bool = False

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        import torch

        if not re.fullmatch("(cpu|mps)(:0)?|cuda(:[0-9]{1,3})?", value):
            raise ValueError("use cpu, cuda, cuda:1 or mps")
        kind, _, place = value.partition(":")
        if (kind == "cuda" and not torch.cuda.is_available()) or (
            kind == "mps" and not torch.backends.mps.is_available()
        ):
            raise ValueError(f"torch sees no {kind} device here; use cpu")
        if kind == "cuda" and int(place or 0) >= torch.cuda.device_count():
            raise ValueError(f"torch sees {torch.cuda.device_count()} cuda devices, counted from 0")
        return value

    @field_validator("output_dir")
    @classmethod
    def _some_folder(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("give a folder")
        return value


class Evaluated(Common):
    """What a chapter takes that evaluates networks on images: `dataset` and `network` may name several, in pairs."""

    PAIRED: ClassVar[tuple[str, ...]] = ("dataset", "network", "weights", "n_images")

    dataset: Words
    network: Words
    weights: Words
    blurs: Words
    scales: Words
    view: Literal["dense", "center-crop"] = "dense"
    flip: bool = False
    n_images: Annotated[list[StrictInt] | StrictInt, BeforeValidator(_numbers)]
    frame: int = Field(blurring.FRAME, ge=16, le=65536)
    border: Literal["reflect", "replicate", "circular"] = "reflect"
    rounding: Literal["none", "8-bit", "8-bit blur"] = "none"
    small_input: Literal["adaptive", "zero-pad", "upsample"] = "adaptive"
    batch: int = Field(4, ge=1, le=4096)
    workers: int = Field(1, ge=1, le=256)

    @field_validator("dataset")
    @classmethod
    def _known_datasets(cls, value: list[str]) -> list[str]:
        return [_known(one, datasets.NAMES) for one in value]

    @field_validator("network")
    @classmethod
    def _known_networks(cls, value: list[str]) -> list[str]:
        return [_known(one, models.names()) for one in value]

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, value: list[str]) -> list[str]:
        for one in value:
            if one not in WEIGHTS and not _is_file(one):
                raise ValueError(
                    f"{shown(one[:80])} is no file{nearest(one[:80], WEIGHTS)}; known: {', '.join(WEIGHTS)}"
                )
        return value

    @field_validator("blurs")
    @classmethod
    def _known_blurs(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(blurring.parse(one).label for one in value))

    @field_validator("scales")
    @classmethod
    def _known_scales(cls, value: list[str]) -> list[str]:
        for one in value:
            if one != "native":
                evaluation.scale_parts(one)
        return list(dict.fromkeys(value))

    @field_validator("n_images")
    @classmethod
    def _not_negative(cls, value):
        for one in value if isinstance(value, list) else [value]:
            if one < 0:
                raise ValueError("use 0 for all images")
        return value

    @model_validator(mode="after")
    def _paired(self):
        self.evidence()
        return self

    def protocol(self, **changed) -> evaluation.Protocol:
        """The evaluation protocol that these parameters describe."""
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if models.reduced_precision() else "float32"
        given = {"frame": self.frame, "view": self.view, "flip": self.flip, "border": self.border}
        given |= {"rounding": self.rounding, "precision": precision, "seed": self.seed}
        return evaluation.Protocol(**{**given, **changed})

    def evidence(self) -> list[dict]:
        """One dict (dataset, network, weights, n_images) for each pair; a single value serves all pairs."""
        count = max(len(self.dataset), len(self.network))
        n_images = self.n_images if isinstance(self.n_images, list) else [self.n_images]
        columns = {"dataset": self.dataset, "network": self.network, "weights": self.weights, "n_images": n_images}
        for name, values in columns.items():
            if len(values) not in (1, count):
                raise UserError(
                    f"{name} has {len(values)} entries for {count} pairs of dataset and network; give 1 or {count}"
                )
        return [{name: values[i if len(values) > 1 else 0] for name, values in columns.items()} for i in range(count)]


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError):  # a name too long, a folder that may not be entered, the home of nobody
        return False


def _known(word: str, known) -> str:
    if word not in known:
        raise ValueError(
            f"{shown(word)} is unknown{nearest(word[:80], known) or '; known: ' + ', '.join(list(known)[:12])}"
        )
    return word


def _in_range(value: list[int], low: int, high: int) -> list[int]:
    for one in value:
        if not low <= one <= high:
            raise ValueError(f"use {low} to {high}")
    return value


class RQ1(Evaluated):
    """Degradation: accuracy and confidence of sharp-trained networks against blur, and against its dose.

    `backend`: eager (torch), or openvino, which is several times as fast on a CPU and is checked against it.
    """

    backend: Literal["eager", "openvino"] = "eager"
    dose_blurs: Words
    dose_scales: Words

    @field_validator("dose_blurs")
    @classmethod
    def _known_dose_blurs(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(blurring.parse(one).label for one in value))

    @field_validator("dose_scales")
    @classmethod
    def _known_dose_scales(cls, value: list[str]) -> list[str]:
        return cls._known_scales(value)


class Trained(Evaluated):
    """What a chapter takes that also trains: a sharp network first (`base_*`), then each mix from there on.

    While it learns sharp images its first `base_frozen` blocks keep the weights they came with.

    Of `train_seeds` the first trains every mix, the others sharp and mix alone.
    """

    mixes: Words
    train_images: int = Field(0, ge=0)
    train_seeds: Annotated[Numbers, Field(min_length=1)] = [0]
    base_epochs: int = Field(2, ge=0, le=10_000)
    base_learning_rate: float = Field(0.02, gt=0, le=10)
    base_frozen: int = Field(0, ge=0, le=1000)
    epochs: int = Field(2, ge=1, le=10_000)
    learning_rate: float = Field(0.01, gt=0, le=10)
    train_batch: int = Field(64, ge=1, le=100_000)
    weight_decay: float = Field(1e-4, ge=0, le=1)
    shift: int = Field(4, ge=0, le=64)
    warmup: float = Field(0.05, ge=0, le=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    symmetry: Literal["mirror", "square"] = "mirror"
    train_workers: int = Field(0, ge=0, le=256)

    def trainings(self) -> list[tuple[str, int]]:
        """(mix, seed) of every network that is fine-tuned."""
        first, *others = self.train_seeds
        return [(mix, first) for mix in self.mixes] + [
            (mix, seed) for seed in others for mix in ("sharp", "mix") if mix in self.mixes
        ]

    @field_validator("train_seeds")
    @classmethod
    def _seeds_in_range(cls, value: list[int]) -> list[int]:
        return _in_range(value, 0, 2**31)

    @field_validator("mixes")
    @classmethod
    def _known_mixes(cls, value: list[str]) -> list[str]:
        for one in value:
            transforms.parse_mix(one.split("+") if "+" in one else one)
        return list(dict.fromkeys(value))


class RQ2(Trained):
    """Fine-tuning: what it recovers, what it does to the layers, and where the loss comes from."""

    layer_blurs: Words
    layer_images: int = Field(256, ge=8)
    frozen: Numbers = []

    @field_validator("layer_blurs")
    @classmethod
    def _known_layer_blurs(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(blurring.parse(one).label for one in value))

    @field_validator("frozen")
    @classmethod
    def _blocks_in_range(cls, value: list[int]) -> list[int]:
        return _in_range(value, 1, 1000)


class RQ3(Trained):
    """Generalization: every training against every blur, and the part that scale plays."""

    train_scales: Numbers = []

    @field_validator("train_scales")
    @classmethod
    def _sides_in_range(cls, value: list[int]) -> list[int]:
        return _in_range(value, 32, 4096)

    @model_validator(mode="after")
    def _averaged(self):
        sides = {side for scale in self.scales if "+" in scale for side in evaluation.scale_parts(scale)}
        missing = sorted(sides - set(self.train_scales)) if self.train_scales else []
        if missing:
            raise UserError(f"train_scales={self.train_scales} lacks {missing[0]}, which scales={self.scales} average")
        return self


class RQ4(Trained):
    """Deblurring: restore and ask the sharp network, or train on the mix and ask straight away.

    Data sets and networks come in pairs, each with its frame and scale. `trained` says whose networks a pair has:
    "rq2" the sharp and the mix network as RQ2 trains them, "as-is" the weights themselves, taken as trained on sharp.
    Wrong kernels are for pairs with a mix network, which needs no kernel to be compared with.
    """

    PAIRED: ClassVar[tuple[str, ...]] = (*Evaluated.PAIRED, "frame", "scales", "trained")

    trained: Words
    frame: Annotated[list[StrictInt] | StrictInt, BeforeValidator(_numbers)] = blurring.FRAME
    methods: Words
    photograph_methods: Words
    factors: Words
    wrong_kernels: Annotated[list[str], BeforeValidator(_listed)] = []
    tuning_images: int = Field(8, ge=0, le=1000)
    repeats: int = Field(7, ge=1, le=1000)

    @field_validator("frame")
    @classmethod
    def _frames_in_range(cls, value):
        for one in value if isinstance(value, list) else [value]:
            if not 16 <= one <= 65536:
                raise ValueError("use 16 to 65536 pixels")
        return value

    @field_validator("trained")
    @classmethod
    def _known_networks_of(cls, value: list[str]) -> list[str]:
        return [_known(one, ("rq2", "as-is")) for one in value]

    @field_validator("methods", "photograph_methods", "wrong_kernels")
    @classmethod
    def _known_methods(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(_known(one, deblurring.METHODS) for one in value))

    @field_validator("factors")
    @classmethod
    def _known_factors(cls, value: list[str]) -> list[str]:
        for one in value:
            noise = re.fullmatch(r"noise (0\.\d+)", one)
            if one not in ("exact", "8-bit") and not (noise and 0 < float(noise[1]) <= 0.5):
                raise ValueError(f"{one!r} is none of exact, 8-bit, noise 0.01 (a standard deviation up to 0.5)")
        return list(dict.fromkeys(value))

    @field_validator("rounding")
    @classmethod
    def _rounding_is_a_factor(cls, value: str) -> str:
        if value != "none":
            raise ValueError("rounding is one of this chapter's factors; leave it at none")
        return value

    @model_validator(mode="after")
    def _paired(self):
        self.pairs()
        return self

    def pairs(self) -> list[RQ4]:
        """These parameters for each pair of data set and network, `frame`, `scales` and `trained` being its own."""
        found = []
        each = self.evidence()
        for place, pair in enumerate(each):
            own = {name: [pair[name]] for name in ("dataset", "network", "weights")} | {"n_images": pair["n_images"]}
            for name in ("frame", "scales", "trained"):
                values = getattr(self, name)
                values = values if isinstance(values, list) else [values]
                if len(values) not in (1, len(each)):
                    raise UserError(f"{name} has {len(values)} entries for {len(each)} pairs; give 1 or {len(each)}")
                one = values[place if len(values) > 1 else 0]
                own[name] = one if name == "frame" else [one]
            own["wrong_kernels"] = self.wrong_kernels if own["trained"] == ["rq2"] else []
            found.append(self.model_copy(update=own))
        return found


class RQ5(Trained):
    """Segmentation: a zoomout head trained on sharp images first (`base_*`), then further on each mix.

    features: "trained" for training the backbone too (the networks that records call sharp and mix), "frozen" for the
    head alone (sharp, head only; mix, head only). hidden, dropout: of the head. window: width of the part of a
    photograph that is trained on. backbone_share: of the learning rate. band: width of the boundary, in radii of D8.
    """

    view: Literal["dense"] = "dense"
    mixes: Words = ["sharp", "mix"]
    features: Words = ["trained", "frozen"]
    hidden: int = Field(1000, ge=1, le=100_000)
    dropout: float = Field(0.5, ge=0, lt=1)
    window: int = Field(336, ge=0, le=8192)
    backbone_share: float = Field(0.1, gt=0, le=10)
    band: float = Field(1.0, gt=0, le=16)
    base_epochs: int = Field(3, ge=1, le=10_000)

    @field_validator("dataset")
    @classmethod
    def _known_datasets(cls, value: list[str]) -> list[str]:
        return [_known(one, label_maps.NAMES) for one in value]

    @field_validator("dataset", "network", "weights", "scales")
    @classmethod
    def _single(cls, value: list[str]) -> list[str]:
        if len(value) != 1:
            raise ValueError("this chapter takes one")
        return value

    @field_validator("features")
    @classmethod
    def _known_features(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(_known(one, ("trained", "frozen")) for one in value))

    def trainings(self) -> list[tuple[str, int, bool]]:
        """(mix, seed, whether the backbone is trained too) of every network that is trained further."""
        return [
            (mix, seed, feature == "trained")
            for seed in self.train_seeds
            for feature in self.features
            for mix in self.mixes
        ]


def _text(value: Any) -> Any:
    """papermill's -p makes a number of 0.5."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Card(Evaluated):
    """One network that may be anybody's, on photographs sorted into folders, and the camera that takes them.

    `network` is a name, a TorchScript or torch.export file, or module:function (`recognition.guests`); `dataset`
    "auto" is imagenet where every class folder is a WordNet id, else folder; an n_images beyond the set means all.
    """

    mean: Annotated[str, BeforeValidator(_text)] = ""
    std: Annotated[str, BeforeValidator(_text)] = ""
    focal_length_mm: float = Field(50, gt=0, le=1e5)
    f_number: float = Field(1.8, gt=0, le=1e4)
    focus_distance_m: float = Field(1.0, gt=0, le=1e9)
    sensor_height_mm: float = Field(24, gt=0, le=1e4)
    exposure_s: float = Field(0.02, gt=0, le=1e5)

    @field_validator("dataset")
    @classmethod
    def _known_datasets(cls, value: list[str]) -> list[str]:
        return [_known(one, ("auto", *datasets.NAMES)) for one in value]

    @field_validator("network")
    @classmethod
    def _known_networks(cls, value: list[str]) -> list[str]:
        """Guests are named by a path or by module:function; whether they load is seen when they do."""
        return [one if ":" in one or Path(one).expanduser().is_file() else _known(one, models.names()) for one in value]

    @field_validator("blurs")
    @classmethod
    def _known_blurs(cls, value: list[str]) -> list[str]:
        found = list(dict.fromkeys(["sharp", *(blurring.parse(one).label for one in value)]))
        if len(found) < 2:
            raise ValueError("give at least one blur beside sharp")
        return found

    @model_validator(mode="after")
    def _one(self):
        for name in self.PAIRED[:3]:
            if len(getattr(self, name)) != 1:
                raise UserError(f"{name} has {len(getattr(self, name))} entries; a card is about one network")
        return self


_BOTH = {"dataset": ["scenes", "foolbox20"], "network": ["vgg_mini", "efficientnet_lite0"]}
_IMAGENET = {"dataset": ["imagenet"], "weights": ["imagenet"], "n_images": 0}
_FULL = {"blurs": PAPER_BLURS, "scales": PAPER_SCALES}
_BRIEF = {"blurs": ["sharp", "D4", "D8", "shake"], "scales": ["128", "256", "128+256"]}
# Every strength of disk, Gaussian and motion with the same standard deviation: D8, G4, M19.6@30 (and shake): 4 pixels.
_DOSES = {
    "dose_blurs": ["sharp", "D1", "D2", "D4", "D8", "D12", "D16", "D24", "D32", "G2", "G4", "G8", "M9.8@30",
                   "M19.6@30", "M39@30", "shake"],
    "dose_scales": ["128", "256"],
}  # fmt: skip
_FEW_DOSES = {"dose_blurs": ["sharp", "D4", "D8", "D16", "G4", "M19.6@30", "shake"], "dose_scales": ["128"]}

# How the networks of RQ2 and RQ3 are trained; the chapters share them, so that none is trained twice.
_MIXES = ["sharp", "mix", "defocus", "shake", "D8", "M21@30"]
_SCENES = {"dataset": ["scenes"], "network": ["vgg_mini"], "weights": ["none"], "scales": ["native"]}
_EMBEDDED_TRAINING = {
    **_SCENES,
    **{"train_images": 4000, "base_epochs": 6, "base_learning_rate": 0.003, "epochs": 2, "learning_rate": 0.001},
    **{"train_batch": 32, "weight_decay": 0.02, "optimizer": "adamw", "warmup": 0.2, "symmetry": "square", "shift": 0},
    **{"n_images": 1000, "mixes": _MIXES},
}
_SMOKE_TRAINING = {**_EMBEDDED_TRAINING, "train_images": 384, "base_epochs": 2, "epochs": 1, "n_images": 64}
_SMOKE_TRAINING |= {"mixes": ["sharp", "mix", "defocus", "shake"]}
# Tiny ImageNet is blurred in a frame of 128: relative to the image every kernel is four times the paper's, so that
# the range of loss covers the paper's on images of 64 pixels. In float32: bf16 takes 1.8 times as long for a step of
# EfficientNet, whose depthwise convolutions are slow backwards (of VGG-16 two thirds).
_TINY_TRAINING = {
    **{"dataset": ["tiny-imagenet"], "network": ["efficientnet_lite0"], "weights": ["imagenet"], "frame": 128},
    **{"scales": ["native"], "n_images": 0, "mixes": ["sharp", "mix", "defocus", "shake", "D8"], "train_seeds": [0, 1]},
    **{"base_epochs": 2, "base_learning_rate": 0.02, "epochs": 2, "learning_rate": 0.01, "precision": "float32"},
}
_PAPER_TRAINING = {
    **{"dataset": ["imagenet"], "network": ["vgg16"], "weights": ["imagenet"], "n_images": 0, "flip": True},
    **{"scales": ["256"], "base_epochs": 0, "epochs": 5, "learning_rate": 0.001, "mixes": _MIXES, "train_batch": 128},
}
_RESTORED = {
    **{"methods": ["wiener", "krishnan_fergus"], "photograph_methods": ["wiener", "krishnan_fergus"]},
    **{"factors": ["exact", "8-bit", "noise 0.01"], "wrong_kernels": ["wiener", "krishnan_fergus"]},
    **{"trained": ["rq2"], "blurs": ["sharp", "D4", "D8", "M21@30", "shake"]},
}
_LITE = {"network": ["efficientnet_lite0"], "weights": ["imagenet"], "n_images": 500}
# The zoomout heads; in the embedded profile the backbone is the sharp network of RQ2.
_SCENE_PIXELS = {
    **{"dataset": ["scenes"], "network": ["vgg_mini"], "weights": ["trained"], "scales": ["native"], "hidden": 64},
    **{"train_images": 800, "base_epochs": 2, "base_learning_rate": 0.003, "epochs": 2, "learning_rate": 0.001},
    **{"train_batch": 16, "weight_decay": 0.02, "optimizer": "adamw", "warmup": 0.2, "symmetry": "square", "shift": 0},
    **{"n_images": 200, "blurs": ["sharp", "D2", "D4", "D6", "D8", "shake", "G4", "M21@30"], "dropout": 0.2},
}
_STREETS = {
    **{"dataset": ["camvid"], "network": ["efficientnet_lite0"], "weights": ["imagenet"], "scales": ["256"]},
    **{"n_images": 0, "hidden": 256, "train_batch": 8, "base_epochs": 4, "base_learning_rate": 0.002},
    **{"epochs": 2, "learning_rate": 0.001, "optimizer": "adamw", "weight_decay": 0.01, "warmup": 0.1},
    **{"blurs": ["sharp", "D2", "D4", "D6", "D8", "shake", "G4", "M21@30"], "backbone_share": 0.3, "dropout": 0.2},
}
_WIDER = ["D2", "D4", "D5", "D6", "D8", "D12", "G2", "G4", "M9@0", "M21@30", "M33@90", "shake8", "shake24", "inertial"]

DEFAULTS: dict[str, tuple[type[Common], dict[str, dict[str, Any]]]] = {
    "rq1": (
        RQ1,
        {
            "smoke": {
                **_BOTH,
                **_BRIEF,
                **_FEW_DOSES,
                "weights": ["trained-briefly", "imagenet"],
                "n_images": [64, 3],
            },
            "embedded": {**_BOTH, **_FULL, **_DOSES, "weights": ["trained", "imagenet"], "n_images": [1000, 20]},
            "photographs": {**_IMAGENET, **_FULL, **_DOSES, "network": ["efficientnet_lite0"]},
            "paper": {**_IMAGENET, **_FULL, **_DOSES, "network": ["vgg16"], "flip": True, "precision": "float32"},
        },
    ),
    "rq2": (
        RQ2,
        {
            "smoke": {
                **_SMOKE_TRAINING,
                "blurs": _BRIEF["blurs"],
                "layer_blurs": ["D8"],
                "layer_images": 32,
                "frozen": [2],
            },
            "embedded": {
                **_EMBEDDED_TRAINING,
                "blurs": PAPER_BLURS,
                "layer_blurs": ["D4", "D8", "shake", "M21@30"],
                "frozen": [1, 2, 3],
            },
            "photographs": {**_TINY_TRAINING, "blurs": PAPER_BLURS, "layer_blurs": ["D4", "D8", "shake", "M21@30"]},
            "paper": {**_PAPER_TRAINING, "blurs": PAPER_BLURS, "layer_blurs": ["D4", "D8", "shake", "M21@30"]},
        },
    ),
    "rq3": (
        RQ3,
        {
            "smoke": {
                **_SMOKE_TRAINING,
                "blurs": _BRIEF["blurs"],
                "scales": ["96", "128", "96+128"],
                "train_scales": [96, 128],
            },
            "embedded": {
                **_EMBEDDED_TRAINING,
                "blurs": ["sharp", *_WIDER],
                "scales": ["96", "128", "96+128"],
                "train_scales": [96, 128],
            },
            "photographs": {**_TINY_TRAINING, "blurs": ["sharp", *_WIDER], "scales": ["64", "96", "64+96"]},
            "paper": {
                **_PAPER_TRAINING,
                "blurs": ["sharp", *_WIDER],
                "scales": ["256", "512", "256+512"],
                "train_scales": [256, 512],
            },
        },
    ),
    "rq4": (
        RQ4,
        {
            "smoke": {
                **_SMOKE_TRAINING,
                **_RESTORED,
                "blurs": ["sharp", "D8", "M21@30"],
                "factors": ["exact", "noise 0.01"],
                "wrong_kernels": ["wiener"],
                "n_images": 8,
                "tuning_images": 2,
                "repeats": 2,
            },
            "embedded": {**_EMBEDDED_TRAINING, **_RESTORED, "n_images": 200},
            "photographs": {
                **_TINY_TRAINING,
                **_RESTORED,
                **{"dataset": ["tiny-imagenet", "imagenet"], "network": ["efficientnet_lite0"] * 2},
                **{"trained": ["rq2", "as-is"], "frame": [128, blurring.FRAME], "scales": ["native", "256"]},
                "methods": ["wiener", "richardson_lucy", "tv", "krishnan_fergus"],
                "blurs": ["sharp", "D2", "D4", "D8", "M21@30", "shake"],
                "n_images": [256, 60],
            },
            "paper": {
                **_PAPER_TRAINING,
                **_RESTORED,
                "photograph_methods": ["wiener", "richardson_lucy", "tv", "krishnan_fergus", "epll"],
                "blurs": PAPER_BLURS,
                "n_images": 2000,
            },
        },
    ),
    "rq5": (
        RQ5,
        {
            "smoke": {
                **_SCENE_PIXELS,
                **{"weights": ["trained-briefly"], "train_images": 96, "train_batch": 8, "base_epochs": 6, "epochs": 1},
                "n_images": 24,
                "blurs": ["sharp", "D8", "shake"],
            },
            "embedded": _SCENE_PIXELS,
            "photographs": _STREETS,
            "paper": {
                **{"dataset": ["voc2012"], "network": ["vgg16"], "weights": ["imagenet"], "scales": ["256"]},
                **{
                    "n_images": 0,
                    "blurs": PAPER_BLURS,
                    "train_batch": 8,
                    "base_epochs": 20,
                    "base_learning_rate": 0.01,
                },
                **{"epochs": 10, "learning_rate": 0.001},
            },
        },
    ),
    "card": (
        Card,
        {
            "smoke": {**_LITE, "dataset": ["foolbox20"], "blurs": _BRIEF["blurs"], "scales": ["128"], "n_images": 3},
            "embedded": {**_LITE, "dataset": ["foolbox20"], "blurs": CARD_BLURS, "scales": ["128", "256"]},
            "photographs": {**_LITE, "dataset": ["auto"], "blurs": CARD_BLURS, "scales": CARD_SCALES},
            "paper": {**_IMAGENET, "network": ["vgg16"], "flip": True, "blurs": CARD_BLURS, "scales": PAPER_SCALES},
        },
    ),
}


def question_of(stem: str) -> str:
    """The question that a notebook's file name stands for: rq1_degradation -> rq1."""
    return stem if stem in DEFAULTS else stem.split("_")[0]


_KERNEL_NAMES = {"In", "Out", "get_ipython", "exit", "quit", "open"}


def validate(question: str, given: Mapping[str, Any]) -> Any:
    """The checked parameters of a chapter (``"rq1"``...). None means: the profile's default.

    `given` may be a notebook's ``globals()``: modules, callables and IPython's own names are passed over, and what
    is left that no chapter knows is an error, because papermill only warns of a mistyped name. Raises UserError,
    one line, for the first parameter that is unknown or out of range.
    """
    if question not in DEFAULTS:
        raise UserError(f"question {question!r} is unknown{nearest(question, DEFAULTS)}; known: {', '.join(DEFAULTS)}")
    model, profiles = DEFAULTS[question]
    named = {k: v for k, v in given.items() if not _is_furniture(k, v)}
    for name in named:
        if name not in model.model_fields:
            raise UserError(
                f"parameter {shown(name)} is unknown{nearest(str(name)[:80], model.model_fields)}; "
                f"known: {', '.join(model.model_fields)}"
            )
    profile = "embedded" if named.get("profile") is None else named["profile"]
    if not isinstance(profile, str) or profile not in profiles:
        meant = nearest(profile[:80], profiles) if isinstance(profile, str) else ""
        raise UserError(f"profile {shown(profile)} is unknown{meant}; known: {', '.join(profiles)}")
    explicit = {name: value for name, value in named.items() if value is not None}
    defaults = _without_pairs(profiles[profile], explicit)
    try:
        return model(**{**defaults, **explicit, "profile": profile})
    except (RecursionError, OverflowError) as error:
        raise UserError(f"parameters {', '.join(explicit)}: too deep or too large ({type(error).__name__})") from None
    except ValidationError as error:
        first = error.errors()[0]
        text = str(first.get("ctx", {}).get("error") or first["msg"])[:1200]
        if not first["loc"]:
            raise UserError(text) from None
        where = str(first["loc"][0])
        raise UserError(f"parameter {where}={shown(explicit.get(where, defaults.get(where)))}: {text}") from None


def _without_pairs(defaults: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, with the profile's pair that fits an explicit data set or network where there are several.

    Where none fits, ImageNet's weights and all images: the n of another pair would mean nothing.
    """
    found = dict(defaults)
    if "dataset" not in explicit and "network" not in explicit:
        return found
    count = max(len(defaults[name]) for name in ("dataset", "network"))
    pairs = [{n: v[i] if len(v) > 1 else v[0] for n, v in defaults.items() if n in PAIRED and isinstance(v, list)}
             for i in range(count)]  # fmt: skip
    fits = [p for p in pairs if all(_listed(explicit[n]) == [p[n]] for n in ("dataset", "network") if n in explicit)]
    chosen = (
        fits[0] if fits else {**pairs[-1], "weights": "imagenet" if count > 1 else pairs[-1]["weights"], "n_images": 0}
    )
    return found | {name: [value] for name, value in chosen.items()}


PAIRED = ("dataset", "network", "weights", "n_images")


def _is_furniture(name: str, value: Any) -> bool:
    return str(name).startswith("_") or name in _KERNEL_NAMES or isinstance(value, types.ModuleType) or callable(value)
