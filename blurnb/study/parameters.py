"""Parameters of the chapters, checked before any work starts: a profile gives defaults, explicit values override."""

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, ValidationError, model_validator

from blurnb import files, labels
from blurnb.errors import UserError, nearest, shown
from blurnb.optics import transforms
from blurnb.recognition import datasets, models, scenes
from blurnb.study import profiles, recipes
from blurnb.study.protocol import Protocol
from blurnb.study.values import Some, Text, WholeNumbers, is_file, listed, one_of, where, whole_numbers

SCENES = {"scenes": "shared.scenes_training", "scenes-smoke": "shared.scenes_smoke_training"}
"""Weights that are known by name: the sharp network of a block of `profiles.toml`."""
WEIGHTS = ("imagenet", "compressed", "none", *SCENES)
NATIVE = {"scenes": scenes.SIDE, "tiny-imagenet": 64}
"""Data sets of small images, by their side in pixels; all others are photographs."""
FRAMES = {"scenes": 256, "tiny-imagenet": 128}
"""Their frames where nobody says another. On 96 pixels D2 is no blur in a frame of 384 or more, nor is some shake8 in
one of 320. In 256 every label blurs and accuracy falls on down to D8; in 160 D4 leaves little that can fall."""
_KERNEL_NAMES = {"In", "Out", "get_ipython", "exit", "quit", "open"}


def parts(mix: str) -> str | list[str]:
    """A mix as `optics.transforms` takes it: labels and names joined by "+" are equally likely."""
    return mix.split("+") if "+" in mix else mix


Blurs = Some[Annotated[Text, AfterValidator(lambda label: labels.parse(label).label)]]
Mixes = Some[Annotated[Text, where(lambda mix: transforms.parse_mix(parts(mix)))]]
Scales = Some[Annotated[Text, AfterValidator(lambda s: s if s == "native" else "+".join(map(str, labels.sides(s))))]]
Rounding = Literal["none", "8-bit", "8-bit blur"]


def _weights(name: str) -> str:
    if name in WEIGHTS or is_file(name):
        return name
    raise ValueError(f"{shown(name[:80])} is no file{nearest(name[:80], WEIGHTS)}; known: {', '.join(WEIGHTS)}")


def _device(value: str) -> str:
    if not re.fullmatch("(cpu|mps)(:0)?|cuda(:[0-9]{1,3})?", value):
        raise ValueError("use cpu, cuda, cuda:1 or mps")
    kind, _, place = value.partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[kind]:
        raise ValueError(f"torch sees no {kind} device here; use cpu")
    if kind == "cuda" and int(place or 0) >= torch.cuda.device_count():
        raise ValueError(f"torch sees {torch.cuda.device_count()} cuda devices, counted from 0")
    return value


# -- what the chapters share


