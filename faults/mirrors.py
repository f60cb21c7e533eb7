"""Downloads from a server on this machine that lies, stops half way, is slow, or is killed off with its client."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from blurnb.recognition import datasets, downloads, readers

from .disturb import expect_one_line, folder
from .ledger import Ledger
from .processes import forked


def archive(count: int = 6) -> bytes:
    """A Tiny ImageNet of one class, in the official layout."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as zipped:
        top = "tiny-imagenet-200/"
        zipped.writestr(f"{top}wnids.txt", "n01440764\n")
        zipped.writestr(f"{top}words.txt", "n01440764\ttench\n")
        lines = "".join(f"val_{i}.JPEG\tn01440764\t0\t0\t1\t1\n" for i in range(count))
        zipped.writestr(f"{top}val/val_annotations.txt", lines)
        for i in range(count):
            image = io.BytesIO()
            Image.effect_noise((64, 64), 20 + i).convert("RGB").save(image, "JPEG")
            zipped.writestr(f"{top}val/images/val_{i}.JPEG", image.getvalue())
    return whole.getvalue()


class Liar(http.server.BaseHTTPRequestHandler):
    """Serves what it is asked for: ``/good`` is right, the other kinds that `lie` asks for are as they are called."""

    whole = b""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind = self.path.strip("/").split("/")[0]
        body = {"wrong": self.whole[:-1] + b"?", "page": b"<html>come in"}.get(kind, self.whole)
        if kind in ("circle", "elsewhere"):
            self.send_response(302)
            self.send_header("Location", self.path if kind == "circle" else "file:///etc/hostname")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(500 if kind == "error" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            if kind == "stalled":
                self.wfile.write(body[:100])
                time.sleep(4)
                return
            if kind == "drip":
                for byte in body[:200]:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.05)
                return
            if kind == "half":
                self.wfile.write(body[: len(body) // 2])
                return
            pieces = 20 if kind == "slow" else 1
            step = -(-len(body) // pieces)
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                self.wfile.flush()
                if pieces > 1:
                    time.sleep(0.05)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def mirror() -> Iterator[tuple[str, bytes]]:
    """(address, the archive that it should serve); in a process of its own, since this one must not have threads."""
    Liar.whole = archive()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    child = os.fork()
    if child == 0:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        time.sleep(900)
        os._exit(0)
    server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", Liar.whole
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def fetch(place: Path, url: str, digest: str) -> None:
    """Open Tiny ImageNet from `url` and read all of it."""
    os.environ["BLURNB_CACHE"] = str(place / "cache")
    downloads.TIMEOUT, downloads.PATIENCE = 1, 3
    readers.TINY_URL, readers.TINY_SHA256 = url, digest
    found = datasets.load("tiny-imagenet")
    digests = [hashlib.sha256(found.load(i).numpy().tobytes()).hexdigest() for i in range(len(found))]
    (place / "seen.txt").write_text("\n".join(digests))


def sample(place: Path, url: str, digest: str) -> None:
    """Open a sample of two photographs from `url`, both the bytes of the archive: only their hash is looked at."""
    os.environ["BLURNB_CACHE"] = str(place / "cache")
    downloads.TIMEOUT, downloads.PATIENCE = 1, 3
    readers.SAMPLE_URL = url
    readers.imagenet_classes = lambda: (("n01440764", "tench", digest), ("n01443537", "goldfish", digest))
    if len(datasets.load("imagenet-sample")) != 2:
        raise AssertionError("not two photographs")


def lie(ledger: Ledger) -> None:
    with mirror() as (address, whole), folder() as good:
        digest = hashlib.sha256(whole).hexdigest()
        outcome = forked(partial(fetch, good, f"{address}good", digest))
        if outcome.kind != "done":
            ledger.failed("tracebacks", f"a good mirror: {outcome.text[-1000:]}")
            return
        expected = (good / "seen.txt").read_text().splitlines()
        for kind in ("wrong", "half", "slow", "stalled", "drip", "error", "page", "circle", "elsewhere"):
            for job in (fetch, sample):
                with folder() as place:
                    fault = f"{kind} mirror, {job.__name__}"
                    ledger.faults["mirror that lies, stops or is slow"] += 1
                    outcome = forked(partial(job, place, f"{address}{kind}/", digest))
                    expect_one_line(ledger, outcome, fault)
                    if outcome.kind == "done" and kind != "slow":
                        ledger.failed("wrong numbers", f"{fault}: taken for the right one")
                    outcome = forked(partial(job, place, f"{address}good/", digest))
                    if outcome.kind != "done":
                        ledger.failed("lost records", f"{fault}, then a good one: {outcome.text[-800:]}")
                    elif job is fetch:
                        ledger.compare((place / "seen.txt").read_text().splitlines(), expected, fault)
        _kill_downloads(ledger, address, digest, expected)
        _half_archives(ledger, whole, expected)


def _kill_downloads(ledger: Ledger, address: str, digest: str, expected: list[str]) -> None:
    for share in (0.3, 0.6, 0.9):
        with folder() as place:
            outcome = forked(partial(fetch, place, f"{address}slow/", digest), kill_at=share)
            ledger.faults["kill -9, download"] += outcome.kind == "killed"
            outcome = forked(partial(fetch, place, f"{address}good/", digest))
            if outcome.kind != "done":
                ledger.failed("lost records", f"kill -9, download: {outcome.text[-800:]}")
            else:
                ledger.compare((place / "seen.txt").read_text().splitlines(), expected, "kill -9, download")


def _half_archives(ledger: Ledger, whole: bytes, expected: list[str]) -> None:
    """An archive of the user's that is cut or flipped anywhere: a right image, or a line that names it."""

    def look(place: Path) -> None:
        allowed = set(expected)
        for number in range(60):
            where = number * len(whole) // 60
            data = whole[:where] if number % 2 else whole[:where] + bytes([whole[where] ^ 4]) + whole[where + 1 :]
            file = place / str(number) / "tiny-imagenet-200.zip"
            file.parent.mkdir()
            file.write_bytes(data)
            try:
                found = datasets.load("tiny-imagenet", file.parent)
            except datasets.UserError as error:
                if "tiny-imagenet-200" not in str(error):
                    raise
                continue
            for index in range(len(found)):
                try:
                    image = found.load(index)
                except datasets.UnreadableImage as error:
                    if "tiny-imagenet-200.zip" not in str(error):
                        raise
                    continue
                assert hashlib.sha256(image.numpy().tobytes()).hexdigest() in allowed, f"read wrong at {where}"

    with folder() as place:
        ledger.faults["half or damaged archive"] += 60
        outcome = forked(partial(look, place))
        if outcome.kind != "done":
            kind = "wrong numbers" if "read wrong" in outcome.text else "tracebacks"
            ledger.failed(kind, f"half or damaged archive: {outcome.text[-1200:]}")
