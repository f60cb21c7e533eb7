"""Costs: the sum of the formula by hand, and what is said of scales that were not measured."""

import pandas as pd
import pytest

from blurnb.errors import UserError
from book._tools import speed

WAY = "blurnb, eager float32"
PLAIN = "plain: PIL, torch conv2d, eager"
TEXT = ("dataset", "network", "library", "function", "pixels", "backend", "precision", "blur", "kernel_kind", "scale")
BLANK = dict.fromkeys((*TEXT, "stage", "stage_scale"), "") | {"kernel_side": None, "kept_layers": None, "run_id": "r"}
OURS = {"library": "blurnb", "backend": "eager", "precision": "float32"}


def table(*rows: dict) -> pd.DataFrame:
    """Rows of speed as records hold them."""
    return pd.DataFrame([BLANK | one for one in rows]).astype({"kernel_side": "Int64", "kept_layers": "Int64"})


def sweep(*more: dict) -> pd.DataFrame:
    """One network, measured at scale 256 with two blurs."""
    shared = {
        "benchmark": "sweep",
        "dataset": "imagenet",
        "network": "small",
        "scale": "256",
        "metric": "seconds",
        "n": 4,
    }
    rows = [
        {"stage": "decode", "value": 0.01},
        {"stage": "frame", "value": 0.02},
        {"stage": "blur", "blur": "D2", "value": 0.001},
        {"stage": "blur", "blur": "D8", "value": 0.003},
        {"stage": "resize", "stage_scale": "256", "value": 0.004},
        OURS | {"stage": "network", "stage_scale": "256", "value": 0.1},
        OURS | {"stage": "whole", "value": 0.16},
        {"library": "plain", "stage": "whole", "value": 0.4},
    ]
    return table(*(shared | {"library": "blurnb"} | one for one in (*rows, *more)))


def test_the_pipeline_is_told_beside_the_plain_way():
    found = speed.pipeline(sweep())
    assert found["way"].tolist() == [WAY, PLAIN]
    assert found["the plain way takes"].tolist() == ["2.50 times that", "1.00 times that"]
    assert found["network's share"].tolist() == ["62%", ""]
    assert found["ms a photograph"].tolist() == ["160", "400"]


def test_without_the_plain_way_nothing_is_compared():
    rows = sweep()
    found = speed.pipeline(rows[rows["library"] == "blurnb"])
    assert found[["way", "the plain way takes"]].values.tolist() == [[WAY, ""]]


def test_ours_come_first_the_slowest_of_each_above():
    fast = {"backend": "openvino", "precision": "bf16", "stage": "whole", "value": 0.05}
    tuned = {"library": "hand-tuned", "backend": "onnxruntime", "precision": "float32", "stage": "whole", "value": 0.5}
    found = speed.pipeline(sweep(fast, tuned))
    assert found["way"].tolist() == [WAY, "blurnb, OpenVINO bf16", "hand-tuned: OpenCV, ONNX Runtime", PLAIN]


def test_the_parts_beside_the_network_are_named():
    found = speed.parts(sweep())
    assert found["part"].tolist() == ["decode", "frame", "blur D2", "blur D8", "resize 256"]
    assert found["ms a photograph"].tolist() == ["10.0", "20.0", "1.0", "3.0", "4.0"]


def test_the_papers_cost_is_the_sum_of_the_formula():
    (line,) = speed.paper(sweep(), blurs=9).to_dict("records")
    area = (128**2 + 256**2 + 512**2) / 256**2  # the other scales, in proportion to their pixels
    light, heavy = 0.01 + 0.02 + 9 * (0.002 + 0.002 * area), 9 * 2 * 0.05 * area
    assert line["way"] == "eager float32"
    assert line["one core"] == speed._days(50_000 * (light + heavy))
    assert line["one GPU"] == speed._days(50_000 * (light + heavy / speed.GPU_FACTOR))
    assert line["64 cores"] == speed._days(50_000 * (light + heavy) / 64)
    assert (line["scales measured"], line["scales in proportion"]) == ("256", "128, 512")


def test_a_measured_scale_is_not_taken_in_proportion():
    resize = {"stage": "resize", "stage_scale": "512", "value": 0.005}
    (line,) = speed.paper(sweep(resize, OURS | {"stage": "network", "stage_scale": "512", "value": 0.9})).to_dict(
        "records"
    )
    assert (line["scales measured"], line["scales in proportion"]) == ("256, 512", "128")


def test_the_formula_names_what_is_measured_and_what_is_assumed():
    text = speed.formula(sweep())
    assert "**Measured** (processor seconds, n = 4 or more" in text
    assert "**Assumed**" in text


@pytest.mark.parametrize("empty", [pd.DataFrame({"metric": []}), sweep()[:0]], ids=["answers", "speeds"])
def test_absent_records_are_said(empty):
    with pytest.raises(UserError, match=r"no speeds of sweep; run: python benchmarks/sweep\.py"):
        speed.pipeline(empty)
    with pytest.raises(UserError, match=r"benchmarks/blur\.py"):
        speed.blurs(empty)


