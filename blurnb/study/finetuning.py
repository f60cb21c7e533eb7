"""The paper's cure: go on training a network on images that are sharp or freshly blurred."""

import copy
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from blurnb.errors import UserError
from blurnb.recognition import models
from blurnb.recognition.datasets import Dataset
from blurnb.recognition.weights import load_weights
from blurnb.study import draws, stores, training
from blurnb.study.recipes import Recipe

VERSION = 1


def finetune(
    network: models.Network, images: Dataset, recipe: Recipe, *, store: str | Path, **fitting
) -> tuple[models.Network, dict]:
    """Train a classifier on `images` as `recipe` says, or find in the store what was trained so before.

    `network` itself is changed. A killed run goes on from its last checkpoint to bit-identical weights (same machine
    and thread count); two processes that want the same network train it once. Under torchrun the global batch is
    divided among the processes (DistributedDataParallel); process 0 writes.

    Parameters
    ----------
    network, images, recipe : what is trained, on what, and how.
    store : folder of what is kept, `files.cache_folder()` for the study.
    fitting : `device`, `title`, `workers` and `checkpoint_seconds`, as `training.fit` takes them.

    Returns
    -------
    (network in evaluation mode, its manifest: what decided the weights, their file, losses, run time)

    Raises
    ------
    UserError
        For images without labels, a shift larger than the images, a teacher of other classes, blocks that the network
        has not got, a batch that the processes cannot share, and a loss that is not finite (the last good checkpoint is
        kept).
    """
    if images.native_side and recipe.max_shift >= (recipe.scale or images.native_side):
        raise UserError(f"max_shift={recipe.max_shift} is larger than the images of {images.name}; use a few pixels")
    if len(images.classes) == 1 and recipe.targets == "labels":
        raise UserError(f"{images.name} have no labels to learn; use targets='teacher'")
    decided = facts(network, images, recipe)
    finished, about = stores.stored(store, decided, lambda folder: _train(network, images, recipe, folder, **fitting))
    load_weights(network, finished)
    return network.eval(), about


def facts(network: models.Network, images: Dataset, recipe: Recipe) -> dict:
    """What decides the weights that `finetune` returns."""
    return {
        "versions": training.versions(network.body, sys.modules[__name__], draws),
        "network": network.name,
        "start": models.fingerprint(network),
        "classes": network.class_count,
        "dataset": images.name,
        "data": images.fingerprint,
        "n": len(images),
        **({"taught_by": models.fingerprint(_teacher(network, recipe))} if recipe.teacher else {}),
        **({"small_input": small} if (small := models.small_input(network)) not in ("", "adaptive") else {}),
        **recipe.model_dump(),
    }


def _train(network, images, recipe: Recipe, folder: Path, *, device="cpu", title="", **fitting) -> tuple[dict, dict]:
    """(weights by name, what the manifest notes)"""
    rank, world = stores.joined()
    if recipe.batch % world:
        raise UserError(f"batch={recipe.batch} cannot be divided among {world} processes; use a multiple of {world}")
    network = network.to(device).train()
    teacher = _teacher(network, recipe)
    _freeze(network, recipe.frozen_blocks, recipe.batch_norm)
    if not (trained := [p for p in network.parameters() if p.requires_grad]):
        raise UserError(f"frozen_blocks={recipe.frozen_blocks} leaves nothing to train; use fewer")

    def loss_of(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if teacher is not None:
            with torch.no_grad(), torch.autocast(scores.device.type, torch.bfloat16, recipe.precision == "bf16"):
                targets = teacher(targets.contiguous(memory_format=torch.channels_last)).float().softmax(1)
        return F.cross_entropy(scores, targets, label_smoothing=recipe.label_smoothing)

    forward = nn.parallel.DistributedDataParallel(network) if world > 1 else network
    learnt = draws.Draws(images, recipe), forward, loss_of, folder / "checkpoint.pt"
    fitting |= {"device": device, "title": title or f"training {network.name}", "rank": rank, "world": world}
    kept = training.fit(network.body, [{"params": trained}], recipe, *learnt, **fitting)
    network.requires_grad_(True)
    return kept


def _teacher(network: models.Network, recipe: Recipe) -> models.Network | None:
    """Who answers the sharp images: another network, or this one as it is now; None where labels teach."""
    if recipe.targets == "labels":
        return None
    found = models.load(recipe.teacher, recipe.teacher_weights) if recipe.teacher else copy.deepcopy(network)
    if found.class_count != network.class_count:
        raise UserError(
            f"teacher={recipe.teacher} answers {found.class_count} classes, {network.name} {network.class_count}; "
            "use one that answers the same"
        )
    return found.to(network.mean.device).eval().requires_grad_(False)


def _freeze(network: models.Network, count: int, batch_norm: str) -> None:
    """Keep the weights and the normalisation statistics of the first `count` blocks; of all, where norms are frozen."""
    for module in network.modules():
        if batch_norm == "frozen" and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()
    blocks = models.blocks(network)
    if count > len(blocks):
        raise UserError(f"frozen_blocks={count} is more than the {len(blocks)} blocks of {network.name}")
    for module in (module for block in blocks[:count] for module in block):
        module.eval().requires_grad_(False)
