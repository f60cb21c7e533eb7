"""What blur does to one network, as data: the numbers on top of a card and its sections, from records alone."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from blurnb import labels, records
from blurnb.errors import UserError
from blurnb.report import figures, paper, selection
from blurnb.report.card import advice
from blurnb.report.card.advice import level, main
from blurnb.report.numbers import MANY, interval, number
from blurnb.report.tables.doses import half_radii
from blurnb.report.tables.segmentation import class_changes, class_sentence, class_table


class Section(NamedTuple):
    """A part of the card: words (things to do where `listed`), code, a figure, a table; each may be missing."""

    title: str
    words: tuple[str, ...] = ()
    figure: object = None
    description: str = ""
    table: pd.DataFrame | None = None
    code: str = ""
    listed: bool = False


class Facts(NamedTuple):
    """A card before it is a page; `headline` are pairs (number, words)."""

    title: str
    standfirst: str
    headline: list[tuple[str, str]]
    sections: list[Section]


def collect(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> Facts:
    """All that a card says, of the rows of one run, its manifest and the records of the book."""
    title = f"How robust is {selection.one_source(rows, 'a card')[0]} to blur?"
    return Facts(title, standfirst(rows, note), headline(rows, note), sections(rows, note, reference))


def references() -> pd.DataFrame:
    """The committed reference runs of the book, empty where the package stands without the repository."""
    beside = Path(records.__file__).parents[1] / "book" / "records" / "photographs"
    try:
        return records.load(records.committed("photographs"))
    except (UserError, OSError):  # the working directory may be gone
        return records.load(beside)


def conditions(rows: pd.DataFrame) -> pd.DataFrame:
    """Each blur at the main scale: accuracy, share kept, and whether the network knows that it cannot see."""
    here, lines = main(rows), []
    for blur in labels.in_order(here["blur"]):
        n = int(selection.estimates(here, blur=blur)["n"].max())
        right, sure, off = (level(here, blur=blur, metric=m) for m in ("top1", "confidence", "ece"))
        share = "" if blur == "sharp" else _kept(here, blur)
        surplus = number(sure[0] - right[0], n, signed=True)
        lines.append([blur, interval(*right, n), share, number(sure[0], n), surplus, interval(*off, n, "ece")])
    heads = ["top-1, %", "share of sharp kept, %", "confidence, %", "surer than right, points", "calibration error, %"]
    return pd.DataFrame(lines, columns=["condition", *heads])


def _kept(rows: pd.DataFrame, blur: str, metric: str = "top1") -> str:
    """Share of the sharp score that is kept under `blur`, %; a dash where there is none to keep."""
    here = selection.main_protocol(selection.select(rows, metric=metric))
    share = selection.share_kept(here, blur)
    return "–" if share is None else interval(*share, int(here["n"].max()))


def comparison(rows: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Share of the sharp top-1 kept under each blur at the main scale, ours beside each reference network's.

    Parameters
    ----------
    rows
        Records of one run of the card.
    reference
        Records of the book; only those of RQ1 and the doses in the same frame are read, where a label is the same blur.
    """
    here = main(rows)
    columns = {"this network, %": here}
    theirs = selection.select(reference, experiment=["rq1", "doses"], frame=here["frame"].iloc[0], training="sharp")
    theirs = selection.select(theirs, metric="top1", scale=here["scale"].iloc[0], part_kind=None)
    for network, data, part in selection.grouped(theirs):
        columns[f"{network} on {data}, n = {part['n'].max():,}, %"] = part
    blurs = [b for b in labels.in_order(here["blur"]) if b != "sharp"]
    lines = [{"condition": blur} | {name: _kept(part, blur) for name, part in columns.items()} for blur in blurs]
    frame = pd.DataFrame(lines)
    shared = [name for name in list(columns)[1:] if (frame[name] != "–").any()]
    frame = frame[["condition", "this network, %", *shared]]
    return frame[(frame[shared] != "–").any(axis=1)] if shared else frame.head(0)


