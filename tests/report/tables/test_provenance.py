"""What decided a run and what surrounded it, from its manifest."""

from blurnb import provenance
from blurnb.report.tables import provenance as table


def test_provenance_from_a_real_manifest():
    note = provenance.manifest(
        {"network": "vgg_mini", "dataset": "scenes", "seed": 3}, device="cpu", wall_seconds=205.2
    )
    frame = table.runs({"abc": note, "bare": {}})
    one = frame.iloc[0]
    found = one[["run", "network", "data", "seed", "device"]].tolist()
    assert found == ["abc", "vgg_mini", "scenes", "3", "cpu"]
    assert one["wall time"] == "3 min 25 s"
    assert len(one["date"]) == 10
    assert "torch" in one["versions"]
    assert set(frame.iloc[1][1:]) == {"–"}
