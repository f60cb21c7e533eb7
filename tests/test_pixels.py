"""Segmentation as pictures: classes keep their colours, shares are shares, and equal blurs stand beside each other."""

import matplotlib as mpl
import numpy as np
import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import pixels


def row(value, training, blur, question="rq5", metric="miou", view="all", **more):
    fields = {"dataset": "camvid", "network": "net", "scale": "256", "n": 300, "profile": "photographs", "run_id": "r"}
    ends = {"ci_low": value - 0.01, "ci_high": value + 0.01}
    return records.row(
        question=question, training=training, blur=blur, view=view, metric=metric, value=value, **(fields | ends | more)
    )


def segmented(view="all", metric="miou"):
    shares = {("sharp", "sharp"): 0.6, ("sharp", "D8"): 0.3, ("mix", "sharp"): 0.58, ("mix", "D8"): 0.54}
    return [row(value, *one, view=view, metric=metric) for one, value in shares.items()]


def classified():
    """Blurred in a frame of 128, where D2 is the D8 of the street scenes."""
    more = {"question": "rq2", "metric": "top1", "view": "dense", "dataset": "tiny, frame 128"}
    shares = {("sharp", "sharp"): 0.8, ("sharp", "D2"): 0.2, ("mix", "sharp"): 0.8, ("mix", "D2"): 0.72}
    return [row(value, *one, **more) for one, value in shares.items()] + [row(0.01, "mix", "D8", **more)]


def test_a_class_has_one_colour_and_void_is_white():
    picture = pixels.coloured(np.array([[0, 1], [1, pixels.VOID]], dtype=np.uint8), 3)
    assert np.array_equal(picture[0, 1], picture[1, 0])
    assert not np.array_equal(picture[0, 0], picture[0, 1])
    assert picture[1, 1].tolist() == [1, 1, 1]
    with pytest.raises(UserError, match="label 7"):
        pixels.coloured(np.full((2, 2), 7, dtype=np.uint8), 3)


def test_colours_are_distinct():
    assert len({tuple(one) for one in pixels.class_colours(20)}) == 20


def test_shares_stand_beside_the_same_blur_relative_to_the_image():
    figure = pixels.share_kept(records.table(segmented()), records.table(classified()))
    for axes, own, theirs in zip(figure.axes, (50, 90), (25, 90)):
        rings = [bar.lines[0].get_xdata()[0] for bar in axes.containers if bar.lines[0].get_gid() == "classification"]
        assert rings == [pytest.approx(theirs)]
        points = [bar.lines[0].get_xdata()[0] for bar in axes.containers]
        assert any(point == pytest.approx(own) for point in points)


def test_boundary_and_interior_have_a_panel_each():
    figure = pixels.by_region(records.table(segmented("boundary") + segmented("interior")))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["boundary", "interior"]


def test_the_table_of_classes_shows_what_the_mix_adds():
    rows = [r | {"metric": "iou", "view": name} for name in ("car", "tree") for r in segmented()]
    table = pixels.by_class(records.table(rows)).set_index("class")
    assert set(table.index) == {"car", "tree"}
    assert table.loc["car", "gain under D8"] == "+24.0"
    with pytest.raises(UserError, match="no rows under D4"):
        pixels.by_class(records.table(rows), "D4")


def test_the_gallery_names_the_classes_that_appear():
    maps = np.zeros((8, 8), dtype=np.uint8)
    maps[2:5, 2:5] = 2
    one = {"blur": "D8", "image": np.full((8, 8, 3), 0.5), "truth": maps, "answers": [maps, maps * 0]}
    figure = pixels.gallery({"classes": ["sky", "car", "tree"], "columns": ["sharp", "mix"], "rows": [one]})
    words = [text.get_text() for text in figure.findobj(mpl.text.Text)]
    assert "tree" in words
    assert "car" not in words
