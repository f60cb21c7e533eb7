"""How right networks are, by blur and by training."""

import math

import pandas as pd

from blurnb import labels
from blurnb.errors import UserError
from blurnb.metrics import METRICS
from blurnb.report import numbers, paper, selection


def by_blur(rows: pd.DataFrame, metric: str = "top5") -> pd.DataFrame:
    """One line a condition: n, ours with interval, the paper's value, and the share of the sharp score each keeps.

    Parameters
    ----------
    rows
        Records of one experiment; columns for network, data, training and scale appear where these differ.
    metric
        A key of METRICS; the paper stands beside top5 only, the one accuracy it published. The difference is of
        shares kept, ours minus the paper's, in points, so that networks of unequal strength can be compared at all.
    """
    rows = _plain(rows, metric, "the table by blur", "kept")
    keeps = METRICS[metric].is_proportion or metric == "miou"
    lines = []
    for scale in labels.scales_in_order(rows["scale"]):
        for network, data, of_source in selection.grouped(selection.select(rows, scale=scale), sort=False):
            for training, here in selection.trainings(of_source).items():
                front = {"network": network, "data": data, "training": training}
                for blur in labels.in_order(here["blur"]):
                    part = selection.estimates(here, blur=blur)
                    share = selection.share_kept(here, blur) if keeps and blur != "sharp" else None
                    n = int(part["n"].max())
                    line = front | {"scale": scale, "condition": blur, "n": f"{n:,}"}
                    line[METRICS[metric].heading] = numbers.cell(part, metric)
                    if share is not None:
                        line["share of sharp kept, %"] = numbers.interval(*share, n)
                    if metric == "top5":
                        line |= _beside_the_paper(scale, blur, training, share and share[0], n)
                    lines.append(line)
    frame = pd.DataFrame(lines).fillna("")
    last = [c for c in ("paper, %", "share of sharp kept, %", "paper's share, %", "difference") if c in frame.columns]
    frame = frame[[*[c for c in frame.columns if c not in last], *last]]
    same = [c for c in ("network", "data", "training", "scale") if len(set(frame[c])) == 1]
    return frame.drop(columns=same)


def _beside_the_paper(scale: str, blur: str, training: str, share: float | None, n: int) -> dict[str, str]:
    theirs = paper.published(scale, blur, training)
    kept = math.nan if theirs.empty else theirs["share_kept"].iloc[0]
    shown = share is not None and not math.isnan(kept)
    return {
        "paper, %": "" if theirs.empty else f"{theirs['top5_percent'].iloc[0]:.2f}",
        "paper's share, %": numbers.number(kept, numbers.MANY) if shown else "",
        "difference": numbers.number(share - kept, n, signed=True) if shown else "",
    }


def by_training(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> pd.DataFrame:
    """Trainings down, tested blurs across, value with interval in each cell; the last column is a line's smallest n.

    The last line says which of the blurs some network there has seen in training; without one there is no such line.
    `rows` are of one network and data set, and of one scale unless `scale` names it.
    """
    rows = _plain(rows, metric, "the table of trainings")
    rows = rows if scale is None else selection.select(rows, scale=scale)
    selection.one_source(rows, "the table of trainings")
    scales = labels.scales_in_order(rows["scale"])
    if len(scales) != 1:
        raise UserError(f"the table of trainings takes one scale, not {', '.join(scales) or 'none'}; pass scale=...")
    blurs = labels.in_order(rows["blur"])
    lines = []
    for training, part in selection.trainings(rows).items():
        line = {"trained on": training} | across(part, blurs, metric)
        lines.append(line | {"n": f"{int(part['n'].min()):,}"})
    seen = labels.learnt(rows["training"])
    if seen & set(blurs) - {"sharp"}:
        told = {blur: "yes" if blur in seen else "no" for blur in blurs}
        lines.append({"trained on": "in training", **told, "n": ""})
    return pd.DataFrame(lines)


def across(part: pd.DataFrame, blurs: list[str], metric: str, signed: bool = False) -> dict[str, str]:
    """Value with interval under each of `blurs`, a dash where there is none."""
    return {blur: numbers.cell(selection.select(part, blur=blur), metric, signed) for blur in blurs}


def _plain(rows: pd.DataFrame, metric: str, what: str, *more: str) -> pd.DataFrame:
    """Estimates of the metric under the main protocol, and its statistics `more`."""
    found = selection.select(rows, metric=metric, statistic=["estimate", *more], part_kind=None)
    if selection.estimates(found).empty:
        have = ", ".join(sorted(set(rows["metric"]))) or "none"
        raise UserError(f"{what} needs rows of metric {metric!r}; the records given have {have}")
    return selection.main_protocol(found)
