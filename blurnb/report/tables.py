"""Records as tables that people read: text cells, one way to print a number everywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from blurnb import intervals
from blurnb.errors import UserError
from blurnb.report import claims, paper, selection

PROFILES = ("embedded", "photographs", "paper")
PERCENT = (
    "top1",
    "top5",
    "p_true",
    "ece",
    "miou",
    "iou",
    "pixel_accuracy",
    "top1_change",
    "top5_change",
    "miou_change",
)
FEW_CLASSES = ("scenes", "imagenette")  # ten-odd classes, where the best five are nearly all there is
NOT_RUN = "not run yet"

_NAMES = {
    "top1": "top-1, %",
    "top5": "top-5, %",
    "entropy": "entropy, nats",
    "p_true": "probability of the true class, %",
    "ece": "calibration error, %",
    "miou": "mIoU, %",
    "iou": "IoU, %",
    "pixel_accuracy": "pixel accuracy, %",
    "seconds": "seconds per image",
    "psnr": "PSNR, dB",
}

# A number, perhaps with an interval or a unit behind it; a hash or a date is none.
_NUMERIC = re.compile(r"[+\N{MINUS SIGN}<-]?\d[\d,.]*( .*)?")


def name(metric: str) -> str:
    """Column heading of a metric, with its unit."""
    return _NAMES.get(metric, metric)


def number(value: float, n: int, metric: str = "top1", signed: bool = False) -> str:
    """One number as printed: percent with a decimal from 200 images on, without below; other units to three digits."""
    if value is None or math.isnan(value):
        return "–"
    if metric in PERCENT:
        text = f"{100 * value + 0.0:{'+' if signed else ''}.{1 if n >= 200 else 0}f}"
    else:
        text = f"{value:{'+' if signed else ''}#.3g}".rstrip(".")
    return "0" + text[2:] if text.startswith("-0") and float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def interval(value: float, low: float, high: float, n: int, metric: str = "top1", signed: bool = False) -> str:
    """`61.0 [56.6, 65.2]`; the value alone where there is no interval."""
    text = number(value, n, metric, signed)
    if math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{number(low, n, metric, signed)}, {number(high, n, metric, signed)}]"


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a GitHub-flavoured Markdown table; columns whose filled cells are numbers align right.

    Cells may hold emphasis and links. Markup that could act on a page does not survive, for some of their words come
    from records, and those from files that anybody may have written: HTML, roles, code and pictures come out as text.
    """

    def numeric(column: pd.Series) -> bool:
        cells = [str(cell) for cell in column if str(cell) not in ("", "–", NOT_RUN)]
        return bool(cells) and all(_NUMERIC.fullmatch(cell) for cell in cells)

    def line(cells) -> str:
        return "| " + " | ".join(_harmless(str(cell)).replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if numeric(frame[column]) else ":---" for column in frame.columns]
    return (
        "\n".join([line(frame.columns), line(rule), *(line(cells) for cells in frame.itertuples(index=False))]) + "\n"
    )


_ACTS = str.maketrans({"<": "&lt;", "`": "&#96;", "{": "&#123;", "\n": " ", "\r": " "})


def _harmless(cell: str) -> str:
    return cell.translate(_ACTS).replace("![", "!&#91;")


def _plain(rows: pd.DataFrame, metric: str, what: str) -> pd.DataFrame:
    found = selection.select(rows, metric=metric, versus="")
    if found.empty:
        have = ", ".join(sorted(set(rows["metric"]))) or "none"
        raise UserError(f"{what} needs rows of metric {metric!r}; the records given have {have}")
    return found[found["seen"] == selection.main_view(found)]


def _condition(rows: pd.DataFrame) -> tuple[tuple[float, float, float], int]:
    return selection.estimate(rows), int(rows["n"].max())


def by_blur(rows: pd.DataFrame, metric: str = "top5", compare_with_paper: bool = True) -> pd.DataFrame:
    """One line a condition: n, ours with interval, the paper's value, and the share of the sharp score each keeps.

    `rows` are one question's; columns for network, data, training and scale appear where they differ. The paper
    is compared in top-5 only, the one accuracy it published; the difference is of shares kept, ours minus the
    paper's, in points, so that networks of unequal strength can be compared at all.
    """
    rows = _plain(rows, metric, "the table by blur")
    compare_with_paper = compare_with_paper and metric == "top5"
    lines = []
    keys = ["network", "dataset", "training", "scale"]
    for source, part in rows.groupby(keys, sort=False):
        network, dataset, training, scale = source
        sharp = part[part["blur"] == "sharp"]
        for blur in selection.in_order(part["blur"]):
            one, n = _condition(part[part["blur"] == blur])
            line = {"network": network, "data": dataset, "training": training, "scale": scale, "condition": blur}
            line |= {"n": f"{n:,}", name(metric): interval(*one, n, metric)}
            share = None
            if metric in selection.PROPORTIONS + ("miou",) and not sharp.empty and blur != "sharp":
                share = intervals.share_kept(selection.estimate(sharp), one)
                line["share of sharp kept, %"] = number(share[0], n)
            if compare_with_paper:
                theirs = paper.published(scale, blur, training)
                line["paper, %"] = "" if theirs.empty else f"{theirs['top5_percent'].iloc[0]:.2f}"
                kept = math.nan if theirs.empty else paper.published_share(int(theirs["row"].iloc[0]))
                shown = share is not None and not math.isnan(kept)
                line["paper's share, %"] = number(kept, 200) if shown else ""
                line["difference"] = number(share[0] - kept, n, signed=True) if shown else ""
            lines.append(((selection.scales_in_order(rows["scale"]).index(scale)), line))
    frame = pd.DataFrame([line for _, line in sorted(lines, key=lambda pair: pair[0])]).fillna("")
    last = [c for c in ("paper, %", "share of sharp kept, %", "paper's share, %", "difference") if c in frame.columns]
    frame = frame[[*[c for c in frame.columns if c not in last], *last]]
    same = [c for c in ("network", "data", "training", "scale") if len(set(frame[c])) == 1]
    return frame.drop(columns=same)


