"""Answers into rows of records: what each condition gives, and how it differs from another on the same images."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from blurnb import intervals, labels, records
from blurnb.study import confusion
from blurnb.study.treatments import Condition

VERSION = 2
LEAST_OF_A_CLASS = 5
"""Images below which a class is left out."""
BINS = 10

DIFFERENCES = ("top1", "top5", "entropy")
"""Metrics whose paired differences are recorded, beside McNemar's p-value of top1."""


def _proportion(right: pd.Series) -> tuple[float, float, float]:
    return float(right.mean()), *intervals.wilson(int(right.sum()), len(right))


MEASURES: dict[str, Callable[[pd.DataFrame, int], tuple]] = {
    "top1": lambda part, seed: _proportion(part["top1"]),
    "top5": lambda part, seed: _proportion(part["top5"]),
    "entropy": lambda part, seed: intervals.bootstrap_mean(part["entropy"].to_numpy(), seed),
    "p_true": lambda part, seed: intervals.bootstrap_mean(part["p_true"].to_numpy(), seed),
    "confidence": lambda part, seed: intervals.bootstrap_mean(part["confidence"].to_numpy(), seed),
    "ece": lambda part, seed: intervals.ece(part["confidence"].clip(0, 1), part["top1"], seed=seed),
}
"""Metric -> function of (answers of one condition, seed) -> (value, low, high)."""


def row(triple: tuple[float, float, float] | float, metric: str, n: int, **columns) -> dict:
    """One record of an estimate (value, low, high), or of a value without interval; `columns` may say `statistic`."""
    value, low, high = triple if isinstance(triple, tuple) else (triple, math.nan, math.nan)
    ends = {"value": value, "ci_low": low, "ci_high": high, "n": n}
    return records.row(**{"statistic": "estimate", **columns, "metric": metric, **ends})


def of_each(tables: Mapping[Condition, pd.DataFrame], shared: Mapping, metrics: Sequence[str] = ()) -> list[dict]:
    """Every metric (all of MEASURES, or those named) of every condition; `shared` columns hold the protocol's seed."""
    return [
        row(MEASURES[metric](part, shared["seed"]), metric, len(part), **{**shared, **one.columns()})
        for one, part in tables.items()
        for metric in metrics or MEASURES
    ]


def summary(tables: Mapping[Condition, pd.DataFrame], shared: Mapping, classes: Sequence[str] = ()) -> list[dict]:
    """Every metric of every condition, and the paired differences from sharp images; of `classes` those that tell."""
    scale, blur = main_scale([one.scale for one in tables]), telling_blur([one.treatment.blur for one in tables])
    of_those = of_classes(tables, classes, shared, scale, blur) if classes else ()
    return [*of_each(tables, shared), *from_sharp(tables, shared), *of_those]


def difference(mine: pd.DataFrame, theirs: pd.DataFrame, here: Mapping, there: Mapping, metrics=DIFFERENCES) -> list:
    """Paired differences mine - theirs over the images that both have (frames indexed by image).

    `here` and `there` are the columns of both sides; where they differ the other's become `versus_` columns.
    """
    both = mine.index.intersection(theirs.index, sort=False)
    mine, theirs = mine.loc[both], theirs.loc[both]
    shared = {**here, **versus(here, there)}
    rows = []
    for metric in metrics:
        pair = mine[metric].to_numpy(float), theirs[metric].to_numpy(float)
        triple = intervals.paired_difference(*pair, shared["seed"])
        rows.append(row(triple, metric, len(both), **shared, statistic="difference"))
    p_value = intervals.mcnemar(mine["top1"].to_numpy(), theirs["top1"].to_numpy())
    return [*rows, row(p_value, "top1", len(both), **shared, statistic="p_value")]


def versus(here: Mapping, there: Mapping) -> dict:
    """The `versus_` columns of a comparison: the other side, where it differs."""
    names = [name.removeprefix("versus_") for name in records.VERSUS]
    return {f"versus_{name}": there[name] for name in names if name in there and there[name] != here.get(name)}


