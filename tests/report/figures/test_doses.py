"""Blur as a dose: where half of the accuracy is gone, and families of one width."""

import math

import numpy as np
import pytest
from drawing import curve, point, touching, words
from planted import row, rows

from blurnb import labels
from blurnb.errors import UserError
from blurnb.report.figures import doses


def line(*levels, **more):
    return rows(*(point(b, v, metric="top1", **more) for b, v in zip(("sharp", "D2", "D4", "D8"), levels)))


@pytest.mark.parametrize("draw", [doses.by_training, doses.by_scale])
def test_the_half_is_marked(draw):
    axes = draw(line(0.8, 0.7, 0.5, 0.1)).axes[0]
    (half,) = [line for line in axes.lines if line.get_gid() == "half"]
    assert half.get_xydata()[0] == pytest.approx([5.0, 40.0])
    assert "5.0 [" in words(axes.figure)


def test_half_is_midway_to_chance_where_chance_is_given():
    axes = doses.by_scale(line(0.8, 0.7, 0.5, 0.1), chance=0.2).axes[0]
    (half,) = [line for line in axes.lines if line.get_gid() == "half"]
    assert half.get_xydata()[0] == pytest.approx([4.0, 50.0])
    assert "midway from sharp to chance" in words(axes.figure)


@pytest.mark.parametrize("draw", [doses.by_training, doses.by_scale])
def test_the_half_that_was_recorded_goes_before_what_the_ends_say(draw):
    of = {"network": "efficientnet_lite0", "dataset": "imagenet-sample", "part_kind": "metric", "part": "top1"}
    half = row(0.2, metric="half_radius", value=5.5, blur="D8", **of)
    every = [point(b, v, metric="top1") for b, v in zip(("sharp", "D2", "D4", "D8"), (0.8, 0.7, 0.5, 0.1))]
    axes = draw(rows(half, *every)).axes[0]
    (mark,) = [line for line in axes.lines if line.get_gid() == "half"]
    assert mark.get_xydata()[0] == pytest.approx([5.5, 35.0])
    assert "5.5 [5.3, 5.7]" in words(axes.figure)
    assert "midway from sharp to chance" in words(axes.figure)


def test_half_that_lies_beyond_is_said():
    assert "> 4" in words(doses.by_training(line(0.8, 0.79, 0.7)))


def test_too_few_strengths_are_said():
    with pytest.raises(UserError, match="by_scale needs sharp and at least two strengths of defocus"):
        doses.by_scale(line(0.8, 0.7))


def test_there_is_a_line_for_each_training_and_each_scale():
    every = rows(*curve(metric="top1"), *curve("mix", metric="top1"), *curve(metric="top1", scale="128"))
    names = [bar.get_label() for bar in doses.by_training(every).axes[0].containers]
    assert names == ["mix", "sharp"]
    names = [bar.get_label() for bar in doses.by_scale(every).axes[0].containers]
    assert names == ["128", "256"]


def test_families_are_matched_in_width():
    axes = doses.by_family(rows(*curve(metric="top1"))).axes[0]
    last = {bar.get_label(): bar.lines[0].get_xdata()[-1] for bar in axes.containers}
    assert last == pytest.approx({"defocus": 4.0, "gaussian": 4.0, "motion": 21 / math.sqrt(24)})


def test_a_recorded_width_goes_before_a_stated_one_and_shows_shake():
    bare = dict.fromkeys(("network", "weights", "training", "frozen", "scale", "view"), "")
    known = [row(blur=b, value=v, metric="kernel_sd", **bare) for b, v in {"shake": 5.5, "D8": 4.01}.items()]
    axes = doses.by_family(rows(*curve(metric="top1"), *known)).axes[0]
    last = {bar.get_label(): bar.lines[0].get_xdata()[-1] for bar in axes.containers}
    assert (last["shake"], last["defocus"]) == (5.5, 4.01)


def test_the_width_of_a_line_is_that_of_its_pixels():
    along = np.arange(-100, 101) * 0.1
    covariance = np.cov(np.stack([along * math.cos(0.5), along * math.sin(0.5)]))
    assert labels.parse("M20@28.6").kernel_sd == pytest.approx(math.sqrt(np.trace(covariance) / 2), rel=0.01)


def test_labels_of_lines_that_end_together_do_not_touch():
    flat = [point(b, 0.98, metric="top1", scale=s) for b in ("sharp", "D2", "D8")
            for s in ("128", "256", "512", "256+512")]  # fmt: skip
    figure = doses.by_scale(rows(*flat))
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert len(texts) == 5
    assert touching(texts) == []
    assert max(t.get_window_extent().y1 for t in texts) < figure._suptitle.get_window_extent().y0
