"""Networks that differ in their training, asked the same: rows, rivals of the same seed, scales and calibration."""

import planted
import pytest

from blurnb.report import figures, selection, verdicts
from blurnb.report.tables import accuracy
from blurnb.study import measures, runs
from blurnb.study.chapters import rq2_fine_tuning
from blurnb.study.comparison import Comparison, Trained
from blurnb.study.runs import Recorder

BLURS, SCALES = ("sharp", "D20"), ("32", "48", "32+48")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """(recorder, comparison) of planted networks, each with other weights."""
    folder = tmp_path_factory.mktemp("compared")
    given = {"profile": "smoke", "output_dir": str(folder), "rounding": "8-bit"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLURNB_CACHE", str(folder / "cache"))
        parameters = rq2_fine_tuning.Parameters.validate(given)
        with Recorder(parameters, "rq2", lambda *_: planted.images(40, 32)) as recorder:
            comparison = Comparison(recorder, recorder.pairs[0])
            names = [
                Trained("sharp", 0), Trained("defocus", 0), Trained("mix", 0), Trained("mix", 0, "2"),
                Trained("sharp", 1), Trained("mix", 1), Trained("mix", 0, per_scale=True),
            ]  # fmt: skip
            for place, name in enumerate(names):
                body = planted.Convolutional()
                body.head.bias.data += place * planted.torch.arange(7)
                scales = SCALES[2:] if name.per_scale else SCALES
                comparison.ask(name, planted.network(body), {"seed": name.seed}, BLURS, scales)
            for name in (names[2], names[6]):
                comparison.scales(name, names[2])
            comparison.calibration(names[2], "32")
    return recorder, comparison


def rows_of(compared, name, **wanted):
    rows = compared[0].run.rows
    for column, value in {**name.columns(), **wanted}.items():
        rows = rows[rows[column] == value]
    return rows


def test_every_network_has_every_metric_under_every_blur_at_every_scale(compared):
    for name, tables in compared[1].tables.items():
        rows = rows_of(compared, name, statistic="estimate", part_kind="")
        assert len(rows) == len(tables) * len(measures.MEASURES)
        assert rows["run_id"].nunique() == 1
    assert set(compared[0].run.rows["rounding"]) == {"8-bit"}
    assert len(compared[0].run.manifests) == 7


def test_rivals_are_the_whole_networks_of_the_same_seed(compared):
    def told(name):
        rows = rows_of(compared, name, statistic="difference", metric="top1", blur="D20", scale="32")
        return set(zip(rows["versus_training"], rows["versus_frozen"], rows["versus_blur"], rows["versus_scale"]))

    twin = ("", "", "sharp", "")
    assert told(Trained("sharp", 0)) == {twin}
    assert told(Trained("defocus", 0)) == {twin, ("sharp", "", "", "")}
    assert told(Trained("mix", 0)) == {twin, ("sharp", "", "", ""), ("defocus", "", "", "")}
    assert told(Trained("mix", 0, "2")) == {twin, ("sharp", "none", "", ""), ("defocus", "none", "", "")}
    assert told(Trained("mix", 1)) == {twin, ("sharp", "", "", "")}


def test_differences_are_paired_and_add_up(compared):
    tables = compared[1].tables
    (one, other) = (tables[Trained(name, 1)] for name in ("mix", "sharp"))
    change = rows_of(
        compared, Trained("mix", 1), statistic="difference", metric="top1", versus_training="sharp", blur="D20",
        scale="48",
    )["value"].item()  # fmt: skip
    (mine,), (theirs,) = (
        [t["top1"].mean() for c, t in some.items() if (c.treatment.blur, c.scale) == ("D20", "48")]
        for some in (one, other)
    )
    assert change == pytest.approx(mine - theirs)


def test_averaged_scales_are_compared_with_their_first(compared):
    own = rows_of(compared, Trained("mix", 0), versus_scale="32", metric="top1", statistic="difference")
    assert set(own["scale"]) == {"32+48"}
    assert own["versus_per_scale"].isna().all()
    each = rows_of(compared, Trained("mix", 0, per_scale=True), versus_scale="32", metric="top1")
    assert set(each["versus_per_scale"]) == {False}
    assert set(each["versus_training"]) == {""}


def test_calibration_is_that_of_one_network_at_one_scale(compared):
    rows = compared[0].run.rows
    bins = rows[rows["part_kind"] == "bin"]
    assert set(bins["training"]) == {"mix"}
    assert set(bins["scale"]) == {"32"}
    assert set(bins["frozen"]) == {"none"}
    for blur in BLURS:
        assert bins[(bins["blur"] == blur) & (bins["metric"] == "top1")]["n"].sum() == 40


def test_three_seeds_have_rows_of_their_own_and_two_or_one_have_not(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    parameters = rq2_fine_tuning.Parameters.validate({"profile": "smoke", "output_dir": str(tmp_path)})
    with Recorder(parameters, "rq2", lambda *_: planted.images(24, 32)) as recorder:
        comparison = Comparison(recorder, recorder.pairs[0])
        names = [Trained(name, seed) for seed in range(3) for name in ("sharp", "mix")] + [Trained("shake", 0)]
        for place, name in enumerate(names):
            body = planted.Convolutional()
            body.head.bias.data += place * planted.torch.arange(7) / 4
            comparison.ask(name, planted.network(body), {"seed": name.seed}, ("sharp", "D10", "D20"), ("32",))
        comparison.means()
    rows = recorder.run.rows
    joint = rows[rows["train_seeds"].notna()]
    assert set(joint["train_seeds"]) == {3}
    assert set(joint["training"]) == {"sharp", "mix"}
    assert joint["run_id"].nunique() == 1
    (run,) = set(joint["run_id"])
    assert recorder.manifests[run]["decided"]["runs"] == sorted(set(rows["run_id"]) - {run})
    alone = rows[(rows["part_kind"] == "mean") & rows["train_seeds"].isna()]
    assert set(alone["training"]) == {"shake"}
    for training in ("sharp", "mix"):
        same = {"metric": "top1", "training": training, "blur": "D20"}
        told = selection.estimate(selection.estimates(rows, **same))
        each = selection.estimates(rows[rows["train_seeds"].isna()], **same)
        assert told[0] == pytest.approx(each["value"].mean())
    told = verdicts.judge(2, rows.assign(profile="photographs"), "photographs")
    assert told[0].verdict != verdicts.NOT_RUN
    assert accuracy.by_training(rows, "top1", "32")["trained on"].tolist()[:2] == ["sharp", "mix"]
    figures.before_after(rows, metric="top1")


def test_a_name_is_its_columns():
    assert Trained("mix", 3, "2", True).columns() == {
        "training": "mix", "train_seed": 3, "frozen": "2", "per_scale": True,
    }  # fmt: skip
    assert set(Trained("mix", 0).columns()) <= set(runs.records.ANSWERS)
