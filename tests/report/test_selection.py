"""Which rows answer which question: columns say it, and two protocols are never averaged."""

import math

import pytest
from planted import layer, row, rows

from blurnb.errors import UserError
from blurnb.report import selection


def test_select_compares_columns():
    found = rows(row(), row(blur="D8"), row(blur="G4", flip=True), row(blur="G4", versus_training="mix"))
    assert selection.select(found, blur="D8")["blur"].tolist() == ["D8"]
    assert set(selection.select(found, blur=["D8", "sharp"])["blur"]) == {"D8", "sharp"}
    assert selection.select(found, flip=True)["blur"].tolist() == ["G4"]
    assert len(selection.select(found, versus_training=None)) == 3
    assert len(selection.select(found, versus_per_scale=None, ci_low=None, frame=512, noise_sd=0.0)) == 4
    assert selection.select(found[:0], blur="D8").empty
    with pytest.raises(UserError, match="no column 'blurr'"):
        selection.select(found, blur="none", blurr="D8")


def test_estimates_are_about_whole_images_and_compare_nothing():
    cat = row(part_kind="class", part="cat")
    found = rows(
        row(), cat, row(versus_training="mix"), layer("conv1", blur="D2"), row(statistic="p_value", versus_blur="D2")
    )
    assert len(selection.estimates(found)) == 1
    assert selection.estimates(found, part_kind="class")["part"].tolist() == ["cat"]
    assert selection.estimates(found, part_kind="layer", versus_blur="sharp")["part"].tolist() == ["conv1"]


@pytest.mark.parametrize(
    "column, first, second",
    [("view", "dense", "center-crop"), ("flip", False, True), ("rounding", "none", "8-bit"),
     ("noise_sd", 0.0, 0.01), ("method", "none", "wiener"), ("precision", "float32", "bf16"),
     ("border", "reflect", "circular"), ("resample", "bicubic", "bilinear")],
)  # fmt: skip
def test_two_protocols_are_never_averaged(column, first, second):
    both = rows(row(**{column: first}), row(**{column: second}))
    assert selection.main_protocol(both)[column].tolist() == [first]
    assert len(selection.main_protocol(both, [column])) == 2
    other = rows(row(**{column: first}), row(**{column: second}, network="other"))
    assert len(selection.main_protocol(other)) == 2  # each has but one


def test_an_estimate_is_the_mean_of_seeds_in_the_envelope_of_their_intervals():
    seeds = rows(row(0.01, value=0.5, train_seed=0), row(0.01, value=0.6, train_seed=1), row(value=0.1, n=20))
    assert selection.estimate(seeds) == pytest.approx((0.55, 0.49, 0.61))
    assert selection.estimate(seeds[:0]) is None
    _, low, high = selection.estimate(rows(row(value=0.5)))
    assert low < 0.5 < high  # Wilson's
    assert math.isnan(selection.estimate(rows(row(value=0.5, metric="entropy")))[1])


def test_two_runs_that_disagree_are_no_seeds():
    """A sweep over a setting that no column tells, or files of several folders, hold both."""
    two = rows(row(value=0.5, run_id="a"), row(value=0.6, run_id="b"))
    with pytest.raises(UserError, match=r"runs a and b answer one question differently .*net.*0\.5.*0\.6.*run_id"):
        selection.estimate(two)
    assert selection.estimate(rows(row(0.1, run_id="a"), row(0.1, run_id="b")))[0] == 0.5
    assert selection.estimate(rows(row(0.1, value=0.4, run_id="a", n=9), row(0.1, run_id="b")))[0] == 0.5


def test_two_weights_of_a_network_are_two_sources():
    both = rows(row(weights="imagenet", value=0.8, run_id="a"), row(weights="none", value=0.0, run_id="b"))
    assert list(selection.sources(both)) == ["net, weights imagenet on scenes", "net, weights none on scenes"]
    with pytest.raises(UserError, match="not 2 .*net, weights imagenet on scenes, net, weights none on scenes"):
        selection.one_source(both, "a table")
    assert [len(part) for part in selection.sources(both).values()] == [1, 1]


@pytest.mark.parametrize(
    "dataset, folder, frame, name",
    [("scenes", "", 512, "scenes"), ("tiny-imagenet", "", 128, "tiny-imagenet, frame 128"),
     ("folder", "cats, frame 9", 512, "folder cats, frame 9")],
)  # fmt: skip
def test_data_has_the_name_that_a_reader_knows(dataset, folder, frame, name):
    assert selection.data_name(dataset, folder, frame) == name
    found = rows(row(dataset=dataset, folder=folder, frame=frame))
    assert selection.one_source(found, "a table") == ("net", name)
    assert list(selection.sources(found)) == [f"net on {name}"]


