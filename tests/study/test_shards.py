"""Shards: parts of the images answered apart, and the run that finds them writes what it would have written alone."""

import pytest

from blurnb.errors import UserError
from blurnb.study import journal, sweeps
from blurnb.study.chapters import rq1_degradation as chapter


def alone(given, folder, monkeypatch) -> bytes:
    """The records that one process writes, with a cache of its own."""
    monkeypatch.setenv("BLURNB_CACHE", str(folder / "cache"))
    chapter.run(chapter.Parameters.validate(given | {"output_dir": str(folder)}))
    return (folder / "rq1.csv").read_bytes()


def test_shards_answer_apart_and_the_run_that_finds_them_writes_the_same_bytes(tmp_path, monkeypatch):
    given = {"profile": "smoke", "n_images": [200, 5], "weights": ["none", "imagenet"], "scales": "64"}
    given |= {"blurs": "sharp,D8,shake"}
    expected = alone(given, tmp_path / "alone", monkeypatch)
    parts = []
    for place in (3, 1, 2):  # each on a machine of its own
        monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / f"machine {place}"))
        parts.append(sweeps.answer("rq1", given, place, 3))
        assert parts[-1]
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "last"))
    for facts, answers in (pair for part in parts for pair in part):
        journal.add(tmp_path / "last", facts, answers)
        journal.add(tmp_path / "last", facts, answers)  # again: nothing changes
    run = chapter.run(chapter.Parameters.validate(given | {"output_dir": str(tmp_path / "merged")}))
    assert [note["computed_images"] for note in run.manifests.values()] == [0, 0]
    assert (tmp_path / "merged" / "rq1.csv").read_bytes() == expected
    images = [sorted(answers) for part in parts for _, answers in part]
    assert sum(map(len, images)) == 205 == len(set(sum(images, [])))


@pytest.mark.parametrize("place, count", [(0, 3), (4, 3), (1, 0)])
def test_a_shard_that_is_none_is_refused(place, count):
    with pytest.raises(UserError, match=f"shard {place}/{count}"):
        sweeps.answer("rq1", {"profile": "smoke"}, place, count)


def test_a_part_is_read_from_text_and_a_chapter_that_cannot_be_cut_says_so():
    assert sweeps.part("2/5") == (2, 5)
    for text in ("0/3", "2", "a/b", "2/5 ", "-1/3"):
        with pytest.raises(UserError, match="--shard"):
            sweeps.part(text)
    with pytest.raises(UserError, match="rq2 are not answered in parts"):
        sweeps.answer("rq2", {}, 1, 2)
