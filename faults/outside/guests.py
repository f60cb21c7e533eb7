"""Networks that misbehave, each a module of somebody's: refused in one line, or its answers are those of the plain one.

The tests ask each of them once; the campaign does so in a process of its own.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from blurnb.recognition import custom
from blurnb.study.classification import probabilities
from blurnb.study.protocol import Protocol

from ..disturb import folder
from ..inputs import tried
from ..ledger import Ledger

TEMPLATE = """
import os, sys, threading, warnings
import torch
from torch import nn
{head}

class Broken(Exception):
    def __str__(self):
        raise ValueError("no words")

class Odd(BaseException):
    pass

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 2)
        {init}
    def forward(self, images):
        scores = self.head(self.trunk(images).relu().mean((2, 3)))
        {forward}
    {method}

def build():
    {build}
"""


class Case(NamedTuple):
    """`part` of the template that `code` goes into; `must`: refused | done (answers as the plain network does)."""

    part: str
    code: str
    must: str = "refused"


def forward(code: str, must: str = "refused") -> Case:
    return Case("forward", code, must)


LATER = "return scores if images.shape[-1] == 224 else "
CASES = {
    # what it raises
    "value error": forward("raise ValueError('no')"),
    "index error": forward("return scores[:, [7]]"),
    "key error": forward("raise KeyError(('a', 1))"),
    "attribute error": forward("return self.missing"),
    "assertion": forward("assert images.shape[-1] == 3"),
    "not implemented": forward("raise NotImplementedError"),
    "stop iteration": forward("raise StopIteration"),
    "generator exit": forward("raise GeneratorExit"),
    "exit": forward("sys.exit(0)"),
    "exit with words": forward("sys.exit('bye')"),
    "an exception of no kind": forward("raise Odd('odd')"),
    "an exception without words": forward("raise Broken"),
    "an exception of many lines": forward("raise RuntimeError('a\\nb\\n' + 'c' * 5000)"),
    "terminal codes": forward("raise RuntimeError('\\x1b[31m\\x07')"),
    "endless recursion": forward("return self(images)"),
    "all memory": forward("return torch.empty(10**14)"),
    "a gradient": forward("scores.sum().backward(); return scores"),
    "float64 alone": forward("return images @ torch.ones(images.shape[-1], 2, dtype=torch.float64)"),
    # what it returns
    "tuple": forward("return scores, images"),
    "dict": forward("return {'logits': scores}"),
    "none": forward("return None"),
    "list": forward("return scores.tolist()"),
    "array": forward("return scores.numpy()"),
    "number": forward("return 0.5"),
    "words": forward("return 'cat'"),
    "generator": forward("return (row for row in scores)"),
    "class": forward("return Net"),
    "integers": forward("return (100 * scores).long()"),
    "truths": forward("return scores > 0"),
    "complex": forward("return torch.complex(scores, scores)"),
    "nan": forward("return scores / 0 * 0"),
    "infinite": forward("return scores / 0"),
    "meta": forward("return scores.to('meta')"),
    "sparse": forward("return scores.to_sparse()"),
    "quantized": forward("return torch.quantize_per_tensor(scores, 0.1, 0, torch.qint8)"),
    "nested": forward("return torch.nested.nested_tensor(list(scores))"),
    "one class": forward("return scores[:, :1]"),
    "no class": forward("return scores[:, :0]"),
    "no batch": forward("return scores[0]"),
    "three dimensions": forward("return scores[..., None]"),
    "five dimensions": forward("return scores[..., None, None, None]"),
    "transposed": forward("return scores.T"),
    "the first alone": forward("return scores[:1]"),
    "one too many": forward("return torch.cat([scores, scores[:1]])"),
    "no places": forward("return scores[..., None, None][..., :0]"),
    "three classes": forward("return torch.cat([scores, scores[:, :1]], 1)"),
    "probabilities": forward("return scores.softmax(1)"),
    # what its answer depends on
    "dropout": forward("return nn.functional.dropout(scores, 0.5)"),
    "hidden dropout": forward("return self.head(nn.functional.dropout(self.trunk(images).relu().mean((2, 3))))"),
    "noise": forward("return scores + 0.1 * torch.randn_like(scores)"),
    "batch norm in training": forward("return nn.functional.batch_norm(scores, None, None, training=True)"),
    "batch statistics": Case("init", "self.head.add_module('n', nn.Identity()); self.trunk = nn.Sequential(self.trunk, "
                             "nn.BatchNorm2d(8, track_running_stats=False))"),
    "the mean of the batch": forward("return scores - scores.mean(0)"),
    "attention over the batch": forward("return (scores @ scores.T).softmax(1) @ scores"),
    "the first for all": forward("return scores[:1].expand_as(scores)"),
    "in another order": forward("return scores[images.mean((1, 2, 3)).argsort()]"),
    "a counter": forward("self.calls = getattr(self, 'calls', 0) + 1; return scores * self.calls"),
    "an average over calls": forward("self.kept = 0.9 * getattr(self, 'kept', 0) + scores.mean(); "
                                     "return scores + self.kept"),
    "weights that drift": forward("self.head.weight.mul_(1 + 1e-6); return scores"),
    "training mode": Case("init", "self.norm = nn.BatchNorm2d(3); self.norm.eval = self.norm.train = lambda *_: "
                          "self.norm; self.trunk = nn.Sequential(self.norm, self.trunk)"),
    # what it does at other sizes
    "other sizes raise": forward(LATER + "scores[:, [9]]"),
    "other sizes exit": forward(LATER + "sys.exit(0)"),
    "other sizes more classes": forward(LATER + "torch.cat([scores, scores], 1)"),
    "other sizes a tuple": forward(LATER + "(scores,)"),
    "other sizes nan": forward(LATER + "scores * float('nan')"),
    "other sizes complex": forward(LATER + "scores * 1j"),
    "one size alone": Case("init", "self.trunk = nn.Sequential(nn.Conv2d(3, 8, 32, 32), nn.Flatten(), "
                           "nn.Linear(392, 8), nn.Unflatten(1, (8, 1, 1)))"),
    # what happens before
    "import exits": Case("head", "sys.exit(0)"),
    "import raises": Case("head", "raise Exception"),
    "import recurses": Case("head", "f = lambda: f()\nf()"),
    "no syntax": Case("head", "def ("),
    "no text": Case("head", "\x00"),
    "build exits": Case("build", "os._exit if False else sys.exit()"),
    "build raises": Case("build", "raise Odd"),
    "build nothing": Case("build", "return None"),
    "build a class": Case("build", "return Net"),
    "build a function": Case("build", "return lambda images: images"),
    "half a module": Case("build", "return Net.__new__(Net)"),
    "no evaluation mode": Case("method", "def train(self, mode=True): raise RuntimeError('always')"),
    "no state": Case("method", "def state_dict(self, *a, **k): raise RuntimeError('none')"),
    "odd state": Case("method", "def get_extra_state(self): return {'a': 1}"),
    "meta weights": Case("build", "return Net().to('meta')"),
    "sparse weights": Case("init", "self.register_buffer('s', torch.eye(3).to_sparse())"),
    # what does no harm
    "as it should be": forward("return scores", "done"),
    "in place": forward("images.fill_(0); return scores", "done"),
    "its own room": forward("self.room = getattr(self, 'room', None) if getattr(self, 'room', scores[:0]).shape == "
                            "scores.shape else torch.empty_like(scores); self.room.copy_(scores); return self.room",
                            "done"),
    "double": forward("return scores.double()", "done"),
    "places": forward("return scores[..., None, None].expand(-1, -1, 2, 3)", "done"),
    "threads": forward("got = []; one = threading.Thread(target=lambda: got.append(1)); one.start(); one.join(); "
                       "return scores", "done"),
    "gradients": forward("torch.set_grad_enabled(True); return scores", "done"),
    "another folder": Case("head", "os.chdir('/')", "done"),
    "another default": forward("torch.set_default_dtype(torch.float64); return scores", "done"),
    "another device": Case("build", "made = Net(); torch.set_default_device('meta'); return made", "done"),
    "warnings": forward("warnings.warn('beware'); return scores", "done"),
}  # fmt: skip

PARTS = {"head": "", "init": "pass", "forward": "return scores", "method": "pass", "build": "return Net()"}


def written(place: Path, name: str) -> str:
    """Write the case as a module into `place`; returns the source that names it, MODULE:build."""
    module = f"guest_{'_'.join(name.split())}"
    one = CASES[name]
    (place / f"{module}.py").write_text(TEMPLATE.format(**PARTS | {one.part: one.code}))
    return f"{module}:build"


def asked(place: Path, name: str) -> None:
    """Load the case and ask it at two sizes as an evaluation does: UserError, or the plain network's answers."""
    before = os.getcwd(), torch.get_default_dtype(), torch.get_default_device()
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    try:
        plain, found = ([], [])
        for one, told in (("as it should be", plain), (name, found)):
            network = custom.load(written(place, one), class_count=2)
            for side in (40, 224, 56):
                images = torch.rand(3, 3, side, side + 8, generator=torch.Generator().manual_seed(side))
                with torch.inference_mode():
                    told.append(probabilities(network, images, side, Protocol()))
        if not all(torch.allclose(one, other, atol=1e-5) for one, other in zip(plain, found)):
            raise AssertionError(f"read wrong: {name}")
    finally:
        sys.path.remove(str(place))
        if before != (os.getcwd(), torch.get_default_dtype(), torch.get_default_device()):
            raise AssertionError(f"{name} has changed what holds for everybody")


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    return {"guests": partial(misbehaving, step=8 if brief else 1)}


def misbehaving(ledger: Ledger, step: int = 1) -> None:
    with folder() as place:
        for name in list(CASES)[::step]:
            named = f"guest_{'_'.join(name.split())}" if CASES[name].must == "refused" else ""
            tried(ledger, "network that misbehaves", partial(asked, place, name), names=named, must=CASES[name].must)
