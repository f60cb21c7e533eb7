"""Each rule meets records in which its claim is true, false, unclear, and not there."""

import math

import pandas as pd
import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import claims, paper, rules, selection

SURE, VAGUE = 0.01, 0.3  # half widths of the intervals


def row(question, training, blur, metric, value, half, **more):
    fields = {"network": "vgg16", "dataset": "imagenet", "scale": "256", "view": "dense", "n": 5000}
    fields |= {"profile": "paper", "run_id": "r"}
    ends = {"ci_low": value - half, "ci_high": value + half}
    return records.row(
        question=question, training=training, blur=blur, metric=metric, value=value, **ends, **(fields | more)
    )


def degradation(doses=(0.05, 0.15, 0.25, 0.35), half=SURE, **more):
    rows = [row("rq1", "sharp", "sharp", "top1", 0.7, half, **more)]
    for blur, loss in zip(("D2", "D4", "D6", "D8"), doses):
        rows.append(row("rq1", "sharp", blur, "top1", 0.7 - loss, half, **more))
        versus = {"view": "dense vs sharp image"}
        rows.append(row("rq1", "sharp", blur, "top1_change", -loss, half, **(more | versus)))
    return rows


def recovery(share=0.8, cost=0.0, half=SURE, question="rq2", **more):
    rows = [
        row(question, "sharp", "sharp", "top1", 0.7, half, **more),
        row(question, "mix", "sharp", "top1", 0.7 - cost, half, **more),
        row(question, "mix", "sharp", "top1_change", -cost, half, **(more | {"view": "dense vs sharp network"})),
    ]
    image, network = {"view": "dense vs sharp image"}, {"view": "dense vs sharp network"}
    for blur, loss in (("D4", 0.2), ("D8", 0.4), ("shake", 0.3)):
        rows += [
            row(question, "sharp", blur, "top1", 0.7 - loss, half, **more),
            row(question, "mix", blur, "top1", 0.7 - (1 - share) * loss, half, **more),
            row(question, "sharp", blur, "top1_change", -loss, half, **(more | image)),
            row(question, "mix", blur, "top1_change", share * loss, half, **(more | network)),
        ]
    return rows


def invariance(sharp=0.7, mix=0.85, other=0.2, other_mix=None, half=SURE):
    rows = []
    for layer in ("conv1_1", "conv5_3", "fc7"):
        for training, twin, base in (("sharp", sharp, other), ("mix", mix, other if other_mix is None else other_mix)):
            rows.append(row("rq2", training, "D8", "cosine", twin, half, view=f"layer {layer}"))
            rows.append(row("rq2", training, "sharp", "cosine", base, half, view=f"layer {layer} vs other image"))
    return rows


def entropy(change=-0.5, half=SURE):
    rows = []
    for blur in ("D4", "D8"):
        rows.append(row("rq2", "sharp", blur, "entropy", 3.0, half))
        rows.append(row("rq2", "mix", blur, "entropy", 3.0 + change, half))
        rows.append(row("rq2", "mix", blur, "entropy_change", change, half, view="dense vs sharp network"))
    return rows


def transfer(across=0.45, own=0.6, half=SURE):
    rows = []
    for training in ("sharp", "defocus", "shake"):
        for blur, family in (("D4", "defocus"), ("D8", "defocus"), ("shake", "shake")):
            value = 0.3 if training == "sharp" else own if training == family else across
            rows.append(row("rq3", training, blur, "top1", value, half))
    return rows


def scales(extra=0.005, each=0.005, share=0.8, half=0.004, seconds=(0.04, 0.2)):
    rows = recovery(share=share, half=half, question="rq3")
    single = {r["blur"]: r["value"] for r in rows if r["training"] == "mix" and r["metric"] == "top1"}
    for blur, value in single.items():
        rows.append(row("rq3", "mix", blur, "top1", value + extra, half, scale="256+512"))
        if each is not None:
            rows.append(row("rq3", "mix per scale", blur, "top1", value + each, half, scale="256+512"))
    for scale, cost in zip(("256", "256+512"), seconds or ()):
        rows.append(row("rq3", "mix", "", "seconds", cost, math.nan, scale=scale))
    return rows


def deblurring(mix=0.6, restored=0.55, half=0.005, seconds=(0.04, 0.4), factors=""):
    rows = []
    for blur in ("D4", "D8"):
        rows.append(row("rq4", "mix", blur, "top1", mix, half, view=f"dense{factors}"))
        rows.append(row("rq4", "sharp", blur, "top1", restored - 0.1, half, view=f"dense after wiener{factors}"))
        rows.append(row("rq4", "sharp", blur, "top1", restored, half, view=f"dense after epll{factors}"))
        rows.append(row("rq4", "mix", blur, "seconds", seconds[0], math.nan, view=f"dense{factors}"))
        for method in ("wiener", "epll"):
            view = f"dense after {method}{factors}"
            rows.append(row("rq4", "sharp", blur, "seconds", seconds[1], math.nan, view=view))
    return rows


