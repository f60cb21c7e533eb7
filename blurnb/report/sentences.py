"""Numbers for the middle of a sentence: `{from-records}` roles of the pages call these."""

from __future__ import annotations

import pandas as pd

from blurnb.errors import UserError
from blurnb.report import selection, tables


def value(records: pd.DataFrame, metric: str = "top1", form: str = "interval", **wanted) -> str:
    """One number as text: `61.0 [56.6, 65.2]`; form "plain" leaves the interval out, "n" gives the number of images.

    `wanted` are columns of the records (profile, network, training, scale, blur ...; `versus` is what a paired change
    is measured from). Raises UserError unless rows of exactly one condition match.
    """
    wanted = {name: str(text) for name, text in wanted.items()}
    if "versus" in wanted:  # a role's options hold no blanks
        wanted["versus"] = wanted["versus"].replace("_", " ")
    found = selection.select(records, metric=metric, **{"versus": "", **wanted})
    found = found[found["seen"] == selection.main_view(found)]
    conditions = found[["question", "profile", "network", "dataset", "training", "scale", "blur"]].drop_duplicates()
    if len(conditions) != 1:
        asked = ", ".join(f"{name} {text}" for name, text in {"metric": metric, **wanted}.items())
        raise UserError(f"{len(conditions)} conditions match ({asked}), not one; say more, or run what is missing")
    n = int(found["n"].max())
    if form == "n":
        return f"{n:,}"
    one = selection.estimate(found)
    signed = metric.endswith("_change")
    if form == "plain":
        return tables.number(one[0], n, metric, signed)
    return tables.interval(*one, n, metric, signed)
