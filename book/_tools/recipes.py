"""How the recipe of RQ2 was chosen: the grid that was run on the validation part, for `book/reproduce.md`."""

from collections.abc import Mapping

import pandas as pd

from blurnb import intervals
from blurnb.intervals import Triple
from blurnb.report import selection
from blurnb.study import profiles

PROFILE = "embedded"
Recipe = tuple[float, int]
"""(learning rate, epochs)"""


def means(records: pd.DataFrame, manifests: Mapping[str, Mapping], metric: str = "top1") -> dict[Recipe, Triple]:
    """What the mix network of each recipe scores, mean over the blurs, sharp images among them, in order of recipes."""
    rows = selection.estimates(records, metric=metric, training="mix", frozen="none", profile=PROFILE)
    found = {}
    for run, part in rows.groupby("run_id"):
        facts = manifests[run]["network_origin"]["facts"]
        each = [selection.estimate(one) for _, one in part.groupby("blur")]
        found[facts["learning_rate"], facts["epochs"]] = intervals.mean_of(each)
    return dict(sorted(found.items()))


def grid(records: pd.DataFrame, manifests: Mapping[str, Mapping]) -> pd.DataFrame:
    """Learning rates down, epochs across: `means` in per cent, the best of them in bold."""
    found = means(records, manifests)
    best = max(found, key=lambda recipe: found[recipe][0])
    lines: dict[float, dict[str, str]] = {}
    for recipe, (value, low, high) in found.items():
        text = f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        line = lines.setdefault(recipe[0], {"learning rate": f"{recipe[0]:g}"})
        line[_epochs(recipe[1])] = f"**{text}**" if recipe == best else text
    return pd.DataFrame(list(lines.values()))


def said(records: pd.DataFrame, manifests: Mapping[str, Mapping]) -> str:
    """The recipe of the profile beside the best of the grid and the best of as many epochs, in sentences."""
    found, block = means(records, manifests), profiles.block(f"rq2.{PROFILE}")
    used, best = (block["learning_rate"], block["epochs"]), max(found, key=lambda recipe: found[recipe][0])
    alike = max((one for one in found if one[1] == used[1]), key=lambda recipe: found[recipe][0])
    if best == used:
        return f"The profile has the best of these, {_named(used)}."
    told = f"The profile has {_named(used)}: {_behind(found, used, best)} the best, {_named(best)}"
    if alike not in (used, best):
        told += f"; {_behind(found, used, alike)} the best of as many epochs, {_named(alike)}"
    if any(place in (min(each), max(each)) for place, each in zip(best, map(set, zip(*found)))):
        told += ". The best lies at the edge of the grid; what lies beyond was not tried"
    return f"{told}."


def _behind(found: Mapping[Recipe, Triple], used: Recipe, other: Recipe) -> str:
    value, low, high = intervals.difference(found[other], found[used])
    word = "behind" if low > 0 else "(no difference that these images can tell) behind"
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}] points {word}"


def _named(recipe: Recipe) -> str:
    return f"{_epochs(recipe[1])} at a learning rate of {recipe[0]:g}"


def _epochs(count: int) -> str:
    return f"{count} epoch" + ("s" if count > 1 else "")
