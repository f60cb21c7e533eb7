"""The task "name the image": class probabilities of networks that are shown treated photographs."""

import functools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch

from blurnb import intervals, labels, provenance
from blurnb.errors import UserError, reason
from blurnb.optics import deblurring, resampling
from blurnb.recognition import backends, datasets, decoding, families, models
from blurnb.study import answers, stores, treatments
from blurnb.study.answers import Answers, Computing, Group
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Condition, Treatment, Weights

VERSION = 1
ANSWER = ("predicted", "rank", "entropy", "p_true", "confidence")
CACHED_SIDE = 256
"""Larger images are shown to the network fewer at a time: maps that outgrow the caches cost more than a batch saves."""
LARGEST_FRAME = 4096
"""Shorter side to which photographs may be brought: one of them then takes 200 MB, and 50 GB in a frame of 65,536."""


@dataclass
class Classification:
    """Networks by training, asked for the class of images (`answers.Task`).

    An answer is [predicted, rank of the true class, entropy (nats), p_true, confidence], with `with_psnr` the PSNR of
    what was shown (dB, None where it equals the sharp image) behind them. `batch`: images at a time at sides up to
    `CACHED_SIDE`, fewer at larger. `weights` are those of the methods that restore. A `backend` other than eager
    computes the scores of the one network in place of torch (`accelerated`).
    """

    networks: Mapping[str, models.Network]
    protocol: Protocol
    batch: int = 4
    weights: Weights = field(default_factory=dict)
    with_psnr: bool = False
    backend: str = "eager"

    def __post_init__(self) -> None:
        network = next(iter(self.networks.values()))
        shown = [Treatment("sharp", method=method) for method, _ in self.weights]
        self.facts = {
            "task": "classification",
            "network": network.name,
            "weights": {training: models.fingerprint(one) for training, one in self.networks.items()},
            "small_input": models.small_input(network),
            "identity": getattr(network, "identity", ""),  # a custom network's code decides its answers too
            "methods": sorted([*key, weight] for key, weight in self.weights.items()),
            "psnr": self.with_psnr,
            "backend": self.backend if self.backend == "eager" else backends.version(self.backend),
            "versions": {
                **treatments.versions(shown, answers, decoding, sys.modules[__name__]),
                **families.version(network.name),
                **({} if self.backend == "eager" else provenance.versions(backends)),
            },
            **self.protocol.columns(),
        }

    def check(self, images) -> None:
        if not images.native_side and self.protocol.frame > LARGEST_FRAME:
            wrong = f"frame={self.protocol.frame} would enlarge photographs beyond {LARGEST_FRAME} pixels"
            raise UserError(f"{wrong}; use less")
        for network in self.networks.values():
            if max(images.labels, default=0) >= network.class_count:
                raise UserError(
                    f"{images.name} has a class index {max(images.labels)} but {network.name} answers "
                    f"{network.class_count} classes; give the weights that were trained for this data"
                )

    def load(self, images, index: int) -> tuple[torch.Tensor, int]:
        image = images.load(index)
        if not images.native_side:
            image = resampling.resized(image[None], self.protocol.frame, self.protocol.resample)[0]
        return image, images.labels[index]

    def show(self, group: Group, some: Sequence[Treatment]) -> torch.Tensor:
        return treatments.shown(group.pixels, some, group.ids, self.protocol, self.weights)

    def answer(
        self, shown: torch.Tensor, group: Group, some: Sequence[Treatment], conditions: Sequence[Condition]
    ) -> dict[Condition, list]:
        truth = torch.tensor(group.truths, device=shown.device)
        parts = dict(zip(some, shown.split(len(group.ids))))
        quality = {one: self._quality(part, group.pixels) for one, part in parts.items()}
        found = {}
        for training in dict.fromkeys(one.training for one in conditions):
            mine = [one for one in conditions if one.training == training]
            asked = [one for one in some if any(one == condition.treatment for condition in mine)]
            seen = shown if len(asked) == len(some) else torch.cat([parts[one] for one in asked])
            is_rounded = torch.tensor([one.rounding == "8-bit" for one in asked]).repeat_interleave(len(group.ids))
            sides = sorted({side for one in mine for side in labels.sides(one.scale)})
            shares = {side: self._shares(training, seen, side, is_rounded) for side in sides}
            for one in mine:
                averaged = labels.sides(one.scale)
                mean = sum(shares[side] for side in averaged) / len(averaged)
                place = asked.index(one.treatment) * len(group.ids)
                scored = _scored(mean[place : place + len(group.ids)], truth)
                found[one] = [[*row, *more] for row, more in zip(scored, quality[one.treatment])]
        return found

    def _quality(self, part: torch.Tensor, sharp: torch.Tensor) -> list[list]:
        if not self.with_psnr:
            return [[]] * len(sharp)
        decibels = deblurring.psnr(part, sharp).tolist()
        return [[round(value, 4) if math.isfinite(value) else None] for value in decibels]

    def _shares(self, training: str, shown: torch.Tensor, side: int, is_rounded: torch.Tensor) -> torch.Tensor:
        network = self._scorer if self.backend != "eager" else self.networks[training].to(shown.device).eval()
        step = max(1, self.batch * CACHED_SIDE**2 // side**2) if side > CACHED_SIDE else len(shown)
        found = []
        for part, flags in zip(shown.split(step), is_rounded.split(step)):
            small = treatments.at_side(part, side, flags, self.protocol.resample)
            found.append(probabilities(network, small, side, self.protocol))
        return torch.cat(found)

    @functools.cached_property
    def _scorer(self):
        (network,) = self.networks.values()
        return backends.compiled(network, self.backend, self.protocol.precision)


def looked_at(side: int, protocol: Protocol) -> int:
    """Shorter side of what a network sees of images at `side`."""
    return max(1, round(side * 7 / 8)) if protocol.view == "center-crop" else side


def probabilities(network, images: torch.Tensor, side: int, protocol: Protocol) -> torch.Tensor:
    """Class probabilities (N, classes), float64, of images (N, 3, h, w) that are at `side` already.

    Raises UserError for a size that the network refuses, and for scores that are not finite.
    """
    if protocol.view == "center-crop":
        crop = looked_at(side, protocol)
        top, left = ((s - crop) // 2 for s in images.shape[-2:])
        images = images[..., top : top + crop, left : left + crop]
    images = images.contiguous(memory_format=torch.channels_last)
    if isinstance(network, models.PerScale):
        network = network.for_side(side)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=protocol.precision == "bf16"):
        try:
            shares = network(images).double().softmax(1)
            if protocol.flip:
                shares = (shares + network(images.flip(-1)).double().softmax(1)) / 2
        except (AssertionError, RuntimeError) as error:  # how networks refuse a size; memory that runs out, too
            shown = " x ".join(map(str, images.shape[-2:]))
            raise UserError(
                f"{network.name} cannot answer images of {shown} pixels ({reason(error)}); use another scale, or view "
                "center-crop (a network made for 224 pixels wants scale 256)"
            ) from error
    if not torch.isfinite(shares).all():
        raise UserError(f"{network.name} gives scores that are not finite at scale {side}; use precision float32")
    return shares


def _scored(shares: torch.Tensor, truth: torch.Tensor) -> list[list]:
    """ANSWER for each row. Rank counts the classes at least as probable as the true one: a tie is a miss."""
    p_true = shares.gather(1, truth[:, None])
    rank = (shares >= p_true).sum(1) - 1
    confidence, predicted = shares.max(1)
    entropy = torch.special.entr(shares).sum(1)
    return [
        [answer, place, *(float(f"{number:.6g}") for number in told)]
        for answer, place, *told in zip(
            predicted.tolist(), rank.tolist(), entropy.tolist(), p_true[:, 0].tolist(), confidence.tolist()
        )
    ]


def tables(images, found: Answers) -> dict[Condition, pd.DataFrame]:
    """By condition a frame indexed by image id: label, `ANSWER`, top1, top5, and psnr (NaN where it has none)."""
    truth = dict(zip(images.ids, images.labels))
    made = {}
    for one, each in found.found.items():
        names = [*ANSWER, "psnr"][: len(next(iter(each.values()), ANSWER))]
        frame = pd.DataFrame(list(each.values()), columns=names, index=pd.Index(each, name="image"))
        frame.insert(0, "label", [truth[identity] for identity in each])
        made[one] = frame.assign(top1=frame["rank"] < 1, top5=frame["rank"] < 5)
        if "psnr" in frame:
            made[one]["psnr"] = made[one]["psnr"].astype(float)
    return made


def accelerated(task: Classification, images, backend: str, conditions: Sequence[Condition], computing: Computing):
    """(task that computes with `backend`, what its check against torch found, for the manifest).

    Its answers to the first images are held against torch's in float32; what is found is kept, so that a rerun
    compiles nothing. Raises UserError where they do not agree (`backends.demand_agreement`).
    """
    if backend == "eager":
        return task, {}
    if computing.device != "cpu":
        raise UserError(f"backend {backend!r} computes on the cpu, not on {computing.device}; use backend eager")
    (training,) = task.networks
    quick = replace(task, backend=backend)
    blurs = list(dict.fromkeys(one.treatment for one in conditions))
    side = min(side for one in conditions for side in labels.sides(one.scale))
    first = range(min(backends.CHECKED_IMAGES, len(images)))
    facts = {**quick.facts, "data": images.source, "treatments": blurs, "side": side}

    def cases() -> Iterator[tuple[torch.Tensor, int]]:
        for index in first:
            try:
                image, label = task.load(images, index)
            except decoding.UnreadableImage:
                continue
            group = Group([images.ids[index]], image[None], [label])
            for one in blurs:
                is_rounded = torch.tensor([one.rounding == "8-bit"])
                yield treatments.at_side(task.show(group, [one]), side, is_rounded, task.protocol.resample), label

    @torch.inference_mode()
    def compare() -> dict:
        network, exact = task.networks[training].eval(), replace(task.protocol, precision="float32")
        return backends.compared(
            lambda image: probabilities(quick._scorer, image, side, task.protocol),
            lambda image: probabilities(network, image, side, exact),
            cases(),
            intervals.wilson,
        ) | {"side": side}

    keys = list(datasets.subset(images, first).keys)
    check = stores.once(computing.store, "checks", {**facts, "images": keys}, compare)
    backends.demand_agreement(check, backend, task.networks[training].name)
    return quick, {"backend_check": check}
