"""The seam between computing and telling: one row is one number, one fact a column, in plain CSV.

``rq1.csv`` holds the rows of the experiment rq1, ``rq1.json`` one manifest for each `run_id` in it: everything that
decided its numbers, the machine that made them, and a digest of the rows, so that a half-written, edited or mixed-up
file is noticed when it is read and not when it is cited. No cell is ever taken apart.
"""

import csv
import hashlib
import io
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from blurnb import cells, files, provenance
from blurnb.errors import UserError, nearest
from blurnb.metrics import METRICS, STATISTICS

# Types: text; whole (Int64); number (float64); yes (true or false). An empty cell means "does not apply"; in a
# `versus_` column, "the same as this side". Where nothing was done the word is `none`.
ANSWERS = {
    "experiment": "text", "profile": "text", "dataset": "text", "folder": "text",
    "network": "text", "weights": "text", "training": "text", "train_seed": "whole",
    "train_seeds": "whole", "frozen": "text", "per_scale": "yes",
    "blur": "text", "frame": "whole", "border": "text", "resample": "text", "rounding": "text", "noise_sd": "number",
    "method": "text", "kernel": "text",
    "scale": "text", "view": "text", "flip": "yes", "precision": "text",
    "part_kind": "text", "part": "text",
    "metric": "text", "statistic": "text",
    "versus_training": "text", "versus_frozen": "text", "versus_per_scale": "yes", "versus_scale": "text",
    "versus_blur": "text", "versus_rounding": "text", "versus_precision": "text",
    "versus_resample": "text", "versus_method": "text", "versus_image": "text",
    "value": "number", "ci_low": "number", "ci_high": "number", "n": "whole", "seed": "whole", "run_id": "text",
}  # fmt: skip
SPEED = {
    "experiment": "text", "profile": "text", "benchmark": "text", "dataset": "text", "network": "text",
    "library": "text", "function": "text", "pixels": "text", "backend": "text", "precision": "text",
    "blur": "text", "kernel_kind": "text", "kernel_side": "whole", "scale": "text",
    "stage": "text", "stage_scale": "text", "kept_layers": "whole",
    "metric": "text", "value": "number", "n": "whole", "seed": "whole", "run_id": "text",
}  # fmt: skip
VERSUS = tuple(name for name in ANSWERS if name.startswith("versus_"))
_OWN = {name: name.removeprefix("versus_") for name in VERSUS if name.removeprefix("versus_") in ANSWERS}

_DTYPES = {"text": "object", "whole": "Int64", "number": "float64", "yes": "boolean"}


def key(columns: Mapping[str, str]) -> list[str]:
    """The columns that tell one record from another: all but the number, its interval and, of answers, how many images
    and seeds it is a mean over."""
    measured = ("value",) if columns is SPEED else ("value", "ci_low", "ci_high", "n", "train_seeds")
    return [name for name in columns if name not in measured]


def row(**fields) -> dict:
    """One record, of ANSWERS or, with a `benchmark`, of SPEED; what is left out is empty."""
    columns = _columns_of(fields)
    if unknown := sorted(set(fields) - set(columns)):
        raise UserError(f"record field {unknown[0]!r} is unknown{nearest(unknown[0], columns)}")
    return fields


def over(blurs: Sequence[str]) -> dict:
    """The columns of a row about the mean over these blurs, which is `part_kind` mean; of one blur it is its own."""
    return {"blur": blurs[0]} if len(blurs) == 1 else {"blur": None, "part_kind": "mean", "part": "+".join(blurs)}


def _columns_of(names: Iterable[str]) -> Mapping[str, str]:
    return SPEED if "benchmark" in names else ANSWERS


