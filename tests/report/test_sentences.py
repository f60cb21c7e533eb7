"""Numbers inside sentences: the planted one is found, and nothing stands for a number that is not there."""

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import sentences


def rows(*blurs, **fields):
    shared = {"question": "rq1", "dataset": "photos", "network": "net", "training": "sharp", "scale": "256"}
    shared |= {"view": "dense", "metric": "top1", "n": 500, "profile": "photographs", "run_id": "0" * 12} | fields
    return records.table([records.row(**shared, blur=b, value=0.61, ci_low=0.566, ci_high=0.652) for b in blurs])


def test_a_number_is_read_with_and_without_its_interval():
    found = rows("sharp", "D8")
    assert sentences.value(found, blur="D8", scale=256) == "61.0 [56.6, 65.2]"
    assert sentences.value(found, form="plain", blur="D8") == "61.0"
    assert sentences.value(found, form="n", blur="D8") == "500"


def test_a_change_is_asked_for_by_what_it_is_measured_from():
    found = rows("D8", metric="top1_change", view="dense vs sharp network", training="mix")
    assert sentences.value(found, metric="top1_change", versus="sharp_network").startswith("+61.0")


@pytest.mark.parametrize("wanted", [{}, {"blur": "D4"}, {"blur": "D8", "network": "other"}])
def test_no_condition_or_several_are_refused(wanted):
    with pytest.raises(UserError, match="conditions match"):
        sentences.value(rows("sharp", "D8"), **wanted)


def test_an_unknown_column_is_refused():
    with pytest.raises(UserError, match="no column 'blurr'"):
        sentences.value(rows("D8"), blurr="D8")
