"""What to do about blur, by rule, from the records of a card."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from blurnb import intervals
from blurnb.report import claims, figures, selection, tables

EQUAL = (3.2, 5.0)  # standard deviations, frame pixels, that count as about equally strong; D8 and G4 have 4
FEW = 200  # images, below which intervals are too wide to act on
OVERCONFIDENT = 0.05


def training(rows: pd.DataFrame) -> str:
    return rows["training"].iloc[0]


def telling(here: pd.DataFrame) -> str:
    """The blur that stands for blur: D8 where measured, else the strongest of the first family."""
    blurs = [b for b in selection.in_order(here["blur"]) if b != "sharp"]
    first = [b for b in blurs if selection.family(b) == selection.family(blurs[0])]
    return "D8" if "D8" in blurs else first[-1]


def guessing(here: pd.DataFrame, note: Mapping) -> bool:
    """Whether the sharp accuracy cannot be told from that of always naming one class."""
    here = here[here["seen"] == selection.main_view(here)]
    sharp = selection.estimate(selection.select(here, blur="sharp", metric="top1", versus=""))
    return sharp[1] <= max(1 / note["classes"], note.get("most_frequent_class", 0.0))


def family_losses(here: pd.DataFrame) -> dict[str, tuple[str, tuple[float, float, float]]]:
    """By family, the blur of about D8's strength and the paired change of top-1 under it, most lost first."""
    changes = selection.select(here, metric="top1_change", versus="sharp image")
    changes = changes[changes["seen"] == selection.main_view(changes)]
    found = {}
    for blur in selection.in_order(changes["blur"]):
        size = figures.spread(blur)
        kind = selection.family(blur)
        if kind in ("shake", "inertial") or EQUAL[0] <= size <= EQUAL[1]:
            found.setdefault(kind, (blur, selection.estimate(selection.select(changes, blur=blur))))
    return dict(sorted(found.items(), key=lambda pair: pair[1][1][0]))


def steps(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> list[str]:
    """Advice, one sentence or two each, most important first."""
    rows = selection.split_view(rows)
    scales = selection.scales_in_order(rows["scale"])
    here = selection.select(rows, scale="256" if "256" in scales else scales[0])
    n = int(here["n"].max())
    if guessing(here, note):
        return [
            "This network is at chance level on sharp images: its answers there cannot be told from always naming one "
            "class, so nothing here says what blur does to it. Check its weights, its normalisation (mean and std) and "
            "that its classes are in the order of the sorted folders."
        ]
    found = _few(n) + _train(here, n, reference) + _scale(rows, scales, n) + _confidence(here, n)
    return found or ["No blur tested costs more than its interval leaves open."]


def _few(n: int) -> list[str]:
    if n >= FEW:
        return []
    return [f"With {n} images the intervals are too wide to act on; give {FEW} or more before you decide anything."]


def _train(here: pd.DataFrame, n: int, reference: pd.DataFrame) -> list[str]:
    losses = family_losses(here)
    lost = {kind: one for kind, one in losses.items() if one[1][2] < 0}
    if not lost:
        return []
    kind, (blur, change) = next(iter(lost.items()))
    costs = "; ".join(f"{_points(one, n)} under {b}" for b, one in losses.values())
    text = f"Fine-tune it on sharp and blurred images together, as the code below draws them. Change of top-1: {costs}"
    others = [one for label, one in losses.values() if label != blur]
    if others:
        clearly = change[2] < min(one[1] for one in others)
        text += ", which are about equally strong. "
        text += (
            f"{kind.capitalize()} costs it most." if clearly else "The kind of blur that costs it most is not clear."
        )
    else:
        text += "."
    known = claims.combine(claims.judge(2, reference, "photographs")) if len(reference) else None
    if known is not None and known.verdict != claims.NOT_RUN:
        text += f" In the book that brought back {known.effect_text()} ({known.evidence})."
    return [text]


def _points(change: tuple[float, float, float], n: int) -> str:
    return tables.interval(*change, n, "top1_change", signed=True)


def _scale(rows: pd.DataFrame, scales: list[str], n: int) -> list[str]:
    plain = selection.select(rows, metric="top1", versus="")
    plain = plain[plain["seen"] == selection.main_view(plain)]
    blur = telling(plain)
    best = {}
    for condition in ("sharp", blur):
        level = {s: selection.estimate(selection.select(plain, scale=s, blur=condition)) for s in scales}
        best[condition] = (max(level, key=lambda s: level[s][0]), level)
    (sharp, _), (under, level) = best["sharp"], best[blur]
    if len(scales) < 2:
        return []
    if sharp == under:
        return [
            f"Show it images {sharp} pixels high: of {', '.join(scales)} that is best on sharp images and under {blur}."
        ]
    gain = intervals.difference(level[under], level[sharp])
    if gain[1] > 0:
        return [
            f"Show it sharp images {sharp} pixels high, but blurred ones {under}: under {blur} that is "
            f"{_points(gain, n)} points better."
        ]
    return [
        f"Show it images {sharp} pixels high. Under {blur} the best scale measured is {under}, but by no more than its "
        "interval leaves open."
    ]


def _confidence(here: pd.DataFrame, n: int) -> list[str]:
    plain = selection.select(here[here["seen"] == selection.main_view(here)], versus="")
    found = {}
    for blur in ("sharp", telling(here)):
        part = selection.select(plain, blur=blur)
        sure, right = (selection.estimate(selection.select(part, metric=m)) for m in ("confidence", "top1"))
        found[blur] = None if sure is None else intervals.difference(sure, right)
    (_, before), (blur, after) = found.items()
    if after is None or not after[1] > OVERCONFIDENT:
        return []
    text = f"Do not trust its confidence under blur: under {blur} it is {_points(after, n)} points surer than right"
    text += f" ({_points(before, n)} on sharp images)." if before is not None else "."
    return [text + " Set thresholds, or a softmax temperature, on images blurred like those it will meet."]


def recipe(rows: pd.DataFrame, note: Mapping) -> str:
    """The line of code that the first step refers to; empty where there is nothing to train against."""
    rows = selection.split_view(rows)
    scales = selection.scales_in_order(rows["scale"])
    here = selection.select(rows, scale="256" if "256" in scales else scales[0])
    lost = {kind: one for kind, one in family_losses(here).items() if one[1][2] < 0}
    if guessing(here, note) or not lost:
        return ""
    kind = next(iter(lost))
    alone = kind if kind in ("defocus", "gaussian", "motion", "shake") else "shake"
    return (
        "from blurnb.optics import RandomBlur\n"
        'augment = RandomBlur(mix="mix")  # one image in five stays sharp\n'
        f'# RandomBlur(mix="{alone}") if {alone} is the only blur that it will ever meet'
    )
