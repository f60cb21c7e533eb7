"""Steps of training: no image left out, none alone, and an address that knows every module that computes."""

import types

import torch

from blurnb.recognition import models
from blurnb.study import draws, training
from blurnb.study.recipes import Recipe


def test_shares_of_a_batch_cover_it_and_leave_none_empty():
    for world in (1, 2, 3):
        for count in range(2 * world, 40):
            recipe = Recipe(batch=6)
            shares = [training.order(count, recipe, 0, rank, world) for rank in range(world)]
            assert len({len(share) for share in shares}) == 1
            assert sorted(i for share in shares for part in share for i in part) == list(range(count))
            assert all(part for share in shares for part in share)


def test_the_versions_are_those_of_all_that_computes():
    body = models.load("vgg_mini", "none", 4).body
    found = training.versions(body, draws)
    assert found["study.draws"] == draws.VERSION
    assert found["study.training"] == training.VERSION
    for module in training.BLURRING:
        assert (module.__name__.removeprefix("blurnb.") in found) == hasattr(module, "VERSION")


def test_the_module_that_defines_a_network_brings_its_version(monkeypatch):
    own = types.ModuleType("own")
    own.VERSION = 7
    monkeypatch.setitem(training.sys.modules, "own", own)
    body = type("Body", (torch.nn.Module,), {"__module__": "own"})()
    assert training.versions(body)["own"] == 7
    assert "torch.nn.modules.linear" not in training.versions(torch.nn.Linear(1, 1))
