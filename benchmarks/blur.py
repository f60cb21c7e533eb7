"""How many images a second: our blur against the libraries that people use, in one interleaved run.

    python benchmarks/blur.py [--seconds 1] [--threads 2] [--clock wall|cpu] [--sweep] [--write FOLDER]

Images of 512 x 512 RGB with values in [0, 1], in the layout and type that each library likes best; every library
gets its kernel ready-made, and the same two threads: its own where it has them, two Python threads beside it where it
has not. Rounds are interleaved, so that whatever else the machine does hits all alike; the best round of each counts.
Where others use the machine too, `--clock cpu` counts processor time, shared between the threads, instead of time on
the wall. The error is the largest difference, over the pixels of one photograph-like image, to SciPy's convolution in
float64 with the same border, in 8-bit levels (1/255). `--sweep` takes every kind of kernel from 3 x 3 to 51 x 51.
`--write` adds the numbers to speed.csv in that folder, with machine and date, from where the book shows them.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal
import torch
from sweep import processor

from blurnb import provenance, records
from blurnb.optics import blur, camera_shake, defocus, gaussian, linear_motion
from blurnb.optics.plans import plan_for

SIDE, COUNT = 512, 8

KERNELS = {
    "D2": (defocus(2), None),
    "D4": (defocus(4), None),
    "D8": (defocus(8), None),
    "G4": (gaussian(4), 4.0),
    "G8": (gaussian(8), 8.0),
    "M21@30": (linear_motion(21, 30), None),
    "shake24": (camera_shake(11, 24), None),
}


def photographs(count: int, side: int) -> np.ndarray:
    """(N, H, W, 3) float32 in [0, 1]: 1/f noise with hard edges, a multiple of 1/255 as photographs are."""
    generator = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    noise = np.fft.ifft2(np.fft.fft2(generator.normal(size=(count, 3, side, side))) / frequency).real
    noise = (noise - noise.mean()) / (5 * noise.std()) + 0.5
    noise[:, :, side // 4 : side // 2, side // 4 : side // 2] = generator.random((count, 3, 1, 1)).round()
    noise[:, :, side // 2 :, side // 2 :] += 0.3 * generator.normal(size=(count, 3, side // 2, side // 2))
    return np.ascontiguousarray((noise.clip(0, 1) * 255).round().transpose(0, 2, 3, 1) / 255, dtype=np.float32)


Way = Callable[[], object]
Name = tuple[str, str, str]
"""(library, function, type of the pixels that it takes and gives), as records name them."""
OURS = ("blurnb", "blur", "float32")


def ways(kernel: np.ndarray, sigma: float | None, nhwc: np.ndarray, threads: int) -> Iterator[tuple[Name, Way]]:
    """(name, call that blurs all images and returns them) for ours and for every peer that can do this kernel."""
    import cv2
    import kornia.filters
    import torchvision.transforms.v2.functional as vision

    pool = ThreadPoolExecutor(threads)
    bytes_ = (nhwc * 255).round().astype(np.uint8)
    nchw = torch.from_numpy(np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2)))
    planes = nchw.numpy()
    half, flipped = kernel.shape[0] // 2, np.ascontiguousarray(kernel[::-1, ::-1])
    border = cv2.BORDER_REFLECT_101

    def each(function: Callable, images: np.ndarray) -> Way:
        return lambda: list(pool.map(function, images))

    yield OURS, lambda: blur(nchw, kernel)

    for pixels, images in (("float32", nhwc), ("uint8", bytes_)):
        way = each(lambda i: cv2.filter2D(i, -1, flipped, borderType=border), images)
        yield ("cv2", "filter2D", pixels), way
    profile = kernel.sum(0, dtype=np.float64).astype(np.float32)
    if np.allclose(kernel, np.outer(kernel.sum(1), profile), atol=1e-8):
        down = kernel.sum(1, dtype=np.float64).astype(np.float32)
        for pixels, images in (("float32", nhwc), ("uint8", bytes_)):
            way = each(lambda i: cv2.sepFilter2D(i, -1, profile, down, borderType=border), images)
            yield ("cv2", "sepFilter2D", pixels), way
    if sigma:
        size = kernel.shape

        def by_opencv(image: np.ndarray) -> np.ndarray:
            return cv2.GaussianBlur(image, size, sigma, borderType=border)

        yield ("cv2", "GaussianBlur", "float32"), each(by_opencv, nhwc)
        yield ("cv2", "GaussianBlur", "uint8"), each(by_opencv, bytes_)
        yield (
            ("scipy", "ndimage.gaussian_filter", "float32"),
            each(lambda i: scipy.ndimage.gaussian_filter(i, sigma, mode="mirror", axes=(1, 2)), planes),
        )
        yield (
            ("torchvision", "gaussian_blur", "float32"),
            lambda: vision.gaussian_blur(nchw, list(size), [sigma, sigma]),
        )
        yield (
            ("kornia", "gaussian_blur2d", "float32"),
            lambda: kornia.filters.gaussian_blur2d(nchw, size, (sigma, sigma), border_type="reflect"),
        )

    padded = scipy.fft.next_fast_len(SIDE + 2 * half, real=True)
    spectrum = scipy.fft.rfft2(kernel, s=(padded, padded))

    def by_fft(image: np.ndarray) -> np.ndarray:
        wide = np.pad(image, ((0, 0), (half, half), (half, half)), mode="reflect")
        product = scipy.fft.rfft2(wide, s=(padded, padded)) * spectrum
        return scipy.fft.irfft2(product, s=(padded, padded))[:, 2 * half : 2 * half + SIDE, 2 * half : 2 * half + SIDE]

    yield ("scipy", "fft, cached spectrum", "float32"), each(by_fft, planes)

    if kernel.size <= 441:  # beyond, these take seconds a round and are far behind
        weights = torch.from_numpy(flipped)[None]
        yield ("kornia", "filter2d", "float32"), lambda: kornia.filters.filter2d(nchw, weights, border_type="reflect")
        yield (
            ("scipy", "ndimage.convolve", "float32"),
            each(lambda i: scipy.ndimage.convolve(i, kernel[None], mode="mirror"), planes),
        )

    import albumentations

    class Prepared(albumentations.MotionBlur):  # the library's own way to apply a kernel, here ours
        def get_params(self) -> dict:
            return {"kernel": flipped}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transform = Prepared(p=1)
    yield ("albumentations", "MotionBlur", "uint8"), each(lambda i: transform(image=i)["image"], bytes_)


def as_planes(result: object) -> np.ndarray:
    """The first image of what a way returned, (3, H, W) float64 in [0, 1]."""
    first = result[0].numpy() if isinstance(result[0], torch.Tensor) else result[0]
    scale = 255 if first.dtype == np.uint8 else 1
    return (first.transpose(2, 0, 1) if first.shape[-1] == 3 else first).astype(np.float64) / scale


def race(named: list[tuple[Name, Way]], seconds: float, clock: Callable[[], float]) -> dict[Name, float]:
    """Name -> shortest time of one call, in rounds in which every way gets its turn; about `seconds` each."""
    shortest = dict.fromkeys((name for name, _ in named), np.inf)
    spent = dict.fromkeys(shortest, 0.0)
    while any(value < seconds for value in spent.values()):
        for name, way in named:
            if spent[name] >= seconds:
                continue
            for _ in range(3 if shortest[name] < 0.05 else 1):
                start = clock()
                way()
                taken = clock() - start
                shortest[name], spent[name] = min(shortest[name], taken), spent[name] + taken
    return shortest


def exact(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(3, H, W) float64: `image` (H, W, 3) convolved with `kernel`, border reflected."""
    half = kernel.shape[0] // 2
    wide = np.pad(image.transpose(2, 0, 1).astype(np.float64), ((0, 0), (half, half), (half, half)), mode="reflect")
    return scipy.signal.fftconvolve(wide, kernel[None].astype(np.float64), mode="valid")


