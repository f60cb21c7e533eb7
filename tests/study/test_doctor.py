"""The doctor: nothing to say about what is well, and one line with a remedy about every planted wrong."""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from blurnb import __main__ as command
from blurnb import provenance, records
from blurnb.recognition import models
from blurnb.study import doctor, journal

ROOT = Path(__file__).parents[2]
ROW = {"experiment": "rq1", "metric": "top1", "statistic": "estimate", "value": 0.5, "n": 2, "run_id": "a"}


def states(findings, subject):
    return [finding.state for finding in findings if finding.subject == subject]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project with one file of records, an empty cache and no data."""
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BLURNB_DATA", raising=False)
    monkeypatch.setattr(models, "weight_files", dict)
    records.write(tmp_path / "book" / "records" / "embedded" / "rq1.csv", [records.row(**ROW)], {"a": {}})
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    return tmp_path


def examined(home, **options):
    return list(doctor.examine(project=home, output_dir=home / "out", **options))


def test_a_sound_place_has_nothing_wrong_and_each_finding_is_one_line(home):
    found = examined(home)
    assert [str(finding) for finding in found if finding.state == "wrong"] == []
    assert all("\n" not in str(finding) for finding in found)
    assert {"versions", "kernel", "memory", "threads", "device", "bf16", "cache", "disk", "data", "weights",
            "records"} <= {finding.subject for finding in found}  # fmt: skip
    assert "1 files are whole, 1 rows" in str(next(f for f in found if f.subject == "records"))


def plant_another_version(home, monkeypatch):
    pins = home / "constraints.txt"
    pins.write_text(pins.read_text().replace("numpy==", "numpy==0."))
    return "versions", "warn", "numpy"


def plant_a_missing_package(home, monkeypatch):
    (home / "constraints.txt").write_text("blurnb-is-not-this==1.0\n")
    monkeypatch.setattr(doctor, "_requirements", lambda: ["blurnb-is-not-this>=1"])
    return "versions", "wrong", "blurnb-is-not-this is not installed"


def plant_no_kernel(home, monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "find_kernel_specs", lambda self: {"ir": "/r"})
    return "kernel", "wrong", "ipykernel install"


def plant_little_disk(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(10_000_000))
    return "disk", "wrong", "0.0 GB free"


def plant_little_memory(home, monkeypatch):
    monkeypatch.setattr(doctor, "_available_memory", lambda: 500_000_000)
    return "memory", "warn", "0.5 GB"


def plant_a_file_for_a_cache(home, monkeypatch):
    (home / "cache").write_text("")
    return "cache", "wrong", "BLURNB_CACHE"


def plant_a_half_trained_network(home, monkeypatch):
    folder = home / "cache" / "networks" / "abc"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"half")
    return "networks", "warn", "goes on"


def plant_damaged_weights_of_ours(home, monkeypatch):
    folder = home / "cache" / "networks" / "abc"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"other")
    notes = {"facts": {}, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(provenance.sealed(notes)))
    return "networks", "warn", "trains it again"


def plant_a_torn_journal(home, monkeypatch):
    path = home / "cache" / "answers" / "abc.jsonl"
    journal.append(path, [("image", {"256|D8": [1]}), ("other", {"256|D8": [1]})])
    path.write_bytes(path.read_bytes()[:-4])
    return "answers", "warn", "1 damaged lines"


def plant_what_a_killed_writer_leaves(home, monkeypatch):
    (home / "cache").mkdir()
    (home / "cache" / ".checkpoint.pt.x1.new").write_bytes(bytes(3_000_000))
    return "cache", "warn", "(3 MB)"


def plant_a_folder_without_data(home, monkeypatch):
    monkeypatch.setenv("BLURNB_DATA", str(home / "absent"))
    return "data", "wrong", "--data-root"


def plant_a_flipped_bit_in_pretrained_weights(home, monkeypatch):
    file = home / "net-57934424.pth"
    file.write_bytes(b"weights")
    monkeypatch.setattr(models, "weight_files", lambda: {file: "57934424"})
    return "weights", "wrong", "does not match its SHA-256"


def plant_an_edited_record(home, monkeypatch):
    path = home / "book" / "records" / "embedded" / "rq1.csv"
    path.write_text(path.read_text().replace("0.5", "0.9"))
    return "records", "wrong", "incomplete or altered"


def plant_an_edited_record_of_doses(home, monkeypatch):
    path = home / "out" / "doses.csv"
    records.write(path, [records.row(**ROW)], {"a": {}})
    path.write_text(path.read_text().replace("0.5", "0.9"))
    return "records", "wrong", "doses.csv"


def plant_an_edited_card(home, monkeypatch):
    path = home / "out" / "card.csv"
    records.write(path, [records.row(**ROW | {"experiment": "card"})], {"a": {}})
    path.write_text(path.read_text().replace("0.5", "0.9"))
    return "records", "wrong", "card.csv"


def plant_an_edited_manifest(home, monkeypatch):
    records.write(home / "out" / "rq2.csv", [records.row(**ROW)], {"a": {"parameters": {"seed": 3}}})
    path = home / "out" / "rq2.json"
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    return "records", "wrong", "was altered"


def plant_a_notebook_that_stopped(home, monkeypatch):
    (home / "out").mkdir()
    (home / "out" / "rq1.running.ipynb").write_text("{}")
    return "notebooks", "warn", "did not run to its end"


PLANTED = [value for name, value in sorted(globals().items()) if name.startswith("plant_")]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_wrong_is_named_with_what_to_do(home, monkeypatch, plant):
    subject, state, words = plant(home, monkeypatch)
    found = [f for f in examined(home) if f.subject == subject and f.state == state]
    assert len(found) == 1
    assert words in str(found[0])
    assert found[0].remedy or "again" in found[0].says
    assert "\n" not in str(found[0])


def test_the_command_exits_with_1_when_something_is_wrong_and_with_0_when_not(home, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda **_: iter([doctor.Check("ok", "a", "b")]))
    monkeypatch.setattr(sys, "argv", ["blurnb", "doctor"])
    command.main()
    assert capsys.readouterr().out == "ok     a: b\n"
    monkeypatch.setattr(doctor, "examine", lambda **_: iter([doctor.Check("wrong", "a", "b", "mend it")]))
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 1
    assert capsys.readouterr().out == "wrong  a: b; mend it\n"


def test_the_folder_that_a_card_is_written_to_is_looked_at(home, monkeypatch):
    """`blurnb card` writes to `card`, where `doctor` without options did not look."""
    monkeypatch.chdir(home)
    for name in ("out", "card"):
        records.write(home / name / f"{name}.csv", [records.row(**ROW)], {"a": {}})
    found = list(doctor.examine(project=home))
    assert "3 files are whole, 3 rows" in str(next(f for f in found if f.subject == "records"))


def test_data_is_found_below_the_root_that_is_given(home):
    (home / "photographs" / "cat").mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (40, 40)).save(home / "photographs" / "cat" / "a.png")
    found = [f for f in examined(home, data_root=str(home / "photographs")) if f.subject == "data"]
    assert [f.state for f in found] == ["ok"]
    assert "folder (1 images)" in found[0].says
