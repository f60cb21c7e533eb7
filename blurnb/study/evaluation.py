"""A network's answers to blurred photographs: network x blurs x scales x images -> records."""

from __future__ import annotations

import functools
import itertools
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import pandas as pd
import torch
from tqdm import tqdm

from blurnb import intervals, records
from blurnb.errors import UserError, shown
from blurnb.labels import FRAME, parse
from blurnb.optics import blurring, resampling
from blurnb.recognition import backends, models
from blurnb.recognition.datasets import Dataset, UnreadableImage
from blurnb.study import journal, memory, stores

VERSION = 1  # raise it when a change to this file changes numbers: old answers are then not reused
ANSWER = ("predicted", "rank", "entropy", "p_true", "confidence")
BLOCK = (
    64  # small images are decoded, blurred and answered in fixed blocks, so that a resumed run repeats a run exactly
)
CACHED_SIDE = 256
"""Larger images are shown to the network fewer at a time: maps that outgrow the caches cost more than a batch saves."""


GIVE_BACK = 32  # images after which freed memory is given back; it takes a few milliseconds
LARGEST_FRAME = 4096
"""Shorter side to which photographs may be brought: one of them then takes 200 MB, and 50 GB in a frame of 65,536."""


@dataclass(frozen=True)
class Protocol:
    """Everything about an evaluation that decides its numbers, besides network, images, blurs and scales.

    frame: shorter side, in pixels, to which photographs are brought and in which blur is counted (method, section 3).
    view: "dense" (the whole image, scores averaged over positions) or "center-crop" (the middle 7/8, square).
    flip: average the class probabilities with those of the mirror image.
    border: what lies beyond the image's edge when it is blurred.
    rounding: "none"; "8-bit blur": the blurred frame is rounded, as saved files are; "8-bit": the resized one, too.
    precision: "float32" or "bf16" (autocast).
    """

    frame: int = FRAME
    view: str = "dense"
    flip: bool = True
    border: str = "reflect"
    rounding: str = "none"
    precision: str = "float32"
    seed: int = 0

    @property
    def view_name(self) -> str:
        """The view as records name it: rounded images are not to be taken for the others."""
        name = f"{self.view}+flip" if self.flip else self.view
        return name if self.rounding == "none" else f"{name}, {self.rounding}"


def scale_parts(scale: str) -> tuple[int, ...]:
    """The sides averaged in a scale: "256+512" -> (256, 512)."""
    texts = scale.split("+") if isinstance(scale, str) else [shown(scale)]
    parts = tuple(int(text) for text in texts if re.fullmatch("[0-9]{1,4}", text))
    parts = parts if len(parts) == len(texts) else ()
    if not parts or any(not 32 <= part <= 4096 for part in parts) or len(set(parts)) != len(parts):
        raise UserError(
            f"scale {shown(scale)} is not a side between 32 and 4096 or a sum of them; for example 256 or 256+512"
        )
    return parts


