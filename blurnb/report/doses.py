"""Blur as a dose: the radius that takes half of the accuracy, and blurs of one strength but different shape."""

from __future__ import annotations

import numpy as np
import pandas as pd

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report import selection, tables

MARGIN = 0.02
"""Two points: a difference whose whole interval is smaller does not matter."""


def curves(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The dose rows, and of `others` (RQ1's records of the same network and data) the scales that they lack."""
    have = set(rows["scale"])
    more = others[~others["scale"].isin(have) & ~others["scale"].str.contains("+", regex=False)]
    return records.table([*rows.to_dict("records"), *more.to_dict("records")])


def half_doses(rows: pd.DataFrame, chance: float) -> dict[str, intervals.HalfRadius]:
    """By scale, the defocus radius that takes accuracy midway from sharp to `chance`; without scales at chance."""
    found = {}
    plain = selection.select(rows, metric="top1", versus="")
    plain = plain[plain["seen"] == selection.main_view(plain)]
    for scale in selection.scales_in_order(plain["scale"]):
        here = selection.select(plain, scale=scale)
        labels = [b for b in selection.in_order(here["blur"]) if selection.family(b) in ("sharp", "defocus")]
        points = [selection.estimate(selection.select(here, blur=b)) for b in labels]
        if len(labels) > 2 and points[0][0] > chance:
            radii = [selection.strength(b) for b in labels]
            found[scale] = intervals.half_accuracy_radius(
                radii, *([p[i] for p in points] for i in range(3)), chance=chance
            )
    return found


def matched(rows: pd.DataFrame) -> pd.DataFrame:
    """Blurs of one strength, paired on the same images: one line for each blur beside the disk as wide as it.

    Strength is the standard deviation of the kernel. The reading is by rule: *differs* where the whole interval lies
    on one side of 0, *alike* where it lies within two points of 0, else *open*.
    """
    rows = selection.split_view(rows)
    spreads = selection.select(rows, metric="spread")
    spreads = dict(zip(spreads["blur"], spreads["value"]))
    changes = selection.select(rows, metric="top1_change")
    changes = changes[np.array([versus.startswith("D") for versus in changes["versus"]], dtype=bool)]
    if changes.empty:
        raise UserError(
            "the table of matched blurs needs paired differences from a disk; run the chapter on degradation"
        )
    selection.one_source(changes, "the table of matched blurs")
    lines = []
    for scale in selection.scales_in_order(changes["scale"]):
        here = selection.select(changes, scale=scale)
        for disk in selection.in_order(here["versus"]):
            for blur in selection.in_order(here.loc[here["versus"] == disk, "blur"]):
                part = selection.select(here, versus=disk, blur=blur)
                value, low, high = selection.estimate(part)
                n = int(part["n"].max())
                alike = low > -MARGIN and high < MARGIN
                lines.append(
                    {
                        "scale": scale,
                        "pair": f"{blur} against {disk}",
                        "standard deviation, pixels": f"{spreads[blur]:.2f} against {spreads[disk]:.2f}",
                        "difference of top-1, points": tables.interval(value, low, high, n, "top1_change", signed=True),
                        "n": f"{n:,}",
                        "reading": "alike" if alike else "differs" if low > 0 or high < 0 else "open",
                    }
                )
    return pd.DataFrame(lines)
