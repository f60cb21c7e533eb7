"""Classes one by one: which break first under blur, and what training on the mix gives each class of pixels."""

import numpy as np
import pandas as pd

from blurnb import labels
from blurnb.errors import UserError
from blurnb.report import numbers, selection


def by_class(rows: pd.DataFrame, blur: str = "D8") -> pd.DataFrame:
    """IoU of each class, sharp and under `blur`, of the sharp and the mix network, and what the mix adds under blur.

    `rows` are of one network and data set. The gain is the difference of the two columns before it, without an
    interval; n is that of the set.
    """
    found = selection.estimates(rows, metric="iou", part_kind="class", frozen="none", training=["sharp", "mix"])
    if found.empty:
        raise UserError("the table of classes has no rows with metric iou; run the notebook that writes them")
    selection.one_source(found, "the table of classes")
    if blur not in set(found["blur"]):
        there = ", ".join(labels.in_order(found["blur"]))
        raise UserError(f"the table of classes has no rows under {blur}; there: {there}")
    lines = []
    for name, part in found.groupby("part", sort=False):
        n, line = int(part["n"].max()), {"class": name}
        for label in ("sharp", blur):
            pair = [selection.select(part, training=training, blur=label) for training in ("sharp", "mix")]
            line |= {f"{label}: {who} network": numbers.cell(one, "iou") for who, one in zip(("sharp", "mix"), pair)}
        before, after = map(selection.estimate, pair)
        gain = np.nan if None in (before, after) else after[0] - before[0]
        line[f"gain under {blur}"] = numbers.number(gain, n, "iou", signed=True)
        lines.append(line | {"n": f"{n:,}"})
    return pd.DataFrame(lines)


def class_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a class, most lost first: class, n, blur, scale, sharp (value, low, high), change (value, low, high).

    `rows` are of one network, data set and scale; empty where no class had images enough for rows of its own.
    """
    of_classes = selection.select(rows, part_kind="class", metric="top1")
    lines = []
    for name, part in of_classes.groupby("part"):
        sharp = selection.estimates(part, part_kind="class", blur="sharp")
        change = selection.select(part, statistic="difference", versus_blur="sharp")
        if sharp.empty or change.empty:
            continue
        line = {"class": name, "n": int(change["n"].max())}
        line |= {column: change[column].iloc[0] for column in ("blur", "scale")}
        lines.append(line | {"sharp": selection.estimate(sharp), "change": selection.estimate(change)})
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
            "sharp top-1, %": [numbers.interval(*s, n) for s, n in zip(shown["sharp"], shown["n"])],
            f"change under {found['blur'].iloc[0] if len(found) else 'blur'}, points": [
                numbers.interval(*c, n, signed=True) for c, n in zip(shown["change"], shown["n"])
            ],
        }
    )


def class_sentence(rows: pd.DataFrame) -> str:
    """How much there is in the order of the classes: how many differ from the mean loss, beside chance's share."""
    if (found := class_changes(rows)).empty:
        return "No class has enough images for a number of its own."
    mean = np.average([change[0] for change in found["change"]], weights=found["n"])
    worse = sum(change[2] < mean for change in found["change"])
    better = sum(change[1] > mean for change in found["change"])
    expected = 0.05 * len(found)
    return (
        f"Of {len(found)} classes ({numbers.counted(found['n'])} a class), {worse} lose more under "
        f"{found['blur'].iloc[0]} than the mean of {abs(100 * mean):.1f} points and {better} less, with whole 95 % "
        f"intervals; about {expected:.1f} of {len(found)} would by chance. The ends of an ordered list are always "
        "partly luck."
    )
