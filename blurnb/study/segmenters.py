"""Training of zoomout networks on labelled pixels: the head alone, or the backbone with it."""

import sys
from pathlib import Path

import safetensors.torch
import torch
from torch.nn import functional as F

from blurnb.recognition import models, zoomout
from blurnb.recognition.datasets import Dataset
from blurnb.recognition.label_maps import VOID
from blurnb.study import draws, stores, training
from blurnb.study.recipes import SegmentationRecipe

VERSION = 1
STANDARDISED_ON = 64  # images from whose sharp features the channels' means and standard deviations are taken


def train(
    network: zoomout.Zoomout, maps: Dataset, recipe: SegmentationRecipe, *, store: str | Path, **fitting
) -> tuple[zoomout.Zoomout, dict]:
    """Train a zoomout network on `maps` as `recipe` says, or find in the store what was trained so before.

    `network` itself is changed. Void pixels teach nothing. A killed run goes on from its last checkpoint to
    bit-identical weights. Parameters as of `finetuning.finetune`.

    Returns
    -------
    (network in evaluation mode, its manifest)

    Raises
    ------
    UserError
        For a loss that is not finite.
    """
    decided = facts(network, maps, recipe)
    finished, about = stores.stored(store, decided, lambda folder: _train(network, maps, recipe, folder, **fitting))
    _learning(network, recipe).load_state_dict(safetensors.torch.load_file(finished))
    return network.eval(), about


def _learning(network: zoomout.Zoomout, recipe: SegmentationRecipe) -> torch.nn.Module:
    return network if recipe.end_to_end else network.head


def facts(network: zoomout.Zoomout, maps: Dataset, recipe: SegmentationRecipe) -> dict:
    """What decides the weights that `train` returns."""
    return {
        "versions": training.versions(network.backbone.body, sys.modules[__name__], draws, zoomout),
        "network": network.name,
        "hidden_channels": network.head.first.out_channels,
        "dropout": network.head.dropout.p,
        "start_weights": models.fingerprint(network.backbone if recipe.start == "fresh" else network),
        "classes": list(maps.classes),
        "dataset": maps.name,
        "data": maps.fingerprint,
        "n": len(maps),
        **({"small_input": small} if (small := models.small_input(network)) not in ("", "adaptive") else {}),
        **recipe.model_dump(),
    }


def _train(network, maps, recipe, folder: Path, *, device="cpu", title="", **fitting) -> tuple[dict, dict]:
    """(weights of what learns by name, what the manifest notes)"""
    network = network.to(device).train()
    if recipe.start == "fresh":
        spread = range(0, len(maps), max(1, len(maps) // STANDARDISED_ON))
        framed = (draws.at_scale(*maps.load(index), recipe.scale, recipe.resample) for index in spread)
        zoomout.standardise(network, (sharp.to(device) for sharp, _ in framed))
    network.backbone.requires_grad_(recipe.end_to_end)
    groups = [{"params": list(network.head.parameters())}]
    if recipe.end_to_end:
        groups.append({"params": list(network.backbone.parameters()), "share": recipe.backbone_share})

    def loss_of(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        summed = F.cross_entropy(
            scores, labels, ignore_index=VOID, label_smoothing=recipe.label_smoothing, reduction="sum"
        )
        return summed / (labels != VOID).sum().clamp(min=1)  # a batch without a label teaches nothing, not NaN

    learnt = draws.MapDraws(maps, recipe), network, loss_of, folder / "checkpoint.pt"
    fitting |= {"device": device, "title": title or f"training {network.name}"}
    kept = training.fit(_learning(network, recipe), groups, recipe, *learnt, **fitting)
    network.backbone.requires_grad_(True)
    return kept
