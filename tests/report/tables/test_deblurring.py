"""The chapter on deblurring as tables: every number stands where its row says."""

import pytest
from planted import row, rows

from blurnb.errors import UserError
from blurnb.report.tables import deblurring


def planted():
    """Two networks and one method; exact pixels and noise; the true kernel and a wrong one."""

    def one(value, training="sharp", blur="D8", **more):
        ends = {"ci_low": value - 0.04, "ci_high": value + 0.03}
        return row(experiment="rq4", training=training, blur=blur, value=value, **ends, **more)

    found = [one(0.9, blur="sharp"), one(0.88, "mix", "sharp")]
    for noise, loss in ((0.0, 0.0), (0.01, 0.2)):
        wiener = {"noise_sd": noise, "method": "wiener", "kernel": "true"}
        found += [one(0.3 - loss / 2, noise_sd=noise), one(0.7 - loss / 4, "mix", noise_sd=noise)]
        found += [one(0.75 - loss, **wiener), one(0.4 - loss, **wiener | {"kernel": "D9"})]
        found.append(one(0.05 - loss * 0.75, versus_training="mix", versus_method="none", **wiener))
        found.append(one(0.45 - loss, versus_method="none", **wiener))
        found.append(one(-0.6, blur="D8", noise_sd=noise, versus_blur="sharp"))
        alone = {"metric": "psnr", "network": "", "training": "", "frozen": "", "per_scale": None}
        found.append(one(30.0 + loss, **alone | wiener))
    return rows(*found)


def test_the_table_of_treatments_has_the_true_kernel_alone():
    table = deblurring.by_treatment(planted()).set_index(["pixels", "way"])
    assert table.loc[("exact", "wiener, then sharp"), "D8"] == "75.0 [71.0, 78.0]"
    assert table.loc[("noise 0.01", "wiener, then sharp"), "D8"] == "55.0 [51.0, 58.0]"
    assert table.loc[("exact", "mix"), "sharp"] == "88.0 [84.0, 91.0]"
    assert [way for _, way in table.index] == 2 * ["sharp", "mix", "wiener, then sharp"]


def test_of_the_pixels_alone_no_network_is_named():
    table = deblurring.by_treatment(planted(), "psnr")
    assert table[["pixels", "way", "D8"]].to_numpy().tolist() == [
        ["exact", "wiener", "30.0 [30.0, 30.0]"], ["noise 0.01", "wiener", "30.2 [30.2, 30.2]"],
    ]  # fmt: skip


def test_paired_differences_keep_their_sign_and_their_other_side():
    table = deblurring.differences(planted()).set_index("pixels")
    assert len(table) == 2
    assert table.loc["exact", "D8"].startswith("+5.0")
    assert table.loc["noise 0.01", "D8"].startswith("\N{MINUS SIGN}10.0")
    alone = deblurring.differences(planted(), versus_training=None).set_index("pixels")
    assert alone.loc["exact", "D8"].startswith("+45.0")


def test_rows_that_are_not_there_are_named():
    with pytest.raises(UserError, match="paired differences has no rows with metric top5; run the notebook"):
        deblurring.differences(planted(), "top5")
