"""The eight claims as tables: one line each for the book's first page, in full for a chapter."""

from collections.abc import Mapping, Sequence

import pandas as pd

from blurnb.report import verdicts
from blurnb.report.rules import CLAIMS
from blurnb.report.tables.published import PROFILES


def scoreboard(
    records: pd.DataFrame,
    profiles: Sequence[str] = PROFILES,
    metric: str = "top1",
    chapters: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The eight claims by profile: verdict, effect with interval and n in each cell; chapter in the last column.

    `chapters` makes that a link where it has the experiment (``{"rq1": "../notebooks/rq1_degradation.ipynb"}``).
    """
    found = {(v.claim, v.profile): v for v in verdicts.scoreboard(records, profiles, metric)}
    lines = []
    for claim in CLAIMS.values():
        line = {"claim": str(claim.number), "statement": claim.statement}
        for profile in profiles:
            one = found[claim.number, profile]
            ran = one.verdict != verdicts.NOT_RUN
            line[profile] = f"**{one.verdict}**: {one.effect_text()}; {one.evidence}" if ran else one.verdict
        name, target = claim.experiment.upper(), (chapters or {}).get(claim.experiment)
        lines.append(line | {"chapter": f"[{name}]({target})" if target else name})
    return pd.DataFrame(lines)


def in_full(found: Sequence[verdicts.Verdict]) -> pd.DataFrame:
    """Verdicts for a chapter: evidence, verdict, effect and what the rule stumbled over."""
    return pd.DataFrame(
        {
            "claim": [str(v.claim) for v in found],
            "evidence": [v.evidence or "–" for v in found],
            "verdict": [v.verdict for v in found],
            "effect": ["–" if v.verdict == verdicts.NOT_RUN else v.effect_text() for v in found],
            "note": [v.note for v in found],
        }
    )