def published(rows: pd.DataFrame) -> pd.DataFrame:
    """The paper's VGG-16 beside this network, share of the sharp top-5 kept, where the paper has the condition."""
    lines = []
    for row in paper.published(training="sharp").itertuples():
        here = selection.select(rows, scale=row.scale, metric="top5", part_kind=None)
        if row.blur != "sharp" and row.share_kept > 0 and row.blur in set(here["blur"]):
            lines.append([row.scale, row.blur, _kept(here, row.blur, "top5"), number(row.share_kept, MANY)])
    return pd.DataFrame(lines, columns=["scale", "condition", "this network, %", "VGG-16 in the paper, %"])


def situations(rows: pd.DataFrame, note: Mapping) -> pd.DataFrame:
    """What the camera's situations cost at the main scale: interpolated between measured strengths, never beyond."""
    here, lines = main(rows), []
    for one in note.get("camera", {}).get("situations", ()):
        loss = interpolated(here, one["blur"]) if one["blur"] else "wider than the frame"
        lines.append([one["situation"], one["blur"] or "–", loss])
    return pd.DataFrame(lines, columns=["situation", "blur", "change of top-1, points"])


def interpolated(here: pd.DataFrame, label: str) -> str:
    """The paired change from sharp under `label`, linear between the two measured strengths of its family around it.

    Both ends of the interval are interpolated too. Motion is compared by length, whatever its angle.
    """
    blur = labels.parse(label)
    kind, dose, family = blur.family, blur.strength, labels.FAMILIES[blur.family]
    if kind == "sharp":
        return "none"
    name, least, _ = family.parameter
    points = {least: (0.0, 0.0, 0.0)}
    points |= {
        labels.parse(b).strength: change for b, change in advice.changes(here).items() if labels.family(b) == kind
    }
    doses = sorted(points)
    if len(doses) < 2:
        return f"no {kind} was measured"
    if dose > doses[-1]:
        alone = len(blur.parameters) == 1
        return f"beyond the strongest measured, {family.letter if alone else f'a {name} of '}{doses[-1]:g}"
    ends = [np.interp(dose, doses, column) for column in zip(*map(points.get, doses))]
    n = int(selection.select(here, statistic="difference", versus_blur="sharp")["n"].max())
    return interval(*ends, n, signed=True)


