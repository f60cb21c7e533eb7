"""RQ1: how blur affects the accuracy and the confidence of networks that were trained on sharp images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from tqdm import tqdm

from blurnb import labels
from blurnb.optics import blurring, resampling
from blurnb.recognition import datasets
from blurnb.study import answers, classification, comparison, measures, networks, parameters, specimens, treatments
from blurnb.study.classification import Classification
from blurnb.study.means import of_tables
from blurnb.study.protocol import Protocol
from blurnb.study.runs import Opened, Recorder, Run, scales_for
from blurnb.study.treatments import Condition, Treatment

PUBLISHED = {"top1": 0.71592, "top5": 0.90382, "n": 50_000, "tolerance": 0.002}
"""torchvision's accuracy of VGG-16 IMAGENET1K_V1: validation set, shorter side 256, centre crop 224."""
STRENGTH_TOLERANCE = 0.05  # standard deviations that differ by less count as one strength


class Parameters(parameters.Evaluated):
    """Degradation: accuracy and confidence of sharp-trained networks against blur, and against its dose.

    `backend`: eager (torch), or openvino, which is several times as fast on a CPU and is checked against it.
    """

    experiment: ClassVar[str] = "rq1"
    takes_one: ClassVar[str] = ""

    backend: Literal["eager", "openvino"] = "eager"
    dose_blurs: parameters.Blurs
    dose_scales: parameters.Scales

    IDLE: ClassVar[parameters.Rules] = (
        ("dose_scales", lambda p: parameters.is_enlarged(p.dose_scales, parameters.NATIVE.get(p.pairs[0].dataset)),
         "the small images of the first pair are shown at their own side, or at no more than twice of it"),
    )  # fmt: skip


def run(parameters: Parameters) -> Run:
    """Evaluate every pair of data set and network; writes ``<output_dir>/rq1.csv`` and its manifests."""
    with Recorder(parameters, "rq1") as recorder:
        for opened in recorder.pairs:
            networks.check_classes(opened)
        for opened in recorder.pairs:
            network, origin = networks.ready(opened, parameters)
            _check_against_torchvision(opened, network, recorder)
            conditions = treatments.conditions(parameters.blurs, opened.scales, rounding=parameters.rounding)
            tables, run_id = _answered(recorder, opened, network, origin, conditions)
            shared = opened.columns | networks.trained(origin)
            recorder.add(measures.summary(tables, shared, opened.images.classes), run_id)
            recorder.add(measures.from_smaller(tables, shared), run_id)
            recorder.add(of_tables(tables, shared, len(opened.images.classes)), run_id)
    return recorder.run


def run_doses(parameters: Parameters) -> Run:
    """The first pair of the run under many strengths of every family; writes ``<output_dir>/doses.csv``.

    Beside what RQ1 records: the standard deviation of every kernel, and the paired differences of each blur from the
    disk of its strength, which tell what the shape of a blur does when its size is held.
    """
    with Recorder(parameters, "doses") as recorder:
        opened, blurs = recorder.pairs[0], parameters.dose_blurs
        networks.check_classes(opened)
        network, origin = networks.ready(opened, parameters)
        scales = scales_for(opened.images, parameters.dose_scales)
        conditions = treatments.conditions(blurs, scales, rounding=parameters.rounding)
        tables, run_id = _answered(recorder, opened, network, origin, conditions)
        shared = opened.columns | networks.trained(origin)
        recorder.add(measures.summary(tables, shared), run_id)
        recorder.add(of_tables(tables, shared, len(opened.images.classes)), run_id)
        widths = {blur: _width(blur, opened.images.ids, parameters.seed) for blur in blurs}
        bare = {name: shared[name] for name in ("experiment", "profile", "dataset", "folder", "frame", "seed")}
        for blur, width in widths.items():
            recorder.add([measures.row(width, "kernel_sd", len(opened.images), blur=blur, **bare)], run_id)
        for one in conditions:
            for disk in _as_wide(one.treatment.blur, widths):
                other = one._replace(treatment=one.treatment._replace(blur=disk))
                here, there = (shared | side.columns() for side in (one, other))
                recorder.add(measures.difference(tables[one], tables[other], here, there), run_id)
    return recorder.run


def run_rounding(parameters: Parameters) -> Run:
    """What saving blurred images to 8-bit files does to the answers; writes ``<output_dir>/rounding.csv``.

    Every condition is answered with each rounding at float32, and unrounded at bf16, which rounds the network and no
    image; each is compared with what is rounded nowhere, on the same images.
    """
    ways = ({"precision": "float32"}, treatments.ROUNDINGS), ({"precision": "bf16"}, ("none",))
    return _each_way(parameters, "rounding", ways)


def run_resampling(parameters: Parameters) -> Run:
    """What the way of resizing does to the answers; writes ``<output_dir>/resampling.csv``.

    Every condition is answered under each of `resampling.RESAMPLE` and compared with the first, on the same images.
    """
    ways = [({"resample": one}, (parameters.rounding,)) for one in resampling.RESAMPLE]
    return _each_way(parameters, "resampling", ways)


