"""The profiles: blocks of data that take over what they are like."""

import pytest

from blurnb import labels
from blurnb.errors import UserError
from blurnb.study import chapters, profiles

CHAPTERS = list(chapters.names())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_block_of_a_chapter_has_a_key_that_it_does_not_know(chapter):
    model = chapters.found(chapter).Parameters
    known = {*model.names(), *model.unused}
    for name in profiles.NAMES:
        block = profiles.block(f"{chapter}.{name}")
        assert {key for one in (block, *block["pairs"]) for key in one} - {"pairs"} <= known, name


def test_every_block_is_a_profile_of_a_chapter_or_is_shared_by_some():
    used = {other for block in profiles.blocks().values() for other in block.get("like", ())}
    for name in profiles.blocks():
        group, _, rest = name.partition(".")
        assert (group in CHAPTERS and rest in profiles.NAMES) or (group == "shared" and name in used), name


def test_what_is_like_others_takes_over_from_left_to_right_and_its_own_wins(monkeypatch):
    among = {
        "a.one": {"x": 1, "y": 1, "z": 1},
        "a.two": {"y": 2, "z": 2},
        "a.three": {"like": ["a.one", "a.two"], "z": 3},
        "a.four": {"like": ["a.three"]},
    }
    monkeypatch.setattr(profiles, "blocks", lambda: among)
    assert profiles.block("a.four") == {"x": 1, "y": 2, "z": 3}
    assert profiles.block("a.one") == among["a.one"]


def test_what_a_block_says_wins_over_inherited_pairs_but_not_over_its_own(monkeypatch):
    among = {
        "a.base": {"n": 1, "pairs": [{"dataset": "d", "n": 2}, {"dataset": "e", "n": 3}]},
        "a.over": {"like": ["a.base"], "n": 9, "frame": 4},
        "a.own": {"like": ["a.base"], "n": 9, "pairs": [{"dataset": "f", "n": 5}]},
    }
    monkeypatch.setattr(profiles, "blocks", lambda: among)
    assert profiles.block("a.over")["pairs"] == [{"dataset": "d", "n": 9}, {"dataset": "e", "n": 9}]
    assert profiles.block("a.own")["pairs"] == [{"dataset": "f", "n": 5}]
    assert profiles.block("a.base")["pairs"] == [{"dataset": "d", "n": 2}, {"dataset": "e", "n": 3}]


@pytest.mark.parametrize(
    "among, name, message",
    [
        ({"a.b": {"like": ["a.c"]}, "a.d": {}}, "a.b", r"\[a.b\] is like 'a.c', which is no block; did you mean a.d"),
        ({"a.b": {}}, "z.z", r"there is no block \[z.z\]"),
        ({"a.b": {"like": ["a.b"]}}, "a.b", r"\[a.b\] is like itself: a.b -> a.b"),
        ({"a.b": {"like": ["a.c"]}, "a.c": {"like": ["a.b"]}}, "a.c", r"\[a.c\] is like itself: a.c -> a.b -> a.c"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(monkeypatch, among, name, message):
    monkeypatch.setattr(profiles, "blocks", lambda: among)
    with pytest.raises(UserError, match=f"^profiles.toml: {message}"):
        profiles.block(name)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n_image": 3}, r"^profiles.toml, \[rq1.smoke\]: 'n_image' is unknown; did you mean n_images"),
        ({"factors": 3}, r"^profiles.toml, \[rq1.smoke\]: 'factors' is unknown"),
        ({"pairs": [{"dataset": "scenes", "netwerk": "vgg_mini"}]}, r"^profiles.toml, .*'netwerk' is unknown"),
        ({"batch": 0}, "^parameter batch=0: "),
    ],
)
def test_a_profile_that_a_chapter_refuses_is_one_line(monkeypatch, change, message):
    among = dict(profiles.blocks())
    among["rq1.smoke"] = among["rq1.smoke"] | change
    monkeypatch.setattr(profiles, "blocks", lambda: among)
    with pytest.raises(UserError, match=message):
        chapters.found("rq1").Parameters.validate({"profile": "smoke"})


@pytest.mark.parametrize("profile", ["embedded", "photographs", "paper"])
def test_what_carries_over_is_tested_inside_and_outside_the_pool_of_the_trainings(profile):
    tested, learnt = set(profiles.block(f"rq3.{profile}")["blurs"]), labels.learnt(["mix"])
    assert {"D3", "D7", "M18@40", "inertial"} <= tested - learnt
    assert {"D2", "D8", "G4", "M21@30", "shake8"} <= tested & learnt
