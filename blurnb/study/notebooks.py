"""The one way to run a notebook: papermill, one process at a time, and the result whole or not at all."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from blurnb.errors import UserError, reason


def running(target: Path) -> Path:
    """Where a notebook is while it runs, and stays as it was when it stopped: beside `target`."""
    return target.with_name(f"{target.stem}.running.ipynb")


def run(
    path: Path,
    target: Path,
    parameters: Mapping,
    *,
    folder: str | None = ".",
    log: TextIO | None = None,
    checked: bool = False,
) -> str:
    """Execute the notebook at `path` into `target`; a second process that wants the same target waits.

    Parameters
    ----------
    folder : the kernel's working directory; None is papermill's own choice.
    log : takes what the cells print, instead of a progress bar on stderr.
    checked : the parameters are those of a chapter, which knows more of them than its first cell lists.

    Returns
    -------
    "" or, in one line, why a cell stopped; the notebook then ends there, at `running(target)`.

    Raises
    ------
    UserError : `path` is no notebook, its kernel is not installed or dies, or nothing can be written at `target`.
    """
    import papermill
    from filelock import FileLock
    from jupyter_client.kernelspec import NoSuchKernel
    from nbformat.reader import NotJSONError
    from papermill.exceptions import PapermillExecutionError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        wrong = f"cannot make the folder {target.parent}: {reason(error)}"
        raise UserError(f"{wrong}; choose another --output") from error
    begun = running(target)
    try:
        with FileLock(target.with_name(f".{target.name}.lock")), _quiet(checked):
            told = {"progress_bar": log is None, "stdout_file": log, "stderr_file": log}
            told["extra_arguments"] = ["--IPKernelApp.log_level=50"]  # a kernel that is interrupted dies noisily
            papermill.execute_notebook(str(path), str(begun), dict(parameters), cwd=folder, **told)
            begun.replace(target)
    except PapermillExecutionError as error:
        line = error.evalue.splitlines()[0] if error.evalue else error.ename
        return line if error.ename == "UserError" else f"{line} ({error.ename} in cell {error.exec_count})"
    except NotJSONError as error:
        raise UserError(f"{path} is not a notebook") from error
    except NoSuchKernel as error:
        raise UserError(f"no Jupyter kernel {error.name!r} here; run: python -m ipykernel install --user") from error
    except RuntimeError as error:  # the kernel did not start, or died
        raise UserError(f"{path}: {error}; it had too little memory, perhaps: see {begun}") from error
    except OSError as error:
        remedy = "free some space or choose another --output"
        raise UserError(f"cannot write {begun}: {reason(error)}; {remedy}") from error
    return ""


@contextlib.contextmanager
def _quiet(checked: bool) -> Iterator[None]:
    """Papermill calls unknown what a chapter's first cell leaves out, though its profile knows it, and tells of a dead
    kernel, as `run` does."""

    def known(record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return not (checked and "unknown parameter" in said or said.startswith("Kernel died"))

    logger = logging.getLogger("papermill")
    logger.addFilter(known)
    try:
        yield
    finally:
        logger.removeFilter(known)
