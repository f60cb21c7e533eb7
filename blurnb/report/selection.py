"""Which rows answer which question, and the one number that several of them stand for."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from blurnb import intervals, labels, records
from blurnb.errors import UserError
from blurnb.metrics import METRICS

SOURCE = ["network", "dataset", "folder", "frame", "weights"]
"""Columns that say whose answers a row tells, and about which images."""
PREFERRED = {
    "view": ("dense", "center-crop"),
    "flip": (False, True),
    "rounding": ("none", "8-bit blur", "8-bit"),
    "noise_sd": (0.0,),
    "method": ("none",),
    "border": ("reflect", "replicate", "circular"),
    "resample": ("bicubic", "bilinear"),
    "precision": ("float32", "bf16"),
}
"""Of a network measured under several protocols or treatments, what stands for it: the first of these that is there."""

_EMPTY = {"", None, pd.NA}


def select(rows: pd.DataFrame, **wanted) -> pd.DataFrame:
    """Rows whose columns equal `wanted` (a list: any of them; None: empty).

    Raises UserError for a column that records do not have.
    """
    for column in wanted:
        if column not in rows.columns:
            raise UserError(f"records have no column {column!r}; they have {', '.join(rows.columns)}")
    kept = np.arange(len(rows))
    for column, value in wanted.items():
        if not len(kept):
            break
        among = _EMPTY if value is None else set(value) if isinstance(value, list | tuple | set) else {value}
        cells = rows[column].to_numpy(dtype=object)[kept]  # narrower with every column, hence quick
        found = [cell in among or (value is None and cell != cell) for cell in cells]
        kept = kept[np.array(found, dtype=bool)]
    return rows.iloc[kept]


def estimates(rows: pd.DataFrame, **wanted) -> pd.DataFrame:
    """`select`, of the numbers about all images: no comparison, no class, layer or region."""
    alone = dict.fromkeys(records.VERSUS) | {"statistic": "estimate", "part_kind": None}
    return select(rows, **{**wanted, **{column: value for column, value in alone.items() if column not in wanted}})


def main_protocol(rows: pd.DataFrame, but: Sequence[str] = ()) -> pd.DataFrame:
    """Of every source the rows under one protocol, so that two are never averaged (`PREFERRED`).

    `but` are columns that tell conditions apart here, as the rounding does where several were tested.
    """
    kept = pd.Series(False, index=rows.index)
    for _, part in rows.groupby(["experiment", *SOURCE], sort=False, dropna=False):
        for column, order in PREFERRED.items():
            if column in but:
                continue
            have = set(part[column].dropna())
            best = next((value for value in order if value in have), None)
            part = part if best is None else part[(part[column] == best).fillna(False).to_numpy(dtype=bool)]
        kept[part.index] = True
    return rows[kept.to_numpy()]


def estimate(rows: pd.DataFrame) -> tuple[float, float, float] | None:
    """One (value, low, high) from the rows of one condition, None without rows.

    Several seeds or runs become their mean inside the envelope of their intervals, so that a seed that behaves
    differently widens the interval instead of vanishing in an average. Rows with fewer images than the best
    covered run are left out. A proportion without interval gets Wilson's. A row about three seeds or more stands for
    those of one (`train_seeds`). Raises UserError for two runs that answer one question differently.
    """
    if rows.empty:
        return None
    joint = rows["train_seeds"].notna().to_numpy(dtype=bool)
    rows = rows[joint] if joint.any() else rows
    triples, counts = [], rows["n"].to_numpy()
    records.demand_one_run(rows[counts == counts.max()])
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


def share_kept(rows: pd.DataFrame, blur: str, training: str = "", of: str = "") -> tuple[float, float, float] | None:
    """Share that is left under `blur` of the score on sharp images; None where either was not measured.

    `rows` are of one metric, scale and protocol; `training` keeps it of the score of the network trained on `of`, the
    same one where nothing is named. Without a recorded share the ends are unknown: those of two intervals, taken as if
    the images were others, would be far too wide.
    """
    mine, other = {"training": training} if training else {}, of if of != training else ""
    beside = dict.fromkeys(records.VERSUS) | {"versus_blur": "sharp", "versus_training": other or None}
    found = estimate(select(rows, statistic="kept", blur=blur, part_kind=None, **mine, **beside))
    if found is not None:
        return found[0], max(0.0, found[1]), found[2]
    theirs = {"training": other} if other else mine
    sharp, one = (estimate(estimates(rows, blur=b, **who)) for b, who in (("sharp", theirs), (blur, mine)))
    return None if None in (sharp, one) or not sharp[0] > 0 else (one[0] / sharp[0], math.nan, math.nan)


def half_radius(rows: pd.DataFrame, metric: str, **wanted) -> intervals.HalfRadius | None:
    """As recorded of a metric under one condition, in the main protocol; None where it was not."""
    found = main_protocol(estimates(rows, metric="half_radius", part_kind="metric", part=metric, **wanted))
    for largest in labels.in_order(found["blur"])[-1:]:
        return intervals.HalfRadius(*estimate(select(found, blur=largest)), labels.parse(largest).strength)


def main_scale(rows: pd.DataFrame) -> str:
    """256, the paper's main scale, where it was measured; else the first."""
    scales = labels.scales_in_order(scale for scale in rows["scale"] if scale)
    return "256" if "256" in scales or not scales else scales[0]


