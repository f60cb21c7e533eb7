"""The rule of each claim: which rows it weighs, what it asks of their intervals, and what would count against it.

A rule breaks its claim into parts. A part speaks *for* the claim when its whole interval lies above the bar,
*against* it when the whole interval lies below the bar or excludes an effect as large as the stated margin, and
is *unclear* otherwise: to see no difference is not to show that there is none. A part whose rows are missing
while the others' are there is unclear too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from blurnb import intervals
from blurnb.report import selection

Triple = tuple[float, float, float]

MARGIN = 0.02  # two points: what counts as "almost no cost", and the least effect worth a claim
UNKNOWN = (math.nan, math.nan, math.nan)


class Missing(Exception):
    """Rows that a rule cannot do without are not there; the message says which."""


class Part(NamedTuple):
    """One thing a rule looks at: an estimate that the claim wants above `bar`."""

    name: str
    estimate: Triple
    bar: float = 0.0
    margin: float = 0.0

    @property
    def side(self) -> str:
        _, low, high = self.estimate
        if low > self.bar:
            return "for"
        if high <= self.bar or high < self.bar + self.margin:
            return "against"
        return "unclear"


class Finding(NamedTuple):
    """What a rule found under one condition (a scale, say): its parts, the effect to print, on how many images."""

    parts: list[Part]
    effect: Triple
    unit: str
    n: int
    note: str


def _title(metric: str) -> str:
    return metric.replace("top", "top-")


def _estimate(rows: pd.DataFrame, **wanted) -> Triple:
    found = selection.estimate(selection.select(rows, **wanted))
    if found is None:
        raise Missing("no rows with " + ", ".join(f"{k} {v}" for k, v in wanted.items() if v != ""))
    return found


def _gap(rows: pd.DataFrame, metric: str, here: dict, there: dict, versus: str) -> Triple:
    """`here` minus `there`, from the paired row where it was recorded, else from two rows as if independent."""
    paired = selection.estimate(selection.select(rows, metric=f"{metric}_change", versus=versus, **here))
    if paired is not None:
        return paired
    plain = {"metric": metric, "versus": ""}
    return intervals.difference(_estimate(rows, **plain, **here), _estimate(rows, **plain, **here | there))


def _minus(a: Triple) -> Triple:
    return -a[0], -a[2], -a[1]


def _one_minus(a: Triple) -> Triple:
    return 1 - a[0], 1 - a[2], 1 - a[1]


def _shared_blurs(rows: pd.DataFrame, conditions: list[dict], sharp: bool = False, **wanted) -> list[str]:
    """Blur labels that every condition has rows for, without the sharp image unless asked for."""
    plain = selection.select(rows, versus="", **wanted)
    sets = [set(selection.select(plain, **condition)["blur"]) for condition in conditions]
    return [b for b in selection.in_order(set.intersection(*sets) - {""}) if sharp or b != "sharp"]


def _scales(rows: pd.DataFrame, trainings: list[str], **wanted) -> list[str]:
    plain = selection.select(rows, versus="", **wanted)
    sets = [set(plain.loc[plain["training"] == training, "scale"]) for training in trainings]
    shared = set.intersection(*sets)
    if not shared:
        raise Missing(f"no rows of training {' and '.join(trainings)} at one scale")
    return selection.scales_in_order(shared)


def _n(rows: pd.DataFrame, metric: str, **wanted) -> int:
    return int(selection.select(rows, metric=metric, versus="", **wanted)["n"].max())


def degradation(rows: pd.DataFrame, metric: str) -> list[Finding]:
    findings = []
    own = selection.select(rows, question="rq1", training="sharp")
    for scale in _scales(own, ["sharp"], metric=metric):
        here = selection.select(own, scale=scale)
        view = selection.main_view(here[here["metric"] == metric])
        doses = [b for b in _shared_blurs(here, [{}], metric=metric, seen=view) if selection.family(b) == "defocus"]
        if len(doses) < 2:
            raise Missing(f"fewer than two defocus radii at scale {scale}")
        losses = [
            _minus(_gap(here, metric, {"seen": view, "blur": blur}, {"blur": "sharp"}, "sharp image")) for blur in doses
        ]
        growth = intervals.difference(losses[-1], losses[0])
        parts = [
            Part(f"{doses[-1]} loses", losses[-1], margin=MARGIN),
            Part(f"{doses[-1]} loses more than {doses[0]}", growth, margin=MARGIN),
        ]
        # Out of order counts against the claim only where intervals part, so that noise alone cannot refute it.
        for i, small in enumerate(losses):
            for j in range(i + 1, len(losses)):
                if small[1] > losses[j][2]:
                    parts.append(Part(f"{doses[j]} loses no less than {doses[i]}", (-1.0, -1.0, -1.0)))
        shown = doses.index("D8") if "D8" in doses else len(doses) - 1
        unit = f"points of {_title(metric)} at {doses[shown]}"
        note = f"scale {scale}, {', '.join(doses)}"
        findings.append(Finding(parts, _minus(losses[shown]), unit, _n(here, metric), note))
    return findings


def recovery(rows: pd.DataFrame, metric: str) -> list[Finding]:
    findings = []
    own = selection.select(rows, question="rq2")
    for scale in _scales(own, ["sharp", "mix"], metric=metric):
        here = selection.select(own, scale=scale)
        share, loss, blurs = _recovered(here, metric)
        view = selection.main_view(here[here["metric"] == metric])
        mix = {"seen": view, "training": "mix", "blur": "sharp"}
        cost = _gap(here, metric, mix, {"training": "sharp"}, "sharp network")
        parts = [
            Part("more than half of the loss is recovered", share, bar=0.5),
            Part("sharp images cost less than two points", cost, bar=-MARGIN),
        ]
        note = (
            f"scale {scale}, mean over {', '.join(blurs)}: {100 * loss[0]:.1f} points lost, sharp images "
            f"{100 * cost[0]:+.1f} [{100 * cost[1]:+.1f}, {100 * cost[2]:+.1f}] points"
        )
        findings.append(Finding(parts, share, "% of the loss recovered", _n(here, metric), note))
    return findings


def _recovered(here: pd.DataFrame, metric: str) -> tuple[Triple, Triple, list[str]]:
    """(recovered share, loss, blurs): means over blurs before the ratio, or a mild blur would decide by its noise."""
    view = selection.main_view(here[here["metric"] == metric])
    blurs = _shared_blurs(here, [{"training": "sharp"}, {"training": "mix"}], metric=metric, seen=view)
    if not blurs:
        raise Missing("no blur that both the sharp and the mix network were tested on")
    gains, losses = [], []
    for blur in blurs:
        one = {"seen": view, "blur": blur}
        losses.append(_minus(_gap(here, metric, one | {"training": "sharp"}, {"blur": "sharp"}, "sharp image")))
        gains.append(_gap(here, metric, one | {"training": "mix"}, {"training": "sharp"}, "sharp network"))
    loss = intervals.mean_of(losses)
    return intervals.ratio(intervals.mean_of(gains), loss), loss, blurs


def invariance(rows: pd.DataFrame, metric: str) -> list[Finding]:
    own = selection.select(rows, question="rq2", training=["sharp", "mix"])
    similarity = "cosine" if "cosine" in set(own["metric"]) else "cka"
    findings = []
    for scale in _scales(own, ["sharp", "mix"], metric=similarity):
        here = selection.select(own, scale=scale, metric=similarity)
        blurs = _shared_blurs(here, [{"training": "sharp"}, {"training": "mix"}])
        layers = list(dict.fromkeys(here.loc[here["seen"].str.startswith("layer "), "seen"]))
        gains = {}
        for layer in layers:
            answers = selection.select(here, seen=layer)
            moved = [_nearer(answers, layer, blur) for blur in blurs]
            if moved:
                gains[layer.removeprefix("layer ")] = intervals.mean_of(moved)
        if not gains:
            raise Missing(f"no {similarity} of layers under blur for both the sharp and the mix network")
        overall = intervals.mean_of(list(gains.values()))
        closer = [name for name, gain in gains.items() if gain[1] > 0]
        further = [name for name, gain in gains.items() if gain[2] < 0]
        note = (
            f"scale {scale}, {similarity}, mean over {', '.join(blurs)}; closer in {len(closer)} of {len(gains)} layers"
        )
        note += f", further in {', '.join(further)}" if further else ""
        parts = [Part("the twin is closer, mean over layers", overall, margin=MARGIN)]
        unit = "% of the distance to another image, nearer"
        findings.append(Finding(parts, overall, unit, _n(here, similarity), note))
    return findings


def _nearer(here: pd.DataFrame, layer: str, blur: str) -> Triple:
    """How much nearer a layer puts the twin after fine-tuning, in units of its distance to another image.

    The unit matters: a layer that answers every image alike would bring twins together too.
    """
    distances = []
    for training in ("sharp", "mix"):
        one = {"seen": layer, "training": training}
        twin = _one_minus(_estimate(here, versus="", blur=blur, **one))
        other = _one_minus(_estimate(here, versus="other image", blur="sharp", **one))
        distances.append(intervals.ratio(twin, other))
    return intervals.difference(*distances)


def confidence(rows: pd.DataFrame, metric: str) -> list[Finding]:
    findings = []
    own = selection.select(rows, question="rq2", training=["sharp", "mix"])
    for scale in _scales(own, ["sharp", "mix"], metric="entropy"):
        here = selection.select(own, scale=scale)
        view = selection.main_view(here[here["metric"] == "entropy"])
        blurs = _shared_blurs(here, [{"training": "sharp"}, {"training": "mix"}], metric="entropy", seen=view)
        if not blurs:
            raise Missing("no entropy under blur for both the sharp and the mix network")
        change = intervals.mean_of(
            [
                _gap(
                    here,
                    "entropy",
                    {"seen": view, "blur": blur, "training": "mix"},
                    {"training": "sharp"},
                    "sharp network",
                )
                for blur in blurs
            ]
        )
        parts = [Part("entropy falls", _minus(change), margin=MARGIN)]
        note = f"scale {scale}, mean over {', '.join(blurs)}"
        findings.append(Finding(parts, change, "nats on blurred images", _n(here, "entropy"), note))
    return findings


def transfer(rows: pd.DataFrame, metric: str) -> list[Finding]:
    kinds = ("defocus", "shake")
    own = selection.select(rows, question="rq3", training=["sharp", *kinds])
    findings = []
    for scale in _scales(own, ["sharp", *kinds], metric=metric):
        here = selection.select(own, scale=scale)
        view = selection.main_view(here[here["metric"] == metric])
        tested = _shared_blurs(here, [{"training": t} for t in ("sharp", *kinds)], metric=metric, seen=view)
        parts, shares = [], {}
        for trained, other in (kinds, kinds[::-1]):
            blurs = [b for b in tested if selection.family(b) == other]
            if not blurs:
                raise Missing(f"no {other} blur that the sharp, defocus and shake networks were all tested on")

            helped = _ahead(here, metric, view, trained, "sharp", blurs)
            parts.append(Part(f"{trained} training helps against {other}", helped, margin=MARGIN))
            behind = _minus(_ahead(here, metric, view, trained, other, blurs))
            parts.append(Part(f"but less than {other} training", behind, margin=MARGIN))
            shares[f"{trained} to {other}"] = intervals.ratio(helped, _ahead(here, metric, view, other, "sharp", blurs))
        weakest = min(shares, key=lambda k: shares[k][0] if math.isfinite(shares[k][0]) else -math.inf)
        note = f"scale {scale}, {weakest}, the weaker direction; tested on {', '.join(tested)}"
        unit = "% of what training on the tested type gains"
        findings.append(Finding(parts, shares[weakest], unit, _n(here, metric), note))
    return findings


def _ahead(here: pd.DataFrame, metric: str, view: str, training: str, rival: str, blurs: list[str]) -> Triple:
    """How far `training` is ahead of `rival`, mean over blurs."""
    one = {"seen": view, "training": training}
    return intervals.mean_of(
        [_gap(here, metric, one | {"blur": blur}, {"training": rival}, f"{rival} network") for blur in blurs]
    )


def one_scale(rows: pd.DataFrame, metric: str) -> list[Finding]:
    own = selection.select(rows, question="rq3")
    mixed = selection.select(own, training="mix", metric=metric, versus="")
    view = selection.main_view(mixed)
    findings = []
    for several in [s for s in selection.scales_in_order(mixed["scale"]) if "+" in s]:
        single = several.split("+")[0]
        share, _, _ = _recovered(selection.select(own, scale=single), metric)
        extra = _added(own, metric, view, "mix", several, single)
        each = _added(own, metric, view, "mix per scale", several, single)
        if extra is None:
            raise Missing(f"no blur that the mix network was tested on at both {single} and {several}")
        cost = intervals.ratio(_seconds(own, "mix", several), _seconds(own, "mix", single))
        parts = [
            Part(f"at {single} alone more than half of the loss is recovered", share, bar=0.5),
            Part(f"{several} adds less than two points", _minus(extra), bar=-MARGIN),
            Part(f"{several} costs more time", cost, bar=1.0),
            Part("a network for each scale adds less than two points", _minus(each or UNKNOWN), bar=-MARGIN),
        ]
        note = f"mean over sharp and blurred images; {_times(cost)} the seconds per image; at {single} alone "
        note += f"{_percent(share[0])} of the loss recovered"
        unit = f"points of {_title(metric)}, {several} over {single}"
        findings.append(Finding(parts, extra, unit, _n(own, metric, training="mix", scale=several), note))
    if not findings:
        raise Missing("no average of scales (such as 256+512) for the mix network")
    return findings


def _added(rows: pd.DataFrame, metric: str, view: str, training: str, several: str, single: str) -> Triple | None:
    one = {"training": "mix", "scale": single}
    many = {"training": training, "scale": several}
    blurs = _shared_blurs(rows, [one, many], sharp=True, metric=metric, seen=view)
    versus = f"scale {single}" if training == "mix" else f"mix at scale {single}"
    gaps = [_gap(rows, metric, many | {"seen": view, "blur": b}, one, versus) for b in blurs]
    return intervals.mean_of(gaps) if gaps else None


def _seconds(rows: pd.DataFrame, training: str, scale: str, **wanted) -> Triple:
    found = selection.select(rows, metric="seconds", scale=scale, training=training, **wanted)["value"]
    # Time is not a sample of images: the mean counts as exact, and without rows nothing is known.
    return (float(found.mean()),) * 3 if len(found) else UNKNOWN


def _times(cost: Triple) -> str:
    return "an unknown multiple of" if math.isnan(cost[0]) else f"{cost[0]:.3g} times"


def _percent(share: float) -> str:
    return "no telling share" if math.isnan(share) else f"{100 * share:.0f} %"


_VIEW = re.compile(r"(?P<base>[^,]*?)(?: after (?P<method>[^,]+))?(?:, (?P<factors>.+))?")


def restoration(view: str) -> tuple[str, str, str]:
    """(view, method, factors) of a view such as `dense after wiener, noise 0.01`; parts not named are empty."""
    parts = _VIEW.fullmatch(view).groupdict()
    return parts["base"], parts["method"] or "", parts["factors"] or ""


def deblurring(rows: pd.DataFrame, metric: str) -> list[Finding]:
    own = selection.select(rows, question="rq4")
    named = [restoration(view) for view in own["seen"]]
    own = own.assign(method=[m for _, m, _ in named], factors=[f for _, _, f in named])
    findings = []
    for scale in _scales(own, ["sharp", "mix"], metric=metric):
        here = selection.select(own, scale=scale)
        for factors in dict.fromkeys(here.loc[here["method"] != "", "factors"]):
            if "kernel" in factors:  # a wrong kernel is another question than the claim's
                continue
            mixed = selection.select(here, training="mix", method="", metric=metric, versus="")
            seen = set(mixed["factors"])
            mix = {"training": "mix", "method": "", "factors": factors if factors in seen else ""}
            restored = selection.select(here, training="sharp", factors=factors, metric=metric, versus="")
            methods = sorted(set(restored["method"]) - {""})
            ways = [mix, *({"training": "sharp", "method": m, "factors": factors} for m in methods)]
            blurs = _shared_blurs(here, ways, metric=metric)
            if not methods or not blurs:
                continue
            means = {m: np.mean([_estimate(restored, method=m, blur=b)[0] for b in blurs]) for m in methods}
            best = max(means, key=means.get)
            one = {"training": "sharp", "method": best, "factors": factors}
            lead = _minus(intervals.mean_of([_gap(here, metric, one | {"blur": b}, mix, "mix network") for b in blurs]))
            own_time = _seconds(here, "mix", scale, method="")
            if math.isnan(own_time[0]):
                own_time = _seconds(here, "sharp", scale, method="")
            cost = intervals.ratio(_seconds(here, "sharp", scale, method=best, factors=factors), own_time)
            parts = [
                Part("at least as accurate, within two points", lead, bar=-MARGIN),
                Part("deblurring takes at least twice the time", cost, bar=2.0),
            ]
            unit = f"points of {_title(metric)} over {best.replace('_', ' ')}"
            note = f"scale {scale}, {factors or 'exact pixels'}, mean over {', '.join(blurs)}; the best of "
            note += f"{', '.join(methods)}; deblurring costs {_times(cost)} the seconds per image"
            findings.append(Finding(parts, lead, unit, _n(here, metric), note))
    if not findings:
        raise Missing("no blur that both the mix network and a deblurred sharp network were tested on")
    return findings


def segmentation(rows: pd.DataFrame, metric: str) -> list[Finding]:
    own = selection.select(rows, question="rq5", seen="all")
    findings = []
    for scale in _scales(own, ["sharp", "mix"], metric="miou"):
        here = selection.select(own, scale=scale)
        blurs = _shared_blurs(here, [{"training": "sharp"}, {"training": "mix"}], metric="miou")
        if not blurs:
            raise Missing("no blur that both the sharp and the mix network were tested on")
        raised = intervals.mean_of(
            [_gap(here, "miou", {"training": "mix", "blur": b}, {"training": "sharp"}, "sharp network") for b in blurs]
        )
        kept = _kept(here, "miou", blurs)
        rivals = []
        alike = selection.in_papers_frame(here)
        for source, part in selection.in_papers_frame(
            selection.select(rows, question="rq2", metric=metric, versus="")
        ).groupby(["network", "dataset", "scale"]):
            part = part[part["seen"] == selection.main_view(part)]
            conditions = [{"training": "sharp"}, {"training": "mix"}, {"blur": list(alike["blur"])}]
            shared = [
                b for b in _shared_blurs(part, conditions) if b in _shared_blurs(alike, conditions[:2], metric="miou")
            ]
            if shared:
                rivals.append((_kept(part, metric, shared), _kept(alike, "miou", shared), source, shared))
        note = f"mean over {', '.join(blurs)}; {100 * kept[0]:.0f} % of the sharp mIoU kept"
        behind = UNKNOWN
        if rivals:
            # The classifier that keeps least is the hardest rival for the claim.
            rival, same, source, shared = min(rivals, key=lambda r: r[0][0] - r[1][0])
            behind = intervals.difference(rival, same)
            note += f"; under {', '.join(shared)} in a frame of 512, {100 * same[0]:.0f} %, beside "
            note += f"{100 * rival[0]:.0f} % of {_title(metric)} by {source[0]} on {source[1]}"
        else:
            note += ", no classification (rq2) under the same blurs to compare with"
        parts = [
            Part("mIoU on blurred images rises", raised, margin=MARGIN),
            Part("a smaller share of the sharp score is kept than in classification", behind, margin=MARGIN),
        ]
        findings.append(Finding(parts, raised, "points of mIoU on blurred images", _n(here, "miou"), note))
    return findings


def _kept(rows: pd.DataFrame, metric: str, blurs: list[str]) -> Triple:
    """What the fine-tuned network keeps under blur of the sharp network's score on sharp images."""
    plain = {"metric": metric, "versus": ""}
    mixed = intervals.mean_of([_estimate(rows, training="mix", blur=b, **plain) for b in blurs])
    return intervals.share_kept(_estimate(rows, training="sharp", blur="sharp", **plain), mixed)


