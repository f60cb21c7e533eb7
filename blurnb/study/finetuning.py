"""The paper's cure: go on training a network on images that are sharp or freshly blurred."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from blurnb import records
from blurnb.errors import UserError
from blurnb.labels import FRAME
from blurnb.optics import blurring, resampling
from blurnb.optics.transforms import draw_blur, parse_mix
from blurnb.recognition import models
from blurnb.recognition.datasets import Dataset
from blurnb.recognition.weights import load_weights
from blurnb.study import memory

VERSION = 1  # raise it when a change to this file changes weights
PRELOAD_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; every field decides the weights and is written into the manifest.

    mix: a name in `blurnb.optics.MIXES`, a label, a list of labels, or {label: weight}.
    epochs, batch, learning_rate, momentum, weight_decay, schedule ("cosine" | "constant"), warmup (share of the
    steps), optimizer ("sgd" | "adamw"): the paper states none of them. clip: largest gradient norm.
    symmetry: "mirror" flips half of the images left to right; "square" applies any of the square's eight symmetries.
    frozen_blocks: the first so many blocks keep their weights (`models.blocks`); 0 trains all.
    frame, border: as in evaluation. scale: side of the training images; 0 keeps small images as they are.
    shift: largest random translation of small images, pixels; photographs get a random 7/8 crop instead.
    """

    mix: str | list | dict = "mix"
    epochs: int = 3
    batch: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.05
    clip: float = 5.0
    frozen_blocks: int = 0
    label_smoothing: float = 0.0
    scale: int = 0
    shift: int = 4
    frame: int = FRAME
    border: str = "reflect"
    precision: str = "float32"
    seed: int = 0
    optimizer: str = "sgd"
    symmetry: str = "mirror"


LATER_FIELDS = ("optimizer", "symmetry")  # they enter the address only where they differ from their default


