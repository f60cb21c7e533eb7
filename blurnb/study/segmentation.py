"""RQ5: whether training on blurred images helps to name every pixel, and how much of the sharp score it keeps."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from blurnb import records
from blurnb.errors import UserError
from blurnb.labels import parse
from blurnb.optics import blurring, resampling
from blurnb.recognition import datasets, label_maps, models, zoomout
from blurnb.study import confusion, degradation, evaluation, journal, memory, networks, segmenters
from blurnb.study.profiles import RQ5
from blurnb.study.recipes import SegmentationRecipe

VERSION = 1  # raise it when a change to this file or to study.confusion changes numbers: old answers are not reused
WIDEST = 8.0
"""Radius, in frame pixels, of the widest disk of the paper, D8: the unit of the boundary's width."""

Regions = dict[str, np.ndarray]
"""Region -> confusion matrices (n, classes, classes), one an image."""


def run(parameters: RQ5) -> degradation.Run:
    """Train what is missing, evaluate all on the same images; writes ``<output_dir>/rq5.csv``.

    All networks go on from one head trained on sharp images and take the same number of further steps: `sharp` and
    `mix` with the backbone trained too, as RQ2 trains whole networks, and `sharp, head only` and `mix, head only`.
    """
    maps, protocol, scale = opened(parameters), parameters.protocol(), scale_of(parameters)
    shared = {
        "question": "rq5",
        "dataset": degradation.dataset_label(maps, protocol),
        "network": parameters.network[0],
        "scale": str(scale or maps.native_side),
        "profile": parameters.profile,
    }
    rows, manifests, known = [], {}, {}
    for name, seed, network, origin in trained(parameters):
        found, circumstances = evaluate(
            network, maps, parameters.blurs, protocol, scale, parameters.boundary_width,
            store=datasets.cache_folder(), device=parameters.device, batch=parameters.batch, title=f"rq5: {name}",
        )  # fmt: skip
        decided = circumstances.pop("facts") | {"n": len(maps), "selection": maps.fingerprint}
        run_id = records.address(decided)
        left_out = confusion.absent(sum(next(iter(found.values())).values()).sum(0), maps.classes)
        manifests[run_id] = records.manifest(decided, network_origin=origin, absent_classes=left_out, **circumstances)
        known[name, seed] = found
        own = shared | {"training": name, "run_id": run_id}
        for blur, regions in found.items():
            rows += confusion.rows(regions, maps.classes, seed, blur=blur, **own)
            for rival, label, against in rivals(name, blur):
                other = known.get((rival, seed), {}).get(label)
                if other is not None:
                    rows += confusion.changes(regions, other, against, seed, blur=blur, **own)
    records.write(Path(parameters.output_dir) / "rq5.csv", rows, manifests)
    return degradation.Run(records.table(rows), manifests, {(shared["network"], shared["dataset"]): None})


def rivals(name: str, blur: str) -> Iterator[tuple[str, str, str]]:
    """(training, blur, how records name it) of what a network under a blur is compared with, image by image."""
    if blur != "sharp":
        yield name, "sharp", "sharp image"
    if name != "sharp":
        yield "sharp", blur, "sharp network"
    if name == "mix, head only":
        yield "sharp, head only", blur, "sharp head"


def opened(parameters: RQ5, split: str = "") -> label_maps.LabelMaps:
    """The test images, or those of the training split."""
    name, root = parameters.dataset[0], parameters.data_root or None
    if split == "train":
        return label_maps.load(name, root, split="train", n_images=parameters.train_images, seed=0)
    n_images = parameters.evidence()[0]["n_images"]
    return label_maps.load(
        name, root, split="test" if name == "scenes" else "val", n_images=n_images, seed=parameters.seed
    )


def scale_of(parameters: RQ5) -> int:
    """Shorter side at which photographs are blurred and answered; 0 for the scenes, which stay as they are."""
    scale = parameters.scales[0]
    if parameters.dataset[0] == "scenes":
        return 0
    if scale == "native" or "+" in scale:
        raise UserError(f"scales={scale!r}: photographs differ in size; give one shorter side, for instance 256")
    return evaluation.scale_parts(scale)[0]


