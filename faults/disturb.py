"""Kills, full and read-only disks, two processes at once, a clock that was set back."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .jobs import JOBS, told
from .ledger import Ledger
from .processes import NOBODY, Outcome, dying, forked, may_become_another_user, open_to_all

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that others may enter, as the campaign also works without root's rights."""
    path = Path(tempfile.mkdtemp(prefix="blurnb-faults-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def undisturbed(job: str) -> tuple[list[str], float]:
    """What the job records when nothing happens, and how many seconds of the processor it takes."""
    with folder() as place:
        outcome = forked(partial(JOBS[job], place))
        if outcome.kind != "done":
            raise SystemExit(f"{job} does not even run undisturbed:\n{outcome.text}")
        return told(place), outcome.seconds


def settled(ledger: Ledger, job: str, place: Path, expected: list[str], fault: str, user: int | None = None) -> None:
    """Run the job to its end and hold its records to the undisturbed ones; nothing unfinished may lie about."""
    outcome = forked(partial(JOBS[job], place), user=user)
    if outcome.kind != "done":
        ledger.failed("tracebacks" if outcome.kind != "refused" else "lost records", f"{fault}: {outcome.text}")
        return
    ledger.compare(told(place), expected, fault)
    left = [str(path) for path in place.rglob(".*.new")]
    if left:
        ledger.failed("lost records", f"{fault}: {left[0]} was left behind", len(left))


def expect_one_line(ledger: Ledger, outcome: Outcome, fault: str, *, names: str = "") -> None:
    """A fault that cannot be worked around must end in one line that names a file or parameter."""
    if outcome.kind in ("traceback", "hung"):
        ledger.failed("tracebacks", f"{fault} ({outcome.kind}): {outcome.text[-1200:]}")
    elif outcome.kind == "refused" and names and names not in outcome.text:
        ledger.failed("tracebacks", f"{fault}: the line does not name {names}: {outcome.text}")


# ------------------------------------------------------------------------------------------------ kills


def kill_at_random(ledger: Ledger, job: str, rounds: int, draw: random.Random) -> None:
    """SIGKILL at random moments, up to three times in a row, then a rerun to the end."""
    expected, seconds = undisturbed(job)
    done = 0
    while done < rounds:
        with folder() as place:
            for _ in range(min(draw.randint(1, 3), rounds - done)):
                outcome = forked(partial(JOBS[job], place), kill_after=draw.uniform(0.02, 1.0) * seconds)
                ledger.faults[f"kill -9, {job}"] += outcome.kind == "killed"
                done += 1
                expect_one_line(ledger, outcome, f"kill -9, {job}, the run after a kill")
            settled(ledger, job, place, expected, f"kill -9, {job}")


def kill_at_calls(ledger: Ledger, job: str, moments: list[tuple[str, int, bool]]) -> None:
    """SIGKILL exactly where it hurts: before or after a rename, in the middle of a write."""
    expected, _ = undisturbed(job)
    for call, count, after in moments:
        with folder() as place:
            outcome = forked(dying(partial(JOBS[job], place), call, count, after))
            ledger.faults[f"kill -9 at a {call}, {job}"] += outcome.kind == "killed"
            fault = f"kill -9 {'after' if after else 'at'} {call} {count}, {job}"
            expect_one_line(ledger, outcome, fault)
            settled(ledger, job, place, expected, fault)


def kill_a_command(
    ledger: Ledger, arguments: Callable[[Path], list[str]], begun: str, kind: str, rounds: int, draw: random.Random
) -> None:
    """The command line in a process group of its own, killed as a whole soon after it wrote `begun`, then run again."""

    def start(place: Path) -> subprocess.Popen:
        environment = os.environ | {"BLURNB_CACHE": str(place / "cache"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "blurnb", *arguments(place)]
        log = open(place / "said.txt", "w")  # noqa: SIM115
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)

    def finish(place: Path) -> None:
        code = start(place).wait(1200)
        said = (place / "said.txt").read_text()
        if code:
            ledger.failed("tracebacks", f"{kind}: exit code {code}: {said[-1200:]}")

    with folder() as place:
        finish(place)
        expected = told(place)
    with folder() as place:
        for _ in range(rounds):
            process = start(place)
            while process.poll() is None and not (place / begun).exists():
                time.sleep(0.01)
            time.sleep(draw.uniform(0.0, 1.5))
            ledger.faults[f"kill -9, {kind}"] += process.poll() is None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            (place / begun).unlink(missing_ok=True)
        finish(place)
        ledger.compare(told(place), expected, f"kill -9, {kind}")


def chapter(place: Path) -> list[str]:
    given = {"profile": "smoke", "dataset": "scenes", "network": "vgg_mini", "weights": "none", "n_images": 64}
    given |= {"blurs": "sharp,D8", "scales": "native", "output_dir": place / "out", "precision": "float32"}
    options = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    return ["run", "rq1", *options, "--output", str(place / "out" / "rq1.ipynb")]


def sweep(place: Path) -> list[str]:
    given = {"profile": "smoke", "dataset": "scenes", "network": "vgg_mini", "weights": "none", "n_images": 64}
    given |= {"blurs": "[sharp,D8]", "scales": "[native]", "seed": "0,1", "precision": "float32"}
    options = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    return ["sweep", "rq1", *options, "--workers", "1", "--output", str(place / "out")]


def kill_sweeps(ledger: Ledger, rounds: int, draw: random.Random) -> None:
    kill_a_command(ledger, sweep, "out/sweep.json", "sweep", rounds, draw)


# ------------------------------------------------------------------------------------------------ disks


def small_files(ledger: Ledger, job: str, sizes: list[int]) -> None:
    """No file may grow beyond `sizes` bytes (a quota): one line, and nothing lost when there is room again."""
    expected, _ = undisturbed(job)
    for size in sizes:
        with folder() as place:
            ledger.faults[f"file size limit, {job}"] += 1
            outcome = forked(partial(JOBS[job], place), largest_file=size)
            expect_one_line(ledger, outcome, f"file size limit {size}, {job}", names=str(place))
            settled(ledger, job, place, expected, f"file size limit {size}, {job}")


def full_disk(ledger: Ledger, job: str, kilobytes: list[int]) -> None:
    """A disk of so many kilobytes, then one with room."""
    expected, _ = undisturbed(job)
    for size in kilobytes:
        with folder() as place:
            if not mounted(place, size):
                ledger.skip("full disk: a small tmpfs cannot be mounted here (it takes root); file size limits were")
                return
            try:
                place.chmod(0o755)
                ledger.faults[f"full disk, {job}"] += 1
                outcome = forked(partial(JOBS[job], place))
                expect_one_line(ledger, outcome, f"full disk of {size} KB, {job}", names=str(place))
                subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True, capture_output=True)
                settled(ledger, job, place, expected, f"full disk of {size} KB, {job}")
            finally:
                subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def mounted(place: Path, kilobytes: int) -> bool:
    if os.geteuid() or not shutil.which("mount"):
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def read_only(ledger: Ledger, job: str) -> None:
    """Nothing may be written; then only the records may, and what is kept in the cache must suffice."""
    if not may_become_another_user():
        ledger.skip("read-only folders: it takes root to become somebody who may not write")
        return
    expected, _ = undisturbed(job)
    with folder() as place:
        for name in ("out", "cache"):
            (place / name).mkdir()
        open_to_all(place)
        for locked in (["out"], ["cache"], ["out", "cache"]):
            for name in ("out", "cache"):
                (place / name).chmod(0o555 if name in locked else 0o755)
            ledger.faults[f"read-only folder, {job}"] += 1
            outcome = forked(partial(JOBS[job], place), user=NOBODY)
            if outcome.kind == "done" and "out" in locked:
                ledger.failed("lost records", f"read-only {locked}, {job}: it says that it wrote")
            expect_one_line(ledger, outcome, f"read-only {locked}, {job}", names=str(place))
            (place / "out").chmod(0o755)
            (place / "cache").chmod(0o755)
        settled(ledger, job, place, expected, f"read-only folder, {job}", user=NOBODY)
        shutil.rmtree(place / "out")
        (place / "out").mkdir()
        open_to_all(place)
        for path in (place / "cache", *(place / "cache").rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        ledger.faults[f"read-only cache that has everything, {job}"] += 1
        settled(ledger, job, place, expected, f"read-only cache that has everything, {job}", user=NOBODY)


# ------------------------------------------------------------------------------------------------ others and clocks


def two_at_once(ledger: Ledger, job: str, rounds: int) -> None:
    """Two processes compute the same cell in the same folder."""
    expected, _ = undisturbed(job)
    for _ in range(rounds):
        with folder() as place:
            ledger.faults[f"two processes at once, {job}"] += 1
            other = os.fork()
            if other == 0:
                os._exit(0 if forked(partial(JOBS[job], place)).kind == "done" else 1)
            mine = forked(partial(JOBS[job], place))
            theirs = os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])
            if mine.kind != "done" or theirs:
                ledger.failed("tracebacks", f"two at once, {job}: {mine.kind}, other {theirs}: {mine.text[-800:]}")
            ledger.compare(told(place), expected, f"two at once, {job}")


def clock_set_back(ledger: Ledger, job: str, draw: random.Random) -> None:
    """Every file is dated a year ahead, and the clock runs backwards while an interrupted job goes on."""
    expected, seconds = undisturbed(job)

    def backwards(work):
        now = [time.time()]

        def earlier() -> float:
            now[0] -= 3600
            return now[0]

        time.time = earlier
        work()

    with folder() as place:
        forked(partial(JOBS[job], place), kill_after=draw.uniform(0.4, 0.9) * seconds)
        ahead = time.time() + 365 * 86400
        for path in place.rglob("*"):
            os.utime(path, (ahead, ahead))
        ledger.faults[f"clock set back, {job}"] += 1
        outcome = forked(partial(backwards, partial(JOBS[job], place)))
        expect_one_line(ledger, outcome, f"clock set back, {job}")
        settled(ledger, job, place, expected, f"clock set back, {job}")
