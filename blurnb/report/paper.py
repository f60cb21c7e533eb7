"""What the paper published: 21 numbers. Its eight claims stand beside their rules.

Source: Igor Vasiljevic, Ayan Chakrabarti and Gregory Shakhnarovich: Examining the Impact of Blur on Recognition by
Convolutional Networks, arXiv:1611.05760 (2016, revised 2017). The labels are those of the records (training, scale,
blur), so that a published number finds its counterpart; `network_as_published` and `mark` say what the translation
rests on.
"""

import functools
from importlib import resources

import pandas as pd


@functools.cache
def _table() -> pd.DataFrame:
    with resources.files("blurnb.report").joinpath("paper_table.csv").open() as file:
        frame = pd.read_csv(file, dtype={"scale": str})
    # Decimal division, so that 76.07 becomes 0.7607 and not its neighbour.
    frame["top5"] = (frame["top5_percent"] / 100).round(6)
    sharp = frame[(frame["training"] == "sharp") & (frame["blur"] == "sharp") & (frame["scale"] != "unknown")]
    frame["share_kept"] = frame["top5"] / frame["scale"].map(sharp.set_index("scale")["top5"])
    return frame


def published(scale: str | None = None, blur: str | None = None, training: str | None = None) -> pd.DataFrame:
    """The published rows that match: row, training, scale, blur, top5, top5_percent, share_kept, and where from.

    `top5` is a fraction of 1, as in the records. `share_kept` is the share of the sharp score, that of the
    *sharp-trained* network on sharp images at the same scale; NaN where that was not published. No match is an empty
    frame; a label the paper never used is no mistake.
    """
    frame = _table()
    for column, wanted in (("scale", scale), ("blur", blur), ("training", training)):
        if wanted is not None:
            frame = frame[frame[column] == str(wanted)]
    return frame.reset_index(drop=True)
