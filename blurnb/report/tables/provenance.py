"""What decided each run and what surrounded it, from the manifests."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from blurnb.report.numbers import duration


def runs(manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """One line a run: network, data, seed, versions, commit, device, date and wall time; `manifests` by run_id."""
    lines = []
    for run, note in manifests.items():
        decided, versions = note.get("decided", {}), note.get("versions", {})
        known = {name: said for name, said in {**decided, **note}.items() if said not in (None, "")}
        seconds = known.get("wall_seconds", known.get("wall_time"))
        lines.append(
            {
                "run": run,
                "network": str(known.get("network", "–")),
                "data": str(known.get("dataset", "–")),
                "seed": str(known.get("seed", "–")),
                "versions": ", ".join(f"{k} {versions[k]}" for k in ("python", "torch", "blurnb") if k in versions)
                or "–",
                "commit": str(known.get("git_commit", "–")),
                "device": str(known.get("device", "–")),
                "date": str(known.get("date", "–"))[:10],
                "wall time": "–" if seconds is None else duration(float(seconds)),
            }
        )
    columns = ["run", "network", "data", "seed", "versions", "commit", "device", "date", "wall time"]
    return pd.DataFrame(lines, columns=columns)
