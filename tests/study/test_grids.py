"""Parameter sets: what is one run and what is a list, what is refused, and what makes two sets the same."""

import json

import pytest

from blurnb import provenance
from blurnb.errors import UserError
from blurnb.recognition import decoding, families
from blurnb.study import grids

NOTEBOOK = json.dumps({"cells": [{"cell_type": "code", "source": "a = 1"}, {"cell_type": "markdown", "source": "x"}]})
GIVEN = {"profile": "smoke", "dataset": "foolbox20", "network": "efficientnet_lite0"}


@pytest.mark.parametrize(
    "text, found",
    [
        ("vgg16,resnet50", ["vgg16", "resnet50"]),
        ("vgg16", ["vgg16"]),
        ("[sharp,D8]", [["sharp", "D8"]]),
        ("[sharp,M21@30],[sharp,G4]", [["sharp", "M21@30"], ["sharp", "G4"]]),
        ("128,256+512", [128, "256+512"]),
        ("true,0.5", [True, 0.5]),
        ("'/data/a,b'", ["/data/a,b"]),
    ],
)
def test_a_comma_makes_runs_and_brackets_make_a_list(text, found):
    assert grids.values("name", text) == found


@pytest.mark.parametrize("text", ["", "[a", "a,,b", "null", "a: b", "a]"])
def test_what_is_no_list_of_values_is_refused(text):
    with pytest.raises(UserError, match="^-p blurs="):
        grids.values("blurs", text)


def test_sets_are_every_combination_the_last_name_fastest():
    found = grids.sets({"seed": [0, 1], "border": ["reflect", "circular"]}, [{"seed": 7, "view": "dense"}])
    assert [(s["seed"], s["border"], s["view"]) for s in found] == [
        (0, "reflect", "dense"), (0, "circular", "dense"), (1, "reflect", "dense"), (1, "circular", "dense"),
    ]  # fmt: skip
    assert grids.sets({}) == [{}]


def test_a_file_holds_a_grid_or_whole_sets(tmp_path):
    path = tmp_path / "grid.yml"
    path.write_text("network: [vgg16, resnet50]\nblurs: [[sharp, D8]]\nseed: 3\n")
    assert grids.read(path) == {"network": ["vgg16", "resnet50"], "blurs": [["sharp", "D8"]], "seed": [3]}
    path.write_text("- {network: vgg16, blurs: [sharp, D8]}\n- {network: resnet50}\n")
    assert grids.read(path) == [{"network": "vgg16", "blurs": ["sharp", "D8"]}, {"network": "resnet50"}]


@pytest.mark.parametrize("text", ["", "3", "[1, 2]", "a: [", "a:", "a: []", "a: [1, null]", "[{}]"])
def test_a_file_that_is_neither_is_refused_by_name(tmp_path, text):
    (tmp_path / "grid.yml").write_text(text)
    with pytest.raises(UserError, match=r"grid\.yml"):
        grids.read(tmp_path / "grid.yml")
    with pytest.raises(UserError, match="cannot read"):
        grids.read(tmp_path / "absent.yml")


def test_every_set_is_checked_before_any_is_run():
    with pytest.raises(UserError, match="n_imges"):
        grids.plan("rq1", NOTEBOOK, [GIVEN, GIVEN | {"n_imges": 3}])
    with pytest.raises(UserError, match="'Q8'"):
        grids.plan("rq1", NOTEBOOK, [GIVEN, GIVEN | {"blurs": ["Q8"]}])
    with pytest.raises(UserError, match="--output"):
        grids.plan("rq1", NOTEBOOK, [GIVEN | {"output_dir": "here"}])
    with pytest.raises(UserError, match="not a notebook"):
        grids.plan("rq1", "{}", [GIVEN])


def test_sets_that_mean_the_same_are_one_run_and_the_code_is_part_of_the_address(tmp_path):
    same = [GIVEN | {"blurs": "sharp,D8"}, GIVEN | {"blurs": ["sharp", "D8.0"]}, GIVEN | {"blurs": ["D8", "sharp"]}]
    plan = grids.plan("rq1", NOTEBOOK, same)
    assert list(plan.values()) == [same[0], same[2]]
    assert not set(plan) & set(grids.plan("rq1", NOTEBOOK.replace("a = 1", "a = 2"), same))
    assert set(plan) == set(grids.plan("rq1", NOTEBOOK.replace('"x"', '"y"'), same))
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"one")
    first = grids.plan("rq1", NOTEBOOK, [GIVEN | {"weights": str(weights)}])
    weights.write_bytes(b"two")
    assert first.keys() != grids.plan("rq1", NOTEBOOK, [GIVEN | {"weights": str(weights)}]).keys()


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A folder with photographs and a network of one's own, and a function that plans a card of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    for split in ("train", "val"):
        for wnid in ("n01440764", "n01443537"):
            (tmp_path / "data" / split / wnid).mkdir(parents=True)
            for i in range(2):
                (tmp_path / "data" / split / wnid / f"{i}.bmp").write_bytes(b"%d" % i * 100)
    (tmp_path / "planted_guest.py").write_text("from planted_layers import Net\n")
    (tmp_path / "planted_layers.py").write_text("raise SystemExit\n")
    (tmp_path / "w.pt").write_bytes(b"one")
    card = {"profile": "smoke", "dataset": "auto", "data_root": "data", "network": "planted_guest:build"}
    rq1 = {"profile": "smoke", "dataset": "imagenet", "data_root": "data", "network": "resnet18", "weights": "w.pt"}
    return {"card": card, "rq1": rq1, "rq2": rq1 | {"train_images": 0}}


BYTES = {
    "planted_layers.py": {"card"},
    "planted_guest.py": {"card"},
    "w.pt": {"rq1", "rq2"},
    "data/val/n01443537/1.bmp": {"card", "rq1", "rq2"},
    "data/train/n01443537/1.bmp": {"rq2"},
}


def test_a_run_is_known_by_what_its_parameters_name_holds(named, tmp_path):
    def addresses():
        found = {chapter: grids.plan(chapter, NOTEBOOK, [given, given]) for chapter, given in named.items()}
        assert all(len(plan) == 1 for plan in found.values())
        return found

    before = addresses()
    assert addresses() == before
    for name, chapters in BYTES.items():
        with open(tmp_path / name, "r+b") as file:
            file.write(b"#")
        after = addresses()
        assert {chapter for chapter in named if after[chapter] != before[chapter]} == chapters, name
        before = after


def test_a_run_is_known_by_the_versions_of_the_package(named, monkeypatch):
    first = grids.plan("rq1", NOTEBOOK, [GIVEN])
    told = provenance.all_versions()
    assert told["recognition/decoding.py"] == decoding.VERSION
    assert told["recognition/families/__init__.py"] == families.VERSION
    monkeypatch.setattr(provenance, "all_versions", lambda: told | {"recognition/decoding.py": 99})
    assert grids.plan("rq1", NOTEBOOK, [GIVEN]).keys() != first.keys()


def test_images_that_another_machine_has_are_planned_for(named):
    given = named["rq1"] | {"data_root": "elsewhere"}
    assert grids.plan("rq1", NOTEBOOK, [given]) == grids.plan("rq1", NOTEBOOK, [given])


def test_a_set_is_described_by_what_varies():
    one, other = GIVEN | {"seed": 1, "blurs": ["sharp"]}, GIVEN | {"seed": 2, "blurs": ["sharp"]}
    assert grids.described(one, [one, other]) == "seed=1"
    assert grids.described(one, [one]).startswith("profile=smoke dataset=foolbox20")
    assert grids.described({}, [{}]) == "the profile's defaults"
