"""Verdicts of several scales, networks and profiles, and how they are told."""

import pytest
from planted import row

from blurnb import records
from blurnb.errors import UserError
from blurnb.report import rules, verdicts


def losing(losses=(0.05, 0.15, 0.25, 0.35), half=0.01, **more):
    """Claim 1's rows: what each defocus radius takes from a network that is right on 70 %."""
    shared = {"network": "vgg16", "dataset": "imagenet", "n": 5000, "profile": "paper"} | more
    found = [row(half, value=0.7, **shared)]
    for blur, loss in zip(("D2", "D4", "D6", "D8"), losses):
        found.append(row(half, blur=blur, value=0.7 - loss, **shared))
        found.append(row(half, blur=blur, value=-loss, versus_blur="sharp", **shared))
    return found


NONE = (0.0, 0.0, 0.0, 0.0)


def test_worst_scale_decides():
    found = verdicts.judge(1, records.table(losing() + losing(NONE, half=0.005, scale="128")), "paper")[0]
    assert found.verdict == "no effect"
    assert "scale 128" in found.note


def test_each_evidence_has_its_verdict_and_none_decides_for_another():
    given = losing() + losing(half=0.3, dataset="foolbox20", n=20) + losing(NONE, half=0.005, network="resnet18")
    found = verdicts.judge(1, records.table(given), "paper")
    assert {v.evidence: v.verdict for v in found} == {
        "resnet18 on imagenet, n = 5,000": "no effect",
        "vgg16 on imagenet, n = 5,000": "supported",
        "vgg16 on foolbox20, n = 20": "undecided",
    }
    counted = {word: [one.evidence for one in some] for word, some in verdicts.count(found)}
    assert counted == {
        "supported": ["vgg16 on imagenet, n = 5,000"],
        "undecided": ["vgg16 on foolbox20, n = 20"],
        "no effect": ["resnet18 on imagenet, n = 5,000"],
    }


def test_evidence_not_run_does_not_hide_what_was():
    given = losing() + losing(dataset="voc2012")[:2]
    ((word, some),) = verdicts.count(verdicts.judge(1, records.table(given), "paper"))
    assert (word, len(some)) == ("supported", 1)
    ((word, some),) = verdicts.count(verdicts.judge(2, records.table(given), "paper"))
    assert (word, len(some)) == ("not run", 1)


def test_what_is_undecided_says_how_many_images_would_decide_it():
    found = verdicts.judge(1, records.table(losing((0.01, 0.02, 0.03, 0.06), half=0.06)), "paper")[0]
    assert found.verdict == "undecided"
    # 6 points with 6 to either side, and 2 wanted: (6 / 4)^2 of 5,000
    assert "D8 loses: undecided (an effect of this size is decided by about 12,000 images)" in found.note


def test_profiles_do_not_mix():
    table = records.table(losing() + losing(NONE, profile="embedded"))
    assert verdicts.judge(1, table, "paper")[0].verdict == "supported"
    assert verdicts.judge(1, table, "photographs")[0].verdict == "not run"


def test_unknown_claim():
    with pytest.raises(UserError, match="1..8"):
        verdicts.judge(9, records.table([]), "paper")


def test_rows_of_the_images_alone_are_no_evidence():
    alone = row(None, metric="psnr", value=30.0, network="", training="", profile="paper", experiment="rq1")
    assert len(verdicts.judge(1, records.table([*losing(), alone]), "paper")) == 1


def test_a_folder_and_a_frame_are_said_where_the_evidence_is():
    of = {"dataset": "folder", "folder": "my cats, frame 9", "frame": 128}
    (found,) = verdicts.judge(1, records.table(losing(**of)), "paper")
    assert found.evidence == "vgg16 on folder my cats, frame 9, frame 128, n = 5,000"


def test_not_run_is_said_with_its_reason():
    found = verdicts.judge(2, records.table([]), "paper")[0]
    assert (found.verdict, found.note) == ("not run", "no records of rq2 in this profile")
    assert found.rule == rules.CLAIMS[2].rule
