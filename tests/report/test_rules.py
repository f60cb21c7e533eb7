"""Each rule meets records in which its claim is true, false, unclear, and not there."""

import inspect
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from planted import layer, row

from blurnb import records
from blurnb.report import rules, verdicts

SURE, VAGUE = 0.01, 0.3  # half widths of the intervals
SHARED = {"network": "vgg16", "dataset": "imagenet", "n": 5000, "profile": "paper"}


def planted(experiment, training, blur, value, half, **more):
    return row(half, **SHARED | {"experiment": experiment, "training": training, "blur": blur, "value": value} | more)


def degradation(losses=(0.05, 0.15, 0.25, 0.35), half=SURE, **more):
    found = [planted("rq1", "sharp", "sharp", 0.7, half, **more)]
    for blur, loss in zip(("D2", "D4", "D6", "D8"), losses):
        found.append(planted("rq1", "sharp", blur, 0.7 - loss, half, **more))
        found.append(planted("rq1", "sharp", blur, -loss, half, versus_blur="sharp", **more))
    return found


def recovery(share=0.8, cost=0.0, half=SURE, experiment="rq2", **more):
    found = [
        planted(experiment, "sharp", "sharp", 0.7, half, **more),
        planted(experiment, "mix", "sharp", 0.7 - cost, half, **more),
        planted(experiment, "mix", "sharp", -cost, half, versus_training="sharp", **more),
    ]
    for blur, loss in (("D4", 0.2), ("D8", 0.4), ("shake", 0.3)):
        found += [
            planted(experiment, "sharp", blur, 0.7 - loss, half, **more),
            planted(experiment, "mix", blur, 0.7 - (1 - share) * loss, half, **more),
            planted(experiment, "sharp", blur, -loss, half, versus_blur="sharp", **more),
            planted(experiment, "mix", blur, share * loss, half, versus_training="sharp", **more),
        ]
    return found


def invariance(sharp=0.7, mix=0.85, other=0.2, other_mix=None, half=SURE):
    found = []
    for name in ("conv1_1", "conv5_3", "fc7"):
        for training, twin, base in (("sharp", sharp, other), ("mix", mix, other if other_mix is None else other_mix)):
            one = SHARED | {"experiment": "rq2", "training": training}
            found.append(layer(name, half, blur="D8", value=twin, **one))
            found.append(layer(name, half, blur="sharp", value=base, versus_image="other", **one))
    return found


def entropy(change=-0.5, half=SURE):
    found = []
    for blur in ("D4", "D8"):
        found.append(planted("rq2", "sharp", blur, 3.0, half, metric="entropy"))
        found.append(planted("rq2", "mix", blur, 3.0 + change, half, metric="entropy"))
        found.append(planted("rq2", "mix", blur, change, half, metric="entropy", versus_training="sharp"))
    return found


def transfer(across=0.45, own=0.6, half=SURE):
    found = []
    for training in ("sharp", "defocus", "shake"):
        for blur, family in (("D4", "defocus"), ("D8", "defocus"), ("shake", "shake")):
            value = 0.3 if training == "sharp" else own if training == family else across
            found.append(planted("rq3", training, blur, value, half))
    return found


def scales(extra=0.005, each=0.005, share=0.8, half=0.004, seconds=(0.04, 0.2)):
    found = recovery(share=share, half=half, experiment="rq3")
    single = {r["blur"]: r["value"] for r in found if r["training"] == "mix" and r["statistic"] == "estimate"}
    for blur, value in single.items():
        found.append(planted("rq3", "mix", blur, value + extra, half, scale="256+512"))
        if each is not None:
            found.append(planted("rq3", "mix", blur, value + each, half, scale="256+512", per_scale=True))
    for scale, cost in zip(("256", "256+512"), seconds or ()):
        found.append(planted("rq3", "mix", "sharp", cost, None, scale=scale, metric="seconds", n=1))
    return found


