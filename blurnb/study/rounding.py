"""What saving blurred images to 8-bit files does to a network's answers, against floats and on the same photographs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from blurnb import intervals, records
from blurnb.study import degradation, evaluation, networks
from blurnb.study.profiles import RQ1

WAYS = {
    "float32": {"rounding": "none", "precision": "float32"},
    "8-bit blur": {"rounding": "8-bit blur", "precision": "float32"},
    "8-bit": {"rounding": "8-bit", "precision": "float32"},
    "bf16": {"rounding": "none", "precision": "bf16"},
}
"""Ways to answer a condition, the first being what the others are held against; bf16 rounds the network, no image."""


def run(parameters: RQ1) -> degradation.Run:
    """Answer every condition in every way; writes ``<output_dir>/rq1_rounding.csv`` and its manifests.

    Rows are named `<view>, <way>`, and their paired differences `<view>, <way> vs float32`: top1_change, top5_change,
    entropy_change, mcnemar_p, and `agreement`, the share of images that keep their most probable class.
    """
    rows, manifests, answers = [], {}, {}
    for pair in parameters.evidence():
        dataset = degradation.opened_dataset(pair["dataset"], pair["n_images"], parameters)
        network, origin = networks.ready(pair["network"], pair["weights"], max(2, len(dataset.classes)), parameters)
        scales = degradation.scales_for(dataset, parameters.scales)
        shared = {"question": "rq1", "dataset": degradation.dataset_label(dataset, parameters.protocol())}
        shared |= {"network": pair["network"], "training": "sharp", "profile": parameters.profile}
        exact = None
        for way, changed in WAYS.items():
            protocol = parameters.protocol(**changed)
            found, about = degradation.evaluate(parameters, network, dataset, scales, protocol, title=way)
            decided = about.pop("facts") | {"n": len(dataset), "selection": dataset.fingerprint, "way": way}
            run_id = records.address(decided)
            manifests[run_id] = records.manifest(decided, network_origin=origin, **about)
            exact = found if exact is None else exact
            view = f"{parameters.protocol(rounding='none').view_name}, {way}"
            rows += _rows(found, exact, protocol, view, way, shared | {"run_id": run_id})
            answers[pair["network"], way] = found
    records.write(Path(parameters.output_dir) / "rq1_rounding.csv", rows, manifests)
    return degradation.Run(records.table(rows), manifests, answers)


def _rows(found: pd.DataFrame, exact: pd.DataFrame, protocol, view: str, way: str, shared: dict) -> list[dict]:
    """Accuracies of one way, and its differences from the exact one, at every scale and under every blur."""
    rows = []
    other = {key: part.set_index("image") for key, part in exact.groupby(["scale", "blur"], sort=False)}
    for (scale, blur), part in found.groupby(["scale", "blur"], sort=False):
        own = shared | {"scale": scale, "blur": blur, "seed": protocol.seed}
        part = part.set_index("image")
        for metric, measured in evaluation.measures(part, protocol.seed).items():
            rows.append(records.row(metric=metric, view=view, n=len(part), **measured, **own))
        if way == next(iter(WAYS)):
            continue
        against = next(iter(WAYS))
        theirs = other[scale, blur]
        for row in evaluation.changes(part, theirs, protocol, against, **own):
            rows.append(row | {"view": f"{view} vs {against}"})
        both = part.index.intersection(theirs.index, sort=False)
        same = int((part.loc[both, "predicted"] == theirs.loc[both, "predicted"]).sum())
        low, high = intervals.wilson(same, len(both))
        agreement = {"value": same / len(both), "ci_low": low, "ci_high": high, "n": len(both)}
        rows.append(records.row(metric="agreement", view=f"{view} vs {against}", **agreement, **own))
    return rows
