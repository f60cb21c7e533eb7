"""Means over blurs and seeds: planted answers whose shares and differences are known, and intervals that are joint."""

import math

import numpy as np
import pandas as pd
import pytest

from blurnb import intervals, provenance, records, samples
from blurnb.report import selection, weighing
from blurnb.study import means
from blurnb.study.treatments import Condition, Treatment

SHARED = {"experiment": "rq2", "network": "n", "dataset": "d", "frozen": "none", "per_scale": False, "frame": 512,
          "resample": "bicubic", "precision": "float32", "view": "dense", "flip": False, "border": "reflect",
          "seed": 0}  # fmt: skip
RIGHT = {
    ("sharp", "sharp"): 0.9, ("sharp", "D4"): 0.6, ("sharp", "D8"): 0.3, ("sharp", "shake"): 0.5,
    ("mix", "sharp"): 0.9, ("mix", "D4"): 0.8, ("mix", "D8"): 0.6, ("mix", "shake"): 0.7,
}  # fmt: skip
N = 400


def answers(training, shift=0.0, seed=0, n=N):
    """{condition: frame}: right where an image's difficulty, the same under every blur, lies below the accuracy."""
    difficulty = np.random.default_rng(seed).permutation((np.arange(n) + 0.5) / n)
    index = pd.Index([f"image {i}" for i in range(n)], name="image")
    return {
        Condition(Treatment(blur), "256", training): pd.DataFrame(
            {"top1": difficulty < right + shift, "top5": difficulty < right + shift, "entropy": 2 - right + difficulty},
            index=index,
        )
        for (who, blur), right in RIGHT.items()
        if who == training
    }


def side(training, shifts=(0.0,)):
    tables = means.common([answers(training, shift) for shift in shifts])
    return means.side(tables, "256", {**SHARED, "training": training, "train_seed": 0})


def recorded(rows):
    return records.table([{**row, "run_id": "r"} for row in rows])


def told(frame, statistic, blurs, metric="top1", **wanted):
    alone = dict.fromkeys(records.VERSUS)
    about = {"part_kind": None} | records.over(blurs)
    found = selection.select(frame, statistic=statistic, metric=metric, **{**alone, **about, **wanted})
    return selection.estimate(found)


def test_a_planted_share_is_found_and_its_interval_is_narrower_than_that_of_ends():
    frame = recorded(means.of_network(side("mix"), side("sharp"), [side("sharp")]))
    blurs, there = ("D4", "D8", "shake"), {"versus_training": "sharp", "versus_blur": "sharp"}
    share, low, high = told(frame, "recovered", blurs, **there)
    assert share == pytest.approx((2.1 - 1.4) / (2.7 - 1.4), abs=1e-9)
    kept = told(frame, "kept", blurs, **there)
    assert kept[0] == pytest.approx(2.1 / 2.7, abs=1e-9)
    gain, loss = ((v, *intervals.wilson(round(v * N), N)) for v in (0.7 / 3, 1.3 / 3))
    ends = intervals.ratio(gain, loss)
    assert low < share < high
    assert high - low < ends[2] - ends[1]


def test_of_all_answers_that_move_together_the_difference_is_told_sharply():
    """Every image that the sharp network names, the mix network names too: the difference hardly varies."""
    frame = recorded(means.of_network(side("mix"), side("sharp"), [side("sharp")]))
    value, low, high = told(frame, "difference", ("D4", "D8", "shake"), versus_training="sharp")
    assert value == pytest.approx(0.7 / 3)
    assert high - low < 2 * 1.96 * math.sqrt(0.25 / N)


def test_the_rules_find_the_joint_rows():
    rows = [*means.of_network(side("sharp")), *means.of_network(side("mix"), side("sharp"), [side("sharp")])]
    frame, blurs = recorded(rows), ["D4", "D8", "shake"]
    share, loss = weighing.recovered(frame, "top1", blurs)
    assert share[0] == pytest.approx(0.7 / 1.3)
    assert loss[0] == pytest.approx(1.3 / 3)
    assert weighing.kept(frame, "top1", blurs)[0] == pytest.approx(2.1 / 2.7)