def table(rows: Iterable[Mapping] | pd.DataFrame) -> pd.DataFrame:
    """The rows as a checked frame in canonical order, whatever order they were computed in.

    Columns and types are those of ANSWERS, or of SPEED where the rows name a `benchmark`. Raises UserError for an
    unknown metric or statistic, a comparison with itself, and two values for one record that cannot both be true.
    """
    if isinstance(rows, pd.DataFrame):
        return _ordered({name: rows[name].tolist() for name in rows.columns}, len(rows))
    given = list(rows)
    return _ordered({name: [one.get(name) for one in given] for name in set().union(*given)}, len(given))


def _ordered(there: Mapping[str, Sequence], count: int) -> pd.DataFrame:
    """`table`, of columns of `count` cells; quick, because every reader of records waits for it."""
    columns = _columns_of(there)
    filled = {name: cells.typed(there.get(name, [None] * count), kind) for name, kind in columns.items()}
    _check(filled)
    places = list(zip(*(cells.texts(filled[name], columns[name]) for name in key(columns))))
    kept: dict[tuple, int] = {}
    for i, place in enumerate(places):
        first = kept.setdefault(place, i)
        if first != i:
            _demand_agreement(*({name: column[j] for name, column in filled.items()} for j in (i, first)))
    ordered = [kept[place] for place in sorted(kept)]
    cell = {name: [filled[name][i] for i in ordered] for name in columns}
    return pd.DataFrame({name: pd.Series(cell[name], dtype=_DTYPES[kind]) for name, kind in columns.items()})


def _check(filled: Mapping[str, Sequence]) -> None:
    for metric in set(filled["metric"]) - set(METRICS):
        raise UserError(f"metric {metric!r} is not one that records may hold: {', '.join(METRICS)}")
    for statistic in set(filled.get("statistic", ())) - set(STATISTICS):
        raise UserError(f"statistic {statistic!r} is none of {', '.join(STATISTICS)}")
    for name, own in _OWN.items() if "statistic" in filled else ():
        for theirs, ours in zip(filled[name], filled[own]):
            if theirs == ours and theirs not in (None, ""):
                raise UserError(f"a record is compared with itself: {name} and {own} are both {ours!r}")


def _demand_agreement(one: Mapping, other: Mapping) -> None:
    """Raise UserError unless two computations of one number may differ by the order of their sums alone.

    That (batch, threads, machine) changes the answers to an image or two of n, and other means by a thousandth; the
    first one stays.
    """
    a, b = one["value"], other["value"]
    derived = one.get("statistic") == "p_value"  # steep in the answers
    close = a == b or abs(a - b) <= max(2 / max(one["n"] or 1, 1), 1e-3 * abs(b))
    if one["n"] != other["n"] or not (close or derived or (math.isnan(a) and math.isnan(b))):
        what = ", ".join(str(one[c]) for c in ("experiment", "network", "scale", "blur", "metric") if one[c])
        raise UserError(
            f"two different values for one record ({what}, run {one['run_id']}: {b:g} of {other['n']}, {a:g} of "
            f"{one['n']}); delete the {one['experiment']}.csv with the wrong one and the .json beside it and run again "
            "(finished answers are kept), or choose another output_dir"
        )


def _lines(frame: pd.DataFrame, names: Iterable[str]) -> list[tuple[str, ...]]:
    """The lines of these columns of a frame as text."""
    columns = _columns_of(frame.columns)
    return list(zip(*(cells.texts(frame[name].tolist(), columns[name]) for name in names)))


def _csv(frame: pd.DataFrame) -> str:
    """The file's text. Columns of text are guarded, numbers are written to the last digit."""
    kinds = list(_columns_of(frame.columns).values())
    lines = [",".join(frame.columns)]
    for line in _lines(frame, frame.columns):
        told = (cells.quoted(cells.guarded(cell)) if kind == "text" else cell for cell, kind in zip(line, kinds))
        lines.append(",".join(told))
    return "\n".join(lines) + "\n"


