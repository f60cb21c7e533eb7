"""Steps of training, whatever is trained: the order of images, optimizer, checkpoints, several processes."""

import hashlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from blurnb import files, provenance
from blurnb.errors import UserError
from blurnb.optics import blurring, engines, kernels, loops, plans, resampling, transforms
from blurnb.study import memory
from blurnb.study.recipes import Recipe

VERSION = 1
BLURRING = (blurring, engines, kernels, loops, plans, resampling, transforms)
"""Modules that decide what a blurred training image is."""


def versions(body: nn.Module, *modules: ModuleType) -> dict[str, int]:
    """{module: VERSION} of all that computes for the weights of `body`, to be hashed with what else decides them.

    `modules` are the caller's own; what blurs, this one and the module that defines `body` are added. A network of
    another package brings no VERSION.
    """
    found = dict.fromkeys((*modules, sys.modules[__name__], *BLURRING, sys.modules.get(type(body).__module__)))
    return provenance.versions(*(one for one in found if hasattr(one, "VERSION")))


SETTLED = 20  # steps on an accelerator between two looks at the loss: each waits for all that was queued


class Stream(torch.utils.data.Dataset):
    """All epochs of `draws` as one data set, indexed by (epoch, image): workers live as long as the training."""

    def __init__(self, draws):
        self.draws = draws

    def __getitem__(self, place: tuple[int, int]):
        return self.draws.of(place[0])[place[1]]


