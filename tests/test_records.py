"""Records: what is written is what is read, parts merge to the whole, and nothing damaged is read as whole."""

import csv
import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import row

from blurnb import records
from blurnb.errors import UserError
from blurnb.metrics import METRICS, STATISTICS

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


# ------------------------------------------------------------------------------------------------ round trip

FINITE = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)  # one zero, not two
CELLS = {
    "text": st.one_of(
        st.text(st.characters(), max_size=6),  # zero bytes, new lines, lone halves of a pair: names may hold anything
        st.sampled_from(
            ['fork vs spoon, "x"', "=1+1", "'quoted'", "@x", "-1", "a\nb\r\nc", "NA", "nan", "007", "\udc80"]
        ),
    ),
    "whole": st.one_of(st.none(), st.integers(0, 2**53)),
    "number": st.one_of(FINITE, st.sampled_from([math.nan, math.inf])),
    "yes": st.sampled_from([None, True, False]),
}
NAMED = {"metric": st.sampled_from(sorted(METRICS)), "statistic": st.sampled_from(sorted(STATISTICS))}
NAMED |= {"run_id": st.sampled_from(["0", "00", "1e5", "abc"]), "n": st.integers(0, 2**53)}


def _anything(columns: dict) -> st.SearchStrategy:
    one = {name: NAMED.get(name, CELLS[kind]) for name, kind in columns.items()}
    fields = st.fixed_dictionaries(one).map(_unlike_itself)
    named = "kernel_kind" if "benchmark" in columns else "weights"
    return st.lists(fields, max_size=9).map(lambda some: [one | {named: f"{i}"} for i, one in enumerate(some)])


def _unlike_itself(one: dict) -> dict:
    same = [name for name in records.VERSUS if name in one and one[name] == one.get(name[7:])]
    return one | dict.fromkeys(same)


ROWS = st.one_of(_anything(records.ANSWERS), _anything(records.SPEED))


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


def test_what_lies_beyond_all_that_was_tested_is_infinite_and_stays(tmp_path):
    beyond = [row(metric="half_radius", value=math.inf, ci_low=7.5, ci_high=math.inf, run_id="run")]
    for _ in range(2):
        records.write(tmp_path / "rq1.csv", beyond, {"run": NOTES})
        found = records.read(tmp_path / "rq1.csv")
        assert found[["value", "ci_low", "ci_high"]].to_numpy().tolist() == [[math.inf, 7.5, math.inf]]


def test_load_gathers_the_files_of_an_experiment(tmp_path):
    records.write(tmp_path / "a" / "rq1.csv", rows(2, "one"), {"one": NOTES})
    records.write(tmp_path / "b" / "rq1.csv", rows(2, "two"), {"two": NOTES})
    records.write(tmp_path / "rq2.csv", rows(1, "three", experiment="rq2"), {"three": NOTES})
    speed = {"experiment": "speed", "benchmark": "blur", "metric": "seconds", "value": 1.0, "run_id": "four"}
    records.write(tmp_path / "speed.csv", [records.row(**speed)], {"four": NOTES})
    assert len(records.load(tmp_path, "rq1")) == 4
    found, notes = records.load(tmp_path, with_manifests=True)
    assert (len(found), set(notes)) == (5, {"one", "two", "three"})
    assert records.load(tmp_path, "speed")["benchmark"].tolist() == ["blur"]
    assert records.load(tmp_path / "absent").empty


def test_one_query_selects():
    one = {"metric": "top1", "training": "mix"}
    some = [row(**one), row(versus_training="sharp", **one), row(blur="D8", versus_training="sharp", **one)]
    found = records.table([*some, row(statistic="p_value", blur="D8", versus_training="sharp", **one)])
    asked = "metric == 'top1' and statistic == 'difference' and training == 'mix' and versus_training == 'sharp'"
    assert found.query(f"{asked} and blur == 'D8'")["blur"].tolist() == ["D8"]
    assert len(found.query(asked)) == 2
    assert len(found.query("not flip and frame == 512 and noise_sd == 0")) == 4


