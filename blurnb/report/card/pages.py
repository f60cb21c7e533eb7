"""The card as pages: one HTML file that needs nothing else, and Markdown with its figures beside it."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from blurnb import files
from blurnb.report import markdown as tables
from blurnb.report.card.facts import Facts, collect

# Nothing may be fetched or run, whatever a file name on the card says.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NUMBER = re.compile(r"[+\N{MINUS SIGN}]?\d[\d.,]*( \[.*)?")
_MARKUP = re.compile(r"([\\`*_\[\]<>#~$&])")


def plain(text: object) -> str:
    """Text that came from outside, so that Markdown shows it and obeys nothing in it."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def _shown(value: object) -> Markup:
    """What a template of Markdown writes: as it is only what says that it is Markdown already."""
    return value if isinstance(value, Markup) else Markup(plain(value))


# Both escape whatever they write: autoescape is on, and in Markdown `finalize` goes before it.
_BOTH = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
_BOTH["loader"] = jinja2.FileSystemLoader(Path(__file__).parent)
_HTML, _MARKDOWN = jinja2.Environment(**_BOTH), jinja2.Environment(**_BOTH, finalize=_shown)
_HTML.tests["number"] = lambda cell: bool(_NUMBER.fullmatch(str(cell)))
_HTML.filters["svg"] = lambda figure: base64.b64encode(_svg(figure)).decode()
_MARKDOWN.filters |= {"table": lambda frame: Markup(tables.markdown(frame.map(_shown))), "ours": Markup}


def _svg(figure) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def page(card: Facts) -> str:
    """The card as one HTML file: no script, no request, light and dark."""
    return _HTML.get_template("card.html.jinja").render(card=card, policy=POLICY)


def markdown(card: Facts, images: Mapping[str, str] = {}, only: str = "") -> str:
    """The card as Markdown; `images` gives the file of a section's figure by the section's title.

    `only` its summary (what was measured, and the facts on top), or todo (its advice, with the code it speaks of).
    """
    text = _MARKDOWN.get_template("card.md.jinja").render(card=card, only=only, images=images)
    return re.sub("\n{3,}", "\n\n", text).strip() + "\n"


def write(folder: str | Path, rows: pd.DataFrame, note: Mapping, reference: pd.DataFrame) -> tuple[Path, Path]:
    """Write card.html, card.md and the figures that card.md shows.

    Parameters
    ----------
    folder
        Where to; made if it is not there.
    rows
        Records of one run of the card.
    note
        Its manifest.
    reference
        Records of the book, perhaps empty.

    Returns
    -------
    tuple of Path
        card.html and card.md.

    Raises
    ------
    UserError
        Rows of several networks or data sets.
    """
    folder, images, card = Path(folder), {}, collect(rows, note, reference)
    for place, part in enumerate(part for part in card.sections if part.figure is not None):
        images[part.title] = f"card_{place + 1}.svg"
        files.write_whole(folder / images[part.title], _svg(part.figure))
    files.write_whole(folder / "card.html", page(card))
    files.write_whole(folder / "card.md", markdown(card, images))
    return folder / "card.html", folder / "card.md"
