"""RQ4: whether to deblur first and ask the sharp network, or to train on the mix and ask straight away."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import BeforeValidator, Field
from tqdm import tqdm

from blurnb import files, intervals, labels
from blurnb.errors import shown
from blurnb.optics import deblurring, resampling
from blurnb.recognition import datasets
from blurnb.study import comparison, measures, networks, parameters, runs, specimens, stores, timing, treatments, values
from blurnb.study.classification import Classification, probabilities
from blurnb.study.means import of_treatments
from blurnb.study.runs import Opened, Recorder, Run
from blurnb.study.treatments import Condition, Treatment

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


_OTHERS = {*parameters.Evaluated.model_fields, "train_images", "tested_on"}
LEARNING = [name for name in parameters.Trained.model_fields if name not in _OTHERS]
_UNROUNDED = values.where(
    lambda rounding: rounding == "none", "rounding is one of this chapter's captures; leave it at none"
)


class Parameters(parameters.Trained):
    """Deblurring; `methods` for small images, `photograph_methods` for the others, where some take seconds an image.

    Of `mixes` only the mix is asked beside the sharp network, and without it none.
    """

    experiment: ClassVar[str] = "rq4"
    takes_one: ClassVar[str] = ""
    own_scale: ClassVar[bool] = True

    pairs: tuple[Pair, ...]
    rounding: Annotated[parameters.Rounding, _UNROUNDED] = "none"
    methods: values.Some[Method]
    photograph_methods: values.Some[Method]
    wrong_kernels: values.Listed[Method] = ()
    captures: values.Some[Annotated[Capture, BeforeValidator(_capture)]]
    tuning_images: int = Field(8, ge=0, le=1000)
    repeats: int = Field(7, ge=1, le=1000)

    @classmethod
    def completed(cls, pair: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        """The pair with the methods for its images, and with wrong kernels where it has a mix network."""
        methods = shared["methods" if pair["dataset"] in parameters.NATIVE else "photograph_methods"]
        return pair | {"methods": methods, "wrong_kernels": shared["wrong_kernels"] if pair["trained"] == "rq2" else ()}

    def trainings(self) -> list[tuple]:
        """(mix, seed) of the sharp network and, where it is among the mixes, of the mix network."""
        return [(mix, self.train_seeds[0]) for mix in ("sharp", "mix") if mix == "sharp" or mix in self.mixes]

    @property
    def learning(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.trained == "rq2"]

    IDLE: ClassVar[parameters.Rules] = (
        *((name, lambda p: not p.learning, "no network is trained") for name in LEARNING),
        ("train_images", lambda p: not (p.learning or p.tuning_images and p.sets & set(parameters.NATIVE)),
         "no network is trained and no method tuned"),
        *((name, lambda p: not p.sets & set(parameters.NATIVE), "there are no small images")
          for name in ("methods", "tuning_images")),
        ("photograph_methods", lambda p: p.sets <= set(parameters.NATIVE), "there are no photographs"),
        ("wrong_kernels", lambda p: set(p.wrong_kernels) - {one for pair in p.learning for one in pair.methods},
         "not all are methods of a pair with a mix network"),
    )  # fmt: skip


FIRST_KEPT_OUT = 900
"""ImageNet classes from this one on hold the 50 photographs on which `deblurring.WEIGHTS` were tuned; none of them is
judged on."""
KEPT = ("top1", "top5")


def run(parameters: Parameters) -> Run:
    """Every way of answering a blurred image, on the same images; writes ``<output_dir>/rq4.csv``.

    Images are restored once for all networks, at the size at which they were blurred, and only then brought to the
    scale. The mix network is spared wrong kernels: the claim is about the sharp one.
    """
    with Recorder(parameters, "rq4", opened_images) as recorder:
        for opened in recorder.pairs:
            known = _asked(opened, parameters)
            methods = _methods(opened.pair)
            weights = _weights(opened, parameters, methods)
            ways = list(_ways(opened.pair, parameters, methods))
            task = Classification(
                {training: network for training, (network, _) in known.items()}, opened.protocol,
                recorder.computing.batch, weights, with_psnr=True,
            )  # fmt: skip
            conditions = [
                Condition(way, opened.scales[0], training)
                for way in ways
                for training in known
                if training == "sharp" or way.kernel in ("none", treatments.TRUE)
            ]
            origins = {training: origin for training, (_, origin) in known.items()}
            tables, run_id = comparison.asked(recorder, opened, task, conditions, origins)
            recorder.add(_rows(tables, opened, origins), run_id)
            _add_seconds(recorder, opened, task, ways, origins)
    return recorder.run


def opened_images(parameters: Parameters, pair, split: str = "") -> datasets.Dataset:
    """The test images of a pair, without those that the weights of the methods were tuned on."""
    if pair.dataset == "scenes" or split:
        return runs.opened_images(parameters, pair, split)
    found = runs.opened_images(parameters, pair.model_copy(update={"n_images": 0}))
    if len(found.classes) == 1000:
        found = datasets.subset(found, [i for i, label in enumerate(found.labels) if label < FIRST_KEPT_OUT])
    return datasets.sample(found, pair.n_images, parameters.seed)


def _asked(opened: Opened, parameters: Parameters) -> dict[str, tuple]:
    """The networks of a pair by training, each with what is known of its weights."""
    if opened.pair.trained == "rq2":
        return {mix: networks.tuned(opened.pair, parameters, mix, seed) for mix, seed in parameters.trainings()}
    return {"sharp": networks.ready(opened, parameters)}


def _methods(pair) -> list[str]:
    """The methods of a pair; EPLL only where its patch prior is, which no package carries."""
    prior = deblurring.epll_prior()
    if "epll" in pair.methods and not prior.is_file():
        tqdm.write(f"epll is left out: its patch prior is not at {prior}")
        return [method for method in pair.methods if method != "epll"]
    return list(pair.methods)


def _ways(pair, parameters: Parameters, methods: Sequence[str]) -> Iterator[Treatment]:
    """Every treatment. Wrong kernels are not repeated for 8 bits, which lie between exact pixels and noise."""
    for blur in parameters.blurs:
        for rounding, noise_sd in parameters.captures:
            plain = Treatment(blur, noise_sd, rounding)
            yield plain
            for method in methods if blur != "sharp" else ():
                true = plain._replace(method=method, kernel=treatments.TRUE)
                yield true
                if method in pair.wrong_kernels and rounding == "none":
                    yield from (true._replace(kernel=kernel) for kernel in treatments.wrong_kernels(blur))


def _weights(opened: Opened, parameters: Parameters, methods: Sequence[str]) -> treatments.Weights:
    """The weight of every method at every noise: tuned for small images, whose statistics differ from photographs'."""
    noises = sorted({noise_sd for _, noise_sd in parameters.captures})
    if not (opened.images.native_side and parameters.tuning_images):
        return {(method, noise): deblurring.default_weight(method, noise) for method in methods for noise in noises}
    images = opened_images(parameters, opened.pair, "train")
    images = datasets.sample(images, min(parameters.tuning_images, len(images)), parameters.seed)
    return treatments.tuned_weights(methods, noises, images, opened.protocol, parameters.blurs, files.cache_folder())


