"""What tests plant, so that they know the answer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from blurnb import records
from blurnb.recognition.datasets import Dataset, UnreadableImage
from blurnb.recognition.models import Network
from blurnb.study import answers
from blurnb.study.treatments import Condition, Treatment

# ------------------------------------------------------------------------------------------------ records

PLAIN = {
    "experiment": "rq1", "profile": "photographs", "dataset": "scenes", "network": "net", "weights": "imagenet",
    "training": "sharp", "frozen": "none", "per_scale": False,
    "blur": "sharp", "frame": 512, "border": "reflect", "resample": "bilinear", "rounding": "none", "noise_sd": 0.0,
    "method": "none", "kernel": "none", "scale": "256", "view": "dense", "flip": False, "precision": "float32",
    "metric": "top1", "statistic": "estimate", "value": 0.5, "n": 500, "seed": 0, "run_id": "r",
}  # fmt: skip
"""An accuracy of a sharp-trained network on sharp images."""


def row(half: float | None = None, **changes) -> dict:
    """One record: `PLAIN` but for the `changes`, with an interval of `half` to both sides of its value.

    Where the other side is named (`versus_training="sharp"`) the statistic is a difference unless it is said.
    """
    if set(changes) & set(records.VERSUS):
        changes = {"statistic": "difference"} | changes
    one = PLAIN | changes
    if half is not None:
        one = {"ci_low": one["value"] - half, "ci_high": one["value"] + half} | one
    return records.row(**one)


def layer(name: str, half: float | None = None, **changes) -> dict:
    """The similarity of a layer's answers to an image and to its sharp twin, or with `versus_image="other"` another."""
    other = {} if "versus_image" in changes else {"versus_blur": "sharp"}
    of = {"part_kind": "layer", "part": name, "view": "", "flip": None, "metric": "cosine", "statistic": "estimate"}
    return row(half, **of | other | changes)


def rows(*many: dict, **changes):
    """A checked frame of records, each with the `changes`."""
    return records.table([{**one, **changes} for one in many])


# ------------------------------------------------------------------------------------------------ networks

PALETTE = torch.tensor([[0.1 + 0.12 * i, 0.5, 0.5] for i in range(7)])
"""A colour for each of seven classes."""


class Nearest(nn.Module):
    """Scores by the distance of the image's mean colour to each class's."""

    def __init__(self, sharpness: float = 300.0):
        super().__init__()
        self.register_buffer("palette", PALETTE.clone())
        self.register_buffer("sharpness", torch.tensor(sharpness))

    def forward(self, images):
        return -self.sharpness * (images.mean((2, 3))[:, None] - self.palette).square().sum(2)


class Convolutional(nn.Module):
    """Two convolutions with random weights, the same ones every time."""

    def __init__(self, classes: int = len(PALETTE)):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trunk = nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2), nn.ReLU()
            )
            self.head = nn.Linear(24, classes)
            nn.init.normal_(self.head.weight, std=3)

    def forward(self, images):
        return self.head(self.trunk(images).mean((2, 3)))


class Forbidden(Convolutional):
    """The network of `Convolutional`, which may not be asked."""

    def forward(self, images):
        raise AssertionError("this was computed before")


class Detail(nn.Module):
    """Two classes by how strongly neighbours differ, so that blur hides what deblurring brings back."""

    def __init__(self, bar: float):
        super().__init__()
        self.register_buffer("bar", torch.tensor(bar))

    def forward(self, images):
        detail = images.diff(dim=-1).abs().mean((1, 2, 3)) + images.diff(dim=-2).abs().mean((1, 2, 3))
        return 1000 * torch.stack([self.bar - detail, detail - self.bar], 1)


