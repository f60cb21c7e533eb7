"""What a photograph costs, part by part: our pipeline, the plain way and a hand-tuned one, interleaved in one run.

    python benchmarks/sweep.py --data DATA [--photographs 8] [--networks efficientnet_lite0,vgg16] [--scales 256]
                               [--ways ...] [--memory] [--write book/records/photographs]

Every photograph below DATA/imagenet/val that is drawn is decoded, brought to the frame of 512, blurred with eight
blurs, resized to each scale and shown to the network; weights are random, which costs what trained ones cost. The plain
way is PIL, torch's conv2d and the network as it is, image by image; the hand-tuned one OpenCV and ONNX Runtime. The
ways take turns at each photograph, so that whatever else the machine does hits all alike. Processor seconds are summed
over threads; the network's share is its own forward time on the same inputs, over the whole.

`--memory` instead runs our pipeline in fresh processes over n and 4 n photographs and compares their peaks, once as it
is and once with few of oneDNN's compiled layers kept: photographs of many shapes fill its store.
`--write` adds the numbers to speed.csv in that folder, with machine and date, from where the book shows them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from blurnb import provenance, records
from blurnb.optics import blurring, resampling
from blurnb.recognition import backends, datasets, models
from blurnb.study import answers, memory
from blurnb.study.answers import Condition
from blurnb.study.classification import Classification
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Treatment

BLURS = ["D2", "D4", "D6", "D8", "shake", "G4", "G8", "M21@30"]
PLAIN, TUNED = "plain", "hand-tuned"
OURS = {f"{kind}-{precision}": (kind, precision) for kind in ("eager", "openvino") for precision in ("float32", "bf16")}
WAYS = {name: ("blurnb", *how) for name, how in OURS.items()}
WAYS |= {PLAIN: (PLAIN, "eager", "float32"), TUNED: (TUNED, "onnxruntime", "float32")}
"""Way by its name on the command line: (library, backend, precision). Plain is PIL, conv2d and torch as it is."""
BATCH = 4
KEPT, FEW_KEPT = 1024, 16  # compiled layers: oneDNN's own number, and few

Seconds = dict[tuple[str, str, str, str], list[tuple[float, float]]]
"""(stage, its scale, blur, way) -> (processor, wall) seconds, one entry a photograph."""


def timed(spent: Seconds, stage: str, call: Callable, *, scale: str = "", blur: str = "", way: str = "") -> object:
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    spent[stage, scale, blur, way].append((time.process_time() - processor, time.perf_counter() - wall))
    return result


def photograph(task: Classification, dataset, index: int, scales: list[str]) -> None:
    """One photograph as `answers.gather` treats it, but for the journal."""
    pixels, truth = task.load(dataset, index)
    group = answers.Group([dataset.ids[index]], pixels[None], [truth])
    treatments = [Treatment(blur) for blur in BLURS]
    for some in (treatments[first : first + BATCH] for first in range(0, len(treatments), BATCH)):
        asked = [Condition(one, scale) for scale in scales for one in some]
        task.answer(task.show(group, some), group, some, asked)


def parts(spent: Seconds, networks: dict, dataset, index: int, scales: list[str]) -> None:
    """The parts of the same work, one by one: `networks` are forwards and their precision by the name of their way."""
    image = timed(spent, "decode", lambda: dataset.load(index)[None])
    frame = timed(spent, "frame", lambda: resampling.resized(image, 512))
    seen = []
    for label in BLURS:
        call = lambda label=label: blurring.blur(frame, label, image_ids=[dataset.ids[index]])  # noqa: E731
        seen.append(timed(spent, "blur", call, blur=label))
    seen = torch.cat(seen)
    for scale in scales:
        call = lambda scale=scale: resampling.resized(seen, int(scale))  # noqa: E731
        small = timed(spent, "resize", call, scale=scale)
        small = small.contiguous(memory_format=torch.channels_last)
        for name, (network, precision) in networks.items():
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                call = lambda n=network, x=small: [n(batch) for batch in x.split(BATCH)]  # noqa: E731
                timed(spent, "network", call, scale=scale, way=name)


def plain(network, path: Path, scales: list[str], kernels: dict[str, np.ndarray]) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image = image.convert("RGB")
        factor = 512 / min(image.size)
        image = image.resize([max(512, round(s * factor)) for s in image.size], Image.BILINEAR)
        frame = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
    for kernel in kernels.values():
        weights = torch.from_numpy(np.ascontiguousarray(kernel[::-1, ::-1]))[None, None].repeat(3, 1, 1, 1)
        half = [kernel.shape[1] // 2] * 2 + [kernel.shape[0] // 2] * 2
        blurred = F.conv2d(F.pad(frame, half, mode="reflect"), weights, groups=3)
        for scale in scales:
            network(resampling.resized(blurred, int(scale))).softmax(1)


def tuned(session, path: Path, scales: list[str], kernels: dict[str, np.ndarray]) -> None:
    import cv2

    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    factor = 512 / min(image.shape[:2])
    frame = cv2.resize(image, None, fx=factor, fy=factor).astype(np.float32) / 255
    border = cv2.BORDER_REFLECT_101
    blurred = []
    for label, kernel in kernels.items():
        if label.startswith("G"):
            blurred.append(cv2.GaussianBlur(frame, kernel.shape, float(label[1:]), borderType=border))
        else:
            blurred.append(cv2.filter2D(frame, -1, np.ascontiguousarray(kernel[::-1, ::-1]), borderType=border))
    for scale in scales:
        size = [round(s * int(scale) / min(frame.shape[:2])) for s in frame.shape[1::-1]]
        small = np.stack([cv2.resize(b, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1) for b in blurred])
        for first in range(0, len(small), BATCH):
            session.run(None, {"images": small[first : first + BATCH]})


def session_for(network):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    free = {"images": {0: "n", 2: "height", 3: "width"}}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network.onnx")
        example = (torch.rand(1, 3, 256, 256),)
        torch.onnx.export(network, example, path, dynamo=False, input_names=["images"], dynamic_axes=free)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(name: str, dataset, files: list[Path], scales: list[str], chosen: list[str]) -> Seconds:
    network = models.load(name, "none")
    ours = {way: how for way, how in OURS.items() if way in chosen}
    tasks = {
        way: Classification({"sharp": network}, Protocol(precision=precision), BATCH, backend=kind)
        for way, (kind, precision) in ours.items()
    }
    quick = {way: (backends.compiled(network, *how), how[1]) for way, how in ours.items()}
    session = session_for(network) if TUNED in chosen else None
    kernels = {label: blurring.kernel_for(label) for label in BLURS}
    spent: Seconds = defaultdict(list)
    for index, path in enumerate(files):
        # The first photograph is not counted: compiling and first touches are not a photograph's cost.
        into: Seconds = defaultdict(list) if index == 0 else spent
        parts(into, quick, dataset, index, scales)
        for way, task in tasks.items():
            timed(into, "whole", lambda t=task, i=index: photograph(t, dataset, i, scales), way=way)
        if PLAIN in chosen:
            timed(into, "whole", lambda p=path: plain(network, p, scales, kernels), way=PLAIN)
        if session:
            timed(into, "whole", lambda p=path: tuned(session, p, scales, kernels), way=TUNED)
        print(f"\r{name}, {index} of {len(files) - 1}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return spent


def shown(name: str, scales: list[str], spent: Seconds, n: int) -> None:
    def cost(part: str, of: str = "") -> float:
        found = (times for (stage, _, _, way), times in spent.items() if (stage, way) == (part, of))
        return 1000 * sum(np.mean([t[0] for t in times]) for times in found)

    print(f"\n{name}, {len(BLURS)} blurs, scale {' and '.join(scales)}: processor milliseconds a photograph, n = {n}")
    whole = {way: cost("whole", way) for way in WAYS if ("whole", "", "", way) in spent}
    reference = whole.get(PLAIN) or next(iter(whole.values()))
    print(f"  {'':36}{'ms':>9}{'wall ms':>9}{'plain is':>10}{'network':>9}")
    for way, value in whole.items():
        wall = 1000 * np.mean([t[1] for t in spent["whole", "", "", way]])
        forward = cost("network", way)
        share = f"{forward / value:8.0%}" if forward else ""
        print(f"  {way:36}{value:9.1f}{wall:9.1f}{reference / value:9.2f}x {share}")
    for part in ("decode", "frame", "blur", "resize"):
        print(f"  {'of which ' + part:36}{cost(part):9.1f}")


def rows(name: str, scales: list[str], spent: Seconds, run_id: str) -> list[dict]:
    """Records of metric `seconds`: processor seconds a photograph (all blurs together, blur by blur for `blur`)."""
    shared = {"experiment": "speed", "benchmark": "sweep", "profile": "photographs", "dataset": "imagenet"}
    shared |= {"network": name, "scale": "+".join(scales), "metric": "seconds", "run_id": run_id}
    found = []
    for (stage, scale, blur, way), times in spent.items():
        library, backend, precision = WAYS.get(way, ("blurnb", "", ""))
        about = {"stage": stage, "stage_scale": scale, "blur": blur}
        about |= {"library": library, "backend": backend, "precision": precision}
        found.append(records.row(value=float(np.mean([t[0] for t in times])), n=len(times), **about, **shared))
    return found


def peaks(options: argparse.Namespace, name: str, count: int, run_id: str) -> list[dict]:
    """Records of metric `peak_memory`: the peak over `count` and over four times as many photographs."""
    shared = {"experiment": "speed", "benchmark": "memory", "profile": "photographs", "dataset": "imagenet"}
    shared |= {"network": name, "scale": "+".join(options.scales.split(",")), "run_id": run_id}
    shared |= {"library": "blurnb", "backend": "eager", "precision": "bf16", "stage": "whole"}
    found = []
    for kept, n in itertools.product((KEPT, FEW_KEPT), (count, 4 * count)):
        about = peak(options, name, n, {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(kept)})
        said = f"{name}, peak of {n}, {kept} layers kept"
        print(f"{said}: {about['mb']:.0f} MB, {about['seconds']:.1f} processor seconds", flush=True)
        found.append(records.row(metric="peak_memory", value=about["mb"], n=n, kept_layers=kept, **shared))
        found.append(records.row(metric="seconds", value=about["seconds"] / n, n=n, kept_layers=kept, **shared))
    return found


def peak(options: argparse.Namespace, name: str, count: int, environment: dict) -> dict:
    """Peak resident memory, MB, and processor seconds of a fresh process that evaluates `count` photographs."""
    command = [sys.executable, __file__, "--data", options.data, "--networks", name, "--scales", options.scales]
    command += ["--child", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return json.loads(done.stdout.splitlines()[-1])


def child(options: argparse.Namespace) -> None:
    network = models.load(options.networks, "none")
    dataset = datasets.load("imagenet", options.data, n_images=options.child)
    started = time.process_time()
    task = Classification({"sharp": network}, Protocol(precision="bf16"), BATCH)
    asked = [Condition(Treatment(blur), scale) for scale in options.scales.split(",") for blur in BLURS[:2]]
    with tempfile.TemporaryDirectory() as store:
        answers.gather(dataset, asked, task, answers.Computing(store, batch=BATCH))
    seconds = time.process_time() - started
    print(json.dumps({"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("BLURNB_DATA"), required=not os.environ.get("BLURNB_DATA"))
    parser.add_argument("--photographs", type=int, default=8)
    parser.add_argument("--networks", default="efficientnet_lite0,vgg16")
    parser.add_argument("--scales", default="256")
    parser.add_argument("--ways", default=",".join(WAYS), help="with commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--write", default="")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    memory.keep_freed()  # as every evaluation does; the other ways gain by it too
    if options.child:
        return child(options)
    with torch.inference_mode():
        compare(options)


def compare(options: argparse.Namespace) -> None:
    machine = f"{processor()}, {options.threads} of {os.cpu_count()} processors"
    print(f"{machine}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    scales, count = options.scales.split(","), options.photographs
    dataset = datasets.load("imagenet", options.data, n_images=count + 1)
    whole = datasets.load("imagenet", options.data)
    by_id = dict(zip(whole.ids, whole.load.args[0]))
    files = [by_id[image] for image in dataset.ids]
    for name in options.networks.split(","):
        facts = {
            "benchmark": "memory" if options.memory else "sweep",
            "network": name,
            "scales": scales,
            "blurs": BLURS,
            "threads": options.threads,
            "ways": "" if options.memory else options.ways,
            "processor": processor(),
            "selection": dataset.fingerprint,
        }
        run_id = provenance.address(facts)
        if options.memory:
            found = peaks(options, name, count, run_id)
        else:
            spent = measure(name, dataset, files, scales, options.ways.split(","))
            shown(name, scales, spent, count)
            found = rows(name, scales, spent, run_id)
        if options.write:
            note = provenance.manifest(facts, experiment="speed", device="cpu", threads=options.threads)
            records.write(Path(options.write) / "speed.csv", found, {run_id: note})


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
