"""RQ3: a network a scale, differences between scales, and times that a rerun repeats."""

import pytest

from blurnb import labels
from blurnb.study import networks, training
from blurnb.study.chapters import rq3_generalization as chapter
from blurnb.study.chapters.rq3_generalization import Parameters


@pytest.fixture
def study(smoke, monkeypatch):
    found = smoke("rq3")
    monkeypatch.setenv("BLURNB_CACHE", str(found.cache))
    return found


def test_the_average_of_scales_is_compared_with_its_first_scale(study):
    rows = study.run.rows[study.run.rows["metric"] == "top1"]
    estimates = rows[rows["statistic"] == "estimate"].set_index(["training", "per_scale", "scale", "blur"])["value"]
    changes = rows[(rows["statistic"] == "difference") & (rows["versus_scale"] == "96") & (rows["training"] == "mix")]
    assert set(changes["per_scale"]) == {True, False}
    for row in changes.itertuples():
        blurs = row.part.split("+") if row.part_kind == "mean" else [row.blur]
        pairs = [(estimates["mix", row.per_scale, "96+128", b], estimates["mix", False, "96", b]) for b in blurs]
        assert row.value == pytest.approx(sum(mine - theirs for mine, theirs in pairs) / len(pairs))
    assert changes[changes["per_scale"]]["versus_per_scale"].eq(False).all()
    assert changes[~changes["per_scale"]]["versus_per_scale"].isna().all()
    assert set(changes["blur"]) == {"", *study.parameters.blurs}
    assert "+".join(labels.in_order(study.parameters.blurs)) in set(changes["part"])


def test_other_trainings_are_asked_at_the_native_scale_alone(study):
    scales = study.run.rows[study.run.rows["per_scale"] == False].groupby("training")["scale"].unique()  # noqa: E712
    for training_ in study.parameters.mixes:
        expected = {"96", "128", "96+128"} if training_ in ("sharp", "mix") else {"96"}
        assert set(scales[training_]) == expected


def test_a_rerun_trains_nothing_and_repeats_even_the_times(study, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = chapter.run(study.parameters.model_copy(update={"output_dir": str(tmp_path)}))
    assert again.rows.equals(study.run.rows)


def test_two_scales_take_the_time_of_both(study):
    rows = study.run.rows[study.run.rows["metric"] == "seconds"]
    assert set(rows["training"]) == {"mix"}
    times = rows[~rows["per_scale"]].set_index("scale")["value"]
    assert times["96+128"] == pytest.approx(times["96"] + times["128"])
    assert (times > 0).all()
    (note,) = [n for n in study.run.manifests.values() if n["decided"].get("task") == "seconds"]
    for median, least, most in note["median_least_most"].values():
        assert least <= median <= most


def test_seconds_of_a_network_a_scale_are_recorded_for_the_averages_it_was_trained_for(study):
    rows = study.run.rows[(study.run.rows["metric"] == "seconds") & study.run.rows["per_scale"]]
    assert list(rows["scale"]) == ["96+128"]


@pytest.mark.parametrize(
    "given", [{"train_scales": []}, {"scales": "96,128"}], ids=["none trained", "nothing averaged"]
)
def test_no_network_a_scale_no_seconds_of_one(study, tmp_path, given, monkeypatch):
    """Seconds of networks that were never trained were copies of those of the mix."""
    tuned, scales = networks.tuned, []
    monkeypatch.setattr(
        networks, "tuned", lambda *a, scale=0, **more: scales.append(scale) or tuned(*a, scale=scale, **more)
    )
    small = {"profile": "smoke", "output_dir": str(tmp_path), "mixes": "sharp,mix", "n_images": 8, "blurs": "D8"}
    run = chapter.run(Parameters.validate(small | given))
    assert set(scales) == {0}
    assert not run.rows["per_scale"].any()
    assert set(run.rows[run.rows["metric"] == "seconds"]["scale"]) == set(run.pairs[0].scales)


def test_without_the_mix_nothing_of_it_is_trained_or_timed(study, tmp_path, monkeypatch):
    tuned, trained = networks.tuned, []
    monkeypatch.setattr(networks, "tuned", lambda *a, **more: trained.append(a[2]) or tuned(*a, **more))
    given = {"profile": "smoke", "output_dir": str(tmp_path), "n_images": 8, "mixes": "sharp", "blurs": "sharp,D8"}
    run = chapter.run(Parameters.validate(given))
    assert set(trained) == set(run.rows["training"]) == {"sharp"}
    assert "seconds" not in set(run.rows["metric"])


def test_the_networks_are_those_of_rq2(study, smoke):
    ours = {note["decided"]["weights"]["mix"] for note in study.run.manifests.values()
            if "mix" in note["decided"].get("weights", ())}  # fmt: skip
    theirs = {note["decided"]["weights"]["mix"] for note in smoke("rq2").run.manifests.values()
              if "mix" in note["decided"].get("weights", ())}  # fmt: skip
    assert ours & theirs
