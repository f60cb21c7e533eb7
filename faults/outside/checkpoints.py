"""Checkpoints whose numbers are not what they look like: refused by name, whatever form the file has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import safetensors.torch
import torch

from blurnb.recognition import models

from ..disturb import folder
from ..inputs import tried
from ..ledger import Ledger

STRANGE = {
    "float8": lambda v: v.to(torch.float8_e4m3fn),
    "int8": lambda v: (10 * v).to(torch.int8),
    "int64": lambda v: v.long(),
    "bool": lambda v: v > 0,
    "complex": lambda v: v.to(torch.complex64),
    "sparse": lambda v: v.to_sparse(),
    "meta": lambda v: v.to("meta"),
    "quantized": lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8),
    "double beyond": lambda v: v.double() * 1e300,
    "nested": lambda v: torch.nested.nested_tensor([v, v]),
}
"""What may stand where a float tensor belongs."""


def spoil(state: dict, name: str, kind: str, path: Path) -> bool:
    """Save the state with the tensor `name` of another kind; False where the form of file cannot hold it."""
    state = {**state, name: STRANGE[kind](state[name])}
    if path.suffix == ".pt":
        torch.save(state, path)
        return True
    try:
        safetensors.torch.save_file({k: v.clone() for k, v in state.items()}, path)
    except Exception:
        return False
    return True


def strange(ledger: Ledger, brief: bool) -> None:
    with folder() as place:
        for kind in list(STRANGE)[: 2 if brief else None]:
            for suffix in (".pt", ".safetensors"):
                tried(ledger, "checkpoint of other numbers", partial(_read, place, kind, suffix), must="refused")


def _read(place: Path, kind: str, suffix: str) -> None:
    from blurnb.errors import UserError

    state, path = models.load("vgg_mini", "none", 4).body.state_dict(), place / f"net {kind}{suffix}"
    name = next(name for name, value in state.items() if value.ndim > 1)
    if not spoil(state, name, kind, path):
        raise UserError("no such file can be")
    models.load("vgg_mini", str(path), 4)


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    return {"checkpoints": partial(strange, brief=brief)}
