"""What an experiment costs: measured seconds of each part, and the sum that they make for the paper's profile."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from blurnb import labels
from blurnb.errors import UserError
from blurnb.report import numbers

OURS, PLAIN = "blurnb", "plain"  # libraries
WAYS = {PLAIN: "plain: PIL, torch conv2d, eager", "hand-tuned": "hand-tuned: OpenCV, ONNX Runtime"}
BACKENDS = {"openvino": "OpenVINO"}
COMMANDS = {
    "blur": "python benchmarks/blur.py --write book/records/photographs",
    "gpu blur": "python benchmarks/gpu.py --write book/records/photographs",
    "sweep": "python benchmarks/sweep.py --write book/records/photographs",
    "memory": "python benchmarks/sweep.py --memory --write book/records/photographs",
}

FORMULA = (
    r"$$ T = \frac{N}{p} \Big( t_{decode} + t_{frame} + \sum_{b} t_{blur}(b) + "
    r"\sum_{b,\,s} \big( t_{resize}(s) + m\, t_{network}(s) \big) \Big) $$"
)
"""N photographs, p processors (or devices), b blurs, s scales, m = 2 with the mirror image, else 1."""

PAPER = {"n": 50_000, "mirror": 2, "scales": ("128", "256", "512")}
GPU_FACTOR = 100.0
"""Assumed, not measured: how much faster than one core of the measured processor a data-centre GPU runs a network."""
CLUSTER = 64
"""Assumed: processors of the cluster in the table. Its work is the sum's, divided evenly."""
BLUR_GOALS = {"D2": 1.5, "D4": 2.0, "D8": 4.0, "G4": 2.0, "G8": 4.0, "M21@30": 4.0, "shake24": 4.0}
"""Times the fastest peer: what this project set out to reach."""


