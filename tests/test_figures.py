"""What is drawn, not how it looks: points, intervals, rings, colours, words."""

import math

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from skimage import color

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report import figures, palette, paper, selection

BLURS = ("sharp", "D2", "D4", "D8", "G4", "M21@30", "shake")


def row(blur="sharp", value=0.5, n=500, metric="top5", **more):
    fields = {"question": "rq1", "dataset": "imagenet-sample", "network": "efficientnet_lite0", "training": "sharp"}
    fields |= {"scale": "256", "view": "dense", "profile": "photographs", "run_id": "r"}
    fields |= {"ci_low": value - 0.04, "ci_high": value + 0.03}
    return records.row(blur=blur, value=value, n=n, metric=metric, **(fields | more))


def curve(training="sharp", slope=0.1, **more):
    return [row(b, 0.9 - slope * i, training=training, **more) for i, b in enumerate(BLURS)]


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def dots(axes):
    return {bar.get_label(): bar for bar in axes.containers}


def ends(bar):
    """The ends of the whisker of one point, and the point."""
    (segment,) = bar.lines[2][0].get_segments()
    return segment, bar.lines[0].get_xydata()[0]


def test_every_row_is_a_point_with_its_interval():
    figure = figures.accuracy_by_blur(records.table(curve() + curve(scale="512", slope=0.12)))
    first, second = figure.axes
    assert first.get_title(loc="left") == "scale 256"
    for axes, slope in ((first, 0.1), (second, 0.12)):
        assert set(dots(axes)) == set(BLURS)
        for i, blur in enumerate(BLURS):
            segment, point = ends(dots(axes)[blur])
            assert point[0] == pytest.approx(100 * (0.9 - slope * i))
            assert segment[:, 0] == pytest.approx([point[0] - 4, point[0] + 3])


def test_the_paper_is_hollow_and_where_it_says():
    axes = figures.accuracy_by_blur(records.table(curve())).axes[0]
    rings = [line for line in axes.lines if line.get_gid() == "paper"]
    published = paper.published("256", training="sharp")
    assert sorted(ring.get_xdata()[0] for ring in rings) == sorted(published["top5_percent"])
    assert all(ring.get_markerfacecolor() == "none" for ring in rings)
    heights = {blur: dots(axes)[blur].lines[0].get_ydata()[0] for blur in BLURS}
    eight = next(ring for ring in rings if ring.get_xdata()[0] == 60.97)
    assert eight.get_ydata()[0] == heights["D8"]
    for other in ({"metric": "top1"}, {"compare": False}):
        rows = curve() + curve(metric="top1")
        alone = figures.accuracy_by_blur(records.table(rows), **other)
        assert not [line for line in alone.axes[0].lines if line.get_gid() == "paper"]
        assert "paper" not in words(alone)


def test_a_family_has_its_colour_in_every_figure():
    rows = records.table(curve() + curve("mix", 0.02) + curve(metric="entropy") + curve(metric="p_true"))
    for figure in (figures.accuracy_by_blur(rows), figures.confidence(rows), figures.before_after(rows, "top5")):
        for axes in figure.axes:
            for blur in BLURS:
                bars = [bar for bar in axes.containers if bar.get_label() == blur]
                assert {to_hex(bar.lines[0].get_color()) for bar in bars} == {palette.colour(blur)}
        ticks = {tick.get_text(): to_hex(tick.get_color()) for tick in figure.axes[0].get_yticklabels()}
        assert ticks == {blur: palette.colour(blur) for blur in BLURS}


