"""Kernels whose spread is known, blurs of one strength, and the calibration of a run."""

import pandas as pd
import pytest

from blurnb.study import degradation, recovery


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
