"""RQ4: whether to deblur first and ask the sharp network, or to train on the mix and ask straight away."""

from __future__ import annotations

import math
import statistics as medians
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.optics import blurring, deblurring
from blurnb.recognition import datasets, models
from blurnb.study import degradation, evaluation, journal, memory, networks, stores
from blurnb.study.profiles import RQ4

VERSION = 1  # raise it when a change to this file or to optics.deblurring changes numbers: old answers are not reused
FIRST_KEPT_OUT = 900
"""ImageNet classes from this one on hold the 50 photographs on which `deblurring.WEIGHTS` were tuned; none of them is
judged on."""
ANOTHER_SHAKE = "another shake"
KEPT = ("top1", "top5", "top1_change", "mcnemar_p")


class Way(NamedTuple):
    """How an image comes to the network: blurred, degraded by `factor`, restored by `method` ("" for not at all) with
    the kernel of the blur, or with the wrong one that `kernel` names."""

    blur: str
    factor: str = "exact"
    method: str = ""
    kernel: str = ""

    @property
    def noise_sd(self) -> float:
        return float(self.factor.removeprefix("noise ")) if self.factor.startswith("noise ") else 0.0

    def view(self, base: str) -> str:
        """As records name it: `dense after wiener, noise 0.01, kernel D9`; exact pixels go without saying."""
        named = [f"{base} after {self.method}" if self.method else base]
        named += [self.factor] if self.factor != "exact" else []
        return ", ".join([*named, f"kernel {self.kernel}"] if self.kernel else named)


Weights = Mapping[tuple[str, float], float]
"""(method, standard deviation of the noise) -> weight of the prior."""


def run(parameters: RQ4) -> degradation.Run:
    """Every way of answering a blurred image, on the same images; writes ``<output_dir>/rq4.csv``."""
    opened = [(pair, opened_dataset(pair)) for pair in parameters.pairs()]
    rows, manifests, answers = [], {}, {}
    for pair, dataset in opened:
        known = asked(pair, dataset)
        methods = methods_for(pair, dataset)
        priors = tuned_weights(pair, methods)
        scale = degradation.scales_for(dataset, pair.scales)[0]
        protocol = pair.protocol()
        ways = list(ways_for(pair, methods))
        found, circumstances = answer(
            {training: network for training, (network, _) in known.items()}, dataset, ways, priors, scale, protocol,
            store=datasets.cache_folder(), device=pair.device, workers=pair.workers, strict=pair.strict,
        )  # fmt: skip
        decided = circumstances.pop("facts") | {"n": len(dataset), "selection": dataset.fingerprint}
        decided |= {"priors": [[*key, weight] for key, weight in priors.items()]}
        run_id = records.address(decided)
        label = degradation.dataset_label(dataset, protocol)
        shared = {"question": "rq4", "dataset": label, "network": pair.network[0], "profile": pair.profile}
        shared |= {"scale": scale, "seed": pair.seed}
        rows += summarise(found, protocol, **shared, run_id=run_id)
        origins = {t: {k: v for k, v in about.items() if k != "weights"} for t, (_, about) in known.items()}
        manifests[run_id] = records.manifest(decided, network_origin=origins, **circumstances)
        timed, facts, measured = seconds(pair, known, dataset, ways, priors, scale, protocol)
        run_id = records.address(facts)
        rows += [records.row(**shared, **one, metric="seconds", n=1, run_id=run_id) for one in timed]
        manifests[run_id] = records.manifest(facts, **measured)
        answers[pair.network[0], label] = found
    records.write(Path(parameters.output_dir) / "rq4.csv", rows, manifests)
    return degradation.Run(records.table(rows), manifests, answers)


# -- what is compared


