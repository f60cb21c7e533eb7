"""The journal: a line is whole or it is not there, whatever a crash, a bad disk or a second process did."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurnb.errors import UserError
from blurnb.study import journal


def entry(i: int, **more) -> tuple[str, dict]:
    return f"val/n01/image {i}.JPEG", {"256|D8": [i, 0, 0.5, 0.25, 0.25], **more}


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "answers" / "abc.jsonl"
    journal.append(path, [entry(0), entry(1), entry(2)])
    return path


def test_what_is_appended_is_read(path):
    journal.append(path, [entry(1, **{"128|sharp": [7, 1, 0.1, 0.2, 0.3]}), ('日本\n\t".jpg', {"64|D2": [1]})])
    assert journal.read(path) == dict(
        [entry(0), entry(1, **{"128|sharp": [7, 1, 0.1, 0.2, 0.3]}), entry(2), ('日本\n\t".jpg', {"64|D2": [1]})]
    )


def test_absent_and_empty_journals_hold_nothing(tmp_path):
    assert journal.read(tmp_path / "absent.jsonl") == {}
    (tmp_path / "empty.jsonl").touch()
    assert journal.read(tmp_path / "empty.jsonl") == {}
    journal.append(tmp_path / "empty.jsonl", [entry(0)])
    assert journal.read(tmp_path / "empty.jsonl") == dict([entry(0)])
    journal.append(tmp_path / "empty.jsonl", [])
    assert journal.read(tmp_path / "empty.jsonl") == dict([entry(0)])


def test_a_torn_last_line_is_passed_over_and_does_not_spoil_the_next(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        before = journal.read(path)
        assert before == dict([entry(0), entry(1), entry(2)][: whole[:length].count(b"\n")])
        journal.append(path, [entry(3)])
        assert {**before, **dict([entry(3)])}.items() <= journal.read(path).items()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_bit_costs_one_line_and_invents_none(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "abc.jsonl"
        journal.append(path, [entry(0), entry(1), entry(2)])
        damaged = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(damaged)
        found = journal.read(path)
        assert found.items() <= dict([entry(0), entry(1), entry(2)]).items()
        assert len(found) >= 1  # a broken line end costs two lines, any other flip one


def test_lines_of_garbage_are_passed_over(path):
    with open(path, "ab") as file:
        file.write(b"\n\n\t\n{}\nnull\t00000000\n\xff\xfe\t12345678\n" + bytes(300) + b"\n")
    assert journal.read(path) == dict([entry(0), entry(1), entry(2)])


APPENDER = """
import sys
from blurnb.study import journal
for i in range(200):
    journal.append(sys.argv[1], [(f"{sys.argv[2]}-{i}", {"256|D8": [i] * 20_000})])
"""


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    # Lines of many pages: one that grows while another process looks must not be taken for a torn one.
    path = tmp_path / "abc.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", APPENDER, str(path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert journal.read(path) == {f"{name}-{i}": {"256|D8": [i] * 20_000} for name in "ab" for i in range(200)}
    assert path.read_bytes().count(b"\n") == 400


def test_the_path_depends_on_the_facts_and_tells_them(tmp_path):
    one = journal.path_for(tmp_path, {"network": "a", "seed": 0})
    assert one == journal.path_for(tmp_path, {"seed": 0, "network": "a"})
    assert one != journal.path_for(tmp_path, {"network": "a", "seed": 1})
    assert json.loads(one.with_suffix(".json").read_text()) == {"network": "a", "seed": 0}


@pytest.fixture
def forbidden():
    folder = Path(tempfile.mkdtemp())
    journal.append(folder / "locked.jsonl", [entry(0)])
    (folder / "locked.jsonl").chmod(0)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    if user == 0:
        os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_store_without_permission_is_one_line(forbidden):
    with pytest.raises(UserError, match="cannot write .*Permission denied"):
        journal.path_for(forbidden, {"network": "a"})
    with pytest.raises(UserError, match="cannot write .*Permission denied"):
        journal.append(forbidden / "answers" / "abc.jsonl", [entry(0)])
    with pytest.raises(UserError, match="cannot read .*Permission denied"):
        journal.read(forbidden / "locked.jsonl")


def test_a_line_without_content_is_no_answer(path):
    with open(path, "ab") as file:
        file.write(b"\t00000000\n")  # the checksum of nothing is right
    assert journal.read(path) == dict([entry(0), entry(1), entry(2)])
    assert journal.damaged(path) == 1


def test_a_store_that_may_not_be_entered_is_one_line():
    folder = Path(tempfile.mkdtemp())
    (folder / "answers").mkdir(mode=0)
    folder.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="cannot write .*Permission denied"):
            journal.path_for(folder, {"network": "a"})
    finally:
        if user == 0:
            os.seteuid(user)
        shutil.rmtree(folder)
