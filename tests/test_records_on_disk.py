"""Records: nothing damaged is read as whole, and neither a full disk nor a killed writer loses any."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from planted import row

from blurnb import provenance, records
from blurnb.errors import UserError

NOTES = {"decided": {"seed": 0}}


def rows(count: int, run_id: str = "run", start: int = 0, **fields) -> list[dict]:
    return [
        row(blur=f"D{i}", value=1 / (3 + i), ci_low=0.1, ci_high=0.7, n=10 + i, run_id=run_id, **fields)
        for i in range(start, start + count)
    ]


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "rq1.csv"
    records.write(path, rows(3), {"run": NOTES})
    return path


# ------------------------------------------------------------------------------------------------ damage


def damage_digit(path):
    text = path.read_text()
    path.write_text(text.replace("0.25", "0.35", 1))


def damage_count(path):
    path.write_text(path.read_text().replace(",11,", ",12,", 1))


def damage_truth(path):
    path.write_text(path.read_text().replace(",false,", ",perhaps,", 1))


def damage_column_twice(path):
    path.write_text(path.read_text().replace("ci_low,ci_high", "ci_low,ci_low", 1))


def damage_line_short(path):
    path.write_text(path.read_text().replace(",run\n", "\n", 1))


def damage_tail(path):
    path.write_bytes(path.read_bytes()[:-9])


def damage_row(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def damage_header(path):
    path.write_text(path.read_text().replace("metric", "measure", 1))


def damage_empty(path):
    path.write_bytes(b"")


def damage_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def damage_manifest_gone(path):
    path.with_suffix(".json").unlink()


def damage_manifest_half(path):
    beside = path.with_suffix(".json")
    beside.write_bytes(beside.read_bytes()[:40])


def damage_manifest_of_another(path):
    records.write(path.parent / "other.csv", rows(4), {"run": NOTES})
    shutil.copy(path.parent / "other.json", path.with_suffix(".json"))


def damage_manifest_is_a_list(path):
    path.with_suffix(".json").write_text('["run"]')


def damage_manifest_entry_is_text(path):
    path.with_suffix(".json").write_text('{"run": "three rows"}')


def damage_is_a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [f for name, f in sorted(globals().items()) if name.startswith("damage_")])
def test_damage_is_noticed_when_read(written, damage):
    damage(written)
    with pytest.raises(UserError) as caught:
        records.read(written)
    assert "rq1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_undamaged_file_reads(written):  # the control of the test above
    assert len(records.read(written)) == 3


@pytest.mark.parametrize("first", [".csv", ".json"])
def test_a_crash_between_the_two_renames_is_noticed(written, tmp_path, first):
    later = tmp_path / "later" / "rq1.csv"
    records.write(later, rows(5), {"run": NOTES})
    shutil.copy(later.with_suffix(first), written.with_suffix(first))
    with pytest.raises(UserError, match="incomplete or altered"):
        records.read(written)
    with pytest.raises(UserError, match="incomplete or altered"):
        records.write(written, rows(1, "more"), {"more": NOTES})


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="run the notebook"):
        records.read(tmp_path / "rq1.csv")


# ------------------------------------------------------------------------------------------------ bad disks


@pytest.fixture
def forbidden():
    """A folder that this process may not write to (as root, by acting as another user for the time)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    if user == 0:
        os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_one_line(forbidden):
    for path in (forbidden / "rq1.csv", forbidden / "new" / "rq1.csv"):
        with pytest.raises(UserError, match="cannot write .*rq1.csv.*output_dir"):
            records.write(path, rows(1), {"run": NOTES})


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        records.write(tmp_path / "out" / "rq1.csv", rows(1), {"run": NOTES})


