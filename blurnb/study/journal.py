"""Finished answers, kept under the address of what decided them: computed once, never lost, never half read.

A journal is a file of lines. A line holds one image's answers as JSON and the CRC of that JSON, so a line torn by
a crash, or damaged on disk, is passed over and its image computed again. Several processes may append at once.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from blurnb import files, provenance
from blurnb.errors import UserError


def path_for(store: str | Path, facts: Mapping) -> Path:
    """The journal of a run; what decides its numbers is written beside it once, for people.

    Raises
    ------
    UserError
        Where the store cannot be written.
    """
    path = Path(store) / "answers" / f"{provenance.address(facts)}.jsonl"
    beside = path.with_suffix(".json")
    if not os.path.exists(beside):  # unlike Path.exists, no error for a folder that may not be entered; writing has it
        files.write_whole(beside, json.dumps(facts, indent=1, sort_keys=True) + "\n")
    return path


def read(path: str | Path) -> dict[str, dict[str, list]]:
    """Every whole line: image id -> condition -> answer. An absent journal is an empty one.

    Raises
    ------
    UserError
        For a journal that is there and cannot be read.
    """
    found: dict[str, dict[str, list]] = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                if not _is_whole(line):
                    continue
                image, answers = json.loads(line.rpartition(b"\t")[0])
                found.setdefault(image, {}).update(answers)
    except FileNotFoundError:
        return {}
    except OSError as error:
        way_out = "check its permissions or choose another cache"
        raise UserError(f"cannot read {path}: {error.strerror}; {way_out}") from error
    return found


def add(store: str | Path, facts: Mapping, answers: Mapping[str, Mapping[str, list]]) -> None:
    """Add answers that were computed elsewhere, as far as the store has not got them."""
    path = path_for(store, facts)
    known = read(path)
    new = {image: {c: a for c, a in found.items() if c not in known.get(image, {})} for image, found in answers.items()}
    append(path, ((image, found) for image, found in new.items() if found))


def damaged(path: str | Path) -> int:
    """How many lines are torn or altered; the images that they were about are computed again."""
    with open(path, "rb") as file:
        return sum(not _is_whole(line) for line in file if line.strip())


def _is_whole(line: bytes) -> bool:
    text, _, crc = line.rstrip(b"\n").rpartition(b"\t")
    return bool(text) and line.endswith(b"\n") and crc == b"%08x" % zlib.crc32(text)


def append(path: str | Path, entries: Iterable[tuple[str, Mapping[str, list]]]) -> None:
    """Add one line for each (image id, answers), all in one write.

    Raises
    ------
    UserError
        Where the journal cannot be written.
    """
    lines = []
    for image, answers in entries:
        text = json.dumps([image, answers], separators=(",", ":"), ensure_ascii=False).encode()
        lines.append(b"%b\t%08x\n" % (text, zlib.crc32(text)))
    # One writer at a time: one that looked while another's line was growing would take it for a torn one.
    with files.locked(Path(path)), files.told(path), open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # an earlier crash: do not glue onto its half line
                lines.insert(0, b"\n")
        file.write(b"".join(lines))
