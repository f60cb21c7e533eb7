"""The card: what blur does to one network, on a page, from its records alone, beside the networks of the book."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report import advice, classes, figures, paper, selection, tables
from blurnb.report import doses as strengths

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = (Path(__file__).parent / "card.css").read_text()


class Section(NamedTuple):
    """A part of the card: words, then a figure with its description, then a table; each may be missing."""

    title: str
    words: tuple[str, ...] = ()
    figure: object = None
    description: str = ""
    table: pd.DataFrame | None = None
    code: str = ""


def references() -> pd.DataFrame:
    """The committed reference runs of the book, empty where the package stands without the repository."""
    beside = Path(records.__file__).parents[1] / "book" / "records" / "photographs"
    try:
        folder = records.committed("photographs")
    except UserError:
        folder = beside
    found = [records.load(folder, question) for question in ("rq", "doses")] if folder.is_dir() else []
    return records.table(row for frame in found for row in frame.to_dict("records"))


def main(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at the card's main scale: 256 where measured, else the first."""
    scales = selection.scales_in_order(rows["scale"])
    return selection.select(rows, scale="256" if "256" in scales else scales[0])


def conditions(rows: pd.DataFrame) -> pd.DataFrame:
    """Each blur at the main scale: accuracy, share kept, and whether the network knows that it cannot see."""
    here = main(rows)
    here = here[here["seen"] == selection.main_view(here)]
    lines = []
    for blur in selection.in_order(here["blur"]):
        part = selection.select(here, blur=blur, versus="")
        n = int(part["n"].max())
        measured = ("top1", "confidence", "ece")
        one = {m: selection.estimate(selection.select(part, metric=m)) for m in measured}
        sharp = selection.estimate(selection.select(here, blur="sharp", metric="top1", versus=""))
        share = intervals.share_kept(sharp, one["top1"]) if blur != "sharp" else (math.nan,) * 3
        lines.append(
            {
                "condition": blur,
                "top-1, %": tables.interval(*one["top1"], n),
                "share of sharp kept, %": "" if math.isnan(share[0]) else _shares(share, n),
                "confidence, %": tables.number(one["confidence"][0], n),
                "surer than right, points": tables.number(one["confidence"][0] - one["top1"][0], n, signed=True),
                "calibration error, %": tables.number(one["ece"][0], n, "ece"),
            }
        )
    return pd.DataFrame(lines)


def _shares(share: tuple[float, float, float], n: int) -> str:
    if not all(map(math.isfinite, share)):
        return tables.number(share[0], n)
    return tables.interval(share[0], max(0.0, share[1]), share[2], n)