def deblurring(mix=0.6, restored=0.55, half=0.005, seconds=(0.04, 0.4), kernel="true", **captured):
    found = []
    for blur in ("D4", "D8"):
        found.append(planted("rq4", "mix", blur, mix, half, **captured))
        found.append(planted("rq4", "mix", blur, seconds[0], None, metric="seconds", **captured))
        for method, value in (("wiener", restored - 0.1), ("epll", restored)):
            way = {"method": method, "kernel": kernel} | captured
            found.append(planted("rq4", "sharp", blur, value, half, **way))
            if kernel == "true":
                found.append(planted("rq4", "sharp", blur, seconds[1], None, metric="seconds", **way))
    return found


def segmentation(raised=0.1, kept=0.6, half=SURE, classification=0.95):
    of = {"metric": "miou", "dataset": "camvid"}
    found = [planted("rq5", training, "sharp", 0.5, half, **of) for training in ("sharp", "mix")]
    for blur in ("D4", "D8"):
        found.append(planted("rq5", "mix", blur, 0.5 * kept, half, **of))
        found.append(planted("rq5", "sharp", blur, 0.5 * kept - raised, half, **of))
        found.append(planted("rq2", "mix", blur, 0.7 * classification, half))
        found.append(planted("rq2", "sharp", blur, 0.3, half))
    return [*found, *(planted("rq2", training, "sharp", 0.7, half) for training in ("sharp", "mix"))]


def judge(claim, given):
    return verdicts.judge(claim, records.table(given), SHARED["profile"])[0]


CASES = [
    (1, "supported", degradation()),
    (1, "supported", degradation((0.05, 0.16, 0.15, 0.35), half=0.003)),  # out of order by less than two points
    (1, "undecided", degradation((0.05, 0.16, 0.15, 0.35))),  # by two points or not, the intervals cannot tell
    (1, "contradicted", degradation((0.05, 0.30, 0.15, 0.35))),  # out of order beyond them
    (1, "no effect", degradation((0.0, 0.0, 0.0, 0.0), half=0.005)),  # no effect, tightly
    (1, "no effect", degradation((0.3, 0.3, 0.3, 0.3), half=0.005)),  # loses, but no more with the radius
    (1, "contradicted", degradation((-0.05, -0.1, -0.1, -0.2))),
    (1, "undecided", degradation(half=VAGUE)),
    (2, "supported", recovery()),
    (2, "contradicted", recovery(share=0.2)),
    (2, "contradicted", recovery(cost=0.06)),
    (2, "undecided", recovery(share=0.5)),
    (2, "undecided", recovery(half=VAGUE)),
    (3, "supported", invariance()),
    (3, "contradicted", invariance(mix=0.6)),
    (3, "no effect", invariance(mix=0.70, half=0.001)),  # no movement, tightly
    (3, "contradicted", invariance(sharp=0.7, mix=0.85, other=0.2, other_mix=0.7)),  # everything alike, not invariant
    (3, "undecided", invariance(half=VAGUE)),
    (4, "supported", entropy()),
    (4, "contradicted", entropy(change=0.2)),
    (4, "no effect", entropy(change=0.0, half=0.005)),
    (4, "undecided", entropy(half=0.8)),
    (5, "supported", transfer()),
    (5, "contradicted", transfer(across=0.25)),  # harms
    (5, "contradicted", transfer(across=0.65)),  # as good as perfect, or better
    (5, "undecided", transfer(half=VAGUE)),
    (6, "supported", scales()),
    (6, "contradicted", scales(extra=0.05)),
    (6, "contradicted", scales(each=0.06)),
    (6, "contradicted", scales(share=0.2)),
    (6, "no effect", scales(seconds=(0.2, 0.2))),
    (6, "undecided", scales(half=0.05)),
    (6, "undecided", scales(each=None)),
    (6, "undecided", scales(seconds=None)),
    (7, "supported", deblurring()),
    (7, "supported", deblurring(mix=0.55)),
    (7, "contradicted", deblurring(restored=0.7)),
    (7, "contradicted", deblurring(seconds=(0.04, 0.05))),  # as accurate, but not far cheaper
    (7, "contradicted", deblurring() + deblurring(restored=0.75, noise_sd=0.01)),  # the worst decides
    (7, "supported", deblurring() + deblurring(restored=0.75, kernel="D9")),  # another question
    (7, "undecided", deblurring(half=VAGUE)),
    (8, "supported", segmentation()),
    (8, "contradicted", segmentation(raised=-0.1)),
    (8, "contradicted", segmentation(kept=1.1)),
    (8, "undecided", segmentation(half=0.2)),
]


