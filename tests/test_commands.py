"""The command line: a mistake is one line on stderr and exit code 2, and nothing starts before it is mended."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from inspect import signature
from pathlib import Path

import planted
import pytest

from blurnb import commands
from blurnb.__main__ import main
from blurnb.errors import UserError
from blurnb.recognition import datasets
from blurnb.study import sweeps

NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {"tags": ["parameters"]},
         "outputs": [], "source": "profile = 'smoke'\nseed = 0\noutput_dir = 'out'"},
        {"cell_type": "code", "execution_count": None, "id": "b", "metadata": {}, "outputs": [],
         "source": "from pathlib import Path\nfrom blurnb.errors import UserError\n"
                   "Path('ran').touch()\nif seed == 13:\n    raise UserError('seed=13 is unlucky; use another')"},
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip


@pytest.fixture
def chapters(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "rq1_degradation.ipynb").write_text(json.dumps(NOTEBOOK))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch, capfd, *arguments: str) -> tuple[int, list[str], str]:
    """(exit code, lines on stderr, stdout) of the command, in this process: torch is loaded once."""
    monkeypatch.setattr(sys, "argv", ["blurnb", *arguments])
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    out, err = capfd.readouterr()
    return code, err.strip().splitlines(), out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run", "rq1", "-p", "n_image=5"], "parameter 'n_image' is unknown; did you mean n_images"),
        (["run", "rq1", "-p", "n_images=-5"], "n_images=-5"),
        (["run", "rq1", "-p", "blurs=sharp,Q8"], "Q8"),
        (["run", "rq1", "-p", "scales=12"], "'12'"),
        (["run", "rq1", "-p", "profile=big"], "profile 'big' is unknown"),
        (["run", "rq1", "-p", "seed"], "-p 'seed' is not NAME=VALUE"),
        (["run", "rq1", "-p", "=5"], "-p '=5' is not NAME=VALUE"),
        (["run", "rq1", "-p", "blurs=[sharp"], "-p blurs=[sharp is not a number, text or list"),
        (["run", "rq9"], "chapter 'rq9' is not in notebooks; did you mean rq1?; there: rq1"),
        (["run", "rq1", "--folder", "absent"], "chapter 'rq1' is not in absent"),
        (["run", "missing.ipynb"], "no notebook at missing.ipynb"),
        (["run", "rq1", "-p", "blurs="], "-p blurs= has no value"),
        (["finetune", "-p", "profile=smoke", "--mix", "mux"], "'mux' is not among the chapter's mixes: sharp, mix"),
        (
            ["sweep", "rq1", "-p", "seed=0,1", "-p", "n_imges=3"],
            "parameter 'n_imges' is unknown; did you mean n_images",
        ),
        (["sweep", "rq1", "-p", "blurs=[sharp"], "-p blurs=[sharp is no list of values"),
        (["sweep", "rq1", "-f", "absent.yml"], "cannot read absent.yml"),
        (["sweep", "rq1", "-p", "output_dir=x"], "give it as --output"),
        (["status", "out"], "no sweep in out"),
        (["run", "rq1", "--shard", "0/3"], "--shard 0/3"),
        (["run", "rq1", "-p", "profile=smoke", "--shard", "4/3"], "shard 4/3 is none"),
        (["data", "imagnet"], "dataset 'imagnet' is unknown; did you mean imagenet"),
        (["data", "imagenet"], "data_root is needed for dataset 'imagenet'"),
        (["data", "imagenet", "--root", "absent"], "data_root 'absent' is not a folder"),
        (["data", "foolbox20", "--split", "exam"], "split 'exam' is unknown"),
        (["data", "foolbox20", "--split", "train"], "--split train would change nothing"),
        (["data", "scenes", "--root", "x"], "--root x would change nothing"),
        (["run", "rq1", "-p", "data_root=/nonexistent", "-p", "profile=smoke"], "would change nothing: no data set of"),
        (["run", "rq1", "--shard", "1/2", "--output", "x.ipynb"], "--output x.ipynb would change nothing"),
        (["run", "rq1", "--shard", "1/2", "-p", "output_dir=x"], "-p output_dir=x would change nothing"),
        (["run", "rq1", "--shard", "1/2", "-p", "dose_blurs=D8"], "-p dose_blurs=D8 would change nothing"),
        (["run", "notebooks/rq1_degradation.ipynb", "--folder", "x"], "--folder x would change nothing"),
        (["run", "rq1", "-p", "frame=0o17"], "frame='0o17'"),
        (["run", "rq1", "-p", "n_images=1:30"], "n_images='1:30'"),
        (["sweep", "rq1", "-p", "frame=0x200"], "frame='0x200'"),
        (["sweep", "rq1", "-p", "seed=1", "--scheduler", "tcp://x:1", "--workers", "2"], "--workers 2 would change"),
        (["finetune", "-p", "profile=smoke", "-p", "blurs=D8"], "-p blurs=D8 would change nothing"),
        (["rounding", "-p", "profile=smoke", "-p", "rounding=8-bit"], "-p rounding=8-bit would change nothing"),
        (["resampling", "-p", "profile=smoke", "-p", "resample=bilinear"], "resample=bilinear would change nothing"),
        (["card", "--network", "resnet18", "--data", "x", "-p", "output_dir=y"], "give it as --output"),
        (["card", "--network", "resnet18", "--data", "x", "-p", "n_images=3"], "give it as --n-images"),
        (["card", "--network", "nets:build", "--data", "x", "--weights", "y.pth"], "'y.pth' is no file"),
        (
            ["card", "--network", "nets:build", "--data", "x", "--weights", "none"],
            "weights='none' would change nothing",
        ),
        (["card", "--network", "nets:build", "--data", "x", "-p", "small_input=zero-pad"], "small_input='zero-pad'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(chapters, monkeypatch, capfd, arguments, message):
    code, lines, out = call(monkeypatch, capfd, *arguments)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert out == ""
    assert not (chapters / "out").exists()
    assert not (chapters / "ran").exists()


@pytest.mark.parametrize("arguments", [["fly"], ["run"], ["run", "rq1", "--fast"], []])
def test_a_wrong_command_is_explained_with_exit_code_2(chapters, monkeypatch, capfd, arguments):
    code, lines, out = call(monkeypatch, capfd, *arguments)
    assert code == 2
    assert lines or out


def test_help_is_no_mistake(monkeypatch, capfd):
    code, _, out = call(monkeypatch, capfd, "--help")
    assert code == 0
    assert "run" in out


def test_a_data_set_is_described(monkeypatch, capfd):
    pytest.importorskip("foolbox", reason="NOT TESTED: foolbox is not installed")
    code, _, out = call(monkeypatch, capfd, "data", "foolbox20")
    assert code == 0
    assert out.startswith("foolbox20: 20 images of ")


def test_status_fails_while_runs_are_missing_or_failed(chapters, monkeypatch, capfd):
    (chapters / "sweep.json").write_text(json.dumps({"runs": {"a": {"seed": 1}, "b": {"seed": 2}}}))
    for address, reason in (("a", ""), ("b", "it rained")):
        code, _, out = call(monkeypatch, capfd, "status", ".")
        assert code == 1
        assert "missing" in out
        result = {"reason": reason, "seconds": 1.0, "worker": "here", "files": {}}
        sweeps._keep(chapters / "runs" / address, {}, result)
    code, lines, out = call(monkeypatch, capfd, "status", ".")
    assert (code, lines) == (1, ["failed: seed=2: it rained; see runs/b"])
    assert "2 runs in .: 1 done, 1 failed" in out
    sweeps._keep(chapters / "runs" / "b", {}, result | {"reason": ""})
    assert call(monkeypatch, capfd, "status", ".")[0] == 0


def test_pairs_keep_equal_signs_in_values():
    assert commands.pairs(["data_root=/a=b", "seed=3", "blurs="]) == {"data_root": "/a=b", "seed": "3", "blurs": ""}
    assert commands.pairs(None) == {}
    with pytest.raises(UserError):
        commands.pairs(["seed"])


def test_a_chapter_runs_with_its_parameters_and_its_own_mistakes_are_one_line(chapters, monkeypatch, capfd, caplog):
    code, _, _ = call(monkeypatch, capfd, "run", "rq1", "-p", "seed=3", "-p", "output_dir=here", "-p", "n_images=9")
    assert code == 0
    assert "unknown" not in caplog.text  # n_images is not in the chapter's first cell, but its profile knows it
    executed = json.loads((chapters / "here" / "rq1_degradation.ipynb").read_text())
    assert any("seed = 3" in "".join(cell["source"]) for cell in executed["cells"])
    code, lines, _ = call(monkeypatch, capfd, "run", "rq1", "-p", "seed=13")
    assert code == 2
    assert "seed=13 is unlucky; use another" in lines[-1]
    assert "out/rq1_degradation.running.ipynb" in lines[-1]
    assert not (chapters / "out" / "rq1_degradation.ipynb").exists()
    assert "Traceback" not in "\n".join(lines)


def test_what_a_name_says_to_the_terminal_is_spelled_out(chapters, monkeypatch, capfd):
    """Of a sweep's parameters, which may come from anywhere, and of the reasons that its runs gave."""
    evil = "\x1b[2J\x1b]0;owned\x07\r\u202e"
    (chapters / "sweep.json").write_text(json.dumps({"runs": {"a": {"network": evil}, "b": {"network": "b"}}}))
    sweeps._keep(chapters / "runs" / "a", {}, {"reason": evil, "seconds": 1.0, "worker": "here", "files": {}})
    code, lines, out = call(monkeypatch, capfd, "status", ".")
    assert code == 1
    assert "network=\\x1b[2J\\x1b]0;owned\\x07\\r\\u202e" in out
    assert all(one.isprintable() for one in [*lines, *out.splitlines()])