def opened_dataset(parameters: RQ4) -> datasets.Dataset:
    """The test images of a pair, without those that the weights of the methods were tuned on."""
    name, count = parameters.dataset[0], parameters.evidence()[0]["n_images"]
    if name == "scenes":
        return degradation.opened_dataset(name, count, parameters)
    found = degradation.opened_dataset(name, 0, parameters)
    if len(found.classes) == 1000:
        found = datasets.subset(found, [i for i, label in enumerate(found.labels) if label < FIRST_KEPT_OUT])
    return datasets.sample(found, count, parameters.seed)


def asked(parameters: RQ4, dataset: datasets.Dataset) -> dict[str, tuple[models.Network, dict]]:
    """The networks of a pair by training, each with what is known of its weights."""
    if parameters.trained[0] == "rq2":
        return {mix: networks.tuned(parameters, mix, parameters.train_seeds[0]) for mix in ("sharp", "mix")}
    return {
        "sharp": networks.ready(parameters.network[0], parameters.weights[0], max(2, len(dataset.classes)), parameters)
    }


def methods_for(parameters: RQ4, dataset: datasets.Dataset) -> list[str]:
    """The methods for these images; EPLL only where its patch prior is, which no package carries."""
    methods = parameters.methods if dataset.native_side else parameters.photograph_methods
    if "epll" in methods and not deblurring.epll_prior().is_file():
        tqdm.write(f"epll is left out: its patch prior is not at {deblurring.epll_prior()}")
        methods = [method for method in methods if method != "epll"]
    return methods


def ways_for(parameters: RQ4, methods: Sequence[str]):
    """Every Way of a chapter. Wrong kernels are not repeated for 8 bits, which lie between exact pixels and noise."""
    for blur in parameters.blurs:
        for factor in parameters.factors:
            yield Way(blur, factor)
            for method in methods if blur != "sharp" else ():
                yield Way(blur, factor, method)
                if method in parameters.wrong_kernels and factor != "8-bit":
                    yield from (Way(blur, factor, method, kernel) for kernel in wrong_kernels(blur))


def wrong_kernels(blur: str) -> list[str]:
    """Kernels that one could mistake for that of `blur`: a radius off by 1 and 2 frame pixels, an angle off by 15
    degrees, the shake of another picture; none for the other families."""
    parsed = blurring.parse(blur)
    given = dict(parsed.parameters)
    if parsed.family == "defocus":
        radii = [given["radius"] + error for error in (-2, -1, 1, 2)]
        return [blurring.parse(f"D{radius:g}").label for radius in radii if radius > 0]
    if parsed.family == "motion":
        return [blurring.parse(f"M{given['length']:g}@{given['angle'] + 15:g}").label]
    return [ANOTHER_SHAKE] if parsed.is_random else []


def kernel_for(way: Way, factor: float, seed: int, image_id: str) -> np.ndarray:
    """The kernel that the restorer is given for one image, `factor` times the frame."""
    if way.kernel == ANOTHER_SHAKE:
        return blurring.parse(way.blur).kernel(factor, seed, f"{image_id}, another")
    return blurring.parse(way.kernel or way.blur).kernel(factor, seed, image_id)


def degraded(images: torch.Tensor, way: Way, ids: Sequence[str], protocol: evaluation.Protocol) -> torch.Tensor:
    """`images` blurred, then given the noise or the rounding of `way`; in [0, 1], as a camera would store them."""
    blurred = blurring.blur(
        images, way.blur, frame=protocol.frame, border=protocol.border, seed=protocol.seed, image_ids=ids
    )
    if way.factor == "8-bit":
        return evaluation.rounded(blurred)
    if way.noise_sd:
        draws = [blurring.generator_for(protocol.seed, one, f"{way.blur}, {way.factor}") for one in ids]
        noise = np.stack([draw.normal(0, way.noise_sd, blurred.shape[1:]).astype(np.float32) for draw in draws])
        blurred = (blurred + torch.from_numpy(noise).to(blurred.device)).clamp_(0, 1)
    return blurred