@pytest.mark.parametrize("claim, verdict, given", CASES, ids=[f"{c}-{v}-{i}" for i, (c, v, _) in enumerate(CASES)])
def test_rule(claim, verdict, given):
    found = judge(claim, given)
    assert found.verdict == verdict, found
    assert found.rule == rules.CLAIMS[claim].rule
    assert found.experiment == rules.CLAIMS[claim].experiment
    assert found.n == 5000
    assert found.low <= found.effect <= found.high


def test_every_claim_is_shown_true_false_and_open():
    for claim in rules.CLAIMS:
        assert {v for c, v, _ in CASES if c == claim} >= {"supported", "contradicted", "undecided"}


@pytest.mark.parametrize("claim", rules.CLAIMS)
def test_without_records_nothing_is_claimed(claim):
    found = judge(claim, [])
    assert found.verdict == "not run"
    assert math.isnan(found.effect)
    assert found.rule
    assert rules.CLAIMS[claim].experiment in found.note


@pytest.mark.parametrize(
    "claim, given, word",
    [
        (1, degradation()[:3], "defocus radii"),
        (2, [r for r in recovery() if r["training"] != "mix"], "sharp and mix"),
        (3, recovery(), "sharp and mix"),
        (4, recovery(), "sharp and mix"),
        (5, [r for r in transfer() if r["training"] != "shake"], "defocus and shake"),
        (6, recovery(experiment="rq3"), "256\\+512"),
        (7, [r for r in deblurring() if r["method"] == "none"], "sharp and mix"),
        (8, [r for r in segmentation() if r["training"] != "mix"], "sharp and mix"),
    ],
)
def test_missing_rows_are_named(claim, given, word):
    found = judge(claim, given)
    assert found.verdict == "not run"
    assert pd.Series([found.note]).str.contains(word).all(), found.note


def test_claim_8_without_classification_is_undecided():
    found = judge(8, [r for r in segmentation() if r["experiment"] == "rq5"])
    assert found.verdict == "undecided"
    assert "no classification" in found.note


def test_claim_8_prefers_the_paired_change_of_miou():
    """Two separate mIoU values with wide intervals leave the rise unclear; on the same images it is not."""
    given = segmentation(raised=0.04, half=0.04, classification=0.999)
    assert "rises: undecided" in judge(8, given).note
    of = {"metric": "miou", "dataset": "camvid", "versus_training": "sharp"}
    near = {"part_kind": "region", "part": "boundary"}
    paired = [planted("rq5", "mix", blur, 0.04, SURE, **of) for blur in ("D4", "D8")]
    region = [planted("rq5", "mix", blur, -0.5, SURE, **of, **near) for blur in ("D4", "D8")]
    found = judge(8, [*given, *paired, *region])
    assert "rises" not in found.note
    assert found.effect == pytest.approx(0.04)


def test_a_rule_judges_without_paired_rows_but_wider():
    with_pairs = judge(2, recovery())
    without = judge(2, [r for r in recovery() if r["statistic"] == "estimate"])
    assert without.effect == pytest.approx(with_pairs.effect)
    assert without.high - without.low > with_pairs.high - with_pairs.low


def test_paired_gaps_between_networks_are_preferred():
    """A difference recorded on the same images settles what two separate rows leave unclear."""
    given = transfer(half=0.05)
    assert judge(5, given).verdict == "supported"
    behind = planted("rq3", "defocus", "shake", 0.10, SURE, versus_training="shake")
    assert judge(5, [*given, behind]).verdict == "contradicted"


def test_seeds_widen_and_do_not_vote():
    """A seed that behaves differently enters the interval; an average would hide it."""
    assert judge(2, recovery() + recovery(share=0.3, train_seed=1, run_id="s")).verdict == "undecided"


