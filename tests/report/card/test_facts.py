"""The card as data: planted records give planted numbers, and nothing is invented between or beyond them."""

import pandas as pd
import pytest
from carded import BLURS, NOBODY, note, planted
from planted import row, rows

from blurnb import records
from blurnb.report import card
from blurnb.report.card import advice, facts


def test_the_facts_on_top_are_the_records():
    found = card.headline(planted(), note())
    # half above chance is 0.1 + 0.8 / 2 = 0.5, on the line from 0.8 at 4 to 0.4 at 8: 4 + 4 * 0.3 / 0.4
    assert [number for number, _ in found] == ["90.0 %", "40.0 %", "D7.0"]
    assert "right under D8, defocus of radius 8 pixels" in found[1][1]


def test_half_that_is_not_reached_is_said_to_lie_beyond():
    number, words = card.headline(planted({"sharp": 0.9, "D2": 0.85, "D4": 0.8}), note())[2]
    assert number == "> D4"
    assert "beyond 4, the largest radius tested" in words


def test_half_is_as_recorded_where_it_was():
    half = row(0.4, metric="half_radius", value=6.6, blur="D8", part_kind="metric", part="top1")
    like = planted().iloc[0][["experiment", "dataset", "folder", "training", "n"]].to_dict()
    found = pd.concat([planted(), rows(half, **like)], ignore_index=True)
    number, words = card.headline(records.table(found), note())[2]
    assert number == "D6.6"
    assert "6.6 [6.2, 7.0]" in words


@pytest.mark.parametrize(
    "label, expected",
    [
        ("D4", "−10.0 [−13.0, −7.0]"),  # as measured
        ("D5", "−20.0 [−23.0, −17.0]"),  # a quarter of the way from −10 to −50
        ("D1", "−2.0 [−3.5, −0.5]"),  # half way from no change at all
        ("M15@0", "−15.0 [−18.0, −12.0]"),  # another angle is no other blur
        ("sharp", "none"),
        ("D9", "beyond the strongest measured, D8"),
        ("M21@30", "beyond the strongest measured, a length of 20"),
    ],
)
def test_between_measured_strengths_the_card_interpolates_and_never_beyond(label, expected):
    assert facts.interpolated(card.main(planted()), label) == expected


def test_a_family_that_was_not_measured_is_not_invented():
    assert facts.interpolated(card.main(planted({"sharp": 0.9, "D8": 0.5})), "M15@0") == "no motion was measured"


def test_the_camera_table_says_what_each_situation_costs():
    table = card.situations(planted(), note()).set_index("situation")["change of top-1, points"]
    assert table["near"].startswith("−20.0")
    assert table["far"].startswith("beyond")
    assert table["absurd"] == "wider than the frame"


def test_conditions_set_confidence_beside_accuracy():
    table = card.conditions(planted()).set_index("condition")
    assert table.loc["D8", "top-1, %"].startswith("40.0 [")
    assert table.loc["D8", "share of sharp kept, %"].startswith("44.4 [")
    assert table.loc["sharp", "share of sharp kept, %"] == ""
    assert table.loc["D8", "surer than right, points"] == "+50.0"
    assert table.loc["D8", "calibration error, %"] == "50.0 [48.0, 52.0]"


def test_a_network_that_guesses_is_told_so_and_nothing_else():
    found = planted(dict.fromkeys(BLURS, 0.1))
    (only,) = advice.steps(found, note(), NOBODY)
    assert "at chance level" in only
    assert [part.title for part in facts.sections(found, note(), NOBODY)] == [
        "What to do about it",
        "Accuracy under every blur",
        "Accuracy and confidence, scale 256",
        "How this card was made",
    ]
    # always naming the class that has 80 % of the images is guessing, too
    most = planted(dict.fromkeys(BLURS, 0.8))
    assert advice.guessing(card.main(most), note(most_frequent_class=0.8))


def test_comparison_is_with_the_same_blur_scale_and_frame_only():
    named = {"dataset": "photos", "folder": ""}
    reference = pd.concat(
        [
            planted({"sharp": 0.8, "D8": 0.2, "D12": 0.1}, experiment="rq1", network="ref", training="sharp", **named),
            planted(experiment="rq1", network="tiny", training="sharp", frame=128, **named),
            planted(experiment="rq2", network="tuned", training="mix", **named),
            planted(experiment="rounding", network="rounded", training="sharp", **named),
        ]
    )
    table = card.comparison(planted(), reference)
    assert list(table["condition"]) == ["D8"]
    assert list(table.columns) == ["condition", "this network, %", "ref on photos, n = 500, %"]
    assert table.iloc[0, 1].startswith("44.4")  # 0.4 / 0.9
    assert table.iloc[0, 2].startswith("25.0")
    assert card.comparison(planted(), NOBODY).empty


def test_the_protocol_is_that_of_the_rows():
    made = facts.sections(planted(view="center-crop", precision="bf16", seed=3), note(), NOBODY)[-1].table
    told = dict(zip(made["what"], made["how"]))
    assert told["protocol"] == "frame 512, view center-crop, border reflect, bf16"
    assert told["images"] == "500 of 10 classes, seed 3"


def test_the_committed_runs_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = card.references()
    assert {"rq1", "doses"} <= set(found["experiment"])


def test_references_are_found_although_the_working_directory_is_gone(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    assert isinstance(facts.references(), pd.DataFrame)