def _each_way(parameters: Parameters, experiment: str, ways: Sequence[tuple[dict, Sequence[str]]]) -> Run:
    """Every condition under each way (what the protocol changes, roundings), and against the first way of all."""
    with Recorder(parameters, experiment) as recorder:
        for opened in recorder.pairs:
            network, origin = networks.ready(opened, parameters)
            first: dict[Condition, tuple] = {}
            for changed, roundings in ways:
                own = opened.under(replace(opened.protocol, **changed))
                each = (treatments.conditions(parameters.blurs, opened.scales, rounding=one) for one in roundings)
                tables, run_id = _answered(recorder, own, network, origin, [one for part in each for one in part])
                shared = own.columns | networks.trained(origin)
                recorder.add(measures.of_each(tables, shared), run_id)
                for one, part in tables.items():
                    bare = one._replace(treatment=one.treatment._replace(rounding="none"))
                    here = shared | one.columns()
                    theirs, there = first.setdefault(bare, (part, here))
                    if here != there:
                        recorder.add(measures.difference(part, theirs, here, there), run_id)
                        recorder.add([measures.agreement(part, theirs, here, there)], run_id)
    return recorder.run


def shard(parameters: Parameters, place: int, count: int) -> list[tuple[dict, dict]]:
    """Answer part `place` (1 first) of the `count` into which the images of every pair are cut, into the store.

    Returns (facts, answers by image) of each pair, for `journal.add` where the store is not shared. A later run finds
    the answers and writes the records that it would have written alone: parts are whole windows of the loop.
    """
    recorder, found = Recorder(parameters, "rq1"), []
    for opened in recorder.pairs:
        networks.check_classes(opened)
        part = answers.part_of(opened.images, recorder.computing, place, count)
        if not part:
            continue
        network, _ = networks.ready(opened, parameters)
        mine = datasets.subset(opened.images, part)
        conditions = treatments.conditions(parameters.blurs, opened.scales, rounding=parameters.rounding)
        task, _ = _task(recorder, opened, network, conditions)
        title = f"{network.name} on {mine.name}, shard {place}/{count}"
        try:
            answers.gather(mine, conditions, task, recorder.computing, title=title)
        except datasets.UnreadableImage:
            if parameters.strict:
                raise
            continue  # the run over all images names and counts them
        found.append(answers.kept(mine, task, recorder.computing.store))
    return found


def _task(recorder: Recorder, opened: Opened, network, conditions) -> tuple[Classification, dict]:
    task = Classification({"sharp": network}, opened.protocol, recorder.computing.batch)
    backend = recorder.parameters.backend
    return classification.accelerated(task, opened.images, backend, conditions, recorder.computing)


def _answered(recorder: Recorder, opened: Opened, network, origin, conditions) -> tuple[dict, str]:
    task, about = _task(recorder, opened, network, conditions)
    return comparison.asked(recorder, opened, task, conditions, origin, **about)


def _width(blur: str, ids: Sequence[str], seed: int) -> float:
    """Standard deviation of a blur's kernel in frame pixels; for shake, of the kernels of all images."""
    chosen = ids if labels.parse(blur).is_random else ids[:1]
    return measures.kernel_sd([blurring.kernel_for(blur, seed=seed, image_id=one).astype(float) for one in chosen])


def _as_wide(blur: str, widths: Mapping[str, float]) -> list[str]:
    """The disks that are as wide as a blur of another family, by standard deviation."""
    if labels.family(blur) in ("defocus", "sharp"):
        return []
    disks = [disk for disk in widths if labels.family(disk) == "defocus"]
    return [disk for disk in disks if abs(widths[blur] / widths[disk] - 1) <= STRENGTH_TOLERANCE]


def _check_against_torchvision(opened: Opened, network, recorder: Recorder) -> None:
    """On the whole validation set VGG-16 must first reproduce torchvision's own published accuracy."""
    pair, images = opened.pair, opened.images
    if (pair.network, pair.weights, images.name, len(images)) != ("vgg16", "imagenet", "imagenet", PUBLISHED["n"]):
        return
    task = Classification({"sharp": network}, Protocol(frame=256, view="center-crop"), recorder.computing.batch)
    condition = Condition(Treatment("sharp"), "256")
    title = "VGG-16 against its published accuracy"
    found = answers.gather(images, [condition], task, recorder.computing, title=title)
    part = classification.tables(images, found)[condition]
    top1, top5 = part["top1"].mean(), part["top5"].mean()
    agrees = max(abs(top1 - PUBLISHED["top1"]), abs(top5 - PUBLISHED["top5"])) <= PUBLISHED["tolerance"]
    tqdm.write(
        f"{'Check passed' if agrees else 'CHECK FAILED'}: VGG-16, centre crop, sharp, n = {len(part):,}: "
        f"top-1 {top1:.3%}, top-5 {top5:.3%}; published {PUBLISHED['top1']:.3%}, {PUBLISHED['top5']:.3%}"
        + ("" if agrees else ". Do not trust what follows: look at the data, the weights and the versions first")
    )


examples, kernels = specimens.examples, specimens.kernels
