"""What rounding does to answers is told beside float32, and its rows leave RQ1's tables as they were."""

from pathlib import Path

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import claims, rounding, tables


def rows() -> list[dict]:
    shared = {"question": "rq1", "dataset": "imagenet", "network": "small", "profile": "photographs", "run_id": "r"}
    shared |= {"scale": "256", "blur": "D8", "training": "sharp", "n": 500, "view": "dense, 8-bit vs float32"}
    measured = {"agreement": (0.9, 0.87, 0.92), "top1_change": (-0.01, -0.03, 0.01), "mcnemar_p": (0.4, None, None)}
    return [
        records.row(metric=metric, value=value, ci_low=low, ci_high=high, **shared)
        for metric, (value, low, high) in measured.items()
    ]


def test_rounding_is_told_with_agreement_and_paired_change():
    (line,) = rounding.table(records.table(rows())).to_dict("records")
    assert line == {
        "scale": "256", "condition": "D8", "way": "8-bit", "n": "500", "same answer, %": "90.0 [87.0, 92.0]",
        "change of top-1, %": "\N{MINUS SIGN}1.0 [\N{MINUS SIGN}3.0, +1.0]", "McNemar's p": "0.400",
    }  # fmt: skip


def test_the_committed_rows_of_rounding_leave_rq1_as_it_was():
    folder = Path(__file__).parents[2] / "book" / "records" / "photographs"
    alone, together = records.read(folder / "rq1.csv"), records.load(folder, "rq1")
    assert len(together) > len(alone)
    assert tables.by_blur(together).equals(tables.by_blur(alone))
    assert claims.judge(1, together, "photographs") == claims.judge(1, alone, "photographs")
    assert tables.published_rows(together).equals(tables.published_rows(alone))
    found = rounding.table(together)
    assert set(found["way"]) == {"8-bit", "8-bit blur", "bf16"}


def test_absent_records_are_said():
    with pytest.raises(UserError, match="blurnb rounding"):
        rounding.table(records.table([]))
