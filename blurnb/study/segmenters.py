"""Training of zoomout networks on labelled pixels, with the optimizer, checkpoints and store of `finetuning`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from blurnb.errors import UserError
from blurnb.optics import blurring, resampling
from blurnb.optics.transforms import draw_blur, parse_mix
from blurnb.recognition import models
from blurnb.recognition.label_maps import VOID, LabelMaps
from blurnb.recognition.zoomout import Zoomout, standardise
from blurnb.study import finetuning

VERSION = 1  # raise it when a change to this file or to recognition.zoomout changes weights
STANDARDISED_ON = 64
"""Images from whose sharp features the channels' means and standard deviations are taken."""


@dataclass(frozen=True)
class Recipe(finetuning.Recipe):
    """How a zoomout network is trained; of the fields it shares with `finetuning.Recipe`, these are read otherwise.

    end_to_end: train the backbone too, at `backbone_share` of the learning rate; else it stays as it is, and only the
    head learns. scale: shorter side to which photographs are brought before they are blurred; 0 keeps small images.
    window: width of the part of a photograph that is trained on, which is `scale` high; 0 for a square.
    start: "fresh" standardises the features first, "further" goes on from the head as it is.
    """

    end_to_end: bool = False
    backbone_share: float = 0.1
    window: int = 336
    start: str = "fresh"


class Draws(torch.utils.data.Dataset):
    """One epoch of training: image i with its map, both flipped and cut alike; the blur is the image's alone.

    What is drawn depends on (seed, epoch, image id), as in `finetuning.Draws`.
    """

    def __init__(self, maps: LabelMaps, recipe: Recipe, epoch: int, preloaded: list | None):
        self.maps, self.recipe, self.epoch, self.preloaded = maps, recipe, epoch, preloaded
        self.pool = parse_mix(recipe.mix)

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        recipe, identity = self.recipe, f"{self.maps.ids[index]}#{self.epoch}"
        generator = blurring.generator_for(recipe.seed, identity, "training")
        blur = draw_blur(self.pool, generator)
        image, labels = self.preloaded[index] if self.preloaded else self.maps.load(index)
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        image, labels = at_scale(image, labels, recipe.scale)
        image = blurring.blur(
            image, blur, frame=recipe.frame, border=recipe.border, seed=recipe.seed, image_ids=[identity]
        )
        return placed(image[0], labels, recipe, generator)


