"""Every chapter on the smoke profile, smaller still: from nothing to its rows, with one thread or with two."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from blurnb import records
from blurnb.study import chapters

from .disturb import folder
from .ledger import Ledger
from .processes import forked

SMALLER = {
    "n_images": 16, "train_images": 32, "train_batch": 16, "base_epochs": 1, "epochs": 1, "layer_images": 8,
    "tuning_images": 2, "repeats": 1, "frozen": [1],
}  # fmt: skip
OWN = {
    "rq1": {"dataset": "scenes", "network": "vgg_mini", "weights": "none", "scales": "native"},
    "rq2": {"mixes": "sharp,mix"},
    "rq3": {"mixes": "sharp,mix", "scales": "96,96+128", "blurs": "sharp,shake"},
    "rq4": {
        **{"dataset": "scenes", "network": "vgg_mini", "weights": "none", "scales": "native", "trained": "rq2"},
        **{"frame": 512, "blurs": "sharp,D8", "captures": ["exact", "noise 0.01"], "methods": "wiener"},
        **{"wrong_kernels": "wiener"},
    },
    "card": {"n_images": 8, "blurs": "sharp,D8"},
}
# Threads divide sums: weights and probabilities differ in their last bits, and with them an answer now and then.
ANSWERS, MEANS = 2, 0.02  # images of n whose answer may differ; share by which other means may differ


def rows_of(name: str, place: Path, threads: int = 1) -> pd.DataFrame:
    """The chapter's rows, computed from nothing in a cache of its own: without measured seconds, and without bins of
    confidence, between which last bits may move an image."""
    os.environ["BLURNB_CACHE"] = str(place / "cache")
    chapter = chapters.found(name)
    known = chapter.Parameters.names()
    given = {one: value for one, value in SMALLER.items() if one in known} | OWN.get(name, {})
    given |= {"profile": "smoke", "precision": "float32", "output_dir": str(place)}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        chapter.run(chapter.Parameters.validate(given))
    finally:
        torch.set_num_threads(before)
    found = records.load(place, name)
    return found[(found["metric"] != "seconds") & (found["part_kind"] != "bin")].reset_index(drop=True)


def beyond_tolerance(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Rows that differ by more than another number of threads may make them; their run_ids may differ."""
    identity = [name for name in records.key(records.ANSWERS) if name != "run_id"] + ["n"]
    pairs = one.merge(other, on=identity, suffixes=("", "_other"))
    found = [] if len(pairs) == len(one) == len(other) else [f"{len(one)} rows and {len(other)}, {len(pairs)} in both"]
    for row in pairs[pairs["statistic"] != "p_value"].itertuples():
        if not abs(row.value - row.value_other) <= max(ANSWERS / max(row.n, 1), MEANS * abs(row.value)):
            found.append(str(row))
    return found


def other_threads(ledger: Ledger) -> None:
    """Each chapter with one thread and with two."""
    for name in chapters.names():
        with folder() as place:
            for threads in (1, 2):
                outcome = forked(partial(_kept, name, place, threads), patience=1800)
                if outcome.kind != "done":
                    ledger.failed("tracebacks", f"{name} with {threads} threads: {outcome.text[-1200:]}")
            ledger.faults["other number of threads, chapter"] += 1
            one, two = (pd.read_pickle(place / str(threads)) for threads in (1, 2))
            strange = beyond_tolerance(one, two)
            if strange:
                ledger.failed("wrong numbers", f"{name} with 2 threads: {strange[0]}", len(strange))


def _kept(name: str, place: Path, threads: int) -> None:
    if name == "rq5" and threads > 1:
        # A few steps of training amplify last bits until a rare class has another IoU: the same networks answer here.
        shutil.copytree(place / "run1" / "cache" / "networks", place / f"run{threads}" / "cache" / "networks")
    rows_of(name, place / f"run{threads}", threads).to_pickle(place / str(threads))
