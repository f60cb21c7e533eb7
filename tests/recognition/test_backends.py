"""Backends: the answers of torch, faster, for images of any size; held to them before they are used."""

import importlib.util
import sys

import pytest
import torch
from test_evaluation import PLAIN, convolutional, photographs
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import backends, models
from blurnb.study import evaluation, stores

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="NOT TESTED: openvino is not installed (the openvino extra)"
)


def evaluated(network, store, **options):
    return evaluation.evaluate(network, photographs(), ["sharp", "D8"], ["48", "64"], PLAIN, store=store, **options)


@needs_openvino
def test_openvino_gives_the_scores_of_torch_at_every_size():
    network = convolutional()
    quick = backends.compiled(network, "openvino", "float32", "cpu")
    with torch.inference_mode():
        for shape in ((1, 3, 40, 56), (5, 3, 64, 48), (2, 3, 256, 300)):
            images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
            assert torch.allclose(quick(images), network(images), atol=1e-3, rtol=1e-4)


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


def test_an_accuracy_out_of_its_interval_ends_the_run_too():
    check = {"answers": 1000, "agreement": 0.96, "top1": 0.46, "top1_float32": 0.5}
    check["top1_float32_interval"] = [0.469, 0.531]
    with pytest.raises(UserError, match=r"from 50\.0% to 46\.0% of 1000 answers"):
        evaluation._demand_agreement(check, "openvino", "small")
    evaluation._demand_agreement(check | {"top1": 0.47}, "openvino", "small")


@needs_openvino
def test_what_cannot_be_compiled_is_said_in_a_line():
    class Stubborn(nn.Module):
        def forward(self, images):
            raise RuntimeError("no")

    with pytest.raises(UserError, match="OpenVINO cannot compile stubborn"):
        backends.compiled(models.Network("stubborn", Stubborn(), 7), "openvino", "float32", "cpu")
    with pytest.raises(UserError, match="one for each scale"):
        backends.compiled(models.PerScale({64: convolutional()}), "openvino", "float32", "cpu")
    with pytest.raises(UserError, match="not on cuda"):
        backends.compiled(convolutional(), "openvino", "float32", "cuda")


def test_a_missing_package_and_a_wrong_name_are_said_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"pip install 'blurnb\[openvino\]'"):
        backends.compiled(convolutional(), "openvino", "float32", "cpu")
    with pytest.raises(UserError, match="'fast' is unknown; use eager, openvino"):
        backends.compiled(convolutional(), "fast", "float32", "cpu")


def test_the_journal_keeps_a_check(tmp_path):
    assert stores.once(tmp_path, "checks", {"a": 1}, lambda: {"x": 1}) == {"x": 1}
    assert stores.once(tmp_path, "checks", {"a": 1}, lambda: {"x": 2}) == {"x": 1}
