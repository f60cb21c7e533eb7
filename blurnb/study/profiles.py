"""The defaults of every chapter in every profile: `profiles.toml`, whose blocks take over what they are like."""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blurnb.errors import UserError, nearest, shown

FILE = Path(__file__).with_name("profiles.toml")
NAMES = ("smoke", "embedded", "photographs", "paper")
"""The profiles in the order in which pages name them, from seconds to days."""


@functools.lru_cache(maxsize=1)
def blocks() -> dict[str, dict[str, Any]]:
    """Every block of the file as it stands there: ``rq1.smoke`` -> its keys."""
    read = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {f"{chapter}.{name}": block for chapter, named in read.items() for name, block in named.items()}


def block(name: str, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """A block with all that it is like.

    Parameters
    ----------
    name
        ``rq1.smoke``, ``shared.scenes_training``.
    path
        The blocks that are like it, from the one that was asked for.

    Returns
    -------
    dict
        Values by name; ``pairs``, where there are any, is a list of mappings. `like` is taken from left to right and
        what stands in the block itself wins, also over the inherited pairs that have it.

    Raises
    ------
    UserError
        For a block that is not there, or that is like itself.
    """
    among = blocks()
    if name in path:
        raise UserError(f"profiles.toml: [{name}] is like itself: {' -> '.join([*path, name])}")
    if name not in among:
        asked = f"[{path[-1]}] is like {shown(name)}, which is no block" if path else f"there is no block [{name}]"
        raise UserError(f"profiles.toml: {asked}{nearest(str(name)[:80], among)}")
    found: dict[str, Any] = {}
    for other in among[name].get("like", ()):
        found = _over(found, block(other, (*path, name)))
    return _over(found, {key: value for key, value in among[name].items() if key != "like"})


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    inherited = [{**pair, **{key: above[key] for key in pair if key in above}} for pair in below.get("pairs", ())]
    pairs = above.get("pairs") or inherited
    return {**below, **above, "pairs": pairs} if pairs else {**below, **above}
