"""Stores: what is made once is found whole, what is damaged is made again, and no two processes make it twice."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from blurnb.errors import UserError
from blurnb.study import stores


def test_what_is_computed_once_is_found_again_unless_it_is_damaged(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"rows": [[1, 0.1], (2, 0.2)]}

    facts = {"layer": "conv1_1"}
    results = [stores.once(tmp_path, "layers", facts, compute) for _ in range(2)]
    assert results == [{"rows": [[1, 0.1], [2, 0.2]]}] * 2
    assert len(calls) == 1
    (kept,) = (tmp_path / "layers").glob("*.json")
    kept.write_text(kept.read_text().replace("0.2", "0.3"))
    assert stores.once(tmp_path, "layers", facts, compute) == results[0]
    assert len(calls) == 2


def test_of_two_processes_that_want_one_result_one_computes(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom blurnb.study import stores\n"
        "def compute():\n    time.sleep(0.5)\n    return time.perf_counter_ns()\n"
        "print(stores.once(sys.argv[1], 'seconds', {'a': 1}, compute))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, other = (process.communicate(timeout=120)[0] for process in both)
    assert one == other != ""


def test_a_store_that_may_not_be_entered_is_one_line():
    folder = Path(tempfile.mkdtemp())
    (folder / "answers").mkdir(mode=0)
    folder.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="cannot write .*Permission denied"):
            stores.once(folder / "answers", "layers", {"a": 1}, dict)
    finally:
        if user == 0:
            os.seteuid(user)
        shutil.rmtree(folder)


# ------------------------------------------------------------------------------------------------ weights


def trained(folder: Path) -> tuple[dict, dict]:
    return {"weight": torch.arange(3.0)}, {"loss": [1.0]}


def forbidden(folder: Path) -> tuple[dict, dict]:
    raise AssertionError("this was made before")


def test_weights_are_made_once_and_told_with_what_decided_them(tmp_path):
    finished, about = stores.stored(tmp_path, {"seed": 0}, trained)
    assert about["facts"] == {"seed": 0}
    assert about["loss"] == [1.0]
    assert about["processes"] == 1
    assert Path(about["weights"]) == finished
    assert stores.stored(tmp_path, {"seed": 0}, forbidden) == (finished, about)
    with pytest.raises(AssertionError, match="made before"):
        stores.stored(tmp_path, {"seed": 1}, forbidden)


def test_the_condition_of_a_training_is_told(tmp_path):
    finished, _ = stores.stored(tmp_path, {"seed": 0}, trained)
    folder, told = finished.parent, finished.with_name("manifest.json")
    assert stores.condition(folder) == "finished"
    whole = told.read_text()
    for altered in (whole.replace("1.0", "2.0"), whole.replace('"seal"', '"feel"'), whole[:40], "[]", "null"):
        told.write_text(altered)
        assert stores.condition(folder) == "damaged", altered
    told.unlink()
    assert stores.condition(folder) == "empty"
    (folder / "checkpoint.pt").touch()
    assert stores.condition(folder) == "unfinished"


def test_a_manifest_without_a_seal_is_not_believed(tmp_path):
    finished, about = stores.stored(tmp_path, {"seed": 0}, trained)
    told = finished.with_name("manifest.json")
    notes = json.loads(told.read_text())
    del notes["seal"]
    told.write_text(json.dumps(notes))
    with pytest.raises(AssertionError, match="made before"):
        stores.stored(tmp_path, {"seed": 0}, forbidden)
    assert stores.stored(tmp_path, {"seed": 0}, trained) == (finished, about)