Speeds = dict[tuple[str, str, int | None, Name], tuple[float, float | None]]
"""(blur, kind of kernel, its side, name) -> (images a second, largest error in 8-bit levels where it was measured)."""


def table(seconds: float, threads: int, clock: Callable[[], float]) -> Speeds:
    images, found = photographs(COUNT, SIDE), {}
    for label, (kernel, sigma) in KERNELS.items():
        named = list(ways(kernel, sigma, images, threads))
        truth = exact(images[0], kernel)
        errors = {name: np.abs(as_planes(way()) - truth).max() * 255 for name, way in named}
        shortest = race(named, seconds, clock)
        found |= {(label, "", None, name): (COUNT / value, errors[name]) for name, value in shortest.items()}
        ours = shortest.pop(OURS)
        ratio = min(shortest.values()) / ours
        plan = plan_for(kernel)
        print(f"\n{label}: {ratio:.2f} x the fastest peer ({plan.loop}, cost {plan.cost:.0f})")
        print(f"  {'':40}{'images/s':>9}{'blurnb is':>11}{'max error':>11}")
        for name, value in [(OURS, ours), *sorted(shortest.items(), key=lambda item: item[1])]:
            print(f"  {' '.join(name):40}{COUNT / value:9.0f}{value / ours:10.2f}x{errors[name]:11.4f}", flush=True)
    return found


