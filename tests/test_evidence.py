"""The committed records: one run, one set of numbers; a commit that holds their code; verdicts that others compute."""

import ast
import math
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
import recomputed

from blurnb import provenance, records
from blurnb.recognition import datasets, label_maps
from blurnb.report import verdicts
from blurnb.study import profiles

ROOT = Path(__file__).parents[1].joinpath(*provenance.REFERENCE)
FILES = records.tables(ROOT)
ANSWERS = [path for path in FILES if path.stem != "speed"]
NAMES = [path.relative_to(ROOT).as_posix() for path in ANSWERS]

# Runs from a tree with changes that no commit held. The list may only shrink: a run that is replaced leaves it.
DIRTY = {
    # Tiny ImageNet in rq2, rq3 and rq4, which a run on validation photographs replaces
    "photographs/rq2": """
        04bfc37b46a1 0ab762b3ab0e 1d83aec6fa9d 218a5a685607 3129851db343 362286872abf 396dc3750a6a 4c765c5be392
        4fe42bae240e 54dd73d1548d 62637cc01ae7 72ff2dcb02e5 75183cd51836 83df9ecff84d 87e8fb54352e 8aa623472f29
        9770addae5c2 a0767c5bf6db c4bf236985d4 cdc80e970d35""",
    "photographs/rq3": """
        0ab762b3ab0e 1bda111eca61 218a5a685607 362286872abf 54dd73d1548d 62637cc01ae7 8aa623472f29 a0767c5bf6db""",
    "photographs/rq4": "d193e64b117a",
    # benchmarks/blur.py without --sweep, which wants a machine that nobody else uses
    "photographs/speed": "6757f9a8e663",
}


@cache
def read(path: Path):
    return records.read(path, with_manifests=True)


def test_no_run_was_computed_from_changes_that_no_commit_holds():
    found = defaultdict(set)
    for path in FILES:
        for run, notes in read(path)[1].items():
            if notes["git_commit"].endswith("-dirty") or notes["git_commit"] == "unknown":
                found[path.relative_to(ROOT).with_suffix("").as_posix()].add(run)
    assert found == {name: set(runs.split()) for name, runs in DIRTY.items()}


def test_one_run_has_one_set_of_numbers():
    asked = [name for name in records.key(records.ANSWERS) if name not in ("experiment", "profile")]
    said, disagree, decided = defaultdict(set), set(), {}
    for path in ANSWERS:
        rows, manifests = read(path)
        for question, value in zip(rows[asked].astype(object).fillna("").itertuples(index=False), rows["value"]):
            said[question].add(value)
        for run, notes in manifests.items():
            if decided.setdefault(run, notes["decided"]) != notes["decided"]:
                disagree.add(run)
    disagree |= {question.run_id for question, values in said.items() if len(values) > 1}
    assert disagree == set()


@pytest.mark.parametrize("path", ANSWERS, ids=NAMES)
def test_every_row_says_how_it_was_shown_and_answered(path):
    rows, _ = read(path)
    assert rows["frame"].notna().all()
    assert (rows["precision"] != "")[~rows["metric"].isin(["psnr", "kernel_sd"])].all()
    for name in ("resample", "border"):
        assert (rows[name] != "")[rows["metric"] != "kernel_sd"].all()


@pytest.mark.parametrize("path", ANSWERS, ids=NAMES)
def test_no_result_is_of_the_images_that_recipes_are_chosen_on(path):
    rows, _ = read(path)
    chosen = path.parent.name == "choices"
    named = rows["dataset"].isin([*datasets.NAMES, *label_maps.NAMES])
    assert (named != chosen).all()
    assert set(rows["experiment"]) == {path.stem}
    assert path.stem.endswith("-validation") == chosen
    assert chosen or path.parent.name in profiles.NAMES


# ------------------------------------------------------------------------------------------------ recomputed


def test_who_recomputes_takes_nothing_from_the_package():
    tree = ast.parse(Path(recomputed.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in imports for alias in node.names} == {"numpy", "pandas"}


@pytest.mark.parametrize(
    "claim, compute, split", [(1, "degradation", "network"), (4, "confidence", "network"), (7, "deblurring", "dataset")]
)
def test_an_independent_script_comes_to_the_same_verdicts(claim, compute, split):
    path = ROOT / "photographs" / f"rq{ {1: 1, 4: 2, 7: 4}[claim] }.csv"
    judged = [one for one in verdicts.judge(claim, read(path)[0], "photographs") if one.verdict != verdicts.NOT_RUN]
    table = recomputed.read(path)
    told = {name: part for name, part in table.groupby(split) if "mix" in set(part["training"]) or claim == 1}
    assert len(judged) == len(told) >= 1
    for one in judged:
        (name,) = (name for name in told if name in one.evidence)
        word, *effect = getattr(recomputed, compute)(told[name])
        assert word == one.verdict
        assert effect == pytest.approx([one.effect, one.low, one.high])
        assert not any(map(math.isnan, effect))
