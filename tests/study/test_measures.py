"""Answers into rows: each number against another way to it, each comparison with the side that differs alone."""

import numpy as np
import pandas as pd
import planted
import pytest
from scipy.stats import binomtest

from blurnb import labels, records
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.optics import blurring
from blurnb.report import selection
from blurnb.report.figures import segmentation as figure
from blurnb.report.tables import segmentation
from blurnb.study import confusion, measures
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Condition, Treatment

SHARED = {"experiment": "rq1", "network": "net", "dataset": "d", "frozen": "none", "per_scale": False}
SHARED |= Protocol().columns()
SHARP, BLURRED = planted.conditions(["sharp", "D8"], ["256"])


def table(count=200, seed=0, right=0.8, label=0) -> pd.DataFrame:
    """Answers that are right with some probability, for images of one class."""
    generator = np.random.default_rng(seed)
    top1 = generator.random(count) < right
    shares = generator.random((4, count))
    columns = dict(zip(("entropy", "p_true", "confidence"), shares))
    images = pd.Index([f"image {i}" for i in range(count)], name="image")
    guessed = np.where(top1, label, 99)
    return pd.DataFrame(
        {"label": label, "predicted": guessed, **columns, "top1": top1, "top5": top1 | (shares[3] < 0.5)}, index=images
    )


def found(rows, **wanted):
    """The rows with these columns, as a checked table."""
    return selection.select(records.table(rows), **wanted)


# ------------------------------------------------------------------------------------------------ estimates


def test_a_metric_is_a_function_of_its_name_and_every_condition_has_each():
    tables = {SHARP: table(), BLURRED: table(seed=1, right=0.4)}
    rows = found(measures.of_each(tables, SHARED))
    assert set(rows["metric"]) == set(measures.MEASURES) <= set(METRICS)
    assert len(rows) == 2 * len(measures.MEASURES)
    for one, part in tables.items():
        mine = rows[rows["blur"] == one.treatment.blur].set_index("metric")
        for metric in measures.MEASURES:
            assert metric == "ece" or mine["value"][metric] == pytest.approx(part[metric].mean())
            assert mine["ci_low"][metric] < mine["value"][metric] < mine["ci_high"][metric]
        assert set(mine["n"]) == {200}
    assert set(rows["statistic"]) == {"estimate"}
    some = measures.of_each(tables, SHARED, ["top1"])
    assert [row["metric"] for row in some] == ["top1", "top1"]


# ------------------------------------------------------------------------------------------------ differences


def test_the_sharp_twin_has_all_but_the_blur():
    noisy = Condition(Treatment("D8", 0.01, "8-bit"), "64+96", "mix")
    tables = {noisy: table(seed=1), noisy.sharp: table(), SHARP: table(seed=2)}
    rows = found(measures.from_sharp(tables, SHARED))
    assert set(rows["blur"]) == {"D8"}
    assert set(rows["versus_blur"]) == {"sharp"}
    for name in set(records.VERSUS) - {"versus_blur"}:
        assert set(rows[name].astype(object).where(rows[name].notna(), "")) == {""}, name
    change = rows[(rows["metric"] == "top1") & (rows["statistic"] == "difference")]["value"].item()
    assert change == pytest.approx(tables[noisy]["top1"].mean() - tables[noisy.sharp]["top1"].mean())


def test_what_is_restored_or_has_no_sharp_twin_is_not_compared_with_sharp_images():
    restored = BLURRED._replace(treatment=BLURRED.treatment._replace(method="wiener", kernel="true"))
    assert measures.from_sharp({restored: table(), SHARP: table()}, SHARED) == []
    assert measures.from_sharp({BLURRED: table()}, SHARED) == []
    assert measures.from_sharp({SHARP: table()}, SHARED) == []