def trained(parameters: RQ5) -> Iterator[tuple[str, int, zoomout.Zoomout, dict]]:
    """(training, seed, network, what is known of its weights) of each network of the chapter, trained if need be."""
    maps = opened(parameters, "train")
    started: dict[int, tuple[zoomout.Zoomout, dict]] = {}
    for mix, seed, whole in parameters.trainings():
        if seed not in started:
            started[seed] = _base(parameters, maps, seed)
        base, origin = started[seed]
        name = mix if whole else f"{mix}, head only"
        chosen = _recipe(
            parameters, mix=mix.split("+") if "+" in mix else mix, epochs=parameters.epochs, seed=seed,
            learning_rate=parameters.learning_rate, end_to_end=whole, start="further",
        )  # fmt: skip
        network, about = _trained(copy.deepcopy(base), maps, chosen, parameters, f"training on {name}, seed {seed}")
        yield name, seed, network, about | {"start": origin}


def _base(parameters: RQ5, maps: label_maps.LabelMaps, seed: int) -> tuple[zoomout.Zoomout, dict]:
    """The head that all others go on from: on the features of the classifier as it is, trained on sharp images."""
    backbone, origin = networks.ready(parameters.network[0], parameters.weights[0], 1000, parameters)
    network = zoomout.Zoomout(backbone, len(maps.classes), parameters.hidden_channels, parameters.dropout)
    chosen = _recipe(
        parameters, mix="sharp", epochs=parameters.base_epochs, learning_rate=parameters.base_learning_rate, seed=seed
    )
    network, about = _trained(network, maps, chosen, parameters, f"first head on sharp {maps.name}, seed {seed}")
    named = {key: value for key, value in origin.items() if key != "weights" or value in ("imagenet", "none", "hed")}
    return network, about | {"backbone": named}


def _recipe(parameters: RQ5, **changed) -> SegmentationRecipe:
    shared = networks.recipe(parameters).model_dump() | {"scale": scale_of(parameters)}
    shared |= {"crop_width": parameters.crop_width, "backbone_share": parameters.backbone_share}
    return SegmentationRecipe(**{**shared, **changed})


def _trained(network, maps, chosen, parameters: RQ5, title: str) -> tuple[zoomout.Zoomout, dict]:
    network, about = segmenters.train(
        network, maps, chosen, store=datasets.cache_folder(), device=parameters.device,
        workers=parameters.train_workers, title=title,
    )  # fmt: skip
    return network, {key: value for key, value in about.items() if key != "weights"}


def evaluate(
    network: zoomout.Zoomout,
    maps: label_maps.LabelMaps,
    blurs: Sequence[str],
    protocol: evaluation.Protocol,
    scale: int,
    band: float,
    *,
    store: str | Path,
    device: str = "cpu",
    batch: int = 4,
    title: str = "",
) -> tuple[dict[str, Regions], dict]:
    """Confusion matrices of every image by blur and region, computed or found in the store.

    Returns ({blur: regions}, circumstances). An image is brought to `scale`, blurred there with the kernel for that
    size (a label counts in a frame of 512), answered, and its scores enlarged to the size of the label map, where they
    are compared. `band`: width of the boundary in radii of D8, the same pixels under every blur.
    """
    if len(maps.classes) != network.class_count:
        raise UserError(f"{maps.name} has {len(maps.classes)} classes, {network.name} answers {network.class_count}")
    labels = list(dict.fromkeys(parse(blur).label for blur in blurs))
    facts = {
        "segmentation": VERSION, "network": network.name, "weights": models.fingerprint(network), "dataset": maps.name,
        "data": maps.source, "classes": len(maps.classes), "scale": scale, "band": band, **asdict(protocol),
    }  # fmt: skip
    path = journal.path_for(store, facts)
    known = journal.read(path)
    missing = [i for i, one in enumerate(maps.ids) if not set(labels) <= set(known.get(one, ()))]
    started, network = time.perf_counter(), network.to(device).eval()
    memory.keep_freed()
    for index in tqdm(missing, desc=title or network.name, unit="image", mininterval=1, disable=not missing):
        identity = maps.ids[index]
        todo = [label for label in labels if label not in known.get(identity, ())]
        image, truth = maps.load(index)
        truth = truth.numpy()
        edge = confusion.boundary(truth, max(1.0, band * WIDEST * min(truth.shape) / protocol.frame))
        found = {}
        for first in range(0, len(todo), batch):
            some = todo[first : first + batch]
            for label, answer in zip(some, answers(network, image, identity, some, protocol, scale, truth.shape)):
                found[label] = [
                    _sparse(confusion.matrix(truth, answer, len(maps.classes), where)) for where in (edge, ~edge)
                ]
        journal.append(path, [(identity, found)])
        known.setdefault(identity, {}).update(found)
    count = len(maps.classes)
    matrices = {
        label: {
            region: np.stack([_dense(known[one][label][place], count) for one in maps.ids])
            for place, region in enumerate(confusion.REGIONS)
        }
        for label in labels
    }
    return matrices, {
        "facts": facts,
        "computed_images": len(missing),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "device": device,
        "threads": torch.get_num_threads(),
        "batch": batch,
    }


