"""Three verdicts from the committed tables, as whoever doubts them would compute: pandas and NumPy, nothing of ours."""

import numpy as np
import pandas as pd

WORDS = ["supported", "undecided", "no effect", "contradicted"]  # from the best for a claim to the gravest


def word(low: float, high: float, bar: float, least: float) -> str:
    """What an interval says of a claim that the truth lies more than `least` above `bar`."""
    if low > bar + least or high < bar - least:
        return "supported" if low > bar else "contradicted"
    return "no effect" if low >= bar - least and high <= bar + least else "undecided"


def gravest(found: list[tuple]) -> tuple:
    """Of (words of the parts, value, low, high), one a condition, the worst for the claim: (word, value, low, high)."""
    told = [(max(words, key=WORDS.index), *effect) for words, *effect in found]
    return max(told, key=lambda one: (WORDS.index(one[0]), -abs(one[1])))


def read(path) -> pd.DataFrame:
    """A table with its empty cells as empty texts."""
    return pd.read_csv(path, keep_default_na=False).astype({"value": float})


def degradation(table: pd.DataFrame) -> tuple:
    """Claim 1, rq1.csv: the larger the radius, the more is lost, at every scale."""
    is_paired = (table.metric == "top1") & (table.statistic == "difference") & (table.versus_blur == "sharp")
    defocus = table[is_paired & table.blur.str.match(r"D\d")].astype({"ci_low": float, "ci_high": float})
    found = []
    for _, at in defocus.groupby("scale"):
        at = at.iloc[at.blur.str[1:].astype(float).argsort()]
        loss, low, high = -at.value.to_numpy(), -at.ci_high.to_numpy(), -at.ci_low.to_numpy()
        more = loss[:, None] - loss  # row minus column, limits by square-and-add
        least = more - np.hypot((loss - low)[:, None], high - loss)
        most = more + np.hypot((high - loss)[:, None], loss - low)
        steps = [word(least[i + 1, i], most[i + 1, i], -0.02, 0) for i in range(len(at) - 1)]
        parts = [word(low[-1], high[-1], 0, 0.02), word(least[-1, 0], most[-1, 0], 0, 0.02), *steps]
        found.append((parts, *at.loc[at.blur == "D8", ["value", "ci_low", "ci_high"]].iloc[0]))
    return gravest(found)


def confidence(table: pd.DataFrame) -> tuple:
    """Claim 4, one network of rq2.csv: the entropy of answers to blurred images falls by fine-tuning."""
    chosen = "metric == 'entropy' and statistic == 'difference' and training == 'mix' and versus_training == 'sharp'"
    rows = table.query(f"{chosen} and frozen == 'none' and blur != 'sharp'").astype({"ci_low": float, "ci_high": float})
    blurs = rows.groupby("blur").agg({"value": "mean", "ci_low": "min", "ci_high": "max"})  # around all seeds
    value, low, high = blurs.mean()
    return gravest([([word(-high, -low, 0, 0.1)], value, low, high)])


def deblurring(table: pd.DataFrame) -> tuple:
    """Claim 7, one data set of rq4.csv: no method with the true kernel beats the mix network by two points, for less
    than twice the time."""
    seconds, top1 = table[table.metric == "seconds"], table[(table.metric == "top1") & (table.blur != "sharp")]
    alone = seconds[(seconds.training == "mix") & (seconds.method == "none")].value.mean()
    found = []
    for capture, rows in top1.query("training == 'sharp' and kernel == 'true'").groupby(["rounding", "noise_sd"]):
        best = rows.query("statistic == 'estimate'").groupby("method").value.mean().idxmax()
        paired = rows.query("statistic == 'difference' and versus_training == 'mix' and method == @best")
        lead = -paired.value.mean(), -paired.ci_high.astype(float).mean(), -paired.ci_low.astype(float).mean()
        timed = (seconds.method == best) & (seconds.rounding == capture[0]) & (seconds.noise_sd == capture[1])
        cost = seconds[timed].value.mean() / alone
        found.append(([word(*lead[1:], -0.02, 0), word(cost, cost, 2, 0)], *lead))
    return gravest(found)
