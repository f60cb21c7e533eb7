"""The seam between computing and telling: one row is one number, one fact a column, in plain CSV.

``rq1.csv`` holds the rows of the experiment rq1, ``rq1.json`` one manifest for each `run_id` in it: everything that
decided its numbers, the machine that made them, and a digest of the rows, so that a half-written, edited or mixed-up
file is noticed when it is read and not when it is cited. No cell is ever taken apart.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from blurnb import files, provenance
from blurnb.errors import UserError, nearest
from blurnb.metrics import METRICS, STATISTICS

# Types: text; whole (Int64); number (float64); yes (true or false). An empty cell means "does not apply"; in a
# `versus_` column, "the same as this side". Where nothing was done the word is `none`.
ANSWERS = {
    "experiment": "text", "profile": "text", "dataset": "text", "folder": "text",
    "network": "text", "weights": "text", "training": "text", "train_seed": "whole", "frozen": "text",
    "per_scale": "yes",
    "blur": "text", "frame": "whole", "border": "text", "resample": "text", "rounding": "text", "noise_sd": "number",
    "method": "text", "kernel": "text",
    "scale": "text", "view": "text", "flip": "yes", "precision": "text",
    "part_kind": "text", "part": "text",
    "metric": "text", "statistic": "text",
    "versus_training": "text", "versus_frozen": "text", "versus_per_scale": "yes", "versus_scale": "text",
    "versus_blur": "text", "versus_rounding": "text", "versus_precision": "text", "versus_method": "text",
    "versus_image": "text",
    "value": "number", "ci_low": "number", "ci_high": "number", "n": "whole", "seed": "whole", "run_id": "text",
}  # fmt: skip
SPEED = {
    "experiment": "text", "profile": "text", "benchmark": "text", "dataset": "text", "network": "text",
    "library": "text", "function": "text", "pixels": "text", "backend": "text", "precision": "text",
    "blur": "text", "kernel_kind": "text", "kernel_side": "whole", "scale": "text",
    "stage": "text", "stage_scale": "text", "kept_layers": "whole",
    "metric": "text", "value": "number", "n": "whole", "seed": "whole", "run_id": "text",
}  # fmt: skip
EXPERIMENTS = ("rq1", "doses", "rounding", "rq2", "rq3", "rq4", "rq5", "card")
VERSUS = tuple(name for name in ANSWERS if name.startswith("versus_"))

_DTYPES = {"text": "object", "whole": "Int64", "number": "float64", "yes": "boolean"}
_MEASURED = ("value", "ci_low", "ci_high", "n")


def key(columns: Mapping[str, str]) -> list[str]:
    """The columns that tell one record from another: all but the number, its interval and, of answers, its n."""
    measured = ("value",) if columns is SPEED else _MEASURED
    return [name for name in columns if name not in measured]


def row(**fields) -> dict:
    """One record, of ANSWERS or, with a `benchmark`, of SPEED; what is left out is empty."""
    columns = _columns_of(fields)
    unknown = sorted(set(fields) - set(columns))
    if unknown:
        raise UserError(f"record field {unknown[0]!r} is unknown{nearest(unknown[0], columns)}")
    return fields


def _columns_of(names: Iterable[str]) -> Mapping[str, str]:
    return SPEED if "benchmark" in names else ANSWERS


def table(rows: Iterable[Mapping] | pd.DataFrame) -> pd.DataFrame:
    """The rows as a checked frame in canonical order, whatever order they were computed in.

    Columns and types are those of ANSWERS, or of SPEED where the rows name a `benchmark`. Raises UserError for an
    unknown metric or statistic, a comparison with itself, and two values for one record that cannot both be true.
    """
    given = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else list(rows)
    columns = _columns_of(set().union(*given[:1]))
    filled = [{name: _typed(one.get(name), kind) for name, kind in columns.items()} for one in given]
    for one in filled:
        _check(one)
    kept: dict[tuple, dict] = {}
    names = key(columns)
    for one in filled:
        place = tuple(_text(one[name]) for name in names)
        if place in kept and not _agree(one, kept[place]):
            first = kept[place]
            what = ", ".join(str(one[c]) for c in ("experiment", "network", "scale", "blur", "metric") if one[c])
            raise UserError(
                f"two different values for one record ({what}, run {one['run_id']}: {first['value']:g} of "
                f"{first['n']}, {one['value']:g} of {one['n']}); they cannot both be true, remove the wrong file"
            )
        kept.setdefault(place, one)
    ordered = [kept[place] for place in sorted(kept)]
    return pd.DataFrame(
        {name: pd.Series([one[name] for one in ordered], dtype=_DTYPES[kind]) for name, kind in columns.items()}
    )


def _typed(value: object, kind: str) -> object:
    """One cell: text is never missing ("" is empty), numbers are NaN and whole numbers and truths None where empty."""
    if kind == "text":
        return "" if value is None or value is pd.NA or value != value else str(value)
    if value is None or value is pd.NA or value == "" or value != value:
        return math.nan if kind == "number" else None
    return {"whole": int, "number": float, "yes": bool}[kind](value)


def _check(one: Mapping) -> None:
    if one["metric"] not in METRICS:
        known = ", ".join(METRICS)
        raise UserError(f"metric {one['metric']!r} is not one that records may hold: {known}")
    if one.get("statistic", "estimate") not in STATISTICS:
        raise UserError(f"statistic {one['statistic']!r} is none of {', '.join(STATISTICS)}")
    for name in VERSUS:
        if one.get(name) not in (None, "") and one[name] == one.get(name.removeprefix("versus_")):
            raise UserError(f"a record is compared with itself: {name} and {name[7:]} are both {one[name]!r}")


def _agree(one: Mapping, other: Mapping) -> bool:
    """Whether two computations of one number may differ by the order of their sums (batch, threads, machine) alone.

    That changes the answers to an image or two of n, and other means by a thousandth; the first one stays.
    """
    if one["n"] != other["n"]:
        return False
    a, b = one["value"], other["value"]
    if one.get("statistic") == "p_value" or (math.isnan(a) and math.isnan(b)):  # derived, and steep in the answers
        return True
    return abs(a - b) <= max(2 / max(one["n"] or 1, 1), 1e-3 * abs(b))


# -- files


def _text(cell: object) -> str:
    if cell is None or cell is pd.NA or cell != cell:
        return ""
    return ("true" if cell else "false") if isinstance(cell, bool) else str(cell)


_RUN_BY_SPREADSHEETS = re.compile(r"['=+\-@\t\r]")


def _guarded(text: str) -> str:
    """A name that a spreadsheet would take for a formula, with an apostrophe before it; `_bare` takes it off."""
    text = f"'{text}" if _RUN_BY_SPREADSHEETS.match(text) else text
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def _bare(text: str) -> str:
    return text.removeprefix("'")


def _cells(frame: pd.DataFrame) -> list[list[str]]:
    return [[_text(cell) for cell in line] for line in frame.astype(object).itertuples(index=False)]


def _csv(frame: pd.DataFrame) -> str:
    """The file's text. Columns of text are guarded, numbers are written to the last digit."""
    kinds = list(_columns_of(frame.columns).values())
    lines = [",".join(frame.columns)]
    for cells in _cells(frame):
        lines.append(",".join(_guarded(cell) if kind == "text" else cell for cell, kind in zip(cells, kinds)))
    return "\n".join(lines) + "\n"


