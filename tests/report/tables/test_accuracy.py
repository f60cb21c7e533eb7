import math

import pandas as pd
import pytest

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report import paper, tables


def row(blur="sharp", value=0.8, n=500, metric="top5", **more):
    low, high = intervals.wilson(round(value * n), n)
    fields = {"question": "rq1", "dataset": "imagenet-sample", "network": "efficientnet_lite0", "training": "sharp"}
    fields |= {"scale": "128", "view": "dense", "profile": "photographs", "run_id": "r", "ci_low": low, "ci_high": high}
    return records.row(blur=blur, value=value, n=n, metric=metric, **(fields | more))


@pytest.mark.parametrize(
    "value, n, metric, text",
    [
        (0.61, 500, "top5", "61.0"),
        (0.61, 199, "top5", "61"),
        (0.616, 20, "top1", "62"),
        (math.nan, 20, "top1", "–"),
        (-0.0001, 500, "top1_change", "0.0"),
        (-0.221, 500, "top1_change", "−22.1"),
        (1.2345, 500, "entropy", "1.23"),
        (0.83, 500, "cosine", "0.830"),
        (123.4, 5, "seconds", "123"),
    ],
)
def test_number(value, n, metric, text):
    assert tables.number(value, n, metric) == text


def test_interval():
    assert tables.interval(0.61, 0.566, 0.652, 500) == "61.0 [56.6, 65.2]"
    assert tables.interval(0.61, math.nan, math.nan, 500) == "61.0"
    assert tables.interval(-0.05, -0.1, 0.02, 500, signed=True) == "−5.0 [−10.0, +2.0]"


def test_markdown_is_gfm_with_numbers_on_the_right():
    frame = pd.DataFrame({"name": ["a|b", "c"], "n": ["1,000", "20"], "change": ["−2.0 [−3.0, −1.0]", "–"]})
    frame["run"] = ["12ab34cd56ef", "000000000000"]
    lines = tables.markdown(frame).splitlines()
    assert lines[0] == "| name | n | change | run |"
    assert lines[1] == "| :--- | ---: | ---: | :--- |"
    assert lines[2] == "| a\\|b | 1,000 | −2.0 [−3.0, −1.0] | 12ab34cd56ef |"
    assert len(lines) == 4


def test_by_blur_sets_ours_beside_the_paper():
    frame = tables.by_blur(records.table([row(), row("D8", 0.5), row("D3", 0.7)]))
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
    frame = tables.by_blur(records.table([row(scale="256+512"), row(scale="512"), row()]))
    assert frame["scale"].tolist() == ["128", "512", "256+512"]


def test_by_blur_of_another_metric_leaves_the_paper_out():
    rows = records.table([row(metric="top1"), row("D8", 0.4, metric="top1"), row("D8", 0.5)])
    frame = tables.by_blur(rows, "top1")
    assert not [c for c in frame.columns if "paper" in c]
    assert frame["top-1, %"].str.startswith("40.0").tolist() == [False, True]


def test_by_blur_leaves_comparisons_out():
    rows = [row(), row("D8", 0.5), row("D8", 0.2, metric="top5", view="dense vs sharp image")]
    assert len(tables.by_blur(records.table(rows))) == 2


def test_by_blur_names_what_is_missing():
    with pytest.raises(UserError, match="entropy.*top5"):
        tables.by_blur(records.table([row()]), "entropy")


def test_published_rows_hold_all_21_for_every_profile():
    frame = tables.published_rows(records.table([row(), row("D8", 0.5)]))
    for profile in tables.PROFILES:
        assert frame.loc[frame["profile"] == profile, "row"].tolist() == [str(r) for r in range(1, 22)]
    assert frame["paper, %"].drop_duplicates().tolist() == [
        f"{p:.2f}" for p in paper.published()["top5_percent"].drop_duplicates()
    ]
    assert (frame.loc[frame["ours, %"] == "", "remark"] != "").all()  # an empty cell always has its reason
    ours = frame[frame["ours, %"] != ""]
    assert ours["row"].tolist() == ["1", "5"]
    assert ours["n"].tolist() == ["500", "500"]


def test_published_rows_say_why_not():
    frame = tables.published_rows(records.table([row(), row("D8", 0.5)]), ["photographs", "paper"])
    remark = frame.set_index(["row", "profile"])["remark"]
    assert remark["21", "photographs"].startswith("cannot be compared")
    assert remark["8", "photographs"] == "not run yet at scale 256 (this profile has 128)"
    assert remark["3", "photographs"] == "not run yet under D4"
    assert remark["17", "photographs"] == remark["1", "paper"] == "not run yet"


