"""Segmentation as pictures: classes keep their colours, shares are shares, and equal blurs stand beside each other."""

import matplotlib as mpl
import numpy as np
import pytest
from planted import row, rows

from blurnb.errors import UserError
from blurnb.report.figures import segmentation


def segmented(**more):
    shares = {("sharp", "sharp"): 0.6, ("sharp", "D8"): 0.3, ("mix", "sharp"): 0.58, ("mix", "D8"): 0.54}
    fields = {"experiment": "rq5", "dataset": "camvid", "metric": "miou"} | more
    return [row(0.01, value=value, training=t, blur=b, **fields) for (t, b), value in shares.items()]


def classified():
    """Blurred in a frame of 128, where D2 is the D8 of the street scenes."""
    more = {"experiment": "rq2", "dataset": "tiny", "frame": 128}
    shares = {("sharp", "sharp"): 0.8, ("sharp", "D2"): 0.2, ("mix", "sharp"): 0.8, ("mix", "D2"): 0.72}
    found = [row(0.01, value=value, training=t, blur=b, **more) for (t, b), value in shares.items()]
    return [*found, row(0.01, value=0.01, training="mix", blur="D8", **more)]


def test_a_class_has_one_colour_and_void_is_white():
    picture = segmentation.coloured(np.array([[0, 1], [1, segmentation.VOID]], dtype=np.uint8), 3)
    assert np.array_equal(picture[0, 1], picture[1, 0])
    assert not np.array_equal(picture[0, 0], picture[0, 1])
    assert picture[1, 1].tolist() == [1, 1, 1]


def test_colours_are_distinct():
    assert len({tuple(one) for one in segmentation.class_colours(20)}) == 20


def test_shares_stand_beside_the_same_blur_relative_to_the_image():
    figure = segmentation.share_kept(rows(*segmented()), rows(*classified()))
    for axes, own, theirs in zip(figure.axes, (50, 90), (25, 90)):
        rings = [bar.lines[0].get_xdata()[0] for bar in axes.containers if bar.lines[0].get_gid() == "classification"]
        assert rings == [pytest.approx(theirs)]
        points = [bar.lines[0].get_xdata()[0] for bar in axes.containers]
        assert any(point == pytest.approx(own) for point in points)


def test_in_a_frame_of_their_own_equal_labels_stand_beside_each_other():
    """Scenes are named, classified and segmented in one frame, in which D8 is not the paper's."""
    of_scenes = [one | {"frame": 256, "experiment": "rq2", "metric": "top1"} for one in segmented()]
    figure = segmentation.share_kept(rows(*segmented(frame=256)), rows(*of_scenes))
    for axes in figure.axes:
        assert len({round(bar.lines[0].get_xdata()[0], 3) for bar in axes.containers}) == 1
        assert len(axes.containers) == 2


def test_shares_stand_alone_where_nothing_was_classified():
    figure = segmentation.share_kept(rows(*segmented()), rows())
    assert all(len(axes.containers) == 1 for axes in figure.axes)


def test_boundary_and_interior_have_a_panel_each():
    parts = [one for part in ("boundary", "interior") for one in segmented(part_kind="region", part=part)]
    figure = segmentation.by_region(rows(*parts))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["boundary", "interior"]


def test_the_gallery_names_the_classes_that_appear():
    maps = np.zeros((8, 8), dtype=np.uint8)
    maps[2:5, 2:5] = 2
    one = {"blur": "D8", "image": np.full((8, 8, 3), 0.5), "truth": maps, "answers": [maps, maps * 0]}
    figure = segmentation.gallery({"classes": ["sky", "car", "tree"], "columns": ["sharp", "mix"], "rows": [one]})
    words = [text.get_text() for text in figure.findobj(mpl.text.Text)]
    assert "tree" in words
    assert "car" not in words


def test_the_class_that_loses_most_is_on_top_whatever_it_is_called():
    names = {'fork vs spoon, "x"': -0.5, "cat, class dog": -0.1}
    found = [row(0.05, value=0.9, part_kind="class", part=name) for name in names]
    found += [row(0.05, value=v, blur="D8", part_kind="class", part=name, versus_blur="sharp")
              for name, v in names.items()]  # fmt: skip
    (axes,) = segmentation.most_affected(rows(*found)).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == list(names)
    assert [bar.lines[0].get_xdata()[0] for bar in axes.containers] == pytest.approx([40, 80])
    with pytest.raises(UserError, match="at least five images"):
        segmentation.most_affected(rows())
