"""Every parameter of every chapter does something: it moves a number, or what the records say, or it is refused.

That a column or a manifest repeats what was typed proves nothing, so measured numbers must move wherever the table
below does not say otherwise. Networks are narrow, images few: what is compared is one run with another.
"""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import nn

from blurnb import provenance
from blurnb.errors import UserError
from blurnb.recognition import datasets, families, models, scenes
from blurnb.recognition.families import vgg
from blurnb.study import chapters, confusion

# ------------------------------------------------------------------------------------------------ the table


class Effect(NamedTuple):
    """What is changed to what, beside what (`given`, on top of the chapter's BASE), and what it moves.

    A mapping as the value changes several at once, where one alone would be refused. `moves`: numbers, columns (of
    records), decided or circumstances (of manifests), nothing, or refused.
    """

    value: object
    moves: str = "numbers"
    given: dict = {}
    run: str = "run"


def to(value, moves="numbers", run="run", **given) -> Effect:
    return Effect(value, moves, given, run)


SMALL = {
    "profile": "smoke", "dataset": "scenes", "network": "vgg11", "weights": "none", "n_images": 4, "scales": "96",
    "blurs": "sharp,D8", "precision": "float32",
}  # fmt: skip
TRAINED = SMALL | {
    "train_images": 8, "train_batch": 4, "mixes": "sharp,mix", "base_epochs": 1, "epochs": 1, "train_seeds": 0,
    "optimizer": "sgd", "augmentation": "flip", "weight_decay": 0.01, "warmup": 0.1,
}  # fmt: skip
AS_IS = dict.fromkeys(set(TRAINED) - set(SMALL)) | {"trained": "as-is"}
PHOTOS = {"dataset": "folder", "data_root": "{one}", "scales": "64", "frame": 64}
MAPS = {"dataset": "voc-layout", "data_root": "{maps one}", "scales": "32", "crop_width": 32, "n_images": 4}
BASE = {
    "rq1": SMALL | {"dose_blurs": "sharp,D8", "dose_scales": "96"},
    "rq2": TRAINED | {"n_images": 8, "layer_blurs": "D8", "layer_images": 8, "frozen": 1},
    "rq3": TRAINED | {"train_scales": []},
    "rq4": TRAINED | {"methods": "wiener", "captures": "noise 0.01", "wrong_kernels": "", "tuning_images": 0,
                      "repeats": 1},
    "rq5": TRAINED | {"hidden_channels": 4, "features": "frozen", "dropout": 0, "mixes": "mix"},
    "card": SMALL,
}  # fmt: skip

