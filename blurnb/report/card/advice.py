"""What to do about blur, by rule, from the records of a card."""

from collections.abc import Mapping

import pandas as pd

from blurnb import intervals, labels
from blurnb.intervals import Triple
from blurnb.report import selection
from blurnb.report.numbers import interval
from blurnb.report.verdicts import NOT_RUN, judge

EQUAL = (3.2, 5.0)  # standard deviations in frame pixels that count as about equally strong; D8 and G4 have 4
FEW = 200  # images, below which intervals are too wide to act on
OVERCONFIDENT = 0.05


def training(rows: pd.DataFrame) -> str:
    """What the network was trained on, as its rows say."""
    return rows["training"].iloc[0]


def main(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of single blurs at the card's main scale: 256 where measured, else the first."""
    return selection.select(rows[rows["blur"] != ""], scale=selection.main_scale(rows))


def level(rows: pd.DataFrame, **wanted) -> Triple | None:
    """A number about all images in the main protocol, None where there is none."""
    return selection.estimate(selection.main_protocol(selection.estimates(rows, **wanted)))


def changes(rows: pd.DataFrame) -> dict[str, Triple]:
    """The paired change of top-1 from sharp images, by blur in order."""
    found = selection.estimates(rows, metric="top1", statistic="difference", versus_blur="sharp")
    found = selection.main_protocol(found)
    return {b: selection.estimate(selection.select(found, blur=b)) for b in labels.in_order(found["blur"])}


def telling(here: pd.DataFrame) -> str:
    """The blur that stands for blur: D8 where measured, else the strongest of the first family."""
    blurs = labels.in_order(set(here["blur"]) - {"", "sharp"})  # a mean over blurs has none
    first = [b for b in blurs if labels.family(b) == labels.family(blurs[0])]
    return "D8" if "D8" in blurs else first[-1]


def guessing(here: pd.DataFrame, note: Mapping) -> bool:
    """Whether the sharp accuracy cannot be told from that of always naming one class."""
    sharp = level(here, blur="sharp", metric="top1")
    return sharp[1] <= max(1 / note["classes"], note.get("most_frequent_class", 0.0))


def family_losses(here: pd.DataFrame) -> dict[str, tuple[str, Triple]]:
    """By family, the blur of about D8's strength and the paired change of top-1 under it, most lost first."""
    found = {}
    for label, change in changes(here).items():
        blur = labels.parse(label)
        if blur.is_random or EQUAL[0] <= blur.kernel_sd <= EQUAL[1]:
            found.setdefault(blur.family, (label, change))
    return dict(sorted(found.items(), key=lambda pair: pair[1][1][0]))


def steps(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> list[str]:
    """Advice, one sentence or two each, most important first.

    Parameters
    ----------
    rows
        Records of one run of the card.
    note
        Its manifest.
    reference
        Records of the book, perhaps empty.
    """
    here = main(rows)
    n = int(here["n"].max())
    if guessing(here, note):
        return [
            "This network is at chance level on sharp images: its answers there cannot be told from always naming one "
            "class, so nothing here says what blur does to it. Check its weights, its normalisation (mean and std) and "
            "that its classes are in the order of the sorted folders."
        ]
    few = f"With {n} images the intervals are too wide to act on; give {FEW} or more before you decide anything."
    found = [few] if n < FEW else []
    found += _train(here, n, reference) + _scale(rows, n) + _confidence(here, n)
    return found or ["No blur tested costs more than its interval leaves open."]


def _train(here: pd.DataFrame, n: int, reference: pd.DataFrame) -> list[str]:
    losses = family_losses(here)
    if not (lost := {kind: one for kind, one in losses.items() if one[1][2] < 0}):
        return []
    kind, (blur, change) = next(iter(lost.items()))
    costs = "; ".join(f"{_points(one, n)} under {b}" for b, one in losses.values())
    text = f"Fine-tune it on sharp and blurred images together, as the code below draws them. Change of top-1: {costs}"
    if others := [one for label, one in losses.values() if label != blur]:
        clearly = change[2] < min(one[1] for one in others)
        most = f"{kind.capitalize()} costs it most" if clearly else "The kind of blur that costs it most is not clear"
        text += f", which are about equally strong. {most}"
    text += "."
    known = [one for one in (judge(2, reference, "photographs") if len(reference) else ()) if one.verdict != NOT_RUN]
    if known:
        text += f" In the book that brought back {'; '.join(f'{one.effect_text()} ({one.evidence})' for one in known)}."
    return [text]


def _points(change: Triple, n: int) -> str:
    return interval(*change, n, signed=True)


def _scale(rows: pd.DataFrame, n: int) -> list[str]:
    scales = labels.scales_in_order(rows["scale"])
    if len(scales) < 2:
        return []
    blur = telling(rows)
    levels = {c: {s: level(rows, metric="top1", scale=s, blur=c) for s in scales} for c in ("sharp", blur)}
    sharp, under = (max(one, key=lambda s: one[s][0]) for one in levels.values())
    gain = intervals.difference(levels[blur][under], levels[blur][sharp])
    told = f"images {sharp} pixels high. Under {blur} the best scale measured is {under}, but by no more than its "
    told += "interval leaves open."
    if sharp == under:
        told = f"images {sharp} pixels high: of {', '.join(scales)} that is best on sharp images and under {blur}."
    elif gain[1] > 0:
        told = f"sharp images {sharp} pixels high, but blurred ones {under}: under {blur} that is {_points(gain, n)} "
        told += "points better."
    return [f"Show it {told}"]


def _confidence(here: pd.DataFrame, n: int) -> list[str]:
    blur = telling(here)

    def surplus(label: str) -> Triple | None:
        sure, right = (level(here, blur=label, metric=m) for m in ("confidence", "top1"))
        return None if sure is None else intervals.difference(sure, right)

    before, after = surplus("sharp"), surplus(blur)
    if after is None or not after[1] > OVERCONFIDENT:
        return []
    text = f"Do not trust its confidence under blur: under {blur} it is {_points(after, n)} points surer than right"
    text += f" ({_points(before, n)} on sharp images)." if before is not None else "."
    return [text + " Set thresholds, or a softmax temperature, on images blurred like those it will meet."]


def recipe(rows: pd.DataFrame, note: Mapping) -> str:
    """The line of code that the first step refers to; empty where there is nothing to train against."""
    here = main(rows)
    lost = [kind for kind, one in family_losses(here).items() if one[1][2] < 0]
    if guessing(here, note) or not lost:
        return ""
    # Shake stands for all that is drawn at random: the other trajectories are no mix of their own.
    alone = "shake" if labels.FAMILIES[lost[0]].is_random else lost[0]
    return (
        "from blurnb.optics import RandomBlur\n"
        'augment = RandomBlur(mix="mix")  # one image in five stays sharp\n'
        f'# RandomBlur(mix="{alone}") if {alone} is the only blur that it will ever meet'
    )