def test_published_rows_of_few_classes_are_told_in_top1():
    rows = [row(dataset="scenes"), row(dataset="scenes", metric="top1", value=0.9)]
    rows += [row("D8", 0.6, dataset="scenes", metric="top1")]
    frame = tables.published_rows(records.table(rows), ["photographs"]).set_index("row")
    assert frame.loc["5", "ours, %"].startswith("60.0")
    assert frame.loc["5", "share kept, %"] == "66.7"
    assert "top-1" in frame.loc["5", "remark"]


def test_the_mix_is_measured_against_the_sharp_network_on_sharp_images():
    rows = [
        row(question="rq2", scale="256", value=0.8),
        row(question="rq2", scale="256", training="mix", value=0.78),
        row("D8", 0.6, question="rq2", scale="256", training="mix"),
    ]
    frame = tables.published_rows(records.table(rows), ["photographs"]).set_index("row")
    assert frame.loc["18", "share kept, %"] == "75.0"
    assert frame.loc["18", "difference"] == "−20.7"  # the paper keeps 95.7
    assert frame.loc["17", "share kept, %"] == "97.5"


def test_two_networks_get_a_line_each():
    frame = tables.published_rows(records.table([row(), row(network="vgg16")]), ["photographs"])
    assert frame.loc[frame["row"] == "1", "network"].tolist() == ["efficientnet_lite0", "vgg16"]


def test_scoreboard_has_eight_claims_and_a_column_a_profile():
    rows = [row("sharp", 0.8, metric="top1")] + [row(f"D{r}", 0.8 - 0.07 * r, metric="top1") for r in (2, 4, 6, 8)]
    frame = tables.scoreboard(records.table(rows))
    assert len(frame) == 8
    assert list(frame.columns) == ["claim", "statement", *tables.PROFILES, "chapter"]
    assert frame.loc[0, "photographs"].startswith("**reproduced**: −56.0 [")
    assert "n = 500" in frame.loc[0, "photographs"]
    assert frame.loc[0, "paper"] == frame.loc[1, "photographs"] == "not run"
    assert frame.loc[0, "chapter"] == "RQ1"
    linked = tables.scoreboard(records.table(rows), ["paper"], chapters={"rq1": "../notebooks/rq1_degradation.ipynb"})
    assert linked.loc[0, "chapter"] == "[RQ1](../notebooks/rq1_degradation.ipynb)"
    assert linked.loc[7, "chapter"] == "RQ5"


def test_training_by_blur_is_a_matrix():
    trainings = ("shake", "mix", "D8", "sharp", "defocus")
    rows = [row(b, 0.5, question="rq3", training=t) for t in trainings for b in ("D8", "sharp")][:-1]
    frame = tables.training_by_blur(records.table(rows), "top5")
    assert frame["trained on"].tolist() == ["sharp", "mix", "defocus", "shake", "D8"]
    assert list(frame.columns) == ["trained on", "sharp", "D8", "n"]
    assert frame.set_index("trained on").loc["defocus", "sharp"] == "–"
    with pytest.raises(UserError, match="one scale"):
        tables.training_by_blur(records.table([*rows, row(scale="256")]), "top5")


def test_layer_table_keeps_the_order_of_the_network():
    rows = []
    for layer in ("conv10", "conv2", "fc6"):
        for training in ("sharp", "mix"):
            rows.append(row("D8", 0.7, metric="cosine", training=training, view=f"layer {layer}"))
            rows.append(row("sharp", 0.3, metric="cosine", training=training, view=f"layer {layer} vs other image"))
    frame = tables.layer_table(records.table(rows))
    assert frame["layer"].tolist() == ["conv2", "conv10", "fc6"]
    assert list(frame.columns) == ["layer", "sharp", "sharp, other image", "mix", "mix, other image"]
    assert frame.loc[0, "sharp"].startswith("0.700 [")


def test_provenance_from_a_real_manifest():
    note = records.manifest({"network": "vgg_mini", "dataset": "scenes", "seed": 3}, device="cpu", wall_seconds=205.2)
    frame = tables.provenance({"abc": note, "bare": {}})
    one = frame.iloc[0]
    found = one[["run", "network", "data", "seed", "device"]].tolist()
    assert found == ["abc", "vgg_mini", "scenes", "3", "cpu"]
    assert one["wall time"] == "3 min 25 s"
    assert len(one["date"]) == 10
    assert "torch" in one["versions"]
    assert set(frame.iloc[1][1:]) == {"–"}


@pytest.mark.parametrize("seconds, text", [(0.4, "< 1 s"), (59.4, "59 s"), (60, "1 min 00 s"), (7500, "2 h 05 min")])
def test_duration(seconds, text):
    assert tables.duration(seconds) == text
