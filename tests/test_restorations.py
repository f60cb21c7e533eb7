"""The chapter on deblurring as tables and figures: views are taken apart, and every mark stands where its row says."""

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import restorations


def row(value, training="sharp", blur="D8", view="dense", metric="top1", **more):
    fields = {"question": "rq4", "dataset": "scenes", "network": "vgg_mini", "scale": "96", "n": 500, "run_id": "r"}
    ends = {"ci_low": value - 0.04, "ci_high": value + 0.03}
    return records.row(
        training=training,
        blur=blur,
        view=view,
        metric=metric,
        value=value,
        profile="embedded",
        **(fields | ends | more),
    )


def planted():
    """Two networks and one method; exact pixels and noise; the true kernel and a wrong one."""
    rows = [row(0.9, blur="sharp"), row(0.88, "mix", "sharp")]
    for factor, loss in (("", 0.0), (", noise 0.01", 0.2)):
        rows += [row(0.3 - loss / 2, view=f"dense{factor}"), row(0.7 - loss / 4, "mix", view=f"dense{factor}")]
        rows.append(row(0.75 - loss, view=f"dense after wiener{factor}"))
        rows.append(row(0.4 - loss, view=f"dense after wiener{factor}, kernel D9"))
        change = {"metric": "top1_change", "view": f"dense after wiener{factor} vs mix network"}
        rows.append(row(0.05 - loss * 0.75, **change))
    return records.table(rows)


def test_views_are_taken_apart():
    found = restorations.parted(planted()).set_index("view")[["method", "factor", "kernel"]].drop_duplicates()
    assert found.loc["dense after wiener, noise 0.01, kernel D9"].tolist() == ["wiener", "noise 0.01", "D9"]
    assert found.loc["dense after wiener"].tolist() == ["wiener", "", ""]
    assert found.loc["dense, noise 0.01"].tolist() == ["", "noise 0.01", ""]


def test_the_table_of_ways_has_the_true_kernel_alone():
    table = restorations.by_way(planted()).set_index(["pixels", "way"])
    assert table.loc[("exact", "wiener, then sharp"), "D8"] == "75.0 [71.0, 78.0]"
    assert table.loc[("noise 0.01", "wiener, then sharp"), "D8"] == "55.0 [51.0, 58.0]"
    assert table.loc[("exact", "mix"), "sharp"] == "88.0 [84.0, 91.0]"
    assert len(table) == 6


def test_paired_differences_keep_their_sign():
    table = restorations.paired(planted()).set_index("pixels")
    assert table.loc["exact", "D8"].startswith("+5.0")
    assert table.loc["noise 0.01", "D8"].startswith("\N{MINUS SIGN}10.0")


def test_wrong_kernels_are_hollow_and_stand_where_their_rows_say():
    (axes,) = restorations.wrong_kernels(planted()).axes
    marks = [bar.lines[0] for bar in axes.containers]
    true, wrong = sorted(marks, key=lambda mark: -mark.get_xdata()[0])
    assert true.get_xdata()[0] == pytest.approx(75)
    assert wrong.get_xdata()[0] == pytest.approx(40)
    assert true.get_markerfacecolor() != wrong.get_markerfacecolor()
    bars = {line.get_gid(): line.get_xdata()[0] for line in axes.lines if line.get_gid() in ("mix", "sharp")}
    assert bars == {"mix": pytest.approx(70), "sharp": pytest.approx(30)}


def test_a_panel_for_each_kind_of_pixels():
    figure = restorations.by_noise(planted())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["exact pixels", "noise 0.01"]


def test_no_wrong_kernel_is_said():
    rows = planted()
    with pytest.raises(UserError, match="no rows of a wrong kernel"):
        restorations.wrong_kernels(rows[~rows["view"].str.contains("kernel")])
