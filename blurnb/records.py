"""The seam between computing and telling: one row is one number, in plain CSV, with a manifest beside it.

``rq1.csv`` holds the rows, ``rq1.json`` one manifest for each `run_id` in it: everything that decided its
numbers, the machine that made them, and a digest of the rows, so that a half-written, edited or mixed-up
file is noticed when it is read and not when it is cited.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pandas as pd
from filelock import FileLock

from blurnb.errors import UserError

TEXT = ("question", "dataset", "network", "training", "scale", "blur", "view", "metric")
NUMBERS = ("value", "ci_low", "ci_high")
COLUMNS = (*TEXT, *NUMBERS, "n", "seed", "profile", "run_id")
KEY = (*TEXT, "seed", "profile", "run_id")

METRICS = {
    "top1": "share of images whose most probable class is the true one",
    "top5": "share of images whose true class is among the five most probable",
    "entropy": "mean entropy of the class probabilities, nats",
    "p_true": "mean probability of the true class",
    "confidence": "mean probability of the answer given",
    "ece": "expected calibration error, 15 equal-width bins",
    "spread": "standard deviation of a kernel, frame pixels, root mean square over axes and images",
    "miou": "mean intersection over union, one confusion matrix over the set",
    "iou": "intersection over union of one class, named in `view`",
    "pixel_accuracy": "share of labelled pixels answered right",
    "psnr": "mean peak signal-to-noise ratio, dB",
    "seconds": "seconds per image",
    "images_per_second": "images a second, all channels",
    "largest_error": "largest difference from float64 over one image, levels of 8 bits",
    "megabytes": "peak resident memory of the process, MB",
    "cosine": "mean cosine similarity of a layer's activations, image against twin",
    "cka": "linear centred kernel alignment of a layer's activations, images against twins",
    "top1_change": "paired difference in top1 from the condition that `view` names after 'vs'",
    "top5_change": "paired difference in top5 from the condition that `view` names after 'vs'",
    "entropy_change": "paired difference in entropy from the condition that `view` names after 'vs'",
    "miou_change": "paired difference in miou from the condition that `view` names after 'vs'",
    "agreement": "share of images given the same most probable class as in the condition that `view` names after 'vs'",
    "mcnemar_p": "exact McNemar p-value of the paired top1 difference that `view` names",
}

PACKAGES = ("blurnb", "torch", "torchvision", "numpy", "scipy", "numba", "pandas")


def address(facts: Mapping) -> str:
    """Content address of JSON-like `facts`: 12 hex digits that do not depend on the order of keys."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def row(**fields) -> dict:
    """One record; fields without meaning for its metric stay empty (text) or NaN (interval)."""
    unknown = set(fields) - set(COLUMNS)
    if unknown:
        raise UserError(f"record field {sorted(unknown)[0]!r} is unknown; the fields are {', '.join(COLUMNS)}")
    blank = (
        dict.fromkeys(TEXT, "") | dict.fromkeys(NUMBERS, math.nan) | {"n": 0, "seed": 0, "profile": "", "run_id": ""}
    )
    return blank | fields


