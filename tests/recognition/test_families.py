"""Every family takes its networks apart as it says, and a new one is a file and a name."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import families, models, zoomout
from blurnb.recognition.models import Network

PACKAGE = Path(families.__file__).parents[2]


class Tiny(nn.Module):
    """Two convolutions, a norm, and a linear layer after a global mean."""

    def __init__(self, classes: int = 4):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.deep = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        return self.head(torch.relu(self.deep(torch.relu(self.norm(self.stem(images))))).mean((2, 3)))


def test_layers_of_other_networks():
    assert list(models.activations(Network("tiny", Tiny(), 4))) == ["stem", "deep", "head"]
    mini = models.activations(models.load("vgg_mini", "none", 5))
    assert list(mini) == [
        "conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2", "fc6", "fc7", "fc8",
    ]  # fmt: skip


@pytest.mark.parametrize("name, count", [("vgg16_64", 6), ("vgg_mini", 6), ("efficientnet_lite0", 6), ("resnet18", 7)])
def test_blocks_cut_a_network_into_disjoint_parts_that_cover_it(name, count):
    network = models.load(name, "none", 4)
    blocks = models.blocks(network)
    assert len(blocks) == count
    parameters = [id(p) for block in blocks for module in block for p in module.parameters()]
    assert len(parameters) == len(set(parameters))
    assert set(parameters) == {id(p) for p in network.parameters()}
    order = [id(p) for p in network.parameters()]
    assert [order.index(p) for p in parameters] == sorted(order.index(p) for p in parameters)  # shallow to deep


@pytest.mark.parametrize("name", ["vgg16_64", "vgg_mini", "efficientnet_lite0", "resnet18"])
def test_every_named_activation_is_seen_when_the_network_answers(name):
    network = models.load(name, "none", 4)
    named, seen = models.activations(network), {}
    for layer, module in named.items():
        module.register_forward_hook(lambda _, __, output, layer=layer: seen.__setitem__(layer, output))
    scores = network(torch.rand(2, 3, 64, 64))
    assert list(named)
    assert set(seen) == set(named)
    if name.startswith("vgg"):
        assert list(named)[-1] == "fc8"
        assert torch.equal(seen["fc8"].flatten(2).mean(2), scores)


def clear():
    for found in (families.homes, families.names, families.weights, families.find):
        found.cache_clear()


@pytest.fixture
def planted(monkeypatch):
    """A family as a file in families/ would be."""
    module = ModuleType(f"{families.__name__}.planted")
    module.VERSION = 7
    module.NETWORKS = {
        "planted": families.Family(
            lambda class_count, weights: Tiny(class_count),
            ("small", "none"),
            mean=(0.5,) * 3,
            activations=lambda body: {"low": body.stem, "high": body.norm, "whole": body.deep},
            levels=lambda names: ([name for name in names if name != "whole"], "whole"),
        )
    }
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(families, "MODULES", (*families.MODULES, "planted"))
    clear()
    yield module
    monkeypatch.undo()
    clear()


def test_a_new_family_is_one_file_and_one_name(planted):
    network = models.load("planted", "small", 5)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    assert network.mean.flatten().tolist() == [0.5] * 3
    assert "planted" in models.names()
    assert families.version("planted") == {"recognition.families": 1, "recognition.families.planted": 7}
    assert models.levels(network) == (["low", "high"], "whole")
    seen = zoomout.Zoomout(network, class_count=3, hidden=4)
    assert seen(torch.rand(1, 3, 40, 48)).shape == (1, 3, 40, 48)
    with pytest.raises(UserError, match="weights 'small' do not exist for vgg_mini; use none"):
        models.load("vgg_mini", "small", 5)
    with pytest.raises(UserError, match="one of the families efficientnet, planted, vgg, vgg_mini"):
        models.levels(models.load("resnet18", "none", 5))


def test_a_network_that_is_not_ours_goes_by_its_modules_whatever_it_is_called():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
    network = Network("vgg of mine.pt", body, 5)
    assert models.activations(network) == {"0": body[1], "2": body[2]}
    with pytest.raises(UserError, match="no zoomout levels"):
        models.levels(network)


def test_every_name_has_the_version_of_the_code_that_builds_it():
    here = {"recognition.families": families.VERSION}
    vgg = here | {"recognition.families.vgg": families.homes()["vgg16"].VERSION}
    assert families.version("vgg16") == vgg
    assert families.version("vgg_mini") == vgg | {"recognition.families.vgg_mini": 1}  # it takes VGG's parts
    assert families.version("resnet34") == families.version("of my own") == here
    assert families.version("resnet18") == here | {"recognition.families.compressed": 1}
    assert {"vgg16", "vgg19_bn", "vgg16_64", "vgg_mini", "efficientnet_lite0"} <= set(families.homes())


def test_nobody_reads_a_family_off_a_name():
    asked = re.compile(r"""startswith\(\(?["'](vgg|efficientnet)""")
    assert asked.search("name.startswith('vgg')")
    assert asked.search('n.startswith(("vgg", "x"))')
    assert [str(file) for file in PACKAGE.rglob("*.py") if asked.search(file.read_text())] == []
