"""The one exception for mistakes that the user can mend."""

import difflib
import reprlib
from collections.abc import Collection, Iterable


def printable(text: object) -> str:
    """The text in one line, in which line ends, terminal codes and bytes that are no text are spelled out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


class UserError(ValueError):
    """A mistake in a parameter, a path or a file: one line that names it and says what to do.

    Notebooks and the command line show that line alone; ten frames of library code would bury it. What it names may
    be any file name: line ends, terminal codes and bytes that are no text are spelled out, so that it stays one line.
    """

    def __init__(self, message: object = ""):
        super().__init__(printable(message))

    def _render_traceback_(self) -> list[str]:  # the hook IPython asks for how to show an exception
        return [f"{type(self).__name__}: {self}"]


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 600
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 12


def shown(value: object) -> str:
    """`value` as a message may quote it: a repr that is brief whatever was given, a number of 5,000 digits too."""
    try:
        return _BRIEF.repr(value)
    except (ValueError, RecursionError):  # Python refuses to print such a number
        return f"a {type(value).__name__} too large to print"


def reason(error: BaseException) -> str:
    """Why, in a line: the system's words or the first line of a library's, else the kind of error."""
    try:
        said = getattr(error, "strerror", None) or str(error)
        return (said.splitlines() or [type(error).__name__])[0][:160]
    except Exception:  # an exception that cannot be printed either
        return type(error).__name__


def demand_known(word: object, known: Collection[str], what: str) -> str:
    """`word`, which is the name of a `what`; UserError where it is none of those that are known."""
    if not isinstance(word, str) or word not in known:
        close = nearest(str(word)[:80], known)
        raise UserError(f"{what} {shown(word)} is unknown{close}; known: {', '.join(known)}")
    return word


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """``"; did you mean a, b?"`` for the known words that look like `word`, else the empty string."""
    close = difflib.get_close_matches(word, list(known), count, 0.5)
    return f"; did you mean {', '.join(close)}?" if close else ""
