"""Verdicts: what the records of a profile say of each of the paper's claims, by the printed rule.

A claim is supported when all parts of its rule are; else the gravest word of a part is the claim's: contradicted, no
effect, undecided. Rows missing: not run. Each network on each data set has a verdict of its own, and none decides for
the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from blurnb.errors import UserError
from blurnb.report import selection
from blurnb.report.numbers import roughly
from blurnb.report.rules import CLAIMS
from blurnb.report.weighing import CONTRADICTED, NO_EFFECT, SUPPORTED, UNDECIDED, Finding, Missing

NOT_RUN = "not run"
WORDS = (SUPPORTED, UNDECIDED, NO_EFFECT, CONTRADICTED)
"""From the best for a claim to the gravest."""


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

    def effect_text(self) -> str:
        """Effect with interval and unit, e.g. `−22.4 [−25.1, −19.7] points of top-1 at D8`."""
        if math.isnan(self.effect):
            return "nothing that could be told from zero"
        percent = self.unit.startswith(("points", "%"))
        digits = (1 if self.n >= 200 else 0) if percent else 2

        def text(number: float) -> str:
            shown = f"{number * (100 if percent else 1):.{digits}f}".replace("inf", "\N{INFINITY}")
            return shown.lstrip("-") if float(number) == 0 else shown.replace("-", "\N{MINUS SIGN}")

        interval = "" if math.isnan(self.low) else f" [{text(self.low)}, {text(self.high)}]"
        return f"{text(self.effect)}{interval} {self.unit}"


def _word(finding: Finding) -> str:
    return max((part.word for part in finding.parts), key=WORDS.index)


def _doubts(finding: Finding, seeds: int) -> list[str]:
    """What each part that is not supported says, and how much evidence would decide it."""
    told = []
    for part in finding.parts:
        text, times = f"{part.name}: {part.word}", part.times
        if part.word == UNDECIDED and math.isfinite(times):
            text += f" (an effect of this size is decided by about {roughly(times * finding.n)} images"
            text += ", the spread of the seeds allowing)" if seeds > 1 else ")"
        elif part.word == UNDECIDED and math.isinf(times):
            text += " (the effect lies on the bar; no number of images decides it)"
        told += [text] if part.word != SUPPORTED else []
    return told


def judge(claim: int, rows: pd.DataFrame, profile: str, metric: str = "top1") -> list[Verdict]:
    """A verdict for each network and data set with rows of the claim's experiment; one "not run" where there is none.

    Parameters
    ----------
    claim
        Its number, 1 to 8.
    rows
        Records, of other profiles too.
    profile
        The one to judge by.
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
        worst = max(findings, key=lambda f: (WORDS.index(_word(f)), -abs(f.effect[0])))
        doubts = _doubts(worst, part["train_seed"].nunique())
        told = dict(zip(("effect", "low", "high"), worst.effect)) | {"n": worst.n, "unit": worst.unit}
        told |= {"evidence": f"{evidence}, n = {worst.n:,}", "note": "; ".join([worst.note, *doubts])}
        verdicts.append(replace(blank, verdict=_word(worst), **told))
    return verdicts or [blank]


def count(verdicts: Sequence[Verdict]) -> list[tuple[str, list[Verdict]]]:
    """(word, its verdicts) from supported to contradicted, of the evidence that was run; "not run" alone if none was.

    Largest n first. Networks and data sets are counted, not pooled: one never decides for all.
    """
    ran = sorted((one for one in verdicts if one.verdict != NOT_RUN), key=lambda one: -one.n)
    if not ran:
        return [(NOT_RUN, list(verdicts))]
    return [(word, some) for word in WORDS if (some := [one for one in ran if one.verdict == word])]
