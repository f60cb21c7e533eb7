"""Eight claims, eight rules: each turns records into a verdict by intervals, and each can fail.

A rule weighs its parts one by one. A part speaks *for* the claim when its whole interval lies on the claimed side
of zero (or of the stated bar), *against* it when the whole interval lies on the other side or excludes an effect
as large as the stated margin, and is *unclear* otherwise: to see no difference is not to show that there is none.
All parts for: reproduced. Any against: not reproduced. Else undecided. Rows missing: not run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from blurnb import statistics
from blurnb.errors import UserError
from blurnb.report import selection
from blurnb.report.paper import CLAIMS

REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_RUN = "reproduced", "not reproduced", "undecided", "not run"
MARGIN = 0.02  # two points: what counts as "almost no cost", and the least effect worth a claim

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Verdict:
    """What the records say of one claim: the effect with its interval, on which evidence and by which rule."""

    claim: int
    question: str
    profile: str
    verdict: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    unit: str = ""
    evidence: str = ""
    rule: str = ""
    note: str = ""

    def sentence(self) -> str:
        """The verdict as a line of prose: `Claim 1: reproduced (...)`."""
        if self.verdict == NOT_RUN:
            return f"Claim {self.claim}: not run ({self.note})."
        return f"Claim {self.claim}: {self.verdict} ({self.evidence}: {self.effect_text()})."

    def effect_text(self) -> str:
        """Effect with interval and unit, e.g. `-22.4 [-25.1, -19.7] points`."""
        factor, unit = (100, self.unit) if self.unit.startswith(("points", "% ")) else (1, self.unit)
        digits = 2 if factor == 1 else 1 if self.n >= 200 else 0

        def text(number: float) -> str:
            return f"{factor * number + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")

        interval = "" if math.isnan(self.low) else f" [{text(self.low)}, {text(self.high)}]"
        return f"{text(self.effect)}{interval} {unit}"


@dataclass(frozen=True)
class Part:
    """One thing a rule looks at: an estimate that the claim wants above `bar`, and what it is called."""

    name: str
    estimate: Triple
    bar: float = 0.0
    margin: float = 0.0

    @property
    def side(self) -> str:
        _, low, high = self.estimate
        if low > self.bar:
            return "for"
        if high < self.bar + self.margin or high <= self.bar:
            return "against"
        return "unclear"  # also where the interval is NaN


Finding = tuple[list[Part], Triple, str, str]  # parts, effect, unit, note


class _Missing(Exception):
    """Rows that a rule needs are not there; the message says which."""


def _estimate(rows: pd.DataFrame, what: str, **wanted) -> Triple:
    found = selection.estimate(selection.select(rows, **wanted))
    if found is None:
        raise _Missing(f"no rows for {what}")
    return found


def _change(rows: pd.DataFrame, metric: str, versus: str, training: str, blur: str, view: str) -> Triple:
    """Change of `metric` against `versus`, from the paired row or, without one, from the two rows (wider)."""
    paired = selection.select(rows, metric=f"{metric}_change", versus=versus, seen=view, training=training, blur=blur)
    found = selection.estimate(paired)
    if found is not None:
        return found
    plain = {"metric": metric, "versus": "", "seen": view}
    here = _estimate(rows, f"{training} on {blur}", **plain, training=training, blur=blur)
    other = {"training": training, "blur": "sharp"} if versus == "sharp image" else {"training": "sharp", "blur": blur}
    return statistics.difference(here, _estimate(rows, f"{other['training']} on {other['blur']}", **plain, **other))


def _minus(a: Triple) -> Triple:
    return -a[0], -a[2], -a[1]


def _blurs(rows: pd.DataFrame, **wanted) -> list[str]:
    return selection.in_order(selection.select(rows, versus="", **wanted)["blur"].unique())


def _metric(rows: pd.DataFrame, preferred: str) -> str:
    present = set(rows["metric"])
    other = "top5" if preferred == "top1" else "top1"
    return preferred if preferred in present else other if other in present else preferred


def _scales(rows: pd.DataFrame, **wanted) -> list[str]:
    found = selection.scales_in_order(selection.select(rows, **wanted)["scale"])
    if not found:
        raise _Missing("no rows of " + ", ".join(f"{k} {v}" for k, v in wanted.items()))
    return found


def _degradation(rows: pd.DataFrame, metric: str) -> list[Finding]:
    findings = []
    for scale in _scales(rows, question="rq1", training="sharp", metric=metric):
        here = selection.select(rows, question="rq1", training="sharp", scale=scale)
        view = selection.main_view(here[here["metric"] == metric])
        doses = [b for b in _blurs(here, metric=metric, seen=view) if selection.family(b) == "defocus"]
        if len(doses) < 2:
            raise _Missing(f"fewer than two defocus radii at scale {scale}")
        losses = [_minus(_change(here, metric, "sharp image", "sharp", blur, view)) for blur in doses]
        parts = [
            Part(f"{doses[-1]} loses", losses[-1], margin=MARGIN),
            Part(
                f"{doses[-1]} loses more than {doses[0]}", statistics.difference(losses[-1], losses[0]), margin=MARGIN
            ),
        ]
        # Out of order counts against the claim only where intervals part, so noise alone cannot refute it.
        for i, small in enumerate(losses):
            for j in range(i + 1, len(losses)):
                if small[1] > losses[j][2]:
                    gap = statistics.difference(losses[j], small)
                    parts.append(Part(f"{doses[j]} loses as much as {doses[i]}", (gap[0], gap[1], min(gap[2], 0.0))))
        shown = doses.index("D8") if "D8" in doses else len(doses) - 1
        unit = f"points of {metric} at {doses[shown]}"
        findings.append((parts, _minus(losses[shown]), unit, f"scale {scale}, {', '.join(doses)}"))
    return findings


_Rule = Callable[[pd.DataFrame, str], list[Finding]]
RULES: dict[int, tuple[str, _Rule]] = {
    1: (
        "The largest defocus radius must lose accuracy, and more than the smallest, each with its whole interval; no "
        "larger radius may lose less than a smaller one with intervals apart; at every scale.",
        _degradation,
    ),
}


def _word(parts: Sequence[Part]) -> str:
    sides = {part.side for part in parts}
    return NOT_REPRODUCED if "against" in sides else UNDECIDED if "unclear" in sides else REPRODUCED


_SEVERITY = {NOT_RUN: 0, REPRODUCED: 1, UNDECIDED: 2, NOT_REPRODUCED: 3}


def judge(claim: int, rows: pd.DataFrame, profile: str | None = None, metric: str = "top1") -> list[Verdict]:
    """A verdict for each (network, dataset) with rows for the claim's question; one "not run" where there is none.

    `rows` are records of one profile, or of several with `profile` naming one. Accuracy is `metric` (top1 exists
    for sets of any number of classes), or top5 where that alone was recorded. Of several scales or conditions
    the worst for the claim decides.
    """
    if claim not in CLAIMS:
        raise UserError(f"claim must be one of 1..{len(CLAIMS)}, not {claim}")
    question = CLAIMS[claim].question
    if profile is None:
        profiles = sorted(set(rows["profile"]))
        if len(profiles) > 1:
            raise UserError(f"records of several profiles ({', '.join(profiles)}); name the one to judge by")
        profile = profiles[0] if profiles else ""
    rows = rows[rows["profile"] == profile]
    if claim not in RULES:
        return [Verdict(claim, question, profile, NOT_RUN, rule="", note="no rule yet")]
    rule, find = RULES[claim]
    frame = {"claim": claim, "question": question, "profile": profile, "rule": rule}
    own = rows[rows["question"] == question]
    if own.empty:
        return [Verdict(**frame, verdict=NOT_RUN, note=f"no records of {question} in this profile")]
    verdicts = []
    for (network, dataset), part in own.groupby(["network", "dataset"], sort=True):
        # Claim 8 compares with the classification of rq2, which has another network and dataset.
        context = part if claim != 8 else pd.concat([part, rows[rows["question"] == "rq2"]])
        evidence = f"{network} on {dataset}"
        try:
            findings = find(context, _metric(context, metric))
        except _Missing as missing:
            verdicts.append(Verdict(**frame, verdict=NOT_RUN, evidence=evidence, note=str(missing)))
            continue
        # The worst finding decides; among equals the one with the weakest effect for its interval is shown.
        parts, effect, unit, note = max(findings, key=lambda f: (_SEVERITY[_word(f[0])], -abs(f[1][0])))
        doubts = [f"{p.name}: {p.side}" for p in parts if p.side != "for"]
        verdicts.append(
            Verdict(
                **frame,
                verdict=_word(parts),
                effect=effect[0],
                low=effect[1],
                high=effect[2],
                n=int(part["n"].max()),
                unit=unit,
                evidence=f"{evidence}, n = {int(part['n'].max()):,}",
                note="; ".join([note, *doubts]),
            )
        )
    return verdicts


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of one claim's verdicts in one profile, which stands for all; its note counts the others.

    Evidence that was not run is left aside unless nothing was run.
    """
    if not verdicts:
        raise UserError("no verdicts to combine; judge a claim first")
    if len({(v.claim, v.profile) for v in verdicts}) > 1:
        raise UserError("verdicts of several claims or profiles cannot be combined into one")
    worst = max(verdicts, key=lambda v: (_SEVERITY[v.verdict], -v.n))
    ran = [v for v in verdicts if v.verdict != NOT_RUN]
    if len(ran) < 2:
        return worst
    others = "; ".join(f"{v.evidence}: {v.verdict}" for v in ran if v is not worst)
    return Verdict(**{**worst.__dict__, "note": f"{worst.note}. The worst of {len(ran)} decides; {others}"})


def scoreboard(rows: pd.DataFrame, profiles: Sequence[str], metric: str = "top1") -> list[Verdict]:
    """The combined verdict of every claim in every profile, by claim, then in the order of `profiles`."""
    return [combine(judge(claim, rows, profile, metric)) for claim in CLAIMS for profile in profiles]