def blurs() -> pd.DataFrame:
    ours, slow, less = ("blurnb", "blur", "float32"), ("slow", "filter", "float32"), ("less", "filter", "float32")
    by_bytes = ("slow", "filter", "uint8")
    speeds = [
        ("D8", "", None, ours, 300.0),
        ("D8", "", None, slow, 50.0),
        ("D8", "", None, less, 100.0),
        ("D2", "", None, ours, 300.0),
        ("D2", "", None, slow, 150.0),
        ("D2", "", None, by_bytes, 20.0),
        ("", "disk", 3, ours, 90.0),
        ("", "disk", 3, slow, 100.0),
        ("", "long disk", 21, ours, 50.0),
        ("", "long disk", 21, slow, 10.0),
        ("", "disk", 3, by_bytes, 30.0),
        ("", "long disk", 21, by_bytes, 200.0),
    ]
    rows = []
    for blur, kind, side, (library, function, pixels), value in speeds:
        about = {"benchmark": "blur", "dataset": "noise", "scale": "512", "n": 8, "blur": blur, "kernel_kind": kind}
        about |= {"kernel_side": side, "library": library, "function": function, "pixels": pixels}
        rows += [
            about | {"metric": "images_per_second", "value": value},
            about | {"metric": "max_error", "value": 5 / value},
        ]
    return table(*rows)


def test_blur_is_held_against_its_fastest_peer_and_a_missed_goal_is_said():
    found = speed.blurs(blurs())
    assert found["kernel"].tolist() == ["D2", "D8"]
    assert found["which"].tolist() == ["slow.filter float32", "less.filter"]  # pixels where both were timed
    assert found["ratio"].tolist() == ["2.00", "3.00"]
    assert found["goal"].tolist() == ["1.5", "4, missed"]
    assert found["of the peer"].tolist() == ["0.033", "0.050"]
    assert found["peers"].tolist() == ["2", "2"]


def test_another_machine_s_blur_is_shown_alike_without_a_goal():
    there = blurs().assign(benchmark="gpu blur")
    found = speed.blurs(there, "gpu blur")
    assert found["ratio"].tolist() == ["2.00", "3.00"]
    assert found["of the peer"].tolist() == ["0.03333", "0.05000"]
    assert "goal" not in found
    with pytest.raises(UserError, match=r"no speeds of gpu blur; run: python benchmarks/gpu\.py"):
        speed.blurs(blurs(), "gpu blur")


def test_every_kind_of_kernel_has_its_ratio_by_side():
    found = speed.blur_shapes(blurs())
    assert found.columns.tolist() == ["kernel", "3", "21"]
    assert found.set_index("kernel").loc["disk"].tolist() == ["0.90", ""]
    assert found.set_index("kernel").loc["long disk", "21"] == "5.0"
    found = speed.blur_shapes(blurs(), pixels="uint8").set_index("kernel")
    assert (found.loc["disk", "3"], found.loc["long disk", "21"]) == ("3.0", "0.25")


def test_each_benchmark_tells_its_machine_and_date():
    made = {"date": "2026-01-02T03:04:05+00:00", "threads": 2, "versions": {"torch": "9.9"}}
    pipeline = {"benchmark": "sweep", "network": "small", "scales": ["128", "256"], "processor": "a processor"}
    blur = {"benchmark": "blur", "sweep": True, "side": 512, "images": 8, "threads": 2, "processor": "a processor"}
    blur |= {"libraries": {"kornia": "0.1"}}
    notes = {"a": made | {"decided": pipeline}, "b": made | {"decided": blur}, "c": {"decided": {}}}
    (line,) = speed.machines(notes).to_dict("records")
    assert (line["scales"], line["torch"], line["date"]) == ("128, 256", "9.9", "2026-01-02")
    (line,) = speed.blur_machines(notes).to_dict("records")
    assert (line["kernels"], line["against"], line["date"]) == ("3 x 3 to 51 x 51", "kornia 0.1", "2026-01-02")


def test_peaks_are_told_in_order_of_what_is_kept_and_of_n():
    shared = {"benchmark": "memory", "network": "small", "scale": "256", "stage": "whole", **OURS}
    peaks = {(200, 1024): 130.0, (50, 1024): 120.0, (50, 16): 110.0}
    found = speed.memory(
        table(
            *(
                shared | {"metric": metric, "n": n, "kept_layers": kept, "value": value / scale}
                for (n, kept), value in peaks.items()
                for metric, scale in (("peak_memory", 1), ("seconds", 1000))
            )
        )
    )
    assert found["photographs"].tolist() == ["50", "200", "50"]
    assert found["oneDNN keeps"].tolist() == ["1,024 layers", "1,024 layers", "16 layers"]
    assert found["peak, MB"].tolist() == found["ms a photograph"].tolist() == ["120", "130", "110"]
