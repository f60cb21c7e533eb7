"""The reliability figure is drawn from recorded bins."""

import numpy as np
import pytest
from drawing import words
from planted import row, rows

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report import figures


def binned(power=2.0, **more):
    """The rows that a run writes of its bins, and the curve that they came from."""
    generator = np.random.default_rng(0)
    stated = generator.random(600)
    right = generator.random(600) < stated**power
    curve = intervals.reliability(stated, right, bins=10)
    found = [row(metric="ece", value=intervals.ece(stated, right), n=600, **more)]
    for place, n in enumerate(curve["n"]):
        part = {"part_kind": "bin", "part": str(place + 1), "n": int(n)} | more
        found.append(row(metric="top1", value=float(curve["accuracy"][place]), **part))
        found.append(row(metric="confidence", value=float(curve["confidence"][place]), **part))
    return found, curve


def test_the_curve_is_that_of_the_bins():
    found, curve = binned(blur="D8")
    figure = figures.reliability(rows(*found))
    (axes,) = figure.axes
    places = np.asarray(axes.collections[-1].get_offsets())
    for axis, name in enumerate(("confidence", "accuracy")):
        assert np.sort(places[:, axis]) == pytest.approx(np.sort(100 * curve[name]))
    assert axes.get_title(loc="left") == f"sharp, D8\noff by {100 * found[0]['value']:.1f} points"
    (bars,) = axes.containers
    ends = np.sort([segment[:, 1] for segment in bars.lines[2][0].get_segments()], axis=0)
    assert ends[:, 0] == pytest.approx(np.sort(100 * curve["ci_low"]))
    assert "n = 600" in words(figure)


def test_there_is_a_panel_for_each_training_and_blur_of_the_first_seed_and_scale():
    many = [
        one
        for training in ("sharp", "mix")
        for blur in ("sharp", "D8")
        for seed, scale, power in ((0, "96", 1.0), (1, "96", 9.0), (0, "128", 9.0))
        for one in binned(power, training=training, blur=blur, train_seed=seed, scale=scale)[0]
    ]
    figure = figures.reliability(rows(*many))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    off = 100 * binned(1.0)[0][0]["value"]
    assert titles == [f"{t}, {b}\noff by {off:.1f} points" for b in ("sharp", "D8") for t in ("sharp", "mix")]
    assert "n = 600" in words(figure)


def test_no_bins_are_said():
    with pytest.raises(UserError, match="no bins of confidence"):
        figures.reliability(rows(row()))
