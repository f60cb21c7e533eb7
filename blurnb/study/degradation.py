"""RQ1: how blur affects the accuracy and the confidence of networks that were trained on sharp images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from blurnb import files, records
from blurnb.errors import UserError
from blurnb.labels import FRAME, parse
from blurnb.optics import blurring, resampling
from blurnb.recognition import datasets, models
from blurnb.study import evaluation, journal, networks
from blurnb.study.profiles import RQ1

PAPER_CHECK = {"top1": 0.71592, "top5": 0.90382, "n": 50_000, "tolerance": 0.002}
"""torchvision's published accuracy of VGG-16 IMAGENET1K_V1: validation set, shorter side 256, centre crop 224."""


class Run(NamedTuple):
    """What a chapter shows: its records, their manifests, and one answer an image.

    The answers are by (network, data set), or, where a chapter has several trainings of one, by (training, seed).
    """

    rows: pd.DataFrame
    manifests: dict[str, dict]
    answers: dict[tuple, pd.DataFrame]

    def of(self, place: int) -> pd.DataFrame:
        """The records of one pair of network and data set, by its place in the run (0 first, -1 last)."""
        network, dataset = list(self.answers)[place]
        return self.rows[(self.rows["network"] == network) & (self.rows["dataset"] == dataset)]


def run(parameters: RQ1) -> Run:
    """Evaluate every pair of data set and network; writes ``<output_dir>/rq1.csv`` and its manifests."""
    opened = [(pair, opened_dataset(pair["dataset"], pair["n_images"], parameters)) for pair in parameters.evidence()]
    for pair, dataset in opened:
        _check_classes(pair, dataset)
    rows, manifests, answers = [], {}, {}
    for pair, dataset in opened:
        network, origin = networks.ready(pair["network"], pair["weights"], max(2, len(dataset.classes)), parameters)
        _check_against_torchvision(pair, dataset, network, parameters)
        scales = scales_for(dataset, parameters.scales)
        protocol = parameters.protocol()
        found, circumstances = evaluate(parameters, network, dataset, scales, protocol)
        decided = circumstances.pop("facts") | {"n": len(dataset), "selection": dataset.fingerprint}
        run_id = records.address(decided)
        label = dataset_label(dataset, protocol)
        answers[pair["network"], label] = found
        rows += evaluation.summarise(
            found,
            protocol,
            question="rq1",
            dataset=label,
            network=pair["network"],
            training="sharp",
            profile=parameters.profile,
            run_id=run_id,
        )
        rows += evaluation.by_class(
            found, dataset.classes, protocol, scale=main_scale(scales), blur=evaluation.telling_blur(parameters.blurs),
            question="rq1", dataset=label, network=pair["network"], training="sharp", profile=parameters.profile,
            run_id=run_id,
        )  # fmt: skip
        manifests[run_id] = records.manifest(decided, network_origin=origin, **circumstances)
    records.write(Path(parameters.output_dir) / "rq1.csv", rows, manifests)
    return Run(records.table(rows), manifests, answers)


STRENGTH_TOLERANCE = 0.05  # standard deviations that differ by less count as one strength


def doses(parameters: RQ1) -> Run:
    """The first pair of the run under many strengths of every family; writes ``<output_dir>/doses.csv``.

    Beside what RQ1 records: the standard deviation of every kernel, and the paired differences of each blur from the
    disk of its strength, which tell what the shape of a blur does when its size is held.
    """
    pair = parameters.evidence()[0]
    dataset = opened_dataset(pair["dataset"], pair["n_images"], parameters)
    _check_classes(pair, dataset)
    network, origin = networks.ready(pair["network"], pair["weights"], max(2, len(dataset.classes)), parameters)
    protocol, scales = parameters.protocol(), scales_for(dataset, parameters.dose_scales)
    blurs = parameters.dose_blurs
    found, circumstances = evaluate(parameters, network, dataset, scales, protocol, blurs, "doses")
    decided = circumstances.pop("facts") | {"n": len(dataset), "selection": dataset.fingerprint}
    shared = {
        "question": "doses",
        "dataset": dataset_label(dataset, protocol),
        "network": pair["network"],
        "training": "sharp",
        "profile": parameters.profile,
        "run_id": records.address(decided),
    }
    rows = evaluation.summarise(found, protocol, **shared)
    spreads = {blur: spread(blur, dataset.ids, protocol.seed) for blur in blurs}
    n = len(dataset)
    rows += [
        records.row(metric="spread", value=value, blur=blur, n=n, seed=protocol.seed, **shared)
        for blur, value in spreads.items()
    ]
    for scale, at_scale in found.groupby("scale", sort=False):
        parts = {blur: part.set_index("image") for blur, part in at_scale.groupby("blur", sort=False)}
        for blur, disk in matched(spreads):
            place = {"scale": scale, "blur": blur, "seed": protocol.seed}
            rows += evaluation.changes(parts[blur], parts[disk], protocol, disk, **place, **shared)
    manifests = {shared["run_id"]: records.manifest(decided, network_origin=origin, **circumstances)}
    records.write(Path(parameters.output_dir) / "doses.csv", rows, manifests)
    return Run(records.table(rows), manifests, {(pair["network"], shared["dataset"]): found})