def published_rows(records: pd.DataFrame, profiles: Sequence[str] = PROFILES) -> pd.DataFrame:
    """All 21 published rows beside the counterpart that each profile has, a line for each network and data set.

    Columns: row, condition, the paper's top-5 and share of the sharp score kept; profile, ours with interval,
    share kept and its difference from the paper's in points, n, network, data, and a remark: why a row cannot
    be compared, or `not run yet`.
    """
    lines = []
    for row in paper.published().itertuples():
        kept = paper.published_share(row.row)
        front = {
            "row": str(row.row),
            "training": row.training,
            "scale": row.scale,
            "blur": row.blur,
            "paper, %": f"{row.top5_percent:.2f}",
            "paper's share, %": "" if math.isnan(kept) or row.blur == row.training == "sharp" else number(kept, 200),
        }
        for profile in profiles:
            for back in _counterparts(records, profile, row, kept):
                lines.append(front | {"profile": profile} | back)
    columns = ["ours, %", "share kept, %", "difference", "n", "network", "data", "remark"]
    frame = pd.DataFrame(lines).fillna("")
    return frame[[*[c for c in frame.columns if c not in columns], *columns]]


def _counterparts(records: pd.DataFrame, profile: str, row, kept: float) -> list[dict]:
    blank = dict.fromkeys(("ours, %", "share kept, %", "difference", "n", "network", "data"), "")
    if row.scale == "unknown":
        return [blank | {"remark": "cannot be compared: the paper does not say at which scale"}]
    rows = selection.select(records, profile=profile, metric=["top1", "top5"], versus="")
    if row.training == "mix" and row.scale == "512":
        rows = rows[rows["question"] == "rq3"]  # fine-tuned at 256, tested at 512: the chapter on scales
    elif row.training.startswith("mix"):
        rows = rows[rows["question"].isin(["rq2", "rq3"])]
    else:
        rows = rows[rows["question"] == "rq1"]
    trained = rows[rows["training"] == row.training]
    if trained.empty:
        return [blank | {"remark": NOT_RUN}]
    there = trained[trained["scale"] == row.scale]
    if there.empty:
        have = ", ".join(selection.scales_in_order(trained["scale"]))
        return [blank | {"remark": f"{NOT_RUN} at scale {row.scale} (this profile has {have})"}]
    there = there[there["blur"] == row.blur]
    if there.empty:
        return [blank | {"remark": f"{NOT_RUN} under {row.blur}"}]
    found = []
    for (network, dataset), part in there.groupby(["network", "dataset"], sort=True):
        metric = "top1" if dataset in FEW_CLASSES or "top5" not in set(part["metric"]) else "top5"
        part = part[part["metric"] == metric]
        if part.empty:
            continue
        part = part[part["seen"] == selection.main_view(part)]
        one, n = _condition(part)
        sharp = selection.select(
            _sharp_partner(records, profile, part, row.scale), metric=metric, network=network, dataset=dataset
        )
        share = intervals.share_kept(selection.estimate(sharp), one)[0] if not sharp.empty else math.nan
        compared = not (row.training == "sharp" and row.blur == "sharp") and not math.isnan(share)
        found.append(
            {
                "ours, %": interval(*one, n, metric),
                "share kept, %": number(share, n) if compared else "",
                "difference": number(share - kept, n, signed=True) if compared and not math.isnan(kept) else "",
                "n": f"{n:,}",
                "network": network,
                "data": dataset,
                "remark": "" if metric == "top5" else "top-1: with this few classes top-5 says little",
            }
        )
    return found or [blank | {"remark": NOT_RUN}]


def _sharp_partner(records: pd.DataFrame, profile: str, like: pd.DataFrame, scale: str) -> pd.DataFrame:
    """The sharp network's rows on sharp images that share question and view with the rows `like`."""
    return selection.select(
        records,
        profile=profile,
        training="sharp",
        blur="sharp",
        scale=scale,
        versus="",
        question=list(set(like["question"])),
        seen=list(set(like["seen"])),
    )


