"""Blur as a dose: planted curves and differences, and kernels whose spread is known."""

import pandas as pd
import pytest

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report import doses
from blurnb.study import degradation, recovery

SHARED = {"question": "doses", "network": "net", "dataset": "d", "training": "sharp", "n": 500, "run_id": "r"}


def change(value, low, high, blur="G4", disk="D8", scale="256"):
    return records.row(metric="top1_change", value=value, ci_low=low, ci_high=high, blur=blur, scale=scale,
                       view=f"dense vs {disk}", **SHARED)  # fmt: skip


SPREADS = [records.row(metric="spread", value=v, blur=b, **SHARED) for b, v in {"D8": 4.01, "G4": 4.0}.items()]


@pytest.mark.parametrize(
    "ends, reading",
    [((0.03, 0.01, 0.05), "differs"), ((-0.03, -0.05, -0.01), "differs"), ((0.0, -0.01, 0.01), "alike"),
     ((0.0, -0.03, 0.01), "open"), ((0.008, 0.001, 0.015), "alike")],
)  # fmt: skip
def test_the_reading_of_a_matched_pair_is_by_rule(ends, reading):
    (line,) = doses.matched(records.table([*SPREADS, change(*ends)])).to_dict("records")
    assert line["reading"] == reading
    assert line["pair"] == "G4 against D8"
    assert line["standard deviation, pixels"] == "4.00 against 4.01"


def test_differences_from_the_sharp_image_are_no_matched_pairs():
    with pytest.raises(UserError, match="the table of matched blurs needs paired differences"):
        doses.matched(records.table([*SPREADS, change(0.1, 0.0, 0.2, disk="sharp image")]))


def test_curves_take_from_other_records_only_the_scales_that_are_missing():
    def point(scale, question):
        return records.row(metric="top1", value=0.5, blur="D8", scale=scale, view="dense",
                           **SHARED | {"question": question})  # fmt: skip

    mine = records.table([point("128", "doses"), point("256", "doses")])
    others = records.table([point(scale, "rq1") for scale in ("256", "512", "256+512")])
    found = doses.curves(mine, others)
    assert sorted(zip(found["scale"], found["question"])) == [("128", "doses"), ("256", "doses"), ("512", "rq1")]


def test_half_is_found_by_scale_and_not_beyond_what_was_measured():
    rows = []
    for scale, levels in {
        "128": {"sharp": 0.8, "D4": 0.6, "D8": 0.2},
        "256": {"sharp": 0.8, "D4": 0.7, "D8": 0.6},
    }.items():
        for blur, value in levels.items():
            low, high = intervals.wilson(round(500 * value), 500)
            rows.append(records.row(metric="top1", value=value, ci_low=low, ci_high=high, blur=blur, scale=scale,
                                    view="dense", **SHARED))  # fmt: skip
    found = doses.half_doses(records.table(rows), 0.0)
    assert found["128"].radius == pytest.approx(6)
    assert found["256"].radius == float("inf")
    assert str(found["256"]).startswith("beyond 8")


def test_spread_is_the_standard_deviation_of_the_kernel():
    assert degradation.spread("sharp", ["x"], 0) == 0
    assert degradation.spread("G4", ["x"], 0) == pytest.approx(4, abs=0.01)
    assert degradation.spread("D8", ["x"], 0) == pytest.approx((8**2 / 4 + 1 / 12) ** 0.5, rel=0.01)
    assert degradation.spread("M19.6@30", ["x"], 0) == pytest.approx(4.0, rel=0.02)
    # each image has a shake of its own: the spread is over all of them
    one, other = (degradation.spread("shake", [i], 0) for i in ("a", "b"))
    assert degradation.spread("shake", ["a", "b"], 0) == pytest.approx(((one**2 + other**2) / 2) ** 0.5)


def test_blurs_are_matched_by_spread_and_never_within_a_family():
    spreads = {"sharp": 0.0, "D4": 2.03, "D8": 4.01, "D8.1": 4.05, "G2": 2.0, "G4": 4.0, "M10@30": 2.07, "shake": 4.4}
    assert degradation.matched(spreads) == [
        ("G2", "D4"), ("M10@30", "D4"), ("G4", "D8"), ("G4", "D8.1"),
    ]  # fmt: skip


def test_calibration_takes_the_first_seed_and_scale_and_what_is_there():
    def answers(sure, right):
        rows = [(f"i{k}", scale, "D8", sure, k < right * 10) for scale in ("96", "128") for k in range(10)]
        return pd.DataFrame(rows, columns=["image", "scale", "blur", "confidence", "top1"])

    run = degradation.Run(None, {}, {("sharp", 0): answers(0.95, 0.3), ("sharp", 1): answers(0.5, 0.5)})
    (name, curve), *others = recovery.calibration(run, ["D8", "D9"]).items()
    assert (name, others) == ("sharp, D8", [])
    assert curve["n"].sum() == 10
    assert curve["accuracy"][0] == pytest.approx(0.3)
    assert curve["confidence"][0] == pytest.approx(0.95)


def test_the_committed_doses_leave_the_other_tables_alone():
    """They are a question of their own: what loads rq1 does not see them, what loads them needs nothing else."""
    folder = records.committed("photographs")
    found = records.load(folder, "doses")
    assert set(found["question"]) == {"doses"}
    assert not {"D12", "G2"} & set(records.load(folder, "rq1")["blur"])
    assert {"alike", "differs", "open"} >= set(doses.matched(found)["reading"])
