"""The one exception for mistakes that the user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a parameter, a path or a file: one line that names it and says what to do.

    Notebooks and the command line show that line alone; ten frames of library code would bury it.
    """

    def _render_traceback_(self) -> list[str]:  # the hook IPython asks for how to show an exception
        return [f"{type(self).__name__}: {self}"]


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """``"; did you mean a, b?"`` for the known words that look like `word`, else the empty string."""
    close = difflib.get_close_matches(word, list(known), count, 0.5)
    return f"; did you mean {', '.join(close)}?" if close else ""