def at_scale(image: torch.Tensor, labels: torch.Tensor, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (3, H, W) and map (H, W) with a shorter side of `scale` (0: as they are); the image as a batch of one.

    A pixel of the map becomes that of the nearest centre, which is where the image's resampling puts it.
    """
    image = resampling.resized(image[None], scale) if scale else image[None]
    if labels.shape != image.shape[-2:]:
        labels = F.interpolate(labels[None, None].float(), size=image.shape[-2:], mode="nearest-exact")[0, 0].byte()
    return image, labels


def placed(
    image: torch.Tensor, labels: torch.Tensor, recipe: Recipe, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random symmetry and a random window, the same for image (3, H, W) and map (H, W).

    What the window has beyond a narrow image is its reflection, labelled as void.
    """
    if generator.random() < 0.5:
        image, labels = image.flip(-1), labels.flip(-1)
    if recipe.symmetry == "square":
        turns = int(generator.integers(4))
        image, labels = torch.rot90(image, turns, (-2, -1)), torch.rot90(labels, turns, (-2, -1))
    if not recipe.scale:
        return image, labels
    size = recipe.scale, recipe.window or recipe.scale
    lack = max(0, size[1] - image.shape[-1])
    if lack:
        image = F.pad(image[None], (0, lack, 0, 0), mode="reflect")[0]
        labels = F.pad(labels, (0, lack), value=VOID)
    top, left = (int(generator.integers(0, have - want + 1)) for have, want in zip(image.shape[-2:], size))
    window = (..., slice(top, top + size[0]), slice(left, left + size[1]))
    return image[window], labels[window]


def train(
    network: Zoomout,
    maps: LabelMaps,
    recipe: Recipe,
    *,
    store: str | Path,
    device: str = "cpu",
    workers: int = 0,
    title: str = "",
    checkpoint_seconds: float = 60.0,
) -> tuple[Zoomout, dict]:
    """Train `network` on `maps` as `recipe` says, or find in the store what was trained so before; see `finetune`.

    Returns (network in evaluation mode, manifest facts). `network` itself is changed. Void pixels teach nothing.
    A killed run goes on from its last checkpoint to bit-identical weights.
    """
    finetuning.check(recipe)
    if len(maps.classes) != network.class_count:
        raise UserError(f"{maps.name} has {len(maps.classes)} classes, {network.name} answers {network.class_count}")
    if not maps.native_side and recipe.scale < 32:
        raise UserError(f"scale={recipe.scale} is too small to train on photographs; use 32 or more, 256 in the paper")
    if recipe.scale and recipe.window > 2 * recipe.scale:
        raise UserError(f"window={recipe.window} is more than twice scale={recipe.scale}; use a narrower one")
    module = network if recipe.end_to_end else network.head
    decided = facts(network, maps, recipe)
    finished, about = finetuning.kept(
        store,
        decided,
        lambda folder: _train(network, module, maps, recipe, folder, device, workers, title, checkpoint_seconds),
    )
    module.load_state_dict(safetensors.torch.load_file(finished))
    return network.to(device).eval(), about


def facts(network: Zoomout, maps: LabelMaps, recipe: Recipe) -> dict:
    """What decides the weights that `train` returns."""
    return {
        "segmenters": VERSION,
        "network": network.name,
        "hidden": network.head.first.out_channels,
        "dropout": network.head.dropout.p,
        "start_weights": models.fingerprint(network.backbone if recipe.start == "fresh" else network),
        "classes": list(maps.classes),
        "dataset": maps.name,
        "data": maps.fingerprint,
        "n": len(maps),
        **asdict(recipe),
    }


def _train(network, module, maps, recipe, folder, device, workers, title, checkpoint_seconds) -> tuple[dict, dict]:
    network = network.to(device).train()
    if recipe.start == "fresh":
        standardise(network, _sharp(maps, recipe, device))
    for parameter in network.backbone.parameters():
        parameter.requires_grad_(recipe.end_to_end)
    groups = [{"params": list(network.head.parameters())}]
    if recipe.end_to_end:
        groups.append({"params": list(network.backbone.parameters()), "share": recipe.backbone_share})
    ends = finetuning.cuts(len(maps), recipe.batch, 1)
    steps = recipe.epochs * len(ends)

    def batches(first: int) -> Iterator:
        preloaded = _preload(maps) if first < steps else None
        return _batches(maps, recipe, preloaded, first, len(ends), workers)

    def loss_of(step: int, batch) -> tuple[torch.Tensor, float]:
        images, labels = batch
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            scores = network(images)
        labels = labels.to(device).long()
        summed = F.cross_entropy(
            scores.float(), labels, ignore_index=VOID, label_smoothing=recipe.label_smoothing, reduction="sum"
        )
        return summed / (labels != VOID).sum().clamp(min=1), 1.0  # a batch without a label teaches nothing, not NaN

    notes = finetuning.fit(
        module, groups, recipe, steps, batches, loss_of, folder / "checkpoint.pt",
        title=title or f"training {network.name}", checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    for parameter in network.backbone.parameters():
        parameter.requires_grad_(True)
    return finetuning.whole_state(module, recipe), notes | {"device": device}


def _sharp(maps: LabelMaps, recipe: Recipe, device: str) -> Iterator[torch.Tensor]:
    for index in range(0, len(maps), max(1, len(maps) // STANDARDISED_ON)):
        yield at_scale(*maps.load(index), recipe.scale)[0].to(device)


def _preload(maps: LabelMaps) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """All pairs decoded once, as 8-bit where nothing is lost by it; None where they would not fit in memory."""
    first, pairs = maps.load(0), []
    if len(maps) * (first[0].numel() + first[1].numel()) * (4 if maps.native_side else 1) > finetuning.PRELOAD_BYTES:
        return None
    for index in range(len(maps)):
        image, labels = maps.load(index)
        whole = (image * 255).round().to(torch.uint8)
        pairs.append((whole if torch.equal(whole.float() / 255, image) else image, labels))
    return pairs


def _batches(maps, recipe, preloaded, first, per_epoch, workers) -> Iterator:
    for epoch in range(first // per_epoch, recipe.epochs):
        skip = first - epoch * per_epoch if epoch == first // per_epoch else 0
        yield from DataLoader(
            Draws(maps, recipe, epoch, preloaded),
            batch_sampler=finetuning.Order(len(maps), recipe, epoch, skip, 0, 1),
            num_workers=workers,
        )
