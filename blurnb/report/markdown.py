"""Frames as GitHub-flavoured Markdown, in which no cell can act on the page."""

import re

import pandas as pd
from markupsafe import Markup

NOTHING = ("", "–", "not run yet")  # cells that say nothing about how their column is to be aligned

# A number, perhaps with an interval or a unit behind it; a hash or a date is none.
_NUMERIC = re.compile(r"[+\N{MINUS SIGN}<-]?\d[\d,.]*( .*)?")
_ENDS = dict.fromkeys("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", " ")
_ACTS = str.maketrans(_ENDS | {sign: f"&#{ord(sign)};" for sign in "`{$\\"} | {"<": "&lt;", "&": "&amp;"})
_LEADS_AWAY = re.compile(r"\]\((?![\w.#-][\w./#-]*\))")  # what is no page of the book


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a table; columns whose filled cells are numbers align right.

    Cells may hold emphasis and links to pages of the book. Other markup does not survive (`harmless`) but in
    what says that it is Markdown already, a `Markup`.
    """

    def numeric(column: pd.Series) -> bool:
        cells = [str(cell) for cell in column if str(cell) not in NOTHING]
        return bool(cells) and all(_NUMERIC.fullmatch(cell) for cell in cells)

    def line(cells) -> str:
        texts = [cell if isinstance(cell, Markup) else harmless(str(cell)) for cell in cells]
        return "| " + " | ".join(str(text).replace("|", "\\|") for text in texts) + " |"

    rule = ["---:" if numeric(frame[column]) else ":---" for column in frame.columns]
    lines = [line(frame.columns), line(rule), *(line(cells) for cells in frame.itertuples(index=False))]
    return "\n".join(lines) + "\n"


def harmless(text: str) -> str:
    """Text in one line that cannot act on a page; its emphasis and its links to pages of the book stay.

    Some words come from records, and those from files that anybody may have written: HTML, roles, code, formulas,
    pictures and links that lead elsewhere come out as text.
    """
    return _LEADS_AWAY.sub("]&#40;", text.translate(_ACTS).replace("![", "!&#91;"))
