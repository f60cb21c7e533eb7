"""One way to print a number, with its interval, everywhere."""

import math
from collections.abc import Sequence

import pandas as pd

from blurnb.metrics import METRICS
from blurnb.report import selection

NEVER_ALONE = ("ece", "cka")  # set off by chance, the more the fewer images
MANY = 200  # images from which on a share is printed with a decimal


def number(value: float, n: int, metric: str = "top1", signed: bool = False, nothing: str = "–") -> str:
    """One number as printed: percent with a decimal from 200 images on, without below; other units to three digits."""
    if math.isnan(value):
        return nothing
    kind = METRICS[metric]
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    if kind.is_share:
        text = f"{100 * value + 0.0:{'+' if signed else ''}.{1 if n >= MANY else 0}f}"
    else:
        text = f"{value:{'+' if signed else ''}#.{kind.digits}g}".rstrip(".")
    return "0" + text[2:] if text.startswith("-0") and float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def interval(value: float, low: float, high: float, n: int, metric: str = "top1", signed: bool = False) -> str:
    """`61.0 [56.6, 65.2]`; the value alone where there is no interval, unless it means nothing alone."""
    text = number(value, n, metric, signed)
    if math.isnan(low) or math.isnan(high):
        return "no interval" if metric in NEVER_ALONE else text
    return f"{text} [{number(low, n, metric, signed)}, {number(high, n, metric, signed)}]"


def cell(rows: pd.DataFrame, metric: str = "top1", signed: bool = False) -> str:
    """The number that the rows of one condition stand for, with its interval; a dash where there are no rows."""
    if rows.empty:
        return "–"
    return interval(*selection.estimate(rows), int(rows["n"].max()), metric, signed)


def counted(n: Sequence[int]) -> str:
    """`n = 500`, or what the counts span."""
    least, most = min(n), max(n)
    return f"n = {least:,}" if least == most else f"n = {least:,} to {most:,}"


def roughly(n: float) -> str:
    """A whole number to two digits, upwards: `4,200`."""
    step = 10 ** max(0, len(str(math.ceil(n))) - 2)
    return f"{math.ceil(n / step) * step:,}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 1:
        return "< 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