def evaluate(
    network: models.Network,
    dataset: Dataset,
    blurs: Sequence[str],
    scales: Sequence[str],
    protocol: Protocol,
    *,
    store: str,
    device: str = "cpu",
    batch: int = 4,
    workers: int = 1,
    strict: bool = False,
    backend: str = "eager",
    title: str = "",
) -> tuple[pd.DataFrame, dict]:
    """One answer per image and condition, computed or found in the store.

    Returns (answers, circumstances): a frame with columns image, label, scale, blur, predicted, rank, entropy
    (nats), p_true, confidence, top1, top5 in the data set's order, and a dict for the manifest (facts, run
    time, images skipped). Each photograph is decoded and resized once for all blurs, each blurred image serves
    all scales, and memory is that of a few images, whatever n is.

    With another `backend` than torch itself ("eager"), its answers to the first images are first held against torch's
    in float32; the manifest tells how many agree and how far the accuracy moves. Fewer than `backends.AGREEMENT` of
    them, or an accuracy out of its interval, end the run. `batch`: images at a time at sides up to `CACHED_SIDE`, fewer
    at larger.

    An unreadable image is named, skipped and counted; with `strict` it ends the run. Raises UserError for scores
    that are not finite, a label beyond the network's classes, and a set in which no image can be read.
    """
    if not dataset.native_side and protocol.frame > LARGEST_FRAME:
        raise UserError(f"frame={protocol.frame} would enlarge photographs beyond {LARGEST_FRAME} pixels; use less")
    labels = list(dict.fromkeys(parse(blur).label for blur in blurs))  # "D8.0" is D8: count it once
    scales = list(dict.fromkeys(str(scale) for scale in scales))
    sides = sorted({side for scale in scales for side in scale_parts(scale)})
    if max(dataset.labels, default=0) >= network.class_count:
        raise UserError(
            f"{dataset.name} has a class index {max(dataset.labels)} but {network.name} answers {network.class_count} "
            "classes; give the weights that were trained for this data"
        )
    facts = {
        "evaluation": VERSION,
        "network": network.name,
        "weights": models.fingerprint(network),
        "small_input": getattr(network.body, "small_input", ""),
        "dataset": dataset.name,
        "data": dataset.source,
        **asdict(protocol),
    }
    if identity := getattr(network, "identity", ""):  # a custom network's code decides its answers too
        facts["identity"] = identity
    if backend != "eager":
        facts["backend"] = backends.version(backend)
    path = journal.path_for(store, facts)
    known = journal.read(path)
    conditions = [(scale, label) for scale in scales for label in labels]
    missing = [
        block
        for block in blocks(dataset)
        if any(f"{s}|{b}" not in known.get(dataset.ids[i], {}) for i in block for s, b in conditions)
    ]
    skipped: dict[str, str] = {}
    started = time.perf_counter()
    memory.keep_freed()
    network = network.to(device).eval()  # in training mode an answer would depend on its batch
    circumstances = {}
    if backend != "eager":
        quick = functools.cache(lambda: backends.compiled(network, backend, protocol.precision, device))
        circumstances["backend_check"] = stores.once(
            store,
            "checks",
            # check 2: one that tells the accuracy too; what earlier ones kept does not
            facts | {"blurs": labels, "side": sides[0], "images": dataset.ids[: backends.CHECKED_IMAGES], "check": 2},
            lambda: _compared(quick(), network, dataset, labels, sides[0], protocol),
        )
        backends.demand_agreement(circumstances["backend_check"], backend, network.name)
        network = quick() if missing else network
    bar = tqdm(total=sum(map(len, missing)), desc=title or f"{network.name} on {dataset.name}", unit="image",
               disable=not missing, mininterval=1)  # fmt: skip
    with bar, torch.inference_mode(), ThreadPoolExecutor(max(1, workers)) as pool:
        for block, images in decoded(dataset, missing, protocol.frame, pool, ahead=max(1, workers) + 1):
            readable = []
            for index, image in zip(block, images):
                if isinstance(image, UnreadableImage):
                    if strict:
                        raise image
                    skipped[dataset.ids[index]] = str(image)
                    warnings.warn(f"skipped: {image}", stacklevel=2)
                else:
                    readable.append((index, image))
            for group in same_shape(readable):
                have = [set(known.get(dataset.ids[i], ())) for i, _ in group]
                todo = [b for b in labels if any(f"{s}|{b}" not in h for h in have for s in scales)]
                found = _answers(network, dataset, group, todo, scales, sides, protocol, device, batch)
                journal.append(path, ((dataset.ids[i], a) for i, a in found.items()))
                for index, answer in found.items():
                    known.setdefault(dataset.ids[index], {}).update(answer)
            bar.update(len(block))
            if bar.n % GIVE_BACK < len(block):
                memory.give_back()
    frame = _frame(dataset, known, conditions)
    if frame.empty:
        raise UnreadableImage(
            f"no image of {dataset.name} could be read; first: {next(iter(skipped.values()), 'none asked for')}"
        )
    return frame, {
        "facts": facts,
        "computed_images": sum(map(len, missing)) - len(skipped),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "skipped": skipped,
        "device": device,
        "threads": torch.get_num_threads(),
        "batch": batch,
        **circumstances,
    }