def data_name(dataset: str, folder: str, frame: int) -> str:
    """The images as a reader knows them; a frame other than the paper's is said."""
    name = f"{dataset} {folder}" if folder else dataset
    return name if frame == labels.FRAME else ", ".join([name, f"frame {frame}"])


def trainings(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each network, by how it was trained: `mix`, then `mix per scale` and those with frozen parts."""
    order = labels.trainings_in_order(rows["training"])
    words = {"": "", "none": "", "backbone": ", head only"}
    parts = {}
    for (training, frozen, per_scale), part in rows.groupby(["training", "frozen", "per_scale"], dropna=False):
        apart = not pd.isna(per_scale) and bool(per_scale)
        counted = "block" if frozen == "1" else "blocks"
        how = (" per scale" if apart else "") + words.get(frozen, f", {frozen} {counted} frozen")
        blocks = int(frozen) if frozen.isdecimal() else -1
        place = (1, training, not apart, blocks) if how else (0, order.index(training))
        parts[place] = f"{training}{how}", part
    return dict(parts[place] for place in sorted(parts))


def captures(rows: pd.DataFrame, exact: str = "exact pixels") -> dict[str, dict]:
    """What the pixels went through before a network or a method sees them, `exact` first, then `8-bit`, `noise 0.01`.

    {name: its columns} of the roundings and noises in the rows.
    """
    found, words = {}, {"8-bit blur": "8-bit", "8-bit": "8-bit, resized too"}
    for rounding, noise_sd in set(zip(rows["rounding"], rows["noise_sd"])):
        name = ", ".join(filter(None, (words.get(rounding), f"noise {noise_sd:g}" if noise_sd > 0 else "")))
        found[name] = {"rounding": rounding, "noise_sd": noise_sd}
    return {name or exact: found[name] for name in sorted(found)}


def against(rows: pd.DataFrame, **wanted) -> pd.DataFrame:
    """Of the comparisons, those whose other side has `wanted` (`training="mix"`), be it this side's value or not."""
    kept = (rows[list(records.VERSUS)].astype(object).fillna("") != "").any(axis=1).to_numpy(copy=True)
    for column, value in wanted.items():
        theirs = rows[f"versus_{column}"].astype(object).fillna("")
        kept &= (theirs.where(theirs != "", rows[column].astype(object)) == value).fillna(False).to_numpy(dtype=bool)
    return rows[kept]


def one_source(rows: pd.DataFrame, what: str) -> tuple[str, str]:
    """The (network, data) of rows that must come from one; a figure of two would mix what cannot be compared."""
    named = [(network, data) for network, data, _ in grouped(rows)]
    if len(named) != 1:
        names = ", ".join(f"{network} on {data}" for network, data in named)
        raise UserError(f"{what} needs rows of one network on one dataset, not {len(named)} ({names}); select one")
    return named[0]


def grouped(rows: pd.DataFrame, sort: bool = True) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(network, data, rows) of each source, as a reader knows them: weights are said where a network has several."""
    weights = rows.groupby("network")["weights"].nunique()
    for (network, *images, loaded), part in rows.groupby(SOURCE, sort=sort):
        yield network + (f", weights {loaded}" if weights[network] > 1 else ""), data_name(*images), part


def sources(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{"network on data": its rows}, in order of their names; rows of no network (of the images alone) are left out."""
    of_networks = rows[(rows["network"] != "").to_numpy()]
    return {f"{network} on {data}": part for network, data, part in grouped(of_networks)}


def in_frame(rows: pd.DataFrame, other: int) -> pd.DataFrame:
    """The rows with blur labels as another frame would name them, so that equal labels are equal blurs.

    Shake is drawn on grids of given sizes and has no label in another frame; such rows are left out.
    """
    # A mean over blurs names them all in one cell: it stays where they need no other name.
    rows = rows[((rows["blur"] != "") | (rows["frame"] == other)).to_numpy(dtype=bool)]
    named = [each[0] and labels.renamed(*each, other) for each in zip(rows["blur"], rows["frame"])]
    kept = np.array([label is not None for label in named], dtype=bool)  # a list would, when empty, choose columns
    return rows.assign(blur=named)[kept]