def _digests(frame: pd.DataFrame) -> dict[str, dict]:
    """By run, its number of rows and a digest of their filled cells: an empty column added later changes nothing."""
    digests, counts = {}, {}
    for cells in _cells(frame):
        one = {name: cell for name, cell in zip(frame.columns, cells) if cell}
        run = one.get("run_id", "")
        line = json.dumps(one, sort_keys=True, ensure_ascii=True) + "\n"
        digests.setdefault(run, hashlib.sha256()).update(line.encode())
        counts[run] = counts.get(run, 0) + 1
    return {run: {"rows": counts[run], "sha256": digests[run].hexdigest()} for run in sorted(digests)}


def write(path: str | Path, rows: Iterable[Mapping] | pd.DataFrame, manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Add rows to ``path`` (a .csv) and their manifests to the .json beside it; returns what the file now holds.

    Rows that the file has already stay; a run's rows written in two parts equal the run written at once.
    Every `run_id` needs a manifest.
    """
    path = Path(path)
    if path.suffix != ".csv":
        raise UserError(f"records are .csv files, not {path.name!r}")
    new = table(rows)
    with files.locked(path):
        frame, known = new, dict(manifests)
        if path.exists():
            old, before = read(path, with_manifests=True)
            frame, known = _together([old, new]), {**before, **manifests}
        missing = sorted(set(frame["run_id"]) - set(known))
        if missing:
            raise UserError(f"run {missing[0]} has no manifest; a number without its circumstances is not a record")
        digests = _digests(frame)
        notes = {run_id: provenance.sealed({**known[run_id], **digests[run_id]}) for run_id in digests}
        beside = json.dumps(notes, indent=1, sort_keys=True) + "\n"
        files.write_together({path.with_suffix(".json"): beside, path: _csv(frame)})
    return frame


def _together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return table(one for frame in frames for one in frame.to_dict("records"))


def read(path: str | Path, *, with_manifests: bool = False):
    """The records of one file, checked against their manifests; with `with_manifests` a pair (frame, manifests).

    Raises UserError for a missing file, a foreign header, a run without manifest, and rows or manifests that do not
    match their digest (a half-written or edited file).
    """
    path = Path(path)
    both = (path, path.with_suffix(".json"))
    state = files.state(*both)
    while True:
        try:
            found = _checked(path, path)
        except UserError:
            now = files.state(*both)
            if now != state:  # another process wrote meanwhile: the halves that were read did not belong together
                state = now
                continue
            try:  # a process was killed when it had renamed the manifests: the rows still wait in their staging place
                found = _checked(path, files.staged(path))
            except UserError:
                found = None
            if found is None:
                raise
        return found if with_manifests else found[0]


def _checked(path: Path, rows: Path) -> tuple[pd.DataFrame, dict]:
    """The records in `rows` and the manifests of `path`, if they agree."""
    beside = path.with_suffix(".json")
    try:
        lines = list(csv.reader(io.StringIO(rows.read_bytes().decode(errors="surrogateescape"), newline="")))
        manifests = json.loads(beside.read_text())
    except FileNotFoundError as error:
        raise UserError(f"no records at {error.filename}; run the notebook that writes them") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(
            f"{path} or the .json beside it is damaged ({type(error).__name__}); delete both and run again"
        ) from error
    frame = _parsed(path, lines)
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
        if not provenance.is_sealed(manifests[run_id]):
            raise UserError(f"{beside}: the manifest of run {run_id} was altered; delete both files and run again")
    return frame, manifests


def _parsed(path: Path, lines: Sequence[Sequence[str]]) -> pd.DataFrame:
    """The frame that the lines of a file spell; a column that the file does not know yet is empty."""
    header = lines[0] if lines else []
    columns = _columns_of(header)
    foreign = sorted(set(header) - set(columns))
    if foreign or not {"metric", "value", "run_id"} <= set(header) or len(set(header)) < len(header):
        wrong = f"{foreign[0]!r} is no column of it" if foreign else "metric, value or run_id is missing"
        raise UserError(f"{path} is not a file of records: {wrong}")
    try:
        rows = [
            {name: _read(text, columns[name]) for name, text in zip(header, line, strict=True)} for line in lines[1:]
        ]
        if "benchmark" in header:
            rows = [{"benchmark": "", **one} for one in rows]
        return table(rows)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and the .json beside it and run again") from error


def _read(text: str, kind: str) -> object:
    if kind == "text":
        return _bare(text)
    if kind == "yes" and text not in ("", "true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return {"true": True, "false": False}.get(text, text) if kind == "yes" else text


def load(folder: str | Path, experiment: str = "", *, with_manifests: bool = False):
    """All records of an experiment below `folder`, merged; of every one but speed where none is named.

    Returns an empty frame where there are none; with `with_manifests` a pair (frame, manifests by run_id).
    """
    wanted = [experiment] if experiment else EXPERIMENTS
    paths = sorted(path for one in wanted for path in Path(folder).rglob(f"{one}.csv"))
    found = [read(path, with_manifests=True) for path in paths]
    frame = _together([one for one, _ in found])
    return (frame, {run: note for _, notes in found for run, note in notes.items()}) if with_manifests else frame


def committed(profile: str) -> Path:
    """Folder of the repository's own records of a profile, found from the working directory upwards."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        found = folder.joinpath(*provenance.REFERENCE, profile)
        if found.is_dir():
            return found
    raise UserError(f"no book/records/{profile} in {here} or above; run from the repository, or run that profile first")


def merge(paths: Sequence[str | Path], into: str | Path) -> pd.DataFrame:
    """Merge record files into one: byte for byte the CSV that a single run over all their rows would have written."""
    found = [read(path, with_manifests=True) for path in paths]
    manifests = {run: note for _, notes in found for run, note in notes.items()}
    return write(into, _together([frame for frame, _ in found]), manifests)
