"""What all figures have in common: they state network, data and n, leak nothing, and say what is missing."""

import matplotlib as mpl
import pytest
from drawing import BLURS, RQ3, RQ4, curve, point, words
from matplotlib.colors import to_hex
from planted import layer, row, rows

from blurnb.errors import UserError
from blurnb.report import figures
from blurnb.report.figures import marks, palette

SOURCE = {"network": "efficientnet_lite0", "dataset": "imagenet-sample"}
LAYERS = [layer(f"conv{k}", 0.01, blur="D8", value=0.7, training=t, **SOURCE) for t in ("sharp", "mix") for k in (1, 2)]
SPLIT = [
    point("sharp", 0.9, metric="top1"),
    *(point("D8", v, metric="top1", training=t) for t, v in (("sharp", 0.4), ("mix", 0.7), ("D8", 0.8))),
]
BINS = [point(value=v, n=n, metric=m, part_kind="bin", part=p) for m in ("top1", "confidence")
        for p, v, n in (("3", 0.25, 200), ("9", 0.85, 300))]  # fmt: skip
REGIONS = [point(b, 0.5, metric="miou", part_kind="region", part=p) for b in BLURS for p in ("boundary", "interior")]
CLASSES = [point("sharp", 0.9, metric="top1", part_kind="class", part=name) for name in ("cat", "dog")]
CLASSES += [point("D8", -0.4, metric="top1", part_kind="class", part=name, versus_blur="sharp")
            for name in ("cat", "dog")]  # fmt: skip
WRONG = [*RQ4, *(r | {"kernel": "D9"} for r in RQ4 if r["method"] == "wiener")]
DRAWN = {
    "accuracy_by_blur": (figures.accuracy_by_blur, curve()),
    "confidence": (figures.confidence, curve(metric="entropy") + curve(metric="p_true")),
    "before_after": (figures.before_after, curve(metric="top1") + curve("mix", metric="top1")),
    "loss_split": (figures.loss_split, SPLIT),
    "by_training": (figures.doses.by_training, curve(metric="top1")),
    "by_scale": (figures.doses.by_scale, curve(metric="top1")),
    "by_family": (figures.doses.by_family, curve(metric="top1")),
    "reliability": (figures.reliability, BINS),
    "layer_heatmap": (figures.layer_heatmap, LAYERS),
    "transfer_matrix": (figures.transfer_matrix, RQ3),
    "frontier": (figures.frontier, RQ4),
    "scale_cost": (figures.scale_cost, RQ3),
    "by_noise": (figures.deblurring.by_noise, RQ4),
    "wrong_kernels": (figures.deblurring.wrong_kernels, WRONG),
    "by_region": (figures.segmentation.by_region, REGIONS),
    "most_affected": (figures.segmentation.most_affected, CLASSES),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_states_network_data_and_n_and_leaks_nothing(name):
    before = dict(mpl.rcParams)
    draw, planted = DRAWN[name]
    figure = draw(rows(*planted))
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
        DRAWN[name][0](rows())
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_sources_are_refused():
    with pytest.raises(UserError, match="vgg16 on imagenet"):
        figures.accuracy_by_blur(rows(*curve(), *curve(network="vgg16", dataset="imagenet")))


def test_one_network_on_two_frames_of_one_data_set_is_two_sources():
    with pytest.raises(UserError, match="frame 128"):
        figures.accuracy_by_blur(rows(*curve(), *curve(frame=128)))


@pytest.mark.parametrize(
    "other", [{"precision": "bf16"}, {"view": "center-crop"}, {"rounding": "8-bit"}, {"border": "circular"}]
)
def test_two_protocols_are_never_averaged(other):
    found = marks.plain(rows(*curve(), *curve(slope=0.01, **other)), "a figure", metric="top5")
    assert marks.points(found, "top5")["D8"][0] == pytest.approx(60)


def test_a_class_a_layer_and_a_comparison_are_no_points_of_the_whole():
    more = [point("D8", 0.1, part_kind="class", part="cat"), point("D8", -0.3, versus_blur="sharp")]
    found = marks.plain(rows(*curve(), *more), "a figure", metric="top5", training="sharp")
    assert marks.points(found, "top5")["D8"][0] == pytest.approx(60)


def test_networks_with_frozen_blocks_are_networks_of_their_own():
    frozen = [r | {"frozen": "2", "value": 0.1, "ci_low": 0.09, "ci_high": 0.11} for r in curve("mix", metric="top1")]
    every = rows(*curve("sharp", metric="top1"), *curve("mix", 0.02, metric="top1"), *frozen)
    axes = figures.before_after(every).axes[0]
    assert max(bar.lines[0].get_xdata()[0] for bar in axes.containers if bar.get_label() == "shake") == pytest.approx(
        78
    )
    ticks = [t.get_text() for t in figures.transfer_matrix(every).axes[0].get_yticklabels()]
    assert ticks == ["sharp", "mix", "mix, 2 blocks frozen"]


def test_figures_are_not_pyplots_and_show_as_png():
    import matplotlib.pyplot as plt

    figure = figures.accuracy_by_blur(rows(*curve()))
    assert plt.get_fignums() == []
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_folder_is_named_and_its_name_is_no_formula():
    figure = figures.accuracy_by_blur(rows(row(metric="top5", dataset="folder", folder="a$b$c")))
    assert r"folder a\$b\$c" in words(figure)
