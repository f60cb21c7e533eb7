"""All published rows, each beside its counterpart or the reason why there is none."""

from planted import row, rows

from blurnb import intervals
from blurnb.report import paper
from blurnb.report.tables import published

SHARED = {"dataset": "imagenet-sample", "network": "efficientnet_lite0", "scale": "128", "metric": "top5"}


def planted(blur="sharp", value=0.8, n=500, **more):
    low, high = intervals.wilson(round(value * n), n)
    return row(**SHARED | {"blur": blur, "value": value, "n": n, "ci_low": low, "ci_high": high} | more)


def test_published_rows_hold_all_21_for_every_profile():
    frame = published.rows(rows(planted(), planted("D8", 0.5)))
    for profile in published.PROFILES:
        assert frame.loc[frame["profile"] == profile, "row"].tolist() == [str(r) for r in range(1, 22)]
    assert frame["paper, %"].drop_duplicates().tolist() == [
        f"{p:.2f}" for p in paper.published()["top5_percent"].drop_duplicates()
    ]
    assert (frame.loc[frame["ours, %"] == "", "remark"] != "").all()  # an empty cell always has its reason
    ours = frame[frame["ours, %"] != ""]
    assert ours["row"].tolist() == ["1", "5"]
    assert ours["n"].tolist() == ["500", "500"]


def test_published_rows_say_why_not():
    frame = published.rows(rows(planted(), planted("D8", 0.5)), ["photographs", "paper"])
    remark = frame.set_index(["row", "profile"])["remark"]
    assert remark["21", "photographs"].startswith("cannot be compared")
    assert remark["8", "photographs"] == "not run yet at scale 256 (this profile has 128)"
    assert remark["3", "photographs"] == "not run yet under D4"
    assert remark["17", "photographs"] == remark["1", "paper"] == "not run yet"


def test_published_rows_of_few_classes_are_told_in_top1():
    given = [planted(dataset="scenes"), planted(dataset="scenes", metric="top1", value=0.9)]
    given += [planted("D8", 0.6, dataset="scenes", metric="top1")]
    frame = published.rows(rows(*given), ["photographs"]).set_index("row")
    assert frame.loc["5", "ours, %"].startswith("60.0")
    assert frame.loc["5", "share kept, %"] == "66.7"
    assert "top-1" in frame.loc["5", "remark"]


def test_the_mix_is_measured_against_the_sharp_network_on_sharp_images():
    given = [
        planted(experiment="rq2", scale="256", value=0.8),
        planted(experiment="rq2", scale="256", training="mix", value=0.78),
        planted("D8", 0.6, experiment="rq2", scale="256", training="mix"),
    ]
    frame = published.rows(rows(*given), ["photographs"]).set_index("row")
    assert frame.loc["18", "share kept, %"] == "75.0"
    assert frame.loc["18", "difference"] == "−20.7"  # the paper keeps 95.7
    assert frame.loc["17", "share kept, %"] == "97.5"


def test_two_networks_get_a_line_each():
    frame = published.rows(rows(planted(), planted(network="vgg16")), ["photographs"])
    assert frame.loc[frame["row"] == "1", "network"].tolist() == ["efficientnet_lite0", "vgg16"]
