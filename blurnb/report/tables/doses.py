"""Blur by strength: the radius that takes half of the accuracy, blurs of one strength; ways to round and to resize."""

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
                (_, low, high), n = selection.estimate(part), int(part["n"].max())
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


def ways(rows: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Every way to round or to resize the same photographs: accuracy, and, paired with the plain way, what it changes.

    `rows` are the records of rounding or of resampling. McNemar's exact p-value, of top1 alone, is not corrected for
    the number of lines.
    """
    found = selection.select(rows, experiment=["rounding", "resampling"])
    if found.empty:
        raise UserError("no records of rounding or resampling; run: python -m blurnb rounding, or resampling")
    varied = [column for column in ("rounding", "precision", "resample") if len(set(found[column])) > 1]
    lines = []
    for network, _, of_one in selection.grouped(found):
        for scale in labels.scales_in_order(of_one["scale"]):
            for blur in labels.in_order(of_one["blur"]):
                here = selection.select(of_one, scale=scale, blur=blur).groupby(varied)
                for words, part in sorted(here, key=lambda way: "agreement" in set(way[1]["metric"])):
                    told = selection.select(part, metric=metric, versus_blur=None)
                    p_value = selection.select(told, statistic="p_value")["value"]
                    line = {"network": network, "scale": scale, "condition": blur}
                    line |= {"way": ", ".join(w for w in words if w != "none"), "n": f"{part['n'].max():,}"}
                    line[METRICS[metric].heading] = numbers.cell(selection.estimates(told), metric)
                    line["same answer, %"] = numbers.cell(selection.select(part, metric="agreement"))
                    changed = selection.select(told, statistic="difference")
                    line[f"change of {METRICS[metric].heading}"] = numbers.cell(changed, metric, signed=True)
                    told = ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in p_value]
                    lines.append(line | {"McNemar's p": "".join(told) or "–"})
    return pd.DataFrame(lines).drop(columns=["network"] if len({line["network"] for line in lines}) == 1 else [])