def test_the_other_side_is_told_only_where_it_differs():
    here = SHARED | {"training": "mix", "frozen": "2", "blur": "D8", "scale": "64+96", "rounding": "none"}
    there = here | {"training": "sharp", "frozen": "none", "train_seed": 3}
    assert measures.versus(here, there) == {"versus_training": "sharp", "versus_frozen": "none"}
    assert measures.versus(here, here | {"per_scale": True}) == {"versus_per_scale": True}
    assert measures.versus(here, here) == {}


def test_paired_changes_are_those_that_numpy_finds():
    sharp, blurred = table(), table(seed=1, right=0.4)
    rows = found(measures.from_sharp({SHARP: sharp, BLURRED: blurred}, SHARED), statistic="difference")
    assert list(rows["metric"]) == sorted(measures.DIFFERENCES)
    for row in rows.itertuples():
        change = blurred[row.metric].to_numpy(float) - sharp[row.metric].to_numpy(float)
        assert row.value == pytest.approx(change.mean())
        assert row.n == 200
        half = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
        assert row.ci_low == pytest.approx(change.mean() - half, abs=0.2 * half)
        assert row.ci_high == pytest.approx(change.mean() + half, abs=0.2 * half)


def test_the_paired_p_value_is_that_of_the_binomial_of_disagreements():
    generator = np.random.default_rng(0)
    theirs = generator.random(200) < 0.8
    mine = theirs & (generator.random(200) < 0.8) | (generator.random(200) < 0.1)
    sharp, blurred = (table().assign(top1=one, top5=one) for one in (theirs, mine))
    rows = found(measures.from_sharp({SHARP: sharp, BLURRED: blurred}, SHARED), metric="top1")
    values = rows.set_index("statistic")["value"]
    worse, better = int((theirs & ~mine).sum()), int((~theirs & mine).sum())
    assert worse > better > 0
    assert values["p_value"] == pytest.approx(binomtest(worse, worse + better).pvalue)
    assert values["difference"] == pytest.approx((better - worse) / 200)


def test_pairs_are_made_by_image_over_what_both_have():
    mine, theirs = table(20, seed=1), table(20)
    some = mine.iloc[[7, 3, 11, 0]]
    here, there = SHARED | BLURRED.columns(), SHARED | BLURRED._replace(training="mix").columns()
    rows = records.table(measures.difference(some, theirs.iloc[::-1].drop(index="image 0"), here, there))
    kept = ["image 7", "image 3", "image 11"]
    expected = (mine.loc[kept, "entropy"] - theirs.loc[kept, "entropy"]).mean()
    assert set(rows["n"]) == {3}
    assert set(rows["versus_training"]) == {"mix"}
    assert rows[rows["metric"] == "entropy"]["value"].item() == pytest.approx(expected)


def test_agreement_is_the_share_of_images_that_get_one_class():
    mine = table(10)
    other = mine.iloc[::-1].assign(predicted=mine["predicted"])
    other.iloc[:3, other.columns.get_loc("predicted")] = 50
    row = measures.agreement(mine, other, SHARED | {"precision": "bf16"}, SHARED | {"precision": "float32"})
    assert (row["metric"], row["value"], row["n"], row["versus_precision"]) == ("agreement", 0.7, 10, "float32")


# ------------------------------------------------------------------------------------------------ parts


def of_drops(drops, n=40):
    """Tables of classes that are right on every sharp image and wrong on a share of the blurred ones."""
    parts = [(label, i, i >= drop * n) for label, drop in enumerate(drops) for i in range(n)]
    frame = pd.DataFrame(parts, columns=["label", "place", "top1"])
    frame.index = pd.Index(frame["label"].astype(str) + "-" + frame["place"].astype(str), name="image")
    return {SHARP: frame.assign(top1=True), BLURRED: frame}


NAUGHTY = 'a<b>"&$x_1|[l](javascript:x) vs\nz'