def sections(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> list[Section]:
    """The card's parts, in reading order.

    Parameters
    ----------
    rows
        Records of one run of the card.
    note
        Its manifest: `classes`, `normalisation`, `network_origin`, perhaps `camera`, `skipped`, `most_frequent_class`.
    reference
        Records of the book, perhaps empty.
    """
    network, data = selection.one_source(rows, "a card")
    here, chance, training = main(rows), 1 / note["classes"], advice.training(rows)
    scale, frame, guessing = here["scale"].iloc[0], here["frame"].iloc[0], advice.guessing(here, note)
    todo = tuple(advice.steps(rows, note, reference))
    parts = [Section("What to do about it", todo, code=advice.recipe(rows, note), listed=True)]
    shown = figures.accuracy_by_blur(rows, "top1", training, compare=False)
    about = f"Top-1 accuracy of {network} on {data} against blur, a panel for each scale, with 95 % intervals"
    words = ("D is defocus by its radius, G a Gaussian by its standard deviation, M straight motion by length and "
             f"angle, all in pixels of an image {frame} high; shake is a hand-held trajectory. A scale is the height "
             "in pixels at which the network sees the blurred image.",)  # fmt: skip
    parts.append(Section("Accuracy under every blur", words, shown, about))
    if half_radii(rows, chance) and not guessing:
        dose = figures.doses.by_scale(rows, "top1", training=training, chance=chance)
        words = ("Half gone: midway from the sharp accuracy to that of guessing, by isotonic interpolation between the "
                 "measured radii.",)  # fmt: skip
        about = "Top-1 accuracy against defocus radius, a line for each scale, half-accuracy radius marked"
        parts.append(Section("How much defocus is too much", words, dose, about))
    if "camera" in note and not guessing:
        words = (f"{note['camera']['camera']}. Thin lens and shutter give the blur; the change of accuracy, at scale "
                 f"{scale}, is interpolated linearly between measured strengths, and never beyond them.",)  # fmt: skip
        parts.append(Section("With a camera", words, table=situations(rows, note)))
    words = ("Confidence is the mean probability it gives to its answers. Where it is surer than right it does not "
             "know that it cannot see; a negative number means that it knows more than it says.",)  # fmt: skip
    parts.append(Section(f"Accuracy and confidence, scale {scale}", words, table=conditions(rows)))
    if not guessing:
        parts += _compared(rows, note, reference, scale)
        worst = class_table(here) if len(class_changes(here)) else None
        parts.append(Section("Which classes break first", (class_sentence(here),), table=worst))
    return [*parts, _made(rows, note)]


def _compared(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame, scale: str) -> list[Section]:
    words = "Other photographs, another n, often other classes: read order and rough size, not digits."
    theirs, parts = comparison(rows, reference), []
    if len(theirs):
        about = f"Share of the sharp top-1 kept, scale {scale}. {words}"
        parts.append(Section("Beside the networks of the book", (about,), table=theirs))
    if note["classes"] >= 20 and len(published(rows)):
        about = f"Share of the sharp top-5 kept. {words}"
        parts.append(Section("Beside the paper", (about,), table=published(rows)))
    nothing = ("Nothing in the book was measured under these blurs.",)
    return parts or [Section("Beside the networks of the book", nothing)]


def _made(rows: pd.DataFrame, note: Mapping) -> Section:
    versions, skipped, one = note["versions"], len(note.get("skipped", ())), rows.iloc[0]
    mean, std = (", ".join(f"{v:.3g}" for v in note["normalisation"][k]) for k in ("mean", "std"))
    lines = {
        "network": f"{note['network_origin']['source']}, weights {note['network_origin']['weights']}",
        "normalisation": f"(x - [{mean}]) / [{std}] of pixels in [0, 1]",
        "images": f"{int(rows['n'].max()):,} of {note['classes']:,} classes, seed {one['seed']}"
        + (f"; {skipped} unreadable skipped" if skipped else ""),
        "protocol": f"frame {one['frame']}, view {one['view']}, border {one['border']}, {one['precision']}",
        "made with": ", ".join(f"{k} {versions[k]}" for k in ("blurnb", "torch", "python")),
        "date": note["date"][:10],
        "run": one["run_id"],
    }
    table = pd.DataFrame({"what": list(lines), "how": list(lines.values())})
    return Section("How this card was made", ("Intervals are 95 %.",), table=table)


def headline(rows: pd.DataFrame, note: Mapping) -> list[tuple[str, str]]:
    """Three facts (number, words) for the top of the card, at its main scale."""
    here = main(rows)
    scale, frame, n = here["scale"].iloc[0], here["frame"].iloc[0], int(here["n"].max())
    blur = advice.telling(here)
    sharp, blurred = (level(here, blur=b, metric="top1") for b in ("sharp", blur))
    phrase = labels.FAMILIES[labels.family(blur)].phrase.format(labels.parse(blur).strength)
    found = []
    for what, (right, low, high) in (("on sharp images", sharp), (f"under {blur}, {phrase}", blurred)):
        words = f"right {what}, {number(low, n)} to {number(high, n)} (95 % interval)"
        found.append((f"{number(right, n)} %", words))
    dose = half_radii(rows, 1 / note["classes"]).get(scale)
    if dose and not advice.guessing(here, note):
        radius = f"D{dose.radius:.1f}" if math.isfinite(dose.radius) else f"> D{dose.largest:g}"
        found.append((radius, f"takes half of that: a radius of {dose}, in pixels of an image {frame} high"))
    return found


def standfirst(rows: pd.DataFrame, note: Mapping) -> str:
    """What was measured, in a sentence."""
    here = main(rows)
    _, data = selection.one_source(rows, "a card")
    return (
        f"Measured on {int(here['n'].max()):,} images of {data} ({note['classes']:,} classes), "
        f"sharp and under {len(set(here['blur']) - {'sharp'})} blurs, shown to the network "
        f"{' and '.join(labels.scales_in_order(rows['scale']))} pixels high. The numbers below are for "
        f"{here['scale'].iloc[0]}."
    )
