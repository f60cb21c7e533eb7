"""The examples in docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["labels", "intervals", "optics.kernels", "optics.camera"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"blurnb.{name}"))
    assert found.attempted >= 3
    assert found.failed == 0
