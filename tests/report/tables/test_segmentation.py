"""Classes one by one, whatever they are called."""

import pytest
from planted import row, rows

from blurnb.errors import UserError
from blurnb.report.tables import segmentation

EVIL = 'fork vs spoon, "x", class 1'


def of_pixels(*names):
    shares = {("sharp", "sharp"): 0.6, ("sharp", "D8"): 0.3, ("mix", "sharp"): 0.58, ("mix", "D8"): 0.54}
    one = {"experiment": "rq5", "metric": "iou", "part_kind": "class", "n": 300}
    return [
        row(0.01, training=training, blur=blur, value=value, part=name, **one)
        for name in names
        for (training, blur), value in shares.items()
    ]


def test_the_table_of_classes_shows_what_the_mix_adds():
    head = [one | {"frozen": "backbone", "value": 0.1} for one in of_pixels("car")]
    table = segmentation.by_class(rows(*of_pixels("car", EVIL), *head)).set_index("class")
    assert set(table.index) == {"car", EVIL}
    assert table.loc[EVIL, "gain under D8"] == "+24.0"
    assert table.loc["car", "D8: mix network"] == "54.0 [53.0, 55.0]"
    with pytest.raises(UserError, match="no rows under D4; there: sharp, D8"):
        segmentation.by_class(rows(*of_pixels("car")), "D4")


def of_images(**losses):
    found = [row(value=0.9), row(blur="D8", value=0.5), row(0.02, blur="D8", value=-0.4, versus_blur="sharp")]
    for name, loss in losses.items():
        one = {"part_kind": "class", "part": EVIL if name == "evil" else name, "n": 40}
        found += [row(0.05, value=0.9, **one), row(0.02, blur="D8", value=-loss, versus_blur="sharp", **one)]
    return rows(*found)


def test_the_class_that_breaks_first_is_the_planted_one():
    found = of_images(cat=0.1, evil=0.9, owl=0.1, eel=0.1)
    changes = segmentation.class_changes(found)
    assert changes["class"].tolist() == [EVIL, "cat", "eel", "owl"]
    assert changes["change"][0] == pytest.approx((-0.9, -0.92, -0.88))
    assert changes["sharp"][0][0] == 0.9
    said = segmentation.class_sentence(found)
    assert said.startswith(
        "Of 4 classes (n = 40 a class), 1 lose more under D8 than the mean of 30.0 points and 3 less"
    )
    assert segmentation.class_table(found)["change under D8, points"][0] == "−90 [−92, −88]"
    assert len(segmentation.class_table(found)) == 4
    assert len(segmentation.class_table(found, 1)) == 2


def test_without_rows_by_class_nothing_is_said_of_classes():
    assert segmentation.class_sentence(of_images()) == "No class has enough images for a number of its own."
    assert segmentation.class_table(of_images()).empty
