"""Files: whole or not at all, one writer at a time, and nothing left lying about."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from blurnb import files
from blurnb.errors import UserError


def test_a_file_is_written_whole_with_its_folders_and_can_be_read_by_others(tmp_path):
    path = tmp_path / "a" / "b" / "x.json"
    files.write_whole(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    files.write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["x.json"]


def test_names_that_are_no_text_come_back_as_they_were(tmp_path):
    files.write_whole(tmp_path / "x", os.fsdecode(b"\xff.jpg"))
    assert (tmp_path / "x").read_bytes() == b"\xff.jpg"


def fail(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, at):
    path = tmp_path / "x"
    files.write_whole(path, "old")
    monkeypatch.setattr(os, at, fail)
    with pytest.raises(UserError, match="cannot write .*x: No space left on device; free some space or choose another"):
        files.write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x", Path("/proc/x/y")):
        with pytest.raises(UserError, match=f"cannot write {path}") as caught:
            files.write_whole(path, "{}")
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match=f"cannot write {path}"), files.locked(path):
            pass
    with pytest.raises(UserError, match="cannot write"), files.locked(tmp_path / "a\0b"):
        pass


def test_files_that_belong_together_are_all_on_disk_before_the_first_takes_its_place(tmp_path, monkeypatch):
    one, other = tmp_path / "a.csv", tmp_path / "a.json"
    files.write_together({one: "1", other: "2"})
    assert (one.read_text(), other.read_text(), len(os.listdir(tmp_path))) == ("1", "2", 2)
    seen, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda *pair: seen.append(files.staged(other).exists()) or replace(*pair))
    files.write_together({one: "3", other: "4"})
    assert seen == [True, True]


def test_a_disk_that_fills_up_costs_none_of_them(tmp_path, monkeypatch):
    one, other = tmp_path / "a.csv", tmp_path / "a.json"
    files.write_together({one: "1", other: "2"})
    synced = iter([None, OSError(28, "No space left on device")])

    def fsync(_):
        error = next(synced)
        if error:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match=r"cannot write .*a\.json: No space left"):
        files.write_together({one: "3", other: "4"})
    assert (one.read_text(), other.read_text(), len(os.listdir(tmp_path))) == ("1", "2", 2)


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    (tmp_path / ".a.csv.0123456789abcdef.new").write_text("half")
    files.write_together({tmp_path / "a.csv": "1"})
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_crash_between_two_renames_leaves_the_rest_where_a_reader_finds_it(tmp_path, monkeypatch):
    one, other, replace = tmp_path / "a.csv", tmp_path / "a.json", os.replace

    def crash(source, target):
        if target == other:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        files.write_together({one: "3", other: "4"})
    assert one.read_text() == "3"
    assert files.staged(other).read_text() == "4"


def _hold(path, ready):
    with files.locked(path):
        ready.set()
        multiprocessing.Event().wait(60)


def test_a_lock_keeps_others_out_and_a_killed_process_lets_go_of_it(tmp_path):
    path = tmp_path / "x"
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready), daemon=True)
    holder.start()
    assert ready.wait(60)
    with pytest.raises(Timeout), FileLock(tmp_path / ".x.lock", timeout=0):
        pass
    holder.kill()
    holder.join()
    with files.locked(path):
        pass


def test_what_killed_processes_left_of_a_file_is_removed_and_no_other_file(tmp_path):
    for name in (".x[1].abc.new", ".x[1].def.new", ".x1.abc.new", "x[1]", ".x[1].lock"):
        (tmp_path / name).touch()
    files.forget_unfinished(tmp_path / "x[1]")
    assert sorted(os.listdir(tmp_path)) == [".x1.abc.new", ".x[1].lock", "x[1]"]


def test_the_state_changes_when_a_file_is_written_again(tmp_path):
    path, absent = tmp_path / "x", tmp_path / "y"
    files.write_whole(path, "1")
    before = files.state(path)
    assert before == files.state(path)
    assert files.state(absent) == []
    files.write_whole(path, "1")
    assert files.state(path) != before


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path))
    assert files.cache_folder() == tmp_path
    monkeypatch.setenv("BLURNB_CACHE", "~/x")
    assert files.cache_folder() == Path.home() / "x"
    monkeypatch.setenv("BLURNB_CACHE", "~nobody-of-this-name/x")
    with pytest.raises(UserError, match="there is no such home folder"):
        files.cache_folder()
    monkeypatch.delenv("BLURNB_CACHE")
    assert files.cache_folder().name == "blurnb"


def test_a_file_has_the_rights_that_the_user_asks_for(tmp_path):
    before = os.umask(0o077)
    try:
        files.write_whole(tmp_path / "mine", "x")
        files.write_together({tmp_path / "a": "1", tmp_path / "b": "2"})
        os.umask(0o002)
        files.write_whole(tmp_path / "ours", "x")
    finally:
        os.umask(before)
    assert {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in tmp_path.iterdir()} == {
        "mine": "0o600", "a": "0o600", "b": "0o600", "ours": "0o664"
    }  # fmt: skip


def test_nothing_is_written_through_a_link_that_waits_where_a_file_is_to_be(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for path in (tmp_path / "a.csv", tmp_path / "a.json"):
        files.staged(path).symlink_to(victim)
        path.symlink_to(victim)
    files.write_together({tmp_path / "a.csv": "1", tmp_path / "a.json": "2"})
    files.write_whole(tmp_path / "a.csv", "3")
    assert victim.read_text() == "mine"
    assert (tmp_path / "a.csv").read_text() == "3"
    assert not (tmp_path / "a.json").is_symlink()


def test_temporary_names_cannot_be_foreseen_and_take_nothing_that_is_there(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(os, "open", lambda *given, _open=os.open: made.append(given[:2]) or _open(*given))
    for _ in range(2):
        files.write_whole(tmp_path / "x", "1")
        files.write_together({tmp_path / "x": "1"})
    assert len({name for name, _ in made}) == 4
    assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW for _, flags in made)


def test_a_list_is_text_of_a_bounded_size_from_a_regular_file(tmp_path, monkeypatch):
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfa\xc3\xa9\n")
    assert files.read_text(tmp_path / "list", "") == "aé\n"
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "long").write_bytes(bytes(100))
    monkeypatch.setattr(files, "MOST_TEXT", 99)
    said = {"latin": "not UTF-8", "pipe": "not a regular file", "endless": "not a regular file", "long": "more than",
            "absent": "No such file", ".": "not a regular file", "a\0b": "null byte"}  # fmt: skip
    for name, reason in said.items():
        with pytest.raises(UserError, match=f"cannot read .*{reason}.*; it names things"):
            files.read_text(tmp_path / name, "it names things")
