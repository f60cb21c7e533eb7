"""The eight claims as tables: one line each for the book's first page, in full for a chapter."""

from collections.abc import Mapping, Sequence

import pandas as pd

from blurnb.report import verdicts
from blurnb.report.rules import CLAIMS
from blurnb.report.tables.published import PROFILES


def scoreboard(
    records: pd.DataFrame, profiles: Sequence[str] = PROFILES, chapters: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The eight claims by profile: how many networks support it, with effect, interval and n of each; its chapter.

    `chapters` makes that a link where it has the experiment (``{"rq1": "../notebooks/rq1_degradation.ipynb"}``).
    """
    lines = []
    for claim in CLAIMS.values():
        line = {"claim": str(claim.number), "statement": claim.statement}
        for profile in profiles:
            line[profile] = _counted(verdicts.judge(claim.number, records, profile))
        name, target = claim.experiment.upper(), (chapters or {}).get(claim.experiment)
        lines.append(line | {"chapter": f"[{name}]({target})" if target else name})
    return pd.DataFrame(lines)


def _counted(found: Sequence[verdicts.Verdict]) -> str:
    """`**supported** on 1 of 2: effect; evidence. **undecided** on 1: effect; evidence`."""
    counts = verdicts.count(found)
    if counts[0][0] == verdicts.NOT_RUN:
        return verdicts.NOT_RUN
    total, told = sum(len(some) for _, some in counts), []
    for word, some in counts:
        each = "; ".join(f"{one.effect_text()}, {one.evidence}" for one in some)
        of_all = f" of {total}" if not told and total > len(some) else ""
        told.append(f"**{word}** on {len(some)}{of_all}: {each}")
    return ". ".join(told)


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
