"""Backends: the answers of torch, faster, for images of any size; held to them before they are used."""

import importlib.util
import sys

import pytest
import torch
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import backends, models

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="NOT TESTED: openvino is not installed (the openvino extra)"
)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head = nn.Conv2d(3, 8, 5, 2), nn.Linear(8, 7)

    def forward(self, images):
        return self.head(self.trunk(images).relu().mean((2, 3)))


def convolutional() -> models.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.Network("convolutional", Convolutional(), 7).eval().to(memory_format=torch.channels_last)


@needs_openvino
def test_openvino_gives_the_scores_of_torch_at_every_size():
    network = convolutional()
    quick = backends.compiled(network, "openvino", "float32")
    with torch.inference_mode():
        for shape in ((1, 3, 40, 56), (5, 3, 64, 48), (2, 3, 256, 300)):
            images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
            assert torch.allclose(quick(images), network(images), atol=1e-3, rtol=1e-4)


@needs_openvino
def test_scores_of_another_shape_than_asked_for_are_no_answer():
    quick = backends.compiled(convolutional(), "openvino", "float32")
    quick.model = lambda pixels: [pixels[:, :0, 0, 0]]  # what the plug-in gives for a size that its trace forbids
    with pytest.raises(RuntimeError, match=r"scores of shape \(2, 0\)"):
        quick(torch.rand(2, 3, 40, 40))


def test_an_accuracy_out_of_its_interval_ends_the_run_too():
    check = {"answers": 1000, "agreement": 0.96, "top1": 0.46, "top1_float32": 0.5}
    check["top1_float32_interval"] = [0.469, 0.531]
    with pytest.raises(UserError, match=r"from 50\.0% to 46\.0% of 1000 answers"):
        backends.demand_agreement(check, "openvino", "small")
    backends.demand_agreement(check | {"top1": 0.47}, "openvino", "small")


@needs_openvino
def test_what_cannot_be_compiled_is_said_in_a_line():
    class Stubborn(nn.Module):
        def forward(self, images):
            raise RuntimeError("no")

    with pytest.raises(UserError, match="OpenVINO cannot compile stubborn"):
        backends.compiled(models.Network("stubborn", Stubborn(), 7), "openvino", "float32")


def test_a_missing_package_and_a_wrong_name_are_said_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"pip install 'blurnb\[openvino\]'"):
        backends.compiled(convolutional(), "openvino", "float32")
    with pytest.raises(UserError, match="'fast' is unknown; known: eager, openvino"):
        backends.compiled(convolutional(), "fast", "float32")


def shares(*rows: list[float]):
    """A stand-in for a network: image k, which is filled with k, gets the k-th row."""
    return lambda image: torch.tensor(rows)[[int(image[0, 0, 0, 0])]]


def test_a_comparison_counts_answers_accuracies_and_the_largest_difference():
    cases = [(torch.full((1, 3, 4, 4), float(k)), label) for k, label in enumerate((0, 1, 1))]
    quick = shares([0.9, 0.1], [0.6, 0.4], [0.2, 0.8])
    exact = shares([0.8, 0.2], [0.45, 0.55], [0.2, 0.8])
    found = backends.compared(quick, exact, cases, lambda right, count: (right - 1, count))
    assert found == {
        "answers": 3,
        "agreement": 2 / 3,
        "top1": 2 / 3,
        "top1_float32": 1.0,
        "top1_float32_interval": [2, 3],
        "largest_difference": 0.15,
    }
    nothing = backends.compared(quick, exact, [], lambda right, count: (0, 0))
    assert (nothing["answers"], nothing["top1_float32_interval"]) == (0, [0.0, 1.0])
    backends.demand_agreement(nothing, "openvino", "small")  # nothing seen is nothing wrong


def test_too_little_agreement_ends_the_run():
    check = {"answers": 18, "agreement": 0.9, "top1": 0.5, "top1_float32": 0.5, "top1_float32_interval": [0.3, 0.7]}
    with pytest.raises(UserError, match=r"small's own answer in 90\.0% of 18 cases, less than 95%"):
        backends.demand_agreement(check, "openvino", "small")
