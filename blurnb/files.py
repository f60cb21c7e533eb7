"""Files that appear whole or not at all, locks that a killed process lets go of, and the folder of what is kept."""

import errno
import glob
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from blurnb.errors import UserError, reason

MOST_TEXT = 16 << 20  # bytes of a list, which is read whole: of published ones the longest has 3 MB


def cache_folder() -> Path:
    """Where downloads, trained networks and finished answers are kept: $BLURNB_CACHE, else the user's cache folder."""
    import pooch

    named = os.environ.get("BLURNB_CACHE") or pooch.os_cache("blurnb")
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise UserError(f"BLURNB_CACHE={named}: there is no such home folder; give another") from error


def opened(path: str | Path) -> BinaryIO:
    """A regular file, to be read; OSError for a pipe or a device, which a plain `open` would wait for."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_text(path: Path, what: str) -> str:
    """The text of a list that a user hands in; UserError, saying `what` it should be, where it is none."""
    try:
        with opened(path) as file:
            data = file.read(MOST_TEXT + 1)
        if len(data) > MOST_TEXT:
            raise ValueError(f"more than {MOST_TEXT >> 20} MB")
        return data.decode().removeprefix("\ufeff")  # some editors begin with that
    except (OSError, ValueError) as error:
        why = "not UTF-8" if isinstance(error, UnicodeError) else reason(error)
        raise UserError(f"cannot read {path} ({why}); {what}") from error


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """What goes wrong inside while `path` is written, as one line with the way out."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        remedy = "free some space or choose another folder (output_dir, BLURNB_CACHE)"
        raise UserError(f"cannot write {path}: {reason(error)}; {remedy}") from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: to a temporary neighbour, to disk, then into place."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = _beside(path, content)
        try:
            os.replace(name, path)
        finally:
            name.unlink(missing_ok=True)


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Write files that belong together, in their order; the caller holds their lock.

    All are on disk before the first takes its place: a disk that fills up costs none, and a crash between two renames
    leaves what was not yet renamed at `staged`, where a reader finds it.
    """
    try:
        for where, content in contents.items():
            with told(where):
                forget_unfinished(where)
                os.rename(_beside(where, content), staged(where))
    except UserError:
        for one in contents:
            staged(one).unlink(missing_ok=True)
        raise
    for where in contents:
        os.replace(staged(where), where)


def staged(path: Path) -> Path:
    """Where a file waits until all that belong to it are on disk."""
    return path.with_name(f".{path.name}.new")


def _beside(path: Path, content: str | bytes) -> Path:
    """A new file on disk, by a name that nobody foresees: what lies at a name that is known may be another's link."""
    name = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            # Names of files may hold bytes that are no text; they must come back as they were.
            file.write(content.encode(errors="surrogateescape") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        return name
    except BaseException:
        name.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock under which all processes write `path`; a killed one lets go of it."""
    from filelock import FileLock

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def forget_unfinished(path: Path) -> None:
    """Remove what killed processes left of `path`; the caller holds the lock under which all write it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        left.unlink(missing_ok=True)


def state(path: str | Path) -> list[int]:
    """Size, both times and inode of a file, which change when it is written; empty where there is none."""
    try:
        found = os.stat(path)
        return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    except OSError:
        return []