def segmentation(raised=0.1, kept=0.6, half=SURE, classification=0.95):
    rows = [row("rq5", t, "sharp", "miou", 0.5, half, view="all", dataset="camvid") for t in ("sharp", "mix")]
    for blur in ("D4", "D8"):
        rows.append(row("rq5", "mix", blur, "miou", 0.5 * kept, half, view="all", dataset="camvid"))
        rows.append(row("rq5", "sharp", blur, "miou", 0.5 * kept - raised, half, view="all", dataset="camvid"))
        rows.append(row("rq2", "mix", blur, "top1", 0.7 * classification, half))
        rows.append(row("rq2", "sharp", blur, "top1", 0.3, half))
    return [*rows, row("rq2", "sharp", "sharp", "top1", 0.7, half), row("rq2", "mix", "sharp", "top1", 0.7, half)]


def judge(claim, rows):
    return claims.judge(claim, records.table(rows))[0]


CASES = [
    (1, "reproduced", degradation()),
    (1, "reproduced", degradation((0.05, 0.16, 0.15, 0.35))),  # out of order by less than the intervals can tell
    (1, "not reproduced", degradation((0.05, 0.30, 0.15, 0.35))),  # out of order beyond them
    (1, "not reproduced", degradation((0.0, 0.0, 0.0, 0.0), half=0.005)),  # no effect, tightly
    (1, "not reproduced", degradation((0.3, 0.3, 0.3, 0.3), half=0.005)),  # loses, but no more with the radius
    (1, "not reproduced", degradation((-0.05, -0.1, -0.1, -0.2))),
    (1, "undecided", degradation(half=VAGUE)),
    (2, "reproduced", recovery()),
    (2, "not reproduced", recovery(share=0.2)),
    (2, "not reproduced", recovery(cost=0.06)),
    (2, "undecided", recovery(share=0.5)),
    (2, "undecided", recovery(half=VAGUE)),
    (3, "reproduced", invariance()),
    (3, "not reproduced", invariance(mix=0.6)),
    (3, "not reproduced", invariance(mix=0.70, half=0.001)),  # no movement, tightly
    (3, "not reproduced", invariance(sharp=0.7, mix=0.85, other=0.2, other_mix=0.7)),  # everything alike, not invariant
    (3, "undecided", invariance(half=VAGUE)),
    (4, "reproduced", entropy()),
    (4, "not reproduced", entropy(change=0.2)),
    (4, "not reproduced", entropy(change=0.0, half=0.005)),
    (4, "undecided", entropy(half=0.8)),
    (5, "reproduced", transfer()),
    (5, "not reproduced", transfer(across=0.25)),  # harms
    (5, "not reproduced", transfer(across=0.65)),  # as good as perfect, or better
    (5, "undecided", transfer(half=VAGUE)),
    (6, "reproduced", scales()),
    (6, "not reproduced", scales(extra=0.05)),
    (6, "not reproduced", scales(each=0.06)),
    (6, "not reproduced", scales(share=0.2)),
    (6, "not reproduced", scales(seconds=(0.2, 0.2))),
    (6, "undecided", scales(half=0.05)),
    (6, "undecided", scales(each=None)),
    (6, "undecided", scales(seconds=None)),
    (7, "reproduced", deblurring()),
    (7, "reproduced", deblurring(mix=0.55)),
    (7, "not reproduced", deblurring(restored=0.7)),
    (7, "not reproduced", deblurring(seconds=(0.04, 0.05))),  # as accurate, but not far cheaper
    (7, "not reproduced", deblurring() + deblurring(restored=0.75, factors=", noise 0.01")),  # the worst decides
    (7, "reproduced", deblurring() + deblurring(restored=0.75, factors=", kernel D9")),  # another question
    (7, "undecided", deblurring(half=VAGUE)),
    (8, "reproduced", segmentation()),
    (8, "not reproduced", segmentation(raised=-0.1)),
    (8, "not reproduced", segmentation(kept=1.1)),
    (8, "undecided", segmentation(half=0.2)),
]