def from_sharp(tables: Mapping[Condition, pd.DataFrame], shared: Mapping, metrics=DIFFERENCES) -> list[dict]:
    """The paired difference of every blurred condition from the sharp images, where those were asked too."""
    rows = []
    for one, part in tables.items():
        sharp = one.sharp
        if one != sharp and one.treatment.method == "none" and sharp in tables:
            here, there = ({**shared, **side.columns()} for side in (one, sharp))
            rows += difference(part, tables[sharp], here, there, metrics)
    return rows


def from_smaller(tables: Mapping[Condition, pd.DataFrame], shared: Mapping, metrics=DIFFERENCES) -> list[dict]:
    """The paired difference of every defocus radius from the next smaller one, and of the largest from the smallest."""
    rows = []
    for scale in dict.fromkeys(one.scale for one in tables):
        here = {one.treatment.blur: one for one in tables if one.scale == scale}
        disks = [here[blur] for blur in labels.in_order(here) if labels.family(blur) == "defocus"]
        for small, large in {*zip(disks, disks[1:]), *zip(disks[:1], disks[2:][-1:])}:
            sides = ({**shared, **one.columns()} for one in (large, small))
            rows += difference(tables[large], tables[small], *sides, metrics)
    return rows


def agreement(mine: pd.DataFrame, theirs: pd.DataFrame, here: Mapping, there: Mapping) -> dict:
    """Share of the images that both sides give the same class."""
    both = mine.index.intersection(theirs.index, sort=False)
    same = mine.loc[both, "predicted"] == theirs.loc[both, "predicted"]
    return row(_proportion(same), "agreement", len(both), **here, **versus(here, there))


def of_classes(
    tables: Mapping[Condition, pd.DataFrame], classes: Sequence[str], shared: Mapping, scale: str, blur: str
) -> list[dict]:
    """For every class with LEAST_OF_A_CLASS images, top1 on its sharp images and its paired change under `blur`."""
    found = {one.treatment.blur: (one, part) for one, part in tables.items() if one.scale == scale}
    if blur not in found or "sharp" not in found:
        return []
    (blurred_one, blurred), (sharp_one, sharp) = found[blur], found["sharp"]
    rows = []
    for label, part in sharp.groupby("label"):
        twin = blurred[blurred["label"] == label]
        twin = twin.loc[twin.index.intersection(part.index, sort=False)]
        if len(twin) < LEAST_OF_A_CLASS:
            continue
        part = part.loc[twin.index]
        named = {**shared, "part_kind": "class", "part": classes[label]}
        here, there = ({**named, **one.columns()} for one in (blurred_one, sharp_one))
        rows.append(row(_proportion(part["top1"]), "top1", len(part), **there))
        pair = twin["top1"].to_numpy(float), part["top1"].to_numpy(float)
        triple = intervals.paired_difference(*pair, shared["seed"])
        rows.append(row(triple, "top1", len(part), **here, **versus(here, there), statistic="difference"))
    return rows


def of_bins(tables: Mapping[Condition, pd.DataFrame], shared: Mapping) -> list[dict]:
    """Accuracy and mean confidence of the images in each of BINS equal bins of confidence, 1 the lowest."""
    rows = []
    for one, part in tables.items():
        curve = intervals.reliability(part["confidence"].clip(0, 1).to_numpy(), part["top1"].to_numpy(), bins=BINS)
        for place, mean, right, low, high, n in zip(*curve.values()):
            named = {**shared, **one.columns(), "part_kind": "bin", "part": str(place)}
            rows.append(row((right, low, high), "top1", int(n), **named))
            rows.append(row(mean, "confidence", int(n), **named))
    return rows