def restored(
    images: torch.Tensor, way: Way, ids: Sequence[str], priors: Weights, protocol: evaluation.Protocol
) -> torch.Tensor:
    """Degraded `images` as the method of `way` restores them; as they are where it names none."""
    if not way.method:
        return images
    factor = min(images.shape[-2:]) / protocol.frame
    kernels = [kernel_for(way, factor, protocol.seed, one) for one in ids]
    return deblurring.deblur(images, kernels, way.method, way.noise_sd, priors[way.method, way.noise_sd])


# -- the weights of the methods


def tuned_weights(parameters: RQ4, methods: Sequence[str]) -> dict[tuple[str, float], float]:
    """The weight of every method at every noise of the chapter.

    Photographs take the defaults of `deblurring`, tuned on photographs that are kept out here. Small images (scenes,
    Tiny ImageNet) have other statistics: their weights are tuned by PSNR on `tuning_images` of the training split,
    under the chapter's own blurs, once for a store.
    """
    noises = sorted({Way("sharp", factor).noise_sd for factor in parameters.factors})
    keys = [(method, noise) for method in methods for noise in noises]
    opened = parameters.dataset[0] in ("scenes", "tiny-imagenet") and parameters.tuning_images
    if not opened:
        return {key: deblurring.default_weight(*key) for key in keys}
    images = networks.training_images(parameters)
    images = datasets.sample(images, min(parameters.tuning_images, len(images)), parameters.seed)
    facts = {"tuning": VERSION, "data": images.fingerprint, "frame": parameters.frame, "seed": parameters.seed}
    facts |= {"blurs": [blur for blur in parameters.blurs if blur != "sharp"]}
    pixels: list[torch.Tensor] = []

    def tune(method: str, noise: float) -> list:
        if not pixels:
            pixels.append(torch.stack([images.load(i) for i in range(len(images))]))
        factor = images.native_side / parameters.frame
        kernels = [blurring.parse(blur).kernel(factor, parameters.seed, "tuning") for blur in facts["blurs"]]
        found = deblurring.tune(pixels[0], kernels, method, noise, seed=parameters.seed)
        return [found.weight, sorted(found.psnr.items())]

    weights = {}
    for method, noise in tqdm(keys, desc=f"tuning on {images.name}", unit="weight", leave=False, mininterval=1):
        own = facts | {"method": method, "noise_sd": noise, "grid": deblurring.GRIDS[method]}
        compute = partial(tune, method, noise)
        weights[method, noise] = stores.once(datasets.cache_folder(), "restoration weights", own, compute)[0]
    return weights


# -- answers