def test_the_class_that_breaks_first_is_the_planted_one_and_keeps_its_name():
    classes = ["cat", NAUGHTY, "owl", "eel"]
    rows = records.table(measures.of_classes(of_drops([0.1, 0.9, 0.1, 0.1]), classes, SHARED, "256", "D8"))
    assert set(rows["part"]) == set(classes)
    changes = segmentation.class_changes(rows)
    assert changes["class"][0] == NAUGHTY
    assert changes["change"][0][0] == pytest.approx(-0.9)
    assert changes["sharp"][0][0] == 1
    assert "Of 4 classes (n = 40 a class), 1 lose more under D8" in segmentation.class_sentence(rows)
    assert figure.most_affected(rows)._repr_png_()
    assert len(segmentation.class_table(rows)) == 4


def test_a_class_of_few_images_gets_no_number():
    rows = records.table(measures.of_classes(of_drops([0.5, 0.5], n=4), ["cat", "dog"], SHARED, "256", "D8"))
    assert rows.empty
    assert segmentation.class_sentence(rows) == "No class has enough images for a number of its own."
    with pytest.raises(UserError, match="at least five images"):
        figure.most_affected(rows)


def test_classes_are_compared_at_one_scale_and_where_both_blurs_were_asked():
    tables = of_drops([0.1, 0.9])
    assert measures.of_classes(tables, "ab", SHARED, "128", "D8") == []
    assert measures.of_classes(tables, "ab", SHARED, "256", "D6") == []
    assert measures.of_classes({SHARP: tables[SHARP]}, "ab", SHARED, "256", "D8") == []


def test_bins_hold_accuracy_by_confidence_and_all_images():
    part = table(500, right=0.6)
    rows = found(measures.of_bins({BLURRED: part}, SHARED), part_kind="bin")
    for place in range(1, measures.BINS + 1):
        low, high = (place - 1) / measures.BINS, place / measures.BINS
        inside = part[(part["confidence"] > low) & (part["confidence"] <= high)]
        mine = rows[rows["part"] == str(place)].set_index("metric")
        assert mine["value"]["top1"] == pytest.approx(inside["top1"].mean())
        assert mine["value"]["confidence"] == pytest.approx(inside["confidence"].mean())
        assert set(mine["n"]) == {len(inside)}
        assert mine["ci_low"]["top1"] <= mine["value"]["top1"] <= mine["ci_high"]["top1"]
    assert rows[rows["metric"] == "top1"]["n"].sum() == 500


def test_a_bin_without_images_has_no_row():
    part = table(20).assign(confidence=0.95, top1=[True] * 6 + [False] * 14)
    (right, mean) = measures.of_bins({BLURRED: part}, SHARED)
    assert (right["part"], right["value"], right["n"]) == ("10", 0.3, 20)
    assert mean["value"] == pytest.approx(0.95)


def doses(n=400, blurs=("sharp", "D2", "D4", "D8", "G4"), **more):
    """Answers of images that each bear blur up to a radius of their own; under another family all are right."""
    bears, found = np.linspace(-1, 9, n + 1)[1:], {}
    for one in planted.conditions(blurs, ["256"], **more):
        family = labels.family(one.treatment.blur)
        right = bears > labels.parse(one.treatment.blur).strength if family != "gaussian" else bears > -9
        found[one] = table(n).assign(top1=right, top5=right | (bears > 7.5))
    return found


def test_the_half_radius_is_of_the_disks_alone_and_above_chance_and_stands_with_the_largest():
    rows = found(measures.half_radii(doses(), SHARED, 10), part_kind="metric").set_index("part")
    assert set(rows["metric"]) == {"half_radius"}
    assert set(rows["blur"]) == {"D8"}
    assert set(rows["n"]) == {400}
    # right at radius r: (9 - r) / 10, so that 0.1 + (0.9 - 0.1) / 2 is left at 4
    assert rows["value"]["top1"] == pytest.approx(4.0, abs=0.05)
    assert (rows["ci_low"] < rows["value"]).all()
    assert (rows["value"] < rows["ci_high"]).all()


def test_a_half_beyond_the_radii_asked_is_recorded_as_beyond():
    (top1,) = (r for r in measures.half_radii(doses(blurs=("sharp", "D1", "D2")), SHARED, 10) if r["part"] == "top1")
    assert top1["value"] == top1["ci_high"] == np.inf
    assert top1["blur"] == "D2"


