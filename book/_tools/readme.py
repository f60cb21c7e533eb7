"""The README's figures and tables, from the committed records: `python book/_tools/readme.py` redraws all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from blurnb import files, records
from blurnb.errors import UserError
from blurnb.report import figures, selection, tables
from blurnb.report.markdown import markdown

FOLDER = "book/records/photographs"
LITE = "efficientnet_lite0"
COLUMNS = ("scale", "condition", "n", "top-5, %", "share of sharp kept, %", "paper's share, %")


def degradation(folder: str | Path = FOLDER) -> pd.DataFrame:
    """RQ1's reference run: the labels of the paper."""
    return selection.select(records.load(folder, "rq1"), network=LITE)


def fine_tuning(folder: str | Path = FOLDER) -> pd.DataFrame:
    """RQ2's reference run, its pretrained network."""
    return selection.select(records.load(folder, "rq2"), network=LITE)


def lost(folder: str | Path = FOLDER) -> str:
    """What defocus takes: top-5 by radius at scales 256 and 512, beside the paper's shares."""
    rows = selection.select(degradation(folder), scale=["256", "512"])
    rows = selection.select(rows, blur=["sharp", "D2", "D4", "D6", "D8"])
    return markdown(tables.accuracy.by_blur(rows, "top5")[list(COLUMNS)])


def regained(folder: str | Path = FOLDER) -> str:
    """What fine-tuning gives back: top-1 before and after, blur by blur."""
    rows = selection.select(fine_tuning(folder), training=["sharp", "mix"])
    frame = tables.accuracy.by_training(rows, "top1")
    turned = frame.drop(columns="n").set_index("trained on").T.rename_axis("condition").reset_index()
    return markdown(turned.rename(columns={"sharp": "before, top-1 %", "mix": "after, top-1 %"}))


def shown(folder: str | Path = FOLDER) -> str:
    """How the photographs of both tables were framed, resized, rounded and answered."""
    rows = pd.concat([degradation(folder), fine_tuning(folder)])
    return markdown(tables.provenance.protocols(rows))


BLOCKS = {"lost": lost, "regained": regained, "shown": shown}
FIGURES = {
    "book/_static/rq1_photographs.png": (degradation, lambda rows: figures.accuracy_by_blur(rows, "top5")),
    "book/_static/rq2_photographs.png": (fine_tuning, lambda rows: figures.before_after(rows, "top1")),
}


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}, from records: begin -->", f"<!-- {name}, from records: end -->"


def block(name: str, folder: str | Path = FOLDER) -> str:
    """What stands from one mark of the README to the other, both included."""
    begin, end = marks(name)
    return f"{begin}\n\n{BLOCKS[name](folder)}\n{end}"


def digest(rows: pd.DataFrame) -> str:
    """What a figure says of the rows it was drawn from, so that a test can tell when they have changed.

    As in the records, a column that is empty for all of them may be added later and changes nothing.
    """
    filled = [column for column in rows if (rows[column].astype(object).fillna("") != "").any()]
    return hashlib.sha256(rows[filled].to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def refresh(readme: str | Path = "README.md") -> None:
    """Rewrite the blocks and the figures; raises UserError where the README has lost its marks."""
    path = Path(readme)
    text = path.read_text()
    for name in BLOCKS:
        begin, end = marks(name)
        if begin not in text or end not in text:
            raise UserError(f"{path} has no marks {begin} ... {end}; put them where the table belongs")
        text = text.split(begin)[0] + block(name) + text.split(end)[1]
    files.write_whole(path, text)
    for file, (select, draw) in FIGURES.items():
        rows = select()
        figure: Figure = draw(rows)
        figure.savefig(file, dpi=110, metadata={"Comment": digest(rows)})


if __name__ == "__main__":
    refresh()
