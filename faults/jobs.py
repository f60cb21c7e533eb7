"""The work that is disturbed: each job runs in a folder of its own and leaves records in ``<folder>/out``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from blurnb import records
from blurnb.study import chapters
from blurnb.study import training as fitting

TIMES = ",seconds,"
"""What differs from run to run, and is left out of every comparison."""


def _ran(chapter: str, folder: Path, **given) -> None:
    os.environ["BLURNB_CACHE"] = str(folder / "cache")
    shared = {"profile": "smoke", "output_dir": str(folder / "out"), "precision": "float32", "blurs": "sharp,D8"}
    found = chapters.found(chapter)
    found.run(found.Parameters.validate({**shared, **given}))


def evaluation(folder: Path) -> None:
    """RQ1: a network's answers to 66 scenes, in two blocks."""
    given = {"dataset": "scenes", "network": "vgg_mini", "weights": "none", "n_images": 66, "scales": "native"}
    _ran("rq1", folder, **given)


def training(folder: Path) -> None:
    """RQ2: three short trainings, each with a checkpoint after every step, their answers, and layers compared."""
    fitting.fit.__kwdefaults__["checkpoint_seconds"] = 0.0
    given = {"train_images": 32, "train_batch": 16, "base_epochs": 1, "epochs": 1, "n_images": 16, "mixes": "sharp,mix"}
    _ran("rq2", folder, **given, frozen=[], layer_blurs="D8", layer_images=8)


def writing(folder: Path) -> None:
    """Eight runs of 30 rows, each added to one file of records."""
    for run in range(8):
        shared = {"experiment": "rq1", "network": f"net {run}", "metric": "top1", "statistic": "estimate", "n": 100}
        shared |= {"run_id": f"run{run}"}
        rows = [records.row(blur=f"D{i + 1}", value=1 / (i + run + 3), **shared) for i in range(30)]
        records.write(folder / "out" / "rq1.csv", rows, {f"run{run}": {"decided": {"run": run}}})


JOBS = {"evaluation": evaluation, "training": training, "record writing": writing}


def told(folder: Path) -> list[str]:
    """What the records in ``<folder>/out`` say: their rows and what their manifests state to have decided them."""
    found = []
    for path in sorted((folder / "out").rglob("*.csv")):
        rows = path.read_text().splitlines()[1:]
        found += [f"{path.name}: {row}" for row in rows if TIMES not in row]
        for run, notes in json.loads(path.with_suffix(".json").read_text()).items():
            origin = {k: v for k, v in notes.get("network_origin", {}).items() if k in ("facts", "sha256", "loss")}
            found.append(f"{path.name}: {run} {json.dumps([notes['decided'], origin], sort_keys=True)}")
    return found