def _digests(frame: pd.DataFrame) -> dict[str, dict]:
    """By run, its number of rows and a digest of their filled cells: an empty column added later changes nothing."""
    lines: dict[str, list[bytes]] = {}
    names = frame.columns.tolist()
    as_json = json.JSONEncoder(sort_keys=True).encode
    for line in _lines(frame, names):
        one = {name: cell for name, cell in zip(names, line) if cell}
        lines.setdefault(one.get("run_id", ""), []).append(as_json(one).encode() + b"\n")
    return {
        run: {"rows": len(own), "sha256": hashlib.sha256(b"".join(own)).hexdigest()}
        for run, own in sorted(lines.items())
    }


def write(path: str | Path, rows: Iterable[Mapping] | pd.DataFrame, manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Add rows to ``path`` (a .csv) and their manifests to the .json beside it; returns what the file now holds.

    Rows that the file has already stay, but for superseded ones; a run's rows written in two parts equal the run
    written at once. Every `run_id` needs a manifest.
    """
    path = Path(path)
    if path.suffix != ".csv":
        raise UserError(f"records are .csv files, not {path.name!r}")
    new = table(rows)
    with files.locked(path):
        frame, known = new, dict(manifests)
        if path.exists():
            old, before = read(path, with_manifests=True)
            frame, known = table(pd.concat([_not_superseded(old, new, path), new])), {**before, **manifests}
        if missing := sorted(set(frame["run_id"]) - set(known)):
            raise UserError(f"run {missing[0]} has no manifest; a number without its circumstances is not a record")
        digests = _digests(frame)
        notes = {run_id: provenance.sealed({**known[run_id], **digests[run_id]}) for run_id in digests}
        beside = json.dumps(notes, indent=1, sort_keys=True) + "\n"
        # Names may hold anything, halves of a pair too; they must come back as they were.
        text = _csv(frame).encode(errors="surrogatepass")
        files.write_together({path.with_suffix(".json"): beside, path: text})
    return frame


def _questions(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """What each row answers: all that tells records apart but the run that says it."""
    return _lines(frame, (name for name in key(_columns_of(frame.columns)) if name != "run_id"))


def _not_superseded(old: pd.DataFrame, new: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows of a file that no other run of `new` answers again, as it does when data or network have changed.

    A run leaves whole, or what it said of other blurs would stand beside answers to other images; but rows about the
    images alone, which several networks' runs record, leave one by one.
    """
    asked, answered, runs = _questions(old), set(_questions(new)), set(new["run_id"])
    again = [run not in runs and one in answered for one, run in zip(asked, old["run_id"])]
    gone = set(old["run_id"][[is_again and network != "" for is_again, network in zip(again, old["network"])]])
    if gone:
        warnings.warn(
            f"{path.name}: run {', '.join(sorted(gone))} is superseded by {', '.join(sorted(runs))}, which answers the "
            "same from other data, weights or settings; choose another output_dir to keep both",
            stacklevel=3,
        )
    return old[[run not in gone and not is_again for is_again, run in zip(again, old["run_id"])]]


def demand_one_run(rows: pd.DataFrame) -> None:
    """Raise UserError where two runs answer one question differently: they are no seeds that could be averaged."""
    if rows["run_id"].nunique() < 2:
        return
    said: dict[tuple, tuple[str, float]] = {}
    for question, run, value in zip(_questions(rows), rows["run_id"], rows["value"]):
        other, first = said.setdefault(question, (run, value))
        if value != first and not (math.isnan(value) and math.isnan(first)):
            what = ", ".join(filter(None, (rows[name].iloc[0] for name in ("experiment", "network", "blur", "metric"))))
            raise UserError(
                f"runs {other} and {run} answer one question differently ({what}: {first:g}, {value:g}); what tells "
                "them apart is in their manifests (.json): select the rows of one run_id, or delete the other's files"
            )


def read(path: str | Path, *, with_manifests: bool = False):
    """The records of one file, checked against their manifests; with `with_manifests` a pair (frame, manifests).

    Raises UserError for a missing file, a foreign header, a run without manifest, and rows or manifests that do not
    match their digest (a half-written or edited file).
    """
    path = Path(path)
    both = path, path.with_suffix(".json")
    while True:
        state = [files.state(one) for one in both]
        try:
            found = _checked(path, path)
        except UserError as error:
            if [files.state(one) for one in both] != state:
                continue  # another process wrote meanwhile: the halves that were read did not belong together
            try:  # a process was killed when it had renamed the manifests: the rows still wait in their staging place
                found = _checked(path, files.staged(path))
            except UserError:
                raise error from None
        return found if with_manifests else found[0]


def _checked(path: Path, rows: Path) -> tuple[pd.DataFrame, dict]:
    """The records in `rows` and the manifests of `path`, if they agree."""
    beside = path.with_suffix(".json")
    try:
        lines = list(csv.reader(io.StringIO(rows.read_bytes().decode(errors="surrogatepass"), newline="")))
        manifests = json.loads(beside.read_text())
    except FileNotFoundError as error:
        raise UserError(f"no records at {error.filename}; run the notebook that writes them") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except (ValueError, RecursionError, csv.Error) as error:
        kind = type(error).__name__
        raise UserError(f"{path} or the .json beside it is damaged ({kind}); delete both and run again") from error
    frame = _parsed(path, lines)
    if not (isinstance(manifests, dict) and all(isinstance(notes, dict) for notes in manifests.values())):
        raise UserError(f"{beside} holds no manifests; delete it and {path} and run again")
    digests = _digests(frame)
    for run_id in sorted(set(digests) | set(manifests)):
        stated = {k: manifests.get(run_id, {}).get(k) for k in ("rows", "sha256")}
        if stated != digests.get(run_id):
            wrong = "incomplete or altered (its manifest states other rows)"
            raise UserError(f"{path}: run {run_id} is {wrong}; delete both files and run again")
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
        if any(len(line) != len(header) for line in lines):
            raise ValueError("its lines differ in length")
        there = zip(*lines[1:]) if lines[1:] else [()] * len(header)
        values = {name: cells.read(column, columns[name]) for name, column in zip(header, there)}
        return _ordered(values, len(lines) - 1)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and the .json beside it and run again") from error


def tables(folder: str | Path) -> list[Path]:
    """The files below `folder` that are records, by their header or, damaged or not, by the manifests beside them."""
    named = sorted(Path(folder).rglob("*.csv"))
    return [path for path in named if path.with_suffix(".json").is_file() or _begins_as_records(path)]


def _begins_as_records(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.readline().startswith(b"experiment,")
    except OSError:
        return False


def load(folder: str | Path, experiment: str = "", *, with_manifests: bool = False):
    """All records of an experiment below `folder`, merged; of every one but speed where none is named.

    Returns an empty frame where there are none; with `with_manifests` a pair (frame, manifests by run_id).
    """
    there = tables(folder)
    found = _all([path for path in there if path.stem == experiment or not experiment and path.stem != "speed"])
    return found if with_manifests else found[0]


def _all(paths: Sequence[str | Path]) -> tuple[pd.DataFrame, dict]:
    """The records of several files, and their manifests by run."""
    found = [read(path, with_manifests=True) for path in paths]
    merged = found[0][0] if len(found) == 1 else table(pd.concat([frame for frame, _ in found]) if found else [])
    return merged, {run: note for _, notes in found for run, note in notes.items()}


def committed(profile: str) -> Path:
    """Folder of the repository's own records of a profile, found from the working directory upwards."""
    here = Path.cwd()
    places = (folder.joinpath(*provenance.REFERENCE, profile) for folder in (here, *here.parents))
    if found := next((place for place in places if place.is_dir()), None):
        return found
    raise UserError(f"no book/records/{profile} in {here} or above; run from the repository, or run that profile first")


def merge(paths: Sequence[str | Path], into: str | Path) -> pd.DataFrame:
    """Merge record files into one: byte for byte the CSV that a single run over all their rows would have written."""
    return write(into, *_all(paths))
