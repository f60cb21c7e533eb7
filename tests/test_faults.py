"""The campaign runs, sees what is planted, and the book's totals are those of a whole one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blurnb.errors import UserError
from book._tools import fault_totals
from faults import outside

ROOT = Path(__file__).parents[1]


def run(*arguments):
    """The campaign in a process of its own: it forks, and this one has threads."""
    command = [sys.executable, "-m", "faults", "--brief", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_handful_of_kills_loses_nothing(tmp_path):
    done = run("--only", "kill record", "--output", str(tmp_path / "totals.json"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "totals.json").read_text())
    assert found["kills"] >= 4
    assert all(found[name] == 0 for name in fault_totals.MUST_BE_ZERO)


PLANTED = """
import sys
import yaml
from blurnb import cells, records
from blurnb.recognition import datasets
from blurnb.study import values
from faults import __main__ as entry, disturb, jobs

checked, told, writing = records._checked, disturb.told, jobs.writing
calls = []

def told_twice(place):
    calls.append(place)
    return told(place) + told(place)[:1] * (len(calls) > 1)

def once_only(place):
    if (place / "out").exists():
        raise RuntimeError("planted")
    writing(place)

def run(only="kill record"):
    sys.argv = ["faults", "--brief", "--only", only]
    return entry.main()

records._checked = lambda path, rows: checked(path, path)  # what a killed writer staged is not looked for
print("EXIT lost records", run())
records._checked, disturb.told = checked, told_twice
print("EXIT wrong numbers", run())
disturb.told, jobs.JOBS["record writing"] = told, once_only
print("EXIT tracebacks", run())
cells.guarded = str
print("EXIT names", run("outside names"))
values.spelled = yaml.safe_load
print("EXIT parameters", run("outside parameters"))
datasets.readers.subfolders = lambda folder: [path for path in folder.iterdir() if path.is_dir()]
print("EXIT listings", run("outside listings"))
"""


def test_the_campaign_sees_what_is_planted_and_fails():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PLANTED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    for kind in fault_totals.MUST_BE_ZERO:
        assert f"FAILED {kind}" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
        assert f"EXIT {kind} 1" in done.stdout
    for kind, words in (("names", "begins a formula"), ("parameters", "0512 is ["), ("listings", "listing of folder")):
        assert words in done.stdout
        assert f"EXIT {kind} 1" in done.stdout, done.stdout[-2000:]


def test_every_module_of_what_was_found_from_outside_has_parts_brief_and_whole():
    modules = {path.stem for path in (ROOT / "faults" / "outside").glob("*.py")} - {"__init__"}
    for brief in (True, False):
        found = outside.sections(brief, 0)
        assert all(name.startswith("outside ") and callable(part) for name, part in found.items())
        assert {part.func.__module__.rpartition(".")[2] for part in found.values() if hasattr(part, "func")} <= modules
        assert len(found) >= len(modules)


def test_the_books_totals_are_those_of_a_whole_campaign_without_a_failure():
    found = fault_totals.kept(ROOT / fault_totals.FILE)
    assert found["kills"] >= 50
    assert [found[name] for name in fault_totals.MUST_BE_ZERO] == [0, 0, 0]
    assert found["faults injected"] == sum(found["faults by kind"].values())
    assert found["inputs tried"] == sum(found["inputs by kind"].values())
    for job in ("evaluation", "training", "record writing", "book build"):
        assert found["faults by kind"][f"kill -9, {job}"] > 0
    table = fault_totals.totals(file=str(ROOT / fault_totals.FILE))
    assert dict(zip(table[""], table["count"]))["wrong numbers"] == "0"
    assert len(fault_totals.by_kind(of="inputs", file=str(ROOT / fault_totals.FILE))) == len(found["inputs by kind"])


def test_a_missing_campaign_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="run: make campaign"):
        fault_totals.totals(file=str(tmp_path / "absent.json"))