def half_radii(tables: Mapping[Condition, pd.DataFrame], shared: Mapping, classes: int) -> list[dict]:
    """The defocus radius that takes top1, and top5, midway from sharp images to chance; where two were asked beside 0.

    The row stands with the largest disk (`blur`): what lies beyond it is infinite.
    """
    disks = [(labels.parse(one.treatment.blur), one) for one in tables if one.treatment.method == "none"]
    disks = sorted((blur.strength, one) for blur, one in disks if blur.family in ("sharp", "defocus"))
    rows = []
    for sharp in (one for radius, one in disks if radius == 0):
        radii, asked = zip(*((radius, one) for radius, one in disks if one.sharp == sharp))
        for metric, chance in (("top1", 1 / classes), ("top5", min(1, 5 / classes))):
            right = np.stack([tables[one][metric] for one in asked], axis=1)
            if len(radii) > 2 and right[:, 0].mean() > chance:
                half = intervals.half_accuracy_radius(radii, right, chance=chance, seed=shared["seed"])
                here = {**shared, **asked[-1].columns(), "part_kind": "metric", "part": metric}
                rows.append(row(half[:3], "half_radius", len(right), **here))
    return rows


def telling_blur(blurs: Sequence[str]) -> str:
    """The blur under which classes are compared: D8, the paper's largest disk, else the last; "" if all is sharp."""
    return "D8" if "D8" in blurs else next((blur for blur in reversed(blurs) if blur != "sharp"), "")


def main_scale(scales: Sequence[str]) -> str:
    """256, the paper's main scale, where present, else the first."""
    return "256" if "256" in scales else scales[0]


def kernel_sd(kernels: Sequence[np.ndarray]) -> float:
    """Standard deviation of kernels (side, side), pixels: root mean square over both axes and all of them."""
    variances = []
    for kernel in kernels:
        places = np.arange(len(kernel))
        for along in (kernel.sum(0), kernel.sum(1)):
            variances.append(along @ places**2 - (along @ places) ** 2)
    return float(np.sqrt(np.mean(variances)))


# -- pixels


def of_pixels(regions: Mapping[str, np.ndarray], classes: Sequence[str], here: Mapping, block: int = 1) -> list[dict]:
    """Records of one condition from its matrices by region, each (n, classes, classes), one an image.

    mIoU and pixel accuracy over all pixels, of the boundary and of the interior; IoU of every class that is there.
    `block`: so many images in a row are alike (`confusion.resampled`).
    """
    rows, n = [], len(next(iter(regions.values())))
    for region, matrices in {"": sum(regions.values()), **regions}.items():
        named = {**here, **({"part_kind": "region", "part": region} if region else {})}
        total, draws = matrices.sum(0), confusion.resampled(matrices, here["seed"], block)
        for metric, measure in (("miou", confusion.miou), ("pixel_accuracy", confusion.pixel_accuracy)):
            triple = confusion.interval(float(measure(total)), measure(draws) if n > 1 else np.array([]), block / n)
            if not math.isnan(triple[0]):
                rows.append(row(triple, metric, n, **named))
        if not region:
            each, drawn = confusion.iou(total), confusion.iou(draws)
            for place, name in enumerate(classes):
                if not math.isnan(each[place]):
                    triple = confusion.interval(each[place], drawn[:, place] if n > 1 else np.array([]), block / n)
                    rows.append(row(triple, "iou", n, **here, part_kind="class", part=name))
    return rows


def pixel_difference(mine: Mapping, theirs: Mapping, here: Mapping, there: Mapping, block: int = 1) -> list[dict]:
    """Paired differences of mIoU between matrices by region of the same images, over all pixels and by region."""
    rows, n = [], len(next(iter(mine.values())))
    other = {"": sum(theirs.values()), **theirs}
    for region, matrices in {"": sum(mine.values()), **mine}.items():
        named = {**here, **({"part_kind": "region", "part": region} if region else {})}
        value = float(confusion.miou(matrices.sum(0)) - confusion.miou(other[region].sum(0)))
        if not math.isnan(value):
            drawn = [confusion.miou(confusion.resampled(one, here["seed"], block)) for one in (matrices, other[region])]
            triple = confusion.interval(value, drawn[0] - drawn[1] if n > 1 else np.array([]), block / n)
            rows.append(row(triple, "miou", n, **named, **versus(here, there), statistic="difference"))
    return rows
