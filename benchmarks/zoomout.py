"""What it saves not to materialise the zoomout feature: peak memory and time of both ways, a process for each.

    python benchmarks/zoomout.py --network vgg16 --hidden 1000 --height 256 --width 336 --threads 2

"per level" is `Zoomout.forward`: the first 1x1 convolution at each map's own resolution, then enlarged. "materialised"
stacks all channels at every position first. The classifier below, which both share, has run before: what is measured is
the head. Memory is what the process holds at its peak beyond what it held before (Linux, with glibc); time is the
processor's, summed over threads, so that it means something on a busy machine too.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import re
import statistics
import time
from functools import partial
from pathlib import Path

import torch

from blurnb.recognition import models
from blurnb.recognition.zoomout import Zoomout

WAYS = ("per level", "materialised")


def held(field: str) -> int:
    """VmRSS (now) or VmHWM (at the peak) of this process, kB."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text()).group(1))


def fresh_peak() -> int:
    """Give back what is free, forget the peak so far, and say what is held now, kB."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return held("VmRSS")


def materialised(network: Zoomout, images: torch.Tensor) -> torch.Tensor:
    """The scores of `Zoomout.forward` by way of the whole feature."""
    height, width = images.shape[-2:]
    return network.head.judged(network.head.first(network.features(images)))[..., :height, :width]


def measure(way: str, given: argparse.Namespace, answers) -> None:
    torch.set_num_threads(given.threads)
    network = Zoomout(models.load(given.network, "none", 10), given.classes, given.hidden).train(given.train)
    images = torch.rand(given.batch, 3, given.height, given.width)
    compute = network if way == "per level" else partial(materialised, network)
    with torch.no_grad():
        levels = network.levels(images)
    network.levels = lambda _: levels
    before, seconds = fresh_peak(), []
    for _ in range(given.repeats):
        started = time.process_time()
        with torch.set_grad_enabled(given.train):
            scores = compute(images)
            if given.train:
                scores.square().mean().backward()
        seconds.append((time.process_time() - started) / given.batch)
        del scores
    answers.put((statistics.median(seconds), (held("VmHWM") - before) / 1024 / given.batch))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--network", default="vgg16", help="vgg16 | vgg16_64 | vgg_mini | efficientnet_lite0")
    arguments.add_argument("--hidden", type=int, default=1000)
    arguments.add_argument("--classes", type=int, default=21)
    arguments.add_argument("--height", type=int, default=256)
    arguments.add_argument("--width", type=int, default=336)
    arguments.add_argument("--batch", type=int, default=1)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--train", action="store_true", help="a training step of the head instead of an answer")
    given = arguments.parse_args()
    context = multiprocessing.get_context("spawn")  # peak memory is a property of a process
    print("| way | processor seconds an image | peak memory, MB an image |\n|:---|---:|---:|")
    for way in WAYS:
        answers = context.Queue()
        process = context.Process(target=measure, args=(way, given, answers))
        process.start()
        seconds, memory = answers.get()
        process.join()
        print(f"| {way} | {seconds:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