def contrast(one, other):
    high, low = sorted((palette.luminance(one), palette.luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_are_legible_and_distinct():
    for ink in palette.COLOURS.values():
        assert contrast(ink, palette.CARD) >= 3
    assert contrast(palette.INK, palette.CARD) >= 7
    assert contrast(palette.QUIET, palette.CARD) >= 4.5
    assert len(set(palette.COLOURS.values())) == len(selection.FAMILIES)
    assert len(set(palette.MARKERS.values())) == len(selection.FAMILIES)


@pytest.mark.parametrize(
    "eyes",
    [
        np.eye(3),
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    ],
    ids=["normal", "deuteranopia", "protanopia"],
)
def test_no_two_families_fall_together(eyes):
    """Colours as colour-blind readers see them (Machado et al. 2009, severity 1), apart in CIELAB."""
    rgb = np.array([mpl.colors.to_rgb(ink) for ink in palette.COLOURS.values()])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(eyes).T, 0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = color.rgb2lab(seen[None])[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert apart[~np.eye(len(lab), dtype=bool)].min() > 20


RQ4 = [
    row(b, v, training=t, metric=m, view=view)
    for t, view, top1, seconds in (
        ("sharp", "dense", 0.3, 0.04),
        ("mix", "dense", 0.6, 0.04),
        ("sharp", "dense after wiener", 0.5, 0.2),
    )
    for b in ("D4", "D8")
    for m, v in (("top1", top1), ("seconds", seconds))
]
RQ3 = [
    *(row(b, v, training=t, metric="top1", question="rq3") for t, v in (("sharp", 0.4), ("shake", 0.6)) for b in BLURS),
    *(row(b, 0.7, training="mix", metric="top1", scale=s) for s in ("256", "256+512") for b in BLURS),
    *(row("", v, training="mix", metric="seconds", scale=s) for s, v in (("256", 0.04), ("256+512", 0.2))),
]
LAYERS = [
    row(b, 0.7, metric="cosine", training=t, view=f"layer conv{k}{versus}")
    for t in ("sharp", "mix")
    for k in (1, 2, 10)
    for b, versus in (("D4", ""), ("D8", ""), ("sharp", " vs other image"))
]
SPLIT = [
    row("sharp", 0.9, metric="top1"),
    *(row("D8", v, metric="top1", training=t) for t, v in (("sharp", 0.4), ("mix", 0.7), ("D8", 0.8))),
]
DRAWN = {
    "accuracy_by_blur": lambda: figures.accuracy_by_blur(records.table(curve())),
    "confidence": lambda: figures.confidence(records.table(curve(metric="entropy") + curve(metric="p_true"))),
    "before_after": lambda: figures.before_after(records.table(curve(metric="top1") + curve("mix", metric="top1"))),
    "loss_split": lambda: figures.loss_split(records.table(SPLIT)),
    "dose_response": lambda: figures.dose_response(records.table(curve(metric="top1"))),
    "layer_heatmap": lambda: figures.layer_heatmap(records.table(LAYERS)),
    "transfer_matrix": lambda: figures.transfer_matrix(records.table(RQ3)),
    "frontier": lambda: figures.frontier(records.table(RQ4)),
    "scale_cost": lambda: figures.scale_cost(records.table(RQ3)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_states_network_data_and_n_and_leaks_nothing(name):
    before = dict(mpl.rcParams)
    figure = DRAWN[name]()
    figure.draw_without_rendering()
    assert dict(mpl.rcParams) == before
    for word in ("efficientnet_lite0", "imagenet-sample", "n = 500"):
        assert word in words(figure)
    assert to_hex(figure.get_facecolor()) == palette.CARD
    assert figure.get_size_inches()[0] <= 5.5  # wider would shrink 9 points below legibility on a phone
    inside, texts = figure.get_window_extent(), [figure._suptitle]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
    for text in filter(lambda text: text.get_visible() and text.get_text(), texts):
        box = text.get_window_extent()
        assert inside.x0 - 2 <= box.x0 <= box.x1 <= inside.x1 + 2, text
        assert inside.y0 - 2 <= box.y0 <= box.y1 <= inside.y1 + 2, text
        assert text.get_fontsize() >= 7


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_without_rows_says_what_is_missing(name):
    with pytest.raises(UserError) as caught:
        getattr(figures, name)(records.table([]))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_sources_are_refused():
    with pytest.raises(UserError, match="vgg16 on imagenet"):
        figures.accuracy_by_blur(records.table(curve() + curve(network="vgg16", dataset="imagenet")))


def test_figures_are_not_pyplots_and_show_as_png():
    import matplotlib.pyplot as plt

    figure = DRAWN["accuracy_by_blur"]()
    assert plt.get_fignums() == []
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_before_after_joins_both_ends():
    rows = records.table(curve(metric="top1") + curve("mix", 0.02, metric="top1"))
    axes = figures.before_after(rows).axes[0]
    joins = [line for line in axes.lines if line.get_gid() == "change"]
    assert len(joins) == len(BLURS)
    assert joins[3].get_xdata().tolist() == pytest.approx([60, 84])
    assert len(axes.containers) == 2 * len(BLURS)


def test_loss_split_adds_up():
    axes = figures.loss_split(records.table(SPLIT)).axes[0]
    widths = {bar.get_gid(): bar.get_width() for bar in axes.patches}
    assert widths == pytest.approx({"information lost": 10, "blur unknown": 10, "train-test mismatch": 30})
    assert all(name in words(axes.figure) for name in figures.PARTS)


def test_loss_split_shows_a_part_below_zero_hollow():
    rows = [r | ({"value": 0.85} if r["training"] == "mix" else {}) for r in SPLIT]
    axes = figures.loss_split(records.table(rows)).axes[0]
    part = next(bar for bar in axes.patches if bar.get_gid() == "blur unknown")
    assert part.get_width() == pytest.approx(-5)
    assert part.get_facecolor()[3] == 0


def test_dose_response_marks_the_half():
    rows = [row(b, v, metric="top1") for b, v in (("sharp", 0.8), ("D2", 0.7), ("D4", 0.5), ("D8", 0.1))]
    axes = figures.dose_response(records.table(rows)).axes[0]
    (half,) = [line for line in axes.lines if line.get_gid() == "half"]
    assert half.get_xydata()[0] == pytest.approx([5.0, 40.0])
    assert "5.0 [" in words(axes.figure)


def test_dose_response_says_when_half_lies_beyond():
    rows = [row(b, v, metric="top1") for b, v in (("sharp", 0.8), ("D2", 0.79), ("D4", 0.7))]
    assert "> 4" in words(figures.dose_response(records.table(rows)))


def test_dose_response_by_family_is_matched_in_spread():
    axes = figures.dose_response(records.table(curve(metric="top1")), by="family").axes[0]
    last = {bar.get_label(): bar.lines[0].get_xdata()[-1] for bar in axes.containers}
    assert last == pytest.approx({"defocus": 4.0, "gaussian": 4.0, "motion": 21 / math.sqrt(24)})


def test_spread_of_a_line_is_that_of_its_pixels():
    along = np.arange(-100, 101) * 0.1
    covariance = np.cov(np.stack([along * math.cos(0.5), along * math.sin(0.5)]))
    assert figures.spread("M20@28.6") == pytest.approx(math.sqrt(np.trace(covariance) / 2), rel=0.01)


def test_dose_response_refuses_another_grouping():
    with pytest.raises(UserError, match="training, scale or family"):
        figures.dose_response(records.table(curve()), by="colour")


def test_layer_heatmap_holds_the_values_and_the_baseline():
    rows = [r | {"value": 0.2} if "other" in r["view"] else r for r in LAYERS]
    figure = figures.layer_heatmap(records.table(rows))
    for axes in figure.axes[:2]:
        grid = np.asarray(axes.images[0].get_array())
        assert grid.shape == (3, 3)
        assert grid[:, :2] == pytest.approx(0.7)
        assert grid[:, 2] == pytest.approx(0.2)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["conv1", "conv2", "conv10"]


def test_transfer_matrix_writes_every_value():
    axes = figures.transfer_matrix(records.table(RQ3)).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["sharp", "mix", "shake"]
    values = [t.get_text() for t in axes.texts if t.get_gid() == "value"]
    assert values == ["40"] * 7 + ["70"] * 7 + ["60"] * 7
    assert {t.get_text() for t in axes.texts if t.get_gid() == "interval"} == {"±4"}
    assert len(axes.patches) == 1  # shake on shake


def test_frontier_places_each_way():
    axes = figures.frontier(records.table(RQ4)).axes[0]
    places = {bar.get_label(): tuple(bar.lines[0].get_xydata()[0]) for bar in axes.containers}
    assert places == {
        "mix": pytest.approx((0.04, 60)),
        "sharp, no deblurring": pytest.approx((0.04, 30)),
        "wiener": pytest.approx((0.2, 50)),
    }
    assert axes.get_xscale() == "log"


def test_scale_cost_separates_sharp_from_blurred():
    figure = figures.scale_cost(records.table(RQ3))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["sharp images", "blurred images, mean"]
    assert all(len(axes.containers) == 2 for axes in figure.axes)


def test_reliability_draws_the_curve():
    generator = np.random.default_rng(0)
    stated = generator.random(600)
    right = generator.random(600) < stated**2
    bins = intervals.reliability(stated, right)
    figure = figures.reliability({"D8": bins}, "vgg16 · imagenet")
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == f"D8\noff by {100 * intervals.ece(stated, right):.1f} points"
    assert len(axes.collections[-1].get_offsets()) == len(bins["n"])
    assert "n = 600" in words(figure)
    with pytest.raises(UserError, match="curve"):
        figures.reliability({})


def test_contact_sheet_shows_the_images_in_place():
    images = [[np.full((6, 9, 3), v) for v in line] for line in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))]
    figure = figures.contact_sheet(images, ["one", "two"], ["sharp", "D8", "shake"], [["a"] * 3, ["b"] * 3])
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert shown == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert to_hex(figure.axes[1].title.get_color()) == palette.colour("D8")
    assert figure.axes[5].get_xlabel() == "b"


@pytest.mark.parametrize(
    "images, columns, word",
    [
        ([[np.zeros((4, 4, 3))]], ["a", "b"], "1 x 2"),
        ([[np.zeros((3, 4, 4))]], ["a"], "height, width, 3"),
        ([], [], "at least one"),
    ],
)
def test_contact_sheet_refuses_in_one_line(images, columns, word):
    with pytest.raises(UserError, match=word):
        figures.contact_sheet(images, ["row"] * len(images), columns)


def test_kernels_share_one_scale_and_keep_their_place():
    small, large = np.zeros((3, 3)), np.full((11, 11), 1 / 121)
    small[0, 1] = 1.0
    figure = figures.kernels({"D2": small, "D8": large})
    pages = [axes.images[0].get_array() for axes in figure.axes]
    assert pages[0].shape == pages[1].shape == (13, 13)
    assert np.argwhere(pages[0] == 1).tolist() == [[5, 6]]  # one above the centre, unflipped
    assert (pages[1] > 0).sum() == 121
    (bar,) = [line for line in figure.axes[0].lines if line.get_gid() == "bar"]
    assert f"{bar.get_xdata()[1] - bar.get_xdata()[0]:.0f} px" in words(figure)
    with pytest.raises(UserError, match="'D2'"):
        figures.kernels({"D2": np.zeros((3, 3))})


def touching(texts):
    boxes = [text.get_window_extent() for text in texts]
    pairs = [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.shrunk(0.97, 0.8).overlaps(b)]
    return [(texts[i].get_text(), texts[j].get_text()) for i, j in pairs]


def test_labels_of_lines_that_end_together_do_not_touch():
    rows = [
        row(b, 0.98, metric="top1", scale=s) for b in ("sharp", "D2", "D8") for s in ("128", "256", "512", "256+512")
    ]
    figure = figures.dose_response(records.table(rows), by="scale")
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert len(texts) == 5
    assert touching(texts) == []
    assert max(t.get_window_extent().y1 for t in texts) < figure._suptitle.get_window_extent().y0


@pytest.mark.parametrize("mix, specialist", [(0.7, 0.8), (0.86, 0.88), (0.42, 0.44), (0.3, 0.2)])
def test_names_of_the_parts_of_the_loss_do_not_touch(mix, specialist):
    values = {"mix": mix, "D8": specialist}
    rows = [r | ({"value": values[r["training"]]} if r["training"] in values else {}) for r in SPLIT]
    figure = figures.loss_split(records.table(rows))
    figure.draw_without_rendering()
    names = [t for t in figure.axes[0].texts if t.get_text() in figures.PARTS]
    assert len(names) == 3
    assert touching(names) == []
    assert all(t.get_window_extent().x1 <= figure.get_window_extent().x1 for t in names)


def test_names_of_neighbours_do_not_touch():
    rows = [r for r in RQ4 if r["metric"] == "seconds"] + [
        r | {"value": 0.5, "ci_low": 0.46, "ci_high": 0.54} for r in RQ4 if r["metric"] == "top1"
    ]
    figure = figures.frontier(records.table(rows))
    figure.draw_without_rendering()
    assert touching(figure.axes[0].texts) == []
