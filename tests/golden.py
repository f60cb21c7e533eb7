"""Numbers of fixed inputs: what computes, and must not move without its VERSION.

``python tests/golden.py`` writes golden.json anew, after a VERSION was raised. An output is told by its mean, its root
mean square and a weighted mean, to five significant digits, so that they hold on other machines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import planted
import torch

from blurnb import intervals, provenance
from blurnb.optics import blurring, borders, deblurring, engines, hyper_laplacian, kernels, loops, plans, resampling
from blurnb.recognition import families, models, scenes, zoomout
from blurnb.study import answers, classification, confusion, measures, segmenting, similarity, treatments
from blurnb.study.protocol import Protocol

FILE = Path(__file__).with_suffix(".json")
LABELS = ("D8", "D2.5", "G4", "M21@30", "shake", "inertial")
OF_BLUR = (blurring, kernels, engines, plans, loops, resampling)
OF_RESTORATION = (deblurring, borders, hyper_laplacian)


def image(side: int = 64, count: int = 1) -> torch.Tensor:
    """Images (count, 3, side, side) of squares, where blur and restoration have something to do."""
    return torch.stack([planted.squares(6 * (side // 6 + 1), i)[:, :side, :side] for i in range(count)])


def told(*values) -> list[float]:
    """Mean, root mean square and weighted mean of everything in `values`, to five significant digits."""
    flat = np.concatenate([np.asarray(value, dtype=float).ravel() for value in values])
    flat = flat[~np.isnan(flat)]
    weights = np.random.default_rng(0).random(flat.size)
    numbers = (flat.mean(), np.sqrt(np.mean(flat**2)), (weights * flat).sum() / weights.sum())
    return [float(f"{number:.5g}") for number in numbers]


def _kernels() -> list:
    return [blurring.kernel_for(label, factor, 3, "a") for label in LABELS for factor in (0.3, 1.0)]


def _blurred() -> list:
    return [
        blurring.blur(image(size, 2), label, border=border, image_ids=["a", "b"], frame=128).numpy()
        for label in LABELS
        for size, border in ((40, "reflect"), (96, "circular"), (64, "replicate"))
    ]


def _restored(method: str) -> list:
    seen = resampling.rounded(blurring.blur(image(), "D4", frame=64))
    weight = deblurring.default_weight(method, 0.01)
    return [deblurring.deblur(seen, blurring.kernel_for("D4"), method, 0.01, weight).numpy()]


@torch.inference_mode()
def _scores(name: str, side: int) -> list:
    network = models.load(name, "none", 12)
    return [network(image(side, 2)).double().softmax(1).numpy(), network.mean.numpy()]


@torch.inference_mode()
def _pixels() -> list:
    network = zoomout.Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=8).eval()
    return [network.features(image(96))[:, ::7].numpy(), network(image(96)).numpy()]


def _answers(folder: Path) -> list:
    """What the loop gives for photographs under treatments of every kind."""
    wanted = [
        *planted.conditions(["sharp", "D4", "shake"], ["48", "32+48"]),
        *planted.conditions(["D4"], rounding="8-bit"),
        *planted.conditions(["D4"], noise_sd=0.01, method="wiener", kernel="D5"),
    ]
    weights = {("wiener", 0.01): 1e-2}
    task = classification.Classification(
        {"sharp": planted.network()}, Protocol(frame=64, flip=True), weights=weights, with_psnr=True
    )
    found = planted.asked(planted.images(4), wanted, task, folder).found
    return [[value for value in one if value is not None] for each in found.values() for one in each.values()]


def _matrices(folder: Path) -> list:
    wanted = planted.conditions(["sharp", "D64"], ["96"])
    task = segmenting.Segmenting(planted.Oracle(1), "sharp", Protocol(), "96")
    found = planted.asked(planted.maps(2, 96), wanted, task, folder)
    return [matrix for regions in segmenting.matrices(found, 5).values() for matrix in regions.values()]


def _layers(folder: Path) -> list:
    network = models.load("vgg_mini", "none", 5)
    found = similarity.compare(network, planted.images(8, 40), ["D24"], Protocol())
    return [triple for measured in found.values() for triple in measured.values()]


def _rows(folder: Path) -> list:
    """Every measure, difference and bin of planted answers."""
    wanted = planted.conditions(["sharp", "D8"], ["64"])
    task = classification.Classification({"sharp": planted.network()}, Protocol(frame=64))
    images = planted.images(40, 64)
    tables = classification.tables(images, planted.asked(images, wanted, task, folder))
    shared = {"seed": 0}
    rows = measures.of_each(tables, shared) + measures.from_sharp(tables, shared) + measures.of_bins(tables, shared)
    drawn = np.random.default_rng(0).integers(1, 40, (2, 2, 9, 3, 3))
    one, other = (dict(zip(confusion.REGIONS, part)) for part in drawn)
    rows += measures.of_pixels(one, "abc", shared) + measures.pixel_difference(one, other, shared, {"blur": "x"})
    return [[row["value"], row["ci_low"], row["ci_high"]] for row in rows]


def outputs() -> dict[str, tuple[Callable, tuple]]:
    """What is computed by its name: (function of a folder to write in, the modules that decide it)."""
    loop = (answers, treatments, classification, *OF_BLUR)
    networks = {"vgg_mini": 96, "vgg16_64": 64, "efficientnet_lite0": 64, "resnet18": 64}
    home = {name: families.homes().get(name, families) for name in networks}
    return {
        "kernels": (lambda _: _kernels(), (kernels, blurring)),
        "blur": (lambda _: _blurred(), OF_BLUR),
        "resample": (lambda _: [resampling.resized(image(96), side).numpy() for side in (31, 200)], (resampling,)),
        **{
            f"deblur {method}": (lambda _, method=method: _restored(method), (*OF_BLUR, *OF_RESTORATION))
            for method in ("wiener", "krishnan_fergus", "richardson_lucy", "tv")
        },
        **{
            f"family of {name}": (lambda _, name=name, side=side: _scores(name, side), (home[name],))
            for name, side in networks.items()
        },
        "scenes": (lambda _: [part.numpy() for part in scenes.scenes("test", [3, 4])], (scenes,)),
        "zoomout": (lambda _: _pixels(), (zoomout, home["vgg_mini"])),
        "classification": (_answers, (*loop, *OF_RESTORATION)),
        "segmenting": (_matrices, (answers, treatments, segmenting, confusion, *OF_BLUR)),
        "similarity": (_layers, (similarity, home["vgg_mini"], intervals, *OF_BLUR)),
        "measures": (_rows, (measures, intervals, confusion, *loop)),
    }


def computed(name: str, folder: Path) -> dict:
    """{"numbers": what tells the output, "versions": of the modules that decide it}"""
    compute, modules = outputs()[name]
    return {"numbers": told(*compute(folder)), "versions": provenance.versions(*modules)}


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        found = {name: computed(name, Path(place) / name) for name in outputs()}
    FILE.write_text(json.dumps(found, indent=1) + "\n")