FEW = AS_IS | {"methods": None, "tuning_images": None}
"""What photographs leave of RQ4's BASE."""
EVALUATED = {
    "profile": to("embedded", "columns"),
    "data_root": to("{two}", **PHOTOS),
    "seed": to(1),
    "device": to("cuda", "circumstances"),
    "precision": to("bf16"),
    "output_dir": to("{elsewhere}", "file"),
    "strict": to(True, "refused", **PHOTOS | {"data_root": "{torn}", "seed": 1}),
    "dataset": to({"dataset": "folder", "data_root": "{one}"}, frame=64, scales="64"),
    "network": to("vgg_mini"),
    "weights": to("{weights}"),
    "n_images": to(5),
    "frame": to(128),
    "scales": to("64"),
    "blurs": to("sharp,G8"),
    "view": to("center-crop"),
    "flip": to(True),
    "border": to("circular"),
    "resample": to("bilinear", scales="64"),
    "rounding": to("8-bit blur"),
    "small_input": to("zero-pad"),
    "batch": to(2, "circumstances"),
    "workers": to(2, "nothing"),  # decodes ahead: must not decide anything
}
TRAINING = EVALUATED | {
    "mixes": to("sharp,mix,D16"),
    "tested_on": to("validation"),
    "train_images": to(9),
    "train_seeds": to(1),
    "base_epochs": to(2),
    "base_learning_rate": to(0.1),
    "base_frozen": to(1),
    "epochs": to(2),
    "learning_rate": to(0.1),
    "train_batch": to(8),
    "weight_decay": to(10.0),
    "max_shift": to(3),
    "warmup": to(1.0),
    "optimizer": to("adamw"),
    "augmentation": to("square"),
    "train_workers": to(1, "nothing"),  # loads ahead, by processes: must not decide anything
    "strict": to(True, "refused", **PHOTOS | {"data_root": "{torn}", "seed": 1}),  # which is trained on what is whole
}
EFFECTS = {
    "rq1": EVALUATED
    | {
        "backend": to("openvino", "decided", network="vgg_mini"),
        "dose_blurs": to("sharp,D16,G8", run="run_doses"),
        "dose_scales": to("64", run="run_doses"),
    },
    "rq2": TRAINING
    | {
        "strict": to(True, "refused", **PHOTOS | {"data_root": "{torn}", "seed": 1, "n_images": 0}),
        "n_images": to(9),
        "layer_blurs": to("G8"),
        "layer_images": to(9, n_images=10),
        "frozen": to(2),
    },
    "rq3": TRAINING | {"train_scales": to("64,96", scales="64,64+96", train_scales=[])},
    "rq4": TRAINING
    | {
        "data_root": to("{two}", **PHOTOS, **FEW),
        "strict": to(True, "refused", **PHOTOS | FEW | {"data_root": "{torn}", "seed": 1}),
        "dataset": to({"dataset": "folder", "data_root": "{one}"} | FEW, frame=64, scales="64"),
        "mixes": to("sharp"),
        "rounding": to("8-bit", "refused"),  # one of `captures` here
        "trained": to(AS_IS),
        "methods": to("richardson_lucy"),
        "photograph_methods": to("richardson_lucy", **PHOTOS, **FEW, photograph_methods="wiener"),
        "wrong_kernels": to("wiener"),
        "captures": to("noise 0.01,8-bit"),
        "tuning_images": to(2),
        "repeats": to(2, "decided"),
    },
    "rq5": TRAINING
    | {
        "data_root": to("{maps two}", **MAPS),
        "strict": to(True, "refused", seed=1, **MAPS | {"data_root": "{torn maps}"}),
        "dataset": to({"dataset": "voc-layout", "data_root": "{maps one}", "crop_width": 32}, scales="32"),
        "weights": to("{1000 classes}"),
        "view": to("center-crop", "refused"),  # a crop has no label for the rest
        "small_input": to("zero-pad", "decided"),  # of four images the numbers may agree, not of the weights
        "base_frozen": to(1, "refused"),  # what is trained first is the head
        "max_shift": to(3, "refused"),
        "mixes": to("sharp"),
        "features": to("trained"),
        "hidden_channels": to(5),
        "dropout": to(0.5),
        "crop_width": to(48, "decided", **MAPS),
        "backbone_share": to(1.0, features="trained"),
        "boundary_width": to(0.25),
    },
    "card": EVALUATED
    | {
        "mean": to("0.1"),
        "std": to("0.5"),
        "focal_length_mm": to(85, "circumstances"),
        "f_number": to(8, "circumstances"),
        "focus_distance_m": to(3, "circumstances"),
        "sensor_height_mm": to(8, "circumstances"),
        "exposure_s": to(0.1, "circumstances"),
    },
}


@pytest.mark.parametrize("chapter", chapters.names())
def test_the_table_holds_every_parameter(chapter):
    parameters = chapters.found(chapter).Parameters
    assert set(EFFECTS[chapter]) == {*parameters.names(), *parameters.unused}


# ------------------------------------------------------------------------------------------------ what is planted


def _narrow(class_count: int, weights: str) -> nn.Module:
    """VGG-11 of 4 to 8 channels, whose window is larger than the maps of small images."""
    plan = [4, "M", 4, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"]
    body = nn.Module()
    body.features = torchvision.models.vgg.make_layers(plan)
    body.classifier = nn.Sequential(
        *(
            nn.Linear(8 * 7 * 7, 16),
            nn.ReLU(),
            nn.Dropout(0.0),
            nn.Linear(16, 16),
            nn.ReLU(),
            nn.Dropout(0.0),
        ),
        nn.Linear(16, class_count),
    )
    for layer in body.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):  # so that what an image shows reaches the scores
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return vgg.DenseVGG(body)


def _photographs(folder, seed):
    generator = np.random.default_rng(seed)
    for split, (place, name) in itertools.product(("val", "train"), enumerate(("red", "green"))):
        (folder / split / name).mkdir(parents=True)
        for i in range(6):
            pixels = generator.normal(60 + 100 * place, 60, (9, 11, 3)).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels).resize((88, 72), Image.Resampling.BICUBIC)
            image.save(folder / split / name / f"{i}.png")
    return folder