def test_families_have_means_of_their_own_and_single_blurs_their_shares():
    frame = recorded(means.of_network(side("mix"), side("sharp"), [side("sharp")]))
    assert set(frame.loc[frame["part_kind"] == "mean", "part"]) == {"D4+D8+shake", "D4+D8"}
    assert told(frame, "kept", ("D8",), versus_blur="sharp")[0] == pytest.approx(0.6 / 0.9)
    assert told(frame, "recovered", ("D8",), versus_training="sharp", versus_blur="sharp")[0] == pytest.approx(0.5)


def test_three_seeds_become_one_row_whose_interval_knows_their_spread():
    shifts = (-0.06, 0.0, 0.06)
    together = recorded(means.of_network(side("mix", shifts), side("sharp", (0.0,) * 3), [side("sharp", (0.0,) * 3)]))
    alike = recorded(means.of_network(side("mix", (0.0,) * 3), side("sharp", (0.0,) * 3)))
    assert set(together["train_seeds"]) == {3}
    assert together["train_seed"].isna().all()
    there = {"versus_training": "sharp", "versus_blur": "sharp"}
    one, other = (told(each, "kept", ("D8",), **there) for each in (together, alike))
    assert one[0] == pytest.approx(other[0], abs=0.01)
    assert one[2] - one[1] > 1.5 * (other[2] - other[1])
    # A single seed's row beside the joint one does not widen it.
    apart = recorded([*means.of_network(side("mix"))]).assign(train_seeds=pd.NA)
    both = records.table(pd.concat([together, apart]))
    assert told(both, "kept", ("D8",), versus_blur="sharp") == told(together, "kept", ("D8",), versus_blur="sharp")


def test_images_that_one_side_could_not_read_are_left_out_of_both():
    mine, theirs = answers("mix"), answers("sharp")
    first = next(iter(mine))
    mine[first] = mine[first].iloc[3:]
    kept = means.common([mine, theirs])
    assert {len(part) for each in kept for part in each.values()} == {N - 3}


def test_mean_miou_is_that_of_sets_drawn_together():
    generator = np.random.default_rng(0)

    def matrices(right):
        """(30, 2, 2): pixels of two classes, answered rightly with this probability."""
        hit = generator.binomial(1000, right, (30, 2))
        found = np.zeros((30, 2, 2), int)
        for one in (0, 1):
            found[:, one, one], found[:, one, 1 - one] = hit[:, one], 1000 - hit[:, one]
        return found

    sharp = {"sharp": matrices(0.9), "D4": matrices(0.7), "D8": matrices(0.5)}
    mix = {"sharp": sharp["sharp"], "D4": matrices(0.8), "D8": matrices(0.7)}
    columns = {**SHARED, "experiment": "rq5", "scale": "256"}
    here, there = ({**columns, "training": one} for one in ("mix", "sharp"))
    frame = recorded([*means.pixel_means(mix, sharp, here, there), *means.pixel_means(mix, mix, here, here)])
    other = {"versus_training": "sharp", "versus_blur": "sharp"}

    def miou(right):
        return right / (2 - right)

    gain = (miou(0.8) + miou(0.7) - miou(0.7) - miou(0.5)) / 2
    value, low, high = told(frame, "difference", ("D4", "D8"), "miou", versus_training="sharp")
    assert low < gain < high
    assert value == pytest.approx(gain, abs=0.02)
    lost = miou(0.9) - (miou(0.7) + miou(0.5)) / 2
    assert told(frame, "recovered", ("D4", "D8"), "miou", **other)[0] == pytest.approx(gain / lost, abs=0.03)
    assert told(frame, "kept", ("D8",), "miou", versus_blur="sharp")[0] == pytest.approx(
        miou(0.7) / miou(0.9), abs=0.03
    )
    assert told(frame, "difference", ("D4", "D8"), "miou", versus_blur="sharp")[0] < 0


def test_a_run_is_known_by_what_makes_its_means():
    facts = means.decided({"task": "x", "versions": {"a": 1}})
    assert facts["versions"] == {"a": 1} | provenance.versions(samples, means)
