"""Costs: the sum of the formula by hand, and what is said of scales that were not measured."""

from pathlib import Path

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import claims, costs, tables

WAY = "blurnb, eager float32"


def speed(**changed) -> list[dict]:
    shared = {"question": "speed", "dataset": "imagenet", "network": "small", "profile": "photographs", "run_id": "r"}
    shared |= {"metric": "seconds", "scale": "256", "n": 4}
    seconds = {("decode", ""): 0.01, ("frame", ""): 0.02, ("blur", "D2"): 0.001, ("blur", "D8"): 0.003,
               ("resize 256", ""): 0.004, (f"network 256, {WAY}", ""): 0.1, (WAY, ""): 0.16,
               ("plain: PIL", ""): 0.4} | changed  # fmt: skip
    return [records.row(view=view, blur=blur, value=value, **shared) for (view, blur), value in seconds.items()]


def test_the_pipeline_is_told_beside_the_plain_way():
    found = costs.pipeline(records.table(speed()))
    assert found["way"].tolist() == [WAY, "plain: PIL"]
    assert found["the plain way takes"].tolist() == ["2.50 times that", "1.00 times that"]
    assert found["network's share"].tolist() == ["62%", ""]
    assert found["ms a photograph"].tolist() == ["160", "400"]


def test_the_papers_cost_is_the_sum_of_the_formula():
    (line,) = costs.paper(records.table(speed()), blurs=9).to_dict("records")
    area = (128**2 + 256**2 + 512**2) / 256**2  # the other scales, in proportion to their pixels
    light, heavy = 0.01 + 0.02 + 9 * (0.002 + 0.002 * area), 9 * 2 * 0.05 * area
    assert line["one core"] == costs._days(50_000 * (light + heavy))
    assert line["one GPU"] == costs._days(50_000 * (light + heavy / costs.GPU_FACTOR))
    assert line["64 cores"] == costs._days(50_000 * (light + heavy) / 64)
    assert (line["scales measured"], line["scales in proportion"]) == ("256", "128, 512")


def test_a_measured_scale_is_not_taken_in_proportion():
    more = {("resize 512", ""): 0.005, (f"network 512, {WAY}", ""): 0.9}
    (line,) = costs.paper(records.table(speed() + [
        records.row(question="speed", dataset="imagenet", network="small", profile="photographs", run_id="r",
                    metric="seconds", scale="256", n=4, view=view, value=value) for (view, _), value in more.items()
    ])).to_dict("records")  # fmt: skip
    assert (line["scales measured"], line["scales in proportion"]) == ("256, 512", "128")


def test_the_formula_names_what_is_measured_and_what_is_assumed():
    text = costs.formula(records.table(speed()))
    assert "**Measured** (processor seconds, n = 4 or more" in text
    assert "**Assumed**" in text


def rounding() -> list[dict]:
    shared = {"question": "rq1", "dataset": "imagenet", "network": "small", "profile": "photographs", "run_id": "r"}
    shared |= {"scale": "256", "blur": "D8", "training": "sharp", "n": 500, "view": "dense, 8-bit vs float32"}
    measured = {"agreement": (0.9, 0.87, 0.92), "top1_change": (-0.01, -0.03, 0.01), "mcnemar_p": (0.4, None, None)}
    return [
        records.row(metric=metric, value=value, ci_low=low, ci_high=high, **shared)
        for metric, (value, low, high) in measured.items()
    ]


def test_rounding_is_told_with_agreement_and_paired_change():
    (line,) = costs.rounding(records.table(rounding())).to_dict("records")
    assert line == {
        "scale": "256", "condition": "D8", "way": "8-bit", "n": "500", "same answer, %": "90.0 [87.0, 92.0]",
        "change of top-1, %": "\N{MINUS SIGN}1.0 [\N{MINUS SIGN}3.0, +1.0]", "McNemar's p": "0.400",
    }  # fmt: skip


def test_the_committed_rows_of_rounding_leave_rq1_as_it_was():
    folder = Path(__file__).parents[1] / "book" / "records" / "photographs"
    alone, together = records.read(folder / "rq1.csv"), records.load(folder, "rq1")
    assert len(together) > len(alone)
    assert tables.by_blur(together).equals(tables.by_blur(alone))
    assert claims.judge(1, together, "photographs") == claims.judge(1, alone, "photographs")
    assert tables.published_rows(together).equals(tables.published_rows(alone))
    found = costs.rounding(together)
    assert set(found["way"]) == {"8-bit", "8-bit blur", "bf16"}