def spread(label: str, ids: Sequence[str], seed: int) -> float:
    """Standard deviation of a blur's kernel, frame pixels: root mean square over both axes and, for shake, images."""
    blur = parse(label)
    moments = []
    for image_id in ids if blur.is_random else ids[:1]:
        kernel = blurring.kernel_for(blur, seed=seed, image_id=image_id).astype(float)
        places = np.arange(len(kernel))
        for along in (kernel.sum(0), kernel.sum(1)):
            moments.append(along @ places**2 - (along @ places) ** 2)
    return float(np.sqrt(np.mean(moments)))


def matched(spreads: Mapping[str, float]) -> list[tuple[str, str]]:
    """(blur, disk) for every blur of another family that is as wide as a disk, by standard deviation."""
    family = {label: parse(label).family for label in spreads}
    return [
        (blur, disk)
        for disk in spreads
        for blur in spreads
        if family[disk] == "defocus"
        and family[blur] not in ("defocus", "sharp")
        and abs(spreads[blur] / spreads[disk] - 1) <= STRENGTH_TOLERANCE
    ]


def shard(parameters: RQ1, place: int, count: int) -> list[tuple[dict, dict]]:
    """Answer range `place` (1 first) of the `count` that the images of every pair are cut into, into the store.

    Returns (facts, answers by image) of each pair, for `journal.add` where the store is not shared. A later run finds
    the answers and writes the records that it would have written alone: ranges are whole blocks of the evaluation.
    """
    if not 1 <= place <= count:
        raise UserError(f"shard {place}/{count} is none; give 1/{count} to {count}/{count}")
    found = []
    for pair in parameters.evidence():
        whole = opened_dataset(pair["dataset"], pair["n_images"], parameters)
        _check_classes(pair, whole)
        blocks = evaluation.blocks(whole)
        mine = blocks[len(blocks) * (place - 1) // count : len(blocks) * place // count]
        if not mine:
            continue
        part = datasets.subset(whole, range(mine[0].start, mine[-1].stop))
        network, _ = networks.ready(pair["network"], pair["weights"], max(2, len(whole.classes)), parameters)
        try:
            _, about = evaluate(parameters, network, part, scales_for(whole, parameters.scales), parameters.protocol(),
                                title=f"{pair['network']} on {whole.name}, shard {place}/{count}")  # fmt: skip
        except datasets.UnreadableImage:
            if parameters.strict:
                raise
            continue  # the run over all images names and counts them
        known = journal.read(journal.path_for(files.cache_folder(), about["facts"]))
        found.append((about["facts"], {image: known[image] for image in part.ids if image in known}))
    return found


def _check_classes(pair: dict, dataset: datasets.Dataset) -> None:
    """ImageNet's weights answer ImageNet's 1,000 classes; on others a network would be guessing."""
    if pair["weights"] == "imagenet" and len(dataset.classes) != 1000:
        raise UserError(
            f"weights 'imagenet' of {pair['network']} answer 1,000 classes, {dataset.name} has {len(dataset.classes)}; "
            "fine-tune first (chapter rq2), or give the weights file of a network trained on these classes"
        )


def opened_dataset(name: str, n_images: int, parameters) -> datasets.Dataset:
    """The data set of a pair: test scenes, or the validation photographs below `data_root`."""
    split = "test" if name == "scenes" else "val"
    return datasets.load(name, parameters.data_root or None, split=split, n_images=n_images, seed=parameters.seed)


def evaluate(parameters, network, dataset, scales, protocol, blurs=None, title=""):
    """`evaluation.evaluate` with what the chapter's parameters say about how to compute."""
    return evaluation.evaluate(
        network,
        dataset,
        blurs or parameters.blurs,
        scales,
        protocol,
        store=files.cache_folder(),
        device=parameters.device,
        batch=parameters.batch,
        workers=parameters.workers,
        strict=parameters.strict,
        backend=getattr(parameters, "backend", "eager"),
        title=title,
    )


def scales_for(dataset: datasets.Dataset, scales: list[str]) -> list[str]:
    """The scales as sides in pixels. "native" is the side of small images, and all they get where photographs are
    meant: enlarging a 64-pixel image to 512 shows a network nothing new."""
    if dataset.native_side:
        native = [str(dataset.native_side)]
        small = [s for s in scales if s != "native" and max(evaluation.scale_parts(s)) <= 2 * dataset.native_side]
        return native if "native" in scales or len(small) < len(scales) else scales
    if "native" in scales:
        raise UserError(
            f"scale 'native' means nothing for {dataset.name}, whose photographs differ in size; give a side"
        )
    return scales


def main_scale(scales: list[str]) -> str:
    """256, the paper's main scale, where present, else the first."""
    return "256" if "256" in scales else scales[0]


def dataset_label(dataset: datasets.Dataset, protocol: evaluation.Protocol) -> str:
    """The data set as records name it; another frame than the paper's is said in the name."""
    return dataset.name if protocol.frame == FRAME else f"{dataset.name}, frame {protocol.frame}"


def _check_against_torchvision(pair, dataset, network: models.Network, parameters: RQ1) -> None:
    """On the whole validation set VGG-16 must first reproduce torchvision's own published accuracy."""
    if (pair["network"], pair["weights"], dataset.name) != ("vgg16", "imagenet", "imagenet"):
        return
    if len(dataset) != PAPER_CHECK["n"]:
        return
    protocol = evaluation.Protocol(frame=256, view="center-crop", flip=False, precision="float32")
    found, _ = evaluate(
        parameters, network, dataset, ["256"], protocol, ["sharp"], "VGG-16 against its published accuracy"
    )
    top1, top5 = found["top1"].mean(), found["top5"].mean()
    agrees = max(abs(top1 - PAPER_CHECK["top1"]), abs(top5 - PAPER_CHECK["top5"])) <= PAPER_CHECK["tolerance"]
    tqdm.write(
        f"{'Check passed' if agrees else 'CHECK FAILED'}: VGG-16, centre crop, sharp, n = {len(found):,}: "
        f"top-1 {top1:.3%}, top-5 {top5:.3%}; published {PAPER_CHECK['top1']:.3%}, {PAPER_CHECK['top5']:.3%}"
        + ("" if agrees else ". Do not trust what follows: look at the data, the weights and the versions first")
    )


def examples(parameters: RQ1, dataset: str, count: int = 3) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """(images, row titles, column titles) for a contact sheet: `count` images under every blur of the chapter.

    Images are (H, W, 3) float arrays; photographs at shorter side 256, cut to their middle square.
    """
    chosen = datasets.load(dataset, parameters.data_root or None, split="test" if dataset == "scenes" else "val",
                           n_images=1000 if dataset == "scenes" else 0)  # fmt: skip
    picks = np.linspace(0, len(chosen) - 1, count).round().astype(int)
    sheet, titles = [], []
    for index in picks:
        image = chosen.load(int(index))[None]
        if not chosen.native_side:
            image = resampling.resized(image, parameters.frame)
        line = []
        for label in parameters.blurs:
            seen = blurring.blur(image, label, frame=parameters.frame, border=parameters.border, seed=parameters.seed,
                                 image_ids=[chosen.ids[index]])  # fmt: skip
            line.append(square(seen if chosen.native_side else resampling.resized(seen, 256)))
        sheet.append(line)
        titles.append(chosen.classes[chosen.labels[index]])
    return sheet, titles, list(parameters.blurs)


def square(images: torch.Tensor) -> np.ndarray:
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[0, :, top : top + side, left : left + side].permute(1, 2, 0).numpy()


def kernels(parameters: RQ1) -> dict[str, np.ndarray]:
    """The kernel of each blur in the frame; for shake, the one that the first image gets."""
    return {label: blurring.kernel_for(label, seed=parameters.seed) for label in parameters.blurs if label != "sharp"}
