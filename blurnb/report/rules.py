"""The rule of each claim of the paper: which rows it weighs, and what it asks of their intervals.

A claim's sentence stands above its function with the smallest effects of interest, the rule as a reader is told it is
the function's docstring and these. A part whose rows are missing while the others' are there is undecided.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from blurnb import intervals, labels
from blurnb.intervals import Triple
from blurnb.metrics import METRICS
from blurnb.report import selection, weighing
from blurnb.report.weighing import (
    DISTANCE,
    IOU_POINTS,
    KEPT,
    NATS,
    POINTS,
    UNKNOWN,
    Finding,
    Least,
    Missing,
    Part,
    count,
    estimate,
    gap,
    kept,
    mean_gap,
    minus,
    own,
)


class Claim(NamedTuple):
    """One finding of the paper: its number, its sentence, the experiment that tests it, the rule as text and as code.

    `find(rows, metric)` takes records of one network on one data set and yields Findings; it raises Missing.
    """

    number: int
    statement: str
    experiment: str
    rule: str
    find: Callable[[pd.DataFrame, str], Iterator[Finding]]


CLAIMS: dict[int, Claim] = {}

_PAIR = ("sharp", "mix")
_UNTESTED = "no blur that both the sharp and the mix network were tested on"


def rule(number: int, statement: str, experiment: str, *least: Least) -> Callable:
    """Make the function below the rule of a claim; `least` are the smallest effects of interest that it asks for."""

    def keep(find: Callable) -> Callable:
        words = find.__doc__ or f"the docstring of {find.__name__}, without which this interpreter was started"
        told = f" Smallest effect of interest: {' and '.join(one.said for one in least)}." if least else ""
        CLAIMS[number] = Claim(number, statement, experiment, " ".join(words.split()) + told, find)
        return find

    return keep


@rule(1, "Blur lowers the accuracy of a sharp-trained network, and the more, the larger the kernel.", "rq1", POINTS)
def degradation(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """The largest defocus radius must lose accuracy, and more than the smallest; no radius may lose two points less
    than the next smaller one; at every scale."""
    for scale, here in weighing.by_scale(own(rows, "rq1", training="sharp"), ["sharp"], metric=metric):
        blurs = [blur for blur in weighing.blurred(here, ["sharp"], metric=metric) if labels.family(blur) == "defocus"]
        if len(blurs) < 2:
            raise Missing(f"fewer than two defocus radii at scale {scale}")
        loss = minus(gap(here, metric, {"blur": blurs[-1]}, {"blur": "sharp"}))
        parts = [
            Part(f"{blurs[-1]} loses", loss, least=POINTS.size),
            Part(f"{blurs[-1]} loses more than {blurs[0]}", _more(here, metric, blurs[0], blurs[-1]), 0, POINTS.size),
        ]
        for small, large in itertools.pairwise(blurs):
            parts.append(Part(f"{large} loses no less than {small}", _more(here, metric, small, large), -POINTS.size))
        shown = "D8" if "D8" in blurs else blurs[-1]
        unit = f"points of {METRICS[metric].spoken} at {shown}"
        note = f"scale {scale}, {', '.join(blurs)}"
        effect = gap(here, metric, {"blur": shown}, {"blur": "sharp"})
        yield Finding(parts, effect, unit, count(here, metric=metric), note)


def _more(here: pd.DataFrame, metric: str, small: str, large: str) -> Triple:
    """How much more the larger blur loses, on the same images where that was recorded."""
    paired = weighing.recorded(here, "difference", metric, {"blur": large}, {"blur": small})
    losses = [minus(gap(here, metric, {"blur": blur}, {"blur": "sharp"})) for blur in (large, small)]
    return intervals.difference(*losses) if paired is None else minus(paired)


@rule(
    2,
    "Fine-tuning on a mix of sharp and blurred images recovers most of the loss, at almost no cost on sharp images.",
    "rq2",
)
def recovery(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """Averaged over the blurs, the recovered share of the loss must lie above one half, and the change on sharp images
    above minus two points."""
    for scale, here in weighing.by_scale(own(rows, "rq2"), _PAIR, metric=metric):
        blurs = weighing.blurred(here, _PAIR, _UNTESTED, metric=metric)
        share, loss = weighing.recovered(here, metric, blurs)
        cost = gap(here, metric, {"training": "mix", "blur": "sharp"}, {"training": "sharp"})
        parts = [
            Part("more than half of the loss is recovered", share, bar=0.5),
            Part("sharp images cost less than two points", cost, bar=-POINTS.size),
        ]
        note = (
            f"scale {scale}, mean over {', '.join(blurs)}: {100 * loss[0]:.1f} points lost, sharp images "
            f"{100 * cost[0]:+.1f} [{100 * cost[1]:+.1f}, {100 * cost[2]:+.1f}] points"
        )
        yield Finding(parts, share, "% of the loss recovered", count(here, metric=metric), note)


@rule(3, "Fine-tuning brings the hidden activations on a blurred image closer to those on its sharp twin.", "rq2",
      DISTANCE)  # fmt: skip
def invariance(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """Averaged over layers and blurs, the distance of a blurred image to its sharp twin, in units of the layer's
    distance between two different sharp images, must fall."""
    layered = own(rows, "rq2", part_kind="layer", training=_PAIR)
    similarity = "cosine" if "cosine" in set(layered["metric"]) else "cka"
    twins = {"metric": similarity, "part_kind": "layer", "versus_blur": "sharp"}
    for scale, here in weighing.by_scale(layered, _PAIR, **twins):
        missing = f"no {similarity} of layers under blur for both the sharp and the mix network"
        blurs = weighing.blurred(here, _PAIR, missing, **twins)
        answers = selection.select(here, metric=similarity)
        gains = {
            layer: intervals.mean_of([_nearer(part, blur) for blur in blurs])
            for layer, part in answers.groupby("part", sort=False)
        }
        overall = intervals.mean_of(list(gains.values()))
        closer = [layer for layer, gain in gains.items() if gain[1] > 0]
        further = [layer for layer, gain in gains.items() if gain[2] < 0]
        note = f"scale {scale}, {similarity}, mean over {', '.join(blurs)}"
        note += f"; closer in {len(closer)} of {len(gains)} layers"
        note += f", further in {', '.join(further)}" if further else ""
        parts = [Part("the twin is closer, mean over layers", overall, least=DISTANCE.size)]
        unit = "% of the distance to another image, nearer"
        yield Finding(parts, overall, unit, count(here, **twins), note)


def _nearer(answers: pd.DataFrame, blur: str) -> Triple:
    """How much nearer a layer puts the twin after fine-tuning, in units of its distance to another image.

    The unit matters: a layer that answers every image alike would bring twins together too.
    """
    distances = []
    for training in _PAIR:
        of = {"part_kind": "layer", "training": training}
        twin = estimate(answers, blur=blur, versus_blur="sharp", **of)
        other = estimate(answers, blur="sharp", versus_image="other", **of)
        distances.append(intervals.ratio(_distance(twin), _distance(other)))
    return intervals.difference(*distances)


def _distance(similarity: Triple) -> Triple:
    return 1 - similarity[0], 1 - similarity[2], 1 - similarity[1]


@rule(4, "After fine-tuning, blurred images are answered with higher confidence (lower entropy).", "rq2", NATS)
def confidence(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """Averaged over the blurs, the entropy must fall after fine-tuning."""
    for scale, here in weighing.by_scale(own(rows, "rq2"), _PAIR, metric="entropy"):
        missing = "no entropy under blur for both the sharp and the mix network"
        blurs = weighing.blurred(here, _PAIR, missing, metric="entropy")
        change = mean_gap(here, "entropy", blurs, {"training": "mix"}, {"training": "sharp"})
        parts = [Part("entropy falls", minus(change), least=NATS.size)]
        note = f"scale {scale}, mean over {', '.join(blurs)}"
        yield Finding(parts, change, "nats on blurred images", count(here, metric="entropy"), note)


@rule(5, "Training on defocus helps against shake, and the reverse, but less than training on it.", "rq3", POINTS)
def transfer(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """Each of the defocus- and shake-trained networks must beat the sharp-trained one on the other's blurs, and stay
    behind the network trained on them."""
    kinds = ("defocus", "shake")
    trainings = ["sharp", *kinds]
    for scale, here in weighing.by_scale(own(rows, "rq3"), trainings, metric=metric):
        tested = weighing.blurred(here, trainings, metric=metric)
        parts, shares = [], {}
        for trained, other in (kinds, kinds[::-1]):
            blurs = [blur for blur in tested if labels.family(blur) == other]
            if not blurs:
                raise Missing(f"no {other} blur that the sharp, defocus and shake networks were all tested on")
            helped = mean_gap(here, metric, blurs, {"training": trained}, {"training": "sharp"})
            parts.append(Part(f"{trained} training helps against {other}", helped, least=POINTS.size))
            behind = minus(mean_gap(here, metric, blurs, {"training": trained}, {"training": other}))
            parts.append(Part(f"but less than {other} training", behind, least=POINTS.size))
            best = mean_gap(here, metric, blurs, {"training": other}, {"training": "sharp"})
            shares[f"{trained} to {other}"] = intervals.ratio(helped, best)
        weakest = min(shares, key=lambda k: shares[k][0] if math.isfinite(shares[k][0]) else -math.inf)
        note = f"scale {scale}, {weakest}, the weaker direction; tested on {', '.join(tested)}"
        unit = "% of what training on the tested type gains"
        yield Finding(parts, shares[weakest], unit, count(here, metric=metric, training=trainings), note)


@rule(
    6,
    "One scale with mixed blur is already robust; averaging several scales adds little for its cost, a network for "
    "each scale no more.",
    "rq3",
)
def one_scale(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """At one scale the recovered share must lie above one half; averaging with another scale, and a network for each
    scale, must add less than two points, and cost more time."""
    mine = selection.main_protocol(own(rows, "rq3", per_scale=[True, False]))
    mixed = selection.estimates(mine, metric=metric, training="mix", per_scale=False)
    averages = [scale for scale in labels.scales_in_order(mixed["scale"]) if len(labels.sides(scale)) > 1]
    if not averages:
        raise Missing("no average of scales (such as 256+512) for the mix network")
    for several in averages:
        single = str(labels.sides(several)[0])
        here = selection.select(mine, scale=single, per_scale=False)
        share, _ = weighing.recovered(here, metric, weighing.blurred(here, _PAIR, _UNTESTED, metric=metric))
        extra = _added(mine, metric, several, single)
        each = _added(mine, metric, several, single, per_scale=True)
        if extra is None:
            raise Missing(f"no blur that the mix network was tested on at both {single} and {several}")
        cost = intervals.ratio(
            *(weighing.seconds(mine, training="mix", per_scale=False, scale=s) for s in (several, single))
        )
        parts = [
            Part(f"at {single} alone more than half of the loss is recovered", share, bar=0.5),
            Part(f"{several} adds less than two points", minus(extra), bar=-POINTS.size),
            Part(f"{several} costs more time", cost, bar=1.0),
            Part("a network for each scale adds less than two points", minus(each or UNKNOWN), bar=-POINTS.size),
        ]
        recovered = "no telling share" if math.isnan(share[0]) else f"{100 * share[0]:.0f} %"
        note = f"mean over sharp and blurred images; {_times(cost)} the seconds per image; at {single} alone "
        note += f"{recovered} of the loss recovered"
        unit = f"points of {METRICS[metric].spoken}, {several} over {single}"
        yield Finding(parts, extra, unit, count(mixed, scale=several), note)


def _added(mine: pd.DataFrame, metric: str, several: str, single: str, per_scale: bool = False) -> Triple | None:
    """What averaging scales adds to one, mean over sharp and blurred images; None without a shared blur."""
    many = {"training": "mix", "per_scale": per_scale, "scale": several}
    one = {"training": "mix", "per_scale": False, "scale": single}
    blurs = weighing.shared_blurs(mine, [one, many], metric=metric)
    return mean_gap(mine, metric, blurs, many, one) if blurs else None


@rule(
    7,
    "Fine-tuning on the mix is at least as accurate as deblurring with the true kernel, and far cheaper per image.",
    "rq4",
)
def deblurring(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """Against the best deblurring method under every noise and rounding tested with the true kernel, the lead must lie
    above minus two points, and deblurring must take at least twice the seconds per image."""
    found, treated = False, ("rounding", "noise_sd", "method")
    for scale, here in weighing.by_scale(own(rows, "rq4"), _PAIR, but=treated, metric=metric):
        tested = selection.estimates(here, metric=metric)
        restored = selection.select(here, training="sharp", kernel="true")
        for name, capture in selection.captures(restored).items():
            mix = {"training": "mix", "method": "none", "kernel": "none"}
            # Where the mix network was not tested on such captures, what it does on exact pixels stands for it.
            there = len(selection.select(tested, **mix, **capture))
            mix |= capture if there else {"rounding": "none", "noise_sd": 0.0}
            methods = sorted(set(selection.select(tested, training="sharp", kernel="true", **capture)["method"]))
            ways = {m: {"training": "sharp", "method": m, "kernel": "true", **capture} for m in methods}
            blurs = [blur for blur in weighing.shared_blurs(tested, [mix, *ways.values()]) if blur != "sharp"]
            if not methods or not blurs:
                continue
            found = True
            means = {m: np.mean([estimate(tested, blur=b, **way)[0] for b in blurs]) for m, way in ways.items()}
            best = max(means, key=means.get)
            lead = minus(mean_gap(here, metric, blurs, ways[best], mix))
            # The time of answering alone: the mix network's, else the sharp one's, which is as large.
            timed = set(selection.select(here, metric="seconds", method="none")["training"])
            alone = {"method": "none", "training": "mix" if "mix" in timed else "sharp"}
            cost = intervals.ratio(weighing.seconds(here, **ways[best]), weighing.seconds(here, **alone))
            parts = [
                Part("at least as accurate, within two points", lead, bar=-POINTS.size),
                Part("deblurring takes at least twice the time", cost, bar=2.0),
            ]
            unit = f"points of {METRICS[metric].spoken} over {best.replace('_', ' ')}"
            note = f"scale {scale}, {name}, mean over {', '.join(blurs)}; the best of {', '.join(methods)}; "
            note += f"deblurring costs {_times(cost)} the seconds per image"
            yield Finding(parts, lead, unit, count(here, metric=metric), note)
    if not found:
        raise Missing("no blur that both the mix network and a deblurred sharp network were tested on")


@rule(
    8,
    "Fine-tuning raises the segmentation score (mIoU) on blurred images, but the gap to sharp stays larger than in "
    "classification.",
    "rq5",
    IOU_POINTS,
    KEPT,
)
def segmentation(rows: pd.DataFrame, metric: str) -> Iterator[Finding]:
    """Averaged over the blurs, mIoU must rise after fine-tuning, and the share kept of the sharp score must be smaller
    than in classification (rq2) under the same blurs, relative to the image."""
    for _, here in weighing.by_scale(own(rows, "rq5"), _PAIR, metric="miou"):
        blurs = weighing.blurred(here, _PAIR, _UNTESTED, metric="miou")
        raised = mean_gap(here, "miou", blurs, {"training": "mix"}, {"training": "sharp"})
        note = f"mean over {', '.join(blurs)}; {100 * kept(here, 'miou', blurs)[0]:.0f} % of the sharp mIoU kept"
        behind, rivals = UNKNOWN, _rivals(rows, here, metric)
        if rivals:
            # The classifier that keeps least is the hardest rival for the claim.
            rival, same, source, shared = min(rivals, key=lambda one: one[0][0] - one[1][0])
            behind = intervals.difference(rival, same)
            note += f"; under {', '.join(shared)} in a frame of {here['frame'].iloc[0]}, {100 * same[0]:.0f} %, beside "
            note += f"{100 * rival[0]:.0f} % of {METRICS[metric].spoken} by {source}"
        else:
            note += ", no classification (rq2) under the same blurs to compare with"
        parts = [
            Part("mIoU on blurred images rises", raised, least=IOU_POINTS.size),
            Part("a smaller share of the sharp score is kept than in classification", behind, least=KEPT.size),
        ]
        yield Finding(parts, raised, "points of mIoU on blurred images", count(here, metric="miou"), note)


def _rivals(rows: pd.DataFrame, here: pd.DataFrame, metric: str) -> list[tuple[Triple, Triple, str, list[str]]]:
    """(share that a classifier keeps, share that segmentation keeps under the same blurs, source, those blurs)."""
    found = []
    classified = selection.in_frame(selection.main_protocol(own(rows, "rq2", metric=metric)), here["frame"].iloc[0])
    tested = set(weighing.blurred(here, _PAIR, metric="miou"))
    sources = selection.sources(classified).items()
    for source, part in ((source, part) for source, found in sources for _, part in found.groupby("scale")):
        shared = [blur for blur in weighing.blurred(part, _PAIR) if blur in tested]
        if shared:
            found.append((kept(part, metric, shared), kept(here, "miou", shared), source, shared))
    return found


def _times(cost: Triple) -> str:
    return "an unknown multiple of" if math.isnan(cost[0]) else f"{cost[0]:.3g} times"