def test_the_module_is_the_command(tmp_path):
    arguments = [sys.executable, "-m", "blurnb", "run", "rq1", "-p", "seed"]
    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == ["error: chapter 'rq1' is not in notebooks; there: "]


def test_an_answer_that_cannot_be_printed_is_one_line(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("NOT TESTED: there is no /dev/full here")
    with open("/dev/full", "w") as full:
        command_line = [sys.executable, "-m", "blurnb", "data", "scenes"]
        answer = subprocess.run(command_line, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == ["error: <stdout>: No space left on device"]


# ------------------------------------------------------------------------------------------------ how a process ends

INTERRUPTED = "interrupted; what was computed is kept, run the same command to go on"
NO_MEMORY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
ENDS = {
    "Ctrl-C": (KeyboardInterrupt(), 130, INTERRUPTED),
    "a pipe that nobody reads": (BrokenPipeError(32, "Broken pipe"), 141, ""),
    "no memory": (MemoryError(), 2, "error: out of memory ()"),
    "no memory for torch": (RuntimeError(NO_MEMORY), 2, f"error: out of memory ({NO_MEMORY})"),
    "no memory for a library": (ImportError("x.so: failed to map segment from shared object"), 2, "error: out of mem"),
    "no disk": (OSError(28, "No space left on device", "x"), 2, "error: x: No space left on device"),
}


@pytest.mark.parametrize("way", ENDS)
def test_a_command_ends_as_the_shell_expects(way, monkeypatch, capfd):
    raised, code, line = ENDS[way]

    def end(*_, **__):
        raise raised

    monkeypatch.setattr(datasets, "load", end)
    found, lines, _ = call(monkeypatch, capfd, "data", "scenes")
    assert found == code
    assert "\n".join(lines).startswith(line)
    assert len(lines) == bool(line)


def test_after_ctrl_c_a_loop_that_is_thrown_away_says_nothing(monkeypatch, capfd, caplog):
    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(datasets, "load", interrupted)
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert call(monkeypatch, capfd, "data", "scenes")[:2] == (130, [INTERRUPTED])
    finally:
        signal.signal(signal.SIGINT, before)
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    assert caplog.text == ""


def test_a_fault_of_ours_is_not_taken_for_one_of_memory(monkeypatch, capfd):
    def end(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(datasets, "load", end)
    with pytest.raises(RuntimeError, match="shapes differ"):
        call(monkeypatch, capfd, "data", "scenes")


@pytest.mark.parametrize("name", ["\u00e9", "\udcff"])
def test_letters_that_the_terminal_does_not_have_are_spelled_out(name, monkeypatch, capfd):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(datasets, "load", lambda *_, **__: planted.images(3))
    monkeypatch.setattr(sys, "stdout", terminal)
    assert call(monkeypatch, capfd, "data", name)[:2] == (0, [])
    assert terminal.buffer.getvalue().startswith(name.encode("ascii", "backslashreplace") + b": 3 images")


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_leads_nowhere(closed, monkeypatch, capfd):
    monkeypatch.setattr(sys, closed, None)
    code, lines, _ = call(monkeypatch, capfd, "run", "absent.ipynb")
    assert (code, len(lines)) == (2, closed != "stderr")
    assert call(monkeypatch, capfd, "--help")[0] == 0
    with contextlib.suppress(AttributeError):
        getattr(sys, closed).close()


def test_too_little_address_space_is_said_before_a_library_hangs(monkeypatch, capfd):
    resource = pytest.importorskip("resource", reason="NOT TESTED: there is no such limit on this system")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3 << 30, resource.RLIM_INFINITY))
    code, lines, _ = call(monkeypatch, capfd, "data", "scenes")
    assert (code, lines) == (
        2,
        ["error: an address space of 3,072 MB is too little; raise it (ulimit -v unlimited)"],
    )


def test_ctrl_c_while_a_notebook_runs_is_one_sentence_and_its_kernel_ends(tmp_path):
    begun = tmp_path / "begun"
    notebook = json.loads(json.dumps(NOTEBOOK))
    notebook["cells"][1]["source"] = (
        f"import os, pathlib, time\npathlib.Path({str(begun)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    (tmp_path / "slow.ipynb").write_text(json.dumps(notebook))
    command_line = [sys.executable, "-m", "blurnb", "run", "slow.ipynb"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    # a shell starts what runs in the background deaf to Ctrl-C, and whoever that starts
    piped["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command_line, cwd=tmp_path, **piped) as process:
        while process.poll() is None and not (begun.is_file() and begun.read_text()):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line and not line.startswith("Executing: ")] == [INTERRUPTED]
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


# What every option of every command is changed to, beside which arguments: it must arrive where the work is done, or be
# refused. What each parameter of -p does is held by test_effects.
BESIDE = {
    "run": ["rq1", "-p", "profile=smoke"],
    "sweep": ["rq1", "-p", "profile=smoke", "-p", "seed=0"],
    "status": ["."],
    "finetune": ["-p", "profile=smoke"],
    "card": ["--network", "resnet18", "--data", "."],
    "rounding": ["-p", "profile=smoke"],
    "resampling": ["-p", "profile=smoke"],
    "data": ["imagenette"],
    "doctor": [],
}
OPTIONS = {
    "run": {
        "chapter": ["other/rq1_x.ipynb"], "parameters": ["-p", "frame=0256"], "output": ["--output", "x.ipynb"],
        "folder": ["--folder", "other"], "shard": ["--shard", "1/2"],
    },
    "sweep": {
        "chapter": ["other/rq1_x.ipynb"], "parameters": ["-p", "frame=64"], "file": ["-f", "sets.yml"],
        "output": ["--output", "x"], "scheduler": ["--scheduler", "tcp://x:1"], "workers": ["--workers", "2"],
        "shards": ["--shards", "2"], "folder": ["--folder", "other"],
    },
    "status": {"output": ["other"]},
    "finetune": {"parameters": ["-p", "epochs=7"], "mix": ["--mix", "shake"]},
    "card": {
        "network": ["--network", "resnet50"], "data": ["--data", "other"], "weights": ["--weights", "none"],
        "output": ["--output", "x"], "n_images": ["--n-images", "3"], "blurs": ["--blurs", "D3"],
        "scales": ["--scales", "64"], "mean": ["--mean", "none"], "std": ["--std", "none"], "strict": ["--strict"],
        "parameters": ["-p", "f_number=8"],
    },
    "rounding": {"parameters": ["-p", "border=circular"]},
    "resampling": {"parameters": ["-p", "border=circular"]},
    "data": {"name": ["tiny-imagenet"], "root": ["--root", "other"], "split": ["--split", "train"]},
    "doctor": {"data_root": ["--data-root", "x"], "output_dir": ["--output-dir", "x"]},
}  # fmt: skip


def test_the_table_holds_every_option_of_every_command():
    told = {one.callback.__name__: set(signature(one.callback).parameters) for one in commands.app.registered_commands}
    assert told == {name: set(options) for name, options in OPTIONS.items()}


class _Enough(Exception):
    pass


@pytest.mark.parametrize("command, option", [(name, one) for name, options in OPTIONS.items() for one in options])
def test_every_option_arrives_where_the_work_is_done(chapters, monkeypatch, capfd, command, option):
    (chapters / "other").mkdir()
    for name in ("rq1_degradation", "rq1_x"):
        (chapters / "other" / f"{name}.ipynb").write_text(json.dumps(NOTEBOOK | {"metadata": {}}))
    (chapters / "sets.yml").write_text("border: [circular]")
    told = []

    def tells(what):
        def work(*given, **more):
            told.append((what, [*map(str, given)], sorted(f"{name}={value}" for name, value in more.items())))
            raise _Enough

        return work

    from blurnb.recognition import datasets
    from blurnb.study import doctor, networks, notebooks
    from blurnb.study.chapters import card, rq1_degradation

    for module, name in (
        *((notebooks, "run"), (sweeps, "run"), (sweeps, "answer"), (sweeps, "status"), (networks, "tuned")),
        *(
            (card, "run"),
            (rq1_degradation, "run_rounding"),
            (rq1_degradation, "run_resampling"),
            (datasets, "load"),
            (doctor, "examine"),
        ),
    ):
        monkeypatch.setattr(module, name, tells(name))
    position = BESIDE[command][:1] if option in ("chapter", "name") or command == "status" else []
    for arguments in (BESIDE[command], BESIDE[command][len(position) :] + OPTIONS[command][option]):
        with pytest.raises(_Enough):
            call(monkeypatch, capfd, command, *arguments)
    assert told[0] != told[1]
