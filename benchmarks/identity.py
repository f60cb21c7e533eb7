"""What it costs to know photographs by what they hold, and how soon an evaluation finds the answers that it has.

    python benchmarks/identity.py [--images 50000]

Small PNG files in a temporary folder, and a cache of their own: the folder is opened and fingerprinted once, again,
and after one file has changed; then a network of one convolution answers all of them, and again, and again after
another has changed. Nothing is recorded.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES = 100
SIDE = 32


def png(pixels: np.ndarray) -> bytes:
    """A PNG of (side, side, 3) uint8, made by hand: Pillow takes ten times as long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = len(pixels).to_bytes(4, "big")
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    parts = (
        chunk(b"IHDR", side + side + b"\x08\x02\0\0\0"),
        chunk(b"IDAT", zlib.compress(lines, 1)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def make(folder: Path, count: int) -> Path:
    """`count` images of noise in class folders; returns one of them."""
    generator = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"class {i % CLASSES:03}" / f"{i:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)))
    return path


def change(path: Path, value: int) -> None:
    """Another image of the same size at `path`, whose file has the date of the one before."""
    before = path.stat()
    path.write_bytes(png(np.random.default_rng(value).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Tiny(nn.Module):
    """One convolution."""

    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(3, CLASSES, 3)

    def forward(self, images):
        return self.only(images).mean((2, 3))


def seconds(what: str, act: Callable[[], object]) -> object:
    """What `act` gives; its seconds on the wall and of the processor are printed."""
    started, worked = time.perf_counter(), time.process_time()
    result = act()
    print(f"{time.perf_counter() - started:8.2f} s {time.process_time() - worked:8.2f} s  {what}", flush=True)
    return result


def main() -> None:
    """Make, time, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=50_000)
    count = options.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        os.environ["BLURNB_CACHE"] = str(Path(name, "cache"))
        from blurnb.recognition import datasets, models
        from blurnb.study import answers
        from blurnb.study.classification import Classification
        from blurnb.study.protocol import Protocol
        from blurnb.study.treatments import Condition, Treatment

        folder = Path(name, "photographs")
        one = seconds(f"to make {count:,} files", lambda: make(folder, count))
        time.sleep(3)  # a file that was written a moment ago is read again
        prints = []
        for what in ("to know them", "to know them again", "after one has changed"):
            if what.startswith("after"):
                change(one, 1)
            prints.append(seconds(what, lambda: datasets.load("folder", folder).fingerprint))
        assert prints[0] == prints[1] != prints[2]
        torch.manual_seed(0)
        task = Classification({"sharp": models.Network("tiny", Tiny().eval(), CLASSES)}, Protocol(frame=SIDE))
        asked = [Condition(Treatment("sharp"), str(SIDE), "sharp")]

        def evaluate() -> int:
            images = datasets.load("folder", folder)
            found = answers.gather(images, asked, task, answers.Computing(os.environ["BLURNB_CACHE"]))
            return found.circumstances["computed_images"]

        computed = []
        for what in ("to answer them", "to find all answers", "after another has changed"):
            if what.startswith("after"):
                change(one, 2)
            computed.append(seconds(what, evaluate))
        assert computed == [count, 0, 1], computed


if __name__ == "__main__":
    main()
