"""What an experiment costs: measured seconds of each part, and the sum that they make for the paper's profile."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from blurnb.errors import UserError
from blurnb.report import selection, tables

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


def _speed(records: pd.DataFrame) -> pd.DataFrame:
    found = selection.select(records, question="speed")
    if found.empty:
        raise UserError("no records of speed; run: python benchmarks/sweep.py --write book/records/photographs")
    return found


def _timed(records: pd.DataFrame) -> pd.DataFrame:
    return selection.select(_speed(records), metric="seconds")


def _parts(records: pd.DataFrame) -> pd.DataFrame:
    """Seconds of ways and of their parts, without those of whole processes."""
    found = _timed(records)
    return found[~found["view"].str.startswith("peak")]


def pipeline(records: pd.DataFrame) -> pd.DataFrame:
    """One line a network, scale and way: processor ms a photograph, times the plain way's, the network's share."""
    lines = []
    for (network, scale, _), part in _parts(records).groupby(["network", "scale", "run_id"], sort=False):
        cost = part.groupby("view")["value"].sum()
        n = int(part["n"].min())
        ways = [view for view in dict.fromkeys(part["view"]) if view.startswith(("blurnb", "plain", "hand"))]
        plain = next((cost[way] for way in ways if way.startswith("plain")), None)
        for way in sorted(ways, key=lambda way: (not way.startswith("blurnb"), -cost[way])):
            forward = sum(cost.get(f"network {one}, {way}", 0.0) for one in scale.split("+"))
            lines.append({
                "network": network,
                "scales": scale.replace("+", ", "),
                "way": way,
                "ms a photograph": f"{1000 * cost[way]:,.0f}",
                "the plain way takes": "" if plain is None else f"{plain / cost[way]:.2f} times that",
                "network's share": f"{forward / cost[way]:.0%}" if forward else "",
                "n": f"{n:,}",
            })  # fmt: skip
    return pd.DataFrame(lines)


def parts(records: pd.DataFrame) -> pd.DataFrame:
    """Measured milliseconds a photograph of every part outside the network, blur by blur where there are several."""
    lines = []
    for (network, scale, _), part in _parts(records).groupby(["network", "scale", "run_id"], sort=False):
        for one in part.itertuples():
            if one.view in ("decode", "frame", "blur") or one.view.startswith("resize"):
                what = f"blur {one.blur}" if one.blur else one.view
                lines.append({
                    "network": network, "scales": scale.replace("+", ", "), "part": what,
                    "ms a photograph": f"{1000 * one.value:.1f}", "n": f"{one.n:,}",
                })  # fmt: skip
    return pd.DataFrame(lines)


def memory(records: pd.DataFrame) -> pd.DataFrame:
    """Peak memory and time of a process of its own, over n and over 4 n photographs."""
    found = selection.select(_speed(records), metric="megabytes")
    found = found.assign(is_few=found["view"].str.endswith("kept")).sort_values(["network", "scale", "is_few", "n"])
    seconds = _timed(records).set_index(["network", "scale", "view"])["value"]
    lines = [
        {"network": one.network, "scales": one.scale.replace("+", ", "), "photographs": f"{one.n:,}",
         "oneDNN keeps": one.view.partition(", ")[2].removesuffix(" kept") or "1,024 layers",
         "peak, MB": f"{one.value:,.0f}",
         "ms a photograph": f"{1000 * seconds[one.network, one.scale, one.view]:,.0f}"}
        for one in found.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(lines)


BLUR_GOALS = {"D2": 1.5, "D4": 2.0, "D8": 4.0, "G4": 2.0, "G8": 4.0, "M21@30": 4.0, "shake24": 4.0}
"""Times the fastest peer: what this project set out to reach."""


def _blur_speeds(records: pd.DataFrame, kind: str) -> pd.DataFrame:
    found = selection.select(_speed(records), metric="images_per_second", view=kind)
    if found.empty:
        raise UserError("no speeds of blur; run: python benchmarks/blur.py --write book/records/photographs")
    return found


def blurs(records: pd.DataFrame) -> pd.DataFrame:
    """One line a kernel: images a second, the fastest peer's, their ratio, what was aimed at, and both errors."""
    speeds = _blur_speeds(records, "blurs")
    errors = selection.select(_speed(records), metric="largest_error", view="blurs").set_index(["blur", "network"])
    lines = []
    for blur in [one for one in BLUR_GOALS if one in set(speeds["blur"])]:
        part = speeds[speeds["blur"] == blur].set_index("network")["value"]
        ours, peers = part["blurnb"], part.drop("blurnb")
        best = peers.idxmax()
        ratio = ours / peers[best]
        lines.append({
            "kernel": blur,
            "blurnb, images/s": f"{ours:,.0f}",
            "fastest peer, images/s": f"{peers[best]:,.0f}",
            "which": best,
            "ratio": f"{ratio:.2f}",
            "goal": f"{BLUR_GOALS[blur]:g}" + ("" if ratio >= BLUR_GOALS[blur] else ", missed"),
            "largest error, blurnb": f"{errors.loc[(blur, 'blurnb'), 'value']:.3f}",
            "of the peer": f"{errors.loc[(blur, best), 'value']:.3f}",
            "peers": str(len(peers)),
        })  # fmt: skip
    return pd.DataFrame(lines)