def test_there_is_no_half_of_two_radii_of_guesses_and_of_what_is_restored():
    assert measures.half_radii(doses(blurs=("sharp", "D8")), SHARED, 10) == []
    assert measures.half_radii(doses(blurs=("D2", "D4", "D8")), SHARED, 10) == []
    assert measures.half_radii(doses(), SHARED, 1) == []
    assert measures.half_radii(doses(method="wiener", kernel="true"), SHARED, 10) == []


def test_the_blur_and_the_scale_that_tell_most():
    assert measures.telling_blur(["sharp", "D2", "D8", "M21@30"]) == "D8"
    assert measures.telling_blur(["sharp", "D2", "G4"]) == "G4"
    assert measures.telling_blur(["sharp"]) == ""
    assert measures.main_scale(["128", "256", "512"]) == "256"
    assert measures.main_scale(["96", "64+96"]) == "96"


# ------------------------------------------------------------------------------------------------ kernels


def width(blur, *ids):
    return measures.kernel_sd([blurring.kernel_for(blur, image_id=one).astype(float) for one in ids or ("x",)])


def test_the_standard_deviation_of_kernels_is_the_known_one():
    assert width("sharp") == 0
    assert width("G4") == pytest.approx(4, abs=0.01)
    assert width("D8") == pytest.approx((8**2 / 4 + 1 / 12) ** 0.5, rel=0.01)
    assert width("M19.6@30") == pytest.approx(4.0, rel=0.02)
    # each image has a shake of its own: it is that of all of them
    assert width("shake", "a", "b") == pytest.approx(((width("shake", "a") ** 2 + width("shake", "b") ** 2) / 2) ** 0.5)


# ------------------------------------------------------------------------------------------------ pixels


def regions(seed, n=12, count=3):
    """Matrices by region of `n` images, of which no pixel is of the last class."""
    drawn = np.random.default_rng(seed).integers(1, 40, (2, n, count, count))
    drawn[:, :, -1] = 0
    return dict(zip(confusion.REGIONS, drawn))


HERE = SHARED | BLURRED.columns()


def test_pixels_have_miou_and_accuracy_of_the_whole_and_of_both_regions_and_iou_by_class():
    counted = regions(0)
    rows = records.table(measures.of_pixels(counted, ["a", "b", "gone"], HERE))
    whole = sum(counted.values()).sum(0)
    values = rows.set_index(["part_kind", "part", "metric"])["value"]
    for region, total in {"": whole, **{name: one.sum(0) for name, one in counted.items()}}.items():
        kind = "region" if region else ""
        assert values[kind, region, "miou"] == pytest.approx(float(confusion.miou(total)))
        assert values[kind, region, "pixel_accuracy"] == pytest.approx(float(confusion.pixel_accuracy(total)))
    assert values["class", "a", "iou"] == pytest.approx(float(confusion.iou(whole)[0]))
    assert "gone" not in set(rows["part"])
    assert (rows["ci_low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["ci_high"]).all()
    assert set(rows["n"]) == {12}


def test_pixel_differences_are_paired():
    mine, theirs = regions(0), regions(1)
    there = HERE | {"blur": "sharp"}
    rows = records.table(measures.pixel_difference(mine, theirs, HERE, there)).set_index("part")
    for region in confusion.REGIONS:
        expected = confusion.miou(mine[region].sum(0)) - confusion.miou(theirs[region].sum(0))
        assert rows["value"][region] == pytest.approx(float(expected))
    assert set(rows["versus_blur"]) == {"sharp"}
    same = records.table(measures.pixel_difference(mine, mine, HERE, there))
    assert same[["value", "ci_low", "ci_high"]].eq(0).all(axis=None), "the same images are drawn on both sides"


def test_one_image_has_no_interval():
    rows = records.table(measures.of_pixels(regions(0, n=1), ["a", "b", "c"], HERE))
    assert rows["ci_low"].isna().all()
