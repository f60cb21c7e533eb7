"""Heat maps hold every value where its row says."""

import numpy as np
import pytest
from drawing import RQ3
from planted import layer, row, rows

from blurnb.report import figures
from blurnb.report.figures.palette import colour

LAYERS = [
    layer(f"conv{k}", 0.01, training=t, **one)
    for t in ("sharp", "mix")
    for k in (1, 2, 10)
    for one in (
        {"blur": "D4", "value": 0.7},
        {"blur": "D8", "value": 0.7},
        {"blur": "sharp", "value": 0.2, "versus_image": "other"},
    )
]

LINE = [row(blur=blur, half=0.04) for blur in ("sharp", "D3", "D7", "D8", "shake", "inertial")]


def test_layer_heatmap_holds_the_values_and_the_baseline():
    figure = figures.layer_heatmap(rows(*LAYERS))
    for axes in figure.axes[:2]:
        grid = np.asarray(axes.images[0].get_array())
        assert grid.shape == (3, 3)
        assert grid[:, :2] == pytest.approx(0.7)
        assert grid[:, 2] == pytest.approx(0.2)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["conv1", "conv2", "conv10"]


def test_transfer_matrix_writes_every_value():
    axes = figures.transfer_matrix(rows(*RQ3)).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["sharp", "mix", "shake"]
    values = [t.get_text() for t in axes.texts if t.get_gid() == "value"]
    assert values == ["40"] * 7 + ["70"] * 7 + ["60"] * 7
    assert {t.get_text() for t in axes.texts if t.get_gid() == "interval"} == {"±4"}
    assert len(axes.patches) == 1  # shake on shake


def test_transfer_matrix_marks_the_blurs_that_no_network_has_seen():
    figure = figures.transfer_matrix(rows(*({**one, "training": t} for one in LINE for t in ("sharp", "mix", "D7"))))
    ticks = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert ticks == ["sharp", "D3°", "D7", "D8", "shake", "inertial°"]
    assert "°: in no training" in figure.get_suptitle()
    figure.canvas.draw()
    painted = [(t.get_text(), t.get_color(), t.get_rotation()) for t in figure.axes[0].get_xticklabels()]
    families = [colour(blur) for blur in ("sharp", "D3", "D7", "D8", "shake", "inertial")]
    assert painted == [(tick, own, 90) for tick, own in zip(ticks, families)]
    seen = figures.transfer_matrix(
        rows(*({**one, "training": "mix"} for one in LINE if one["blur"] in ("sharp", "D8")))
    )
    assert "°" not in seen.get_suptitle()