def _measured(records: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """The rows of a benchmark, with the `way` that they are of in words; raises UserError where there are none."""
    found = records[records["benchmark"] == benchmark] if "benchmark" in records else records[:0]
    if found.empty:
        raise UserError(f"no speeds of {benchmark}; run: {COMMANDS[benchmark]}")
    return found.assign(way=[_way(one.library, one.backend, one.precision) for one in found.itertuples()])


def _way(library: str, backend: str, precision: str) -> str:
    return WAYS.get(library, f"{library}, {BACKENDS.get(backend, backend)} {precision}")


def _scales(scale: str) -> str:
    return ", ".join(map(str, labels.sides(scale)))


# -- the pipeline


def pipeline(records: pd.DataFrame) -> pd.DataFrame:
    """One line a network, scale and way: processor ms a photograph, times the plain way's, the network's share."""
    lines = []
    for (network, scale, _), part in _measured(records, "sweep").groupby(["network", "scale", "run_id"]):
        whole = part[part["stage"] == "whole"]
        forward = part[part["stage"] == "network"].groupby("way")["value"].sum()
        plain = whole.loc[whole["library"] == PLAIN, "value"]
        ordered = whole.assign(other=whole["library"] != OURS).sort_values(["other", "value"], ascending=[True, False])
        for one in ordered.itertuples():
            lines.append(
                {
                    "network": network,
                    "scales": _scales(scale),
                    "way": one.way,
                    "ms a photograph": f"{1000 * one.value:,.0f}",
                    "the plain way takes": f"{plain.iloc[0] / one.value:.2f} times that" if len(plain) else "",
                    "network's share": f"{forward[one.way] / one.value:.0%}" if one.way in forward.index else "",
                    "n": f"{part['n'].min():,}",
                }
            )
    return pd.DataFrame(lines)


def parts(records: pd.DataFrame) -> pd.DataFrame:
    """Measured milliseconds a photograph of every part outside the network, blur by blur where there are several."""
    lines = []
    for (network, scale, _), part in _measured(records, "sweep").groupby(["network", "scale", "run_id"]):
        for one in part[~part["stage"].isin(["whole", "network"])].itertuples():
            lines.append(
                {
                    "network": network,
                    "scales": _scales(scale),
                    "part": " ".join(filter(None, (one.stage, one.blur, one.stage_scale))),
                    "ms a photograph": f"{1000 * one.value:.1f}",
                    "n": f"{one.n:,}",
                }
            )
    return pd.DataFrame(lines)


def memory(records: pd.DataFrame) -> pd.DataFrame:
    """Peak memory and time of a process of its own, over n and over 4 n photographs."""
    process = ["network", "scale", "kept_layers", "n"]
    found = _measured(records, "memory").pivot_table(index=process, columns="metric", values="value").reset_index()
    lines = [
        {
            "network": one.network,
            "scales": _scales(one.scale),
            "photographs": f"{one.n:,}",
            "oneDNN keeps": f"{one.kept_layers:,} layers",
            "peak, MB": f"{one.peak_memory:,.0f}",
            "ms a photograph": f"{1000 * one.seconds:,.0f}",
        }
        for one in found.sort_values(process, ascending=[True, True, False, True]).itertuples()
    ]
    return pd.DataFrame(lines)


def machines(manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Where and when each speed was measured."""
    lines = [
        {
            "network": about["network"],
            "scales": ", ".join(about["scales"]),
            "processor": about["processor"],
            "threads": str(note["threads"]),
            "torch": note["versions"]["torch"],
            "date": note["date"][:10],
        }
        for note in manifests.values()
        if (about := note["decided"]).get("benchmark") in ("sweep", "memory")
    ]
    return pd.DataFrame(lines)


# -- blur alone


def blurs(records: pd.DataFrame, benchmark: str = "blur") -> pd.DataFrame:
    """One line a kernel: images a second, the fastest peer's, their ratio, what was aimed at, and both errors."""
    found = _measured(records, benchmark)
    found = found[found["blur"] != ""]
    by = ["blur", "library", "function", "pixels"]
    ways = found.pivot_table(index=by, columns="metric", values="value").reset_index()
    kinds = ways.groupby(["library", "function"])["pixels"].nunique()
    lines, digits = [], 3 if benchmark == "blur" else 5  # nothing is rounded to 16 bits on a GPU
    for blur in [one for one in BLUR_GOALS if one in set(ways["blur"])]:
        part = ways[ways["blur"] == blur]
        (ours,) = part[part["library"] == OURS].itertuples()
        peers = part[part["library"] != OURS]
        best = peers.loc[peers["images_per_second"].idxmax()]
        ratio = ours.images_per_second / best["images_per_second"]
        several = kinds[best["library"], best["function"]] > 1
        lines.append(
            {
                "kernel": blur,
                "blurnb, images/s": f"{ours.images_per_second:,.0f}",
                "fastest peer, images/s": f"{best['images_per_second']:,.0f}",
                "which": f"{best['library']}.{best['function']}" + (f" {best['pixels']}" if several else ""),
                "ratio": f"{ratio:.2f}",
                "goal": f"{BLUR_GOALS[blur]:g}" + ("" if ratio >= BLUR_GOALS[blur] else ", missed"),
                "largest error, blurnb": f"{ours.max_error:.{digits}f}",
                "of the peer": f"{best['max_error']:.{digits}f}",
                "peers": str(len(peers)),
            }
        )
    table = pd.DataFrame(lines)
    return table if benchmark == "blur" else table.drop(columns="goal")


def blur_shapes(records: pd.DataFrame, pixels: str = "float32") -> pd.DataFrame:
    """Times as fast as the fastest peer that gives such pixels (float32 | uint8): kinds of kernel by side."""
    found = _measured(records, "blur")
    found = found[(found["kernel_kind"] != "") & (found["metric"] == "images_per_second")]
    kernel = ["kernel_kind", "kernel_side"]
    ours = found[found["library"] == OURS].set_index(kernel)["value"]
    peers = found[(found["library"] != OURS) & (found["pixels"] == pixels)].groupby(kernel)["value"].max()
    ratios = (ours / peers).dropna()
    sides = sorted(found["kernel_side"].unique())
    return pd.DataFrame(
        [
            {"kernel": kind} | {str(side): _times(ratios.get((kind, side))) for side in sides}
            for kind in sorted(found["kernel_kind"].unique())
        ]
    )


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}"


def blur_machines(manifests: Mapping[str, Mapping], benchmark: str = "blur") -> pd.DataFrame:
    """Where, when and against which libraries blur was measured."""
    lines = [
        {
            "kernels": "3 x 3 to 51 x 51" if about.get("sweep") else "the paper's",
            "processor": about["processor"],
            "threads": str(note["threads"]),
            "images": f"{about.get('images') or about['batch']} of {about['side']} x {about['side']} x 3",
            "against": ", ".join(f"{name} {version}" for name, version in about["libraries"].items()),
            "date": note["date"][:10],
        }
        for note in manifests.values()
        if (about := note["decided"]).get("benchmark") == benchmark
    ]
    return pd.DataFrame(lines)


# -- the paper's experiment


def paper(records: pd.DataFrame, blurs: int = 9) -> pd.DataFrame:
    """The paper's profile by the formula, from what was measured: one core here, this machine, a GPU, a cluster.

    Scales that were not measured are taken as the nearest measured one, in proportion to their pixels.
    """
    lines = []
    for network, part in _measured(records, "sweep").groupby("network"):
        stages = dict(iter(part.groupby("stage")))
        one_each = stages["blur"].groupby("blur")["value"].mean()
        once = sum(stages[stage]["value"].mean() for stage in ("decode", "frame"))
        resize, assumed = _by_scale(stages["resize"], len(one_each))
        ours = part[(part["stage"] == "whole") & (part["library"] == OURS)]
        for way, (backend, precision) in sorted({o.way: (o.backend, o.precision) for o in ours.itertuples()}.items()):
            forward, more = _by_scale(stages["network"][stages["network"]["way"] == way], len(one_each))
            light = once + blurs * (one_each.mean() + sum(resize.values()))
            heavy = blurs * PAPER["mirror"] * sum(forward.values())
            core = PAPER["n"] * (light + heavy)
            unmeasured = sorted({*assumed, *more}, key=int)
            lines.append(
                {
                    "network": network,
                    "way": f"{BACKENDS.get(backend, backend)} {precision}",
                    "one core": _days(core),
                    f"{CLUSTER} cores": _days(core / CLUSTER),
                    "one GPU": _days(PAPER["n"] * (light + heavy / GPU_FACTOR)),
                    "scales measured": ", ".join(s for s in PAPER["scales"] if s not in unmeasured),
                    "scales in proportion": ", ".join(unmeasured),
                }
            )
    return pd.DataFrame(lines)


def _by_scale(stage: pd.DataFrame, count: int) -> tuple[dict[str, float], list[str]]:
    """Seconds of one of `count` blurred images at each scale of the paper, and the scales that were not measured."""
    mean = stage.groupby("stage_scale")["value"].mean() / count
    known = {scale: mean[scale] for scale in PAPER["scales"] if scale in mean.index}
    found, assumed = dict(known), []
    for scale in PAPER["scales"]:
        if scale not in known:
            near = min(known, key=lambda one: abs(int(one) - int(scale)))
            found[scale] = known[near] * (int(scale) / int(near)) ** 2
            assumed.append(scale)
    return found, assumed


def _days(seconds: float) -> str:
    return numbers.duration(seconds) if seconds < 86400 * 2 else f"{seconds / 86400:.1f} days"


def formula(records: pd.DataFrame) -> str:
    """The sum behind `paper`, and which of its terms are measured."""
    n = _measured(records, "sweep")["n"].min()
    return (
        f"{FORMULA}\n\n**Measured** (processor seconds, n = {n} or more after a first that is not counted): "
        f"every $t$. **Counted**: $N$ = {PAPER['n']:,} photographs, nine blurs, scales {', '.join(PAPER['scales'])}, "
        f"$m$ = {PAPER['mirror']}; averaging two scales costs nothing more. **Assumed**: that processors share the "
        f"work evenly, and that a GPU runs a network {GPU_FACTOR:.0f} times as fast as one of these cores while one "
        "core feeds it; a scale named as *in proportion* is the nearest measured one times its share of pixels."
    )