@pytest.mark.parametrize("claim, verdict, rows", CASES, ids=[f"{c}-{v}-{i}" for i, (c, v, _) in enumerate(CASES)])
def test_rule(claim, verdict, rows):
    found = judge(claim, rows)
    assert found.verdict == verdict, found
    assert found.rule == rules.RULES[claim][0]
    assert found.question == paper.CLAIMS[claim].question
    assert found.n == 5000
    assert found.low <= found.effect <= found.high
    assert found.evidence in found.sentence()


def test_every_claim_is_shown_true_false_and_unclear():
    for claim in paper.CLAIMS:
        assert {v for c, v, _ in CASES if c == claim} == {"reproduced", "not reproduced", "undecided"}


@pytest.mark.parametrize("claim", paper.CLAIMS)
def test_without_records_nothing_is_claimed(claim):
    found = judge(claim, [])
    assert found.verdict == "not run"
    assert math.isnan(found.effect)
    assert found.rule
    assert paper.CLAIMS[claim].question in found.note


@pytest.mark.parametrize(
    "claim, rows, word",
    [
        (1, degradation()[:3], "defocus radii"),
        (2, [r for r in recovery() if r["training"] != "mix"], "sharp and mix"),
        (3, recovery(), "sharp and mix"),
        (4, recovery(), "sharp and mix"),
        (5, [r for r in transfer() if r["training"] != "shake"], "defocus and shake"),
        (6, recovery(question="rq3"), "256\\+512"),
        (7, [r for r in deblurring() if "after" not in r["view"]], "sharp and mix"),
        (8, [r for r in segmentation() if r["training"] != "mix"], "sharp and mix"),
    ],
)
def test_missing_rows_are_named(claim, rows, word):
    found = judge(claim, rows)
    assert found.verdict == "not run"
    assert pd.Series([found.note]).str.contains(word).all(), found.note


def test_claim_8_without_classification_is_undecided():
    found = judge(8, [r for r in segmentation() if r["question"] == "rq5"])
    assert found.verdict == "undecided"
    assert "no classification" in found.note


def test_claim_8_prefers_the_paired_change_of_miou():
    """Two separate mIoU values with wide intervals leave the rise unclear; on the same images it is not."""
    rows = segmentation(raised=0.04, half=0.04, classification=0.999)
    assert "rises: unclear" in judge(8, rows).note
    paired = [
        row("rq5", "mix", b, "miou_change", 0.04, SURE, view="all vs sharp network", dataset="camvid")
        for b in ("D4", "D8")
    ]
    region = [
        row("rq5", "mix", b, "miou_change", -0.5, SURE, view="boundary vs sharp network", dataset="camvid")
        for b in ("D4", "D8")
    ]
    found = judge(8, [*rows, *paired, *region])
    assert "rises" not in found.note
    assert found.effect == pytest.approx(0.04)


def test_a_rule_judges_without_paired_rows_but_wider():
    with_pairs = judge(2, recovery())
    without = judge(2, [r for r in recovery() if not r["metric"].endswith("_change")])
    assert without.effect == pytest.approx(with_pairs.effect)
    assert without.high - without.low > with_pairs.high - with_pairs.low


def test_paired_gaps_between_networks_are_preferred():
    """`vs shake network`, recorded on the same images, settles what two separate rows leave unclear."""
    rows = transfer(half=0.05)
    assert judge(5, rows).verdict == "reproduced"
    behind = row("rq3", "defocus", "shake", "top1_change", 0.10, SURE, view="dense vs shake network")
    assert judge(5, [*rows, behind]).verdict == "not reproduced"


def test_worst_scale_decides():
    rows = degradation() + degradation((0.0, 0.0, 0.0, 0.0), half=0.005, scale="128")
    found = judge(1, rows)
    assert found.verdict == "not reproduced"
    assert "scale 128" in found.note


def test_each_evidence_has_its_verdict_and_small_evidence_does_not_overrule_large():
    rows = degradation() + degradation(half=VAGUE, dataset="foolbox20", n=20)
    found = claims.judge(1, records.table(rows))
    assert {v.evidence: v.verdict for v in found} == {
        "vgg16 on imagenet, n = 5,000": "reproduced",
        "vgg16 on foolbox20, n = 20": "undecided",
    }
    combined = claims.combine(found)
    assert combined.verdict == "reproduced"
    assert "vgg16 on foolbox20, n = 20: undecided" in combined.note


def test_evidence_against_a_claim_decides_however_much_speaks_for_it():
    rows = degradation() + degradation((0.0, 0.0, 0.0, 0.0), half=0.005, dataset="foolbox20", n=20)
    combined = claims.combine(claims.judge(1, records.table(rows)))
    assert combined.verdict == "not reproduced"
    assert "vgg16 on imagenet, n = 5,000: reproduced" in combined.note


