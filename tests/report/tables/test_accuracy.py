"""Accuracy as tables: by blur beside the paper, by training, and layer by layer."""

import pytest
from planted import row, rows

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report.tables import accuracy

SHARED = {"dataset": "imagenet-sample", "network": "efficientnet_lite0", "scale": "128", "metric": "top5"}


def planted(blur="sharp", value=0.8, n=500, **more):
    low, high = intervals.wilson(round(value * n), n)
    return row(**SHARED | {"blur": blur, "value": value, "n": n, "ci_low": low, "ci_high": high} | more)


def test_by_blur_sets_ours_beside_the_paper():
    frame = accuracy.by_blur(rows(planted(), planted("D8", 0.5), planted("D3", 0.7)))
    assert frame["condition"].tolist() == ["sharp", "D3", "D8"]
    eight = frame.set_index("condition").loc["D8"]
    assert eight["top-5, %"].startswith("50.0 [")
    assert eight["paper, %"] == "53.34"
    assert eight["share of sharp kept, %"] == "62.5"
    assert eight["paper's share, %"] == "70.1"
    assert eight["difference"] == "−7.6"
    assert frame.set_index("condition").loc["D3", "paper, %"] == ""
    assert "scale" not in frame.columns  # only one, so it belongs in the caption


def test_by_blur_of_two_scales_shows_them_in_order():
    frame = accuracy.by_blur(rows(planted(scale="256+512"), planted(scale="512"), planted()))
    assert frame["scale"].tolist() == ["128", "512", "256+512"]


def test_by_blur_of_another_metric_leaves_the_paper_out():
    given = rows(planted(metric="top1"), planted("D8", 0.4, metric="top1"), planted("D8", 0.5))
    frame = accuracy.by_blur(given, "top1")
    assert not [c for c in frame.columns if "paper" in c]
    assert frame["top-1, %"].str.startswith("40.0").tolist() == [False, True]


def test_by_blur_leaves_comparisons_out():
    given = [planted(), planted("D8", 0.5), planted("D8", 0.2, versus_blur="sharp")]
    assert len(accuracy.by_blur(rows(*given))) == 2


def test_by_blur_names_what_is_missing():
    with pytest.raises(UserError, match="entropy.*top5"):
        accuracy.by_blur(rows(planted()), "entropy")


def test_training_by_blur_is_a_matrix():
    trainings = ("shake", "mix", "D8", "sharp", "defocus")
    given = [planted(b, 0.5, experiment="rq3", training=t) for t in trainings for b in ("D8", "sharp")][:-1]
    frame = accuracy.by_training(rows(*given), "top5")
    assert frame["trained on"].tolist() == ["sharp", "mix", "defocus", "shake", "D8", "in training"]
    assert list(frame.columns) == ["trained on", "sharp", "D8", "n"]
    assert frame.set_index("trained on").loc["defocus", "sharp"] == "–"
    with pytest.raises(UserError, match="one scale"):
        accuracy.by_training(rows(*given, planted(scale="256")), "top5")


def test_the_matrix_says_which_blurs_some_network_has_seen_in_training():
    blurs = ("sharp", "D4", "D7", "D11", "M18@40", "M21@30", "shake", "inertial")
    given = [planted(b, 0.5, training=t) for t in ("sharp", "mix", "D11") for b in blurs]
    told = accuracy.by_training(rows(*given), "top5").set_index("trained on").loc["in training"]
    assert {blur for blur in blurs if told[blur] == "no"} == {"D7", "M18@40", "inertial"}
    assert {told[blur] for blur in blurs} == {"yes", "no"}
    assert "in training" not in set(accuracy.by_training(rows(*given[:8]), "top5")["trained on"])


def test_trainings_with_frozen_blocks_have_lines_of_their_own():
    given = [planted(training="mix", value=0.6), planted(training="mix", value=0.2, frozen="2"), planted()]
    frame = accuracy.by_training(rows(*given), "top5")
    assert frame["trained on"].tolist() == ["sharp", "mix", "mix, 2 blocks frozen"]
    assert accuracy.by_blur(rows(*given))["training"].tolist() == ["sharp", "mix", "mix, 2 blocks frozen"]


def test_restored_images_are_not_averaged_with_images_as_they_are():
    given = rows(planted("D8", 0.5), planted("D8", 0.7, method="wiener", kernel="true"), planted())
    assert accuracy.by_blur(given).set_index("condition").loc["D8", "top-5, %"].startswith("50.0 [")
