"""Records: what is written is what is read, parts merge to the whole, and nothing damaged is read as whole."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurnb import records
from blurnb.errors import UserError

NOTES = {"parameters": {"seed": 0}}


def rows(count: int, run_id: str = "run", start: int = 0, **fields) -> list[dict]:
    return [
        records.row(
            question="rq1", dataset="scenes", network="net", training="sharp", scale="64", blur=f"D{i}",
            view="dense", metric="top1", value=1 / (3 + i), ci_low=0.1, ci_high=0.7, n=10 + i, run_id=run_id,
            **fields,
        )
        for i in range(start, start + count)
    ]  # fmt: skip


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "rq1.csv"
    records.write(path, rows(3), {"run": NOTES})
    return path


# ------------------------------------------------------------------------------------------------ round trip

FINITE = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)  # one zero, not two
NUMBER = st.one_of(FINITE, st.just(math.nan))
WORD = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
ROW = st.fixed_dictionaries(
    {
        "question": st.sampled_from(["rq1", "rq5"]),
        "dataset": WORD,
        "network": WORD,
        "training": st.sampled_from(["", "sharp", "mix, 2 blocks frozen", '"quoted"', "NA", "nan", "1"]),
        "scale": st.sampled_from(["128", "256+512", "007"]),
        "view": WORD,
        "metric": st.sampled_from(sorted(records.METRICS)),
        "value": NUMBER,
        "ci_low": NUMBER,
        "ci_high": NUMBER,
        "n": st.integers(0, 2**53),
        "seed": st.integers(0, 2**31),
        "profile": WORD,
        "run_id": st.sampled_from(["0", "00", "1e5", "abc"]),
    }
)
ROWS = st.lists(ROW, max_size=12).map(lambda some: [{"blur": f"D{i}", **one} for i, one in enumerate(some)])


@settings(max_examples=15, deadline=None)
@given(ROWS)
def test_what_is_written_is_what_is_read(some):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rq1.csv"
        given_rows = [records.row(**one) for one in some]
        records.write(path, given_rows, {one["run_id"]: NOTES for one in some})
        pd.testing.assert_frame_equal(records.read(path), records.table(given_rows), check_exact=True)


@settings(max_examples=8, deadline=None)
@given(ROWS, st.data())
def test_parts_in_any_order_merge_to_the_bytes_of_one_write(some, data):
    notes = {one["run_id"]: NOTES for one in some}
    order = data.draw(st.permutations(some))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(some)), min_size=2, max_size=2)))
    parts = [order[: cuts[0]], order[cuts[0] : cuts[1]], order[cuts[0] :]]  # the last two overlap
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = Path(folder) / "whole.csv", []
        records.write(whole, [records.row(**one) for one in some], notes)
        for place, part in enumerate(parts):
            pieces.append(Path(folder) / f"part{place}.csv")
            records.write(pieces[-1], [records.row(**one) for one in part], notes)
            records.write(Path(folder) / "grown.csv", [records.row(**one) for one in part], notes)
        records.merge(pieces, Path(folder) / "merged.csv")
        for name in ("grown", "merged"):
            assert (Path(folder) / f"{name}.csv").read_bytes() == whole.read_bytes()
            assert (Path(folder) / f"{name}.json").read_bytes() == whole.with_suffix(".json").read_bytes()


def test_every_bit_of_a_float_survives(tmp_path):
    values = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1 / 3, -0.0]
    records.write(tmp_path / "rq1.csv", [one | {"value": v} for one, v in zip(rows(5), values)], {"run": NOTES})
    found = records.read(tmp_path / "rq1.csv")
    assert np.array_equal(found["value"].to_numpy().view(np.uint64), np.array(values).view(np.uint64))


def test_writing_the_same_rows_again_changes_nothing(written):
    before = written.read_bytes()
    records.write(written, rows(3), {"run": NOTES})
    assert written.read_bytes() == before


def test_the_address_ignores_the_order_of_keys_and_nothing_else():
    assert records.address({"a": 1, "b": [1, 2]}) == records.address({"b": [1, 2], "a": 1})
    assert records.address({"a": 1}) != records.address({"a": 1.5})
    assert records.address({"a": [1, 2]}) != records.address({"a": [2, 1]})


def test_load_gathers_the_files_of_a_question(tmp_path):
    records.write(tmp_path / "a" / "rq1.csv", rows(2, "one"), {"one": NOTES})
    records.write(tmp_path / "b" / "rq1_more.csv", rows(2, "two"), {"two": NOTES})
    records.write(tmp_path / "rq2.csv", rows(1, "three"), {"three": NOTES})
    assert len(records.load(tmp_path, "rq1")) == 4
    assert len(records.load(tmp_path)) == 5
    assert set(records.manifests(tmp_path)) == {"one", "two", "three"}
    assert records.load(tmp_path / "absent").empty


# ------------------------------------------------------------------------------------------------ damage


def damage_digit(path):
    text = path.read_text()
    path.write_text(text.replace("0.25", "0.35", 1))


def damage_count(path):
    path.write_text(path.read_text().replace(",11,", ",12,", 1))


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


# ------------------------------------------------------------------------------------------------ refusals


def test_an_unknown_field_is_refused():
    with pytest.raises(UserError, match="'metrik'"):
        records.row(metrik="top1")


def test_an_unknown_metric_is_refused(tmp_path):
    with pytest.raises(UserError, match="'top2'"):
        records.write(tmp_path / "rq1.csv", [rows(1)[0] | {"metric": "top2"}], {"run": NOTES})
    assert list(tmp_path.glob("rq1*")) == []


def test_two_values_for_one_key_are_refused(written):
    before = written.read_bytes()
    with pytest.raises(UserError, match="two different values"):
        records.write(written, [rows(1)[0] | {"value": 0.9}], {"run": NOTES})
    assert written.read_bytes() == before


def test_the_same_condition_of_another_run_is_no_clash(written):
    records.write(written, [rows(1, "later")[0] | {"value": 0.9}], {"later": NOTES})
    assert len(records.read(written)) == 4


def test_a_run_without_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match="no manifest"):
        records.write(tmp_path / "rq1.csv", rows(1), {"other": NOTES})


def test_records_are_csv_files(tmp_path):
    with pytest.raises(UserError, match="'rq1.json'"):
        records.write(tmp_path / "rq1.json", rows(1), {"run": NOTES})


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


def test_write_whole_names_what_it_cannot_write(forbidden):
    for path in (forbidden / "answers.json", forbidden / "new" / "answers.json"):
        with pytest.raises(UserError, match="cannot write .*answers.json: Permission denied"):
            records.write_whole(path, "{}")


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
    one = records.row(question="rq1", metric="top1", blur=f"D{i + 1}", network=name, value=i / 7, run_id=name)
    records.write(path, [one], {name: {"parameters": {"name": name}}})
"""


