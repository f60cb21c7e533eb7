"""Sweeps: each set done once and merged as one run would have written it, whatever dies; a rerun does what is missing.

``BLURNB_SWEEP_SETS=12`` kills a worker in the middle of twelve sets instead of four.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.study import grids, sweeps
from blurnb.study.chapters import rq1_degradation as chapter

pytest.importorskip("distributed", reason="NOT TESTED: distributed is not installed (the cluster extra)")

ROOT = Path(__file__).parents[2]
SETS = int(os.environ.get("BLURNB_SWEEP_SETS", 4))
TABLES = ("rq1", "doses", "card", "rq5")
GIVEN = {"profile": "smoke", "dataset": "scenes", "network": "vgg_mini", "weights": "none", "n_images": 64}
CELLS = [
    (["parameters"], "profile = None\n" + "".join(f"{name} = None\n" for name in ("dataset", "network", "weights"))
     + "n_images = None\nblurs = None\nscales = None\nseed = 0\noutput_dir = 'out'"),
    ([], "from blurnb.errors import UserError\nfrom blurnb.study.chapters import rq1_degradation as chapter\n"
         "parameters = chapter.Parameters.validate(globals())\nprint('seed', parameters.seed)\n"
         "if parameters.seed == 13:\n    raise UserError('seed=13 is unlucky; use another')\n"
         "run = chapter.run(parameters)"),
]  # fmt: skip


@pytest.fixture
def short(tmp_path, monkeypatch):
    """RQ1 without its figures, in a folder with a cache of its own."""
    cells = [{"cell_type": "code", "execution_count": None, "id": f"c{i}", "metadata": {"tags": tags}, "outputs": [],
              "source": source} for i, (tags, source) in enumerate(CELLS)]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "rq1_short.ipynb").write_text(json.dumps(book))
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return sweeps.chapter(tmp_path / "rq1_short.ipynb")


def alone(given, folder, monkeypatch) -> bytes:
    """The records that one process writes for all sets, one after the other, with a cache of its own."""
    monkeypatch.setenv("BLURNB_CACHE", str(folder / "cache"))
    for one in given:
        chapter.run(chapter.Parameters.validate(one | {"output_dir": str(folder)}))
    return (folder / "rq1.csv").read_bytes()


def test_a_rerun_does_only_what_failed_and_the_records_are_those_of_one_run(short, monkeypatch):
    given = grids.sets({"seed": [0, 13], "blurs": [["sharp", "D8"]]}, [GIVEN])
    found = sweeps.run(short, given, "out", workers=1)
    assert found["state"].tolist() == ["done", "failed"]
    assert found["reason"].tolist() == ["", "seed=13 is unlucky; use another"]
    good, bad = (Path("out/runs") / address for address in found["run"])
    assert "seed 0" in (good / "log.txt").read_text()
    outputs = [cell.get("outputs") for cell in json.loads((bad / "rq1_short.ipynb").read_text())["cells"]]
    assert "unlucky" in json.dumps(outputs)  # the notebook is kept as it stopped
    assert not list(bad.glob("*.csv"))
    before = (good / "status.json").stat().st_mtime_ns, (bad / "status.json").stat().st_mtime_ns
    mended = [given[0], given[1] | {"seed": 14}]
    assert sweeps.run(short, mended, "out", workers=1)["state"].tolist() == ["done", "done"]
    after = (good / "status.json").stat().st_mtime_ns, (bad / "status.json").stat().st_mtime_ns
    assert after == before
    assert Path("out/rq1.csv").read_bytes() == alone(mended, Path("alone").absolute(), monkeypatch)


def dask(*arguments):
    command = [Path(sys.executable).with_name("dask"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def alive(process: psutil.Process) -> bool:
    """A zombie has ended; only its parent, or whoever runs as process 1, has not asked for its exit code."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def runs_a_notebook(worker: psutil.Process) -> bool:
    for child in worker.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended between the listing and the question, or is a zombie
            if "ipykernel" in " ".join(child.cmdline()):
                return True
    return False