def comparison(rows: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Share of the sharp top-1 kept under each blur at the main scale, ours beside each reference network's."""
    here = main(rows)
    scale = here["scale"].iloc[0]
    columns = {"this network, %": here}
    if len(reference):
        theirs = selection.select(reference, scale=scale, metric="top1", training="sharp", versus="")
        theirs = theirs[theirs["question"].isin(["rq1", "doses"]) & ~theirs["dataset"].str.contains("frame ")]
        for (network, dataset), part in theirs.groupby(["network", "dataset"], sort=True):
            columns[f"{network} on {dataset}, n = {part['n'].max():,}, %"] = part
    blurs = [b for b in selection.in_order(here["blur"]) if b != "sharp"]
    lines = [{"condition": blur} | {name: _kept(part, blur) for name, part in columns.items()} for blur in blurs]
    frame = pd.DataFrame(lines)
    shared = [name for name in list(columns)[1:] if (frame[name] != "–").any()]
    frame = frame[["condition", "this network, %", *shared]]
    return frame[(frame[shared] != "–").any(axis=1)] if shared else frame.head(0)


def published(rows: pd.DataFrame) -> pd.DataFrame:
    """The paper's VGG-16 beside this network, share of the sharp top-5 kept, where the paper has the condition."""
    lines = []
    for row in paper.published(training="sharp").itertuples():
        here = selection.select(rows, scale=row.scale, metric="top5", versus="")
        kept = paper.published_share(row.row)
        if row.blur == "sharp" or math.isnan(kept) or row.blur not in set(here["blur"]):
            continue
        lines.append(
            {
                "scale": row.scale,
                "condition": row.blur,
                "this network, %": _kept(here, row.blur, "top5"),
                "VGG-16 in the paper, %": tables.number(kept, 200),
            }
        )
    return pd.DataFrame(lines)


def _kept(rows: pd.DataFrame, blur: str, metric: str = "top1") -> str:
    rows = selection.select(rows, metric=metric, versus="")
    rows = rows[rows["seen"] == selection.main_view(rows)]
    ends = [selection.estimate(selection.select(rows, blur=b)) for b in ("sharp", blur)]
    if None in ends or not ends[0][0] > 0:
        return "–"
    return _shares(intervals.share_kept(*ends), int(rows["n"].max()))


def situations(rows: pd.DataFrame, note: Mapping) -> pd.DataFrame:
    """What the camera's situations cost at the main scale: interpolated between measured strengths, never beyond."""
    here = main(rows)
    lines = []
    for one in note.get("camera", {}).get("situations", ()):
        label = one["blur"]
        loss = interpolated(here, label) if label else "wider than the frame"
        lines.append({"situation": one["situation"], "blur": label or "–", "change of top-1, points": loss})
    return pd.DataFrame(lines, columns=["situation", "blur", "change of top-1, points"])


def interpolated(here: pd.DataFrame, label: str) -> str:
    """The paired change from sharp under `label`, linear between the two measured strengths of its family around it.

    Both ends of the interval are interpolated too. Motion is compared by length, whatever its angle.
    """
    kind, dose = selection.family(label), selection.strength(label)
    if kind == "sharp":
        return "none"
    changes = selection.select(here, metric="top1_change", versus="sharp image")
    changes = changes[changes["seen"] == selection.main_view(changes)]
    points = {0.0 if kind != "motion" else 1.0: (0.0, 0.0, 0.0)}
    points |= {
        selection.strength(b): selection.estimate(selection.select(changes, blur=b))
        for b in selection.in_order(changes["blur"])
        if selection.family(b) == kind
    }
    doses = sorted(points)
    if len(doses) < 2:
        return f"no {kind} was measured"
    if dose > doses[-1]:
        return f"beyond the strongest measured, {'D' if kind == 'defocus' else 'a length of '}{doses[-1]:g}"
    right = next(i for i, d in enumerate(doses) if d >= dose)
    below, above = doses[max(0, right - 1)], doses[right]
    share = 0.0 if above == below else (dose - below) / (above - below)
    ends = [(1 - share) * a + share * b for a, b in zip(points[below], points[above])]
    return tables.interval(*ends, int(changes["n"].max()), "top1_change", signed=True)


def sections(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> list[Section]:
    """The card's parts, in reading order, of the rows of one run and its manifest."""
    rows = selection.split_view(rows)
    network, dataset = selection.one_source(rows, "a card")
    here, chance = main(rows), 1 / note["classes"]
    scale, guessing = here["scale"].iloc[0], advice.guessing(here, note)
    parts = [Section("What to do about it", tuple(advice.steps(rows, note, reference)), code=advice.recipe(rows, note))]
    shown = figures.accuracy_by_blur(rows, "top1", advice.training(rows), compare=False)
    about = f"Top-1 accuracy of {network} on {dataset} against blur, a panel for each scale, with 95 % intervals"
    frame = note["parameters"]["frame"]
    words = ("D is defocus by its radius, G a Gaussian by its standard deviation, M straight motion by length and "
             f"angle, all in pixels of an image {frame} high; shake is a hand-held trajectory. A scale is the height "
             "in pixels at which the network sees the blurred image.",)  # fmt: skip
    parts.append(Section("Accuracy under every blur", words, shown, about))
    doses = strengths.half_doses(rows, chance)
    if doses and not guessing:
        dose = figures.dose_response(rows, "top1", "scale", training=advice.training(rows), chance=chance)
        words = ("Half gone: midway from the sharp accuracy to that of guessing, by isotonic interpolation between the "
                 "measured radii; the interval errs wide.",)  # fmt: skip
        description = "Top-1 accuracy against defocus radius, a line for each scale, half-accuracy radius marked"
        parts.append(Section("How much defocus is too much", words, dose, description))
    if "camera" in note and not guessing:
        words = (f"{note['camera']['camera']}. Thin lens and shutter give the blur; the change of accuracy, at scale "
                 f"{scale}, is interpolated linearly between measured strengths, and never beyond them.",)  # fmt: skip
        parts.append(Section("With a camera", words, table=situations(rows, note)))
    words = ("Confidence is the mean probability it gives to its answers. Where it is surer than right it does not "
             "know that it cannot see; a negative number means that it knows more than it says.",)  # fmt: skip
    parts.append(Section(f"Accuracy and confidence, scale {scale}", words, table=conditions(rows)))
    if not guessing:
        parts += _compared(rows, note, reference, scale)
        worst = classes.table(here) if len(classes.losses(here)) else None
        parts.append(Section("Which classes break first", (classes.sentence(here),), table=worst))
    parts.append(_made(rows, note))
    return parts


def _compared(rows, note, reference, scale) -> list[Section]:
    theirs = comparison(rows, reference)
    frames = [] if theirs.empty else [(f"share of the sharp top-1 kept, scale {scale}", theirs)]
    if note["classes"] >= 20 and len(published(rows)):
        frames.append(("share of the sharp top-5 kept", published(rows)))
    words = "Other photographs, another n, often other classes: read order and rough size, not digits."
    if not frames:
        return [Section("Beside the networks of the book", ("Nothing in the book was measured under these blurs.",))]
    titles = ["Beside the networks of the book", "Beside the paper"]
    return [
        Section(titles[0] if frame is theirs else titles[1], (f"{text[0].upper()}{text[1:]}. {words}",), table=frame)
        for text, frame in frames
    ]


def _made(rows: pd.DataFrame, note: Mapping) -> Section:
    parameters, versions = note["parameters"], note["versions"]
    skipped = len(note.get("skipped", ()))
    mean, std = (", ".join(f"{v:.3g}" for v in note["normalisation"][k]) for k in ("mean", "std"))
    lines = {
        "network": f"{note['network_origin']['source']}, weights {note['network_origin']['weights']}",
        "normalisation": f"(x - [{mean}]) / [{std}] of pixels in [0, 1]",
        "images": f"{int(rows['n'].max()):,} of {note['classes']:,} classes, seed {parameters['seed']}"
        + (f"; {skipped} unreadable skipped" if skipped else ""),
        "protocol": f"frame {parameters['frame']}, view {parameters['view']}, border {parameters['border']}, "
        f"{parameters['precision']}",
        "made with": ", ".join(f"{k} {versions[k]}" for k in ("blurnb", "torch", "python")),
        "date": note["date"][:10],
        "run": rows["run_id"].iloc[0],
    }
    table = pd.DataFrame({"what": list(lines), "how": list(lines.values())})
    return Section("How this card was made", ("Intervals are 95 %.",), table=table)


def headline(rows: pd.DataFrame, note: Mapping) -> list[tuple[str, str]]:
    """Three facts (number, words) for the top of the card, at its main scale."""
    here = main(selection.split_view(rows))
    here = here[here["seen"] == selection.main_view(here)]
    scale, n = here["scale"].iloc[0], int(here["n"].max())
    blur = advice.telling(here)
    sharp, blurred = (selection.estimate(selection.select(here, blur=b, metric="top1", versus=""))
                      for b in ("sharp", blur))  # fmt: skip
    facts = [
        (f"{tables.number(sharp[0], n)} %", f"right on sharp images, {_range(sharp, n)}"),
        (f"{tables.number(blurred[0], n)} %", f"right under {blur}, {_described(blur)}, {_range(blurred, n)}"),
    ]
    dose = strengths.half_doses(selection.split_view(rows), 1 / note["classes"]).get(scale)
    if dose and not advice.guessing(here, note):
        number = f"D{dose.radius:.1f}" if math.isfinite(dose.radius) else f"> D{dose.largest:g}"
        frame = note["parameters"]["frame"]
        facts.append((number, f"takes half of that: a radius of {dose}, in pixels of an image {frame} high"))
    return facts


def _range(one: tuple[float, float, float], n: int) -> str:
    return f"{tables.number(one[1], n)} to {tables.number(one[2], n)} (95 % interval)"


def _described(blur: str) -> str:
    names = {
        "defocus": "defocus of radius {} pixels",
        "gaussian": "a Gaussian of sigma {}",
        "motion": "{} pixels moved",
    }
    kind = selection.family(blur)
    return names[kind].format(f"{selection.strength(blur):g}") if kind in names else "a hand-held trajectory"


def title(rows: pd.DataFrame) -> str:
    return f"How robust is {rows['network'].iloc[0]} to blur?"


def standfirst(rows: pd.DataFrame, note: Mapping) -> str:
    """What was measured, in a sentence."""
    here = main(selection.split_view(rows))
    return (
        f"Measured on {int(here['n'].max()):,} images of {rows['dataset'].iloc[0]} ({note['classes']:,} classes), "
        f"sharp and under {len(set(here['blur']) - {'sharp'})} blurs, shown to the network "
        f"{' and '.join(selection.scales_in_order(rows['scale']))} pixels high. The numbers below are for "
        f"{here['scale'].iloc[0]}."
    )


_MARKUP = re.compile(r"([\\`*_\[\]<>#~$])")


def plain(text: str) -> str:
    """Text that came from outside, so that Markdown shows it and obeys nothing in it."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def summary(rows: pd.DataFrame, note: Mapping) -> str:
    """What was measured and the facts on top of the card, as Markdown."""
    lines = [plain(standfirst(rows, note)), "", *(f"- **{plain(n)}** {plain(w)}" for n, w in headline(rows, note))]
    return "\n".join(lines)


def todo(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> str:
    """The card's advice as Markdown, with the code it speaks of."""
    rows = selection.split_view(rows)
    code = advice.recipe(rows, note)
    lines = ["**What to do about it**", "", *(f"- {plain(step)}" for step in advice.steps(rows, note, reference))]
    return "\n".join([*lines, *(["", "```python", code, "```"] if code else [])])


def markdown(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame, images: Mapping[str, str] = {}) -> str:
    """The card as Markdown; `images` gives the file of a section's figure by the section's title."""
    lines = [f"# {plain(title(rows))}", "", summary(rows, note)]
    for part in sections(rows, note, reference):
        lines += ["", f"## {plain(part.title)}", ""]
        bullet = "- " if part.title == "What to do about it" else ""
        lines += [text for words in part.words for text in (f"{bullet}{plain(words)}", *([] if bullet else [""]))]
        if part.code:
            lines += ["", "```python", part.code, "```"]
        if part.title in images:
            lines += [f"![{plain(part.description)}]({images[part.title]})", ""]
        if part.table is not None:
            lines += [tables.markdown(part.table.map(plain))]
    return "\n".join(lines).rstrip() + "\n"


def page(rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> str:
    """The card as one HTML file that needs nothing else: no script, no request, light and dark."""
    said = html.escape
    facts = "".join(f"<div><dt>{said(n)}</dt><dd>{said(w)}</dd></div>" for n, w in headline(rows, note))
    body = [f"<h1>{said(title(rows))}</h1><p class=standfirst>{said(standfirst(rows, note))}</p>"]
    body.append(f"<dl>{facts}</dl><div class=parts>")
    for part in sections(rows, note, reference):
        listed = part.title == "What to do about it"
        body.append(f"<section><h2>{said(part.title)}</h2>")
        words = "".join(f"<li>{said(w)}</li>" if listed else f"<p>{said(w)}</p>" for w in part.words)
        body.append(f"<ul>{words}</ul>" if listed else words)
        if part.code:
            body.append(f"<pre><code>{said(part.code)}</code></pre>")
        if part.figure is not None:
            source = base64.b64encode(_svg(part.figure)).decode()
            body.append(f'<img alt="{said(part.description)}" src="data:image/svg+xml;base64,{source}">')
        if part.table is not None:
            body.append(_table(part.table))
        body.append("</section>")
    body.append("</div>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing may be fetched or run, whatever a file name on the card says.
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<link rel="icon" href="data:,"><title>{said(title(rows))}</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _svg(figure) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _table(frame: pd.DataFrame) -> str:
    def cells(tag, row):
        return "".join(f"<{tag}{_kind(cell)}>{html.escape(str(cell))}</{tag}>" for cell in row)

    lines = "".join(f"<tr>{cells('td', row)}</tr>" for row in frame.itertuples(index=False))
    return (
        f"<div class=wide tabindex=0><table><thead><tr>{cells('th', frame.columns)}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _kind(cell: object) -> str:
    return " class=number" if re.match(r"[+\N{MINUS SIGN}]?\d[\d.,]*( \[|$)", str(cell)) else ""


def write(folder: str | Path, rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> tuple[Path, Path]:
    """Write card.html, card.md and the figures that card.md shows; returns the paths of the two."""
    folder, images = Path(folder), {}
    for place, part in enumerate(part for part in sections(rows, note, reference) if part.figure is not None):
        images[part.title] = f"card_{place + 1}.svg"
        records.write_whole(folder / images[part.title], _svg(part.figure))
    records.write_whole(folder / "card.html", page(rows, note, reference))
    records.write_whole(folder / "card.md", markdown(rows, note, reference, images))
    return folder / "card.html", folder / "card.md"