# ------------------------------------------------------------------------------------------------ names and columns


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "'quoted'", "''"])
def test_what_a_spreadsheet_would_run_has_an_apostrophe_in_the_file_alone(tmp_path, name):
    path = tmp_path / "rq1.csv"
    records.write(path, rows(1, part_kind="class", part=name), {"run": NOTES})
    (cell,) = pd.read_csv(path, dtype=str)["part"]
    assert cell == f"'{name}"
    assert records.read(path)["part"].tolist() == [name]


def test_names_come_back_as_themselves(tmp_path):
    path = tmp_path / "rq1.csv"
    names = ['fork vs spoon, "x"', "class, frame 9", "a\nb", "a\r\nb", "\x00", "\udc80 half a pair", "é", " x ", "x'"]
    for place, name in enumerate(names):
        records.write(path, rows(1, start=place, part_kind="class", part=name), {"run": NOTES})
    found = records.read(path)
    assert sorted(zip(found["blur"], found["part"])) == [(f"D{i}", name) for i, name in enumerate(names)]


FORMULA = "=+-@\t\r\n＝＋－＠"


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.text("=+-@＝\t\r\n;,'\"a1 ", max_size=8) | st.text(max_size=8), min_size=1, max_size=30, unique=True)
)
def test_no_name_begins_a_formula_where_a_spreadsheet_may_cut_and_all_come_back(names):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rq1.csv"
        fields = [row(blur="D8", value=0.5, n=9, run_id="run", part_kind="class", part=name) for name in names]
        records.write(path, fields, {"run": NOTES})
        assert sorted(records.read(path)["part"]) == sorted(names)
        with open(path, newline="", encoding="utf-8", errors="surrogatepass") as file:
            cells = [cell for line in csv.DictReader(file) for cell in (line["part"], line["network"])]
        assert len(cells) == 2 * len(names)
        assert not [cell for cell in cells for piece in re.split("[;,\t\r\n]", cell) if piece and piece[0] in FORMULA]


def test_numbers_stay_numbers_below_zero_too(tmp_path):
    records.write(tmp_path / "rq1.csv", [row(blur="D8", value=-0.25, ci_low=-1e-9, run_id="run")], {"run": NOTES})
    found = pd.read_csv(tmp_path / "rq1.csv")
    assert (found["value"][0], found["ci_low"][0]) == (-0.25, -1e-9)


