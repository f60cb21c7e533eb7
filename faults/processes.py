"""Work in a child of this process: killed, limited, as another user, and what became of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from blurnb.errors import UserError

NOBODY = 65534


class Outcome(NamedTuple):
    """`kind`: done | refused (one line) | killed | traceback | hung; `text`: what it printed, or the refusal.

    `seconds` of the processor, which on a busy machine say when a moment is, as those of the clock do not.
    """

    kind: str
    text: str
    seconds: float


def forked(
    work: Callable[[], object],
    *,
    kill_after: float | None = None,
    kill_at: float | None = None,
    user: int | None = None,
    largest_file: int | None = None,
    memory: int | None = None,
    patience: float = 600.0,
) -> Outcome:
    """Run `work` in a forked child, which has everything imported already; SIGKILL after `kill_after` seconds
    of the processor, or at `kill_at` seconds of the clock.

    The parent has never computed anything, so that no thread of a library is lost in the fork.
    """
    started = time.monotonic()
    heard, said = os.pipe()  # not a file: limits on files are among the faults
    child = os.fork()
    if child == 0:
        os.close(heard)
        _run(work, said, user, largest_file, memory)
    os.close(said)
    os.set_blocking(heard, False)
    status, seconds, text = _wait(child, heard, started, kill_after, kill_at, patience)
    os.close(heard)
    if status is None:
        return Outcome("hung", text, seconds)
    if os.WIFSIGNALED(status):
        killed = os.WTERMSIG(status) == signal.SIGKILL
        return Outcome("killed" if killed else "traceback", f"signal {os.WTERMSIG(status)}\n{text}", seconds)
    code = os.WEXITSTATUS(status)
    if code == 2 and "\x1f" in text:
        text = text.rsplit("\x1f", 1)[1]
        return Outcome("refused" if "\n" not in text.strip() else "traceback", text.strip(), seconds)
    return Outcome("done" if code == 0 else "traceback", text, seconds)


def _run(work, said: int, user, largest_file, memory) -> None:
    code = 3
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the campaign
        os.dup2(said, 1)
        os.dup2(said, 2)
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        work()
        code = 0
    except UserError as error:
        os.write(1, f"\x1f{error}".encode(errors="backslashreplace"))
        code = 2
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        os.write(1, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _wait(
    child: int, heard: int, started: float, kill_after: float | None, kill_at: float | None, patience: float
) -> tuple[int | None, float, str]:
    """(exit status or None where patience ran out, seconds of the processor, what was said)."""
    said = b""
    while True:
        said += _drained(heard)
        done, status, used = os.wait4(child, os.WNOHANG)
        late = not done and kill_after is not None and _processor_seconds(child) >= kill_after
        late |= not done and kill_at is not None and time.monotonic() - started >= kill_at
        tired = not done and time.monotonic() - started > patience
        if late or tired:
            os.kill(child, signal.SIGKILL)
            done, status, used = os.wait4(child, 0)
        if done:
            text = (said + _drained(heard)).decode(errors="backslashreplace")
            return (None if tired and not late else status), used.ru_utime + used.ru_stime, text
        time.sleep(0.003)


def _drained(pipe: int) -> bytes:
    said = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(pipe, 65536):
            said += piece
    return said


def _processor_seconds(child: int) -> float:
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def dying(work: Callable[[], object], call: str, count: int, after: bool = False) -> Callable[[], object]:
    """`work`, but it is killed by SIGKILL at the `count`-th call of ``os.<call>``: before it, or `after` it.

    A write that is killed "before" has written half of its bytes.
    """

    def doomed() -> None:
        real, seen = getattr(os, call), [0]

        def last(*arguments, **options):
            seen[0] += 1
            if seen[0] != count:
                return real(*arguments, **options)
            if after:
                real(*arguments, **options)
            elif call == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        setattr(os, call, last)
        work()

    return doomed


def may_become_another_user() -> bool:
    return os.geteuid() == 0


def open_to_all(folder: Path) -> None:
    """Give every file and folder below to nobody, so that a child without root's rights can work there."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
