"""What is drawn, not how it looks: points, intervals, rings, colours, parts of a loss, recorded bins."""

import numpy as np
import pytest
from drawing import BLURS, curve, point, touching, words
from matplotlib.colors import to_hex
from planted import row, rows

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report import figures, paper
from blurnb.report.figures import accuracy, palette

SPLIT = [
    point("sharp", 0.9, metric="top1"),
    *(point("D8", v, metric="top1", training=t) for t, v in (("sharp", 0.4), ("mix", 0.7), ("D8", 0.8))),
]


def dots(axes):
    return {bar.get_label(): bar for bar in axes.containers}


def ends(bar):
    """The ends of the whisker of one point, and the point."""
    (segment,) = bar.lines[2][0].get_segments()
    return segment, bar.lines[0].get_xydata()[0]


def test_every_row_is_a_point_with_its_interval():
    figure = figures.accuracy_by_blur(rows(*curve(), *curve(scale="512", slope=0.12)))
    first, second = figure.axes
    assert first.get_title(loc="left") == "scale 256"
    for axes, slope in ((first, 0.1), (second, 0.12)):
        assert set(dots(axes)) == set(BLURS)
        for i, blur in enumerate(BLURS):
            segment, point = ends(dots(axes)[blur])
            assert point[0] == pytest.approx(100 * (0.9 - slope * i))
            assert segment[:, 0] == pytest.approx([point[0] - 4, point[0] + 3])


def test_the_paper_is_hollow_and_where_it_says():
    axes = figures.accuracy_by_blur(rows(*curve())).axes[0]
    rings = [line for line in axes.lines if line.get_gid() == "paper"]
    published = paper.published("256", training="sharp")
    assert sorted(ring.get_xdata()[0] for ring in rings) == sorted(published["top5_percent"])
    assert all(ring.get_markerfacecolor() == "none" for ring in rings)
    heights = {blur: dots(axes)[blur].lines[0].get_ydata()[0] for blur in BLURS}
    eight = next(ring for ring in rings if ring.get_xdata()[0] == 60.97)
    assert eight.get_ydata()[0] == heights["D8"]
    for other in ({"metric": "top1"}, {"compare": False}):
        alone = figures.accuracy_by_blur(rows(*curve(), *curve(metric="top1")), **other)
        assert not [line for line in alone.axes[0].lines if line.get_gid() == "paper"]
        assert "paper" not in words(alone)


def test_a_family_has_its_colour_in_every_figure():
    every = rows(*curve(), *curve("mix", 0.02), *curve(metric="entropy"), *curve(metric="p_true"))
    for figure in (figures.accuracy_by_blur(every), figures.confidence(every), figures.before_after(every, "top5")):
        for axes in figure.axes:
            for blur in BLURS:
                bars = [bar for bar in axes.containers if bar.get_label() == blur]
                assert {to_hex(bar.lines[0].get_color()) for bar in bars} == {palette.colour(blur)}
        ticks = {tick.get_text(): to_hex(tick.get_color()) for tick in figure.axes[0].get_yticklabels()}
        assert ticks == {blur: palette.colour(blur) for blur in BLURS}


def test_doses_of_a_family_are_joined_and_motions_of_other_angles_are_not():
    axes = figures.accuracy_by_blur(rows(*curve(), point("M9@60", 0.4), point("G2", 0.7))).axes[0]
    joined = [line for line in axes.lines if line.get_gid() == "family"]
    assert [len(line.get_xdata()) for line in joined] == [3, 2]
    assert [line.get_color() for line in joined] == [palette.colour("D8"), palette.colour("G4")]


def test_before_after_joins_both_ends():
    axes = figures.before_after(rows(*curve(metric="top1"), *curve("mix", 0.02, metric="top1"))).axes[0]
    joins = [line for line in axes.lines if line.get_gid() == "change"]
    assert len(joins) == len(BLURS)
    assert joins[3].get_xdata().tolist() == pytest.approx([60, 84])
    assert len(axes.containers) == 2 * len(BLURS)


def test_loss_split_adds_up():
    axes = figures.loss_split(rows(*SPLIT)).axes[0]
    widths = {bar.get_gid(): bar.get_width() for bar in axes.patches}
    assert widths == pytest.approx({"information lost": 10, "blur unknown": 10, "train-test mismatch": 30})
    assert all(name in words(axes.figure) for name in accuracy.PARTS)
    assert "points of top-1 lost" in words(axes.figure)


def test_loss_split_shows_a_part_below_zero_hollow():
    better = [r | ({"value": 0.85} if r["training"] == "mix" else {}) for r in SPLIT]
    axes = figures.loss_split(rows(*better)).axes[0]
    part = next(bar for bar in axes.patches if bar.get_gid() == "blur unknown")
    assert part.get_width() == pytest.approx(-5)
    assert part.get_facecolor()[3] == 0


@pytest.mark.parametrize("mix, specialist", [(0.7, 0.8), (0.86, 0.88), (0.42, 0.44), (0.3, 0.2)])
def test_names_of_the_parts_of_the_loss_do_not_touch(mix, specialist):
    values = {"mix": mix, "D8": specialist}
    split = [r | ({"value": values[r["training"]]} if r["training"] in values else {}) for r in SPLIT]
    figure = figures.loss_split(rows(*split))
    figure.draw_without_rendering()
    names = [t for t in figure.axes[0].texts if t.get_text() in accuracy.PARTS]
    assert len(names) == 3
    assert touching(names) == []
    assert all(t.get_window_extent().x1 <= figure.get_window_extent().x1 for t in names)


def binned(power=2.0, **more):
    """The rows that a run writes of its bins, and the curve that they came from."""
    generator = np.random.default_rng(0)
    stated = generator.random(600)
    right = generator.random(600) < stated**power
    curve = intervals.reliability(stated, right, bins=10)
    value, low, high = intervals.ece(stated, right)
    found = [row(metric="ece", value=value, ci_low=low, ci_high=high, n=600, **more)]
    for place, n in enumerate(curve["n"]):
        part = {"part_kind": "bin", "part": str(place + 1), "n": int(n)} | more
        found.append(row(metric="top1", value=float(curve["accuracy"][place]), **part))
        found.append(row(metric="confidence", value=float(curve["confidence"][place]), **part))
    return found, curve


def off(row):
    value, low, high = (100 * row[end] for end in ("value", "ci_low", "ci_high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def test_the_curve_is_that_of_the_bins():
    found, curve = binned(blur="D8")
    figure = figures.reliability(rows(*found))
    (axes,) = figure.axes
    places = np.asarray(axes.collections[-1].get_offsets())
    for axis, name in enumerate(("confidence", "accuracy")):
        assert np.sort(places[:, axis]) == pytest.approx(np.sort(100 * curve[name]))
    assert axes.get_title(loc="left") == f"sharp, D8\noff by {off(found[0])} points"
    found[0] |= {"ci_low": np.nan, "ci_high": np.nan}
    assert figures.reliability(rows(*found)).axes[0].get_title(loc="left") == "sharp, D8"
    (bars,) = axes.containers
    limits = np.sort([segment[:, 1] for segment in bars.lines[2][0].get_segments()], axis=0)
    assert limits[:, 0] == pytest.approx(np.sort(100 * curve["ci_low"]))
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
    said = off(binned(1.0)[0][0])
    assert titles == [f"{t}, {b}\noff by {said} points" for b in ("sharp", "D8") for t in ("sharp", "mix")]
    assert "n = 600" in words(figure)


def test_no_bins_are_said():
    with pytest.raises(UserError, match="no bins of confidence"):
        figures.reliability(rows(row()))
