"""Downloads: from the first address that has the file whole, in time, unpacked whole or not at all."""

import contextlib
import hashlib
import http.server
import io
import os
import tarfile
import threading
import time
from types import SimpleNamespace

import pytest

from blurnb.errors import UserError
from blurnb.recognition import downloads

WHOLE = bytes(range(256)) * 40
SHA256 = hashlib.sha256(WHOLE).hexdigest()


class Site(http.server.BaseHTTPRequestHandler):
    """Serves what it is asked for: /good, /wrong, /error, /drip, /silent, /endless, and elsewhere by /to?ADDRESS."""

    def do_GET(self):
        kind = self.path.strip("/").partition("?")[0]
        self.send_response({"error": 500, "to": 302}.get(kind, 200))
        if kind == "to":
            self.send_header("Location", self.path.partition("?")[2])
        self.end_headers()
        with contextlib.suppress(OSError):
            if kind in ("drip", "endless"):
                for _ in range(100):
                    self.wfile.write(b"x" * (1 if kind == "drip" else 1 << 16))
                    self.wfile.flush()
                    time.sleep(0.02)
            elif kind == "silent":
                time.sleep(1.5)
            elif kind in ("good", "wrong"):
                self.wfile.write(WHOLE if kind == "good" else WHOLE[::-1])

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fetch(*addresses):
    return downloads.fetch(addresses, SHA256, "file", "do this")


def test_the_first_address_that_has_it_whole_is_taken(site, cache):
    nobody = "http://127.0.0.1:9/"
    assert fetch(nobody, f"{site}error", f"{site}wrong", f"{site}to?{site}good", nobody).read_bytes() == WHOLE
    assert fetch(nobody).read_bytes() == WHOLE  # it is there: nothing is asked for
    assert os.listdir(cache) == ["file"]


def test_why_none_had_it_is_one_line_that_says_what_to_do(site):
    with pytest.raises(UserError) as caught:
        fetch("http://127.0.0.1:9/", f"{site}error", f"{site}wrong")
    here = site.split("/")[2]
    assert str(caught.value) == (
        f"cannot download file (127.0.0.1:9: ConnectionError, {here}: HTTPError, {here}: does not match its SHA-256); "
        "connect to the network, or do this"
    )


def test_a_server_that_hangs_or_never_ends_is_left_in_time(site, cache, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    monkeypatch.setattr(downloads, "PATIENCE", 0.3)
    started = time.monotonic()
    with pytest.raises(UserError, match="ReadTimeout|ConnectionError"):
        fetch(f"{site}silent")
    with pytest.raises(UserError, match="bytes came in 0 seconds, and no end"):  # each byte in time, all of them never
        fetch(f"{site}drip")
    monkeypatch.setattr(downloads, "PATIENCE", 60)
    monkeypatch.setattr(downloads, "LARGEST", 100_000)
    with pytest.raises(UserError, match="bytes came in 0 seconds, and no end"):
        fetch(f"{site}endless")
    assert time.monotonic() - started < 10
    assert os.listdir(cache) == []


@pytest.mark.parametrize("to", ["ftp://127.0.0.1/x", "file:///etc/hostname", "gopher://x"])
def test_no_other_scheme_is_followed_to(site, to):
    with pytest.raises(UserError, match="it leads on to .*, by another scheme"):
        fetch(f"{site}to?{to}")


def test_what_is_encrypted_stays_so(monkeypatch):
    import requests

    def answer(url, *, hooks, **_):
        hooks["response"](SimpleNamespace(url=url, headers={"Location": "http://b.example/x"}, is_redirect=True))
        pytest.fail("followed")

    monkeypatch.setattr(requests, "get", answer)
    with pytest.raises(UserError, match="it leads on to http://b.example/x, by another scheme"):
        fetch("https://a.example/x")


def archive(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for member in members:
            member.size = 3 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"abc"))
    return file.getvalue()


def info(name: str, kind=tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def unpacked(monkeypatch, tmp_path, data: bytes):
    asked = []

    def fetch(*given, **_):
        asked.append(given)
        (tmp_path / "archive").write_bytes(data)
        return tmp_path / "archive"

    monkeypatch.setattr(downloads, "fetch", fetch)
    return downloads.unpacked(["x"], "y", "archive", "set", "do this"), asked


def test_an_archive_is_unpacked_once_and_not_kept(monkeypatch, tmp_path, cache):
    data = archive(info("top/a"), info("top/b/c"))
    folder, asked = unpacked(monkeypatch, tmp_path, data)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == ["top/a", "top/b/c"]
    assert len(asked) == 1
    assert not (tmp_path / "archive").exists()
    assert unpacked(monkeypatch, tmp_path, b"not looked at")[1] == []
    assert sorted(os.listdir(cache)) == [".set.lock", "set"]


@pytest.mark.parametrize(
    "member",
    [
        info("../climbed"), info("top/../../climbed"), info("link", tarfile.SYMTYPE, "../../climbed"),
        info("link", tarfile.SYMTYPE, "/etc"), info("link", tarfile.LNKTYPE, "../../climbed"),
        info("device", tarfile.CHRTYPE), info("pipe", tarfile.FIFOTYPE),
    ],
)  # fmt: skip
def test_no_archive_leads_out_of_its_folder(monkeypatch, tmp_path, cache, member):
    with pytest.raises(UserError, match="cannot unpack .*archive into .*set .*; free some space, or do this"):
        unpacked(monkeypatch, tmp_path, archive(info("top/a"), member))
    assert os.listdir(cache) == [".set.lock"]


@pytest.mark.parametrize("cut", [0, 1, 40, 90])
def test_a_half_archive_leaves_no_half_set(monkeypatch, tmp_path, cache, cut):
    data = archive(*(info(f"top/{number}") for number in range(200)))
    with pytest.raises(UserError, match="cannot unpack"):
        unpacked(monkeypatch, tmp_path, data[: len(data) * cut // 100])
    assert os.listdir(cache) == [".set.lock"]


def test_a_full_disk_is_one_line_and_leaves_no_half_set(monkeypatch, tmp_path, cache):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(UserError, match="No space left on device.*; free some space"):
        unpacked(monkeypatch, tmp_path, archive(info("top/a")))
    assert os.listdir(cache) == [".set.lock"]
