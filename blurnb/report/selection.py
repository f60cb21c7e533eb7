"""Which rows answer which question: one reading of `view`, `scale` and `blur` for tables, figures and verdicts."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from blurnb import intervals
from blurnb.errors import UserError

FAMILIES = ("sharp", "defocus", "gaussian", "motion", "shake", "inertial")
VIEWS = ("dense", "dense+flip", "center-crop", "center-crop+flip", "all")
PROPORTIONS = ("top1", "top5", "pixel_accuracy")

_PATTERNS = (
    ("defocus", re.compile(r"D(?P<strength>\d+(\.\d+)?)")),
    ("gaussian", re.compile(r"G(?P<strength>\d+(\.\d+)?)")),
    ("motion", re.compile(r"M(?P<strength>\d+(\.\d+)?)@(?P<angle>-?\d+(\.\d+)?)")),
    ("shake", re.compile(r"shake(?P<strength>\d+)?")),
    ("inertial", re.compile(r"inertial(?P<strength>\d+(\.\d+)?)?")),
    ("sharp", re.compile(r"sharp")),
)


def family(blur: str) -> str:
    """The family of a blur label (``D8`` -> ``defocus``)."""
    for name, pattern in _PATTERNS:
        if pattern.fullmatch(blur):
            return name
    raise UserError(f"blur label {blur!r} is none of sharp, D8, G4, M21@30, shake, shake24, inertial")


def strength(blur: str) -> float:
    """Radius, sigma, length or grid of a blur label; 0 for sharp, NaN where the label states none."""
    kind = family(blur)
    if kind == "sharp":
        return 0.0
    found = dict(_PATTERNS)[kind].fullmatch(blur).group("strength")
    return math.nan if found is None else float(found)


def in_papers_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with blur labels as the paper's frame of 512 would name them, so that equal labels are equal blurs.

    A data set blurred in another frame says so in its name (`tiny-imagenet, frame 128`: D2 there is D8 here). Shake is
    drawn on grids of given sizes and has no label in another frame; such rows are left out.
    """
    labels = [_renamed(blur, dataset) for blur, dataset in zip(rows["blur"], rows["dataset"])]
    kept = np.array([label is not None for label in labels], dtype=bool)  # a list would, when empty, choose columns
    return rows.assign(blur=labels)[kept]


def _renamed(blur: str, dataset: str) -> str | None:
    found = re.search(r", frame (\d+)$", dataset)
    if found is None or blur == "sharp":
        return blur
    size = re.fullmatch(r"([DGM])(\d+(?:\.\d+)?)(@.*)?", blur)
    return f"{size[1]}{float(size[2]) * 512 / int(found[1]):g}{size[3] or ''}" if size else None


def in_order(blurs) -> list[str]:
    """Distinct blur labels in the order every table and figure uses: by family, then by strength."""

    def place(blur: str):
        dose = strength(blur)
        return FAMILIES.index(family(blur)), -1.0 if math.isnan(dose) else dose, blur

    return sorted(dict.fromkeys(blurs), key=place)


def scales_in_order(scales) -> list[str]:
    """Distinct scales, single ones by size, then averages such as 256+512."""
    return sorted(
        dict.fromkeys(scales), key=lambda s: (s.count("+"), [int(p) if p.isdigit() else 0 for p in s.split("+")])
    )


def training_place(training: str) -> tuple:
    """Sort key of trainings: sharp, mix, families, single degrees, then whatever else."""
    first = ("sharp", "mix", *FAMILIES[1:])
    if training in first:
        return 0, first.index(training), 0.0, training
    try:
        return 1, FAMILIES.index(family(training)), strength(training), training
    except UserError:
        return 2, 0, 0.0, training


def layers_in_order(layers) -> list[str]:
    """Layer names by their numbers (conv2_1 before conv10_1), convolutions before what follows them."""

    def place(layer: str):
        head = re.match(r"[a-z]*", layer.lower()).group()
        rank = 0 if head in ("conv", "stem", "features") else 2 if head in ("fc", "classifier", "head") else 1
        # A tag keeps numbers and words comparable where names differ in shape.
        return rank, [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", layer) if p]

    return sorted(dict.fromkeys(layers), key=place)


def split_view(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `seen` and `versus`: the parts of `view` before and after " vs " (empty without)."""
    parts = [view.partition(" vs ") for view in rows["view"]]
    return rows.assign(seen=[part[0] for part in parts], versus=[part[2] for part in parts])


def main_view(rows: pd.DataFrame) -> str:
    """The view that stands for a network measured in several: dense before center-crop, plain before flipped."""
    seen = set(split_view(rows)["seen"])
    return next((view for view in VIEWS if view in seen), sorted(seen)[0] if seen else "")


def select(rows: pd.DataFrame, **wanted) -> pd.DataFrame:
    """Rows whose columns equal `wanted` (a list: any of them); `seen` and `versus` are the parts of `view`."""
    frame = rows if "seen" in rows.columns else split_view(rows)
    kept = np.ones(len(frame), dtype=bool)
    for column, value in wanted.items():
        if column not in frame.columns:
            raise UserError(f"records have no column {column!r}; they have {', '.join(rows.columns)}")
        cells = frame[column]
        kept &= (cells.isin(value) if isinstance(value, list | tuple | set) else cells == value).to_numpy()
    return frame[kept]


def estimate(rows: pd.DataFrame) -> tuple[float, float, float] | None:
    """One (value, low, high) from the rows of one condition, None without rows.

    Several seeds or runs become their mean inside the envelope of their intervals, so that a seed that behaves
    differently widens the interval instead of vanishing in an average. Rows with fewer images than the best
    covered run are left out. A proportion without interval gets Wilson's.
    """
    if rows.empty:
        return None
    triples, counts = [], rows["n"].to_numpy()
    for value, low, high, metric, n in zip(rows["value"], rows["ci_low"], rows["ci_high"], rows["metric"], counts):
        if n < counts.max():
            continue
        if math.isnan(low) and metric in PROPORTIONS and n > 0:
            low, high = intervals.wilson(round(value * n), int(n))
        triples.append((value, low, high))
    values, lows, highs = zip(*triples)
    if any(map(math.isnan, lows + highs)):
        return sum(values) / len(values), math.nan, math.nan
    return sum(values) / len(values), min(lows), max(highs)


def one_source(rows: pd.DataFrame, what: str) -> tuple[str, str]:
    """The (network, dataset) of rows that must come from one; a figure of two would mix what cannot be compared."""
    sources = rows[["network", "dataset"]].drop_duplicates()
    if len(sources) != 1:
        names = ", ".join(f"{s.network} on {s.dataset}" for s in sources.itertuples())
        raise UserError(f"{what} needs rows of one network on one dataset, not {len(sources)} ({names}); select one")
    return sources.iloc[0]["network"], sources.iloc[0]["dataset"]
