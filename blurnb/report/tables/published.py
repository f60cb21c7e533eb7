"""The 21 published rows, each beside what was measured here, or the reason why it was not."""

from collections.abc import Sequence

import pandas as pd

from blurnb import labels
from blurnb.report import numbers, paper, selection

PROFILES = ("embedded", "photographs", "paper")
FEW_CLASSES = ("scenes", "imagenette")
"""Data sets of ten-odd classes, where the best five are nearly all there is."""
NOT_RUN = "not run yet"

_COLUMNS = [
    "row", "training", "scale", "blur", "paper, %", "paper's share, %",
    "profile", "ours, %", "share kept, %", "difference", "n", "network", "data", "remark",
]  # fmt: skip


def rows(records: pd.DataFrame, profiles: Sequence[str] = PROFILES) -> pd.DataFrame:
    """All 21 published rows beside the counterpart that each profile has, a line for each network and data set.

    Columns: row, training, scale, blur, the paper's top-5 and share of the sharp score kept; profile, ours with
    interval, share kept and its difference from the paper's in points, n, network, data, and a remark: why a row
    cannot be compared, or `not run yet`.
    """
    lines = []
    for row in paper.published().itertuples():
        front = {"row": str(row.row), "training": row.training, "scale": row.scale, "blur": row.blur}
        front["paper, %"] = f"{row.top5_percent:.2f}"
        if not _is_reference(row):
            front["paper's share, %"] = numbers.number(row.share_kept, numbers.MANY, nothing="")
        for profile in profiles:
            mine = selection.select(records, profile=profile, metric=["top1", "top5"], frozen="none", part_kind=None)
            lines += [front | {"profile": profile} | back for back in _counterparts(mine, row)]
    return pd.DataFrame(lines, columns=_COLUMNS).fillna("")


def _is_reference(row) -> bool:
    """Whether this is the sharp network on sharp images, of which others keep a share."""
    return row.training == row.blur == "sharp"


def _counterparts(mine: pd.DataFrame, row) -> list[dict]:
    """What a profile has for a published row, a line for each network and data set, or one that says why none."""
    if row.scale == "unknown":
        return [{"remark": "cannot be compared: the paper does not say at which scale"}]
    if row.training == "mix" and row.scale == "512":
        asked = ["rq3"]  # fine-tuned at 256, tested at 512: the chapter on scales
    else:
        asked = ["rq1"] if row.training == "sharp" else ["rq2", "rq3"]
    trained = selection.trainings(selection.select(mine, experiment=asked)).get(row.training)
    if trained is None:
        return [{"remark": NOT_RUN}]
    there = selection.select(trained, scale=row.scale)
    if there.empty:
        have = ", ".join(labels.scales_in_order(trained["scale"]))
        return [{"remark": f"{NOT_RUN} at scale {row.scale} (this profile has {have})"}]
    there = selection.select(there, blur=row.blur)
    if there.empty:
        return [{"remark": f"{NOT_RUN} under {row.blur}"}]
    found = []
    for network, data, part in selection.grouped(there):
        metric = "top1" if part["dataset"].iloc[0] in FEW_CLASSES or "top5" not in set(part["metric"]) else "top5"
        part = selection.main_protocol(selection.select(part, metric=metric))
        if (alone := selection.estimates(part)).empty:
            continue
        n, beside = int(alone["n"].max()), pd.concat([part, _sharp_partner(mine, part)])
        share = None if _is_reference(row) else selection.share_kept(beside, row.blur, row.training, "sharp")
        line = {"ours, %": numbers.cell(alone, metric), "share kept, %": numbers.interval(*share, n) if share else ""}
        line["difference"] = numbers.number(share[0] - row.share_kept, n, signed=True, nothing="") if share else ""
        line |= {"n": f"{n:,}", "network": network, "data": data}
        found.append(line | ({} if metric == "top5" else {"remark": "top-1: with this few classes top-5 says little"}))
    return found or [{"remark": NOT_RUN}]


def _sharp_partner(mine: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """The sharp network's rows on sharp images, at the scale, under the protocol and in the experiments of `like`."""
    shared = ["experiment", *selection.SOURCE, "scale", "metric", *selection.PREFERRED]
    wanted = {column: list(set(like[column])) for column in shared if like[column].notna().all()}
    return selection.estimates(mine, training="sharp", blur="sharp", per_scale=False, **wanted)