def shapes(size: int) -> Iterator[tuple[str, np.ndarray, float | None]]:
    """One kernel of `size` x `size` of every kind: structured, sparse and as dense and irregular as can be."""
    generator = np.random.default_rng(size)
    yield "disk", defocus(size / 2), None
    yield "box", np.full((size, size), 1 / size**2, np.float32), None
    sigma = size // 2 / 4
    yield "gaussian", gaussian(sigma), sigma
    yield "motion", linear_motion(size - 0.5, 0.1) if size < 5 else linear_motion(size, 20), None
    walk = np.cumsum(generator.normal(size=(4 * size, 2)), axis=0)
    walk = np.rint((walk - walk.min(0)) / np.ptp(walk, axis=0) * (size - 1)).astype(int)
    shake = np.zeros((size, size), np.float32)
    shake[walk[:, 1], walk[:, 0]] = generator.random(len(walk)) + 0.1
    yield "shake", shake / shake.sum(), None
    dense = generator.random((size, size)).astype(np.float32)
    yield "dense", dense / dense.sum(), None


def sweep(seconds: float, threads: int, clock: Callable[[], float]) -> Speeds:
    images, lowest, found = photographs(COUNT, SIDE), {"float32": np.inf, "uint8": np.inf}, {}
    print("Ratio to the fastest peer that keeps floats, and to the fastest that rounds to 8 bits (error 0.5).")
    print(f"{'kernel':10}{'size':>5}{'loop':>20}{'cost':>6}{'images/s':>10}{'error':>8}{'float32':>8}{'uint8':>8}")
    for size in (3, 5, 7, 9, 11, 15, 21, 27, 33, 41, 51):
        for name, kernel, sigma in shapes(size):
            named = [
                (peer, way)
                for peer, way in ways(kernel, sigma, images, threads)
                if peer[0] in ("blurnb", "cv2") or peer[1].startswith("fft")
            ]
            error = np.abs(as_planes(named[0][1]()) - exact(images[0], kernel)).max() * 255
            shortest = race(named, seconds, clock)
            ours = shortest.pop(OURS)
            found["", name, size, OURS] = (COUNT / ours, error)
            plan, ratios = plan_for(kernel), {}
            for pixels in lowest:
                times = {peer: value for peer, value in shortest.items() if peer[2] == pixels}
                best = min(times, key=times.get)
                found["", name, size, best] = (COUNT / times[best], None)
                ratios[pixels] = times[best] / ours
                lowest[pixels] = min(lowest[pixels], ratios[pixels])
            print(
                f"{name:10}{kernel.shape[0]:5}{plan.loop:>20}{plan.cost:6.0f}{COUNT / ours:10.0f}{error:8.4f}"
                f"{ratios['float32']:8.2f}{ratios['uint8']:8.2f}",
                flush=True,
            )
    print("lowest ratios: " + ", ".join(f"{value:.2f} ({kind})" for kind, value in lowest.items()))
    return found


def write(folder: str, found: Speeds, options: argparse.Namespace) -> None:
    """Records of metrics `images_per_second` and `max_error`: a row for each kernel and function."""
    peers = ("opencv-python-headless", "scipy", "kornia", "albumentations", "torchvision", "numba")
    facts = {"benchmark": "blur", "sweep": options.sweep, "side": SIDE, "images": COUNT, "threads": options.threads,
             "seconds": options.seconds, "clock": options.clock, "processor": processor(),
             "libraries": {name: metadata.version(name) for name in peers}}  # fmt: skip
    run_id = provenance.address(facts)
    shared = {"experiment": "speed", "benchmark": "blur", "profile": "photographs", "dataset": "1/f noise and edges"}
    shared |= {"scale": str(SIDE), "n": COUNT, "run_id": run_id}
    rows = []
    for (label, kind, side, (library, function, pixels)), values in found.items():
        about = {"blur": label, "kernel_kind": kind, "kernel_side": side}
        about |= {"library": library, "function": function, "pixels": pixels}
        rows += [
            records.row(metric=metric, value=float(value), **about, **shared)
            for metric, value in zip(("images_per_second", "max_error"), values)
            if value is not None
        ]
    note = provenance.manifest(facts, experiment="speed", device="cpu", threads=options.threads)
    records.write(Path(folder) / "speed.csv", rows, {run_id: note})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each library and kernel")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--sweep", action="store_true", help="all kinds of kernel from 3 x 3 to 51 x 51 instead")
    parser.add_argument("--write", default="", help="folder of records")
    options = parser.parse_args()

    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(options.threads)
    print(
        f"{processor()}, {os.cpu_count()} processors, {options.threads} threads, "
        f"{COUNT} images of {SIDE} x {SIDE} x 3, {options.seconds:g} s each by {options.clock} clock, "
        f"torch {torch.__version__}, OpenCV {cv2.__version__}, {time.strftime('%Y-%m-%d')}"
    )
    clocks = {"wall": time.perf_counter, "cpu": lambda: time.process_time() / options.threads}
    found = (sweep if options.sweep else table)(options.seconds, options.threads, clocks[options.clock])
    if options.write:
        write(options.write, found, options)


if __name__ == "__main__":
    main()
