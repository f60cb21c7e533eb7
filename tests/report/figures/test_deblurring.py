"""The chapter on deblurring as figures: every mark stands where its row says."""

import pytest
from planted import row, rows

from blurnb.errors import UserError
from blurnb.report.figures import deblurring


def planted(wrong=True):
    """Two networks and one method; exact pixels and noise; the true kernel and a wrong one."""

    def one(value, training="sharp", blur="D8", **more):
        return row(value=value, ci_low=value - 0.04, ci_high=value + 0.03, training=training, blur=blur, scale="96",
                   experiment="rq4", **more)  # fmt: skip

    found = [one(0.9, blur="sharp"), one(0.88, "mix", "sharp")]
    for noise, loss in ((0.0, 0.0), (0.01, 0.2)):
        found += [one(0.3 - loss / 2, noise_sd=noise), one(0.7 - loss / 4, "mix", noise_sd=noise)]
        found.append(one(0.75 - loss, noise_sd=noise, method="wiener", kernel="true"))
        if wrong:
            found.append(one(0.4 - loss, noise_sd=noise, method="wiener", kernel="D9"))
    return rows(*found)


def test_wrong_kernels_are_hollow_and_stand_where_their_rows_say():
    (axes,) = deblurring.wrong_kernels(planted()).axes
    marks = [bar.lines[0] for bar in axes.containers]
    true, wrong = sorted(marks, key=lambda mark: -mark.get_xdata()[0])
    assert true.get_xdata()[0] == pytest.approx(75)
    assert wrong.get_xdata()[0] == pytest.approx(40)
    assert true.get_markerfacecolor() != wrong.get_markerfacecolor()
    bars = {line.get_gid(): line.get_xdata()[0] for line in axes.lines if line.get_gid() in ("mix", "sharp")}
    assert bars == {"mix": pytest.approx(70), "sharp": pytest.approx(30)}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["D8: true kernel", "D8: D9"]


def test_another_draw_of_a_shake_is_said():
    shaken = planted().replace({"blur": {"D8": "shake"}, "kernel": {"D9": "another draw"}})
    (axes,) = deblurring.wrong_kernels(shaken).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["shake: true kernel", "shake: another shake"]


def test_a_panel_for_each_kind_of_pixels():
    figure = deblurring.by_noise(planted())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["exact pixels", "noise 0.01"]
    marks = {bar.lines[0].get_gid(): bar.lines[0].get_xdata()[0] for bar in figure.axes[1].containers}
    assert marks == pytest.approx({"mix": 65, "no deblurring": 20, "wiener": 55})


def test_no_wrong_kernel_is_said():
    with pytest.raises(UserError, match="no rows of a wrong kernel"):
        deblurring.wrong_kernels(planted(wrong=False))
    with pytest.raises(UserError, match="no rows of a wrong kernel with 8-bit"):
        deblurring.wrong_kernels(planted(), capture="8-bit")
