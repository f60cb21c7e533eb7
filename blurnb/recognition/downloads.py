"""What comes from elsewhere: fetched within a time, checked against its SHA-256, unpacked whole or not at all."""

import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pooch
from tqdm import tqdm

from blurnb import files
from blurnb.errors import UserError

TIMEOUT = 30  # seconds in which a server must say something
PATIENCE, SLOWEST = 120, 10_000  # seconds, and then bytes a second on the whole: a server that drips hangs too
LARGEST = 8 << 30  # bytes: twice the largest set's


def fetch(addresses: Sequence[str], sha256: str, file: str, otherwise: str, folder: Path | None = None) -> Path:
    """The file in `folder` (or the cache), from the first address that has it whole; else UserError: what to do."""
    reasons = []
    for url in addresses:
        try:
            place = folder or files.cache_folder()
            return Path(pooch.retrieve(url, f"sha256:{sha256}", file, place, downloader=stream))
        except Exception as error:  # every kind of network error comes through
            told = "does not match its SHA-256" if type(error) is ValueError else type(error).__name__
            reasons.append(f"{urlsplit(url).netloc}: {error if isinstance(error, UserError) else told}")
    raise UserError(f"cannot download {file} ({', '.join(reasons)}); connect to the network, or {otherwise}")


def stream(url: str, output_file: str | Path, _: object = None) -> None:
    """Download a file by the scheme of its address or https, and leave a server that hangs."""
    import requests

    started, plain = time.monotonic(), {"Accept-Encoding": "identity"}
    with (
        requests.get(url, stream=True, timeout=TIMEOUT, headers=plain, hooks={"response": _stay}) as answer,
        open(output_file, "wb") as target,
        tqdm(total=int(answer.headers.get("Content-Length", 0)), unit="B", unit_scale=True, leave=False) as bar,
    ):
        answer.raise_for_status()
        while piece := answer.raw.read1(1 << 16):  # what has come, where `read` would wait for all of it
            bar.update(target.write(piece))
            if time.monotonic() - started > PATIENCE + bar.n / SLOWEST or bar.n > LARGEST:
                raise UserError(f"{bar.n:,} bytes came in {time.monotonic() - started:.0f} seconds, and no end")


def _stay(answer, **_: object) -> None:
    to = urljoin(answer.url, answer.headers.get("Location", ""))
    if answer.is_redirect and urlsplit(to).scheme not in ("https", urlsplit(answer.url).scheme):
        raise UserError(f"it leads on to {to[:80]}, by another scheme")


def unpacked(addresses: Sequence[str], sha256: str, file: str, name: str, otherwise: str) -> Path:
    """The folder `name` of the cache, with all that a tar archive holds: a killed one must not pass for a small set."""
    folder = files.cache_folder() / name
    with files.locked(folder):
        if folder.is_dir():
            return folder
        archive = fetch(addresses, sha256, file, otherwise)
        try:
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.", suffix=".new") as new:
                with tarfile.open(archive) as tar:
                    tar.extractall(f"{new}/whole", filter="data")  # no link or path that leads out, no device
                Path(new, "whole").rename(folder)
        except Exception as error:  # a cut archive can end anywhere in a decompressor
            wrong = f"cannot unpack {archive} into {folder} ({error})"
            raise UserError(f"{wrong}; free some space, or {otherwise}") from error
        archive.unlink()
    return folder
