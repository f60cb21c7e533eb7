"""Names of classes, folders and networks that mean something to a spreadsheet, a page or a terminal."""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from blurnb import records
from blurnb.errors import UserError, printable
from blurnb.report.card import pages
from blurnb.report.markdown import markdown

from ..disturb import folder
from ..inputs import tried
from ..ledger import Ledger

FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
STARTS = ("", *FORMULA, "'", "''", '"', ";", ";=", ",=", "a;=", "a,@", "a\t+", " =", "\ufeff=", "%0A-", "\x00=")
BODIES = (
    "1+1", "cmd|' /C calc'!A0", 'HYPERLINK("http://x","y")', "SUM(A1:A9)", "<script>alert(1)</script>", "<img src=//x>",
    "[a](javascript:x)", "![a](http://x)", "`code`", "{eval}`rm`", "{{ 7 * 7 }}", "{% raw %}", "$\\frac{x$", "a|b",
    "\\|",
    "\x1b[2J\x1b]0;owned\x07", "\u202eexe", "\u2028", "\x85", "a\nb", "a\r\nb", "\udcff", "nan", "", "true", "1e5",
    "&lt;b&gt;", "c vs d", "sharp", "x" * 300,
)  # fmt: skip


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    return {"names": partial(written, step=6 if brief else 1, seed=seed)}


def written(ledger: Ledger, step: int, seed: int) -> None:
    """Every name through records and back, and onto a page and a terminal."""
    every = ["".join(one) for one in itertools.product(STARTS, BODIES)]
    random.Random(seed).shuffle(every)
    every = list(dict.fromkeys(every))[::step]
    for names in (every[i : i + 50] for i in range(0, len(every), 50)):
        with folder() as place:
            tried(ledger, "name", partial(_through, place, names), must="done")
        ledger.inputs["name"] += len(names) - 1


def _through(place: Path, names: list[str]) -> None:
    path = place / "rq1.csv"
    shared = {"experiment": "rq1", "metric": "top1", "statistic": "estimate", "part_kind": "class", "run_id": "r"}
    records.write(path, [records.row(part=name, value=-0.5, n=4, **shared) for name in names], {"r": {"decided": {}}})
    if sorted(records.read(path)["part"]) != sorted(names):
        raise AssertionError("read wrong: a name came back as another")
    with open(path, newline="", encoding="utf-8", errors="surrogatepass") as file:
        lines = list(csv.DictReader(file))
    if {line["value"] for line in lines} != {"-0.5"}:
        raise AssertionError("read wrong: a number is none any more")
    for line in lines:
        pieces = re.split("[;,\t\r\n]", line["part"])
        if any(piece[:1] in FORMULA for piece in pieces if piece):
            raise AssertionError(f"read wrong: {line['part']!r} begins a formula")
    for name in names:
        said = printable(name) + str(UserError(name))
        table = markdown(pd.DataFrame({"class": [name], "n": ["1"]}))
        if not said.isprintable() or len(table.splitlines()) != 3:
            raise AssertionError(f"read wrong: {name!r} is more than a line")
        if re.search(r"(?<!\\)(<script|<img|[`{$])", table.splitlines()[2] + pages.plain(name).replace("{", "")):
            raise AssertionError(f"read wrong: {name!r} acts on a page")