def answer(
    asked: Mapping[str, models.Network],
    dataset: datasets.Dataset,
    ways: Sequence[Way],
    priors: Weights,
    scale: str,
    protocol: evaluation.Protocol,
    *,
    store: str | Path,
    device: str = "cpu",
    workers: int = 1,
    strict: bool = False,
) -> tuple[pd.DataFrame, dict]:
    """One answer per image, way and network, computed or found in the store, with the PSNR of what was shown.

    Images are restored once for all networks, at the size at which they were blurred, and only then brought to
    `scale`. The mix network is spared wrong kernels: the claim is about the sharp one.

    Returns (answers, circumstances): a frame with columns image, label, training, scale, blur, factor, method, kernel,
    predicted, rank, entropy, p_true, confidence, psnr (dB, NaN where the image is untouched), top1, top5 in the data
    set's order, and a dict for the manifest. Raises UserError as `evaluation.evaluate` does.
    """
    (side,) = evaluation.scale_parts(scale)
    fewest = min(network.class_count for network in asked.values())
    if max(dataset.labels, default=0) >= fewest:
        raise UserError(
            f"{dataset.name} has a class index {max(dataset.labels)} but its network answers {fewest} classes; "
            "give the weights that were trained for this data"
        )
    network = next(iter(asked.values()))
    facts = {
        "restoration": VERSION,
        "evaluation": evaluation.VERSION,
        "network": network.name,
        "weights": {training: models.fingerprint(one) for training, one in asked.items()},
        "small_input": getattr(network.body, "small_input", ""),
        "dataset": dataset.name,
        "data": dataset.source,
        **evaluation.asdict(protocol),
    }
    path = journal.path_for(store, facts)
    known = journal.read(path)
    conditions = {
        _key(training, way, priors, scale): (training, way)
        for way in ways
        for training in asked
        if training == "sharp" or not way.kernel
    }
    missing = [
        block
        for block in evaluation.blocks(dataset)
        if any(key not in known.get(dataset.ids[i], {}) for i in block for key in conditions)
    ]
    skipped: dict[str, str] = {}
    started = time.perf_counter()
    memory.keep_freed()
    for one in asked.values():
        one.to(device).eval()
    bar = tqdm(total=sum(map(len, missing)) * len(ways), desc=f"rq4: {network.name} on {dataset.name}", unit="view",
               disable=not missing, mininterval=1)  # fmt: skip
    with bar, torch.inference_mode(), ThreadPoolExecutor(max(1, workers)) as pool:
        decoded = evaluation.decoded(dataset, missing, protocol.frame, pool, ahead=max(1, workers) + 1)
        for block, images in decoded:
            readable = []
            for index, image in zip(block, images):
                if isinstance(image, datasets.UnreadableImage):
                    if strict:
                        raise image
                    skipped[dataset.ids[index]] = str(image)
                    warnings.warn(f"skipped: {image}", stacklevel=2)
                else:
                    readable.append((index, image))
            for group in evaluation.same_shape(readable):
                ids = [dataset.ids[i] for i, _ in group]
                todo = {k: v for k, v in conditions.items() if any(k not in known.get(one, {}) for one in ids)}
                found = _answers(asked, dataset, group, todo, priors, side, protocol, device, bar)
                journal.append(path, found.items())
                for one, answers in found.items():
                    known.setdefault(one, {}).update(answers)
    frame = _frame(dataset, known, conditions, scale)
    if frame.empty:
        raise UserError(
            f"no image of {dataset.name} could be read; first: {next(iter(skipped.values()), 'none asked for')}"
        )
    return frame, {
        "facts": facts,
        "computed_images": sum(map(len, missing)) - len(skipped),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "skipped": skipped,
        "device": device,
        "threads": torch.get_num_threads(),
    }


def _key(training: str, way: Way, priors: Weights, scale: str) -> str:
    weight = f"{priors[way.method, way.noise_sd]:.6g}" if way.method else ""
    return "|".join([training, scale, *way, weight])


def _answers(asked, dataset, group, todo, priors, side, protocol, device, bar) -> dict[str, dict[str, list]]:
    """Answers of one block of equally large images: image id -> condition -> ANSWER and PSNR."""
    indices = [index for index, _ in group]
    ids = [dataset.ids[i] for i in indices]
    sharp = torch.stack([image for _, image in group]).to(device)
    truth = torch.tensor([dataset.labels[i] for i in indices], device=device)
    answers: dict[str, dict[str, list]] = {one: {} for one in ids}
    seen, before = sharp, None
    for way in dict.fromkeys(way for _, way in todo.values()):
        if (way.blur, way.factor) != before:  # ways come sorted by these, so that an image is degraded once for all
            seen, before = degraded(sharp, way, ids, protocol), (way.blur, way.factor)
        shown = restored(seen, way, ids, priors, protocol)
        quality = [
            round(value, 4) if math.isfinite(value) else None for value in deblurring.psnr(shown, sharp).tolist()
        ]
        for key in (key for key, (_, one) in todo.items() if one == way):
            shares = evaluation.probabilities(asked[todo[key][0]], shown, side, protocol)
            for one, scored, decibels in zip(ids, evaluation.scored(shares, truth), quality):
                answers[one][key] = [*scored, decibels]
        bar.update(len(group))
    return answers


