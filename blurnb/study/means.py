"""Numbers about several blurs or seeds at once, image by image, so that their intervals know what moves together.

A row about the mean over blurs has `part_kind` mean and the labels, joined by "+", as its `part`. From three seeds on
one row stands for all of them: its `train_seed` is empty and `train_seeds` says how many they are.
"""

import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from blurnb import labels, provenance, records, samples
from blurnb.study import confusion, measures
from blurnb.study.treatments import Condition

VERSION = 1
COUNTED = ("top1", "top5")
METRICS = (*COUNTED, "entropy")


def decided(facts: Mapping) -> dict:
    """What decided answers, with the versions of what makes means of them: a run is known by both."""
    own = provenance.versions(samples, sys.modules[__name__])
    return {**facts, "versions": {**facts.get("versions", {}), **own}}


class Side(NamedTuple):
    """Networks of one training, alike but for their seeds: their columns, and answers by blur, one mapping a seed."""

    columns: Mapping
    tables: Sequence[Mapping[str, pd.DataFrame]]

    @property
    def blurs(self) -> list[str]:
        """Labels that every seed was asked about, in order."""
        return labels.in_order(set.intersection(*map(set, self.tables)))

    def about(self, blurs: Sequence[str]) -> dict:
        """The columns of a row about the mean over these blurs."""
        return {**self.columns, **records.over(blurs)}

    def values(self, blurs: Sequence[str], metric: str) -> np.ndarray:
        """Mean over the blurs, (seeds, images)."""
        return np.stack([np.mean([one[b][metric].to_numpy(float) for b in blurs], axis=0) for one in self.tables])


def side(tables: Sequence[Mapping[Condition, pd.DataFrame]], scale: str, shared: Mapping) -> Side:
    """The answers at one scale, one mapping a seed; `shared` are the columns that all rows have."""
    kept = [{one.treatment.blur: part for one, part in each.items() if one.scale == scale} for each in tables]
    any_of = next(one for one in tables[0] if one.scale == scale)
    seeds = {"train_seed": None, "train_seeds": len(tables)} if len(tables) > 1 else {}
    return Side({**shared, **any_of.columns(), **seeds}, kept)


def common(tables: Sequence[Mapping]) -> list[dict]:
    """The frames of each mapping without the images that any frame of any of them lacks, in one order."""
    every = [part.index for one in tables for part in one.values()]
    shared = functools.reduce(lambda a, b: a if a.equals(b) else a.intersection(b, sort=False), every)
    return [{k: part if part.index.equals(shared) else part.loc[shared] for k, part in one.items()} for one in tables]


def sets(blurs: Iterable[str]) -> list[tuple[str, ...]]:
    """The blurs over which means are taken: all but sharp, and those of each family that has two."""
    blurred = [blur for blur in labels.in_order(blurs) if blur != "sharp"]
    families = (tuple(each) for _, each in itertools.groupby(blurred, labels.family))
    return [each for each in dict.fromkeys((tuple(blurred), *families)) if len(each) > 1]


def estimates(mine: Side, blurs: Sequence[str]) -> Iterator[dict]:
    """The mean over the blurs itself."""
    for metric in METRICS:
        values = mine.values(blurs, metric)
        triple = samples.mean(values, counted=metric in COUNTED)
        yield measures.row(triple, metric, values.shape[1], **mine.about(blurs))


def differences(mine: Side, theirs: Side, blurs: Sequence[str], versus: Sequence[str] = ()) -> Iterator[dict]:
    """`mine` minus `theirs`, mean over the blurs; `versus` where the other side's blurs are others."""
    here, there = mine.about(blurs), theirs.about(versus or blurs)
    shared = {**here, **measures.versus(here, there), "statistic": "difference"}
    for metric in METRICS:
        values = mine.values(blurs, metric) - theirs.values(versus or blurs, metric)
        yield measures.row(samples.mean(values, counted=metric in COUNTED), metric, values.shape[1], **shared)


def shares(mine: Side, sharp: Side, blurs: Sequence[str]) -> Iterator[dict]:
    """What `mine` keeps under the blurs of what `sharp` has on sharp images, and recovers of what `sharp` loses."""
    here, there = mine.about(blurs), sharp.about(("sharp",))
    shared = {**here, **measures.versus(here, there)}
    for metric in COUNTED:
        own, before, best = mine.values(blurs, metric), sharp.values(blurs, metric), sharp.values(("sharp",), metric)
        found = {"kept": (own, best)} | ({} if mine is sharp else {"recovered": (own - before, best - before)})
        for statistic, pair in found.items():
            if pair[1].mean() > 0:
                share = samples.ratio(*pair, counted=True)
                yield measures.row(share, metric, own.shape[1], **shared, statistic=statistic)


