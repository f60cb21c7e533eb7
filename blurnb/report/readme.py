"""The README's figure and table, from the committed records: `python -m blurnb.report.readme` redraws both."""

from __future__ import annotations

from pathlib import Path

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import figures, selection, tables

BEGIN, END = "<!-- from records: begin -->", "<!-- from records: end -->"
FIGURE = "book/_static/rq1_photographs.png"
COLUMNS = ("scale", "condition", "n", "top-5, %", "share of sharp kept, %", "paper's share, %")


def block(folder: str | Path = "book/records/photographs") -> str:
    """What stands between the README's marks: the defocus rows of RQ1's reference run at scales 256 and 512."""
    rows = selection.select(records.load(folder, "rq1"), scale=["256", "512"])
    rows = rows[[selection.family(blur) in ("sharp", "defocus") for blur in rows["blur"]]]
    frame = tables.by_blur(rows, "top5")
    return f"{BEGIN}\n\n{tables.markdown(frame[list(COLUMNS)])}\n{END}"


def refresh(readme: str | Path = "README.md") -> None:
    """Rewrite the block and the figure; raises UserError where the README has lost its marks."""
    path = Path(readme)
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise UserError(f"{path} has no marks {BEGIN} ... {END}; put them where the table belongs")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    records.write_whole(path, before + block() + after)
    figures.accuracy_by_blur(records.load("book/records/photographs", "rq1"), "top5").savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    refresh()
