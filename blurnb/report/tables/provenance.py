"""What decided each run and what surrounded it, from the manifests."""

from collections.abc import Mapping

import pandas as pd

from blurnb.report import selection
from blurnb.report.numbers import duration

_TOLD = {n: n for n in ("network", "seed", "device", "date")} | {"data": "dataset", "commit": "git_commit"}


def runs(manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """One line a run: network, data, seed, versions, commit, device, date and wall time; `manifests` by run_id."""
    lines = []
    for run, note in manifests.items():
        versions = note.get("versions", {})
        known = {name: said for name, said in {**note.get("decided", {}), **note}.items() if said not in (None, "")}
        line = {"run": run} | {column: str(known.get(name, "–")) for column, name in _TOLD.items()}
        told = [f"{name} {versions[name]}" for name in ("python", "torch", "blurnb") if name in versions]
        line["versions"] = ", ".join(told) or "–"
        line["date"] = line["date"][:10]
        line["wall time"] = duration(float(known["wall_seconds"])) if "wall_seconds" in known else "–"
        lines.append(line)
    columns = ["run", "network", "data", "seed", "versions", "commit", "device", "date", "wall time"]
    return pd.DataFrame(lines, columns=columns)


def protocols(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each network and data: how its images were framed, resized, rounded and answered, by its rows."""
    told = {"frame": "frame", "resized": "resample", "rounded": "rounding", "precision": "precision"}
    lines = [
        {"experiment": experiment, "network": network, "data": data}
        | {column: ", ".join(sorted(set(map(str, part[name])) - {""})) for column, name in told.items()}
        for experiment, each in rows[rows["network"] != ""].groupby("experiment")
        for network, data, part in selection.grouped(each)
    ]
    return pd.DataFrame(lines, columns=["experiment", "network", "data", *told])
