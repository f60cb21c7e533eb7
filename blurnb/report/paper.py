"""What the paper published: 21 numbers. Its eight claims stand beside their rules.

Source: Vasiljevic, Chakrabarti & Shakhnarovich, arXiv:1611.05760. The labels are those of the records (training,
scale, blur), so that a published number finds its counterpart; `network_as_published` and `mark` say what the
translation rests on.
"""

from __future__ import annotations

import functools
from importlib import resources

import pandas as pd

from blurnb.errors import UserError

CITATION = (
    "Igor Vasiljevic, Ayan Chakrabarti and Gregory Shakhnarovich: Examining the Impact of Blur on Recognition by "
    "Convolutional Networks. arXiv:1611.05760 (2016, revised 2017)."
)
ADDRESS = "https://arxiv.org/abs/1611.05760"


@functools.cache
def _table() -> pd.DataFrame:
    with resources.files("blurnb.report").joinpath("paper_table.csv").open() as file:
        frame = pd.read_csv(file, dtype={"scale": str})
    # Decimal division, so that 76.07 becomes 0.7607 and not its neighbour.
    frame["top5"] = (frame["top5_percent"] / 100).round(6)
    return frame


def published(scale: str | None = None, blur: str | None = None, training: str | None = None) -> pd.DataFrame:
    """The published rows that match, as (row, training, scale, blur, top5, top5_percent, network_as_published, mark).

    `top5` is a fraction of 1, as in the records. No match is an empty frame; a label the paper never used is no
    mistake.
    """
    frame = _table()
    for column, wanted in (("scale", scale), ("blur", blur), ("training", training)):
        if wanted is not None:
            frame = frame[frame[column] == str(wanted)]
    return frame.reset_index(drop=True)


def published_share(row: int) -> float:
    """Share of the sharp score that published row `row` keeps; NaN for a row whose sharp partner was not published.

    The partner is the *sharp-trained* network on sharp images at the same scale.
    """
    frame = _table().set_index("row")
    if row not in frame.index:
        raise UserError(f"row must be one of the published rows 1..21, not {row}")
    one = frame.loc[row]
    partner = published(one["scale"], "sharp", "sharp")
    if one["scale"] == "unknown" or partner.empty:
        return float("nan")
    return float(one["top5"] / partner["top5"].iloc[0])
