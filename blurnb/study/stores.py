"""What is made once and kept under the address of what decided it: results as JSON, trained weights."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
import torch.distributed as dist

from blurnb import files, provenance
from blurnb.errors import UserError


def once(store: str | Path, kind: str, facts: Mapping, compute: Callable[[], object]) -> object:
    """The JSON result of `compute`, kept whole under the address of `facts`; computed only where it is not there.

    Of two processes that want it at once one computes: measured seconds, say, must not differ between their records.

    Parameters
    ----------
    store, kind : folder of what is kept, and the folder in it for results of this kind.
    facts : what decides the result.

    Raises
    ------
    UserError
        Where the store cannot be written.
    """
    path = Path(store) / kind / f"{provenance.address(facts)}.json"
    if found := read_result(path):
        return found[0]
    with files.locked(path):
        if found := read_result(path):
            return found[0]
        files.forget_unfinished(path)
        result = json.loads(json.dumps(compute()))  # what is returned now equals what is read later
        files.write_whole(path, json.dumps({"facts": facts, "crc": _crc(result), "result": result}) + "\n")
    return result


def read_result(path: Path) -> list | None:
    """[result] where a whole one is kept; None where there is none, or a damaged one."""
    try:
        found = json.loads(path.read_text())
        return [found["result"]] if found["crc"] == _crc(found["result"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _crc(result: object) -> int:
    return zlib.crc32(json.dumps(result, sort_keys=True).encode())


def stored(store: str | Path, decided: Mapping, train: Callable[[Path], tuple[dict, dict]]) -> tuple[Path, dict]:
    """The weights that `decided` describes: found whole in the store, or made once by `train`.

    Parameters
    ----------
    store : folder of what is kept.
    decided : what decides the weights, as JSON.
    train : takes the folder of these weights and returns (state dict, what to note); it may keep a checkpoint.pt
        there, which is removed when the weights are.

    Returns
    -------
    (file of the weights, its manifest)

    Raises
    ------
    UserError
        Where the store cannot be written, or changes while it is read.
    """
    folder = Path(store) / "networks" / provenance.address(decided)
    finished, about = folder / "weights.safetensors", folder / "manifest.json"
    rank, world = joined()
    told = read_manifest(finished, about, decided)
    if not _agreed(told is not None, world):  # what is finished needs no lock: a store that is read-only serves it
        with files.locked(folder / f"process{rank}"):
            told = read_manifest(finished, about, decided)
            if not _agreed(told is not None, world):
                if rank == 0:
                    for name in (finished, about, folder / "checkpoint.pt"):
                        files.forget_unfinished(name)
                state, manifest = train(folder)
                if rank == 0:
                    weights = safetensors.torch.save(state)
                    digest = hashlib.sha256(weights).hexdigest()
                    notes = provenance.sealed({"facts": decided, "sha256": digest, **manifest, "processes": world})
                    files.write_whole(finished, weights)
                    files.write_whole(about, json.dumps(notes, indent=1) + "\n")
                    (folder / "checkpoint.pt").unlink(missing_ok=True)
                if world > 1:
                    dist.barrier()
    told = told or read_manifest(finished, about, decided)  # process 0 may have seen it a moment before this one looked
    if told is None:
        raise UserError(f"{finished} changed while it was read; run again")
    return finished, told | {"weights": str(finished)}


def condition(folder: Path) -> str:
    """Of a training in the store: finished | unfinished | damaged | empty."""
    finished, about = folder / "weights.safetensors", folder / "manifest.json"
    if about.exists():
        return "damaged" if read_manifest(finished, about) is None else "finished"
    return "unfinished" if (folder / "checkpoint.pt").exists() else "empty"


def read_manifest(finished: Path, about: Path, decided: Mapping | None = None) -> dict | None:
    """The manifest in the store; None unless it is whole, of this training (or any), and of the weights beside it."""
    try:
        notes = json.loads(about.read_text())
        address = provenance.address(notes["facts"])
        if not provenance.is_sealed(notes) or decided is not None and address != provenance.address(decided):
            return None
        del notes["seal"]
        return notes if hashlib.sha256(finished.read_bytes()).hexdigest() == notes["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def joined() -> tuple[int, int]:
    """(rank, processes), once the process group that torchrun prepared, if there is one, is joined."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _agreed(answer: bool, world: int) -> bool:
    """Process 0's answer: one that looks a moment later must not sit out a training that the others begin."""
    said = [answer]
    if world > 1:
        dist.broadcast_object_list(said, src=0)
    return said[0]
