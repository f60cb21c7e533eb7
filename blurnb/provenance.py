"""Where a number comes from: addresses of what decided it, the versions, machine and commit around it."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType

from blurnb.errors import UserError

PACKAGES = ("blurnb", "torch", "torchvision", "numpy", "scipy", "numba", "pandas")
REFERENCE = ("book", "records")
"""Folders under which reference records are kept; those are never written from a changed tree."""


def address(facts: Mapping) -> str:
    """Content address of JSON-like `facts`: 12 hex digits that do not depend on the order of keys."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sealed(notes: Mapping) -> dict:
    """`notes` with a digest of themselves: what decided a number must not change unseen either."""
    bare = {name: value for name, value in notes.items() if name != "seal"}
    return {**bare, "seal": hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()[:16]}


def is_sealed(notes: Mapping) -> bool:
    """Whether the seal is there and is that of the rest."""
    return "seal" in notes and sealed(notes) == dict(notes)


def versions(*modules: ModuleType) -> dict[str, int]:
    """{module: its VERSION}, for what is hashed: a change of any of them makes new numbers."""
    return {module.__name__.removeprefix("blurnb."): module.VERSION for module in modules}


def all_versions() -> dict[str, int]:
    """{file of the package: its VERSION}, of all that have one; nothing is imported."""
    here, stated = Path(__file__).parent, re.compile(r"^VERSION = (\d+)\b", re.MULTILINE)
    found = {one: stated.search(one.read_text()) for one in here.rglob("*.py")}
    return {str(one.relative_to(here)): int(version[1]) for one, version in found.items() if version}


def manifest(decided: Mapping, **circumstances) -> dict:
    """What decided a run's numbers, and what surrounded it: packages, machine, commit, date, `circumstances`."""
    return {
        "decided": dict(decided),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        "machine": {"system": platform.system(), "architecture": platform.machine(), "processors": os.cpu_count()},
        "git_commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **circumstances,
    }


def commit() -> str:
    """The commit of the package's repository, ``-dirty`` where files other than records differ from it."""
    here = Path(__file__).resolve().parent
    if not (named := _git(here, "describe", "--always", "--abbrev=12", "--exclude", "*")):
        return "unknown"
    but_records = f":(top,exclude){'/'.join(REFERENCE)}"
    changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", ":/", but_records)
    return f"{named}-dirty" if changed else named


def demand_clean(folder: str | Path) -> None:
    """Raise UserError where reference records would be written from a tree with changes that no commit holds."""
    parts = Path(folder).resolve().parts
    if REFERENCE in zip(parts, parts[1:]) and commit().endswith("-dirty"):
        why = "the working tree has changes that no commit holds"
        raise UserError(f"{folder} holds reference records, and {why}; commit them first, or choose another output_dir")


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