def test_several_sources_are_refused_by_name():
    with pytest.raises(UserError, match="a table needs rows of one network on one dataset, not 2 .*net on a, net on b"):
        selection.one_source(rows(row(dataset="a"), row(dataset="b")), "a table")


def test_trainings_have_names_and_an_order():
    hows = [{"frozen": "10"}, {"frozen": "2"}, {"frozen": "1"}, {"frozen": "backbone"}, {"per_scale": True}, {}]
    found = rows(row(), *(row(training="mix", **how) for how in hows), row(training="D8"), row(training="shake"))
    assert list(selection.trainings(found)) == [
        "sharp", "mix", "shake", "D8",
        "mix per scale", "mix, head only", "mix, 1 block frozen", "mix, 2 blocks frozen", "mix, 10 blocks frozen",
    ]  # fmt: skip
    alone = selection.trainings(rows(row(metric="psnr", network="", training="", frozen="", per_scale=None)))
    assert list(alone) == [""]


def test_captures_have_names_and_an_order():
    found = rows(row(noise_sd=0.01), row(rounding="8-bit blur"), row(), row(rounding="8-bit blur", noise_sd=0.05))
    assert list(selection.captures(found)) == ["exact pixels", "8-bit", "8-bit, noise 0.05", "noise 0.01"]
    assert selection.captures(found)["8-bit"] == {"rounding": "8-bit blur", "noise_sd": 0.0}
    assert next(iter(selection.captures(found, exact="exact"))) == "exact"


def test_the_other_side_of_a_comparison():
    same = row(training="mix", blur="D8", versus_blur="sharp")
    other = row(training="sharp", blur="D8", versus_training="mix")
    found = rows(row(training="mix"), same, other, row(versus_training="shake"))
    assert set(selection.against(found, training="mix")["training"]) == {"mix", "sharp"}
    assert selection.against(found, training="mix", blur="sharp")["versus_blur"].tolist() == ["sharp"]
    assert len(selection.against(found)) == 3


def test_labels_of_another_frame_are_renamed_and_those_without_a_size_left_out():
    blurs = ["sharp", "D2", "G1.5", "M5@30", "shake", "shake24"]
    small = rows(*(row(blur=blur, frame=128) for blur in blurs))
    assert set(selection.in_frame(small, 512)["blur"]) == {"sharp", "D8", "G6", "M20@30"}
    assert selection.in_frame(small, 128)["blur"].tolist() == small["blur"].tolist()
    same = rows(*(row(blur=blur) for blur in blurs))
    assert selection.in_frame(same, 512)["blur"].tolist() == same["blur"].tolist()


def test_the_main_scale_is_the_papers_where_it_was_measured():
    assert selection.main_scale(rows(row(scale="512"), row(scale="256"), row(scale="128"))) == "256"
    assert selection.main_scale(rows(row(scale="64+96"), row(scale="96"))) == "96"
    assert selection.main_scale(rows(row(scale=""))) == "256"


def test_the_share_kept_is_the_recorded_one_and_without_it_a_number_without_interval():
    levels = [row(0.02, value=value, blur=blur) for blur, value in (("sharp", 0.9), ("D8", 0.45))]
    share = selection.share_kept(rows(*levels), "D8")
    assert share[0] == pytest.approx(0.5)
    assert all(map(math.isnan, share[1:]))
    kept = {"blur": "D8", "statistic": "kept", "versus_blur": "sharp", "training": "sharp"}
    recorded = rows(*levels, row(0.03, value=0.5, **kept), row(0.9, value=0.1, **{**kept, "part_kind": "mean"}))
    assert selection.share_kept(recorded, "D8") == pytest.approx((0.5, 0.47, 0.53))
    assert selection.share_kept(recorded, "D4") is None
    mix = rows(*levels, row(0.03, value=0.8, **kept | {"training": "mix", "versus_training": "sharp"}))
    assert selection.share_kept(mix, "D8", "mix", "sharp")[0] == 0.8


def test_in_another_frame_a_mean_over_blurs_is_left_out():
    """D4 and D8 in a frame of 256 are D8 and D16 in the paper's; a mean over D4 and D8 there is none of these."""
    means = rows(*(row(blur="", part_kind="mean", part="D4+D8", frame=frame) for frame in (256, 512)))
    assert selection.in_frame(means, 512)["frame"].tolist() == [512]
    assert selection.in_frame(means, 256)["frame"].tolist() == [256]
