"""The same seed gives the same records: to the bit on one machine and thread count, within a tolerance across them."""

import importlib

import pytest
import torch

from blurnb import records
from blurnb.study import profiles

STUDIES = {
    "rq1": "degradation",
    "rq2": "recovery",
    "rq3": "generalization",
    "rq4": "restoration",
    "rq5": "segmentation",
}
# The smoke profile, smaller still: every kind of number that the chapter records, from as few images as will do.
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
        **{"frame": 512, "blurs": "sharp,D8", "factors": ["exact", "noise 0.01"], "methods": "wiener"},
        **{"photograph_methods": "wiener", "wrong_kernels": "wiener"},
    },
}
# Threads divide sums: weights and probabilities differ in their last bits, and with them an answer now and then.
ANSWERS, MEANS = 2, 0.02  # images of n whose answer may differ; share by which other means may differ


def rows_of(question, folder, monkeypatch):
    """The chapter's rows without measured seconds, computed from nothing in a cache of its own."""
    monkeypatch.setenv("BLURNB_CACHE", str(folder / "cache"))
    fields = profiles.DEFAULTS[question][0].model_fields
    given = {k: v for k, v in SMALLER.items() if k in fields} | OWN.get(question, {})
    given |= {"profile": "smoke", "precision": "float32", "output_dir": str(folder)}
    study = importlib.import_module(f"blurnb.study.{STUDIES[question]}")
    study.run(profiles.validate(question, given))
    found = records.load(folder, question)
    assert len(found) > 10
    return found[found["metric"] != "seconds"].reset_index(drop=True)


@pytest.mark.parametrize("question", list(profiles.DEFAULTS))
def test_a_chapter_gives_the_same_records_again(question, tmp_path, monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = rows_of(question, tmp_path / "first", monkeypatch)
        torch.rand(7)  # what was drawn before a chapter must not matter
        again = rows_of(question, tmp_path / "again", monkeypatch)
        torch.set_num_threads(2)
        threads = rows_of(question, tmp_path / "threads", monkeypatch)
    finally:
        torch.set_num_threads(before)
    assert first.to_csv() == again.to_csv()
    assert records.read(tmp_path / "first" / f"{question}.csv")["value"].notna().any()
    identity = [*records.TEXT, "n", "seed"]
    pairs = first.merge(threads, on=identity, suffixes=("", "_threads"))  # weights, and so run_ids, may differ
    assert len(pairs) == len(first) == len(threads)
    for one in pairs.itertuples():
        if one.metric != "mcnemar_p":
            allowed = max(ANSWERS / max(one.n, 1), MEANS * abs(one.value))
            assert abs(one.value - one.value_threads) <= allowed, one