def _cases(dataset: Dataset, blurs: Sequence[str], protocol: Protocol) -> Iterator[tuple[torch.Tensor, int]]:
    """The first readable images under every blur, with their labels: what a backend is held against torch on."""
    first = range(min(backends.CHECKED_IMAGES, len(dataset)))
    for index, image in enumerate(_decode_block(dataset, first, protocol.frame)):
        if isinstance(image, UnreadableImage):
            continue
        for label in blurs:
            yield (
                blurring.blur(image[None], label, frame=protocol.frame, border=protocol.border, seed=protocol.seed,
                              image_ids=[dataset.ids[index]]),
                dataset.labels[index],
            )  # fmt: skip


def _compared(quick, network, dataset: Dataset, blurs: Sequence[str], side: int, protocol: Protocol) -> dict:
    """How a backend's answers to the first images agree with the network's own in float32."""
    exact = replace(protocol, precision="float32")
    with torch.inference_mode():
        found = backends.compared(
            lambda seen: probabilities(quick, seen, side, protocol),
            lambda seen: probabilities(network, seen, side, exact),
            _cases(dataset, blurs, protocol),
            intervals.wilson,
        )
    return found | {"side": side}


def blocks(dataset: Dataset) -> list[range]:
    step = BLOCK if dataset.native_side else 1
    return [range(i, min(i + step, len(dataset))) for i in range(0, len(dataset), step)]


def decoded(dataset: Dataset, blocks: list[range], frame: int, pool: ThreadPoolExecutor, ahead: int) -> Iterator:
    """(block, images) in order, decoded by `pool` while the network works, at most `ahead` blocks early."""
    waiting: list[tuple[range, Future]] = []
    source = iter(blocks)
    for block in itertools.islice(source, ahead):
        waiting.append((block, pool.submit(_decode_block, dataset, block, frame)))
    while waiting:
        block, future = waiting.pop(0)
        images = future.result()
        for following in itertools.islice(source, 1):
            waiting.append((following, pool.submit(_decode_block, dataset, following, frame)))
        yield block, images


def _decode_block(dataset: Dataset, block: Iterable[int], frame: int) -> list[torch.Tensor | UnreadableImage]:
    images = []
    for index in block:
        try:
            image = dataset.load(index)
            images.append(image if dataset.native_side else resampling.resized(image[None], frame)[0])
        except UnreadableImage as error:
            images.append(error)
    return images


def same_shape(items: list[tuple[int, torch.Tensor]]) -> list[list[tuple[int, torch.Tensor]]]:
    groups: dict[tuple, list] = {}
    for index, image in items:
        groups.setdefault(tuple(image.shape), []).append((index, image))
    return list(groups.values())


