"""A small book with the project's own extensions: killed while it is built, and built after the clock was set back."""

from __future__ import annotations

import html
import io
import os
import random
import re
import sys
import time
from functools import partial
from pathlib import Path

import nbformat

from blurnb import records

from .disturb import ROOT, folder
from .ledger import Ledger
from .processes import forked

EXTENSIONS = ROOT / "book" / "_ext"


def lay_out(place: Path, result: str) -> None:
    """Sources of a book of a few pages, one of them a chapter that prints `result`."""
    of = {"experiment": "rq1", "profile": "embedded", "dataset": "scenes", "frame": 512, "run_id": "0" * 12}
    asked = {"network": "planted", "training": "sharp", "frozen": "none", "per_scale": False, "scale": "256"}
    shown = {"blur": "D8", "rounding": "none", "noise_sd": 0.0, "method": "none", "kernel": "none"}
    shown |= {"border": "reflect", "view": "dense", "flip": False, "precision": "float32"}
    row = records.row(metric="top5", statistic="estimate", value=0.5, n=200, **of, **asked, **shown)
    records.write(place / "book/records/embedded/rq1.csv", [row], {"0" * 12: {}})
    others = [f"page{i}" for i in range(6)]
    for name in others:
        (place / f"{name}.md").write_text(f"# {name}\n\n" + "A paragraph of **text**.\n\n" * 40)
    (place / "index.md").write_text(
        "# Book\n\n```{toctree}\nnotebooks/chapter\n" + "\n".join(others) + "\n```\n\n"
        "```{from-records} blurnb.report.tables.accuracy:by_blur\n```\n"
    )
    execute(place, None)
    execute(place / "_build" / "executed", result)


def execute(place: Path, result: str | None) -> Path:
    """Write the chapter, with an output if there is a `result`."""
    cell = nbformat.v4.new_code_cell("print('result')", id="a")
    if result:
        cell.outputs = [nbformat.v4.new_output("stream", text=result)]
        cell.execution_count = 1
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_markdown_cell("# Chapter", id="b"), cell]
    path = place / "notebooks" / "chapter.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(metadata=metadata, cells=cells), path)
    return path


def build(place: Path) -> None:
    """Build the pages; raises where Sphinx warns."""
    from sphinx import application
    from sphinx.util.docutils import docutils_namespace

    sys.path.insert(0, str(EXTENSIONS))
    settings = {"extensions": ["myst_nb", "executed_notebooks", "fresh_start", "from_records", "plain_sight"]}
    settings |= {"nb_execution_mode": "off", "root_doc": "index", "exclude_patterns": ["_build"], "html_theme": "basic"}
    out, kept, warnings = place / "_build" / "html", place / "_build" / "doctrees", io.StringIO()
    with docutils_namespace():
        application.Sphinx(place, None, out, kept, "html", settings, status=None, warning=warnings).build()
    if warnings.getvalue():
        raise RuntimeError(warnings.getvalue())


def text_of(place: Path) -> list[str]:
    """The words of every page."""
    found = []
    for page in sorted((place / "_build" / "html").rglob("*.html")):
        words = re.sub(r"<[^>]*>", " ", page.read_text())
        found.append(f"{page.name}: {' '.join(html.unescape(words).split())}")
    return found


def kill_builds(ledger: Ledger, rounds: int, draw: random.Random) -> None:
    with folder() as place:
        lay_out(place, "71.6 percent")
        outcome = forked(partial(build, place))
        if outcome.kind != "done":
            ledger.failed("tracebacks", f"book build: {outcome.text[-1500:]}")
            return
        expected, seconds = text_of(place), outcome.seconds
    done = 0
    while done < rounds:
        with folder() as place:
            lay_out(place, "71.6 percent")
            for _ in range(min(3, rounds - done)):
                outcome = forked(partial(build, place), kill_after=draw.uniform(0.3, 1.0) * seconds)
                ledger.faults["kill -9, book build"] += outcome.kind == "killed"
                done += 1
            outcome = forked(partial(build, place))
            if outcome.kind != "done":
                ledger.failed("tracebacks", f"kill -9, book build: {outcome.text[-1500:]}")
            ledger.compare(text_of(place), expected, "kill -9, book build")


def clock_set_back(ledger: Ledger) -> None:
    """A chapter is run again after the clock was set back: its page must show the new result."""
    with folder() as place:
        lay_out(place, "71.6 percent")
        forked(partial(build, place))
        yesterday = time.time() - 86400
        again = execute(place / "_build" / "executed", "12.3 percent")
        os.utime(again, (yesterday, yesterday))
        ledger.faults["clock set back, book build"] += 1
        forked(partial(build, place))
        found = [line for line in text_of(place) if line.startswith("chapter.html")]
    with folder() as place:
        lay_out(place, "12.3 percent")
        forked(partial(build, place))
        expected = [line for line in text_of(place) if line.startswith("chapter.html")]
    ledger.compare(found, expected, "clock set back, book build")