def blur_shapes(records: pd.DataFrame, pixels: str = "float") -> pd.DataFrame:
    """Times as fast as the fastest peer that gives float32 ("float") or bytes ("8-bit"): kinds of kernel by side."""
    speeds = _blur_speeds(records, "shapes")
    ratios = {}
    for kernel, part in speeds.groupby("blur"):
        ours, peers = part["network"] == "blurnb", part["network"].str.endswith("uint8") == (pixels == "8-bit")
        kind, _, side = kernel.rpartition(" ")
        ratios[kind, int(side)] = part.loc[ours, "value"].iloc[0] / part.loc[peers & ~ours, "value"].max()
    kinds = dict.fromkeys(kind for kind, _ in ratios)
    sides = sorted({side for _, side in ratios})
    return pd.DataFrame([
        {"kernel": kind} | {str(side): _times(ratios.get((kind, side))) for side in sides} for kind in kinds
    ])  # fmt: skip


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}"


def machines(manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Where and when each speed was measured."""
    lines = [
        {"network": note["parameters"]["network"], "scales": ", ".join(note["parameters"]["scales"]),
         "processor": note["parameters"]["processor"], "threads": str(note["threads"]),
         "torch": note["versions"]["torch"], "date": note["date"][:10]}
        for note in manifests.values() if note.get("parameters", {}).get("benchmark") == "sweep"
    ]  # fmt: skip
    return pd.DataFrame(lines)


def blur_machines(manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Where, when and against which libraries blur was measured."""
    lines = [
        {"kernels": "3 x 3 to 51 x 51" if about["sweep"] else "the paper's", "processor": about["processor"],
         "threads": str(about["threads"]), "images": f"{about['images']} of {about['side']} x {about['side']} x 3",
         "against": ", ".join(f"{name} {version}" for name, version in about["libraries"].items()),
         "date": note["date"][:10]}
        for note in manifests.values() if (about := note.get("parameters", {})).get("benchmark") == "blur"
    ]  # fmt: skip
    return pd.DataFrame(lines)


def paper(records: pd.DataFrame, blurs: int = 9) -> pd.DataFrame:
    """The paper's profile by the formula, from what was measured: one core here, this machine, a GPU, a cluster.

    Scales that were not measured are taken as the nearest measured one, in proportion to their pixels.
    """
    lines = []
    speed = _parts(records)
    for network, part in speed.groupby("network", sort=False):
        cost = part.groupby("view")["value"].mean()
        ways = [view for view in dict.fromkeys(part["view"]) if view.startswith("blurnb")]
        count = part.loc[part["view"] == "blur", "blur"].nunique()
        blur = part[part["view"] == "blur"].groupby("blur")["value"].mean().mean()
        for way in ways:
            resize, assumed = _by_scale(cost, "resize {}", count)
            forward, more = _by_scale(cost, f"network {{}}, {way}", count)
            light = cost["decode"] + cost["frame"] + blurs * (blur + sum(resize.values()))
            heavy = blurs * PAPER["mirror"] * sum(forward.values())
            core = PAPER["n"] * (light + heavy)
            assumed = sorted(set(assumed + more), key=int)
            lines.append({
                "network": network,
                "way": way.removeprefix("blurnb, "),
                "one core": _days(core),
                f"{CLUSTER} cores": _days(core / CLUSTER),
                "one GPU": _days(PAPER["n"] * (light + heavy / GPU_FACTOR)),
                "scales measured": ", ".join(s for s in PAPER["scales"] if s not in assumed),
                "scales in proportion": ", ".join(assumed),
            })  # fmt: skip
    return pd.DataFrame(lines)


def _by_scale(cost: pd.Series, view: str, count: int) -> tuple[dict[str, float], list[str]]:
    """Seconds of one blurred image at each scale of the paper, and the scales that were not measured."""
    known = {one: cost[view.format(one)] / count for one in PAPER["scales"] if view.format(one) in cost.index}
    found, assumed = dict(known), []
    for scale in PAPER["scales"]:
        if scale not in known:
            near = min(known, key=lambda one: abs(int(one) - int(scale)))
            found[scale] = known[near] * (int(scale) / int(near)) ** 2
            assumed.append(scale)
    return found, assumed


def _days(seconds: float) -> str:
    return tables.duration(seconds) if seconds < 86400 * 2 else f"{seconds / 86400:.1f} days"


def formula(records: pd.DataFrame) -> str:
    """The sum behind `paper`, and which of its terms are measured."""
    n = int(_parts(records)["n"].min())
    return (
        f"{FORMULA}\n\n**Measured** (processor seconds, n = {n} or more after a first that is not counted): "
        f"every $t$. **Counted**: $N$ = {PAPER['n']:,} photographs, nine blurs, scales {', '.join(PAPER['scales'])}, "
        f"$m$ = {PAPER['mirror']}; averaging two scales costs nothing more. **Assumed**: that processors share the "
        f"work evenly, and that a GPU runs a network {GPU_FACTOR:.0f} times as fast as one of these cores while one "
        "core feeds it; a scale named as *in proportion* is the nearest measured one times its share of pixels."
    )


def rounding(records: pd.DataFrame, metric: str = "top1") -> pd.DataFrame:
    """Every way to answer the same photographs against float32: agreement, and the paired change of accuracy."""
    found = selection.select(records, question="rq1", versus="float32")
    if found.empty:
        raise UserError("no records of rounding; run: python -m blurnb rounding")
    lines = []
    places = {scale: i for i, scale in enumerate(selection.scales_in_order(found["scale"]))}
    blurs = selection.in_order(found["blur"])
    order = sorted(
        found.groupby(["scale", "blur", "seen"]), key=lambda g: (places[g[0][0]], blurs.index(g[0][1]), g[0][2])
    )
    for (scale, blur, seen), part in order:
        line, n = {"scale": scale, "condition": blur, "way": seen.partition(", ")[2]}, int(part["n"].max())
        line["n"] = f"{n:,}"
        for title, name, signed in (
            ("same answer, %", "agreement", False),
            (f"change of {tables.name(metric)}", f"{metric}_change", True),
        ):
            one = part[part["metric"] == name].iloc[0]
            kind = "top1" if name == "agreement" else name
            line[title] = tables.interval(one["value"], one["ci_low"], one["ci_high"], n, kind, signed)
        p_value = part[part["metric"] == "mcnemar_p"]["value"].iloc[0]
        line["McNemar's p"] = "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
        lines.append(line)
    return pd.DataFrame(lines)
