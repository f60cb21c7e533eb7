"""To be deleted: what `tables.doses`, `tables.segmentation` and `verdicts` have under the same names.

`judge` knows no rule here, so that the card leaves out what fine-tuning brought back in the book.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from blurnb import intervals, labels
from blurnb.report import selection
from blurnb.report.numbers import interval


def half_radii(rows: pd.DataFrame, chance: float) -> dict[str, intervals.HalfRadius]:
    """By scale, the defocus radius that takes accuracy midway from sharp to `chance`; without scales at chance."""
    found = {}
    plain = selection.main_protocol(selection.estimates(rows, metric="top1"))
    for scale in labels.scales_in_order(plain["scale"]):
        here = selection.select(plain, scale=scale)
        doses = [b for b in labels.in_order(here["blur"]) if labels.family(b) in ("sharp", "defocus")]
        points = [selection.estimate(selection.select(here, blur=b)) for b in doses]
        if len(doses) > 2 and points[0][0] > chance:
            radii = [labels.strength(b) for b in doses]
            found[scale] = intervals.half_accuracy_radius(
                radii, *([p[i] for p in points] for i in range(3)), chance=chance
            )
    return found


def class_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a class, most lost first: class, n, blur, scale, sharp (value, low, high), change (value, low, high)."""
    own = selection.select(rows, part_kind="class", metric="top1")
    lines = []
    for name, part in own.groupby("part", sort=True):
        sharp = selection.estimates(part, part_kind="class")
        change = selection.select(part, statistic="difference", versus_blur="sharp")
        if sharp.empty or change.empty:
            continue
        lines.append(
            {
                "class": name,
                "n": int(change["n"].max()),
                "blur": change["blur"].iloc[0],
                "scale": change["scale"].iloc[0],
                "sharp": selection.estimate(sharp),
                "change": selection.estimate(change),
            }
        )
    frame = pd.DataFrame(lines, columns=["class", "n", "blur", "scale", "sharp", "change"])
    order = np.argsort([change[0] for change in frame["change"]], kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def class_table(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` classes that lose most and the `count` that lose least; all where there are no more."""
    found = class_changes(rows)
    shown = found if len(found) <= 2 * count else pd.concat([found.head(count), found.tail(count)])
    return pd.DataFrame(
        {
            "class": shown["class"],
            "n": [str(n) for n in shown["n"]],
            "sharp top-1, %": [interval(*s, n) for s, n in zip(shown["sharp"], shown["n"])],
            f"change under {found['blur'].iloc[0] if len(found) else 'blur'}, points": [
                interval(*c, n, "top1", signed=True) for c, n in zip(shown["change"], shown["n"])
            ],
        }
    )


def class_sentence(rows: pd.DataFrame) -> str:
    """How much there is in the order of the classes: how many differ from the mean loss, beside chance's share."""
    found = class_changes(rows)
    if found.empty:
        return "No class has enough images for a number of its own."
    mean = np.average([change[0] for change in found["change"]], weights=found["n"])
    worse = sum(change[2] < mean for change in found["change"])
    better = sum(change[1] > mean for change in found["change"])
    expected = 0.05 * len(found)
    least, most = found["n"].min(), found["n"].max()
    counts = f"n = {least if least == most else f'{least} to {most}'} a class"
    return (
        f"Of {len(found)} classes ({counts}), {worse} lose more under {found['blur'].iloc[0]} than the mean of "
        f"{abs(100 * mean):.1f} points and {better} less, with whole 95 % intervals; about {expected:.1f} of "
        f"{len(found)} would by chance. The ends of an ordered list are always partly luck."
    )


NOT_RUN = "not run"


def judge(claim: int, rows: pd.DataFrame, profile: str | None = None) -> list:
    return []


def combine(verdicts: list) -> None:
    return None
