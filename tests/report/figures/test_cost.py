"""Cost: every way stands at its seconds and its mean accuracy."""

import pytest
from drawing import RQ3, RQ4, touching
from planted import rows

from blurnb.report import figures


def test_frontier_places_each_way():
    axes = figures.frontier(rows(*RQ4)).axes[0]
    places = {bar.get_label(): tuple(bar.lines[0].get_xydata()[0]) for bar in axes.containers}
    assert places == {
        "mix": pytest.approx((0.04, 60)),
        "sharp, no deblurring": pytest.approx((0.04, 30)),
        "wiener": pytest.approx((0.2, 50)),
    }
    assert axes.get_xscale() == "log"


def test_frontier_has_a_panel_for_each_capture_and_takes_no_wrong_kernel():
    noisy = [r | {"noise_sd": 0.01} for r in RQ4 if r["metric"] == "top1"]
    rounded = [r | {"rounding": "8-bit blur"} for r in RQ4]
    wrong = [r | {"kernel": "D9", "value": 0.01} for r in RQ4 if r["method"] == "wiener" and r["metric"] == "top1"]
    every = rows(*RQ4, *noisy, *rounded, *wrong)
    figure = figures.frontier(every)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["exact pixels", "8-bit", "noise 0.01"]
    (alone,) = figures.frontier(every, capture="8-bit").axes
    assert alone.get_title(loc="left") == "8-bit"
    places = {bar.get_label(): bar.lines[0].get_ydata()[0] for bar in figure.axes[0].containers}
    assert places["wiener"] == pytest.approx(50)


def test_scale_cost_separates_sharp_from_blurred():
    figure = figures.scale_cost(rows(*RQ3))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["sharp images", "blurred images, mean"]
    assert all(len(axes.containers) == 2 for axes in figure.axes)


def test_a_network_for_each_scale_is_named_and_hollow():
    each = [r | {"per_scale": True} for r in RQ3 if r["training"] == "mix" and r["scale"] == "256+512"]
    axes = figures.scale_cost(rows(*RQ3, *each)).axes[0]
    faces = {bar.get_label(): bar.lines[0].get_markerfacecolor() for bar in axes.containers}
    assert set(faces) == {"256", "256+512", "256+512, a network each"}
    assert faces["256+512"] != faces["256+512, a network each"]


def test_names_of_neighbours_do_not_touch():
    level = {"value": 0.5, "ci_low": 0.46, "ci_high": 0.54}
    figure = figures.frontier(rows(*(r | (level if r["metric"] == "top1" else {}) for r in RQ4)))
    figure.draw_without_rendering()
    assert touching(figure.axes[0].texts) == []
