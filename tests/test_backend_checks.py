"""A backend is held against torch before a run uses it, and what was found is kept."""

import importlib.util

import pytest
from test_evaluation import PLAIN, convolutional, photographs

from blurnb.errors import UserError
from blurnb.recognition import backends
from blurnb.study import evaluation, journal

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="NOT TESTED: openvino is not installed (the openvino extra)"
)


def evaluated(network, store, **options):
    return evaluation.evaluate(network, photographs(), ["sharp", "D8"], ["48", "64"], PLAIN, store=store, **options)


@needs_openvino
def test_a_backend_has_answers_of_its_own_and_its_check_is_in_the_circumstances(tmp_path):
    plain, about = evaluated(convolutional(), tmp_path)
    assert "backend" not in about["facts"]  # addresses of earlier runs stay
    assert "backend_check" not in about
    for computed in (9, 0):
        quick, about = evaluated(convolutional(), tmp_path, backend="openvino")
        assert about["computed_images"] == computed
        assert about["facts"]["backend"] == backends.version("openvino")
        check = about["backend_check"]
        assert (check["answers"], check["agreement"], check["side"]) == (18, 1.0, 48)
        assert check["largest_difference"] < 1e-3
        first = plain[plain["scale"] == "48"]
        assert check["top1"] == check["top1_float32"] == first["top1"].mean()
    assert (plain["predicted"] == quick["predicted"]).mean() > 0.9
    assert len(list((tmp_path / "answers").glob("*.jsonl"))) == 2


@needs_openvino
def test_a_backend_that_answers_otherwise_ends_the_run_before_it_answers(tmp_path, monkeypatch):
    def wrong(network, *about):
        return lambda images: network(images).roll(1, dims=1)

    monkeypatch.setattr(backends, "compiled", wrong)
    with pytest.raises(UserError, match=r"in 0\.0% of 18 cases, less than 95%"):
        evaluated(convolutional(), tmp_path, backend="openvino")
    assert not list((tmp_path / "answers").glob("*.jsonl"))


def test_the_journal_keeps_a_check(tmp_path):
    assert journal.once(tmp_path, "checks", {"a": 1}, lambda: {"x": 1}) == {"x": 1}
    assert journal.once(tmp_path, "checks", {"a": 1}, lambda: {"x": 2}) == {"x": 1}
