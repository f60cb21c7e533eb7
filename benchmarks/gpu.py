"""What a GPU does: is our blur right there, how quick beside kornia and torchvision, and does the network wait for it?

    python benchmarks/gpu.py [--seconds 0.3] [--batch 64] [--networks resnet18,vgg16] [--photographs 2048]
                             [--reading 16] [--parts blur,ways,grid] [--write book/records/photographs]

blur: images of 512 x 512 RGB that lie on the card, kernels ready-made there, every library in float32 without TF32;
rounds take turns and the best of each counts. The error is the largest over one image against SciPy's convolution in
float64, in levels of 8 bits.
ways: the ways of `engines.WAYS` by the side of the kernel: where one becomes the quicker is what `engines.way_for`
goes by.
grid: RQ1's conditions (sharp and eight blurs, scale 256) through the answering loop, JPEG files in, a journal out,
against the same network on the same number of batches of the same shapes that lie on the card already.
Without a GPU it ends in a line that says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from blur import KERNELS, SIDE, as_planes, exact, photographs, race
from PIL import Image
from torch.nn import functional as F

from blurnb import provenance, records
from blurnb.optics import blur, engines
from blurnb.recognition import datasets, models
from blurnb.study import answers
from blurnb.study.classification import Classification
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import conditions

BLURS = ["sharp", "D2", "D4", "D6", "D8", "shake", "G4", "G8", "M21@30"]
SHAPES = [(375, 500)] * 6 + [(500, 375)] * 2 + [(333, 500)] + [(480, 640)]
"""Height and width of the photographs, as often as ImageNet has them, roughly."""
SIDES = (3, 5, 7, 9, 11, 13, 17, 21, 25, 33, 49, 65, 81)
OURS = ("blurnb", "blur", "float32")
PEERS = ("torch", "torchvision", "kornia", "scipy")


def synchronised(way: Callable) -> Callable:
    """A call that ends when the card has done its work."""

    def call() -> object:
        result = way()
        torch.cuda.synchronize()
        return result

    return call


def ways(kernel: np.ndarray, sigma: float | None, images: torch.Tensor) -> Iterator[tuple[tuple, Callable]]:
    """(name, call) for ours and for every peer that can do this kernel; `images` (N, 3, H, W) on the card."""
    import kornia.filters
    import torchvision.transforms.v2.functional as vision

    half, size = kernel.shape[0] // 2, kernel.shape
    flipped = torch.from_numpy(np.ascontiguousarray(kernel[::-1, ::-1])).to(images.device)
    yield OURS, lambda: blur(images, kernel)
    if sigma:
        by_vision = lambda: vision.gaussian_blur(images, list(size), [sigma, sigma])  # noqa: E731
        yield ("torchvision", "gaussian_blur", "float32"), by_vision
        by_kornia = lambda: kornia.filters.gaussian_blur2d(images, size, (sigma, sigma), border_type="reflect")  # noqa: E731
        yield ("kornia", "gaussian_blur2d", "float32"), by_kornia
    yield (
        ("kornia", "filter2d", "float32"),
        lambda: kornia.filters.filter2d(images, flipped[None], border_type="reflect"),
    )
    by_fft = lambda: kornia.filters.fft_conv(images, flipped[None], border_type="reflect")  # noqa: E731
    yield ("kornia", "fft_conv", "float32"), by_fft
    weights = flipped[None, None].repeat(3, 1, 1, 1)
    padded = lambda: F.pad(images, (half, half, half, half), mode="reflect")  # noqa: E731
    yield ("torch", "conv2d, a group a channel", "float32"), lambda: F.conv2d(padded(), weights, groups=3)


def compare(options: argparse.Namespace) -> list[dict]:
    """Rows of `images_per_second` and `max_error` by kernel and library."""
    pixels = photographs(options.batch, SIDE)
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).cuda()
    found = []
    for label, (kernel, sigma) in KERNELS.items():
        truth, named, errors = exact(pixels[0], kernel), [], {}
        for name, way in ways(kernel, sigma, images):
            try:
                errors[name] = np.abs(as_planes([way()[0].cpu()]) - truth).max() * 255
                named.append((name, synchronised(way)))
            except Exception as error:  # a peer that cannot is left out, and said to be
                print(f"  {label}: {' '.join(name)} fails ({type(error).__name__}: {str(error)[:80]})")
        shortest = race(named, options.seconds, time.perf_counter)
        ours = shortest[OURS]
        best = min((value for name, value in shortest.items() if name != OURS), default=float("nan"))
        print(f"\n{label}: {best / ours:.2f} x the fastest peer")
        for name, value in sorted(shortest.items(), key=lambda item: item[1]):
            shown = f"{options.batch / value:9.0f}{value / ours:9.2f}x{errors[name]:11.5f}"
            print(f"  {' '.join(name):44}{shown}", flush=True)
            about = dict(zip(("library", "function", "pixels"), name)) | {"blur": label}
            found.append({**about, "metric": "images_per_second", "value": options.batch / value, "n": options.batch})
            found.append({**about, "metric": "max_error", "value": float(errors[name]), "n": 1})
    return found


def by_side(options: argparse.Namespace) -> list[dict]:
    """Rows of `images_per_second` of each of torch's ways, by the kernel's side."""
    images = torch.rand(options.batch, 3, SIDE, SIDE, device="cuda")
    found = []
    print(f"\n{'side':>5}  images a second by way (chosen: *)")
    for side in SIDES:
        kernel = np.random.default_rng(side).random((side, side)).astype(np.float32)
        given = images, torch.from_numpy((kernel / kernel.sum())[None, None]).cuda(), side // 2, "reflect"
        usable = [way for way in engines.WAYS if way != "direct" or side <= 25]
        with engines.exact():
            named = [((way,), synchronised(lambda w=way, g=given: engines.WAYS[w](*g))) for way in usable]
            shortest = race(named, options.seconds / 2, time.perf_counter)
        speeds = {way: options.batch / value for (way,), value in shortest.items()}
        chosen = engines.way_for(side, "cuda")
        told = ", ".join(f"{way}{'*' * (way == chosen)} {value:.0f}" for way, value in speeds.items())
        print(f"{side:5}  {told}", flush=True)
        about = {"library": "blurnb", "pixels": "float32", "kernel_kind": "dense", "kernel_side": side}
        about |= {"metric": "images_per_second", "n": options.batch}
        found += [{**about, "function": way, "value": value} for way, value in speeds.items()]
    return found


def photographs_in(folder: Path, count: int) -> datasets.Dataset:
    """`count` JPEG files of the usual shapes as a data set of one class; a few are drawn, the rest are their copies."""
    home = folder / "photographs" / "any"
    home.mkdir(parents=True)
    (folder / "photographs" / "other").mkdir()
    generator = np.random.default_rng(0)
    base = photographs(8, 640)
    for index in range(count):
        path = home / f"{index:06d}.jpg"
        if index < 80:
            height, width = SHAPES[index % len(SHAPES)]
            top, left = (int(generator.integers(0, 641 - side)) for side in (height, width))
            part = base[index % 8, top : top + height, left : left + width]
            Image.fromarray((part * 255).round().astype(np.uint8)).save(path, quality=90)
        else:
            shutil.copyfile(home / f"{index % 80:06d}.jpg", path)
    shutil.copyfile(home / "000000.jpg", folder / "photographs" / "other" / "one.jpg")
    return datasets.load("folder", folder / "photographs")


def alone(network, shapes: list[tuple[int, int]], options: argparse.Namespace, precision: str) -> float:
    """Seconds that the network takes for the images of the grid, in batches of one shape that lie on the card."""
    batches = []
    for height, width in sorted(set(shapes)):
        factor, count = 256 / min(height, width), shapes.count((height, width))
        size = [max(256, round(side * factor)) for side in (height, width)]
        pixels = torch.rand(min(options.batch, count), 3, *size, device="cuda")
        batches.append((pixels.contiguous(memory_format=torch.channels_last), len(BLURS) * count))
    with torch.inference_mode(), engines.exact(), torch.autocast("cuda", torch.bfloat16, precision == "bf16"):
        for warm in (True, False):
            torch.cuda.synchronize()
            started = time.perf_counter()
            for pixels, images in batches:
                for _ in range(1 if warm else max(1, round(images / len(pixels)))):
                    network(pixels)
            torch.cuda.synchronize()
    return time.perf_counter() - started


def grid(options: argparse.Namespace) -> list[dict]:
    """Rows of `seconds` an answered image, of the whole loop and of the network alone."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        images = photographs_in(Path(folder), options.photographs)
        shapes = [SHAPES[index % 80 % len(SHAPES)] for index in range(options.photographs)]
        for name in options.networks.split(","):
            network = models.load(name, "none").cuda()
            for precision in ("float32", "bf16"):
                task = Classification({"sharp": network}, Protocol(precision=precision), options.batch)
                asked = conditions(BLURS, ["256"])
                took = []
                for turn in ("first", "second"):  # the first compiles and allocates
                    with tempfile.TemporaryDirectory() as store:
                        computing = answers.Computing(store, "cuda", options.batch, options.reading)
                        part = datasets.subset(images, range(min(256, len(images)))) if turn == "first" else images
                        started = time.perf_counter()
                        answers.gather(part, asked, task, computing, title=f"{name} {precision}, {turn}")
                        took.append(time.perf_counter() - started)
                network_alone = alone(network, shapes, options, precision)
                count = len(images) * len(BLURS)
                print(
                    f"{name} {precision}: {count / took[1]:.0f} images a second, the network alone "
                    f"{count / network_alone:.0f}: {network_alone / took[1]:.0%}",
                    flush=True,
                )
                about = {"network": name, "precision": precision, "backend": "eager", "library": "blurnb"}
                about |= {"scale": "256", "metric": "seconds", "n": count, "dataset": "1/f noise and edges, JPEG"}
                for stage, seconds in (("whole", took[1]), ("network", network_alone)):
                    found.append({**about, "stage": stage, "value": seconds / count})
    return found


