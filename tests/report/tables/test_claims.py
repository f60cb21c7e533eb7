"""The claims as tables."""

from planted import row, rows

from blurnb import intervals
from blurnb.report import verdicts
from blurnb.report.tables import claims, published

SHARED = {"dataset": "imagenet-sample", "network": "efficientnet_lite0", "scale": "128", "metric": "top5"}


def planted(blur="sharp", value=0.8, n=500, **more):
    low, high = intervals.wilson(round(value * n), n)
    return row(**SHARED | {"blur": blur, "value": value, "n": n, "ci_low": low, "ci_high": high} | more)


def test_scoreboard_has_eight_claims_and_a_column_a_profile():
    given = [planted("sharp", 0.8, metric="top1")] + [
        planted(f"D{r}", 0.8 - 0.07 * r, metric="top1") for r in (2, 4, 6, 8)
    ]
    frame = claims.scoreboard(rows(*given))
    assert len(frame) == 8
    assert list(frame.columns) == ["claim", "statement", *published.PROFILES, "chapter"]
    assert frame.loc[0, "photographs"].startswith("**supported** on 1: −56.0 [")
    assert "n = 500" in frame.loc[0, "photographs"]
    assert frame.loc[0, "paper"] == frame.loc[1, "photographs"] == "not run"
    assert frame.loc[0, "chapter"] == "RQ1"
    linked = claims.scoreboard(rows(*given), ["paper"], chapters={"rq1": "../notebooks/rq1_degradation.ipynb"})
    assert linked.loc[0, "chapter"] == "[RQ1](../notebooks/rq1_degradation.ipynb)"
    assert linked.loc[7, "chapter"] == "RQ5"


def test_in_full_tells_what_a_rule_stumbled_over():
    found = rows(planted(metric="top1"), planted("D2", 0.7, metric="top1"))
    table = claims.in_full([*verdicts.judge(1, found, "photographs"), *verdicts.judge(2, found, "photographs")])
    assert table["verdict"].tolist() == ["not run", "not run"]
    assert table["effect"].tolist() == ["–", "–"]
    assert "fewer than two defocus radii" in table["note"][0]
