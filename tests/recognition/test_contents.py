"""What files hold: read once, known ever after, and never taken for what it was after a change."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from blurnb.recognition import contents

HOUR = 3600


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files that nobody has touched for longer than a clock's tick, and a cache of their own."""
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "SETTLED", -HOUR * 10**9)
    for i in range(200):
        (tmp_path / "photos" / f"{i}.bmp").parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{i}.bmp").write_bytes(b"%04d" % i * 100)
    return tmp_path / "photos"


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read."""
    names, digest = [], contents.digest
    monkeypatch.setattr(contents, "digest", lambda path: names.append(Path(path).name) or digest(path))
    return names


def asked(folder) -> list[str]:
    return contents.known(folder, sorted(str(path) for path in folder.iterdir()))


def kept(folder) -> Path:
    (path,) = (folder.parent / "cache" / "contents").glob("*.json")
    return path


def test_a_file_is_read_once(folder, read):
    first = asked(folder)
    assert len(set(first)) == len(read) == 200
    assert asked(folder) == first
    assert len(read) == 200
    assert contents.known(folder, [str(folder / "7.bmp")] * 2) == [contents.digest(folder / "7.bmp")] * 2


def test_one_byte_is_noticed_though_size_and_time_are_put_back(folder, read):
    first = asked(folder)
    path = folder / "77.bmp"
    times = path.stat()
    with open(path, "r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    read.clear()
    second = asked(folder)
    assert read == ["77.bmp"]
    assert sum(a != b for a, b in zip(first, second)) == 1


def test_what_was_touched_a_moment_ago_is_read_again(folder, read, monkeypatch):
    monkeypatch.setattr(contents, "SETTLED", 2 * 10**9)
    for path in folder.iterdir():
        os.utime(path, (0, 0))  # an old date does not help: the entry itself is new
    asked(folder)
    asked(folder)
    assert len(read) == 400
    monkeypatch.setattr(time, "time_ns", lambda now=time.time_ns: now() + HOUR * 10**9)
    asked(folder)
    asked(folder)
    assert len(read) == 600


@pytest.mark.parametrize("damage", [b"", b"0", b"00000000\n{}", b"zz\n{}", b"\xff" * 50, "cut", "flipped"])
def test_a_damaged_cache_is_passed_over_and_made_anew(folder, read, damage):
    first, path = asked(folder), kept(folder)
    whole = path.read_bytes()
    flipped = whole.replace(first[0].encode(), first[1].encode())
    path.write_bytes({"cut": whole[:-20], "flipped": flipped}.get(damage, damage))
    assert asked(folder) == first
    assert len(read) == 400
    assert asked(folder) == first
    assert len(read) == 400


def test_two_at_once_lose_nothing(folder, read):
    halves = [[str(folder / f"{i}.bmp") for i in range(start, 200, 2)] for start in (0, 1)]
    both = [threading.Thread(target=contents.known, args=(folder, half)) for half in halves]
    for one in both:
        one.start()
    for one in both:
        one.join()
    read.clear()
    asked(folder)
    assert not read
    assert len(json.loads(kept(folder).read_bytes().partition(b"\n")[2])) == 200


def test_what_was_read_before_an_interruption_is_known(folder, monkeypatch):
    read, digest, last = [], contents.digest, max(str(path) for path in folder.iterdir())

    def interrupted(path):
        read.append(path)
        if read.count(last) == 1 and path == last:
            raise KeyboardInterrupt
        return digest(path)

    monkeypatch.setattr(contents, "digest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked(folder)
    before = len(read)
    asked(folder)
    assert before < len(read) <= 200 + 2 * contents.BATCH


def test_files_that_cannot_be_read_and_a_cache_that_cannot_be_written_stop_nothing(folder, read, monkeypatch):
    (folder / "gone.bmp").symlink_to("nowhere")
    found = asked(folder)
    assert found.count("unreadable") == 1
    (folder / "gone.bmp").unlink()
    (folder / "gone.bmp").write_bytes(b"here")
    assert "unreadable" not in asked(folder)
    monkeypatch.setenv("BLURNB_CACHE", str(folder / "1.bmp" / "no folder"))
    assert asked(folder) == asked(folder)


# ------------------------------------------------------------------------------------------------ programs


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A module, a package of the user's that it imports, and something that it does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    sources = {
        "planted_main.py": "import torch, json\nfrom inner import layers\nfrom planted_helper import SIZE\n",
        "planted_helper.py": "SIZE = 3\n",
        "planted_stranger.py": "raise SystemExit\n",
        "inner/__init__.py": "",
        "inner/layers.py": "def late():\n    from . import deep\n",
        "inner/deep.py": "raise SystemExit\n",
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_program_is_its_module_and_all_that_this_imports_and_is_not_run(program):
    first = contents.of_program("planted_main:build")
    own = {"planted_main", "planted_helper", "inner", "inner.layers", "inner.deep"}
    assert set(first) == own | {"torch"}
    for name in ("planted_helper.py", "inner/__init__.py", "inner/deep.py", "planted_main.py"):
        before = contents.of_program("planted_main:build")
        with open(program / name, "a") as file:
            file.write("# \n")
        after = contents.of_program("planted_main:build")
        assert [part for part in own if after[part] != before[part]] == [
            name[:-3].replace("/__init__", "").replace("/", ".")
        ]
    before = contents.of_program("planted_main:build")
    (program / "planted_stranger.py").write_text("")
    assert contents.of_program("planted_main:build") == before


def test_a_program_is_the_bytes_of_its_file_or_the_version_of_its_package(program):
    (program / "net.pt").write_bytes(b"one")
    first = contents.of_program("net.pt")
    (program / "net.pt").write_bytes(b"two")
    assert contents.of_program("net.pt") != first
    assert set(contents.of_program("torchvision.models:resnet18")) == {"torch", "torchvision"}
    assert set(contents.of_program("no.such.module:build")) == {"torch"}
    (program / "planted_main.py").write_text("def (")
    assert contents.of_program("planted_main:build")
