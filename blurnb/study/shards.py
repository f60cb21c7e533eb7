"""A range of a chapter's images, answered into the store: the run over all of them then finds the answers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from blurnb.errors import UserError

CHAPTERS = ("rq1",)
"""Chapters whose images can be answered in parts."""


def parse(text: str) -> tuple[int, int]:
    """``"2/5"`` as (2, 5): the second of five parts."""
    part = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not part:
        raise UserError(f"--shard {text}: give a part such as 2/5")
    return int(part[1]), int(part[2])


def answer(chapter: str, parameters: Mapping, place: int, count: int) -> list[tuple[dict, dict]]:
    """Answer part `place` (1 first) of `count` of every pair's images.

    Returns (facts, answers by image) of each pair, for `journal.add` where the store is not shared. Raises UserError
    for a chapter that cannot be cut, a part that is none, and what the chapter itself refuses.
    """
    from blurnb.study import chapters

    if chapter not in CHAPTERS:
        raise UserError(f"the images of {chapter} are not answered in parts; only those of {', '.join(CHAPTERS)} are")
    if not 1 <= place <= count:
        raise UserError(f"shard {place}/{count} is none; give 1/{count} to {count}/{count}")
    module = chapters.found(chapter)
    return module.shard(module.Parameters.validate(parameters), place, count)
