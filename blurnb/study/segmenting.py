"""The task "name every pixel": what zoomout networks make of treated photographs, as confusion matrices."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from blurnb import labels
from blurnb.errors import UserError
from blurnb.optics import resampling
from blurnb.recognition import decoding, families, models, zoomout
from blurnb.study import answers, confusion, treatments
from blurnb.study.answers import Answers, Group
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Condition, Treatment

VERSION = 1
WIDEST = 8.0  # radius, in frame pixels, of the widest disk of the paper, D8: the unit of the boundary's width


@dataclass
class Segmenting:
    """One network, asked for the class of every pixel at one scale (`answers.Task`).

    An image is brought to the scale, treated there (a label counts in the frame), answered, and its scores enlarged to
    the size of the label map, where they are compared. An answer is two sparse matrices: boundary and interior.
    `boundary_width`: in radii of D8, the same pixels under every blur.
    """

    network: zoomout.Zoomout
    training: str
    protocol: Protocol
    scale: str
    boundary_width: float = 1.0

    def __post_init__(self) -> None:
        self.facts = {
            "task": "segmenting",
            "network": self.network.name,
            "weights": {self.training: models.fingerprint(self.network)},
            "small_input": models.small_input(self.network),
            "classes": self.network.class_count,
            "boundary_width": self.boundary_width,
            "versions": {
                **treatments.versions((), answers, confusion, decoding, zoomout, sys.modules[__name__]),
                **families.version(self.network.backbone.name),
            },
            **self.protocol.columns(),
        }

    def check(self, images) -> None:
        """Nothing to refuse: the network was made for the classes of the set."""

    def load(self, images, index: int) -> tuple[torch.Tensor, np.ndarray]:
        image, truth = images.load(index)
        return resampling.resized(image[None], *labels.sides(self.scale), self.protocol.resample)[0], truth.numpy()

    def show(self, group: Group, some: Sequence[Treatment]) -> torch.Tensor:
        return treatments.shown(group.pixels, some, group.ids, self.protocol, {})

    def answer(
        self, shown: torch.Tensor, group: Group, some: Sequence[Treatment], conditions: Sequence[Condition]
    ) -> dict[Condition, list]:
        scores = self._scores(shown, group.ids)
        found: dict[Condition, list] = {one: [] for one in conditions}
        for place, truth in enumerate(group.truths):
            width = max(1.0, self.boundary_width * WIDEST * min(truth.shape) / self.protocol.frame)
            edge = confusion.boundary(truth, width)
            named = _named(scores[place :: len(group.ids)], truth.shape)
            for one in conditions:
                answer = named[some.index(one.treatment)]
                counted = (confusion.matrix(truth, answer, self.network.class_count, w) for w in (edge, ~edge))
                found[one].append([_sparse(matrix) for matrix in counted])
        return found

    def pixels(self, image: torch.Tensor, identity: str, some: Sequence[Treatment], shape) -> tuple:
        """(image (3, H, W) under each treatment, classes, uint8 (treatments, height, width)): to look at."""
        image = resampling.resized(image[None], *labels.sides(self.scale), self.protocol.resample)
        shown = self.show(Group([identity], image, []), some)
        with torch.inference_mode():
            return shown, _named(self._scores(shown, [identity]), shape)

    def _scores(self, shown: torch.Tensor, ids: Sequence[str]) -> torch.Tensor:
        network = self.network.to(shown.device).eval()
        shown = shown.contiguous(memory_format=torch.channels_last)
        with torch.autocast(shown.device.type, torch.bfloat16, enabled=self.protocol.precision == "bf16"):
            scores = network(shown).float()
            if self.protocol.flip:
                scores = (scores.softmax(1) + network(shown.flip(-1)).float().flip(-1).softmax(1)) / 2
        if not torch.isfinite(scores).all():
            raise UserError(f"{network.name} gives scores that are not finite on {ids[0]}; use precision float32")
        return scores


def _named(scores: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    """The class of every pixel, uint8 (N, *shape), from scores (N, classes, h, w)."""
    if scores.shape[-2:] != torch.Size(shape):
        scores = F.interpolate(scores, size=tuple(shape), mode="bilinear", align_corners=False)
    return scores.argmax(1).to(torch.uint8).cpu().numpy()


def _sparse(matrix: np.ndarray) -> list[list[int]]:
    """[places, counts] of what is not zero: an image shows few of the classes."""
    flat = matrix.ravel()
    places = np.flatnonzero(flat)
    return [places.tolist(), flat[places].tolist()]


def matrices(found: Answers, count: int) -> dict[Condition, Mapping[str, np.ndarray]]:
    """By condition, the matrices (n, count, count) of each region, an image each."""
    return {
        one: {
            region: np.stack([_dense(answer[place], count) for answer in each.values()])
            for place, region in enumerate(confusion.REGIONS)
        }
        for one, each in found.found.items()
    }


def _dense(sparse: list[list[int]], count: int) -> np.ndarray:
    flat = np.zeros(count * count, np.int64)
    flat[sparse[0]] = sparse[1]
    return flat.reshape(count, count)
