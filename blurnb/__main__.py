"""`python -m blurnb`: each command is one call into the package."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from blurnb.errors import UserError, nearest

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
            raise UserError(f"-p {text!r} is not NAME=VALUE; for example -p n_images=100")
        found[name] = value
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
    import yaml

    from blurnb.study import profiles

    path = Path(chapter)
    if path.suffix != ".ipynb":
        known = notebooks(folder)
        if chapter not in known:
            raise UserError(
                f"chapter {chapter!r} is not in {folder}{nearest(chapter, known)}; there: {', '.join(known)}"
            )
        path = known[chapter]
    if not path.is_file():
        raise UserError(f"no notebook at {path}")
    try:
        given = {name: yaml.safe_load(value) for name, value in pairs(parameters).items()}
    except yaml.YAMLError as error:
        raise UserError(f"a -p value is not a number, text or list: {str(error).splitlines()[0]}") from error
    question = re.match(r"rq\d", path.stem)
    checked = profiles.validate(question.group(), given) if question else None
    target = output or Path(checked.output_dir if checked else "out") / path.name
    _papermill(path, target, given)


def _papermill(path: Path, target: Path, parameters: dict) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(path), str(target), parameters, cwd=".", progress_bar=True, log_output=False)
    except PapermillExecutionError as error:
        kind = "" if error.ename == "UserError" else f" ({error.ename} in cell {error.exec_count})"
        raise UserError(
            f"{error.evalue.splitlines()[0] if error.evalue else error.ename}{kind}; see {target}"
        ) from error


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


def main() -> None:
    """Entry point: a mistake of the user's is one line on stderr and exit code 2."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (typer.Exit, SystemExit) as end:
        sys.exit(getattr(end, "exit_code", getattr(end, "code", 0)))
    except KeyboardInterrupt:
        print("interrupted; what was computed is kept, run the same command to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "show"):  # a wrong command or option, which typer explains itself
            raise
        error.show()
        sys.exit(2)


if __name__ == "__main__":
    main()