def without(path: Path, column: str) -> None:
    """Rewrite the file as it was before `column` existed."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    place = lines[0].index(column)
    assert {line[place] for line in lines[1:]} == {""}
    path.write_text("".join(",".join(line[:place] + line[place + 1 :]) + "\n" for line in lines))


@pytest.mark.parametrize("column", ["versus_method", "train_seed", "folder", "versus_per_scale"])
def test_a_column_that_an_old_file_does_not_know_is_empty_and_keeps_its_digest(written, column):
    before, notes = records.read(written, with_manifests=True)
    whole = written.read_bytes()
    without(written, column)
    found, old = records.read(written, with_manifests=True)
    pd.testing.assert_frame_equal(found, before)
    assert old == notes
    records.write(written, [], {})
    assert written.read_bytes() == whole


@pytest.mark.parametrize(
    "fields",
    [{"versus_blur": "D1", "blur": "D1"}, {"versus_training": "sharp"}, {"versus_per_scale": False},
     {"versus_frozen": "none"}, {"versus_scale": "256"}, {"versus_method": "none"}],
)  # fmt: skip
def test_a_comparison_with_itself_is_refused(fields):
    with pytest.raises(UserError, match="compared with itself: versus_"):
        records.table([row(**fields)])


def test_a_statistic_that_there_is_not_is_refused():
    with pytest.raises(UserError, match="statistic 'change' is none of estimate, difference, kept, recovered, p_value"):
        records.table([row(statistic="change")])


def test_what_tells_records_apart_is_all_but_the_number_its_interval_n_and_the_count_of_seeds():
    assert set(records.ANSWERS) - set(records.key(records.ANSWERS)) == {
        "value",
        "ci_low",
        "ci_high",
        "n",
        "train_seeds",
    }
    assert set(records.SPEED) - set(records.key(records.SPEED)) == {"value"}  # n is how many a measurement took


def test_the_committed_records_are_read_and_would_be_written_as_they_are(tmp_path):
    folder = records.committed("photographs")
    for path in records.tables(folder):
        records.merge([path], tmp_path / path.name)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        assert (tmp_path / path.name).with_suffix(".json").read_bytes() == path.with_suffix(".json").read_bytes()


def test_records_of_any_chapter_are_found_and_other_tables_passed_over(tmp_path):
    records.write(tmp_path / "new" / "rq7.csv", [row(experiment="rq7")], {row()["run_id"]: {"decided": {}}})
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    assert [path.name for path in records.tables(tmp_path)] == ["rq7.csv"]
    assert set(records.load(tmp_path)["experiment"]) == {"rq7"}
    assert records.load(tmp_path, "rq1").empty


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
    with pytest.raises(UserError, match=r"two different values.*delete the rq1\.csv.*or choose another output_dir$"):
        records.write(written, [rows(1)[0] | {"value": 0.9}], {"run": NOTES})
    assert written.read_bytes() == before


# ------------------------------------------------------------------------------------------------ superseded runs


def test_a_run_that_is_answered_again_leaves_with_its_manifest(tmp_path):
    path, other = tmp_path / "rq1.csv", {"network": "other"}
    records.write(path, rows(3, network="net") + rows(1, "b", **other), {"run": NOTES, "b": NOTES})
    with pytest.warns(UserWarning, match="rq1.csv: run run is superseded by later, .*choose another output_dir"):
        records.write(path, [rows(1, "later", network="net")[0] | {"value": 0.9, "n": 7}], {"later": NOTES})
    frame, notes = records.read(path, with_manifests=True)
    assert dict(zip(frame["run_id"], frame["value"])) == {"b": 1 / 3, "later": 0.9}
    assert set(notes) == {"b", "later"}


@pytest.mark.parametrize("changes", [{"seed": 1}, {"train_seed": 1}, {"weights": "none"}, {"folder": "other"}])
def test_what_a_column_tells_apart_stays(tmp_path, changes):
    first, second = (
        [one | {"network": "net"} | more for one in rows(2, run)] for run, more in (("a", {}), ("b", changes))
    )
    records.write(tmp_path / "rq1.csv", first, {"a": NOTES})
    records.write(tmp_path / "rq1.csv", second, {"b": NOTES})
    assert len(records.read(tmp_path / "rq1.csv")) == 4


def test_what_is_of_no_network_leaves_alone(tmp_path):
    """The sharpness of a restored image is recorded beside each network's answers."""
    for run in ("a", "b"):
        some = [*rows(1, run, network=run), *rows(1, run, start=4, network="")]
        records.write(tmp_path / "rq4.csv", some, {run: NOTES})
    frame = records.read(tmp_path / "rq4.csv")
    assert sorted(zip(frame["network"], frame["run_id"])) == [("", "b"), ("a", "a"), ("b", "b")]


def test_runs_that_are_merged_at_once_supersede_what_was_there_and_not_each_other(tmp_path):
    for run in ("old", "a", "b"):
        records.write(tmp_path / run / "rq2.csv", rows(1, run, network="net"), {run: NOTES})
    records.merge([tmp_path / "old" / "rq2.csv"], tmp_path / "rq2.csv")
    with pytest.warns(UserWarning, match="run old is superseded by a, b"):
        found = records.merge([tmp_path / run / "rq2.csv" for run in ("a", "b")], tmp_path / "rq2.csv")
    assert found["run_id"].tolist() == ["a", "b"]


def test_a_run_without_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match="no manifest"):
        records.write(tmp_path / "rq1.csv", rows(1), {"other": NOTES})


def test_records_are_csv_files(tmp_path):
    with pytest.raises(UserError, match="'rq1.json'"):
        records.write(tmp_path / "rq1.json", rows(1), {"run": NOTES})
