"""`python -m blurnb`: each command is one call into the package."""

from __future__ import annotations

import keyword
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from blurnb.errors import UserError, nearest, shown

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="What optical blur does to recognition, and what can be done about it.")  # fmt: skip

Pairs = Annotated[list[str] | None, typer.Option("-p", help="a parameter, NAME=VALUE; repeat for more")]


@app.callback()
def _main() -> None:
    """What optical blur does to recognition, and what can be done about it."""


def pairs(given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE texts as a dict."""
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"-p {shown(text)} is not NAME=VALUE; for example -p n_images=100")
        if not name.isidentifier() or name.startswith("_") or keyword.iskeyword(name):
            raise UserError(f"-p {shown(text)}: a parameter's name is a word such as n_images")
        found[name] = value
    return found


def typed(texts: dict[str, str]) -> dict:
    """The texts as the numbers, booleans and lists that they spell, as papermill reads its -p."""
    import yaml

    found = {}
    for name, text in texts.items():
        try:
            found[name] = yaml.safe_load(text)
        except Exception as error:  # 2020-99-99, !!bool x, [[[[..., 5,000 digits: each ends elsewhere in the parser
            raise UserError(f"-p {name}={text[:160]} is not a number, text or list") from error
        if found[name] is None:
            raise UserError(f"-p {name}= has no value; leave it out for the profile's default")
    return found


def notebooks(folder: Path) -> dict[str, Path]:
    """The chapters by question: rq1 -> notebooks/rq1_degradation.ipynb."""
    return {path.stem.split("_")[0]: path for path in sorted(folder.glob("rq*.ipynb"))}


@app.command()
def run(
    chapter: Annotated[str, typer.Argument(help="rq1 ... rq5, or the path of a notebook")],
    parameters: Pairs = None,
    output: Annotated[Path | None, typer.Option(help="where the executed notebook goes")] = None,
    folder: Annotated[Path, typer.Option(help="the folder with the notebooks")] = Path("notebooks"),
) -> None:
    """Check the parameters, then run a chapter with papermill; nothing starts when one of them is wrong."""
    from blurnb.study import profiles

    path = Path(chapter)
    if path.suffix != ".ipynb":
        known = notebooks(folder)
        if chapter not in known:
            raise UserError(
                f"chapter {chapter!r} is not in {folder}{nearest(chapter, known)}; there: {', '.join(known)}"
            )
        path = known[chapter]
    if not os.path.isfile(path):
        raise UserError(f"no notebook at {path}")
    given = typed(pairs(parameters))
    question = re.match(r"rq\d", path.stem)
    checked = profiles.validate(question.group(), given) if question else None
    target = output or Path(checked.output_dir if checked else "out") / path.name
    _papermill(path, target, given)


def _papermill(path: Path, target: Path, parameters: dict) -> None:
    import papermill
    from filelock import FileLock
    from jupyter_client.kernelspec import NoSuchKernel
    from nbformat.reader import NotJSONError
    from papermill.exceptions import PapermillExecutionError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot make the folder {target.parent}: {reason}; choose another --output") from error
    running = target.with_name(f"{target.stem}.running.ipynb")  # the target appears whole or not at all
    try:
        with FileLock(
            target.with_name(f".{target.name}.lock")
        ):  # a second process waits, then finds what it needs kept
            papermill.execute_notebook(
                str(path), str(running), parameters, cwd=".", progress_bar=True, log_output=False
            )
            running.replace(target)
    except PapermillExecutionError as error:
        kind = "" if error.ename == "UserError" else f" ({error.ename} in cell {error.exec_count})"
        first = error.evalue.splitlines()[0] if error.evalue else error.ename
        raise UserError(f"{first}{kind}; see {running}") from error
    except NotJSONError as error:
        raise UserError(f"{path} is not a notebook") from error
    except NoSuchKernel as error:
        raise UserError(f"no Jupyter kernel {error.name!r} here; run: python -m ipykernel install --user") from error
    except OSError as error:
        raise UserError(
            f"cannot write {running}: {error.strerror}; free some space or choose another --output"
        ) from error


@app.command()
def finetune(
    parameters: Pairs = None,
    mix: Annotated[str, typer.Option(help="one training of the chapter; empty: all of them")] = "",
) -> None:
    """Train the networks of RQ2 and RQ3 without a notebook, which then finds them.

    On several GPUs: torchrun --nproc-per-node N -m blurnb finetune -p profile=paper -p data_root=DATA -p device=cuda
    """
    from blurnb.study import networks, profiles

    checked = profiles.validate("rq2", typed(pairs(parameters)))
    wanted = [(name, seed) for name, seed in checked.trainings() if mix in ("", name)]
    if not wanted:
        raise UserError(f"--mix {mix!r} is not among the chapter's mixes: {', '.join(checked.mixes)}")
    for name, seed in wanted:
        _, about = networks.tuned(checked, name, seed)
        print(f"{name}, seed {seed}: {about['weights']}")


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="scenes, foolbox20, imagenet, imagenet-sample, tiny-imagenet, ...")],
    root: Annotated[str, typer.Option(help="the folder that holds it; empty: download where that is possible")] = "",
    split: str = "val",
) -> None:
    """Open (where possible download) a data set and say what is in it."""
    from blurnb.recognition import datasets

    found = datasets.load(name, root or None, split=split)
    print(f"{name}: {len(found):,} images of {len(set(found.labels)):,} classes, fingerprint {found.fingerprint}")


@app.command()
def doctor(
    data_root: Annotated[str, typer.Option(help="the folder with your data; empty: BLURNB_DATA, if it is set")] = "",
    output_dir: Annotated[Path, typer.Option(help="the folder with your records")] = Path("out"),
) -> None:
    """Check versions, machine, cache, data, weights and records; exit code 1 if something is wrong."""
    from blurnb.study import checkup

    wrong = 0
    for finding in checkup.examine(data_root=data_root, output_dir=output_dir):
        print(finding, flush=True)
        wrong += finding.state == "wrong"
    if wrong:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: a mistake of the user's is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)  # what typer.Exit was given
        sys.stdout.flush()
        if code:
            sys.exit(code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (typer.Exit, SystemExit) as end:
        sys.exit(getattr(end, "exit_code", getattr(end, "code", 0)))
    except KeyboardInterrupt:
        print("interrupted; what was computed is kept, run the same command to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the answer has seen enough
        _drop_stdout()
        sys.exit(141)
    except OSError as error:
        print(f"error: {UserError(f'{error.filename or sys.stdout.name}: {error.strerror or error}')}", file=sys.stderr)
        _drop_stdout()
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "show"):  # a wrong command or option, which typer explains itself
            raise
        error.show()
        sys.exit(2)


def _drop_stdout() -> None:
    """What could not be printed would be tried again, and complained about, when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