def fit(
    module: nn.Module,
    groups: list[dict],
    recipe: Recipe,
    draws,
    forward: Callable[[torch.Tensor], torch.Tensor],
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    checkpoint: Path,
    *,
    device: str,
    title: str,
    workers: int = 0,
    checkpoint_seconds: float = 60.0,
    rank: int = 0,
    world: int = 1,
) -> tuple[dict, dict]:
    """Take the steps that are left, whatever is trained.

    A killed run goes on from its last checkpoint to bit-identical weights (same machine and thread count).

    Parameters
    ----------
    module : whose state a checkpoint holds.
    groups : as torch's optimizers take them, `share` being a group's part of the learning rate.
    recipe : how the steps are taken.
    draws : `draws.of(epoch)` is the data set of an epoch, and `draws.decode(device)` prepares it.
    forward : images (N, 3, H, W) on `device` to scores, in the precision of the recipe.
    loss_of : called with (scores, float32; class indices, int64, or what else `draws` gives), gives the loss.
    checkpoint : file of what a killed run goes on from, written every `checkpoint_seconds`.
    workers : processes that decode and blur beside this one; with 0 the images lie on `device`, and are drawn there.
    rank, world : this process and how many there are; each sees its share of every batch.

    Returns
    -------
    (weights of `module` by name, on the CPU; what the manifest notes of the steps: loss, seconds, images a second,
    threads, device)

    Raises
    ------
    UserError
        For a loss, a gradient or a weight that is not finite; the last good checkpoint is kept.
    """
    memory.keep_freed()
    sizes = [stop - start for start, stop in cuts(len(draws), recipe.batch, world)]
    steps = recipe.epochs * len(sizes)
    rated, decay = [{**group, "lr": recipe.learning_rate} for group in groups], recipe.weight_decay
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(rated, recipe.learning_rate, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(rated, recipe.learning_rate, recipe.momentum, weight_decay=decay)
    trained = [parameter for group in groups for parameter in group["params"]]
    first, losses = resume(checkpoint, module, optimizer)
    if first < steps:
        draws.decode("cpu" if workers else device)
    told: list[torch.Tensor] = []
    settled = 1 if torch.device(device).type == "cpu" else SETTLED
    started = saved = time.perf_counter()
    with tqdm(total=steps, initial=first, desc=title, unit="step", mininterval=1, disable=rank > 0) as bar:
        for step, batch in zip(range(first, steps), _batches(draws, recipe, first, workers, device, rank, world)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * group.get("share", 1.0) * _rate(step / steps, recipe)
            seed = np.random.SeedSequence([recipe.seed, step, rank]).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(seed >> 1))  # dropout: the same whether resumed or not
            pixels = batch[0].to(device, non_blocking=True, memory_format=torch.channels_last)
            targets = batch[1].to(device, non_blocking=True)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                scores = forward(pixels)
            scores = scores[0] if isinstance(scores, tuple) else scores  # GoogLeNet's own losses are left out
            loss = loss_of(scores.float(), targets if targets.is_floating_point() else targets.long())
            optimizer.zero_grad(set_to_none=True)
            # processes average their gradients: weigh them by their shares of a batch that does not divide evenly
            (loss * (len(targets) * world / sizes[step % len(sizes)]) if world > 1 else loss).backward()
            norm = nn.utils.clip_grad_norm_(trained, recipe.clip or math.inf)
            told.append(torch.stack([loss.detach(), norm]))
            optimizer.step()
            bar.update()
            due = rank == 0 and time.perf_counter() - saved > checkpoint_seconds
            if not (due or len(told) == settled or step + 1 == steps):
                continue
            for value, norm in torch.stack(told).tolist():
                if not (math.isfinite(value) and math.isfinite(norm)):
                    kept = f" (the last good checkpoint is {checkpoint})" if checkpoint.exists() else ""
                    raise UserError(
                        f"the loss is not finite at step {len(losses)} of {steps}: "
                        f"learning_rate={recipe.learning_rate} diverges; use a smaller one{kept}"
                    )
                losses.append(round(value, 5))
            told.clear()
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            if due:
                save(checkpoint, module, optimizer, step + 1, losses)
                saved = time.perf_counter()
    seconds = time.perf_counter() - started
    every = max(1, len(losses) // 200)
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    if not all(torch.isfinite(value).all() for value in state.values()):  # the loss may have been, one step earlier
        raise UserError(f"the weights are not finite after training; learning_rate={recipe.learning_rate} diverges")
    return state, {
        "wall_seconds": round(seconds, 1),
        "images_per_second": round((steps - first) * recipe.batch / seconds, 1) if steps > first else None,
        "loss": [round(float(np.mean(losses[i : i + every])), 4) for i in range(0, len(losses), every)],
        "threads": torch.get_num_threads(),
        "device": device,
    }


def cuts(count: int, batch: int, world: int = 1) -> list[tuple[int, int]]:
    """(start, stop) of each batch of an epoch; a rest of less than two images a process joins the batch before it.

    Batch normalisation has no statistics of one image, and a process without any has nothing to do.
    """
    starts = list(range(0, count, batch))
    if len(starts) > 1 and count - starts[-1] < 2 * world:
        starts.pop()
    return list(zip(starts, [*starts[1:], count]))


def order(count: int, recipe: Recipe, epoch: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Indices of the images of each batch of one epoch; this process's share of them."""
    shuffled = np.random.default_rng([recipe.seed, epoch]).permutation(count)
    return [shuffled[start:stop][rank::world].tolist() for start, stop in cuts(count, recipe.batch, world)]


def _batches(draws, recipe: Recipe, first: int, workers: int, device: str, rank: int, world: int) -> Iterator[list]:
    """This process's share of every batch from step `first` on."""
    per_epoch = len(cuts(len(draws), recipe.batch, world))
    places = (
        [(epoch, index) for index in batch]
        for epoch in range(first // per_epoch, recipe.epochs)
        for batch in order(len(draws), recipe, epoch, rank, world)[max(0, first - epoch * per_epoch) :]
    )
    ahead = {"num_workers": workers, "prefetch_factor": 4, "pin_memory": device.startswith("cuda")} if workers else {}
    yield from DataLoader(Stream(draws), batch_sampler=places, **ahead)


def _rate(progress: float, recipe: Recipe) -> float:
    """Learning rate as a share of its peak, after `progress` of all steps."""
    if progress < recipe.warmup:
        return (progress + 1e-3) / (recipe.warmup + 1e-3)
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup)))


def save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int, losses: list[float]) -> None:
    """Plain tensors and numbers, then their digest: reading it back executes nothing and notices every flipped bit."""
    buffer = io.BytesIO()
    state = {"network": module.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({"step": step, "losses": losses, **state}, buffer)
    data = buffer.getvalue()
    files.write_whole(path, data + hashlib.sha256(data).digest())


def resume(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[float]]:
    """(steps done, losses) of an interrupted run, whose state is loaded; (0, []) when there is none that is whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions, or delete it") from error
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        tqdm.write(f"{path} is damaged; this training starts again")
        return 0, []
    saved = torch.load(io.BytesIO(data[:-32]), map_location="cpu", weights_only=True)
    module.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"]), list(saved["losses"])