class Layered(nn.Module):
    """Given layers as a trunk in VGG's manner (`features`), and a linear layer on the means of its 4 channels."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.features, self.classifier = nn.Sequential(*layers), nn.Sequential(nn.Linear(4, 2))

    def forward(self, images):
        return self.classifier(self.features(images).mean((2, 3)))


class Oracle(nn.Module):
    """Answers the label map that `maps` paints into the image, moved by some pixels."""

    name, class_count = "oracle", 5

    def __init__(self, shift: int = 0):
        super().__init__()
        self.anchor, self.shift = nn.Parameter(torch.tensor([float(shift)])), shift
        self.backbone = network(name="oracle's")

    def forward(self, images):
        labels = (images[:, 0] * 255 / 40).round().clamp(0, 4).long()
        return nn.functional.one_hot(labels, 5).permute(0, 3, 1, 2).float().roll(self.shift, -1)


def network(body: nn.Module | None = None, name: str = "planted", classes: int = len(PALETTE)) -> Network:
    """A body (by default `Convolutional`) that is given pixels as they are, in evaluation mode."""
    made = Network(name, body or Convolutional(classes), classes, mean=(0.0,) * 3, std=(1.0,) * 3)
    return made.eval().to(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------------ images and maps


def noise(height: int, width: int, seed: int) -> torch.Tensor:
    """Pixels (3, height, width) that are drawn one by one."""
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def colour(index: int) -> torch.Tensor:
    """A plain image (3, 40, 50) of the class's colour."""
    return PALETTE[index].view(3, 1, 1).expand(3, 40, 50)


def squares(side: int, index: int) -> torch.Tensor:
    """An image (3, side, side) of random squares of 6 pixels."""
    drawn = np.random.default_rng(index).random((3, side // 6, side // 6)).astype(np.float32)
    return torch.from_numpy(np.kron(drawn, np.ones((1, 6, 6), np.float32)))


def images(
    count: int = 9, side: int | None = None, *, draw=None, labels=None, classes: int = len(PALETTE), damaged=(), name=""
) -> Dataset:
    """Images with known labels (by default 0, 1, 2 ...): photographs of three shapes, or small ones of one `side`.

    `draw(i)` gives the pixels of image i, by default noise. Those that are `damaged` cannot be read.
    """
    labels = tuple(i % classes for i in range(count)) if labels is None else tuple(labels)
    name = name or ("small" if side else "photographs")
    height = (lambda i: side) if side else (lambda i: 48 + 8 * (i % 3))
    draw = draw or (lambda i: noise(height(i), side or 64, i))

    def load(index: int) -> torch.Tensor:
        if index in damaged:
            raise UnreadableImage(f"photo {index}.jpg is not a whole image (truncated)")
        return draw(index)

    ids = tuple(f"image {i}.jpg" for i in range(len(labels)))
    return Dataset(name, tuple("abcdefghij"[:classes]), ids, labels, load, side, f"{name} {len(labels)}")


def maps(count: int = 6, side: int = 32, native: bool = True) -> Dataset:
    """Images whose red channel is their label map: 40 grey levels a label, so that any shift shows."""
    generator = np.random.default_rng(0)
    truths = [np.kron(generator.integers(0, 5, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)] * count
    shown = [torch.from_numpy(one * 40 / 255).float().expand(3, -1, -1).clone() for one in truths]

    def load(index: int):
        return shown[index], torch.from_numpy(truths[index].copy())

    ids = tuple(f"block{i}" for i in range(count))
    return Dataset("blocks", tuple("abcde"), ids, (), load, side if native else None, "f")


# ------------------------------------------------------------------------------------------------ questions


def conditions(blurs=("sharp",), scales=("48",), training: str = "sharp", **treatment) -> list[Condition]:
    """Every blur at every scale."""
    return [Condition(Treatment(blur, **treatment), scale, training) for scale in scales for blur in blurs]


def asked(found: Dataset, wanted: list[Condition], task, store, **computing) -> answers.Answers:
    """What the loop finds, with its answers in `store`."""
    return answers.gather(found, wanted, task, answers.Computing(store, **computing))
