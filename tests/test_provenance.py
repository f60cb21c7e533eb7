"""Where numbers come from: addresses, seals, manifests, and the commit that reference records must have."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from blurnb import intervals, metrics, provenance
from blurnb.errors import UserError
from blurnb.optics import transforms


def test_the_address_ignores_the_order_of_keys_and_nothing_else():
    assert provenance.address({"a": 1, "b": [1, 2]}) == provenance.address({"b": [1, 2], "a": 1})
    assert provenance.address({"a": 1}) != provenance.address({"a": 1.5})
    assert provenance.address({"a": [1, 2]}) != provenance.address({"a": [2, 1]})
    assert provenance.address({"a": "1"}) != provenance.address({"a": 1})
    assert re.fullmatch("[0-9a-f]{12}", provenance.address({"a": 1}))
    with pytest.raises(ValueError):
        provenance.address({"a": float("nan")})


def test_a_seal_is_that_of_the_rest_and_sealing_again_changes_nothing():
    notes = provenance.sealed({"a": 1, "b": [1, None]})
    assert provenance.is_sealed(notes)
    assert provenance.sealed(notes) == notes
    assert provenance.is_sealed(json.loads(json.dumps(notes)))
    assert not provenance.is_sealed(notes | {"a": 2})
    assert not provenance.is_sealed({"a": 1})
    assert not provenance.is_sealed({name: value for name, value in notes.items() if name != "b"})


def test_versions_are_by_module():
    assert provenance.versions(intervals) == {"intervals": intervals.VERSION}
    with pytest.raises(AttributeError):
        provenance.versions(metrics)


def test_every_module_with_a_version_is_known_by_its_file():
    """Whatever stands behind the number, as a comment does."""
    found = provenance.all_versions()
    stated = [path for path in Path(provenance.__file__).parent.rglob("*.py") if "\nVERSION = " in path.read_text()]
    assert len(found) == len(stated)
    assert found["optics/transforms.py"] == transforms.VERSION


def test_a_manifest_says_what_decided_and_what_surrounded_the_run():
    notes = json.loads(json.dumps(provenance.manifest({"seed": 3}, device="cpu")))
    assert notes["decided"] == {"seed": 3}
    assert notes["device"] == "cpu"
    assert {"python", *provenance.PACKAGES} == set(notes["versions"])
    assert {"git_commit", "date", "machine"} <= set(notes)
    assert set(notes["machine"]) == {"system", "architecture", "processors"}


# ------------------------------------------------------------------------------------------------ the working tree


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository that holds a package and a record, of which the package says it is ours."""

    def git(*arguments):
        who = ("-c", "user.name=x", "-c", "user.email=x@y")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    for name in ("blurnb/provenance.py", "book/records/smoke/rq1.csv", "book/intro.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "blurnb" / "provenance.py"))
    return tmp_path


def test_a_clean_tree_has_the_name_of_its_commit(tree):
    assert re.fullmatch("[0-9a-f]{12}", provenance.commit())
    (tree / "untracked.txt").touch()
    assert not provenance.commit().endswith("-dirty")


@pytest.mark.parametrize("changed, dirty", [("book/records/smoke/rq1.csv", False), ("book/intro.md", True)])
def test_changed_records_are_no_change_and_any_other_file_is(tree, changed, dirty):
    (tree / changed).write_text("2")
    assert provenance.commit().endswith("-dirty") == dirty


def test_reference_records_are_not_written_from_a_changed_tree(tree):
    records = tree / "book" / "records" / "smoke"
    provenance.demand_clean(records)
    (records / "rq1.csv").write_text("2")
    provenance.demand_clean(records)  # a chapter was run before this one
    (tree / "blurnb" / "provenance.py").write_text("2")
    for folder in (records, tree / "book" / "records", tree / "book" / "x" / ".." / "records"):
        with pytest.raises(UserError, match=r"holds reference records, and the working tree has changes"):
            provenance.demand_clean(folder)
    for folder in (tree / "out", tree / "records", tree / "book"):
        provenance.demand_clean(folder)


def test_without_a_repository_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
    monkeypatch.setattr(provenance.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError))
    assert provenance.commit() == "unknown"
    provenance.demand_clean(tmp_path / "book" / "records")
