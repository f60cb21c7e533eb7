"""Cells of records: a column of them as values, and as the text of a file that a spreadsheet may open."""

import math
import re
from collections.abc import Iterable, Sequence

import pandas as pd


def typed(cells: Sequence, kind: str) -> list:
    """A column: text is never missing ("" is empty), numbers are NaN and whole numbers and truths None where empty."""
    if kind == "text":
        return [cell if type(cell) is str else "" if is_missing(cell) else str(cell) for cell in cells]
    empty, make = (math.nan, float) if kind == "number" else (None, {"whole": int, "yes": bool}[kind])
    return [empty if is_missing(cell) or cell == "" else make(cell) for cell in cells]


def is_missing(cell: object) -> bool:
    """Whether there is nothing in a cell, in any of the ways in which pandas and Python say so."""
    return cell is None or cell is pd.NA or cell != cell


def text(cell: object) -> str:
    """A value as its file spells it."""
    return "" if is_missing(cell) else str(cell).lower() if isinstance(cell, bool) else str(cell)


# Where a cell begins, for a spreadsheet that cuts lines at semicolons too; and what it takes there for a formula.
_BEGINS = r"(^|[;,\t\r\n])"
_RUN_BY_SPREADSHEETS, _GUARD = re.compile(_BEGINS + r"(?=['=+\-@\t\r\n＝＋－＠])"), re.compile(_BEGINS + "'")


def guarded(text: str) -> str:
    """A name with an apostrophe before what a spreadsheet would take for a formula; reading takes it off again."""
    return _RUN_BY_SPREADSHEETS.sub(r"\1'", text)


def quoted(text: str) -> str:
    """A text as a cell of a CSV."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def texts(cells: Iterable, kind: str) -> list[str]:
    """A column as its file spells it, apart from quotes and guards."""
    return list(cells) if kind == "text" else [text(cell) for cell in cells]


def read(cells: Iterable[str], kind: str) -> list:
    """The column that a file spells."""
    if kind == "text":
        return [_GUARD.sub(r"\1", cell) if "'" in cell else cell for cell in cells]
    words = {"true": True, "false": False, "": None}
    if kind == "yes" and not set(cells) <= set(words):
        raise ValueError(f"{min(set(cells) - set(words))!r} is neither true nor false")
    return [words[cell] for cell in cells] if kind == "yes" else list(cells)
