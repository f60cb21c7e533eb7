"""Nothing depends on the order in which a disk lists its files, or on how the work was cut."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from blurnb import records
from blurnb.recognition import datasets, label_maps
from blurnb.study import chapters

from ..disturb import folder
from ..jobs import told
from ..ledger import Ledger
from ..pictures import saved, scene
from ..processes import forked


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    return {
        "listings": partial(shuffled, rounds=2 if brief else 20, seed=seed),
        "shards": partial(cut, sets=["scenes"] if brief else list(SETS), counts=(2,) if brief else (1, 2, 3, 5, 7)),
    }


# ------------------------------------------------------------------------------------------------ listings


class _Listing:
    """What `os.scandir` gives, in another order."""

    def __init__(self, entries: Iterator, draw: random.Random):
        with entries:
            self._entries = list(entries)
        draw.shuffle(self._entries)

    def __iter__(self):
        return iter(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self._entries = []


def _shuffle(seed: int) -> None:
    draw, scandir, listdir = random.Random(seed), os.scandir, os.listdir
    os.scandir = lambda *given: _Listing(scandir(*given), draw)
    os.listdir = lambda *given: draw.sample(found := listdir(*given), len(found))


def _trees(place: Path) -> dict[str, Callable[[], object]]:
    """A folder of each kind, and what opens it: what it returns says all that answers and records depend on."""
    names = ("b\u00e4r", "cat", "Dog", "a", "\u65e5")
    for i, label in enumerate(names):
        for j in range(3):
            _picture(place / "photos" / label / f"{2 - j}{label}.png", 40 + i, 48 + j)
    for i, wnid in enumerate(("n01440764", "n01443537", "n02123045")):
        for j in range(3):
            _picture(place / "imagenet" / "val" / wnid / f"{2 - j}.JPEG", 40 + i, 48 + j)
    for name in ("ImageSets/Segmentation", "SegmentationClass"):
        (place / "maps" / name).mkdir(parents=True)
    for i in range(4):
        _picture(place / "maps" / "JPEGImages" / f"{3 - i}.png", 40, 48 + i)
        _picture(place / "maps" / "SegmentationClass" / f"{3 - i}.png", 40, 48 + i, "L")
    (place / "maps" / "ImageSets" / "Segmentation" / "val.txt").write_text("2\n0\n3\n1\n")
    (place / "maps" / "classes.txt").write_text("\n".join(map(str, range(255))) + "\n")
    for i in range(3):
        one = records.row(
            experiment="rq1", network=f"net {i}", metric="top1", statistic="estimate", value=i / 4, n=4, run_id=f"r{i}"
        )
        records.write(place / "records" / f"{2 - i}" / "rq1.csv", [one], {f"r{i}": {"decided": {}}})

    def images(name: str, root: str) -> tuple:
        found = datasets.load(name, place / root, n_images=5, seed=1)
        return found.classes, found.ids, found.labels, found.fingerprint, [found.load(i).sum().item() for i in range(5)]

    def maps() -> tuple:
        found = label_maps.load("voc-layout", place / "maps", n_images=3, seed=1)
        return found.classes, found.ids, found.fingerprint, [found.load(i)[0].shape for i in range(3)]

    return {
        "folder": partial(images, "folder", "photos"),
        "imagenet": partial(images, "imagenet", "imagenet"),
        "maps": maps,
        "records": lambda: records.load(place / "records").to_csv(),
    }


def _picture(path: Path, width: int, height: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(scene(width, height).convert(mode), "PNG"))


def shuffled(ledger: Ledger, rounds: int, seed: int) -> None:
    """Data sets, label maps and records from folders whose entries come in another order each time."""
    with folder() as place:
        os.environ["BLURNB_CACHE"] = str(place / "cache")
        trees = _trees(place)
        for name, opened in trees.items():
            plain = forked(lambda opened=opened: print(opened()))
            for one in range(rounds):
                ledger.inputs["listing in another order"] += 1
                found = forked(lambda opened=opened, one=one: (_shuffle(seed + one), print(opened())))
                if found.kind != "done" or plain.kind != "done":
                    ledger.failed("tracebacks", f"listing of {name} ({found.kind}): {found.text[-800:]}")
                elif found.text != plain.text:
                    ledger.failed("wrong numbers", f"listing of {name}: {found.text[:400]} for {plain.text[:400]}")


# ------------------------------------------------------------------------------------------------ shards

GIVEN = {"profile": "smoke", "precision": "float32", "blurs": "sharp,D8", "weights": "none", "seed": 1}
SETS = {
    "scenes": {"dataset": "scenes", "network": "vgg_mini", "n_images": 131, "scales": "native"},
    "photographs": {"dataset": "folder", "network": "resnet18", "n_images": 0, "scales": "64", "frame": 64},
}


def _run(place: Path, name: str, count: int, draw: random.Random) -> None:
    """RQ1, answered in `count` parts first, in any order; with parts nothing may be left to compute."""
    os.environ["BLURNB_CACHE"] = str(place / f"cache {name} {count}")
    module = chapters.found("rq1")
    root = {"data_root": str(place / "photos")} if name == "photographs" else {}
    checked = module.Parameters.validate(GIVEN | SETS[name] | root | {"output_dir": str(place / "out")})
    for part in draw.sample(range(1, count + 1), count):
        module.shard(checked, part, count)
    computed = [note["computed_images"] for note in module.run(checked).manifests.values()]
    if count and any(computed):
        raise AssertionError(f"read wrong: {computed} images were answered again")


def cut(ledger: Ledger, sets: list[str], counts: tuple[int, ...]) -> None:
    """Answers in parts, one of which may be empty, and records as of a run that nobody cut."""
    for name in sets:
        expected: list[str] = []
        for count in (0, *counts):
            with folder() as place:
                for i in range(13):
                    _picture(place / "photos" / f"class {i % 3}" / f"{i}.png", 40 + i % 3, 48)
                outcome = forked(partial(_run, place, name, count, random.Random(count)))
                if outcome.kind != "done":
                    wrong = "wrong numbers" if "read wrong" in outcome.text else "tracebacks"
                    ledger.failed(wrong, f"{name} in {count} parts ({outcome.kind}): {outcome.text[-1200:]}")
                elif count:
                    ledger.inputs["images in parts"] += 1
                    ledger.compare(told(place), expected, f"{name} in {count} parts")
                else:
                    expected = told(place)
