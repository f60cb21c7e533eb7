"""Frames as GitHub-flavoured Markdown, in which no cell can act on the page."""

import re

import pandas as pd

NOTHING = ("", "–", "not run yet")
"""Cells that say nothing about how their column is to be aligned."""

# A number, perhaps with an interval or a unit behind it; a hash or a date is none.
_NUMERIC = re.compile(r"[+\N{MINUS SIGN}<-]?\d[\d,.]*( .*)?")
_ACTS = str.maketrans({"<": "&lt;", "`": "&#96;", "{": "&#123;", "\n": " ", "\r": " "})


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a table; columns whose filled cells are numbers align right.

    Cells may hold emphasis and links. Markup that could act on a page does not survive, for some of their words come
    from records, and those from files that anybody may have written: HTML, roles, code and pictures come out as text.
    """

    def numeric(column: pd.Series) -> bool:
        cells = [str(cell) for cell in column if str(cell) not in NOTHING]
        return bool(cells) and all(_NUMERIC.fullmatch(cell) for cell in cells)

    def line(cells) -> str:
        return "| " + " | ".join(_harmless(str(cell)).replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if numeric(frame[column]) else ":---" for column in frame.columns]
    return (
        "\n".join([line(frame.columns), line(rule), *(line(cells) for cells in frame.itertuples(index=False))]) + "\n"
    )


def _harmless(cell: str) -> str:
    return cell.translate(_ACTS).replace("![", "!&#91;")