def scoreboard(
    records: pd.DataFrame,
    profiles: Sequence[str] = PROFILES,
    metric: str = "top1",
    chapters: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The eight claims by profile: verdict, effect with interval and n in each cell; chapter in the last column.

    `chapters` makes that a link where it has the question (``{"rq1": "../notebooks/rq1_degradation.ipynb"}``).
    """
    verdicts = {(v.claim, v.profile): v for v in claims.scoreboard(records, profiles, metric)}
    lines = []
    for claim in paper.CLAIMS.values():
        line = {"claim": str(claim.number), "statement": claim.statement}
        for profile in profiles:
            one = verdicts[claim.number, profile]
            ran = one.verdict != claims.NOT_RUN
            line[profile] = f"**{one.verdict}**: {one.effect_text()}; {one.evidence}" if ran else one.verdict
        name, target = claim.question.upper(), (chapters or {}).get(claim.question)
        lines.append(line | {"chapter": f"[{name}]({target})" if target else name})
    return pd.DataFrame(lines)


def verdicts(found: Sequence[claims.Verdict]) -> pd.DataFrame:
    """Verdicts in full, for a chapter: evidence, verdict, effect and what the rule stumbled over."""
    return pd.DataFrame(
        {
            "claim": [str(v.claim) for v in found],
            "evidence": [v.evidence or "–" for v in found],
            "verdict": [v.verdict for v in found],
            "effect": ["–" if v.verdict == claims.NOT_RUN else v.effect_text() for v in found],
            "note": [v.note for v in found],
        }
    )


def training_by_blur(rows: pd.DataFrame, metric: str = "top1", scale: str | None = None) -> pd.DataFrame:
    """Trainings down, tested blurs across, value with interval in each cell; rows of one network, data and scale.

    Without `scale` the rows must hold one; the last column is the smallest n of the line.
    """
    rows = _plain(rows, metric, "the table of trainings")
    rows = rows if scale is None else selection.select(rows, scale=scale)
    selection.one_source(rows, "the table of trainings")
    scales = selection.scales_in_order(rows["scale"])
    if len(scales) != 1:
        raise UserError(f"the table of trainings takes one scale, not {', '.join(scales) or 'none'}; pass scale=...")
    blurs = selection.in_order(rows["blur"])
    lines = []
    for training, part in sorted(rows.groupby("training"), key=lambda pair: selection.training_place(pair[0])):
        line = {"trained on": training}
        for blur in blurs:
            cell = part[part["blur"] == blur]
            line[blur] = "–" if cell.empty else interval(*selection.estimate(cell), int(cell["n"].max()), metric)
        lines.append(line | {"n": f"{int(part['n'].min()):,}"})
    return pd.DataFrame(lines)


def layer_table(rows: pd.DataFrame, metric: str = "cosine", blur: str = "D8") -> pd.DataFrame:
    """Similarity of each layer under `blur` with its sharp twin, by training, beside that with another sharp image."""
    found = selection.select(rows, metric=metric)
    selected = pd.concat(
        [
            selection.select(found, blur=blur, versus=""),
            selection.select(found, blur="sharp", versus="other image"),
        ]
    )
    if selected.empty or not (selected["versus"] == "").any():
        raise UserError(
            f"the table of layers needs rows of metric {metric!r} under {blur}; run the chapter on fine-tuning"
        )
    selection.one_source(selected, "the table of layers")
    selected = selected.assign(layer=selected["seen"].str.removeprefix("layer "))
    trainings = sorted(set(selected["training"]), key=selection.training_place)
    lines = []
    for layer in selection.layers_in_order(selected["layer"]):
        line = {"layer": layer}
        for training in trainings:
            for versus, title in (("", training), ("other image", f"{training}, other image")):
                cell = selection.select(selected, layer=layer, training=training, versus=versus)
                if not cell.empty:
                    line[title] = interval(*selection.estimate(cell), int(cell["n"].max()), metric)
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")


def provenance(manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """One line a run: what decided it and what surrounded it, from the manifests by run_id."""
    lines = []
    for run, note in manifests.items():
        decided, versions = note.get("parameters", {}), note.get("versions", {})

        def pick(*names, decided=decided, note=note):
            return next((str(p[n]) for n in names for p in (note, decided) if p.get(n) not in (None, "")), "–")

        seconds = pick("wall_seconds", "wall_time")
        lines.append(
            {
                "run": run,
                "network": pick("network"),
                "data": pick("dataset"),
                "seed": pick("seed"),
                "versions": ", ".join(f"{k} {versions[k]}" for k in ("python", "torch", "blurnb") if k in versions)
                or "–",
                "commit": pick("git_commit"),
                "device": pick("device"),
                "date": pick("date")[:10],
                "wall time": duration(float(seconds)) if seconds != "–" else "–",
            }
        )
    columns = ["run", "network", "data", "seed", "versions", "commit", "device", "date", "wall time"]
    return pd.DataFrame(lines, columns=columns)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 1:
        return "< 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
