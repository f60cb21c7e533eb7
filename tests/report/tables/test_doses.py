"""Blur by strength: planted curves and differences."""

import pytest
from planted import row, rows

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report.tables import doses

SHARED = {"experiment": "doses", "network": "net", "dataset": "d"}
ALONE = {"network": "", "training": "", "frozen": "", "per_scale": None, "scale": "", "noise_sd": None, "method": ""}
WIDTHS = [
    row(value=value, blur=blur, metric="kernel_sd", **SHARED | ALONE) for blur, value in {"D8": 4.01, "G4": 4.0}.items()
]


def change(value, low, high, disk="D8", **more):
    return row(value=value, ci_low=low, ci_high=high, blur="G4", versus_blur=disk, **SHARED | more)


@pytest.mark.parametrize(
    "ends, reading",
    [((0.03, 0.01, 0.05), "differs"), ((-0.03, -0.05, -0.01), "differs"), ((0.0, -0.01, 0.01), "alike"),
     ((0.0, -0.03, 0.01), "open"), ((0.008, 0.001, 0.015), "alike")],
)  # fmt: skip
def test_the_reading_of_a_matched_pair_is_by_rule(ends, reading):
    (line,) = doses.matched(rows(*WIDTHS, change(*ends))).to_dict("records")
    assert line["reading"] == reading
    assert line["pair"] == "G4 against D8"
    assert line["standard deviation, pixels"] == "4.00 against 4.01"


def test_differences_from_the_sharp_image_are_no_matched_pairs():
    with pytest.raises(UserError, match="the table of matched blurs needs paired differences"):
        doses.matched(rows(*WIDTHS, change(0.1, 0.0, 0.2, disk="sharp")))


def test_curves_take_from_other_records_only_the_scales_that_are_missing():
    def point(scale, experiment):
        return row(blur="D8", scale=scale, **SHARED | {"experiment": experiment})

    mine = rows(point("128", "doses"), point("256", "doses"))
    others = rows(*(point(scale, "rq1") for scale in ("256", "512", "256+512")))
    found = doses.curves(mine, others)
    assert sorted(zip(found["scale"], found["experiment"])) == [("128", "doses"), ("256", "doses"), ("512", "rq1")]


def test_half_is_found_by_scale_and_not_beyond_what_was_measured():
    found = []
    for scale, levels in {
        "128": {"sharp": 0.8, "D4": 0.6, "D8": 0.2},
        "256": {"sharp": 0.8, "D4": 0.7, "D8": 0.6},
    }.items():
        for blur, value in levels.items():
            low, high = intervals.wilson(round(500 * value), 500)
            found.append(row(value=value, ci_low=low, ci_high=high, blur=blur, scale=scale, **SHARED))
    found = doses.half_radii(rows(*found, *WIDTHS), 0.0)
    assert found["128"].radius == pytest.approx(6)
    assert found["256"].radius == float("inf")
    assert str(found["256"]).startswith("beyond 8")


def test_the_committed_doses_leave_the_other_tables_alone():
    """They are an experiment of their own: what loads rq1 does not see them, what loads them needs nothing else."""
    folder = records.committed("photographs")
    found = records.load(folder, "doses")
    assert set(found["experiment"]) == {"doses"}
    assert not {"D12", "G2"} & set(records.load(folder, "rq1")["blur"])
    assert {"alike", "differs", "open"} >= set(doses.matched(found)["reading"])


def test_every_way_of_rounding_has_its_line():
    of = {"experiment": "rounding", "blur": "D8"}
    found = [row(**of), row(value=0.1, versus_blur="sharp", **of)]
    for way, sides in (
        ({"rounding": "8-bit"}, {"versus_rounding": "none"}),
        ({"precision": "bf16"}, {"versus_precision": "float32"}),
    ):
        both = of | way | sides
        found += [
            row(0.02, value=0.4, **of | way),
            row(0.02, value=0.9, metric="agreement", statistic="estimate", **both),
            row(0.01, value=-0.02, **both),
            row(value=0.0004 if "rounding" in way else 0.5, statistic="p_value", **both),
        ]
    table = doses.ways(rows(*found))
    assert table["way"].tolist() == ["float32", "8-bit, float32", "bf16"], "the plain way comes first"
    assert table["top-1, %"].tolist()[1:] == 2 * ["40.0 [38.0, 42.0]"]
    assert table["same answer, %"].tolist() == ["–", *2 * ["90.0 [88.0, 92.0]"]]
    assert table["change of top-1, %"].tolist() == ["–", *2 * ["−2.0 [−3.0, −1.0]"]]
    assert table["McNemar's p"].tolist() == ["–", "< 0.001", "0.500"]
    with pytest.raises(UserError, match="python -m blurnb rounding"):
        doses.ways(rows(row()))


def test_ways_of_resizing_are_told_by_network():
    found = []
    for network in ("a", "b"):
        of = {"experiment": "resampling", "network": network, "blur": "D8", "resample": "bicubic"}
        other = of | {"resample": "bilinear"}
        found += [row(**of), row(**other), row(value=-0.1, versus_resample="bicubic", **other)]
        found += [row(value=0.9, metric="agreement", statistic="estimate", versus_resample="bicubic", **other)]
    table = doses.ways(rows(*found))
    assert table[["network", "way"]].values.tolist() == [[n, w] for n in "ab" for w in ("bicubic", "bilinear")]