def check(recipe: Recipe) -> None:
    """Raise UserError for the first field that is out of range, before any work starts."""
    parse_mix(recipe.mix)
    ranges = {
        "epochs": (0, 10_000), "batch": (1, 100_000), "learning_rate": (0, 100), "momentum": (0, 1),
        "weight_decay": (0, 10), "warmup": (0, 1), "clip": (0, 1e9), "frozen_blocks": (0, 1000),
        "label_smoothing": (0, 1), "scale": (0, 4096), "shift": (0, 64), "frame": (1, 65536), "seed": (0, 2**63),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        value, kinds = getattr(recipe, name), int if isinstance(getattr(Recipe, name), int) else int | float
        if not (isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high):
            raise UserError(f"{name}={value!r} is out of range; use {low} to {high}")
    choices = {
        "schedule": ("cosine", "constant"), "precision": ("float32", "bf16"), "border": blurring.engines.BORDERS,
        "optimizer": ("sgd", "adamw"), "symmetry": ("mirror", "square"),
    }  # fmt: skip
    for name, words in choices.items():
        if getattr(recipe, name) not in words:
            raise UserError(f"{name}={getattr(recipe, name)!r} is unknown; use {' or '.join(words)}")


class Draws(torch.utils.data.Dataset):
    """One epoch of training images: image i, its blur, flip and shift depend on (seed, epoch, image id) alone."""

    def __init__(self, dataset: Dataset, recipe: Recipe, epoch: int, preloaded: list[torch.Tensor] | None):
        self.dataset, self.recipe, self.epoch, self.preloaded = dataset, recipe, epoch, preloaded
        # weights by label have one content address whatever their order, so their order must not matter here
        self.pool = parse_mix(dict(sorted(recipe.mix.items())) if isinstance(recipe.mix, Mapping) else recipe.mix)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        recipe, identity = self.recipe, self.dataset.ids[index]
        generator = blurring.generator_for(recipe.seed, f"{identity}#{self.epoch}", "training")
        blur = draw_blur(self.pool, generator)
        image = self.preloaded[index] if self.preloaded else self.dataset.load(index)
        if image.dtype == torch.uint8:
            image = image.float() / 255
        image = image[None] if self.dataset.native_side else resampling.resized(image[None], recipe.frame)
        image = blurring.blur(
            image,
            blur,
            frame=recipe.frame,
            border=recipe.border,
            seed=recipe.seed,
            image_ids=[f"{identity}#{self.epoch}"],
        )
        if recipe.scale:
            image = resampling.resized(image, recipe.scale)
        if generator.random() < 0.5:
            image = image.flip(-1)
        if recipe.symmetry == "square":
            image = torch.rot90(image, int(generator.integers(4)), (-2, -1))
        return _placed(image[0], recipe, generator, bool(self.dataset.native_side)), self.dataset.labels[index]


def _placed(image: torch.Tensor, recipe: Recipe, generator: np.random.Generator, small: bool) -> torch.Tensor:
    """A random view: small images shifted by a few pixels over a reflected border, photographs cropped to 7/8."""
    if small:
        if not recipe.shift:
            return image
        down, right = (int(v) for v in generator.integers(0, 2 * recipe.shift + 1, 2))
        padded = F.pad(image[None], (recipe.shift,) * 4, mode="reflect")[0]
        return padded[:, down : down + image.shape[1], right : right + image.shape[2]]
    crop = round(min(image.shape[-2:]) * 7 / 8)
    top, left = (int(generator.integers(0, side - crop + 1)) for side in image.shape[-2:])
    return image[:, top : top + crop, left : left + crop]


def _preload(dataset: Dataset) -> list[torch.Tensor] | None:
    """Small images decoded once, as 8-bit where nothing is lost by it; None where they would not fit in memory."""
    side = dataset.native_side
    if not side or len(dataset) * 3 * side * side * 4 > PRELOAD_BYTES:
        return None
    images = []
    for index in tqdm(range(len(dataset)), desc=f"reading {dataset.name}", unit="image", mininterval=1, leave=False):
        image = dataset.load(index)
        rounded = (image * 255).round().to(torch.uint8)
        images.append(rounded if torch.equal(rounded.float() / 255, image) else image)
    return images


def facts(network: models.Network, dataset: Dataset, recipe: Recipe) -> dict:
    """What decides the weights that `finetune` returns."""
    fields = asdict(recipe)
    for name in LATER_FIELDS:
        if fields[name] == getattr(Recipe, name):
            del fields[name]
    return {
        "finetuning": VERSION,
        "network": network.name,
        "start": models.fingerprint(network),
        "classes": network.class_count,
        "dataset": dataset.name,
        "data": dataset.fingerprint,
        "n": len(dataset),
        **fields,
    }


def finetune(
    network: models.Network,
    dataset: Dataset,
    recipe: Recipe,
    *,
    store: str | Path,
    device: str = "cpu",
    workers: int = 0,
    title: str = "",
    checkpoint_seconds: float = 60.0,
) -> tuple[models.Network, dict]:
    """Train `network` on `dataset` as `recipe` says, or find in the store what was trained so before.

    Returns (network in evaluation mode, manifest facts with `weights` path, losses and run time). `network`
    itself is changed. A killed run goes on from its last checkpoint to bit-identical weights (same machine and
    thread count); two processes that want the same network train it once. Under torchrun the global batch is
    divided among the processes (DistributedDataParallel); process 0 writes.

    Raises UserError for a field out of range, a class index beyond the network and a loss that is not finite
    (the last good checkpoint is kept).
    """
    check(recipe)
    if not len(dataset):
        raise UserError(f"{dataset.name} holds no image to train on")
    if dataset.native_side and recipe.shift >= (recipe.scale or dataset.native_side):
        raise UserError(f"shift={recipe.shift} is larger than the images of {dataset.name}; use a few pixels")
    if max(dataset.labels) >= network.class_count:
        raise UserError(f"{dataset.name} has class index {max(dataset.labels)}, {network.name} {network.class_count}")
    decided = facts(network, dataset, recipe)
    finished, about = kept(
        store,
        decided,
        lambda folder: _train(network, dataset, recipe, folder, device, workers, title, checkpoint_seconds),
    )
    load_weights(network, finished)
    return network.eval(), about


def kept(store: str | Path, decided: Mapping, train: Callable[[Path], tuple[dict, dict]]) -> tuple[Path, dict]:
    """(file, manifest) of the weights that `decided` describes: found whole in the store, or made once by `train`.

    `train(folder)` returns (state dict, what to note); it may keep a checkpoint.pt in the folder, which is removed
    when the weights are there.
    """
    folder = Path(store) / "networks" / records.address(decided)
    finished, about = folder / "weights.safetensors", folder / "manifest.json"
    rank, world = _join()
    told = _told(finished, about, decided)
    if not _agreed(told is not None, world):  # what is finished needs no lock: a store that is read-only serves it
        with records.locked(folder / f"process{rank}"):
            told = _told(finished, about, decided)
            if not _agreed(told is not None, world):
                if rank == 0:
                    for name in (finished, about, folder / "checkpoint.pt"):
                        records.forget_unfinished(name)
                state, manifest = train(folder)
                if rank == 0:
                    weights = safetensors.torch.save(state)
                    digest = hashlib.sha256(weights).hexdigest()
                    notes = {"facts": decided, "sha256": digest, **manifest, "processes": world}
                    records.write_whole(finished, weights)
                    records.write_whole(about, json.dumps(notes | {"seal": _seal(notes)}, indent=1) + "\n")
                    (folder / "checkpoint.pt").unlink(missing_ok=True)
                if world > 1:
                    dist.barrier()
    told = told or _told(finished, about, decided)  # what process 0 saw may have come a moment after this one looked
    if told is None:
        raise UserError(f"{finished} changed while it was read; run again")
    return finished, told | {"weights": str(finished)}


def condition(folder: Path) -> str:
    """Of a training in the store: finished | unfinished | damaged | empty."""
    finished, about = folder / "weights.safetensors", folder / "manifest.json"
    if about.exists():
        try:
            decided = json.loads(about.read_text())["facts"]
            return "damaged" if _told(finished, about, decided) is None else "finished"
        except (OSError, ValueError, KeyError, TypeError):
            return "damaged"
    return "unfinished" if (folder / "checkpoint.pt").exists() else "empty"


def _seal(notes: Mapping) -> str:
    return hashlib.sha256(json.dumps(notes, sort_keys=True).encode()).hexdigest()[:16]


def _told(finished: Path, about: Path, decided: Mapping) -> dict | None:
    """The manifest in the store; None unless it is whole, of this training, and of the weights beside it."""
    try:
        notes = json.loads(about.read_text())
        seal = notes.pop("seal", None)  # manifests had none at first
        if seal not in (None, _seal(notes)) or records.address(notes["facts"]) != records.address(decided):
            return None
        return notes if hashlib.sha256(finished.read_bytes()).hexdigest() == notes["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _agreed(answer: bool, world: int) -> bool:
    """Process 0's answer: one that looks a moment later must not sit out a training that the others begin."""
    said = [answer]
    if world > 1:
        dist.broadcast_object_list(said, src=0)
    return said[0]


def _join() -> tuple[int, int]:
    """(rank, processes): joins the process group that torchrun prepared, if there is one."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _train(network, dataset, recipe, folder, device, workers, title, checkpoint_seconds) -> tuple[dict, dict]:
    rank, world = _join()
    if recipe.batch % world:
        raise UserError(f"batch={recipe.batch} cannot be divided among {world} processes; use a multiple of {world}")
    network = network.to(device).train()
    fixed = _freeze(network, recipe.frozen_blocks)
    trained = [p for p in network.parameters() if p.requires_grad]
    if not trained:
        raise UserError(f"frozen_blocks={recipe.frozen_blocks} leaves nothing to train; use fewer")
    engine = nn.parallel.DistributedDataParallel(network) if world > 1 else network
    sizes = [stop - start for start, stop in cuts(len(dataset), recipe.batch, world)]
    steps = recipe.epochs * len(sizes)

    def batches(first: int) -> Iterator:
        preloaded = _preload(dataset) if first < steps else None
        return _batches(dataset, recipe, preloaded, first, steps, len(sizes), workers, rank, world)

    def loss_of(step: int, batch) -> tuple[torch.Tensor, float]:
        images, labels = batch
        images = images.to(device, memory_format=torch.channels_last)
        labels = labels.to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            scores = engine(images)
            scores = scores[0] if isinstance(scores, tuple) else scores  # GoogLeNet's own losses are left out
        loss = F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing)
        # processes average their gradients: weigh them by their shares of a batch that does not divide evenly
        return loss, len(labels) * world / sizes[step % len(sizes)] if world > 1 else 1.0

    title = title or f"training {network.name} ({_mix_name(recipe.mix)})"
    notes = fit(
        network.body, [{"params": trained}], recipe, steps, batches, loss_of, folder / "checkpoint.pt",
        title=title, checkpoint_seconds=checkpoint_seconds, rank=rank,
    )  # fmt: skip
    for parameter in fixed:
        parameter.requires_grad_(True)
    return whole_state(network.body, recipe), notes | {"device": device}


def whole_state(module: nn.Module, recipe: Recipe) -> dict[str, torch.Tensor]:
    """The weights to keep. Raises UserError where they are not finite: the loss may have been, one step earlier."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise UserError(f"the weights are not finite after training; learning_rate={recipe.learning_rate} diverges")
    return state


def fit(
    module: nn.Module,
    groups: list[dict],
    recipe: Recipe,
    steps: int,
    batches: Callable[[int], Iterator],
    loss_of: Callable[[int, object], tuple[torch.Tensor, float]],
    checkpoint: Path,
    *,
    title: str,
    checkpoint_seconds: float = 60.0,
    rank: int = 0,
) -> dict:
    """Take the steps that are left of `steps`, whatever is trained; returns what the manifest notes of them.

    module: whose state a checkpoint holds. groups: as torch's optimizers take them, `share` being a group's part of
    the learning rate. batches(first) yields the batches from step `first` on. loss_of(step, batch) gives the loss
    and the weight of its gradient.
    """
    memory.keep_freed()
    optimizer = _optimizer([{**group, "lr": recipe.learning_rate} for group in groups], recipe)
    trained = [parameter for group in groups for parameter in group["params"]]
    first, losses = _resume(checkpoint, module, optimizer)
    drawn = batches(first)
    started = saved = time.perf_counter()
    with tqdm(total=steps, initial=first, desc=title, unit="step", mininterval=1, disable=rank > 0) as bar:
        for step, batch in zip(range(first, steps), drawn):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * group.get("share", 1.0) * _rate(step / steps, recipe)
            torch.manual_seed(_step_seed(recipe.seed, step, rank))  # dropout: the same whether resumed or not
            loss, weight = loss_of(step, batch)
            optimizer.zero_grad(set_to_none=True)
            (loss * weight if weight != 1.0 else loss).backward()
            norm = nn.utils.clip_grad_norm_(trained, recipe.clip or math.inf)
            value = float(loss.detach())
            if not (math.isfinite(value) and math.isfinite(float(norm))):
                raise UserError(
                    f"the loss is not finite at step {step} of {steps}: learning_rate={recipe.learning_rate} diverges; "
                    f"use a smaller one{f' (the last good checkpoint is {checkpoint})' if checkpoint.exists() else ''}"
                )
            optimizer.step()
            losses.append(round(value, 5))
            bar.update()
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            if rank == 0 and time.perf_counter() - saved > checkpoint_seconds:
                _save(checkpoint, module, optimizer, step + 1, losses)
                saved = time.perf_counter()
    seconds = time.perf_counter() - started
    every = max(1, len(losses) // 200)
    return {
        "wall_seconds": round(seconds, 1),
        "images_per_second": round((steps - first) * recipe.batch / seconds, 1) if steps > first else None,
        "loss": [round(float(np.mean(losses[i : i + every])), 4) for i in range(0, len(losses), every)],
        "threads": torch.get_num_threads(),
    }


def _optimizer(parameters: list[dict], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)


def _mix_name(mix) -> str:
    if isinstance(mix, str):
        return mix
    labels = mix if isinstance(mix, Mapping) else [one if isinstance(one, str) else one[0] for one in mix]
    return "+".join(map(str, labels))


def _freeze(network: models.Network, count: int) -> list[nn.Parameter]:
    """Keep the weights and the normalisation statistics of the first `count` blocks."""
    blocks = models.blocks(network)
    if count > len(blocks):
        raise UserError(f"frozen_blocks={count} is more than the {len(blocks)} blocks of {network.name}")
    modules = [m for block in blocks[:count] for m in block]
    for module in modules:
        module.eval()
    parameters = [p for m in modules for p in m.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    return parameters


def _rate(progress: float, recipe: Recipe) -> float:
    """Learning rate as a share of its peak, after `progress` of all steps."""
    if progress < recipe.warmup:
        return (progress + 1e-3) / (recipe.warmup + 1e-3)
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup)))


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def cuts(count: int, batch: int, world: int) -> list[tuple[int, int]]:
    """Where an epoch is cut into batches; a rest of less than two images a process joins the batch before it.

    Batch normalisation has no statistics of one image, and a process without any has nothing to do.
    """
    starts = list(range(0, count, batch))
    if len(starts) > 1 and count - starts[-1] < 2 * world:
        starts.pop()
    return list(zip(starts, [*starts[1:], count]))


class Order(torch.utils.data.Sampler):
    """Batches of indices of one epoch from a given step on; this process's share of each."""

    def __init__(self, count: int, recipe: Recipe, epoch: int, skip: int, rank: int, world: int):
        order = np.random.default_rng([recipe.seed, epoch]).permutation(count)
        batches = [order[start:stop] for start, stop in cuts(count, recipe.batch, world)]
        self.batches = [b[rank::world].tolist() for b in batches[skip:]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _batches(dataset, recipe, preloaded, first, steps, per_epoch, workers, rank, world) -> Iterator:
    for epoch in range(first // per_epoch, recipe.epochs):
        skip = first - epoch * per_epoch if epoch == first // per_epoch else 0
        loader = DataLoader(
            Draws(dataset, recipe, epoch, preloaded),
            batch_sampler=Order(len(dataset), recipe, epoch, skip, rank, world),
            num_workers=workers,
        )
        yield from loader


def _save(path: Path, module: nn.Module, optimizer, step: int, losses: list[float]) -> None:
    """Plain tensors and numbers, then their digest: reading it back executes nothing and notices every flipped bit."""
    buffer = io.BytesIO()
    state = {"network": module.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({"step": step, "losses": losses, **state}, buffer)
    data = buffer.getvalue()
    records.write_whole(path, data + hashlib.sha256(data).digest())


def _resume(path: Path, module: nn.Module, optimizer) -> tuple[int, list[float]]:
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
