"""Running a notebook: in turns, whole or not at all, and every way to fail is one line."""

import json
import logging
from pathlib import Path

import pytest

from blurnb.errors import UserError
from blurnb.study import notebooks


def laid_out(folder: Path, source: str, kernel: str = "python3") -> Path:
    cells = [
        {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {"tags": ["parameters"]}, "outputs": [],
         "source": "seed = 0"},
        {"cell_type": "code", "execution_count": None, "id": "b", "metadata": {}, "outputs": [], "source": source},
    ]  # fmt: skip
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": kernel}}
    path = folder / "given.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_two_processes_that_run_one_chapter_take_turns(tmp_path, monkeypatch):
    import papermill
    from filelock import FileLock, Timeout

    target = tmp_path / "out" / "rq1.ipynb"

    def held(source, running, *_, **__):
        with pytest.raises(Timeout), FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
            pass
        Path(running).write_text("{}")

    monkeypatch.setattr(papermill, "execute_notebook", held)
    assert notebooks.run(tmp_path / "given.ipynb", target, {}) == ""
    assert target.read_text() == "{}"
    with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
        pass


def test_a_cell_that_fails_is_told_in_one_line_and_the_notebook_stays_as_it_stopped(tmp_path):
    target = tmp_path / "o.ipynb"
    path = laid_out(tmp_path, "print('said')\nif seed == 13:\n    raise ValueError('unlucky\\nvery')")
    with open(tmp_path / "log.txt", "w") as log:
        assert notebooks.run(path, target, {"seed": 13}, log=log) == "unlucky (ValueError in cell 3)"
        assert not target.exists()
        assert "unlucky" in notebooks.running(target).read_text()
        assert notebooks.run(path, target, {"seed": 3}, log=log) == ""
    assert target.exists()
    assert not notebooks.running(target).exists()
    assert (tmp_path / "log.txt").read_text().count("said") == 2


def test_parameters_that_were_checked_are_not_called_unknown_and_others_are(tmp_path, monkeypatch, caplog):
    import papermill

    def execute(path, running, *_, **__):
        logging.getLogger("papermill").warning("Passed unknown parameter: n_images")
        Path(running).write_text("{}")

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    logger = logging.getLogger("papermill")  # whatever a test before this one made of it
    for name, value in (("disabled", False), ("propagate", True)):
        monkeypatch.setattr(logger, name, value)
    caplog.set_level(logging.WARNING, logger="papermill")
    for checked, said in ((True, 0), (False, 1), (True, 1)):
        notebooks.run(tmp_path / "given.ipynb", tmp_path / "o.ipynb", {}, checked=checked)
        assert caplog.text.count("unknown parameter") == said


def test_what_cannot_be_run_is_refused_by_name(tmp_path):
    (tmp_path / "given.ipynb").write_text("no notebook")
    with pytest.raises(UserError, match="is not a notebook"):
        notebooks.run(tmp_path / "given.ipynb", tmp_path / "o.ipynb", {})
    with pytest.raises(UserError, match="no Jupyter kernel 'nobody'"):
        notebooks.run(laid_out(tmp_path, "", kernel="nobody"), tmp_path / "o.ipynb", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        notebooks.run(tmp_path / "given.ipynb", tmp_path / "file" / "o.ipynb", {})


def test_ctrl_c_leaves_the_last_word_to_whoever_pressed_it(tmp_path, monkeypatch, caplog):
    def interrupted(*_, **__):
        logging.getLogger("papermill").error("Kernel died while waiting for execute reply.")
        raise KeyboardInterrupt

    monkeypatch.setattr("papermill.execute_notebook", interrupted)
    for name, value in (("disabled", False), ("propagate", True)):
        monkeypatch.setattr(logging.getLogger("papermill"), name, value)
    with pytest.raises(KeyboardInterrupt):
        notebooks.run(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {})
    assert caplog.text == ""


def test_a_kernel_that_dies_is_told_in_one_line(tmp_path):
    path = laid_out(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with open(tmp_path / "log.txt", "w") as log, pytest.raises(UserError, match=r"given\.ipynb: Kernel died"):
        notebooks.run(path, tmp_path / "o.ipynb", {}, log=log)