def answers(
    network: zoomout.Zoomout,
    image: torch.Tensor,
    identity: str,
    blurs: Sequence[str],
    protocol: evaluation.Protocol,
    scale: int,
    shape: tuple[int, int],
) -> np.ndarray:
    """The class of every pixel, uint8 (len(blurs), height, width), of one image (3, H, W) under each blur."""
    device = next(network.parameters()).device
    seen = blurred(image, identity, blurs, protocol, scale).to(device, memory_format=torch.channels_last)
    with torch.inference_mode():
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=protocol.precision == "bf16"):
            scores = network(seen).float()
            if protocol.flip:
                scores = (scores.softmax(1) + network(seen.flip(-1)).float().flip(-1).softmax(1)) / 2
        if not torch.isfinite(scores).all():
            raise UserError(f"{network.name} gives scores that are not finite on {identity}; use precision float32")
        if scores.shape[-2:] != torch.Size(shape):
            scores = F.interpolate(scores, size=tuple(shape), mode="bilinear", align_corners=False)
        return scores.argmax(1).to(torch.uint8).cpu().numpy()


def blurred(image: torch.Tensor, identity: str, blurs: Sequence[str], protocol, scale: int) -> torch.Tensor:
    """One image (3, H, W) under each blur, at the scale: (len(blurs), 3, h, w)."""
    image = resampling.resized(image[None], scale) if scale else image[None]
    batch = image.expand(len(blurs), -1, -1, -1)
    found = blurring.blur(
        batch, list(blurs), frame=protocol.frame, border=protocol.border, seed=protocol.seed,
        image_ids=[identity] * len(blurs),
    )  # fmt: skip
    return resampling.rounded(found) if protocol.rounding == "8-bit" else found


def _sparse(matrix: np.ndarray) -> list[list[int]]:
    """[places, counts] of what is not zero: an image shows few of the classes."""
    flat = matrix.ravel()
    places = np.flatnonzero(flat)
    return [places.tolist(), flat[places].tolist()]


def _dense(sparse: list[list[int]], count: int) -> np.ndarray:
    flat = np.zeros(count * count, np.int64)
    flat[sparse[0]] = sparse[1]
    return flat.reshape(count, count)


def examples(parameters: RQ5, blur: str = "D8", count: int = 2) -> dict:
    """What a gallery shows: `classes`, `columns` (the networks' names) and `rows`, each a dict of `title`, `blur`,
    `image` (H, W, 3), `truth` and `answers` (maps, one a column); every image sharp and under `blur`."""
    maps, protocol, scale = opened(parameters), parameters.protocol(), scale_of(parameters)
    first = parameters.train_seeds[0]
    shown = {name: network for name, seed, network, _ in trained(parameters) if seed == first and "," not in name}
    rows = []
    for index in np.linspace(0, len(maps) - 1, count + 2).round().astype(int)[1:-1]:
        image, truth = maps.load(int(index))
        labels = ["sharp", blur]
        seen = blurred(image, maps.ids[index], labels, protocol, scale)
        said = [
            answers(network, image, maps.ids[index], labels, protocol, scale, truth.shape) for network in shown.values()
        ]
        for place, label in enumerate(labels):
            rows.append(
                {
                    "blur": label,
                    "image": seen[place].permute(1, 2, 0).numpy(),
                    "truth": truth.numpy(),
                    "answers": [one[place] for one in said],
                }
            )
    return {"classes": maps.classes, "columns": list(shown), "rows": rows}
