"""Every parameter of every chapter: what is given is used, or refused by name; and what is typed is read as written."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from blurnb.errors import UserError
from blurnb.study import chapters, values

from ..disturb import ROOT
from ..inputs import tried
from ..ledger import Ledger

SETS = {
    "small images": {"dataset": "scenes", "network": "vgg_mini", "weights": "none", "scales": "native"},
    "photographs": {"dataset": "imagenet", "network": "resnet18", "weights": "none", "scales": "256"},
    "maps": {"dataset": "voc2012", "network": "vgg16", "weights": "imagenet", "scales": "256"},
    "networks as they are": {"trained": "as-is", "weights": "none"},
    "a network of one's own": {"network": "nets:build", "dataset": "folder", "data_root": "x"},
    "one training": {"mixes": "D8"}, "no first training": {"base_epochs": 0}, "the head alone": {"features": "frozen"},
}  # fmt: skip
OTHERS = [
    "/nonexistent", "0512", "1e3", "0o17", "1:30", "yes", "no", "on", "1_000", "true", "2020-01-01", "zero-pad", "96",
    "512", "0", "1", "2", "0.5", "D8", "sharp,D16", "mix", "sharp", "tv", "vgg16", "scenes", "none", "reflect",
    "circular", "center-crop", "8-bit blur", "noise 0.02", "bf16", "frozen", "adamw", "square", "as-is", "smoke", "~",
    "null", "[1,2]",
]  # fmt: skip
"""What is typed for every parameter, whatever its type."""


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    draw = random.Random(seed)
    found = {"parameters": partial(given, count=20 if brief else 10**6, draw=draw)}
    return found if brief else found | {"effects": effects}


def given(ledger: Ledger, count: int, draw: random.Random) -> None:
    """Every parameter as it may be typed, beside data and networks that have a use for it and that have none."""
    every = [(chapter, name) for chapter in chapters.names() for name in chapters.found(chapter).Parameters.names()]
    for chapter, name in draw.sample(every, min(count, len(every))):
        for among in draw.sample(sorted(SETS), 2):
            tried(ledger, "parameter as typed", partial(_answered, chapter, SETS[among], name), must="done")
            ledger.inputs["parameter as typed"] += len(OTHERS) - 1


def _answered(chapter: str, among: dict, name: str) -> None:
    """What is accepted changes what is checked, or is what it would be anyway; all else is refused by its name."""
    parameters = chapters.found(chapter).Parameters
    beside = {key: value for key, value in among.items() if key in parameters.names() and key != name}
    try:
        before = parameters.validate(beside)
    except UserError:
        return  # these do not go together in this chapter, which the tests of chapters see to
    for text in OTHERS:
        try:
            value = values.spelled(text)
            after = parameters.validate({**beside, name: value})
        except ValueError as error:
            if not isinstance(error, UserError) or "\n" in str(error):
                raise AssertionError(f"{chapter}, {name}={text}: {error!r}") from error
            continue
        idle = after.idle().get(name)
        if after != before and idle:
            raise AssertionError(f"read wrong: {chapter}, {name}={text} is accepted, though {idle}")
        kept = [getattr(one, name) for one in (after, *after.pairs) if name in type(one).model_fields]
        if value is not None and text[:2] == "05" and not any("512" in str(one) for one in kept):
            raise AssertionError(f"read wrong: {chapter}, {name}={text} is {kept}")


def effects(ledger: Ledger) -> None:
    """Each parameter moves a number, a record or a manifest of a real run, or is refused: the project's own table."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "effects.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "tests/test_effects.py"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.is_file() else []
    ledger.inputs["parameter in a run"] += len(cases)
    wrong = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if wrong or not cases:
        ledger.failed(
            "wrong numbers", f"parameters without effect: {wrong[:5]} {done.stdout[-300:]}", max(1, len(wrong))
        )
