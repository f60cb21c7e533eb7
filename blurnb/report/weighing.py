"""What a rule weighs its claim with: parts that each get one of four words, differences paired where recorded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from blurnb import intervals, labels, records
from blurnb.intervals import Triple
from blurnb.report import selection

UNKNOWN = (math.nan, math.nan, math.nan)
SUPPORTED, CONTRADICTED, NO_EFFECT, UNDECIDED = "supported", "contradicted", "no effect", "undecided"


class Least(NamedTuple):
    """A smallest effect of interest: less than that, in either direction, counts as no effect."""

    size: float
    said: str


POINTS = Least(0.02, "2 points of accuracy")
IOU_POINTS = Least(0.01, "1 point of mIoU")
NATS = Least(0.1, "0.1 nats")
DISTANCE = Least(0.05, "5 % of the distance to another image")
KEPT = Least(0.05, "5 % of the sharp score")


class Missing(Exception):
    """Rows that a rule cannot do without are not there; the message says which."""


class Part(NamedTuple):
    """One thing a rule looks at: an estimate that the claim wants above `bar` by `least`, the smallest of interest.

    The line is cut in three: more than `least` above the bar, more than `least` below it, and what lies between. The
    part is *supported*, *contradicted* or *no effect* when its whole interval lies in the one, the other or the
    third, and *undecided* when it reaches into two: to see no difference is not to show that there is none. An
    interval that shrinks around its estimate can thus leave "undecided" and nothing else. A bar that is itself a
    smallest effect of interest (a cost of two points) has a `least` of 0.
    """

    name: str
    estimate: Triple
    bar: float = 0.0
    least: float = 0.0

    @property
    def word(self) -> str:
        """One of the four words."""
        _, low, high = self.estimate
        if low > self.bar + self.least:
            return SUPPORTED
        if high < self.bar - self.least:
            return CONTRADICTED
        return NO_EFFECT if self.bar - self.least <= low and high <= self.bar + self.least else UNDECIDED

    @property
    def times(self) -> float:
        """How many times the images would decide an effect of this size: widths shrink with the square root of n.

        1 or less where it is decided; infinite where the estimate lies on a bar, NaN where it has no interval.
        """
        value, low, high = self.estimate
        edges = {self.bar - self.least, self.bar + self.least}
        needed = [
            ((value - low if edge < value else high - value) / abs(value - edge)) ** 2 for edge in edges - {value}
        ]
        return math.inf if value in edges else max(needed)


class Finding(NamedTuple):
    """What a rule found under one condition (a scale, say): its parts, the effect to print, on how many images."""

    parts: list[Part]
    effect: Triple
    unit: str
    n: int
    note: str


def own(rows: pd.DataFrame, experiment: str, **wanted) -> pd.DataFrame:
    """The experiment's rows about whole images, of one network trained whole; `wanted` narrows or widens."""
    usual = {"experiment": experiment, "part_kind": ["", "mean"], "frozen": "none", "per_scale": False}
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
    paired = recorded(rows, "difference", metric, here, there)
    if paired is not None:
        return paired
    return intervals.difference(estimate(rows, metric=metric, **here), estimate(rows, metric=metric, **here | there))


def recorded(rows: pd.DataFrame, statistic: str, metric: str, here: Mapping, there: Mapping) -> Triple | None:
    """What was recorded of `here` against `there`, as for `gap`; None where it was not."""
    other = {f"versus_{column}": value for column, value in there.items() if here.get(column) != value}
    sides = {column: other.get(column) for column in records.VERSUS}
    return selection.estimate(selection.select(rows, metric=metric, statistic=statistic, **here, **sides))


def mean_gap(rows: pd.DataFrame, metric: str, blurs: Sequence[str], here: Mapping, there: Mapping) -> Triple:
    """The mean of `gap` over `blurs`: as recorded, image by image, else from the ends, which errs wide."""
    joint = recorded(rows, "difference", metric, {**here, **records.over(blurs)}, there)
    return joint or intervals.mean_of([gap(rows, metric, {**here, "blur": blur}, there) for blur in blurs])


def recovered(rows: pd.DataFrame, metric: str, blurs: Sequence[str]) -> tuple[Triple, Triple]:
    """(share of the sharp network's loss that the mix network does not have, that loss), means over the blurs.

    Means before the ratio, or a mild blur would decide by its noise.
    """
    loss = minus(mean_gap(rows, metric, blurs, {"training": "sharp"}, {"blur": "sharp"}))
    there = {"training": "sharp", "blur": "sharp"}
    share = recorded(rows, "recovered", metric, {"training": "mix", **records.over(blurs)}, there)
    gain = share or mean_gap(rows, metric, blurs, {"training": "mix"}, {"training": "sharp"})
    return share or intervals.ratio(gain, loss), loss


def kept(rows: pd.DataFrame, metric: str, blurs: Sequence[str]) -> Triple:
    """What the mix network keeps under blur, mean over `blurs`, of the sharp network's score on sharp images."""
    there = {"training": "sharp", "blur": "sharp"}
    share = recorded(rows, "kept", metric, {"training": "mix", **records.over(blurs)}, there)
    if share is not None:
        return share
    mixed = intervals.mean_of([estimate(rows, metric=metric, training="mix", blur=blur) for blur in blurs])
    return intervals.ratio(mixed, estimate(rows, metric=metric, **there))


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