RULES: dict[int, tuple[str, Callable[[pd.DataFrame, str], list[Finding]]]] = {
    1: (
        "The largest defocus radius must lose accuracy, and more than the smallest, with whole intervals; no larger "
        "radius may lose less than a smaller one with intervals apart; at every scale.",
        degradation,
    ),
    2: (
        "Averaged over the blurs, the interval of the recovered share of the loss must lie above one half, and that "
        "of the change on sharp images above minus two points.",
        recovery,
    ),
    3: (
        "Averaged over layers and blurs, the distance of a blurred image to its sharp twin, in units of the layer's "
        "distance between two different sharp images, must fall with its whole interval.",
        invariance,
    ),
    4: (
        "Averaged over the blurs, the entropy must fall after fine-tuning with its whole interval. One that leaves no "
        "fall of as much as 0.02 nats speaks against the claim.",
        confidence,
    ),
    5: (
        "Each of the defocus- and shake-trained networks must beat the sharp-trained one on the other's blurs, and "
        "stay behind the network trained on them, all four with whole intervals.",
        transfer,
    ),
    6: (
        "At one scale the interval of the recovered share must lie above one half; averaging with another scale, and "
        "a network for each scale, must add less than two points with whole intervals, and cost more time.",
        one_scale,
    ),
    7: (
        "Against the best deblurring method under every noise and rounding tested with the true kernel, the interval "
        "of the lead must lie above minus two points, and deblurring must take at least twice the seconds per image.",
        deblurring,
    ),
    8: (
        "Averaged over the blurs, mIoU must rise after fine-tuning, and the share kept of the sharp score must be "
        "smaller than in classification (rq2) under the same blurs, relative to the image, both with whole intervals.",
        segmentation,
    ),
}
