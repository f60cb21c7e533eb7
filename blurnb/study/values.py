"""What a value of a parameter may be, as notebooks, the command line and papermill give it."""

import os
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from blurnb.errors import nearest, shown


def spelled(text: str) -> Any:
    """What a text spells: a number, true, false, a list in brackets, or itself.

    Numbers are as YAML 1.2 has them: 0512 is 512, and 0o17, 1:30, 1_000, yes, on and dates are texts. YAML 1.1, which
    papermill and PyYAML speak, makes 330, 15, 90, 1000, True, True and dates of these. Raises ValueError for no YAML.
    """
    import yaml

    class Plain(yaml.SafeLoader):
        yaml_implicit_resolvers = {}

    for kind, pattern in _SPELLINGS.items():
        Plain.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"({pattern})$"), None)
    Plain.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
    try:
        return Plain(text).get_single_data()
    except Exception as error:  # !!bool x, [[[[..., 5,000 digits: each ends elsewhere in the parser
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}") from error


_NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
_SPELLINGS = {"bool": "(?i:true|false)", "int": "[-+]?[0-9]+", "float": _NUMBER, "null": "(?i:null)?"}


def listed(value: Any) -> Any:
    """papermill's -p gives one text or number where a list is meant: "sharp,D8" or 256."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


def whole_numbers(value: Any) -> Any:
    """As `listed`, for whole numbers: "64,3" or 64."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}( *, *[0-9]{1,18})*", value.strip(" ,")):
        return [int(part) for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


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


def where(holds: Callable[[Any], object], words: str = "") -> AfterValidator:
    """The validator of a value for which `holds`, which may raise an error of its own; else `words` say what to do."""

    def checked(value: Any) -> Any:
        if not holds(value):
            raise ValueError(words)
        return value

    return AfterValidator(checked)


def is_file(name: str) -> bool:
    """Whether there is such a file, whatever was given."""
    return os.path.isfile(os.path.expanduser(name))  # for the home of nobody and a name too long there is none


Item = TypeVar("Item")
Text = Annotated[str, Field(coerce_numbers_to_str=True)]  # 0.5 or 256 is a number as it is typed
Listed = Annotated[tuple[Item, ...], BeforeValidator(listed), AfterValidator(distinct)]
Some = Annotated[Listed[Item], Field(min_length=1)]
WholeNumbers = Annotated[tuple[Annotated[Item, Strict()], ...], BeforeValidator(whole_numbers)]
