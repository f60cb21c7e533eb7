"""How alike a layer answers a sharp image and its blurred twin, beside two different images."""

import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from tqdm import tqdm

from blurnb import intervals, labels, records
from blurnb.errors import UserError
from blurnb.optics import resampling
from blurnb.recognition import decoding, families, models
from blurnb.recognition.datasets import Dataset
from blurnb.study import treatments
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Treatment

VERSION = 2
BATCH = 64  # also the batch of the CKA estimate, so part of its definition


def check(dataset: Dataset) -> None:
    """Raise UserError for a data set too small to compare layers on."""
    if len(dataset) < 8:
        given = f"{dataset.name} gives {len(dataset)}"
        raise UserError(f"comparing layers needs at least 8 images, {given}; raise n_images")


def compare(
    network: models.Network,
    dataset: Dataset,
    blurs: Sequence[str],
    protocol: Protocol,
    *,
    side: int = 0,
    device: str = "cpu",
    title: str = "",
) -> dict[tuple[str, str], dict[str, tuple[float, float, float]]]:
    """(layer, blur) -> {"cosine": (mean, low, high), "cka": (value, low, high)}; blur "" is the baseline, the
    next sharp image of the batch.

    Cosine similarity of the flattened activations, mean over images with bootstrap interval. Linear CKA
    (Kornblith et al. 2019) from the unbiased HSIC estimate of each batch of 64 (Nguyen et al. 2021), so that
    memory is that of one batch however many images there are, with a jackknife over images. `side`: scale of the
    images, 0 as they are.
    """
    names = list(models.activations(network))
    wanted = [labels.parse(blur).label for blur in blurs if blur != "sharp"]
    check(dataset)
    cosines: dict[tuple[str, str], list[float]] = {(n, b): [] for n in names for b in ("", *wanted)}
    batches: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in cosines}
    network = network.to(device).eval()
    bar = tqdm(total=len(dataset), desc=title or f"layers of {network.name}", unit="image", mininterval=1, leave=False)
    with torch.inference_mode(), bar, models.tapped(network, names) as tapped:
        for images, ids in _batches(dataset, protocol, side):
            sharp = _activations(network, images, side, protocol, tapped, device)
            for name in names:
                _add(cosines, batches, (name, ""), sharp[name], sharp[name].roll(-1, 0))
            for label in wanted:
                seen = treatments.captured(images, Treatment(label), ids, protocol)
                twin = _activations(network, seen, side, protocol, tapped, device)
                for name in names:
                    _add(cosines, batches, (name, label), sharp[name], twin[name])
            bar.update(len(images))
    return {
        key: {"cosine": intervals.bootstrap_mean(values, protocol.seed), "cka": cka(batches[key])}
        for key, values in cosines.items()
    }


def _batches(dataset: Dataset, protocol: Protocol, side: int) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Equally large images in batches; photographs are cut to the square middle of the frame."""
    for first in range(0, len(dataset), BATCH):
        chosen = range(first, min(first + BATCH, len(dataset)))
        if len(chosen) < 5:  # the unbiased estimate needs four, also without one of them
            continue
        images = []
        for index in chosen:
            image = dataset.load(index)
            if not dataset.native_side:
                image = resampling.resized(image[None], protocol.frame, protocol.resample)[0]
                top, left = ((s - protocol.frame) // 2 for s in image.shape[-2:])
                image = image[:, top : top + protocol.frame, left : left + protocol.frame]
            images.append(image)
        yield torch.stack(images), [dataset.ids[i] for i in chosen]


def _activations(network, images, side, protocol, tapped, device) -> dict[str, torch.Tensor]:
    images = resampling.resized(images, side, protocol.resample) if side else images
    images = images.to(device, memory_format=torch.channels_last)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=protocol.precision == "bf16"):
        network(images)
    found = {name: value.float().flatten(1) for name, value in tapped.items()}
    tapped.clear()
    return found


def _add(cosines, batches, key, one: torch.Tensor, other: torch.Tensor) -> None:
    cosines[key] += torch.nn.functional.cosine_similarity(one, other, dim=1).tolist()
    k, m = kernel(one), kernel(other)
    batches[key].append(np.stack([hsic(k, m), hsic(k, k), hsic(m, m)]))


def kernel(features: torch.Tensor) -> np.ndarray:
    """Linear kernel (N, N) of features (N, p), without its diagonal."""
    features = features.double()
    return (features @ features.T).fill_diagonal_(0).cpu().numpy()


def hsic(k: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Unbiased HSIC from two kernels (N, N) without diagonals, N >= 5 (Song et al. 2012, equation 5).

    (1 + N,): of all, then without the first, the second ... of the N.
    """
    a, b, both = k.sum(0), m.sum(0), (k * m).sum(0)
    trace = both.sum() - 2 * np.append(0, both)
    sums = (a.sum() - 2 * np.append(0, a)) * (b.sum() - 2 * np.append(0, b))
    products = a @ b - np.append(0, a * b + m @ a + k @ b - both)
    n = np.append(len(k), np.full(len(k), len(k) - 1))
    return (trace + sums / ((n - 1) * (n - 2)) - 2 * products / (n - 2)) / (n * (n - 3))


def cka(batches: Sequence[np.ndarray]) -> intervals.Triple:
    """CKA, with a jackknife over images, of batches (3, 1 + N): `hsic` of both sides, of the one, of the other.

    NaN where a layer answers all images alike.
    """
    whole = sum(batch[:, :1] for batch in batches)
    across, one, other = np.hstack([whole, *(whole + batch[:, 1:] - batch[:, :1] for batch in batches)])
    value, *each = across / np.sqrt(np.where((one > 0) & (other > 0), one * other, np.nan))
    half = 1.96 * np.sqrt((len(each) - 1) / len(each) * np.sum((each - value) ** 2))
    return float(value), float(value - half), float(min(value + half, max(value, 1)))


def rows(compared: Iterable, shared: dict) -> list[dict]:
    """Records of (layer, blur, measures); `shared` are the columns all have, the network's, the data's, the scale.

    A measure without interval is none.
    """
    found = []
    for layer, blur, measured in compared:
        versus = {"blur": blur, "versus_blur": "sharp"} if blur else {"blur": "sharp", "versus_image": "other"}
        for metric, (value, low, high) in measured.items():
            if not np.isnan(low):
                named = {**shared, **versus, "part_kind": "layer", "part": layer, "metric": metric}
                found.append(records.row(**named, statistic="estimate", value=value, ci_low=low, ci_high=high))
    return found


def versions(network: models.Network) -> dict[str, int]:
    """The versions of the modules that compute a comparison."""
    own = treatments.versions((), decoding, intervals, sys.modules[__name__])
    return {**own, **families.version(network.name)}
