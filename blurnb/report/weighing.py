"""What a rule weighs its claim with: parts for and against it, and differences paired wherever they were recorded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from blurnb import intervals, labels, records
from blurnb.intervals import Triple
from blurnb.report import selection

MARGIN = 0.02
"""Two points: what counts as "almost no cost", and the least effect worth a claim."""
UNKNOWN = (math.nan, math.nan, math.nan)


class Missing(Exception):
    """Rows that a rule cannot do without are not there; the message says which."""


class Part(NamedTuple):
    """One thing a rule looks at: an estimate that the claim wants above `bar`.

    It speaks *for* the claim when its whole interval lies above the bar, *against* it when the whole interval lies
    below the bar or excludes an effect as large as `margin`, and is *unclear* otherwise: to see no difference is not
    to show that there is none.
    """

    name: str
    estimate: Triple
    bar: float = 0.0
    margin: float = 0.0

    @property
    def side(self) -> str:
        """for, against or unclear."""
        _, low, high = self.estimate
        if low > self.bar:
            return "for"
        if high <= self.bar or high < self.bar + self.margin:
            return "against"
        return "unclear"


class Finding(NamedTuple):
    """What a rule found under one condition (a scale, say): its parts, the effect to print, on how many images."""

    parts: list[Part]
    effect: Triple
    unit: str
    n: int
    note: str


def own(rows: pd.DataFrame, experiment: str, **wanted) -> pd.DataFrame:
    """The experiment's rows about whole images, of one network trained whole; `wanted` narrows or widens."""
    usual = {"experiment": experiment, "part_kind": None, "frozen": "none", "per_scale": False}
    return selection.select(rows, **{**usual, **wanted})


def by_scale(
    rows: pd.DataFrame, trainings: Sequence[str], but: Sequence[str] = (), **wanted
) -> Iterator[tuple[str, pd.DataFrame]]:
    """(scale, its rows) for each scale at which all `trainings` have estimates that match `wanted`.

    The rows are those of the main protocol; `but` are columns of it that are conditions here.
    """
    there = selection.estimates(rows, **wanted)
    shared = set.intersection(*(set(there.loc[there["training"] == training, "scale"]) for training in trainings))
    if not shared:
        raise Missing(f"no rows of training {' and '.join(trainings)} at one scale")
    for scale in labels.scales_in_order(shared):
        yield scale, selection.main_protocol(selection.select(rows, scale=scale), but)


def estimate(rows: pd.DataFrame, **wanted) -> Triple:
    """The number that these rows stand for; Missing where there are none."""
    found = selection.estimate(selection.estimates(rows, **wanted))
    if found is None:
        raise Missing("no rows with " + ", ".join(f"{k} {v}" for k, v in wanted.items()))
    return found


def gap(rows: pd.DataFrame, metric: str, here: Mapping, there: Mapping) -> Triple:
    """`here` minus `there`, from the paired row where it was recorded, else from two rows as if independent.

    `there` names only the columns in which the other side differs, or may; `here` says what they are on this side.
    """
    other = {f"versus_{column}": value for column, value in there.items() if here.get(column) != value}
    sides = {column: other.get(column) for column in records.VERSUS}
    paired = selection.estimate(selection.select(rows, metric=metric, statistic="difference", **here, **sides))
    if paired is not None:
        return paired
    return intervals.difference(estimate(rows, metric=metric, **here), estimate(rows, metric=metric, **here | there))


def mean_gap(rows: pd.DataFrame, metric: str, blurs: Sequence[str], here: Mapping, there: Mapping) -> Triple:
    """The mean of `gap` over `blurs`."""
    return intervals.mean_of([gap(rows, metric, {**here, "blur": blur}, there) for blur in blurs])


def minus(a: Triple) -> Triple:
    """The estimate with its sign turned."""
    return -a[0], -a[2], -a[1]


def shared_blurs(rows: pd.DataFrame, conditions: Sequence[Mapping], **wanted) -> list[str]:
    """Blur labels that every condition has estimates for, in order, sharp among them."""
    there = selection.estimates(rows, **wanted)
    sets = [set(selection.select(there, **condition)["blur"]) for condition in conditions]
    return labels.in_order(set.intersection(*sets) - {""})


def blurred(rows: pd.DataFrame, trainings: Sequence[str], missing: str = "", **wanted) -> list[str]:
    """Blur labels other than sharp that the networks of all `trainings` were tested on; none is Missing if so said."""
    shared = shared_blurs(rows, [{"training": training} for training in trainings], **wanted)
    blurs = [blur for blur in shared if blur != "sharp"]
    if missing and not blurs:
        raise Missing(missing)
    return blurs


def count(rows: pd.DataFrame, **wanted) -> int:
    """Images behind the estimates, the largest number of them."""
    return int(selection.estimates(rows, **wanted)["n"].max())


def seconds(rows: pd.DataFrame, **wanted) -> Triple:
    """Seconds per image. Time is no sample of images: the mean counts as exact; without rows nothing is known."""
    found = selection.select(rows, metric="seconds", **wanted)["value"]
    return (float(found.mean()),) * 3 if len(found) else UNKNOWN