class Pair(BaseModel):
    """A data set with the network that answers it; `scales` may hold the word "native", the side of small images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Annotated[str, one_of(*datasets.NAMES)]
    network: Annotated[str, one_of(*models.names())]
    weights: Annotated[str, AfterValidator(_weights)]
    n_images: Annotated[StrictInt, where(lambda count: count >= 0, "use 0 for all images")]
    frame: recipes.Frame = Field(default_factory=lambda given: FRAMES.get(given.get("dataset"), labels.FRAME))
    scales: Scales

    @model_validator(mode="after")
    def _whose_weights(self):
        own = profiles.block(SCENES[self.weights])["pairs"][0]["network"] if self.weights in SCENES else self.network
        if own != self.network:
            raise UserError(f"weights {self.weights!r} are those of {own}, not of {self.network}; give network {own}")
        return self


Rules = tuple[tuple[str, Callable[[Any], object], str], ...]
"""(parameter, when nothing listens to it, why)"""


def is_enlarged(scales: Iterable[str], side: int | None) -> bool:
    """Whether small images of that side are asked for at scales that would show a network nothing new, so that they
    get their own side alone."""
    if not side or set(scales) <= {"native", str(side)}:
        return False
    return "native" in scales or any(max(labels.sides(scale)) > 2 * side for scale in scales)


class Evaluated(BaseModel):
    """What a chapter takes that evaluates networks on images.

    A notebook says flat names; `dataset=scenes,foolbox20` or a list makes pairs, and a single value serves all of
    them. `takes_one` is what a chapter says that takes one pair; with `own_scale` each pair has one scale of its own.
    Of `unused` a chapter makes nothing: profiles may share them with others, nobody may give them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    experiment: ClassVar[str] = ""
    takes_one: ClassVar[str] = "this chapter takes one"
    own_scale: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ()
    on_validation: ClassVar[bool] = False

    profile: str = "embedded"
    data_root: str = ""
    seed: recipes.Seed = 0
    device: Annotated[str, AfterValidator(_device)] = "cpu"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    output_dir: Annotated[str, where(str.strip, "give a folder")] = "out"
    strict: bool = False
    pairs: tuple[Pair, ...]
    blurs: Blurs
    view: Literal["dense", "center-crop"] = "dense"
    flip: bool = False
    border: recipes.Border = "reflect"
    resample: recipes.Resample = "bicubic"
    rounding: Rounding = "none"
    small_input: Literal["adaptive", "zero-pad", "upsample"] = "adaptive"
    batch: int = Field(4, ge=1, le=4096)
    workers: int = Field(1, ge=1, le=256)

    IDLE: ClassVar[Rules] = (
        ("data_root", lambda p: p.sets <= set(datasets.NO_FOLDER), "no data set of the run is read from a folder"),
        ("small_input", lambda p: not any(models.takes_small_input(one.network) for one in p.pairs),
         "no network of the run is a VGG, whose window can be larger than an image"),
        ("scales", lambda p: all(is_enlarged(one.scales, NATIVE.get(one.dataset)) for one in p.pairs),
         "small images are shown at their own side, or at no more than twice of it"),
    )  # fmt: skip

    @property
    def sets(self) -> set[str]:
        """The names of the data sets."""
        return {pair.dataset for pair in self.pairs}

    @property
    def pair(self) -> Any:
        """The pair of a chapter that takes one."""
        if len(self.pairs) > 1:
            raise UserError(f"there are {len(self.pairs)} pairs of dataset and network; give one of each")
        return self.pairs[0]

    def protocol(self, pair: Pair | None = None, **changed) -> Protocol:
        """How the images of a pair (by default the only one) are shown and answered, but for what is `changed`."""
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if models.reduced_precision() else "float32"
        given = {name: getattr(self, name) for name in ("border", "resample", "view", "flip", "seed")}
        return Protocol(**{"frame": (pair or self.pair).frame, "precision": precision, **given, **changed})

    def computing(self) -> dict[str, Any]:
        """Where and how answers are computed and kept, none of which decides them."""
        how = ("device", "batch", "workers", "strict")
        return {"store": files.cache_folder(), **{name: getattr(self, name) for name in how}}

    @classmethod
    def validate(cls, given: Mapping[str, Any]) -> Self:
        """The checked parameters of this chapter. None means: the profile's default.

        Parameters
        ----------
        given
            May be a notebook's ``globals()``: modules, callables and IPython's own names are passed over, and what is
            left that the chapter does not know is an error, because papermill only warns of a mistyped name.

        Raises
        ------
        UserError
            One line, for the first parameter that is unknown or out of range.
        """
        named = {name: value for name, value in given.items() if not _is_furniture(name, value)}
        recipes.check_names(named, cls.names(), "parameter ")
        profile = "embedded" if named.get("profile") is None else named["profile"]
        if not isinstance(profile, str) or profile not in profiles.NAMES:
            meant = nearest(profile[:80], profiles.NAMES) if isinstance(profile, str) else ""
            raise UserError(f"profile {shown(profile)} is unknown{meant}; known: {', '.join(profiles.NAMES)}")
        explicit = {name: value for name, value in named.items() if value is not None} | {"profile": profile}
        block = f"{cls.experiment}.{profile}"
        defaults = profiles.block(block)
        pairs = defaults.get("pairs", [])
        said = {name for one in (defaults, *pairs) for name in one} - {"pairs"}
        recipes.check_names(sorted(said), [*cls.names(), *cls.unused], f"profiles.toml, [{block}]: ")
        try:
            checked = cls.built(defaults, explicit)
            for name, why in checked.idle().items():
                others = {other: value for other, value in explicit.items() if other != name}
                if name in explicit and cls.built(defaults, others) != checked:
                    raise UserError(f"parameter {name}={shown(explicit[name])} would change nothing: {why}")
            return checked
        except ValidationError as error:
            raise recipes.refusal(error, {**dict(*pairs[:1]), **defaults, **explicit}, "parameter ") from None
        except UserError:
            raise
        except (RecursionError, OverflowError, ValueError) as error:  # ValueError: a number of 5,000 digits
            why = f"too deep or too large ({type(error).__name__})"
            raise UserError(f"parameters {', '.join(explicit)}: {why}") from None

    def idle(self) -> dict[str, str]:
        """What nothing listens to among these parameters, each with why: to give it is a mistake."""
        rules = [rule for kind in type(self).__mro__ for rule in vars(kind).get("IDLE", ())]
        return {name: why for name, holds, why in rules if holds(self)}

    @classmethod
    def names(cls) -> list[str]:
        """What a notebook may say: the fields, those of a pair in place of `pairs`."""
        own = list(cls._kind().model_fields)
        every = dict.fromkeys(n for name in cls.model_fields for n in (own if name == "pairs" else [name]))
        return [name for name in every if name not in cls.unused]

    @classmethod
    def _kind(cls) -> type[Pair]:
        return typing.get_args(cls.model_fields["pairs"].annotation)[0]

    @classmethod
    def built(cls, defaults: Mapping[str, Any], explicit: Mapping[str, Any]) -> Self:
        """These parameters from a block of defaults and what is said explicitly; raises ValidationError."""
        own = [name for name in cls._kind().model_fields if name not in cls.model_fields]
        shared = {name: value for name, value in {**defaults, **explicit}.items() if name not in (*own, "pairs")}
        flat = {name: value for name, value in defaults.items() if name in own}
        said = {name: value for name, value in explicit.items() if name in own}
        pairs = cls._paired([flat | pair for pair in defaults["pairs"]], said)
        return cls(**shared, pairs=tuple(cls._kind()(**cls.completed(pair, shared)) for pair in pairs))

    @classmethod
    def completed(cls, pair: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        """A pair with what the chapter's other parameters say about it."""
        return pair

    @classmethod
    def _paired(cls, defaults: list[dict[str, Any]], said: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The pairs of the profile with what is said of each; a data set or a network of one's own makes others.

        These start from the profile's pair that has them. Where none does, from the last with ImageNet's weights and
        all images: the n of another pair would mean nothing.
        """
        columns = {name: cls._column(name, value) for name, value in said.items()}
        asked = [name for name in ("dataset", "network") if name in columns]
        if asked:
            fits = [pair for pair in defaults if all(columns[name] == [pair[name]] for name in asked)]
            other = {"n_images": 0} | ({"weights": "imagenet"} if len(defaults) > 1 else {})
            defaults = [fits[0] if fits else defaults[-1] | other]
            defaults *= max(1, *(len(columns[name]) for name in asked))
        for name, column in columns.items():
            if cls.takes_one and len(column) > 1:
                raise UserError(f"{name} has {len(column)} entries; {cls.takes_one}")
            count = len(defaults)
            if len(column) not in (1, count):
                raise UserError(
                    f"{name} has {len(column)} entries for {count} pairs of dataset and network; give 1 or {count}"
                )
            defaults = [pair | {name: one} for pair, one in zip(defaults, column * (count // len(column)))]
        return defaults

    @classmethod
    def _column(cls, name: str, value: Any) -> list:
        """What each pair gets of a value: one for all, or one for each."""
        if name == "scales" and not cls.own_scale:
            return [value]
        split = (whole_numbers if name in ("n_images", "frame") else listed)(value)
        return split if isinstance(split, list) else [split]


SomeEpochs = Annotated[recipes.Epochs, Field(ge=1)]


class Trained(Evaluated):
    """What a chapter takes that also trains: a sharp network first (`base_*`), then each mix from there on.

    While it learns sharp images its first `base_frozen` blocks keep the weights they came with. Of `train_seeds` the
    first trains every mix, the others sharp and mix alone. Recipes are chosen with `tested_on` "validation": on images
    that no network learns from and none is tested on otherwise.
    """

    recipe_kind: ClassVar[type[recipes.Recipe]] = recipes.Recipe

    mixes: Mixes
    tested_on: Literal["test", "validation"] = "test"
    train_images: int = Field(0, ge=0)
    train_seeds: Annotated[WholeNumbers[recipes.Seed], Field(min_length=1)] = (0,)
    base_epochs: recipes.Epochs = 2
    base_learning_rate: recipes.LearningRate = 0.02
    base_frozen: recipes.FrozenBlocks = 0
    epochs: SomeEpochs = 2
    learning_rate: recipes.LearningRate = 0.01
    train_batch: recipes.Batch = 64
    weight_decay: recipes.WeightDecay = 1e-4
    max_shift: recipes.MaxShift = 4
    warmup: recipes.Share = 0.05
    optimizer: recipes.Optimizer = "sgd"
    augmentation: recipes.Augmentation = "flip"
    train_workers: int = Field(0, ge=0, le=256)

    IDLE: ClassVar[Rules] = (
        *((name, lambda p: not p.base_epochs, "base_epochs is 0") for name in ("base_learning_rate", "base_frozen")),
        ("max_shift", lambda p: not p.sets & set(NATIVE), "photographs are cropped, not shifted"),
        ("mixes", lambda p: set(p.mixes) - {one[0] for one in p.trainings()}, "not all of them are trained on"),
        ("train_seeds", lambda p: set(p.train_seeds) - {one[1] for one in p.trainings()}, "not all train a network"),
    )

    @property
    def on_validation(self) -> bool:
        """Whether networks are asked about the validation part."""
        return self.tested_on == "validation"

    @property
    def learning(self) -> Iterable[Pair]:
        """The pairs whose networks are trained."""
        return self.pairs

    def trainings(self) -> list[tuple]:
        """(mix, seed) of every network that is fine-tuned."""
        first, *others = self.train_seeds
        return [(mix, first) for mix in self.mixes] + [
            (mix, seed) for seed in others for mix in ("sharp", "mix") if mix in self.mixes
        ]

    def recipe(self, pair: Pair | None = None, *, base: bool = False, **changed) -> recipes.Recipe:
        """How a network is trained on a pair's images (by default the only pair's), but for what is `changed`.

        With `base` it is the sharp network that the others start from. A mix may join labels and names by "+".
        """
        same = ("weight_decay", "max_shift", "warmup", "optimizer", "augmentation", "border", "resample", "epochs")
        shared = {name: getattr(self, name) for name in (*same, "learning_rate")} | {"batch": self.train_batch}
        shared |= {"frame": (pair or self.pair).frame, "precision": self.protocol(pair).precision}
        if base:
            shared |= {"mix": "sharp", "epochs": self.base_epochs, "learning_rate": self.base_learning_rate}
        if isinstance(changed.get("mix"), str):
            changed["mix"] = parts(changed["mix"])
        return self.recipe_kind(**{**shared, **changed})

    def fitting(self, title: str) -> dict[str, Any]:
        """Where and how networks are trained and kept, none of which decides them."""
        return {"store": files.cache_folder(), "device": self.device, "workers": self.train_workers, "title": title}


def scenes_training(weights: str, device: str) -> Trained:
    """The training whose sharp network the weights "scenes" or "scenes-smoke" name."""
    return Trained.built(profiles.block(SCENES[weights]), {"blurs": ["sharp"], "device": device})


def _is_furniture(name: str, value: Any) -> bool:
    return str(name).startswith("_") or name in _KERNEL_NAMES or isinstance(value, types.ModuleType) or callable(value)
