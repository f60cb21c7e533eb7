"""Machine code that is kept on disk and damaged there: made anew, never run, never a traceback."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..damage import WAYS
from ..disturb import folder
from ..inputs import tried
from ..ledger import Ledger

SOURCE = """
from blurnb.optics.compilation import compiled

@compiled
def doubled(values):
    total = 0.0
    for value in values:
        total += 2 * value
    return total
"""


def doubled(place: Path) -> None:
    import numpy as np

    spec = importlib.util.spec_from_file_location("kept_loop", place / "kept_loop.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.doubled(np.arange(5.0)) != 20:
        raise AssertionError("read wrong: machine code")


def damaged(ledger: Ledger, count: int, seed: int) -> None:
    draw = random.Random(seed)
    with folder() as place:
        (place / "kept_loop.py").write_text(SOURCE)
        tried(ledger, "machine code that is kept", partial(doubled, place), must="done")
        (file,) = (place / "__pycache__").glob("kept_loop.doubled*")
        for number in range(count):
            data = file.read_bytes()
            where = number * len(data) // count
            file.write_bytes(WAYS[number % len(WAYS)](data, where, draw))
            tried(ledger, "machine code that is kept", partial(doubled, place), must="done")


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    return {"kept code": partial(damaged, count=2 if brief else 40, seed=seed)}
