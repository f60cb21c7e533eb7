"""The same seed gives the same records: to the bit on one machine and thread count, within a tolerance across them."""

import pytest
import torch

from blurnb.study.chapters import names
from faults import chapters


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", "")  # `rows_of` names one for each run; this puts the old one back


@pytest.mark.parametrize("name", names())
def test_a_chapter_gives_the_same_records_again(name, tmp_path):
    first = chapters.rows_of(name, tmp_path / "first")
    torch.rand(7)  # what was drawn before a chapter must not matter
    again = chapters.rows_of(name, tmp_path / "again")
    assert len(first) > 10
    assert first.to_csv() == again.to_csv()
    other = first.assign(value=first["value"] + 0.5)
    assert chapters.beyond_tolerance(first, first) == []
    assert chapters.beyond_tolerance(first, other) != []


def test_another_number_of_threads_changes_records_within_the_tolerance(tmp_path):
    """RQ1 here; `make campaign` does it for every chapter."""
    one, two = (chapters.rows_of("rq1", tmp_path / str(threads), threads) for threads in (1, 2))
    assert chapters.beyond_tolerance(one, two) == []
