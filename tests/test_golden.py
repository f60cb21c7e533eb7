"""Numbers do not move unless the VERSION of what computes them does."""

import json

import golden
import pytest

WRITTEN = json.loads(golden.FILE.read_text())


def complaint(found: dict, written: dict) -> str:
    """What is wrong between an output and what is written of it; empty where nothing is."""
    if found["versions"] != written["versions"]:
        return "a VERSION was raised: write the file anew with `python tests/golden.py`"
    if found["numbers"] != pytest.approx(written["numbers"], rel=5e-5, abs=1e-9):
        return (
            f"the numbers moved ({found['numbers']}, written are {written['numbers']}) and no VERSION did: raise that "
            f"of the module that moved them, one of {', '.join(found['versions'])}, and write the file anew with "
            "`python tests/golden.py`"
        )
    return ""


@pytest.mark.parametrize("name", golden.outputs())
def test_numbers_do_not_move_without_a_version(name, tmp_path):
    if name == "deblur tv":
        pytest.importorskip("deepinv", reason="NOT TESTED: deepinv is not installed")
    assert not complaint(golden.computed(name, tmp_path), WRITTEN[name])


def test_the_file_holds_what_is_computed_and_nothing_else():
    assert set(WRITTEN) == set(golden.outputs())


def test_a_moved_number_and_a_raised_version_are_told_apart():
    one = {"numbers": [1.0, 2.0], "versions": {"optics.kernels": 1}}
    assert complaint(one, one) == ""
    assert complaint(one | {"numbers": [1.00001, 2.0]}, one) == "", "another machine"
    assert "raise that of the module" in complaint(one | {"numbers": [1.001, 2.0]}, one)
    assert "was raised" in complaint(one | {"versions": {"optics.kernels": 2}}, one)
