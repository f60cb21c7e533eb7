"""Kept machine code: used when it is what was kept, made anew when it is not, and never needed."""

import importlib.util
import os
import random
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

from blurnb.optics import compilation
from faults.outside.kept_code import SOURCE


@pytest.fixture
def place(tmp_path):
    (tmp_path / "planted_loop.py").write_text(SOURCE)
    return tmp_path


def answered(place: Path) -> bool:
    """Ask a process's first call of the function for its answer; whether the kept code was used."""
    spec = importlib.util.spec_from_file_location("planted_loop", place / "planted_loop.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.doubled(np.arange(5.0)) == 20
    return sum(module.doubled.stats.cache_hits.values()) == 1


def kept(place: Path) -> list[Path]:
    return sorted((place / "__pycache__").glob("planted_loop.doubled*"))


def test_code_is_kept_and_used_again(place):
    assert not answered(place)
    (file,) = kept(place)
    assert answered(place)
    (place / "planted_loop.py").write_text(SOURCE.replace("2 * value", "value + value"))
    assert not answered(place)
    assert file in kept(place)


def test_damaged_code_is_made_anew(place):
    answered(place)
    (file,) = kept(place)
    whole, draw = file.read_bytes(), random.Random(0)
    places = [draw.randrange(len(whole)) for _ in range(4)]
    damaged = [whole[: len(whole) // 2], b"", whole[:-1], whole + b"x", bytes(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in places]
    for content in damaged:
        file.write_bytes(content)
        assert not answered(place)
        assert answered(place)  # it was kept again, whole


def test_code_of_another_numba_is_not_loaded(place, monkeypatch):
    answered(place)
    monkeypatch.setattr(caching.numba, "__version__", "0.0")
    assert not answered(place)
    assert len(kept(place)) == 2


@pytest.mark.parametrize("call", ["replace", "makedirs"])
def test_a_folder_that_cannot_be_written_costs_only_time(place, monkeypatch, call):
    spec = importlib.util.spec_from_file_location("planted_loop", place / "planted_loop.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    assert module.doubled(np.arange(5.0)) == 20
    assert kept(place) == []


def test_without_any_folder_a_function_is_compiled_once_a_process(place, monkeypatch):
    def nowhere(*_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(compilation._Cache, "__init__", nowhere)
    assert not answered(place)
    assert kept(place) == []