def test_a_process_that_ends_while_it_is_looked_at_is_no_notebook():
    child = subprocess.Popen([sys.executable, "-c", "pass # ipykernel"])
    process = psutil.Process(child.pid)
    wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)  # nobody has asked for its exit code yet
    try:
        assert not runs_a_notebook(SimpleNamespace(children=lambda recursive: [process]))
        assert not alive(process)
    finally:
        child.wait()
    assert not alive(process)


def test_a_killed_worker_costs_nothing_but_time(short, monkeypatch):
    from distributed import LocalCluster

    given = grids.sets({"seed": list(range(SETS)), "blurs": [["sharp", "D8", "shake"]]}, [GIVEN])
    Path("grid.yml").write_text(json.dumps(given))
    with LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as cluster:
        address = cluster.scheduler_address
        workers = [dask("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]
        wait_for(lambda: len(cluster.scheduler.workers) == 2)  # one alone might have done it all before the other came
        command = [sys.executable, "-m", "blurnb", "sweep", "rq1_short.ipynb", "-f", "grid.yml", "--output", "out"]
        running = subprocess.Popen([*command, "--scheduler", address], stderr=subprocess.PIPE, text=True)
        try:
            victim = psutil.Process(workers[0].pid)
            wait_for(lambda: list(Path("out").glob("runs/*/status.json")))
            wait_for(lambda: runs_a_notebook(victim))
            kernels = victim.children(recursive=True)
            assert len(list(Path("out").glob("runs/*/status.json"))) < SETS
            victim.send_signal(signal.SIGKILL)
            stderr = running.communicate(timeout=300)[1]
            assert running.returncode == 0, stderr[-2000:]
            wait_for(lambda: not any(map(alive, kernels)), 20)  # none goes on without its worker
        finally:
            for process in (running, *workers):
                process.kill()
                process.wait()
    found = sweeps.status("out")
    assert found["state"].tolist() == ["done"] * SETS
    assert sorted(p.name for p in Path("out/runs").iterdir()) == sorted(found["run"])
    survivors = {json.loads(p.read_text())["worker"] for p in Path("out").glob("runs/*/status.json")}
    assert any(worker.endswith(f"process {workers[1].pid}") for worker in survivors)
    assert Path("out/rq1.csv").read_bytes() == alone(given, Path("alone").absolute(), monkeypatch)


def test_a_sweep_answers_shards_first(short, monkeypatch):
    given = [GIVEN | {"n_images": 130, "blurs": ["sharp", "D8"]}]
    assert sweeps.run(short, given, "out", workers=1, shards=3)["state"].tolist() == ["done"]
    assert [note["computed_images"] for note in records.load("out", with_manifests=True)[1].values()] == [0]
    assert Path("out/rq1.csv").read_bytes() == alone(given, Path("alone").absolute(), monkeypatch)


def test_every_table_that_a_run_wrote_is_gathered_and_merged(short, monkeypatch):
    """RQ1 writes its doses and its rounding beside its own table, the card one that is not named after a question."""
    book = json.loads(short.text)
    book["cells"][1]["source"] = (
        "from blurnb import records\n"
        f"for name in {TABLES}:\n"
        "    one = {'metric': 'top1', 'statistic': 'estimate', 'value': 0.5, 'n': 9, 'run_id': f'{name} {seed}'}\n"
        "    records.write(f'{output_dir}/{name}.csv', [one], {one['run_id']: {}})"
    )
    for seed in (0, 1):
        result = sweeps.execute(short._replace(text=json.dumps(book)), {"seed": seed}, ".")
        assert result["reason"] == ""
        expected = {f"{name}.{kind}" for name in TABLES for kind in ("csv", "json")}
        assert set(result["files"]) == {"log.txt", short.name} | expected
        sweeps._keep(Path("out/runs") / str(seed), {}, result)
    sweeps._merge(Path("out"), {"0": {}, "1": {}})
    for name in TABLES:
        assert sorted(records.read(f"out/{name}.csv")["run_id"]) == [f"{name} 0", f"{name} 1"]


def test_only_what_changed_is_run_again(short, monkeypatch):
    worked = []

    def work(client, chapter, plan, output, count):
        worked.extend(one["weights"] for one in plan.values())
        for address, one in plan.items():
            sweeps._keep(output / "runs" / address, one, {"reason": "", "seconds": 1.0, "worker": "", "files": {}})

    monkeypatch.setattr(sweeps, "_work", work)
    monkeypatch.setattr(sweeps, "_client", lambda *_: nullcontext())
    given = [GIVEN | {"weights": name} for name in ("a.pt", "b.pt")]
    for name in ("a.pt", "b.pt"):
        Path(name).write_bytes(b"weights")
    sweeps.run(short, given, "out")
    sweeps.run(short, given, "out")
    assert worked == ["a.pt", "b.pt"]
    Path("b.pt").write_bytes(b"Weights")
    assert sweeps.run(short, given, "out")["state"].tolist() == ["done", "done"]
    assert worked == ["a.pt", "b.pt", "b.pt"]


def kept(folder: Path, state: str = "") -> None:
    files = {"log.txt": b"said", "rq1.csv": b"x"}
    sweeps._keep(folder, {"seed": 1}, {"reason": state, "seconds": 1.0, "worker": "here", "files": files})


def test_a_run_that_is_not_whole_is_missing(tmp_path):
    folder = tmp_path / "runs" / "a"
    assert sweeps._state(folder)["state"] == "missing"
    kept(folder, "it rained")
    assert sweeps._state(folder)["state"] == "failed"
    kept(folder)
    assert sweeps._state(folder)["state"] == "done"
    assert [path.name for path in folder.parent.iterdir()] == ["a"]
    for damage in ("log.txt", "status.json"):
        kept(folder)
        (folder / damage).write_bytes(b"{")
        assert sweeps._state(folder)["state"] == "missing"
    kept(folder)
    (folder / "rq1.csv").unlink()
    assert sweeps._state(folder)["state"] == "missing"


def test_status_knows_the_last_plan(tmp_path):
    with pytest.raises(UserError, match="no sweep in"):
        sweeps.status(tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps({"runs": {"a": {"seed": 1}, "b": {"seed": 2}}}))
    kept(tmp_path / "runs" / "a")
    found = sweeps.status(tmp_path)
    assert found[["run", "state", "what"]].values.tolist() == [["a", "done", "seed=1"], ["b", "missing", "seed=2"]]
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        sweeps.status(tmp_path)


def test_what_cannot_be_swept_is_refused_before_anything_starts(short, tmp_path):
    with pytest.raises(UserError, match="n_imges"):
        sweeps.run(short, [GIVEN, {"n_imges": 3}], tmp_path / "out")
    with pytest.raises(UserError, match="shards=2"):
        sweeps.run(short._replace(question="rq2"), [GIVEN], tmp_path / "out", shards=2)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        sweeps.run(short, [GIVEN], tmp_path / "out", scheduler="tcp://127.0.0.1:9")
    with sweeps._sole(tmp_path / "out"), pytest.raises(UserError, match="another sweep"):
        sweeps.run(short, [GIVEN], tmp_path / "out")
    (tmp_path / "mine.ipynb").write_text("{}")
    with pytest.raises(UserError, match="name it rq1_"):
        sweeps.chapter(tmp_path / "mine.ipynb")


def test_no_worker_is_said(short, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setenv("BLURNB_PATIENCE", "0.5")
    with (
        LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as cluster,
        pytest.raises(UserError, match="no worker has joined"),
    ):
        sweeps.run(short, [GIVEN], "out", scheduler=cluster.scheduler_address)


def test_ctrl_c_waits_until_there_is_a_whole_cluster_to_close(monkeypatch):
    told = []

    class Cluster:
        def __init__(self, **_):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # where it would be raised
            told.append("whole")
            told.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))  # as its workers inherit it

        def __enter__(self):
            return self

        def __exit__(self, *_):
            told.append("closed")

    monkeypatch.setattr("distributed.LocalCluster", Cluster)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), sweeps._client("local", 1):
            told.append("used")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == ["whole", True, "closed"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