def _answers(network, dataset, group, blurs, scales, sides, protocol, device, batch) -> dict[int, dict[str, list]]:
    """Answers of one block of equally large images: image index -> condition -> ANSWER."""
    indices = [index for index, _ in group]
    images = torch.stack([image for _, image in group]).to(device)
    truth = torch.tensor([dataset.labels[i] for i in indices], device=device)
    ids = [dataset.ids[i] for i in indices]
    answers: dict[int, dict[str, list]] = {i: {} for i in indices}
    per_batch = max(1, batch // len(indices)) if not dataset.native_side else 1
    for first in range(0, len(blurs), per_batch):
        some = blurs[first : first + per_batch]
        blurred = torch.cat(
            [
                blurring.blur(
                    images, b, frame=protocol.frame, border=protocol.border, seed=protocol.seed, image_ids=ids
                )
                for b in some
            ]
        )
        if protocol.rounding != "none":
            blurred = resampling.rounded(blurred)
        found = {}
        for side in sides:
            parts = blurred.split(max(1, batch * CACHED_SIDE**2 // side**2) if side > CACHED_SIDE else len(blurred))
            found[side] = torch.cat([probabilities(network, part, side, protocol) for part in parts])
        for scale in scales:
            mean = sum(found[side] for side in scale_parts(scale)) / len(scale_parts(scale))
            rows = scored(mean, truth.repeat(len(some)))
            for place, row in enumerate(rows):
                blur, index = some[place // len(indices)], indices[place % len(indices)]
                answers[index][f"{scale}|{blur}"] = row
    return answers


def probabilities(network, blurred: torch.Tensor, side: int, protocol: Protocol) -> torch.Tensor:
    """Class probabilities (N, classes), float64, at one scale."""
    images = resampling.resized(blurred, side)
    if protocol.rounding == "8-bit":
        images = resampling.rounded(images)
    if protocol.view == "center-crop":
        crop = max(1, round(side * 7 / 8))
        top, left = ((s - crop) // 2 for s in images.shape[-2:])
        images = images[..., top : top + crop, left : left + crop]
    images = images.contiguous(memory_format=torch.channels_last)
    kind = torch.device(images.device).type
    if isinstance(network, models.PerScale):
        network = network.for_side(side)
    with torch.autocast(kind, torch.bfloat16, enabled=protocol.precision == "bf16"):
        try:
            shares = network(images).double().softmax(1)
            if protocol.flip:
                shares = (shares + network(images.flip(-1)).double().softmax(1)) / 2
        except (AssertionError, RuntimeError) as error:  # how networks refuse a size; memory that runs out, too
            shown = " x ".join(map(str, images.shape[-2:]))
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{network.name} cannot answer images of {shown} pixels ({reason[:160]}); use another scale, or view "
                "center-crop (a network made for 224 pixels wants scale 256)"
            ) from error
    if not torch.isfinite(shares).all():
        raise UserError(f"{network.name} gives scores that are not finite at scale {side}; use precision float32")
    return shares


def scored(probabilities: torch.Tensor, truth: torch.Tensor) -> list[list]:
    """ANSWER for each row. Rank counts the classes at least as probable as the true one: a tie is a miss."""
    p_true = probabilities.gather(1, truth[:, None])
    rank = (probabilities >= p_true).sum(1) - 1
    confidence, predicted = probabilities.max(1)
    entropy = torch.special.entr(probabilities).sum(1)
    return [
        [int(answer), int(place), _short(nats), _short(probability), _short(sure)]
        for answer, place, nats, probability, sure in zip(
            predicted.tolist(), rank.tolist(), entropy.tolist(), p_true[:, 0].tolist(), confidence.tolist()
        )
    ]


def _short(number: float) -> float:
    return float(f"{number:.6g}")


def _frame(dataset: Dataset, known: Mapping, conditions: Sequence[tuple[str, str]]) -> pd.DataFrame:
    rows = [
        (dataset.ids[i], dataset.labels[i], scale, blur, *known[dataset.ids[i]][f"{scale}|{blur}"])
        for scale, blur in conditions
        for i in range(len(dataset))
        if f"{scale}|{blur}" in known.get(dataset.ids[i], {})
    ]
    frame = pd.DataFrame(rows, columns=["image", "label", "scale", "blur", *ANSWER])
    frame["top1"], frame["top5"] = frame["rank"] < 1, frame["rank"] < 5
    return frame


def summarise(answers: pd.DataFrame, protocol: Protocol, **fields) -> list[dict]:
    """Rows of records for every scale and blur in `answers`; `fields` are the columns they share.

    top1 and top5 with Wilson intervals, entropy and p_true with bootstrap intervals over images, ece without
    one; and, where the sharp condition is there, the paired change of each from it.
    """
    rows = []
    for scale, at_scale in answers.groupby("scale", sort=False):
        conditions = {blur: part.set_index("image") for blur, part in at_scale.groupby("blur", sort=False)}
        for blur, part in conditions.items():
            shared = {"scale": scale, "blur": blur, "view": protocol.view_name, "n": len(part), "seed": protocol.seed}
            shared |= fields
            rows += [records.row(metric=m, **v, **shared) for m, v in measures(part, protocol.seed).items()]
            if blur != "sharp" and "sharp" in conditions:
                rows += changes(part, conditions["sharp"], protocol, "sharp image", **shared)
    return rows


def measures(part: pd.DataFrame, seed: int) -> dict[str, dict]:
    measured = {}
    for metric in ("top1", "top5"):
        low, high = intervals.wilson(int(part[metric].sum()), len(part))
        measured[metric] = {"value": float(part[metric].mean()), "ci_low": low, "ci_high": high}
    for metric in ("entropy", "p_true"):
        value, low, high = intervals.bootstrap_mean(part[metric].to_numpy(), seed)
        measured[metric] = {"value": value, "ci_low": low, "ci_high": high}
    confidence = part["confidence"].clip(0, 1).to_numpy()
    measured["ece"] = {"value": intervals.ece(confidence, part["top1"].to_numpy())}
    return measured


def changes(part: pd.DataFrame, other: pd.DataFrame, protocol: Protocol, against: str, **shared) -> list[dict]:
    """Paired differences part - other over the images that both have (frames indexed by image)."""
    both = part.index.intersection(other.index, sort=False)
    part, other = part.loc[both], other.loc[both]
    shared |= {"view": f"{protocol.view_name} vs {against}", "n": len(both)}
    rows = []
    for metric in ("top1", "top5", "entropy"):
        mine, theirs = part[metric].to_numpy(float), other[metric].to_numpy(float)
        value, low, high = intervals.paired_difference(mine, theirs, protocol.seed)
        rows.append(records.row(metric=f"{metric}_change", value=value, ci_low=low, ci_high=high, **shared))
    p_value = intervals.mcnemar(part["top1"].to_numpy(), other["top1"].to_numpy())
    return [*rows, records.row(metric="mcnemar_p", value=p_value, **shared)]


LEAST_OF_A_CLASS = 5


def by_class(
    answers: pd.DataFrame, classes: Sequence[str], protocol: Protocol, *, scale: str, blur: str, **fields
) -> list[dict]:
    """For every class with LEAST_OF_A_CLASS images, top1 on its sharp images and its paired change under `blur`.

    `view` names the class: ``dense, class cat``, and ``dense, class cat vs sharp image`` for the change.
    """
    here = answers[answers["scale"] == scale]
    sharp, blurred = (here[here["blur"] == b].set_index("image") for b in ("sharp", blur))
    rows = []
    for label, part in sharp.groupby("label"):
        twin = blurred[blurred["label"] == label]
        twin = twin.loc[twin.index.intersection(part.index, sort=False)]
        if len(twin) < LEAST_OF_A_CLASS:
            continue
        # " vs " and line breaks have a meaning in records, whatever a folder is called
        name = " ".join(classes[label].split()).replace(" vs ", " v ")
        view = f"{protocol.view_name}, class {name}"
        part = part.loc[twin.index]
        low, high = intervals.wilson(int(part["top1"].sum()), len(part))
        shared = {"scale": scale, "seed": protocol.seed, "n": len(part)} | fields
        rows.append(records.row(metric="top1", value=float(part["top1"].mean()), ci_low=low, ci_high=high,
                                blur="sharp", view=view, **shared))  # fmt: skip
        value, low, high = intervals.paired_difference(
            twin["top1"].to_numpy(float), part["top1"].to_numpy(float), protocol.seed
        )
        rows.append(records.row(metric="top1_change", value=value, ci_low=low, ci_high=high,
                                blur=blur, view=f"{view} vs sharp image", **shared))  # fmt: skip
    return rows


def telling_blur(blurs: Sequence[str]) -> str:
    """The blur under which classes are compared: D8, the paper's largest disk, else the last; "" if all is sharp."""
    return "D8" if "D8" in blurs else next((b for b in reversed(blurs) if b != "sharp"), "")