def _frame(dataset: datasets.Dataset, known: Mapping, conditions: Mapping, scale: str) -> pd.DataFrame:
    rows = [
        (dataset.ids[i], dataset.labels[i], training, scale, *way, *known[dataset.ids[i]][key])
        for key, (training, way) in conditions.items()
        for i in range(len(dataset))
        if key in known.get(dataset.ids[i], {})
    ]
    names = ["image", "label", "training", "scale", *Way._fields, *evaluation.ANSWER, "psnr"]
    frame = pd.DataFrame(rows, columns=names).astype({"psnr": float})
    frame["top1"], frame["top5"] = frame["rank"] < 1, frame["rank"] < 5
    return frame


# -- records


def summarise(found: pd.DataFrame, protocol: evaluation.Protocol, **shared) -> list[dict]:
    """Rows of records for every way and training of `found`.

    top1 and top5; their paired changes from the sharp image (no restoration), from "no deblurring" (same network, the
    same blurred image as it is) and from the "mix network" or "sharp network" that is shown it as it is; and the mean
    psnr of what is shown, which no network has a part in.
    """
    parts = {key: part.set_index("image") for key, part in found.groupby(["training", *Way._fields], sort=False)}
    rows = []
    for (training, *named), part in parts.items():
        way = Way(*named)
        plain = Way(way.blur, way.factor)
        own = {**shared, "training": training, "blur": way.blur}
        made = evaluation.summarise(part.reset_index(), protocol, **own)
        rivals = {"sharp network" if training == "mix" else "mix network": ("mix" if training == "sharp" else "sharp")}
        if training == "sharp" and not way.method:
            rivals = {}
        against = {versus: (other, *plain) for versus, other in rivals.items()}
        if way.method:
            against["no deblurring"] = (training, *plain)
        elif way.blur != "sharp":
            against["sharp image"] = (training, *Way("sharp", way.factor))
        for versus, key in against.items():
            if key in parts:
                made += evaluation.changes(part, parts[key], protocol, versus, **own)
        made = [row | {"view": _viewed(row["view"], way, protocol)} for row in made if row["metric"] in KEPT]
        if training == "sharp" and part["psnr"].notna().all():
            value, low, high = intervals.bootstrap_mean(part["psnr"].to_numpy(), protocol.seed)
            quality = {"value": value, "ci_low": low, "ci_high": high, "n": len(part)}
            made.append(
                records.row(**own | {"training": ""}, metric="psnr", view=way.view(protocol.view_name), **quality)
            )
        rows += made
    return rows


def _viewed(view: str, way: Way, protocol: evaluation.Protocol) -> str:
    return way.view(protocol.view_name) + view.removeprefix(protocol.view_name)


# -- cost


