"""Which rows answer which question, and the one number that several of them stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from blurnb import intervals, labels, records
from blurnb.errors import UserError
from blurnb.metrics import METRICS

SOURCE = ["network", "dataset", "folder", "frame"]
"""Columns that say whose answers a row tells, and about which images."""
PREFERRED = {
    "view": ("dense", "center-crop"),
    "flip": (False, True),
    "rounding": ("none", "8-bit blur", "8-bit"),
    "border": ("reflect", "replicate", "circular"),
    "resample": ("bicubic", "bilinear"),
    "precision": ("float32", "bf16"),
}
"""Of a network measured under several protocols, the one that stands for it: the first of these that is there."""
WHOLE = {"frozen": "none", "per_scale": False}
"""What a training is unless it says otherwise: of the whole network, one for all scales."""


def select(rows: pd.DataFrame, **wanted) -> pd.DataFrame:
    """Rows whose columns equal `wanted` (a list: any of them; None: empty).

    Raises UserError for a column that records do not have.
    """
    kept = np.ones(len(rows), dtype=bool)
    for column, value in wanted.items():
        if column not in rows.columns:
            raise UserError(f"records have no column {column!r}; they have {', '.join(rows.columns)}")
        cells = rows[column]
        if value is None:
            found = cells.isna() | (cells.astype(object) == "")
        else:
            found = cells.isin(value) if isinstance(value, list | tuple | set) else cells == value
        kept &= found.fillna(False).to_numpy(dtype=bool)
    return rows[kept]


def estimates(rows: pd.DataFrame, **wanted) -> pd.DataFrame:
    """`select`, of the numbers about all images: no comparison, no class, layer or region."""
    alone = dict.fromkeys(records.VERSUS) | {"statistic": "estimate", "part_kind": None}
    return select(rows, **{**alone, **wanted})


def main_protocol(rows: pd.DataFrame, but: Iterable[str] = ()) -> pd.DataFrame:
    """Of every source the rows under one protocol, so that two are never averaged (`PREFERRED`).

    The columns `but` are left as they are, for those who show them side by side.
    """
    kept = pd.Series(False, index=rows.index)
    for _, part in rows.groupby(["experiment", *SOURCE], sort=False, dropna=False):
        for column, order in PREFERRED.items():
            have = set(part[column].dropna()) if column not in but else set()
            best = next((value for value in order if value in have), None)
            part = part if best is None else part[(part[column] == best).fillna(False).to_numpy(dtype=bool)]
        kept[part.index] = True
    return rows[kept.to_numpy()]


def estimate(rows: pd.DataFrame) -> tuple[float, float, float] | None:
    """One (value, low, high) from the rows of one condition, None without rows.

    Several seeds or runs become their mean inside the envelope of their intervals, so that a seed that behaves
    differently widens the interval instead of vanishing in an average. Rows with fewer images than the best
    covered run are left out. A proportion without interval gets Wilson's.
    """
    if rows.empty:
        return None
    triples, counts = [], rows["n"].to_numpy()
    for value, low, high, metric, statistic, n in zip(
        rows["value"], rows["ci_low"], rows["ci_high"], rows["metric"], rows["statistic"], counts
    ):
        if n < counts.max():
            continue
        if math.isnan(low) and statistic == "estimate" and METRICS[metric].is_proportion and n > 0:
            low, high = intervals.wilson(round(value * n), int(n))
        triples.append((value, low, high))
    values, lows, highs = zip(*triples)
    if any(map(math.isnan, lows + highs)):
        return sum(values) / len(values), math.nan, math.nan
    return sum(values) / len(values), min(lows), max(highs)


def main_scale(rows: pd.DataFrame) -> str:
    """256, the paper's main scale, where it was measured; else the first."""
    scales = labels.scales_in_order(scale for scale in rows["scale"] if scale)
    return "256" if "256" in scales or not scales else scales[0]


def training_name(training: str, frozen: str = "none", per_scale: bool = False) -> str:
    """A training as a reader knows it: `mix`, `mix, 2 blocks frozen`, `mix, head only`, `mix per scale`."""
    kept = {"none": "", "backbone": ", head only", "1": ", 1 block frozen"}.get(frozen, f", {frozen} blocks frozen")
    return f"{training} per scale{kept}" if per_scale else f"{training}{kept}"


def training_names(rows: pd.DataFrame) -> pd.Series:
    """`training_name` of every row."""
    each = zip(rows["training"], rows["frozen"], rows["per_scale"])
    return pd.Series([training_name(*one) for one in each], index=rows.index, dtype=object)


def captured(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows by what the camera did to the pixels: `exact pixels`, `8-bit`, `noise 0.01`, in that order.

    Pixels rounded after they were resized, too, are `8-bit throughout`.
    """
    parts = {}
    for (noise_sd, rounding), part in rows.groupby(["noise_sd", "rounding"], sort=False):
        rounded = {"none": "", "8-bit blur": "8-bit"}.get(rounding, f"{rounding} throughout")
        noisy = f"noise {noise_sd:g}" if noise_sd else ""
        parts[noise_sd, rounded] = (", ".join(filter(None, (rounded, noisy))) or "exact pixels", part)
    return dict(parts[place] for place in sorted(parts))


def data_name(dataset: str, folder: str, frame: int) -> str:
    """The images as a reader knows them; a frame other than the paper's is said."""
    name = f"{dataset} {folder}" if folder else dataset
    return name if frame == labels.FRAME else f"{name}, frame {frame}"


def one_source(rows: pd.DataFrame, what: str) -> tuple[str, str]:
    """The (network, data) of rows that must come from one; a figure of two would mix what cannot be compared."""
    sources = rows[SOURCE].drop_duplicates()
    named = [(one.network, data_name(one.dataset, one.folder, one.frame)) for one in sources.itertuples()]
    if len(named) != 1:
        names = ", ".join(f"{network} on {data}" for network, data in named)
        raise UserError(f"{what} needs rows of one network on one dataset, not {len(named)} ({names}); select one")
    return named[0]


def in_papers_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with blur labels as the paper's frame would name them, so that equal labels are equal blurs.

    Shake is drawn on grids of given sizes and has no label in another frame; such rows are left out.
    """
    named = [labels.renamed(blur, frame) for blur, frame in zip(rows["blur"], rows["frame"])]
    kept = np.array([label is not None for label in named], dtype=bool)  # a list would, when empty, choose columns
    return rows.assign(blur=named)[kept]