def table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """The rows as a checked frame in canonical order, whatever order they were computed in."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    for column in (*TEXT, "profile", "run_id"):
        frame[column] = frame[column].astype(str)
    for column in NUMBERS:
        frame[column] = frame[column].astype("float64")
    for column in ("n", "seed"):
        frame[column] = frame[column].astype("int64")
    unknown = sorted(set(frame["metric"]) - set(METRICS))
    if unknown:
        raise UserError(f"metric {unknown[0]!r} is not one that records may hold: {', '.join(METRICS)}")
    again = frame[frame.duplicated(list(KEY))]
    if len(again):
        first = frame.drop_duplicates(list(KEY)).set_index(list(KEY))
        for one, kept in zip(again.itertuples(), first.loc[again.set_index(list(KEY)).index].itertuples()):
            if one.n != kept.n or not _agree(one.metric, one.value, kept.value, one.n):
                raise UserError(
                    f"two different values for one record ({one.question}, {one.network}, {one.scale}, {one.blur}, "
                    f"{one.metric}, run {one.run_id}: {kept.value:g}, {one.value:g}); they cannot both be true, "
                    "remove the wrong file"
                )
    return frame.drop_duplicates(list(KEY)).sort_values(list(KEY), kind="stable").reset_index(drop=True)


def _agree(metric: str, one: float, other: float, n: int) -> bool:
    """Whether two computations of one number may differ by the order of their sums (batch, threads, machine) alone.

    That changes the answers to an image or two of n, and other means by a thousandth; the first one stays.
    """
    if metric == "mcnemar_p" or (math.isnan(one) and math.isnan(other)):  # derived from the answers, steep in them
        return True
    return abs(one - other) <= max(2 / max(n, 1), 1e-3 * abs(other))


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def _digests(frame: pd.DataFrame) -> dict[str, dict]:
    return {
        run_id: {"rows": len(part), "sha256": hashlib.sha256(_csv(part).encode()).hexdigest()}
        for run_id, part in frame.groupby("run_id", sort=True)
    }


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: to a temporary neighbour, to disk, then into place."""
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
        _put(handle, content)
        os.replace(name, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space or choose another folder for it"
        ) from error
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock under which all processes write `path`; a killed one lets go of it."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}; free some space or choose another "
            "folder (output_dir, BLURNB_CACHE)"
        ) from error
    try:
        yield
    finally:
        lock.release()


def forget_unfinished(path: Path) -> None:
    """Remove what killed processes left of `path`; the caller holds the lock under which all write it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        left.unlink(missing_ok=True)


def _put(handle: int, content: str | bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o644)


def _staged(path: Path) -> Path:
    """Where a file waits until all that belong to it are on disk; `read` looks there after a crash."""
    return path.with_name(f".{path.name}.new")


def _write_pair(path: Path, rows: str, notes: str) -> None:
    """Write the manifests and the rows that they describe; the caller holds the lock.

    Both are on disk before the first takes its place: a disk that fills up costs neither, and a crash between the two
    renames leaves the new rows beside the new manifests, where `read` finds them.
    """
    contents = {path.with_suffix(".json"): notes, path: rows}
    where = path
    try:
        for where, content in contents.items():
            _put(os.open(_staged(where), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), content)
    except OSError as error:
        for where in contents:
            _staged(where).unlink(missing_ok=True)
        raise UserError(
            f"cannot write {where}: {error.strerror}; free some space or choose another output_dir"
        ) from error
    for where in contents:
        os.replace(_staged(where), where)


def write(path: str | Path, rows: Iterable[Mapping] | pd.DataFrame, manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Add rows to ``path`` (a .csv) and their manifests to the .json beside it; returns what the file now holds.

    Rows that the file has already stay; a run's rows written in two parts equal the run written at once.
    Every `run_id` needs a manifest.
    """
    path = Path(path)
    if path.suffix != ".csv":
        raise UserError(f"records are .csv files, not {path.name!r}")
    new = table(rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows)
    with locked(path):
        old_rows, old_manifests = ([], {})
        if path.exists():
            old, old_manifests = read(path, with_manifests=True)
            old_rows = old.to_dict("records")
        frame = table([*old_rows, *new.to_dict("records")])
        known = {**old_manifests, **manifests}
        missing = sorted(set(frame["run_id"]) - set(known))
        if missing:
            raise UserError(f"run {missing[0]} has no manifest; a number without its circumstances is not a record")
        digests = _digests(frame)
        notes = {run_id: _sealed({**known[run_id], **digests[run_id]}) for run_id in digests}
        _write_pair(path, _csv(frame), json.dumps(notes, indent=1, sort_keys=True) + "\n")
    return frame


def _sealed(notes: Mapping) -> dict:
    """The manifest with a digest of itself: what decided a number must not change unseen either."""
    bare = {name: value for name, value in notes.items() if name != "seal"}
    return {**bare, "seal": hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()[:16]}