def seconds(parameters: RQ4, known, dataset, ways, priors, scale: str, protocol) -> tuple[list[dict], dict, dict]:
    """(fields of rows, facts, circumstances): median seconds of each way for one image, batch 1, on the same threads.

    The image is blurred and degraded before the clock starts. Then, with deblurring or without, it is restored, resized
    and answered. All ways take turns within each of `repeats` rounds after one that is not counted, so that whatever
    else the machine does falls on all alike. Kept in the store: a rerun gives the same records.
    """
    (side,) = evaluation.scale_parts(scale)
    chosen = [way for way in ways if way.method and not way.kernel]
    image = dataset.load(0)[None]
    image = (image if dataset.native_side else evaluation.to_frame(image, protocol.frame)).to(parameters.device)
    facts = {
        "restoration seconds": VERSION,
        "network": next(iter(known.values()))[0].name,
        "dataset": dataset.name,
        "image": dataset.ids[0],
        "side": side,
        "threads": torch.get_num_threads(),
        "device": parameters.device,
        "repeats": parameters.repeats,
        "ways": [[*way, priors[way.method, way.noise_sd]] for way in chosen],
        "trainings": list(known),
        **evaluation.asdict(protocol),
    }

    def compute() -> dict:
        shown = {way: degraded(image, way, dataset.ids[:1], protocol) for way in chosen}
        taken: dict[str, list[float]] = {}
        rounds = tqdm(range(parameters.repeats + 1), desc="timing", unit="round", leave=False, mininterval=1)
        with torch.inference_mode():
            for number in rounds:
                for way in chosen:
                    for training, (network, _) in known.items():  # each time anew: the quickest needs most repeats
                        started = time.perf_counter()
                        evaluation.probabilities(network, image, side, protocol)
                        taken.setdefault(training, []).append((number, time.perf_counter() - started))
                    started = time.perf_counter()
                    clear = restored(shown[way], way, dataset.ids[:1], priors, protocol)
                    evaluation.probabilities(known["sharp"][0], clear, side, protocol)
                    taken.setdefault("|".join(way), []).append((number, time.perf_counter() - started))
        counted = {name: [took for number, took in times if number] for name, times in taken.items()}
        return {name: [medians.median(times), min(times), max(times)] for name, times in counted.items()}

    measured = stores.once(datasets.cache_folder(), "seconds", facts, compute)
    rows = [
        {"training": training, "blur": "sharp", "view": protocol.view_name, "value": measured[training][0]}
        for training in known
    ]
    rows += [
        {
            "training": "sharp",
            "blur": way.blur,
            "view": way.view(protocol.view_name),
            "value": measured["|".join(way)][0],
        }
        for way in chosen
    ]
    return rows, facts, {"median_least_most": measured, "device": parameters.device}


# -- to look at


def examples(parameters: RQ4) -> tuple[list[list[np.ndarray]], list[str], list[str], list[list[str]]]:
    """(images, row titles, column titles, captions) for a contact sheet of the first pair: an image for each blur.

    Columns: blurred as it is, each restoration with the true kernel, the sharp image; rounded to 8 bits, as they would
    be stored. Captions are the sharp network's answers, those of the mix network in brackets where it is asked too.
    """
    pair = parameters.pairs()[0]
    dataset = opened_dataset(pair)
    known, methods, protocol = asked(pair, dataset), methods_for(pair, dataset), pair.protocol()
    priors = tuned_weights(pair.model_copy(update={"factors": ["8-bit"]}), methods)
    (side,) = evaluation.scale_parts(degradation.scales_for(dataset, pair.scales)[0])
    blurs = [blur for blur in pair.blurs if blur != "sharp"]
    picks = np.linspace(0, len(dataset) - 1, len(blurs)).round().astype(int)
    sheet, captions = [], []
    for blur, index in zip(blurs, picks):
        sharp = dataset.load(int(index))[None]
        sharp = sharp if dataset.native_side else evaluation.to_frame(sharp, protocol.frame)
        ids = [dataset.ids[index]]
        seen = degraded(sharp, Way(blur, "8-bit"), ids, protocol)
        line = [seen, *(restored(seen, Way(blur, "8-bit", m), ids, priors, protocol) for m in methods), sharp]
        said = [[_said(known[t][0], one, side, protocol, dataset) for t in known] for one in line]
        captions.append([" ".join([words[0], *(f"({word})" for word in words[1:])]) for words in said])
        sheet.append([degradation.square(one) for one in line])
    titles = ["blurred", *(method.replace("_", " ") for method in methods), "sharp"]
    rows = [f"{dataset.classes[dataset.labels[i]]}, {blur}" for blur, i in zip(blurs, picks)]
    return sheet, rows, titles, captions


def _said(network, image: torch.Tensor, side: int, protocol, dataset: datasets.Dataset) -> str:
    with torch.inference_mode():
        return dataset.classes[int(evaluation.probabilities(network.eval(), image, side, protocol).argmax())]
