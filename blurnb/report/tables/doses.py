"""Blur by strength: the radius that takes half of the accuracy, blurs of one strength but different shape, rounding."""

import pandas as pd

from blurnb import intervals, labels, records
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import numbers, selection
from blurnb.report.weighing import POINTS


def curves(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The dose rows, and of `others` (RQ1's records of the same network and data) the single scales that they lack."""
    have = set(rows["scale"])
    more = [scale for scale in set(others["scale"]) - have - {""} if len(labels.sides(scale)) == 1]
    return records.table(pd.concat([rows, selection.select(others, scale=more)]))


def half_radii(rows: pd.DataFrame, chance: float) -> dict[str, intervals.HalfRadius]:
    """By scale, the defocus radius that takes accuracy midway from sharp to `chance`; without scales at chance."""
    found = {}
    plain = selection.main_protocol(selection.estimates(rows, metric="top1"))
    for scale in labels.scales_in_order(plain["scale"]):
        here = selection.select(plain, scale=scale)
        blurs = [blur for blur in labels.in_order(here["blur"]) if labels.family(blur) in ("sharp", "defocus")]
        points = [selection.estimate(selection.select(here, blur=blur)) for blur in blurs]
        if len(blurs) > 2 and points[0][0] > chance:
            radii = [labels.parse(blur).strength for blur in blurs]
            half = selection.half_radius(rows, "top1", scale=scale)
            found[scale] = half or intervals.half_accuracy_radius(radii, *zip(*points), chance=chance)
    return found


def matched(rows: pd.DataFrame) -> pd.DataFrame:
    """Blurs of one strength, paired on the same images: one line for each blur beside the disk as wide as it.

    Strength is the standard deviation of the kernel. The reading is by rule: *differs* where the whole interval lies
    on one side of 0, *alike* where it lies within two points of 0, else *open*.
    """
    widths = selection.select(rows, metric="kernel_sd")
    widths = dict(zip(widths["blur"], widths["value"]))
    changes = selection.select(rows, metric="top1", statistic="difference", part_kind=None)
    others = [blur for blur in labels.in_order(set(changes["versus_blur"]) - {""}) if labels.family(blur) == "defocus"]
    changes = selection.select(changes, versus_blur=others)
    if changes.empty:
        raise UserError(
            "the table of matched blurs needs paired differences from a disk; run the chapter on degradation"
        )
    selection.one_source(changes, "the table of matched blurs")
    lines = []
    for scale in labels.scales_in_order(changes["scale"]):
        for disk in others:
            here = selection.select(changes, scale=scale, versus_blur=disk)
            for blur in labels.in_order(here["blur"]):
                part = selection.select(here, blur=blur)
                (_, low, high), n = selection.numbered(part)
                alike = low >= -POINTS.size and high <= POINTS.size
                lines.append(
                    {
                        "scale": scale,
                        "pair": f"{blur} against {disk}",
                        "standard deviation, pixels": f"{widths[blur]:.2f} against {widths[disk]:.2f}",
                        "difference of top-1, points": numbers.cell(part, signed=True),
                        "n": f"{n:,}",
                        "reading": "alike" if alike else "differs" if low > 0 or high < 0 else "open",
                    }
                )
    return pd.DataFrame(lines)


def rounding(rows: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Every way to answer the same photographs against float32: agreement, and the paired change of accuracy.

    McNemar's exact p-value is not corrected for the number of lines.
    """
    found = selection.against(selection.select(rows, experiment="rounding"), rounding="none", precision="float32")
    if found.empty:
        raise UserError("no records of rounding; run: python -m blurnb rounding")
    lines = []
    for scale in labels.scales_in_order(found["scale"]):
        for blur in labels.in_order(found["blur"]):
            here = selection.select(found, scale=scale, blur=blur)
            for (rounded, precision), part in here.groupby(["rounding", "precision"]):
                if (rounded, precision) == ("none", "float32"):  # compared in something else
                    continue
                same = selection.select(part, metric="agreement")
                change = selection.select(part, metric=metric, statistic="difference")
                p_value = selection.select(part, metric=metric, statistic="p_value")["value"].iloc[0]
                lines.append(
                    {
                        "scale": scale,
                        "condition": blur,
                        "way": precision if rounded == "none" else rounded,
                        "n": f"{part['n'].max():,}",
                        "same answer, %": numbers.cell(same),
                        f"change of {METRICS[metric].heading}": numbers.cell(change, metric, signed=True),
                        "McNemar's p": "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
                    }
                )
    return pd.DataFrame(lines)
