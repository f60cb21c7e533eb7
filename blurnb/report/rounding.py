"""What rounding to 8 bits and reduced precision do to answers, beside float32."""

from __future__ import annotations

import pandas as pd

from blurnb.errors import UserError
from blurnb.report import selection, tables


def table(records: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Every way to answer the same photographs against float32: agreement, and the paired change of accuracy."""
    found = selection.select(records, question="rq1", versus="float32")
    if found.empty:
        raise UserError("no records of rounding; run: python -m blurnb rounding")
    lines = []
    places = {scale: i for i, scale in enumerate(selection.scales_in_order(found["scale"]))}
    blurs = selection.in_order(found["blur"])
    order = sorted(
        found.groupby(["scale", "blur", "seen"]), key=lambda g: (places[g[0][0]], blurs.index(g[0][1]), g[0][2])
    )
    for (scale, blur, seen), part in order:
        line, n = {"scale": scale, "condition": blur, "way": seen.partition(", ")[2]}, int(part["n"].max())
        line["n"] = f"{n:,}"
        for title, name, signed in (
            ("same answer, %", "agreement", False),
            (f"change of {tables.name(metric)}", f"{metric}_change", True),
        ):
            one = part[part["metric"] == name].iloc[0]
            kind = "top1" if name == "agreement" else name
            line[title] = tables.interval(one["value"], one["ci_low"], one["ci_high"], n, kind, signed)
        p_value = part[part["metric"] == "mcnemar_p"]["value"].iloc[0]
        line["McNemar's p"] = "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
        lines.append(line)
    return pd.DataFrame(lines)