def _rows(tables: Mapping, opened: Opened, origins: Mapping) -> Iterator[dict]:
    """Rows of every condition.

    top1 and top5; their paired differences from the sharp image (no restoration), from no deblurring (same network, the
    same blurred image as it is) and from the other network that is shown it as it is; and the mean psnr of what is
    shown, which no network has a part in.
    """

    def columns(one: Condition) -> dict:
        return opened.columns | networks.trained(origins[one.training]) | one.columns()

    for one, part in tables.items():
        way, here = one.treatment, columns(one)
        for metric in KEPT:
            yield measures.row(measures.MEASURES[metric](part, here["seed"]), metric, len(part), **here)
        plain = one._replace(treatment=way.captured)
        others = [plain if way.method != "none" else one.sharp]
        if one.training == "mix":
            others.append(plain._replace(training="sharp"))
        elif way.method != "none":
            others.append(plain._replace(training="mix"))
        for other in others:
            if other in tables and other != one:
                yield from measures.difference(part, tables[other], here, columns(other), KEPT)
        if one.training == "sharp" and part["psnr"].notna().all():
            triple = intervals.bootstrap_mean(part["psnr"].to_numpy(), here["seed"])
            shown = {name: value for name, value in here.items() if name not in OF_NETWORKS}
            yield measures.row(triple, "psnr", len(part), **shown)
    yield from of_treatments(tables, columns)


OF_NETWORKS = (
    "network", "weights", "training", "train_seed", "frozen", "per_scale", "scale", "view", "flip", "precision",
)  # fmt: skip
"""Columns that the quality of what is shown does not depend on."""


