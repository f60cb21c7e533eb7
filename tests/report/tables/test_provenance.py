"""What decided a run and what surrounded it, from its manifest."""

from planted import row, rows

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


def test_how_images_were_shown_is_read_from_the_rows():
    found = table.protocols(rows(row(), row(precision="bf16"), row(network="", experiment="doses"), row(frame=128)))
    assert found.columns.tolist() == ["experiment", "network", "data", "frame", "resized", "rounded", "precision"]
    (one, other) = found.drop(columns=["experiment", "network"]).to_numpy().tolist()
    assert one[1:] == ["128", "bilinear", "none", "float32"]
    assert one[0].endswith(", frame 128")
    assert other[1:] == ["512", "bilinear", "none", "bf16, float32"]
