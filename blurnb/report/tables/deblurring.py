"""What deblurring gains and where it loses it again."""

from collections.abc import Iterator

import pandas as pd

from blurnb import intervals, labels, records
from blurnb.errors import UserError
from blurnb.report import numbers, selection
from blurnb.report.tables.accuracy import across


def by_treatment(rows: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Ways of answering down, blurs across, with the true kernel: value with interval, and n in the last column.

    Parameters
    ----------
    rows
        Records of one network on one data set.
    metric
        top1, top5, psnr (of what the networks are shown) or seconds. Every noise and rounding has lines of its own;
        what was not measured under a blur is left empty.
    """
    found = _need(selection.estimates(rows, metric=metric, kernel=["none", "true"]), "the table of treatments", metric)
    blurs = labels.in_order(found["blur"])
    lines = [front | across(part, blurs, metric) | {"n": f"{int(part['n'].min()):,}"} for front, part in _ways(found)]
    return pd.DataFrame(lines)


def differences(rows: pd.DataFrame, metric: str = "top1", versus_training: str | None = "mix") -> pd.DataFrame:
    """Paired differences of every way, with the true kernel, from another network that sees the images as they are.

    `versus_training` names that network; None: the same network with no deblurring. The mean over the blurs comes
    first, then a column for each. McNemar's p-value is not averaged, and not shown.
    """
    found = selection.select(rows, metric=metric, statistic="difference", kernel=["none", "true"],
                             part_kind=["", "mean"])  # fmt: skip
    found = selection.select(found, versus_training=versus_training, versus_blur=None)
    found, lines = _need(found, "the table of paired differences", metric), []
    blurs = labels.in_order(set(found["blur"]) - {""})
    for front, part in _ways(found):
        own, n = labels.in_order(set(part["blur"]) - {""}), int(part["n"].max())
        joint = selection.select(part, **records.over(own))
        each = [selection.estimate(selection.select(part, blur=blur)) for blur in own]
        mean = intervals.mean_of(each) if joint.empty else selection.estimate(joint)
        line = front | {"mean, points": numbers.interval(*mean, n, metric, signed=True)}
        lines.append(line | across(part, blurs, metric, signed=True) | {"n": f"{n:,}"})
    return pd.DataFrame(lines)


def _need(found: pd.DataFrame, what: str, metric: str) -> pd.DataFrame:
    if found.empty:
        raise UserError(f"{what} has no rows with metric {metric}; run the notebook that writes them")
    selection.one_source(found, what)
    return found


def _ways(found: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """(first cells of the line, its rows): by what the pixels went through, networks as they are before methods."""
    trainings = labels.trainings_in_order(found["training"])
    for pixels, capture in selection.captures(found, exact="exact").items():
        here = selection.select(found, **capture)
        pairs = set(zip(here["training"], here["method"]))
        for training, method in sorted(pairs, key=lambda p: (p[1] != "none", trainings.index(p[0]), p[1])):
            part = selection.select(here, training=training, method=method)
            way = "no deblurring" if method == "none" else method.replace("_", " ")
            if training:  # for PSNR no network is asked
                way = training if method == "none" else f"{way}, then {training}"
            yield {"pixels": pixels, "way": way}, part
