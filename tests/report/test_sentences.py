"""Numbers inside sentences: the planted one is found, and nothing stands for a number that is not there."""

import pytest
from planted import row, rows

from blurnb.errors import UserError
from blurnb.report import sentences

POINT = {"value": 0.61, "ci_low": 0.566, "ci_high": 0.652}


def planted(*blurs, **fields):
    return rows(*(row(blur=blur, **POINT | fields) for blur in blurs))


def test_a_number_is_read_with_and_without_its_interval():
    found = planted("sharp", "D8")
    assert sentences.value(found, blur="D8", scale=256) == "61.0 [56.6, 65.2]"
    assert sentences.value(found, form="plain", blur="D8") == "61.0"
    assert sentences.value(found, form="n", blur="D8") == "500"


def test_a_change_is_asked_for_by_what_it_is_measured_from():
    found = planted("D8", training="mix", versus_training="sharp")
    assert sentences.value(found, versus_training="sharp").startswith("+61.0")
    with pytest.raises(UserError, match="conditions match"):
        sentences.value(found)


@pytest.mark.parametrize("wanted", [{}, {"blur": "D4"}, {"blur": "D8", "network": "other"}])
def test_no_condition_or_several_are_refused(wanted):
    with pytest.raises(UserError, match="conditions match"):
        sentences.value(planted("sharp", "D8"), **wanted)


def test_an_unknown_column_is_refused():
    with pytest.raises(UserError, match="no column 'blurr'"):
        sentences.value(planted("D8"), blurr="D8")


def test_what_is_not_asked_for_is_plain():
    frozen = row(blur="D8", value=0.1, frozen="2")
    restored = row(blur="D8", value=0.2, method="wiener", kernel="true")
    cat = row(blur="D8", value=0.3, part_kind="class", part="cat")
    crop = row(blur="D8", value=0.4, view="center-crop")
    found = rows(row(blur="D8", **POINT), frozen, restored, cat, crop)
    assert sentences.value(found, form="plain") == "61.0"
    assert sentences.value(found, form="plain", frozen=2) == "10.0"  # as the YAML of a page gives it
    assert sentences.value(found, form="plain", method="wiener", kernel=True) == "20.0"
    assert sentences.value(found, form="plain", part_kind="class", part="cat") == "30.0"
    assert sentences.value(found, form="plain", view="center-crop") == "40.0"
