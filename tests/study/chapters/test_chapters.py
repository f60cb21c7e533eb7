"""The chapters are found by their names, and each has what notebooks and commands ask of it."""

from pathlib import Path

import pytest

from blurnb.errors import UserError
from blurnb.study import chapters, profiles

ROOT = Path(__file__).parents[3]


def test_a_chapter_is_named_like_its_notebook():
    notebooks = {chapters.short(path.stem): path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert chapters.names() == notebooks


@pytest.mark.parametrize("name", chapters.names())
def test_every_chapter_has_parameters_that_every_profile_fills_in_and_a_run(name):
    chapter = chapters.found(name)
    assert chapters.found(chapters.names()[name]) is chapter
    assert callable(chapter.run)
    assert chapter.Parameters.experiment == name
    for profile in profiles.NAMES:
        assert chapter.Parameters.validate({"profile": profile}).profile == profile


def test_a_chapter_that_is_none_is_one_line():
    with pytest.raises(UserError, match="chapter 'rq9' is unknown; did you mean rq.*; known: card, rq1"):
        chapters.found("rq9")
