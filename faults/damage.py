"""Files that were kept are flipped, cut, zeroed and mixed up: read as they were, or refused, never read wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from blurnb import records
from blurnb.errors import UserError
from blurnb.recognition import models
from blurnb.study import journal, stores

from .disturb import expect_one_line, folder, settled, undisturbed
from .jobs import JOBS, told
from .ledger import Ledger
from .processes import dying, forked


def flip(data: bytes, place: int, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(data: bytes, place: int, draw: random.Random) -> bytes:
    return data[:place]


def zero(data: bytes, place: int, draw: random.Random) -> bytes:
    length = min(len(data) - place, draw.choice([1, 16, 512]))
    return data[:place] + bytes(length) + data[place + length :]


def doubled(data: bytes, place: int, draw: random.Random) -> bytes:
    return data[:place] + data[max(0, place - 64) : place] + data[place:]


WAYS = (flip, cut, zero, doubled)
KINDS = {  # what is kept -> where it lies in the folder of a job that is done
    "record": "out/rq*.csv",
    "manifest": "out/rq*.json",
    "answers": "cache/answers/*.jsonl",
    "once": "cache/layers/*.json",
    "weights": "cache/networks/*/weights.safetensors",
    "weights' manifest": "cache/networks/*/manifest.json",
}


def rerun(ledger: Ledger, per_kind: int, draw: random.Random) -> None:
    """Damage one kept file of a finished chapter and run it again; a refusal is answered as it says."""
    expected, _ = undisturbed("training")
    with folder() as whole:
        forked(partial(JOBS["training"], whole))
        for kind, pattern in KINDS.items():
            for region in range(per_kind):
                with folder() as place:
                    shutil.copytree(whole, place, dirs_exist_ok=True)
                    file = draw.choice(sorted(place.glob(pattern)))
                    data = file.read_bytes()
                    where = (region * len(data) // per_kind) + draw.randrange(max(1, len(data) // per_kind))
                    way = WAYS[region % len(WAYS)]
                    file.write_bytes(way(data, min(where, len(data) - 1), draw))
                    fault = f"damaged {kind}, {way.__name__} at {where} of {len(data)}"
                    ledger.faults[f"damaged {kind}"] += 1
                    outcome = forked(partial(JOBS["training"], place))
                    expect_one_line(ledger, outcome, fault, names=file.stem)
                    if outcome.kind == "refused":  # "delete both and run again"
                        for one in place.glob("out/rq*"):
                            one.unlink()
                    settled(ledger, "training", place, expected, fault)


def checkpoints(ledger: Ledger, count: int, draw: random.Random) -> None:
    """A run is killed in the middle, its checkpoint damaged, and the run goes on."""
    expected, _ = undisturbed("training")
    with folder() as half:
        forked(dying(partial(JOBS["training"], half), "replace", 3, after=True))
        (file,) = half.glob("cache/networks/*/checkpoint.pt")
        for region in range(count):
            with folder() as place:
                shutil.copytree(half, place, dirs_exist_ok=True)
                data = file.read_bytes()
                way, where = WAYS[region % len(WAYS)], draw.randrange(len(data))
                (place / file.relative_to(half)).write_bytes(way(data, where, draw))
                ledger.faults["damaged checkpoint"] += 1
                settled(ledger, "training", place, expected, f"damaged checkpoint, {way.__name__} at {where}")


def readings(ledger: Ledger, per_file: int, draw: random.Random) -> None:
    """Every region of every kept file, by every way of damage, read as the package reads it."""
    with folder() as place:
        forked(partial(JOBS["training"], place))
        for kind, pattern in KINDS.items():
            for file in sorted(place.glob(pattern))[:2]:
                outcome = forked(partial(_read_all, file, READERS[kind], per_file, draw.random()))
                ledger.faults[f"damaged {kind}"] += per_file
                if outcome.kind != "done":
                    kind_of = "wrong numbers" if "read wrong" in outcome.text else "tracebacks"
                    ledger.failed(kind_of, f"damaged {kind} {file.name}: {outcome.text[-1200:]}")


def _read_all(file: Path, read: Callable[[Path], object], count: int, seed: float) -> None:
    draw, data, whole = random.Random(seed), file.read_bytes(), read(file)
    try:
        for number in range(count):
            way = WAYS[number % len(WAYS)]
            where = min(number * len(data) // count + draw.randrange(1 + len(data) // count), len(data) - 1)
            file.write_bytes(way(data, where, draw))
            try:
                found = read(file)
            except UserError as error:
                if "\n" in str(error):
                    raise AssertionError(f"more than one line: {error}") from error
                continue
            if not _agrees(found, whole):
                raise AssertionError(f"read wrong after {way.__name__} at {where} of {len(data)}")
    finally:
        file.write_bytes(data)


def _agrees(found: object, whole: object) -> bool:
    """Whether what was read is right: the same, or (answers, kept results) some of it and nothing else."""
    if found is None or found == whole:
        return True
    if not (isinstance(found, dict) and isinstance(whole, dict)):
        return False
    answered = [(image, answers) for image, answers in found.items() if isinstance(answers, dict)]
    return all(image in whole and answers.items() <= whole[image].items() for image, answers in answered)


def _records(file: Path) -> list:
    frame, notes = records.read(file.with_suffix(".csv"), with_manifests=True)
    stated = ("decided", "rows", "sha256")
    unsealed = {run: {name: one[name] for name in stated if name in one} for run, one in notes.items()}
    return [frame.to_csv(), json.dumps(unsealed, sort_keys=True)]


def _once(file: Path) -> object:
    kept = stores.read_result(file)
    return kept if kept is None else json.dumps(kept)


def _network(file: Path) -> object:
    about = file.with_name("manifest.json")
    if about not in FACTS:  # first of all it is read whole
        FACTS[about] = json.loads(about.read_text())["facts"]
    told_of = stores.read_manifest(file.with_name("weights.safetensors"), about, FACTS[about])
    return None if told_of is None else json.dumps(told_of, sort_keys=True)


FACTS: dict[Path, dict] = {}
READERS = {
    "record": _records, "manifest": _records, "answers": journal.read, "once": _once, "weights": _network,
    "weights' manifest": _network,
}  # fmt: skip


def users_weights(ledger: Ledger, count: int, draw: random.Random) -> None:
    """A checkpoint of the user's own, cut and overwritten: loaded whole or refused in one line."""
    import torch

    def attempt(place: Path, suffix: str, seed: float) -> None:
        rng = random.Random(seed)
        network = models.load("vgg_mini", "none", 4)
        file = place / f"net{suffix}"
        if suffix == ".pt":
            torch.save(network.body.state_dict(), file)
        else:
            import safetensors.torch

            safetensors.torch.save_file({k: v.contiguous() for k, v in network.body.state_dict().items()}, file)
        data = file.read_bytes()
        for number in range(count):
            where = number * min(len(data), 40_000) // count  # the head, where the structure is
            file.write_bytes((cut if number % 2 else zero)(data, where, rng))
            try:
                models.load("vgg_mini", str(file), 4)
            except UserError as error:
                if "\n" in str(error) or "net" not in str(error):
                    raise AssertionError(str(error)) from error

    with folder() as place:
        for suffix in (".pt", ".safetensors"):
            ledger.faults["damaged checkpoint of the user's"] += count
            outcome = forked(partial(attempt, place, suffix, draw.random()))
            if outcome.kind != "done":
                ledger.failed("tracebacks", f"damaged {suffix}: {outcome.kind} {outcome.text[-1200:]}")


def between_renames(ledger: Ledger) -> None:
    """Everything is read while it is being written: a reader sees one state or the next, never half of both."""
    with folder() as place:
        JOB = partial(JOBS["record writing"], place)
        outcome = forked(JOB)
        path = place / "out" / "rq1.csv"
        writer = os.fork()
        if writer == 0:
            for _ in range(4):
                forked(JOB)
            os._exit(0)

        def look() -> None:
            for _ in range(40):
                if len(records.read(path)) != 240:
                    raise AssertionError("read wrong")

        ledger.faults["read while it is written"] += 40
        outcome = forked(look)
        os.waitpid(writer, 0)
        if outcome.kind != "done":
            ledger.failed("tracebacks", f"read while it is written: {outcome.text[-800:]}")
        if len(told(place)) != 248:
            ledger.failed("lost records", "read while it is written")