def read(path: str | Path, *, with_manifests: bool = False):
    """The records of one file, checked against their manifests; with `with_manifests` a pair (frame, manifests).

    Raises UserError for a missing file, a foreign header, a run without manifest, and rows or manifests that do not
    match their digest (a half-written or edited file).
    """
    path = Path(path)
    state = _state(path)
    while True:
        try:
            found = _checked(path, path)
        except UserError:
            now = _state(path)
            if now != state:  # another process wrote meanwhile: the halves that were read did not belong together
                state = now
                continue
            try:  # a process was killed when it had renamed the manifests: the rows still wait in their staging place
                found = _checked(path, _staged(path))
            except UserError:
                found = None
            if found is None:
                raise
        return found if with_manifests else found[0]


def _state(path: Path) -> list:
    """What changes when another process writes the file or its manifests."""
    found = []
    for one in (path, path.with_suffix(".json")):
        try:
            stat = one.stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append(None)
    return found


def _checked(path: Path, rows: Path) -> tuple[pd.DataFrame, dict]:
    """The records in `rows` and the manifests of `path`, if they agree."""
    beside = path.with_suffix(".json")
    try:
        frame = pd.read_csv(rows, keep_default_na=False, dtype=str)  # text: pandas' own parser may round the last digit
        manifests = json.loads(beside.read_text())
    except FileNotFoundError as error:
        raise UserError(f"no records at {error.filename}; run the notebook that writes them") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} or the .json beside it is damaged ({type(error).__name__}); delete both and run again"
        ) from error
    if tuple(frame.columns) != COLUMNS:
        raise UserError(f"{path} is not a file of records: its columns are not {', '.join(COLUMNS)}")
    try:
        numbers = {column: [float(text or "nan") for text in frame[column]] for column in NUMBERS}
        frame = table(frame.assign(**numbers, n=frame["n"].map(int), seed=frame["seed"].map(int)).to_dict("records"))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and the .json beside it and run again") from error
    if not (isinstance(manifests, dict) and all(isinstance(notes, dict) for notes in manifests.values())):
        raise UserError(f"{beside} holds no manifests; delete it and {path} and run again")
    digests = _digests(frame)
    for run_id in sorted(set(digests) | set(manifests)):
        stated = {k: manifests.get(run_id, {}).get(k) for k in ("rows", "sha256")}
        if stated != digests.get(run_id):
            raise UserError(
                f"{path}: run {run_id} is incomplete or altered (its manifest states other rows); "
                "delete both files and run again"
            )
        if "seal" in manifests[run_id] and _sealed(manifests[run_id]) != manifests[run_id]:
            raise UserError(f"{beside}: the manifest of run {run_id} was altered; delete both files and run again")
    return frame, manifests


def load(directory: str | Path, question: str = "rq") -> pd.DataFrame:
    """All records below `directory` whose file name begins with `question`, merged; empty if there are none."""
    frames = [read(path) for path in sorted(Path(directory).rglob(f"{question}*.csv"))]
    return table(record for frame in frames for record in frame.to_dict("records"))


def committed(profile: str) -> Path:
    """Folder of the repository's own records of a profile, found from the working directory upwards."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        found = folder / "book" / "records" / profile
        if found.is_dir():
            return found
    raise UserError(f"no book/records/{profile} in {here} or above; run from the repository, or run that profile first")


def manifests(directory: str | Path, question: str = "rq") -> dict[str, dict]:
    """The manifests of those records, by run_id."""
    found: dict[str, dict] = {}
    for path in sorted(Path(directory).rglob(f"{question}*.csv")):
        found |= read(path, with_manifests=True)[1]
    return found


def merge(paths: Sequence[str | Path], into: str | Path) -> pd.DataFrame:
    """Merge record files into one: byte for byte the CSV that a single run over all their rows would have written."""
    found = [read(path, with_manifests=True) for path in paths]
    rows = [record for frame, _ in found for record in frame.to_dict("records")]
    return write(into, rows, {run: note for _, notes in found for run, note in notes.items()})


def manifest(parameters: Mapping, **circumstances) -> dict:
    """What decided a run's numbers (`parameters`) and what surrounded it (versions, machine, commit, date)."""
    return {
        "parameters": dict(parameters),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processors": os.cpu_count(),
        },
        "git_commit": _git_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **circumstances,
    }


def _git_commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() or "unknown"
