"""What a chapter shows of its own run, whatever parameters it was given."""

from collections.abc import Callable

import pandas as pd
from IPython.display import Markdown, display

from blurnb.errors import UserError
from blurnb.report.markdown import markdown

NOTHING = "Nothing to show here with these parameters"


def show(make: Callable, *arguments, **named) -> None:
    """Display the figure, the table or the sentence that ``make(*arguments, **named)`` returns.

    A figure may need what a run leaves out: a sweep over one blur at a time has no sharp images to compare with. Then
    the page says what is missing (`NOTHING`, and the UserError's line) and goes on, because hours of evaluation
    must not end in a chapter without its verdict. For records that have to be there, call `make` itself.
    """
    try:
        found = make(*arguments, **named)
    except UserError as missing:
        found = f"*{NOTHING}: {missing}.*"
    if isinstance(found, pd.DataFrame):
        found = markdown(found)
    display(Markdown(found) if isinstance(found, str) else found)