def test_a_full_disk_leaves_the_old_records_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a full disk needs the right to mount a small one")
    try:
        records.write(disk / "rq1.csv", rows(3), {"run": NOTES})
        before = (disk / "rq1.csv").read_bytes()
        with pytest.raises(UserError, match="cannot write .*No space left"):
            records.write(disk / "rq1.csv", rows(4000, start=3), {"run": NOTES})
        assert (disk / "rq1.csv").read_bytes() == before
        assert len(records.read(disk / "rq1.csv")) == 3
        assert [p.name for p in disk.iterdir() if "rq1.csv." in p.name and not p.name.endswith(".lock")] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ------------------------------------------------------------------------------------------------ company

WRITER = """
import sys
from blurnb import records
path, name = sys.argv[1:]
for i in range(12):
    one = dict(experiment="rq1", metric="top1", statistic="estimate", blur=f"D{i + 1}", network=name)
    records.write(path, [records.row(**one, value=i / 7, n=7, run_id=name)], {name: {"decided": {"name": name}}})
"""


def test_two_processes_writing_at_once_lose_no_row(tmp_path):
    path = tmp_path / "rq1.csv"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("left", "right")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found, notes = records.read(path, with_manifests=True)
    assert found.groupby("network").size().to_dict() == {"left": 12, "right": 12}
    assert set(notes) == {"left", "right"}


def test_a_rerun_that_differs_by_rounding_keeps_the_first_value(tmp_path):
    first = rows(1)[0] | {"value": 0.5, "n": 100}
    path, notes = tmp_path / "rq1.csv", {first["run_id"]: {}}
    records.write(path, [first], notes)
    records.write(path, [first | {"value": 0.51}], notes)  # one answer of a hundred
    assert records.read(path)["value"].tolist() == [0.5]
    with pytest.raises(UserError, match="two different values"):
        records.write(path, [first | {"value": 0.55}], notes)


# ------------------------------------------------------------------------------------------------ killed writers


def killed_at_rename(path: Path, count: int) -> None:
    """Add a run to `path` in a child that is killed just before its `count`-th rename."""
    child = os.fork()
    if child == 0:
        real, seen = os.replace, [0]

        def last(*arguments):
            seen[0] += 1
            if seen[0] == count:
                os.kill(os.getpid(), 9)
            real(*arguments)

        os.replace = last
        records.write(path, rows(2, "later", start=3), {"later": NOTES})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9


@pytest.mark.parametrize("count, held", [(1, 3), (2, 5)])
def test_a_writer_that_is_killed_between_its_renames_loses_nothing(written, count, held):
    killed_at_rename(written, count)
    assert len(records.read(written)) == held
    records.write(written, rows(2, "later", start=3), {"later": NOTES})
    assert len(records.read(written)) == 5
    assert [path.name for path in written.parent.glob(".*.new")] == []


def test_a_manifest_that_was_altered_is_noticed(written):
    beside = written.with_suffix(".json")
    beside.write_text(beside.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match="the manifest of run run was altered"):
        records.read(written)


def test_a_manifest_without_a_seal_is_noticed(written):
    beside = written.with_suffix(".json")
    notes = json.loads(beside.read_text())
    del notes["run"]["seal"]
    beside.write_text(json.dumps(notes))
    with pytest.raises(UserError, match="the manifest of run run was altered"):
        records.read(written)


def test_digests_and_seals_are_those_of_the_rows_and_the_notes(written):
    _, notes = records.read(written, with_manifests=True)
    assert notes["run"]["rows"] == 3
    assert notes["run"]["seal"] == provenance.sealed(notes["run"])["seal"]
    other = written.with_name("rq2.csv")
    records.write(other, [*reversed(rows(3))], {"run": NOTES})
    assert json.loads(other.with_suffix(".json").read_text()) == notes


def test_a_reader_sees_one_state_or_the_next_while_a_writer_renames(written, monkeypatch):
    real, seen = os.replace, []

    def read_in_between(*arguments):
        seen.append(len(records.read(written)))
        real(*arguments)

    monkeypatch.setattr(os, "replace", read_in_between)
    records.write(written, rows(2, "later", start=3), {"later": NOTES})
    assert seen == [3, 5]