def test_two_processes_writing_at_once_lose_no_row(tmp_path):
    path = tmp_path / "rq1.csv"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("left", "right")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found, notes = records.read(path, with_manifests=True)
    assert found.groupby("network").size().to_dict() == {"left": 12, "right": 12}
    assert set(notes) == {"left", "right"}


def test_a_manifest_says_what_surrounded_the_run():
    notes = json.loads(json.dumps(records.manifest({"seed": 3}, device="cpu")))
    assert notes["parameters"] == {"seed": 3}
    assert notes["device"] == "cpu"
    assert {"python", "torch", "blurnb"} <= set(notes["versions"])
    assert {"git_commit", "date", "machine"} <= set(notes)


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
        records.write(path, rows(2, "later"), {"later": NOTES})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9


@pytest.mark.parametrize("count, held", [(1, 3), (2, 5)])
def test_a_writer_that_is_killed_between_its_renames_loses_nothing(written, count, held):
    killed_at_rename(written, count)
    assert len(records.read(written)) == held
    records.write(written, rows(2, "later"), {"later": NOTES})
    assert len(records.read(written)) == 5
    assert [path.name for path in written.parent.glob(".*.new")] == []


def test_a_manifest_that_was_altered_is_noticed(written):
    beside = written.with_suffix(".json")
    beside.write_text(beside.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match="the manifest of run run was altered"):
        records.read(written)


def test_a_manifest_from_before_seals_is_read(written):
    beside = written.with_suffix(".json")
    notes = json.loads(beside.read_text())
    del notes["run"]["seal"]
    beside.write_text(json.dumps(notes))
    assert len(records.read(written)) == 3


def test_a_reader_sees_one_state_or_the_next_while_a_writer_renames(written, monkeypatch):
    real, seen = os.replace, []

    def read_in_between(*arguments):
        seen.append(len(records.read(written)))
        real(*arguments)

    monkeypatch.setattr(os, "replace", read_in_between)
    records.write(written, rows(2, "later"), {"later": NOTES})
    assert seen == [3, 5]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "weights [1].bin"
    (tmp_path / ".weights [1].bin.x3a.new").write_bytes(bytes(9))
    (tmp_path / ".other.bin.x3a.new").write_bytes(bytes(9))
    records.forget_unfinished(path)
    assert [one.name for one in tmp_path.iterdir()] == [".other.bin.x3a.new"]
