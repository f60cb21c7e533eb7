"""Many runs of one chapter on Dask: each set of parameters a papermill run, merged as one run would have written it.

A worker runs in a folder of its own and hands back bytes: the executed notebook, the log and the records. Only the
sweep itself writes below ``<output>``, a run's folder whole or not at all. So no worker that is killed leaves half a
run, and no disk need be shared. ::

    <output>/sweep.json                   the plan: address and parameters of every run
    <output>/runs/<address>/              rq1_x.ipynb (executed), log.txt, status.json, and every table that the run
                                          wrote: rq1.csv, rq1.json, doses.csv, doses.json
    <output>/rq1.csv, rq1.json, ...       the records of all runs, merged
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from blurnb import files, records
from blurnb.errors import UserError, reason
from blurnb.study import chapters, grids, journal, notebooks

DONE, FAILED, MISSING = "done", "failed", "missing"
RETRIES = 2
CUT = ("rq1",)
"""Chapters whose images can be answered in parts, so that the run over all of them finds the answers."""


class Chapter(NamedTuple):
    """A notebook as workers need it: its question, its file name and its text."""

    question: str
    name: str
    text: str


def chapter(path: str | Path) -> Chapter:
    """The chapter at `path`, whose name must begin with its question (rq1_...)."""
    path = Path(path)
    question = chapters.short(path.stem)
    if question not in chapters.names():
        raise UserError(f"{path} does not say which question's parameters it takes; name it rq1_....ipynb")
    try:
        return Chapter(question, path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({type(error).__name__})") from error


def part(text: str) -> tuple[int, int]:
    """``"2/5"`` as (2, 5): the second of five parts."""
    if not (found := re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)):
        raise UserError(f"--shard {text}: give a part such as 2/5")
    return int(found[1]), int(found[2])


def answer(chapter: str, parameters: Mapping, place: int, count: int) -> list[tuple[dict, dict]]:
    """Answer part `place` (1 first) of `count` of every pair's images.

    Returns (facts, answers by image) of each pair, for `journal.add` where the store is not shared. Raises UserError
    for a chapter that cannot be cut, a part that is none, and what the chapter itself refuses.
    """
    if chapter not in CUT:
        raise UserError(f"the images of {chapter} are not answered in parts; only those of {', '.join(CUT)} are")
    if not 1 <= place <= count:
        raise UserError(f"shard {place}/{count} is none; give 1/{count} to {count}/{count}")
    module = chapters.found(chapter)
    return module.shard(module.Parameters.validate(parameters), place, count)


def execute(chapter: Chapter, parameters: Mapping, here: str, answered: Sequence[list] = ()) -> dict:
    """One run: what it made as bytes by file name, its wall time, and the reason in one line if it failed.

    `here` is the working directory, where this machine has it; `answered` is what other workers did of it.
    """
    for facts, answers in (pair for part in answered for pair in part):
        journal.add(files.cache_folder(), facts, answers)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="blurnb-") as name:
        folder = Path(name)
        given, target, tables = folder / "given.ipynb", folder / chapter.name, folder / "records"
        given.write_text(chapter.text, encoding="utf-8")
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            own = {**parameters, "output_dir": str(tables)}
            place = here if Path(here).is_dir() else None
            reason = notebooks.run(given, target, own, folder=place, log=log, checked=True)
        made = {"log.txt": folder / "log.txt", chapter.name: notebooks.running(target) if reason else target}
        written = [one for path in records.tables(tables) for one in (path, path.with_suffix(".json"))]
        made |= {path.name: path for path in written}
        content = {file: path.read_bytes() for file, path in made.items() if path.is_file()}
    where = f"{socket.gethostname()}, process {os.getpid()}"
    return {"reason": reason, "seconds": time.perf_counter() - started, "worker": where, "files": content}


def run(
    chapter: Chapter,
    given: Sequence[Mapping],
    output: str | Path,
    *,
    scheduler: str = "local",
    workers: int = 0,
    shards: int = 1,
) -> pd.DataFrame:
    """Run every set of parameters that is not done yet, merge the records, and return the `status` of all.

    `scheduler` is "local" (that many `workers` on this machine; 0: one a processor, at most one a run) or a Dask
    scheduler's address. With `shards` the images of each run are answered in that many parts first (RQ1 alone).
    A run whose worker dies is given to another, one whose kernel dies is tried RETRIES more times; one that stops
    with an error is not tried again before the next sweep. Raises UserError before anything starts for parameters
    that the chapter refuses, a folder that another sweep is using, and a scheduler that cannot be reached.
    """
    if shards < 1 or (shards > 1 and chapter.question not in CUT):
        raise UserError(f"shards={shards}: give 1 or more, and more than 1 for chapter rq1 alone")
    plan = grids.plan(chapter.question, chapter.text, given)
    output = Path(output)
    with _sole(output):
        stated = {"chapter": chapter.name, "runs": plan}
        files.write_whole(output / "sweep.json", json.dumps(stated, indent=1) + "\n")
        missing = [address for address in plan if _state(output / "runs" / address)["state"] != DONE]
        if missing:
            with _client(scheduler, workers or min(os.cpu_count() or 1, len(missing) * shards)) as client:
                _work(client, chapter, {address: plan[address] for address in missing}, output, shards)
        _merge(output, plan)
        return status(output)


@contextlib.contextmanager
def _sole(output: Path) -> Iterator[None]:
    try:
        output.mkdir(parents=True, exist_ok=True)
        held = FileLock(output / ".sweep.lock").acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"another sweep is working in {output}; wait for it, or choose another --output") from error
    except OSError as error:
        raise UserError(f"cannot write in {output}: {error.strerror}; choose another --output") from error
    with held:
        yield


@contextlib.contextmanager
def _client(scheduler: str, workers: int) -> Iterator:
    """A Dask client, of workers started here (their kernels share the processors evenly) or of a running scheduler."""
    try:
        import papermill  # noqa: F401
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError(f"a sweep needs the {error.name} package: pip install 'blurnb[book,cluster]'") from error
    if scheduler == "local":
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
        environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        given = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        given |= {"memory_limit": 0, "env": environment, "silence_logs": 50}
        with _deaf() as listen, LocalCluster(**given) as cluster:
            listen()
            with Client(cluster) as client:
                yield client
        return
    try:
        client = Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}; start one with: dask scheduler") from error
    with client:
        try:
            # A batch queue may take longer to start the first worker.
            client.wait_for_workers(1, timeout=float(os.environ.get("BLURNB_PATIENCE", 60)))
        except TimeoutError as error:
            raise UserError(f"no worker has joined {scheduler}; start one with: dask worker {scheduler}") from error
        yield client


@contextlib.contextmanager
def _deaf() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits until `listen`, the function that is given, is called: half a cluster cannot be closed.

    Processes that are started meanwhile never hear of it; they are closed by whoever does.
    """
    pressed: list[tuple] = []
    is_main = threading.current_thread() is threading.main_thread()  # no other hears of Ctrl-C
    heard = signal.signal(signal.SIGINT, lambda *given: pressed.append(given)) if is_main else None

    def listen() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if is_main:
            signal.signal(signal.SIGINT, heard or signal.SIG_DFL)
        if pressed:
            pressed.clear()
            raise KeyboardInterrupt

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield listen
    finally:
        listen()