def test_absent_records_are_said():
    empty = records.table([])
    with pytest.raises(UserError, match=r"benchmarks/sweep\.py"):
        costs.pipeline(empty)
    with pytest.raises(UserError, match="blurnb rounding"):
        costs.rounding(empty)


def blur_speeds() -> list[dict]:
    shared = {"question": "speed", "dataset": "noise", "profile": "photographs", "run_id": "r", "n": 8}
    speeds = {("blurs", "D8", "blurnb"): 300.0, ("blurs", "D8", "slow"): 50.0, ("blurs", "D8", "less slow"): 100.0,
              ("blurs", "D2", "blurnb"): 300.0, ("blurs", "D2", "slow"): 150.0, ("shapes", "disk 3", "blurnb"): 90.0,
              ("shapes", "disk 3", "slow"): 100.0, ("shapes", "long disk 21", "blurnb"): 50.0,
              ("shapes", "long disk 21", "slow"): 10.0,
              ("shapes", "disk 3", "bytes uint8"): 30.0, ("shapes", "long disk 21", "bytes uint8"): 200.0}  # fmt: skip
    return [
        records.row(metric=metric, view=kind, blur=blur, network=way, scale="512", value=value, **shared)
        for (kind, blur, way), speed in speeds.items()
        for metric, value in (("images_per_second", speed), ("largest_error", 5 / speed))
    ]


def test_blur_is_held_against_its_fastest_peer_and_a_missed_goal_is_said():
    found = costs.blurs(records.table(blur_speeds()))
    assert found["kernel"].tolist() == ["D2", "D8"]
    assert found["which"].tolist() == ["slow", "less slow"]
    assert found["ratio"].tolist() == ["2.00", "3.00"]
    assert found["goal"].tolist() == ["1.5", "4, missed"]
    assert found["of the peer"].tolist() == ["0.033", "0.050"]


def test_each_benchmark_tells_its_machine_and_date():
    made = {"date": "2026-01-02T03:04:05+00:00", "threads": 2, "versions": {"torch": "9.9"}}
    pipeline = {"benchmark": "sweep", "network": "small", "scales": ["128", "256"], "processor": "a processor"}
    blur = {"benchmark": "blur", "sweep": True, "side": 512, "images": 8, "threads": 2, "processor": "a processor",
            "libraries": {"kornia": "0.1"}}  # fmt: skip
    notes = {"a": made | {"parameters": pipeline}, "b": made | {"parameters": blur}, "c": {"parameters": {}}}
    (line,) = costs.machines(notes).to_dict("records")
    assert (line["scales"], line["torch"], line["date"]) == ("128, 256", "9.9", "2026-01-02")
    (line,) = costs.blur_machines(notes).to_dict("records")
    assert (line["kernels"], line["against"], line["date"]) == ("3 x 3 to 51 x 51", "kornia 0.1", "2026-01-02")


def test_every_kind_of_kernel_has_its_ratio_by_side():
    found = costs.blur_shapes(records.table(blur_speeds()))
    assert found.columns.tolist() == ["kernel", "3", "21"]
    assert found.set_index("kernel").loc["disk"].tolist() == ["0.90", ""]
    assert found.set_index("kernel").loc["long disk", "21"] == "5.0"
    found = costs.blur_shapes(records.table(blur_speeds()), pixels="8-bit").set_index("kernel")
    assert (found.loc["disk", "3"], found.loc["long disk", "21"]) == ("3.0", "0.25")


def test_peaks_are_told_in_order_of_what_is_kept_and_of_n():
    shared = {"question": "speed", "network": "small", "scale": "256", "profile": "photographs", "run_id": "r"}
    views = {"peak of 200": 130.0, "peak of 50": 120.0, "peak of 50, 16 layers kept": 110.0}
    rows = [records.row(metric=metric, view=view, n=int(view.split()[2].strip(",")), value=value / scale, **shared)
            for view, value in views.items() for metric, scale in (("megabytes", 1), ("seconds", 1000))]  # fmt: skip
    found = costs.memory(records.table(rows))
    assert found["photographs"].tolist() == ["50", "200", "50"]
    assert found["oneDNN keeps"].tolist() == ["1,024 layers", "1,024 layers", "16 layers"]
    assert found["peak, MB"].tolist() == found["ms a photograph"].tolist() == ["120", "130", "110"]