def _maps(folder, seed):
    """A folder in VOC's layout: photographs, each with the map of where it is bright."""
    generator = np.random.default_rng(seed)
    for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for i in range(24):
        pixels = np.kron(generator.integers(0, 256, (4, 5, 3)), np.ones((12, 12, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{i:02d}.png")
        Image.fromarray((pixels.mean(2) > 128).astype(np.uint8)).save(folder / "SegmentationClass" / f"{i:02d}.png")
    (folder / "classes.txt").write_text("dark\nbright\n")
    for split, first in (("val", 0), ("train", 12)):
        listed = "\n".join(f"{i:02d}" for i in range(first, first + 12))
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(listed)
    return folder


def _tear(files):
    """Half of what seed 1 draws to be answered, not the first, by which time is taken; nobody learns from it."""
    for place in datasets.drawn(12, 4, 1, "planted")[1::2]:
        file = files[place]
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders and files by the names that the table uses; one store for all runs."""
    folder = tmp_path_factory.mktemp("effects")
    found = {"one": _photographs(folder / "one", 1), "two": _photographs(folder / "two", 2)}
    found |= {"torn": _photographs(folder / "torn", 1), "torn maps": _maps(folder / "torn maps", 1)}
    found |= {"maps one": _maps(folder / "maps one", 1), "maps two": _maps(folder / "maps two", 2)}
    found |= {"out": folder / "out", "elsewhere": folder / "elsewhere"}
    for files in ((folder / "torn" / "val").glob("*/*"), (folder / "torn maps" / "JPEGImages").glob("*")):
        _tear(sorted(files))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BLURNB_CACHE", str(folder / "store"))
        patched.setattr(provenance, "commit", lambda: "commit")
        patched.setitem(vgg.NETWORKS, "vgg11", vgg.NETWORKS["vgg11"]._replace(build=_narrow))
        patched.setattr(confusion.resampled, "__defaults__", (100,))
        # two networks that hardly learnt may be right about the same images, but not equally sure
        patched.setattr(chapters.found("rq4"), "KEPT", ("top1", "entropy", "p_true"))
        families.find.cache_clear()
        for name, count in (("weights", len(scenes.CLASSES)), ("1000 classes", 1000)):
            network = models.load("vgg11", "none", count)
            state = {key: (value * 1.5).contiguous() for key, value in network.body.state_dict().items()}
            found[name] = folder / f"{name}.safetensors"
            safetensors.torch.save_file(state, found[name])
        yield {name: str(place) for name, place in found.items()}
    families.find.cache_clear()


# ------------------------------------------------------------------------------------------------ what is compared

TOLD = {"decided", "date", "wall_seconds", "computed_images", "network_origin", "median_least_most"}
"""Of a manifest, what is compared apart, differs between two equal runs, or repeats a recipe as it was typed."""
SEEN: dict[str, dict] = {}


def seen(chapter: str, run: str, given: dict, places: dict) -> dict:
    """What a run shows of itself: numbers, columns, decided, circumstances; or {"refused": why}."""
    module = chapters.found(chapter)
    said = {name: value.format(**places) if isinstance(value, str) else value for name, value in given.items()}
    said = {"output_dir": places["out"]} | said
    known = json.dumps([chapter, run, said])
    if known not in SEEN:
        try:
            rows, manifests, _ = getattr(module, run)(module.Parameters.validate(said))
        except UserError as error:
            SEEN[known] = {"refused": str(error)}
        else:
            measured = rows[rows["metric"] != "seconds"]
            about = [{k: v for k, v in one.items() if k not in TOLD} for one in manifests.values()]
            name = {"run": chapter, "run_doses": "doses"}[run]
            name += "-validation" if said.get("tested_on") == "validation" else ""
            SEEN[known] = {
                "numbers": sorted(zip(measured["metric"], measured["value"])),
                "columns": sorted(map(str, rows.drop(columns="run_id").itertuples(index=False))),
                "decided": sorted(json.dumps(one["decided"], sort_keys=True) for one in manifests.values()),
                "circumstances": sorted(json.dumps(one, sort_keys=True) for one in about),
                "file": [place for place in ("out", "elsewhere") if (Path(places[place]) / f"{name}.csv").exists()],
            }
            (Path(said["output_dir"]) / f"{name}.csv").unlink()
            (Path(said["output_dir"]) / f"{name}.json").unlink()
    return SEEN[known]


CASES = [(chapter, name) for chapter, effects in EFFECTS.items() for name in effects]


@pytest.mark.filterwarnings("ignore:skipped")
@pytest.mark.parametrize("chapter, name", CASES)
def test_every_parameter_does_something(chapter, name, places):
    effect = EFFECTS[chapter][name]
    given = BASE[chapter] | effect.given
    before = seen(chapter, effect.run, given, places)
    assert "refused" not in before, before
    changed = effect.value if isinstance(effect.value, dict) else {name: effect.value}
    after = seen(chapter, effect.run, given | changed, places)
    if "refused" in after:
        said = name == "strict" or name in after["refused"] or str(effect.value) in after["refused"]
        assert said, f"refused, and no word of it: {after['refused']}"
        assert effect.moves == "refused" or (name == "device" and not torch.cuda.is_available()), after
        return
    if effect.moves == "nothing":
        assert after == before
    else:
        assert after[effect.moves] != before[effect.moves]


@pytest.mark.parametrize(
    "chapter, name, value", [("rq5", "small_input", "upsample"), ("rq4", "rounding", "8-bit blur")]
)
def test_a_value_that_a_chapter_cannot_use_is_refused(chapter, name, value):
    with pytest.raises(UserError, match=f"{name}='{value}'"):
        chapters.found(chapter).Parameters.validate({"profile": "smoke", name: value})