def test_top5_serves_where_top1_is_not_recorded():
    found = judge(1, [r | {"metric": "top5"} for r in degradation()])
    assert found.verdict == "supported"
    assert "top-5" in found.unit


def test_an_interval_that_is_not_there_decides_nothing():
    assert judge(4, [r | {"ci_low": math.nan, "ci_high": math.nan} for r in entropy()]).verdict == "undecided"


def test_effect_text():
    found = judge(1, degradation())
    assert found.effect_text() == "−35.0 [−36.0, −34.0] points of top-1 at D8"
    assert judge(2, recovery()).effect_text().startswith("80.0 [")
    assert judge(4, entropy()).effect_text() == "−0.50 [−0.51, −0.49] nats on blurred images"


def test_nothing_lost_is_nothing_to_recover():
    found = judge(2, [r | ({"value": 0.0} if "versus_blur" in r else {}) for r in recovery()])
    assert found.verdict == "undecided"
    assert "nan" not in found.effect_text() + found.note


def in_frame_of_128(given, **names):
    """The classification rows as of a data set blurred in a frame of 128: D2 there is D8 in the paper's."""
    other = {"dataset": "tiny-imagenet", "frame": 128}
    return [
        one | other | {"blur": names.get(one["blur"], one["blur"])} if one["experiment"] == "rq2" else one
        for one in given
    ]


def test_segmentation_is_compared_with_classification_under_the_same_blur_whatever_its_label():
    found = judge(8, in_frame_of_128(segmentation(), D8="D2", D4="D1"))
    assert found.verdict == "supported"
    assert "under D4, D8 in a frame of 512" in found.note
    assert "by vgg16 on tiny-imagenet, frame 128" in found.note
    # the label alone is no comparison: D8 in a frame of 128 is a blur that the segmenter never met
    assert judge(8, in_frame_of_128(segmentation())).verdict == "undecided"


def test_segmentation_and_classification_in_one_frame_are_compared_under_all_their_labels():
    of_scenes = [one | {"frame": 256} for one in segmentation()]
    assert "under D4, D8 in a frame of 256" in judge(8, of_scenes).note
    shaken = [one | {"blur": {"D4": "shake"}.get(one["blur"], one["blur"])} for one in of_scenes]
    assert "under D8, shake in a frame of 256" in judge(8, shaken).note


def test_a_network_with_frozen_blocks_is_not_the_mix_network():
    frozen = recovery(share=0.2, frozen="2")
    paired = [one | {"versus_frozen": "none"} for one in frozen if "versus_training" in one]
    others = [one for one in frozen if "versus_training" not in one and one["training"] == "mix"]
    assert judge(2, [*recovery(), *paired, *others]) == judge(2, recovery())


def test_two_ways_of_looking_are_never_averaged():
    crop = [one | {"view": "center-crop", "value": one["value"] / 2} for one in degradation()]
    assert judge(1, [*degradation(), *crop]) == judge(1, degradation())


def test_a_class_a_layer_or_a_bin_is_not_the_whole():
    cat = [one | {"part_kind": "class", "part": "cat", "value": 0.1, "n": 9} for one in degradation()]
    assert judge(1, [*degradation(), *cat]) == judge(1, degradation())


def test_claims_are_sentences_that_an_experiment_with_a_chapter_tests():
    chapters = [path.stem for path in Path(__file__).parents[2].joinpath("notebooks").glob("rq*.ipynb")]
    assert list(rules.CLAIMS) == list(range(1, 9))
    for claim in rules.CLAIMS.values():
        assert claim.experiment in {name[:3] for name in chapters}
        assert claim.statement[0].isupper()
        assert claim.statement.index(".") == len(claim.statement) - 1
        told, _, least = claim.rule.partition(" Smallest effect of interest: ")
        assert told == " ".join(inspect.getdoc(claim.find).split())
        assert bool(least) == (".size" in inspect.getsource(claim.find).replace("-POINTS.size", ""))


def test_rules_hold_although_docstrings_are_left_out():
    code = "from blurnb.report import rules; print(all(claim.rule for claim in rules.CLAIMS.values()))"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr[-800:]