def _work(client, chapter: Chapter, plan: Mapping[str, dict], output: Path, count: int) -> None:
    from distributed import as_completed

    addresses, parts = {}, []
    for address, parameters in plan.items():
        own = []
        for place in range(1, count + 1) if count > 1 else ():
            key = f"answers-{address}-{place}-of-{count}"
            own.append(client.submit(answer, chapter.question, parameters, place, count, key=key, retries=RETRIES))
        future = client.submit(execute, chapter, parameters, os.getcwd(), own, key=f"run-{address}", retries=RETRIES)
        addresses[future] = address
        parts += own
    failed = 0
    title = f"{chapter.name}, {len(client.scheduler_info()['workers'])} workers"
    with tqdm(total=len(addresses) + len(parts), desc=title, unit="run" if not parts else "part", mininterval=0) as bar:
        for future in as_completed([*parts, *addresses]):
            if future in addresses:
                result = _result(future)
                _keep(output / "runs" / addresses[future], plan[addresses[future]], result)
                failed += bool(result["reason"])
                bar.set_postfix_str(f"{failed} failed" if failed else "")
                future.release()  # its bytes are on disk
            bar.update()


def _result(future) -> dict:
    """What the run handed back, or, where it handed back nothing, why."""
    if future.status == "finished":
        return future.result()
    blank = {"seconds": 0.0, "worker": "", "files": {}}
    if future.status == "cancelled":
        return blank | {"reason": "cancelled: the scheduler went away, or somebody cancelled it there"}
    error = future.exception()
    kind, line = type(error).__name__, reason(error)
    if kind == "KilledWorker":
        line = "every worker that tried it died; out of memory? see the workers' logs"
    return blank | {"reason": line if isinstance(error, UserError) else f"{line} ({kind})"}


def _keep(folder: Path, parameters: Mapping, result: Mapping) -> None:
    """Put a run's files and status into `folder`: whole or not at all, in place of an earlier, failed try."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in result["files"].items()}
    about = {"state": FAILED if result["reason"] else DONE, "parameters": dict(parameters)}
    about |= {**result, "seconds": round(result["seconds"], 2), "files": digests}
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for name, content in result["files"].items():
            files.write_whole(staging / name, content)
        files.write_whole(staging / "status.json", json.dumps(about, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _state(folder: Path) -> dict:
    """The status of a run; missing where there is none, or where its files are not those that it wrote."""
    missing = {"state": MISSING, "reason": "", "seconds": 0.0, "files": {}}
    try:
        found = json.loads((folder / "status.json").read_text())
        for name, digest in found["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                return missing
        return missing | found
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return missing


def _merge(output: Path, plan: Mapping[str, dict]) -> None:
    """The records of all runs that are done, in the order of the plan, file by file."""
    tables: dict[str, list[Path]] = {}
    for address in plan:
        state = _state(output / "runs" / address)
        for name in state["files"] if state["state"] == DONE else ():
            if name.endswith(".csv"):
                tables.setdefault(name, []).append(output / "runs" / address / name)
    for name, paths in tables.items():
        records.merge(paths, output / name)


def status(output: str | Path) -> pd.DataFrame:
    """One line a run of the last sweep into `output`: address, state (done, failed, missing), seconds, what, reason."""
    output = Path(output)
    try:
        plan = json.loads((output / "sweep.json").read_text())["runs"]
    except FileNotFoundError as error:
        raise UserError(f"no sweep in {output}; start one with: blurnb sweep CHAPTER --output {output}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{output / 'sweep.json'} is damaged; start the sweep again, done runs are kept") from error
    lines = []
    for address, parameters in plan.items():
        state = _state(output / "runs" / address)
        what = grids.described(parameters, list(plan.values()))
        lines.append({"run": address, **{k: state[k] for k in ("state", "seconds", "reason")}, "what": what})
    return pd.DataFrame(lines, columns=["run", "state", "seconds", "what", "reason"])
