"""What the paper published: 21 numbers, five questions, eight claims.

Source: Vasiljevic, Chakrabarti & Shakhnarovich, arXiv:1611.05760. The labels are those of the records (training,
scale, blur), so that a published number finds its counterpart; `network_as_published` and `mark` say what the
translation rests on.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

import pandas as pd

from blurnb.errors import UserError

CITATION = (
    "Igor Vasiljevic, Ayan Chakrabarti and Gregory Shakhnarovich: Examining the Impact of Blur on Recognition by "
    "Convolutional Networks. arXiv:1611.05760 (2016, revised 2017)."
)
ADDRESS = "https://arxiv.org/abs/1611.05760"

QUESTIONS = {
    "rq1": "How does blur affect the accuracy and the confidence of a network trained on sharp images?",
    "rq2": "Does fine-tuning on blurred images recover the accuracy, and does it make the hidden layers invariant?",
    "rq3": "Does that robustness carry over to blurs not trained on, and what does the image scale do to it?",
    "rq4": "Is fine-tuning on a mix of blurs better than deblurring first, with the true kernel known?",
    "rq5": "Does the gain extend to semantic segmentation?",
}

CHAPTERS = {
    "rq1": "rq1_degradation",
    "rq2": "rq2_fine_tuning",
    "rq3": "rq3_generalization",
    "rq4": "rq4_deblurring",
    "rq5": "rq5_segmentation",
}


class Claim(NamedTuple):
    """One finding of the paper: its number, the sentence, the question it answers and the chapter that tests it."""

    number: int
    statement: str
    question: str

    @property
    def chapter(self) -> str:
        return CHAPTERS[self.question]


CLAIMS = {
    claim.number: claim
    for claim in (
        Claim(1, "Blur lowers the accuracy of a sharp-trained network, and the more, the larger the kernel.", "rq1"),
        Claim(
            2,
            "Fine-tuning on a mix of sharp and blurred images recovers most of the loss, at almost no cost on sharp "
            "images.",
            "rq2",
        ),
        Claim(
            3,
            "Fine-tuning brings the hidden activations on a blurred image closer to those on its sharp twin.",
            "rq2",
        ),
        Claim(4, "After fine-tuning, blurred images are answered with higher confidence (lower entropy).", "rq2"),
        Claim(5, "Training on defocus helps against shake, and the reverse, but less than training on it.", "rq3"),
        Claim(
            6,
            "One scale with mixed blur is already robust; averaging several scales adds little for its cost, a "
            "network for each scale no more.",
            "rq3",
        ),
        Claim(
            7,
            "Fine-tuning on the mix is at least as accurate as deblurring with the true kernel, and far cheaper per "
            "image.",
            "rq4",
        ),
        Claim(
            8,
            "Fine-tuning raises the segmentation score (mIoU) on blurred images, but the gap to sharp stays larger "
            "than in classification.",
            "rq5",
        ),
    )
}


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
