"""The recipe that a profile has beside the best of a grid, and the documented command of that grid."""

import re
from pathlib import Path

import planted
import pytest

from blurnb import commands, records
from blurnb.study import grids
from blurnb.study.chapters import rq2_fine_tuning
from book._tools import recipes

ROOT = Path(__file__).parents[2]


def written(scores: dict) -> tuple:
    """(records, manifests) of a grid: two blurs, a tenth apart, around the score of each recipe."""
    notes, rows = {}, []
    for place, ((rate, epochs), score) in enumerate(scores.items()):
        run = f"run{place}"
        notes[run] = {"network_origin": {"facts": {"learning_rate": rate, "epochs": epochs}}}
        shared = {"profile": "embedded", "experiment": "rq2-validation", "dataset": "scenes, validation", "run_id": run}
        for blur, shift in (("sharp", 0.05), ("D8", -0.05)):
            rows.append(planted.row(0.03, blur=blur, value=score + shift, training="mix", **shared))
        rows.append(planted.row(0.03, blur="D8", value=0.0, training="mix", frozen="2", **shared))
    return records.table(rows), notes


def test_the_grid_shows_the_mean_over_blurs_and_the_best_recipe():
    shown = recipes.grid(*written({(0.003, 1): 0.7, (0.001, 1): 0.6, (0.001, 2): 0.8}))
    assert shown["learning rate"].tolist() == ["0.001", "0.003"]
    assert shown["1 epoch"].tolist() == ["60.0 [57.0, 63.0]", "70.0 [67.0, 73.0]"]
    assert shown["2 epochs"].tolist()[0] == "**80.0 [77.0, 83.0]**"


@pytest.mark.parametrize(
    "other, told",
    [
        ({(0.003, 1): 0.79}, "The profile has the best of these, 2 epochs at a learning rate of 0.001."),
        (
            {(0.003, 1): 0.81},
            "1.0 [-3.2, 5.2] points (no difference that these images can tell) behind the best, 1 epoch at a learning "
            "rate of 0.003. The best lies at the edge",
        ),
        (
            {(0.003, 4): 0.90, (0.0003, 2): 0.805},
            "10.0 [5.8, 14.2] points behind the best, 4 epochs at a learning rate of 0.003; 0.5 [-3.7, 4.7] points (no "
            "difference that these images can tell) behind the best of as many epochs, 2 epochs at",
        ),
    ],
)
def test_the_sentence_says_where_the_profile_stands(other, told):
    assert told in recipes.said(*written({(0.001, 2): 0.8, **other}))


def test_a_best_recipe_inside_the_grid_is_not_said_to_lie_at_its_edge():
    scores = {(rate, epochs): 0.7 for rate in (0.0003, 0.001, 0.003) for epochs in (1, 3, 4)} | {(0.001, 2): 0.7}
    assert "edge" not in recipes.said(*written(scores | {(0.001, 3): 0.9}))


@pytest.fixture(scope="module")
def documented():
    """The parameter sets of the command in the book."""
    (line,) = re.findall(
        r"^python -m blurnb (sweep rq2 .*)$", (ROOT / "book" / "reproduce.md").read_text(), re.MULTILINE
    )
    words = line.split()
    pairs = commands.pairs([value for flag, value in zip(words, words[1:]) if flag == "-p"])
    return grids.sets({name: grids.values(name, text) for name, text in pairs.items()})


def test_the_documented_grid_holds_the_recipe_of_the_profile(documented):
    notebook = (ROOT / "notebooks" / "rq2_fine_tuning.ipynb").read_text()
    assert len(grids.plan("rq2", notebook, documented)) == len(documented) == 9
    used = rq2_fine_tuning.Parameters.validate({"profile": recipes.PROFILE})
    given = [rq2_fine_tuning.Parameters.validate(one) for one in documented]
    assert (used.learning_rate, used.epochs) in {(one.learning_rate, one.epochs) for one in given}
    assert all(one.on_validation for one in given)


def test_a_smoke_run_of_the_documented_grid_is_read(documented, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "PROFILE", "smoke")
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    small = {"profile": "smoke", "blurs": "sharp,D8", "n_images": 16, "train_images": 32, "base_epochs": 1}
    folders = [tmp_path / str(place) for place in range(2)]
    for one, folder in zip(documented, folders):
        rq2_fine_tuning.run(rq2_fine_tuning.Parameters.validate(one | small | {"output_dir": str(folder)}))
    records.merge([folder / "rq2-validation.csv" for folder in folders], tmp_path / "rq2-validation.csv")
    found = records.read(tmp_path / "rq2-validation.csv", with_manifests=True)
    assert list(recipes.means(*found)) == [(one["learning_rate"], one["epochs"]) for one in documented[:2]]
