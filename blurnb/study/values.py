"""What a parameter may be: texts, lists and numbers as notebooks and papermill give them, each kind said once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from blurnb import labels
from blurnb.errors import nearest, shown
from blurnb.optics import transforms


def listed(value: Any) -> Any:
    """papermill's -p gives one text or number where a list is meant: "sharp,D8" or 256."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return [_text(part) if isinstance(part, int) else part for part in value]
    return [_text(value)] if isinstance(value, int | float) else value


def whole_numbers(value: Any) -> Any:
    """As `listed`, for whole numbers: "64,3" or 64."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}( *, *[0-9]{1,18})*", value.strip(" ,")):
        return [int(part) for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _text(number: float) -> Any:
    try:
        return str(number)
    except ValueError:  # Python refuses to print so many digits; the type refuses what is no text
        return number


def distinct(value: tuple) -> tuple:
    """Each entry once, in the order in which they come."""
    return tuple(dict.fromkeys(value))


def one_of(*words: str, unless: Callable[[str], bool] = lambda word: False) -> AfterValidator:
    """The validator of a text that is one of `words`, or for which `unless` holds."""

    def known(word: str) -> str:
        if word not in words and not unless(word):
            meant = nearest(word[:80], words) or "; known: " + ", ".join(words[:12])
            raise ValueError(f"{shown(word)} is unknown{meant}")
        return word

    return AfterValidator(known)


def is_file(name: str) -> bool:
    """Whether there is such a file, whatever was given."""
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError):  # a name too long, a folder that may not be entered, the home of nobody
        return False


def _scale(scale: str) -> str:
    if scale != "native":
        labels.sides(scale)
    return scale


def _mix(mix: str) -> str:
    transforms.parse_mix(mix.split("+") if "+" in mix else mix)
    return mix


Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], BeforeValidator(listed), AfterValidator(distinct)]
Some = Annotated[Listed[Item], Field(min_length=1)]
WholeNumbers = Annotated[tuple[Annotated[Item, Strict()], ...], BeforeValidator(whole_numbers)]
Blurs = Some[Annotated[str, AfterValidator(lambda label: labels.parse(label).label)]]
Mixes = Some[Annotated[str, AfterValidator(_mix)]]
Scales = Some[Annotated[str, AfterValidator(_scale)]]