def _add_seconds(recorder: Recorder, opened: Opened, task: Classification, ways, origins: Mapping) -> None:
    """Median seconds of each way for one image, batch 1, on the same threads.

    The image is blurred and captured before the clock starts. Then, with deblurring or without, it is restored, resized
    and answered.
    """
    parameters, images, protocol = recorder.parameters, opened.images, opened.protocol
    (side,) = labels.sides(opened.scales[0])
    chosen = [way for way in ways if way.kernel == treatments.TRUE]
    image = task.load(images, 0)[0][None].to(parameters.device)
    facts = {name: value for name, value in task.facts.items() if name not in ("weights", "psnr")} | {
        "task": "seconds", "dataset": images.name, "image": images.ids[0], "side": side,
        "threads": torch.get_num_threads(), "device": parameters.device, "repeats": parameters.repeats,
        "treatments": chosen, "trainings": list(task.networks),
    }  # fmt: skip
    facts["versions"] = facts["versions"] | {"study.timing": timing.VERSION}
    given = (images.ids[:1], protocol)

    def answer(training: str, seen: torch.Tensor) -> None:
        probabilities(task.networks[training], resampling.resized(seen, side, protocol.resample), side, protocol)

    def compute() -> dict:
        acts = {training: (lambda training=training: answer(training, image)) for training in task.networks}
        for place, way in enumerate(chosen):
            seen = treatments.captured(image, way, *given)
            acts[str(place)] = lambda way=way, seen=seen: answer(
                "sharp", treatments.restored(seen, way, *given, task.weights)
            )
        return timing.seconds(acts, parameters.repeats)

    found = stores.once(recorder.computing.store, "seconds", facts, compute)
    run_id = recorder.ran(facts, median_least_most=found, device=parameters.device)
    asked = [(Treatment("sharp"), training, training) for training in task.networks]
    asked += [(way, "sharp", str(place)) for place, way in enumerate(chosen)]
    for way, training, name in asked:
        one = Condition(way, opened.scales[0], training)
        here = opened.columns | networks.trained(origins[training]) | one.columns()
        recorder.add([measures.row(found[name][0], "seconds", 1, **here)], run_id)


def examples(parameters: Parameters) -> tuple[list[list[np.ndarray]], list[str], list[str], list[list[str]]]:
    """(images, row titles, column titles, captions) for a contact sheet of the first pair: an image for each blur.

    Columns: blurred as it is, each restoration with the true kernel, the sharp image; rounded to 8 bits, as they would
    be stored. Captions are the sharp network's answers, those of the mix network in brackets where it is asked too.
    """
    opened = runs.to_look_at(parameters, 0, opened_images)
    images, protocol, methods = opened.images, opened.protocol, _methods(opened.pair)
    known = {training: network.eval() for training, (network, _) in _asked(opened, parameters).items()}
    weights = _weights(opened, parameters.model_copy(update={"captures": (("8-bit blur", 0.0),)}), methods)
    task = Classification(known, protocol, weights=weights)
    (side,) = labels.sides(opened.scales[0])
    blurs = [blur for blur in parameters.blurs if blur != "sharp"]
    picks = specimens.spread(len(images), len(blurs))
    sheet, captions = [], []
    for blur, index in zip(blurs, picks):
        sharp, ids = task.load(images, int(index))[0][None], [images.ids[index]]
        seen = Treatment(blur, rounding="8-bit blur")
        ways = [seen, *(seen._replace(method=method, kernel=treatments.TRUE) for method in methods)]
        line = [*treatments.shown(sharp, ways, ids, protocol, weights).split(1), sharp]
        said = [[_said(network, one, side, protocol, images) for network in known.values()] for one in line]
        captions.append([" ".join([words[0], *(f"({word})" for word in words[1:])]) for words in said])
        sheet.append([specimens.square(one) for one in line])
    titles = ["blurred", *(method.replace("_", " ") for method in methods), "sharp"]
    rows = [f"{images.classes[images.labels[i]]}, {blur}" for blur, i in zip(blurs, picks)]
    return sheet, rows, titles, captions


def _said(network, image: torch.Tensor, side: int, protocol, images: datasets.Dataset) -> str:
    with torch.inference_mode():
        shares = probabilities(network, resampling.resized(image, side, protocol.resample), side, protocol)
        return images.classes[int(shares.argmax())]
