"""`python -m faults`: inject, compare, print the totals; exit code 1 unless every failure count is zero."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # this process forks: no library may have started threads

from blurnb import files  # noqa: E402

from . import chapters, damage, disturb, inputs, mirrors, outside, pages  # noqa: E402
from .ledger import FAILURES, Ledger  # noqa: E402


def parts(rounds: int, seed: int, brief: bool) -> dict[str, Callable[[Ledger], None]]:
    """The campaign by name; each part is independent of the others, so that they may run side by side."""
    found: dict[str, Callable[[Ledger], None]] = {}
    shares = {"evaluation": 0.2, "training": 0.2, "record writing": 0.6}
    for job, share in shares.items():
        count = max(1, round(rounds * share))
        found[f"kill {job}"] = partial(kill, job=job, count=count, draw=random.Random(f"{seed} {job}"), brief=brief)
        if job == "record writing" or not brief:
            found[f"disks {job}"] = partial(disks, job=job, brief=brief)
    found["damage"] = partial(spoil, draw=random.Random(seed), brief=brief)
    found["book"] = partial(book, draw=random.Random(seed), brief=brief)
    if not brief:
        found["damage and rerun"] = partial(damage.rerun, per_kind=2, draw=random.Random(seed))
        found["damage checkpoints"] = partial(damage.checkpoints, count=4, draw=random.Random(seed))
        found["commands"] = partial(commands, draw=random.Random(seed))
        found["mirrors"] = mirrors.lie
        found["threads"] = chapters.other_threads
        found["input roots"] = inputs.roots
    found["input images"] = inputs.images
    found["input"] = partial(feed, seed=seed, brief=brief)
    return found | outside.sections(brief, seed)


MOMENTS = {
    "evaluation": [("write", n, after) for n in (1, 2) for after in (False, True)],
    "training": [("replace", n, after) for n in (2, 5, 8) for after in (False, True)]
    + [("fsync", n, False) for n in (1, 4)],
    "record writing": [("replace", n, after) for n in (3, 1, 2, 4, 15, 16) for after in (False, True)],
}
"""System calls at which a kill hurts most: (call, which one, only after it was done)."""

FILE_SIZES = {
    "evaluation": [100, 5_000, 30_000],
    "training": [100, 40_000, 400_000],
    "record writing": [50, 4_000, 20_000],
}
DISK_SIZES = {"evaluation": [8, 24], "training": [16, 2_000], "record writing": [8, 24, 60]}  # kilobytes


def kill(ledger: Ledger, job: str, count: int, draw: random.Random, brief: bool) -> None:
    """SIGKILLs at random moments, then one at each moment that matters."""
    disturb.kill_at_random(ledger, job, count, draw)
    if job == "record writing" or not brief:
        disturb.kill_at_calls(ledger, job, MOMENTS[job][: 4 if brief else None])


def commands(ledger: Ledger, draw: random.Random) -> None:
    disturb.kill_a_command(ledger, disturb.chapter, "out/rq1.running.ipynb", "chapter from the command line", 2, draw)
    disturb.kill_sweeps(ledger, 2, draw)


def book(ledger: Ledger, draw: random.Random, brief: bool) -> None:
    pages.kill_builds(ledger, 1 if brief else 5, draw)
    pages.clock_set_back(ledger)


def disks(ledger: Ledger, job: str, brief: bool) -> None:
    disturb.small_files(ledger, job, FILE_SIZES[job])
    disturb.full_disk(ledger, job, DISK_SIZES[job])
    disturb.read_only(ledger, job)
    disturb.two_at_once(ledger, job, 1)
    disturb.clock_set_back(ledger, job, random.Random(0))


def spoil(ledger: Ledger, draw: random.Random, brief: bool) -> None:
    damage.readings(ledger, 40 if brief else 160, draw)
    damage.users_weights(ledger, 10 if brief else 60, draw)
    damage.between_renames(ledger)


def feed(ledger: Ledger, seed: int, brief: bool) -> None:
    inputs.commands(ledger, 12 if brief else 1000)
    inputs.library(ledger)
    inputs.label_maps(ledger)
    inputs.drawn(ledger, 40 if brief else 400, seed)


def campaign(rounds: int, seed: int, brief: bool, only: str, at_once: int, desk: Path) -> Ledger:
    """Every part whose name begins with `only`, each in a process of its own; their counts together.

    A part leaves its counts on `desk` when it is through and is not run again while they are there, so that a campaign
    that was interrupted goes on.
    """
    chosen = {name: part for name, part in parts(rounds, seed, brief).items() if name.startswith(only)}
    waiting, running, whole = [pair for pair in chosen.items() if not (desk / pair[0]).exists()], {}, Ledger()
    while waiting or running:
        while waiting and len(running) < at_once:
            name, part = waiting.pop(0)
            running[_alone(part, desk / name)] = name, time.monotonic()
        child, status = os.wait()
        name, started = running.pop(child)
        if status:
            whole.failed("tracebacks", f"the part {name!r} of the campaign itself ended with status {status}")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    for name in chosen:
        if (desk / name).exists():
            whole.add(json.loads((desk / name).read_text()))
    return whole


def _alone(part: Callable[[Ledger], None], page: Path) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    os.setsid()  # a part and the processes that it starts are one group, apart from the others
    code = 1
    try:
        ledger = Ledger()
        part(ledger)
        files.write_whole(page, json.dumps(ledger.told()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    reader.add_argument("--rounds", type=int, default=40, help="kills at random moments")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--brief", action="store_true", help="a sample of everything, under a minute")
    reader.add_argument("--only", default="", help="the beginning of a part's name: kill, disks, damage, input ...")
    reader.add_argument("--at-once", type=int, default=2, help="parts that run side by side")
    reader.add_argument("--output", type=Path, help="write the totals there, as JSON")
    reader.add_argument(
        "--desk", type=Path, help="where parts leave their counts; those that are there are not run again"
    )
    given = reader.parse_args()
    warnings.simplefilter("ignore")
    rounds = 6 if given.brief else given.rounds
    with tempfile.TemporaryDirectory(prefix="blurnb-ledger-") as own:
        desk = given.desk or Path(own)
        desk.mkdir(parents=True, exist_ok=True)
        ledger = campaign(rounds, given.seed, given.brief, given.only, given.at_once, desk)
    totals = ledger.totals()
    print(json.dumps(totals, indent=1))
    killed = sum(count for kind, count in ledger.faults.items() if kind.startswith("kill -9"))
    print(f"{totals['faults injected']:,} faults, {killed} of them kill -9; {totals['inputs tried']:,} inputs")
    if given.output:
        files.write_whole(given.output, json.dumps({"kills": killed, **totals}, indent=1) + "\n")
    return 1 if any(totals[name] for name in FAILURES) else 0


if __name__ == "__main__":
    sys.exit(main())