def of_network(mine: Side, sharp: Side | None = None, rivals: Sequence[Side] = ()) -> Iterator[dict]:
    """Every such row about one training: its changes from sharp images, its differences from `rivals` under the same
    blurs, and the shares that it keeps of its own score on sharp images and of that of the network `sharp`.

    A single seed's differences under single blurs are no means: they are recorded where the network is asked.
    """
    many, wanted = len(mine.tables) > 1, sets(mine.blurs)
    singles = [(blur,) for blur in mine.blurs]
    for blurs in [*wanted[:1], *(singles if many else ())]:
        yield from estimates(mine, blurs)
    if "sharp" in mine.blurs:
        for blurs in [*wanted[:1], *(singles if many else ())]:
            if blurs != ("sharp",):
                yield from differences(mine, mine, blurs, ("sharp",))
    for rival in rivals:
        every = [] if rival.columns["scale"] == mine.columns["scale"] else [tuple(mine.blurs)]
        for blurs in dict.fromkeys([*wanted, *every, *(singles if many else ())]):
            if set(blurs) <= set(rival.blurs):
                yield from differences(mine, rival, blurs)
    for best in filter(None, (mine, sharp)):
        for blurs in [*wanted[:1], *singles]:
            if blurs != ("sharp",) and {"sharp", *blurs} <= set(best.blurs):
                yield from shares(mine, best, blurs)


def of_tables(tables: Mapping[Condition, pd.DataFrame], shared: Mapping, class_count: int) -> Iterator[dict]:
    """`of_network` of a network that stands alone, at every scale, and its half-accuracy radii."""
    yield from measures.half_radii(tables, shared, class_count)
    (same,) = common([tables])
    for scale in dict.fromkeys(one.scale for one in tables):
        yield from of_network(side([same], scale, shared))


def of_treatments(tables: Mapping[Condition, pd.DataFrame], columns: Callable[[Condition], dict]) -> Iterator[dict]:
    """Mean over the blurs of each way of treating them, and of what it differs from both networks shown them as is.

    `columns` are those of a condition.
    """
    ways: dict[Condition, dict] = {}
    for one, part in common([tables])[0].items():
        ways.setdefault(one._replace(treatment=one.treatment._replace(blur="")), {})[one.treatment.blur] = part
    for one, parts in ways.items():
        mine = Side(columns(one), [parts])
        for blurs in sets(parts)[:1]:
            yield from estimates(mine, blurs)
        plains = [one._replace(treatment=one.treatment.captured, training=training) for training in ("sharp", "mix")]
        for plain in plains[: 1 if one == plains[0] else 2]:  # of the two networks the mix is told against the sharp
            for blurs in sets(parts) if plain in ways and plain != one else ():
                yield from differences(mine, Side(columns(plain), [ways[plain]]), blurs)


def pixel_means(mine: Mapping, sharp: Mapping, here: Mapping, there: Mapping, block: int = 1) -> Iterator[dict]:
    """The same of mIoU, on sets of images drawn again: `mine` beside `sharp`, another network or the same.

    Both are matrices (n, classes, classes) by blur, of the same images, drawn in blocks of `block`; `here` and `there`
    are the columns of both.
    """
    is_other, blurs = mine is not sharp, [blur for blur in labels.in_order(mine) if blur in sharp]
    n = len(next(iter(mine.values())))

    def scores(matrices: np.ndarray) -> np.ndarray:
        """mIoU of the set, and of those drawn from it."""
        drawn = confusion.resampled(matrices, here["seed"], block=block) if n > 1 else matrices[:0]
        return np.append(confusion.miou(matrices.sum(0)), confusion.miou(drawn))

    own, other = ({blur: scores(one[blur]) for blur in blurs} for one in (mine, sharp))
    for some in [*sets(blurs)[:1], *((blur,) for blur in blurs if blur != "sharp")]:
        after, before = (np.mean([each[blur] for blur in some], axis=0) for each in (own, other))
        about, found = {**here, **records.over(some)}, []
        if len(some) > 1:
            beside = {**there, **records.over(some if is_other else ("sharp",))}
            found.append(("difference", after - (before if is_other else own["sharp"]), beside))
        best = {**there, "blur": "sharp"}
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(("kept", after / other["sharp"], best))
            if is_other:
                found.append(("recovered", (after - before) / (other["sharp"] - before), best))
        for statistic, drawn, beside in found:
            triple = confusion.interval(float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])], block / n)
            yield measures.row(triple, "miou", n, **about, **measures.versus(about, beside), statistic=statistic)
