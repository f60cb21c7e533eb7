"""What the campaign of faults and bad input found, as the book shows it: totals from `book/records/campaign.json`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from blurnb.errors import UserError

FILE = Path("book/records/campaign.json")
MUST_BE_ZERO = ("wrong numbers", "lost records", "tracebacks")


def kept(file: str | Path = "") -> dict:
    """The totals of the latest campaign, of the repository in the working directory or above it."""
    here = Path.cwd()
    places = [Path(file)] if file else [folder / FILE for folder in (here, *here.parents)]
    for place in places:
        if place.is_file():
            return json.loads(place.read_text())
    raise UserError(f"no {places[0]}; run: make campaign")


def totals(records: pd.DataFrame | None = None, file: str = "") -> pd.DataFrame:
    """How much was tried, and how often it went wrong; `records` play no part."""
    found = kept(file)
    lines = [("faults injected", found["faults injected"]), ("of them kill -9", found["kills"])]
    lines += [("inputs tried", found["inputs tried"]), *((name, found[name]) for name in MUST_BE_ZERO)]
    return pd.DataFrame([{"": name, "count": f"{count:,}"} for name, count in lines])


def by_kind(records: pd.DataFrame | None = None, of: str = "faults", file: str = "") -> pd.DataFrame:
    """The faults or the inputs, a line for each kind."""
    found = kept(file)[f"{of} by kind"]
    return pd.DataFrame([{of: kind, "count": f"{count:,}"} for kind, count in found.items()])


def not_tried(records: pd.DataFrame | None = None, file: str = "") -> str:
    """What the machine of the latest campaign did not allow, in one sentence."""
    reasons = kept(file)["not tried"]
    return f"Not tried there: {'; '.join(reasons)}." if reasons else "Nothing was left out there."