PARTS = {"blur": compare, "ways": by_side, "grid": grid}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="time for each library and kernel")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--networks", default="resnet18,vgg16")
    parser.add_argument("--photographs", type=int, default=2048)
    parser.add_argument("--reading", type=int, default=os.cpu_count(), help="threads that decode")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--write", default="", help="folder of records")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; run this where it does")
    torch.set_num_threads(1)  # photographs are decoded side by side already
    torch.backends.cudnn.allow_tf32 = False
    card = torch.cuda.get_device_name(0)
    print(f"{card}, {os.cpu_count()} processors, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    for part in options.parts.split(","):
        rows = PARTS[part](options)
        facts = {"benchmark": f"gpu {part}", "processor": card, "batch": options.batch, "side": SIDE,
                 "libraries": {name: metadata.version(name) for name in PEERS}}  # fmt: skip
        if part == "grid":
            facts |= {"photographs": options.photographs, "blurs": BLURS, "reading": options.reading}
        run_id = provenance.address(facts)
        shared = {"experiment": "speed", "benchmark": f"gpu {part}", "profile": "photographs", "run_id": run_id}
        if part != "grid":
            shared |= {"dataset": "1/f noise and edges", "scale": str(SIDE)}
        if options.write:
            note = provenance.manifest(facts, experiment="speed", device=card, threads=torch.get_num_threads())
            records.write(
                Path(options.write) / "speed.csv", [records.row(**shared, **one) for one in rows], {run_id: note}
            )


if __name__ == "__main__":
    main()
