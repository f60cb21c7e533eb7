"""Numbers for the middle of a sentence: `{from-records}` roles of the pages call these."""

import pandas as pd

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import numbers, selection

_PLAIN = {"frozen": ["none", ""], "per_scale": [False, pd.NA], "kernel": ["none", ""]}
"""What a number is about unless more is asked: a network trained whole, for all scales; no kernel given to it."""
_CONDITION = ["experiment", "profile", *selection.SOURCE, "training", "scale", "blur", "method", "noise_sd", "rounding"]


def value(rows: pd.DataFrame, metric: str = "top1", form: str = "interval", **wanted) -> str:
    """One number as text, `61.0 [56.6, 65.2]`, under the main protocol.

    Parameters
    ----------
    rows
        Records, of several profiles and experiments perhaps.
    metric
        A key of METRICS.
    form
        "interval"; "plain" leaves the interval out; "n" gives the number of images.
    **wanted
        Columns of the records: profile, network, training, scale, blur ... With one of the other side
        (`versus_training`) the number is the paired difference from it.

    Raises
    ------
    UserError
        Unless rows of exactly one condition match.
    """
    wanted = {column: _cell(column, given) for column, given in wanted.items()}
    statistic = "difference" if set(wanted) & set(records.VERSUS) else "estimate"
    found = selection.estimates(rows, **{"metric": metric, "statistic": statistic, **_PLAIN, **wanted})
    found = selection.main_protocol(found)
    conditions = found[_CONDITION].drop_duplicates()
    if len(conditions) != 1:
        asked = ", ".join(f"{name} {text}" for name, text in {"metric": metric, **wanted}.items())
        raise UserError(f"{len(conditions)} conditions match ({asked}), not one; say more, or run what is missing")
    n = int(found["n"].max())
    if form == "n":
        return f"{n:,}"
    one = selection.estimate(found)
    if form == "plain":
        return numbers.number(one[0], n, metric, signed=statistic == "difference")
    return numbers.interval(*one, n, metric, signed=statistic == "difference")


def _cell(column: str, given: object) -> object:
    """What a page means: its options are read as YAML, where 256 is a number and true no text."""
    if records.ANSWERS.get(column) != "text":
        return given
    return {True: "true", False: "false"}[given] if isinstance(given, bool) else str(given)