def test_evidence_not_run_does_not_hide_what_was():
    rows = degradation() + degradation(dataset="voc2012")[:2]
    combined = claims.combine(claims.judge(1, records.table(rows)))
    assert combined.verdict == "reproduced"


def test_profiles_do_not_mix():
    table = records.table(degradation() + degradation((0, 0, 0, 0), profile="embedded"))
    with pytest.raises(UserError, match="embedded, paper"):
        claims.judge(1, table)
    assert claims.judge(1, table, "paper")[0].verdict == "reproduced"
    assert claims.judge(1, table, "photographs")[0].verdict == "not run"
    with pytest.raises(UserError, match="several"):
        claims.combine([*claims.judge(1, table, "paper"), *claims.judge(1, table, "embedded")])


def test_seeds_widen_and_do_not_vote():
    """A seed that behaves differently enters the interval; an average would hide it."""
    rows = recovery() + recovery(share=0.3, seed=1, run_id="s")
    assert judge(2, rows).verdict == "undecided"


def test_top5_serves_where_top1_is_not_recorded():
    rows = [r | {"metric": r["metric"].replace("top1", "top5")} for r in degradation()]
    found = judge(1, rows)
    assert found.verdict == "reproduced"
    assert "top-5" in found.unit


def test_an_interval_that_is_not_there_decides_nothing():
    rows = [r | {"ci_low": math.nan, "ci_high": math.nan} for r in entropy()]
    assert judge(4, rows).verdict == "undecided"


def test_effect_text():
    found = judge(1, degradation())
    assert found.effect_text() == "−35.0 [−36.0, −34.0] points of top-1 at D8"
    assert judge(2, recovery()).effect_text().startswith("80.0 [")
    assert judge(4, entropy()).effect_text() == "−0.50 [−0.51, −0.49] nats on blurred images"


def test_nothing_lost_is_nothing_to_recover():
    rows = [r | ({"value": 0.0} if r["metric"] == "top1_change" and "image" in r["view"] else {}) for r in recovery()]
    found = judge(2, rows)
    assert found.verdict == "undecided"
    assert "nan" not in found.sentence() + found.note


def test_unknown_claim():
    with pytest.raises(UserError, match="1..8"):
        claims.judge(9, records.table([]))


@pytest.mark.parametrize(
    "view, parts",
    [
        ("dense", ("dense", "", "")),
        ("dense, 8-bit", ("dense", "", "8-bit")),
        ("dense after krishnan_fergus", ("dense", "krishnan_fergus", "")),
        ("dense+flip after wiener, noise 0.01, 8-bit", ("dense+flip", "wiener", "noise 0.01, 8-bit")),
    ],
)
def test_restoration_reads_the_view(view, parts):
    assert rules.restoration(view) == parts


def test_scoreboard_has_every_claim_in_every_profile():
    found = claims.scoreboard(records.table(degradation()), ("embedded", "paper"))
    assert [(v.claim, v.profile) for v in found] == [(c, p) for c in range(1, 9) for p in ("embedded", "paper")]
    assert [v.verdict for v in found if v.verdict != "not run"] == ["reproduced"]


def in_frame_of_128(rows):
    """The classification rows as a data set blurred in a frame of 128 labels them: D2 there is D8 in the paper's."""
    names = {"D8": "D2", "D4": "D1", "sharp": "sharp"}
    return [
        one | {"dataset": "tiny-imagenet, frame 128", "blur": names[one["blur"]]} if one["question"] == "rq2" else one
        for one in rows
    ]


def test_segmentation_is_compared_with_classification_under_the_same_blur_whatever_its_label():
    found = judge(8, in_frame_of_128(segmentation()))
    assert found.verdict == "reproduced"
    assert "under D4, D8 in a frame of 512" in found.note
    # the label alone is no comparison: D8 in a frame of 128 is a blur that the segmenter never met
    others = [
        one | {"dataset": "tiny-imagenet, frame 128"} if one["question"] == "rq2" else one for one in segmentation()
    ]
    assert judge(8, others).verdict == "undecided"


def test_labels_of_another_frame_are_renamed_and_those_without_a_size_left_out():
    blurs = ["sharp", "D2", "G1.5", "M5@30", "shake", "shake24"]
    rows = records.table([row("rq2", "mix", blur, "top1", 0.5, SURE, dataset="tiny, frame 128") for blur in blurs])
    assert set(selection.in_papers_frame(rows)["blur"]) == {"sharp", "D8", "G6", "M20@30"}
    same = records.table([row("rq2", "mix", blur, "top1", 0.5, SURE) for blur in blurs])
    assert selection.in_papers_frame(same)["blur"].tolist() == same["blur"].tolist()
