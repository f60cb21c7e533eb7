"""Verdicts: what the records of a profile say of each of the paper's claims, by the printed rule.

All parts of the rule speak for the claim: reproduced. Any speaks against it: not reproduced. Else undecided.
Rows missing: not run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from blurnb.errors import UserError
from blurnb.report import selection
from blurnb.report.rules import CLAIMS
from blurnb.report.weighing import Finding, Missing

REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_RUN = "reproduced", "not reproduced", "undecided", "not run"
_SEVERITY = {NOT_RUN: 0, REPRODUCED: 1, UNDECIDED: 2, NOT_REPRODUCED: 3}  # among conditions of one evidence
_DECIDES = {NOT_RUN: 0, UNDECIDED: 1, REPRODUCED: 2, NOT_REPRODUCED: 3}  # among several evidences


@dataclass(frozen=True)
class Verdict:
    """What the records say of one claim: the effect with its interval, on which evidence and by which rule."""

    claim: int
    experiment: str
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
        """The verdict as a line of prose: `Claim 1: reproduced (vgg_mini on scenes, n = 2,000: ...).`"""
        if self.verdict == NOT_RUN:
            return f"Claim {self.claim}: not run ({self.note})."
        return f"Claim {self.claim}: {self.verdict} ({self.evidence}: {self.effect_text()})."

    def effect_text(self) -> str:
        """Effect with interval and unit, e.g. `−22.4 [−25.1, −19.7] points of top-1 at D8`."""
        if math.isnan(self.effect):
            return "no effect that could be told from zero"
        percent = self.unit.startswith(("points", "%"))
        digits = (1 if self.n >= 200 else 0) if percent else 2

        def text(number: float) -> str:
            shown = f"{number * (100 if percent else 1):.{digits}f}".replace("inf", "\N{INFINITY}")
            return shown.lstrip("-") if float(number) == 0 else shown.replace("-", "\N{MINUS SIGN}")

        interval = "" if math.isnan(self.low) else f" [{text(self.low)}, {text(self.high)}]"
        return f"{text(self.effect)}{interval} {self.unit}"


def _word(finding: Finding) -> str:
    sides = {part.side for part in finding.parts}
    return NOT_REPRODUCED if "against" in sides else UNDECIDED if "unclear" in sides else REPRODUCED


def judge(claim: int, rows: pd.DataFrame, profile: str | None = None, metric: str = "top1") -> list[Verdict]:
    """A verdict for each network and data set with rows of the claim's experiment; one "not run" where there is none.

    Parameters
    ----------
    claim
        Its number, 1 to 8.
    rows
        Records of one profile, or of several with `profile` naming one.
    metric
        The accuracy: top1 (means something for sets of any number of classes) or top5; where only the other of the two
        was recorded, that.

    Returns
    -------
    list of Verdict
        By network, then data. Of several scales or conditions the worst for the claim decides.
    """
    if claim not in CLAIMS:
        raise UserError(f"claim must be one of 1..{len(CLAIMS)}, not {claim}")
    experiment, rule = CLAIMS[claim].experiment, CLAIMS[claim].rule
    if profile is None:
        profiles = sorted(set(rows["profile"]))
        if len(profiles) > 1:
            raise UserError(f"records of several profiles ({', '.join(profiles)}); name the one to judge by")
        profile = profiles[0] if profiles else ""
    rows = selection.select(rows, profile=profile)
    blank = Verdict(claim, experiment, profile, NOT_RUN, rule=rule, note=f"no records of {experiment} in this profile")
    verdicts = []
    for evidence, part in selection.sources(selection.select(rows, experiment=experiment)).items():
        # Segmentation is compared with classification, which has networks and data of its own.
        context = pd.concat([part, selection.select(rows, experiment="rq2")]) if experiment == "rq5" else part
        present, other = set(context["metric"]), "top5" if metric == "top1" else "top1"
        chosen = other if metric not in present and other in present else metric
        try:
            findings = list(CLAIMS[claim].find(context, chosen))
        except Missing as missing:
            verdicts.append(replace(blank, evidence=evidence, note=f"{evidence}: {missing}"))
            continue
        worst = max(findings, key=lambda f: (_SEVERITY[_word(f)], -abs(f.effect[0])))
        doubts = [f"{part.name}: {part.side}" for part in worst.parts if part.side != "for"]
        effect, low, high = worst.effect
        told = {"evidence": f"{evidence}, n = {worst.n:,}", "note": "; ".join([worst.note, *doubts])}
        verdicts.append(
            replace(blank, verdict=_word(worst), effect=effect, low=low, high=high, n=worst.n, unit=worst.unit, **told)
        )
    return verdicts or [blank]


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that stands for all evidence of a claim in a profile; its note tells the others.

    Any evidence against the claim decides; else any for it. Evidence too small to say either (20 photographs, for
    one) does not overrule evidence that does, and stands in the note. Not run counts only where nothing was run.
    """
    if not verdicts:
        raise UserError("no verdicts to combine; judge a claim first")
    if len({(v.claim, v.profile) for v in verdicts}) > 1:
        raise UserError("verdicts of several claims or profiles cannot be combined into one")
    decisive = max(verdicts, key=lambda v: (_DECIDES[v.verdict], v.n))
    others = [f"{v.evidence}: {v.verdict}" for v in verdicts if v is not decisive and v.verdict != NOT_RUN]
    if not others:
        return decisive
    return replace(decisive, note=f"{decisive.note}. Beside it {'; '.join(others)}")


def scoreboard(rows: pd.DataFrame, profiles: Sequence[str], metric: str = "top1") -> list[Verdict]:
    """The combined verdict of every claim in every profile, by claim, then in the order of `profiles`."""
    return [combine(judge(claim, rows, profile, metric)) for claim in CLAIMS for profile in profiles]
