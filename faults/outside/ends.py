"""How a command ends: interrupted, its streams closed or too poor for its letters, its memory short."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..disturb import ROOT, chapter, folder, sweep
from ..ledger import Ledger
from ..pictures import saved, scene

INTERRUPTED = "interrupted; what was computed is kept, run the same command to go on"
SENTENCES = ("error: ", INTERRUPTED)


def photographs(place: Path) -> Path:
    """Two classes, in a folder whose name no ASCII has."""
    for name in ("zo\u00e9/a", "zo\u00e9/\u00fc"):
        (place / name).mkdir(parents=True)
        (place / name / "\u00e4.png").write_bytes(saved(scene(), "PNG"))
    return place / "zo\u00e9"


def started(place: Path, arguments: list[str], **options) -> subprocess.Popen:
    own = {"PYTHONPATH": str(ROOT), "BLURNB_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    environment = os.environ | own | options.pop("env", {})
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "backslashreplace"}
    command = [sys.executable, "-m", "blurnb", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **piped | options)


def judged(ledger: Ledger, what: str, process: subprocess.Popen, codes: tuple[int, ...]) -> None:
    """It must end with one of the codes, and say what is wrong in a line."""
    try:
        _, said = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        ledger.failed("tracebacks", f"{what}: it hangs")
        return
    lines = [line for line in (said or "").splitlines() if line.startswith(SENTENCES)]
    # one that the signal itself ends is 130 for a shell too, before its first word or after its last
    is_ended = process.returncode == -signal.SIGINT
    silent = process.returncode in (0, 141) or said is None or (is_ended and not lines)
    noisy = any(word in (said or "") for word in ("Traceback", "Exception ignored", "Error:", "rror in atexit"))
    if process.returncode not in codes or len(lines) != (not silent) or noisy:
        ledger.failed("tracebacks", f"{what}: exit code {process.returncode}, {(said or '')[-1200:]}")


def listening() -> None:
    """A shell starts what runs in the background deaf to Ctrl-C, and whoever that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(ledger: Ledger, rounds: int, draw: random.Random) -> None:
    """Ctrl-C at random moments: of a chapter in its notebook, of a card, of a sweep, of a description of data."""
    with folder() as place:
        photos = photographs(place)
        card = ["card", "--network", "vgg_mini", "--weights", "none", "--data", photos, "--output", place / "card"]
        commands = {"run": chapter(place), "card": card, "data": ["data", "scenes"], "sweep": sweep(place)}
        for name, arguments in list(commands.items())[: None if rounds > 1 else 1]:
            for _ in range(rounds):
                process = started(place, arguments, preexec_fn=listening)
                time.sleep(draw.uniform(1.0, 8.0 if rounds > 1 else 2.0))
                ledger.faults["Ctrl-C"] += 1
                os.killpg(process.pid, signal.SIGINT)
                # it may have been over before, or not have begun to listen
                judged(ledger, f"Ctrl-C, {name}", process, (130, 0, -signal.SIGINT))


def streams(ledger: Ledger, brief: bool) -> None:
    """Streams that are closed, that nobody reads, and that have no letter for what they are told."""
    with folder() as place:
        photos = photographs(place)
        good, bad = ["data", "folder", "--root", photos], ["run", photos / "absent.ipynb"]
        locales = ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
        for env in (*locales, {"LC_ALL": "nowhere"})[: 1 if brief else None]:
            for arguments, code in ((good, 0), (bad, 2))[brief:]:
                ledger.inputs["stream that is closed or poor"] += 1
                judged(ledger, f"{env}, {arguments}", started(place, arguments, env=env), (code,))
        for closed in ((1,),) if brief else ((0,), (1,), (2,), (1, 2), (0, 1, 2)):
            for arguments, code in ((["--help"], 0), (bad, 2)):
                ledger.inputs["stream that is closed or poor"] += 1
                close = partial(list, map(os.close, closed))
                options = {name: None for number, name in ((1, "stdout"), (2, "stderr")) if number in closed}
                judged(ledger, f"closed {closed}, {arguments}", started(place, arguments, preexec_fn=close, **options),
                       (code,))  # fmt: skip
        if brief:
            return
        ledger.inputs["stream that is closed or poor"] += 1
        reader, writer = os.pipe()
        os.close(reader)
        judged(ledger, "a pipe that nobody reads", started(place, good, stdout=writer), (141,))
        os.close(writer)


def memory(ledger: Ledger, brief: bool) -> None:
    """Address space for the interpreter, for half of the libraries, for all of them and little more."""
    with folder() as place:
        for megabytes in (800,) if brief else (100, 800, 3200, 4500, 5000, 6000, 8000):
            ledger.faults["little address space"] += 1
            limit = (megabytes << 20, megabytes << 20)
            limited = partial(resource.setrlimit, resource.RLIMIT_AS, limit)
            judged(ledger, f"{megabytes} MB", started(place, ["data", "scenes"], preexec_fn=limited), (0, 2))


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    draw = random.Random(seed)
    return {
        "interruptions": partial(interrupted, rounds=1 if brief else 4, draw=draw),
        "streams": partial(streams, brief=brief),
        "address space": partial(memory, brief=brief),
    }
