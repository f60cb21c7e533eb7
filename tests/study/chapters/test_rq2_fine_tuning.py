"""RQ2 on the smoke profile: what is recorded, that it is paired, and that nothing is done twice."""

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.study import classification, networks, similarity, training
from blurnb.study.chapters import rq2_fine_tuning as chapter
from blurnb.study.chapters.rq2_fine_tuning import Parameters


@pytest.fixture
def study(smoke, monkeypatch):
    found = smoke("rq2")
    monkeypatch.setenv("BLURNB_CACHE", str(found.cache))
    return found


def test_every_training_has_every_blur_and_the_frozen_one_is_named(study):
    rows = study.run.rows
    plain = rows[(rows["metric"] == "top1") & (rows["statistic"] == "estimate") & (rows["part_kind"] == "")]
    assert set(zip(plain["training"], plain["frozen"])) == {
        *((mix, "none") for mix in study.parameters.mixes), ("mix", "2"),
    }  # fmt: skip
    each = plain.groupby(["training", "frozen"])["blur"].nunique()
    assert (each == len(study.parameters.blurs)).all()
    assert set(plain["n"]) == {study.parameters.pair.n_images}
    assert set(plain["train_seed"]) == {0}


def test_differences_are_paired_and_add_up(study):
    rows = study.run.rows
    rows = rows[(rows["metric"] == "top1") & (rows["part_kind"] == "") & (rows["frozen"] == "none")]
    shown = rows[rows["statistic"] == "estimate"].set_index(["training", "blur"])["value"]
    changes = rows[rows["statistic"] == "difference"]
    of = changes.set_index(["training", "blur", "versus_training", "versus_blur"])["value"]
    for blur in set(study.parameters.blurs) - {"sharp"}:
        assert of["mix", blur, "sharp", ""] == pytest.approx(shown["mix", blur] - shown["sharp", blur])
        assert of["mix", blur, "", "sharp"] == pytest.approx(shown["mix", blur] - shown["mix", "sharp"])


def test_layers_are_compared_before_and_after_beside_the_baseline(study):
    layers = study.run.rows[study.run.rows["metric"] == "cosine"]
    assert set(layers["training"]) == {"sharp", "mix"}
    assert set(layers["part_kind"]) == {"layer"}
    assert {"conv1_1", "fc8"} <= set(layers["part"])
    baseline = layers[layers["versus_image"] == "other"]
    assert set(baseline["blur"]) == {"sharp"}
    assert set(baseline["part"]) == set(layers["part"])
    twins = layers[layers["versus_image"] == ""]
    assert set(zip(twins["blur"], twins["versus_blur"])) == {(b, "sharp") for b in study.parameters.layer_blurs}
    assert set(layers["view"]) == {""}
    assert layers["flip"].isna().all()
    assert set(layers["n"]) == {study.parameters.layer_images}


def test_a_second_run_trains_nothing_answers_nothing_and_writes_the_same(study, monkeypatch):
    before = (study.folder / "rq2.csv").read_bytes()

    def refuse(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(training, "fit", refuse)
    monkeypatch.setattr(classification, "probabilities", refuse)
    monkeypatch.setattr(similarity, "compare", refuse)
    assert chapter.run(study.parameters).rows.equals(study.run.rows)
    assert (study.folder / "rq2.csv").read_bytes() == before
    assert records.read(study.folder / "rq2.csv").equals(study.run.rows)


def test_every_network_starts_from_the_sharp_one_and_takes_as_many_steps(study):
    parameters, pair = study.parameters, study.parameters.pair
    _, base = networks.sharp(pair, parameters, 0)
    origins = [networks.tuned(pair, parameters, mix, 0)[1] for mix in parameters.mixes]
    assert len({origin["facts"]["start"] for origin in origins}) == 1
    assert len({origin["facts"]["epochs"] for origin in origins}) == 1
    assert base["facts"]["mix"] == "sharp"
    assert base["facts"]["start"] != origins[0]["facts"]["start"]


def test_frozen_blocks_keep_the_weights_of_the_sharp_network(study):
    pair = study.parameters.pair
    sharp, _ = networks.sharp(pair, study.parameters, 0)
    kept = {name: value.clone() for name, value in sharp.body.state_dict().items()}
    frozen, _ = networks.tuned(pair, study.parameters, "mix", 0, frozen=2)
    moved = {n for n, v in frozen.body.state_dict().items() if not v.equal(kept[n])}
    first = tuple(f"features.{kind}{block}" for kind in ("conv", "norm") for block in (1, 2))
    assert not any(name.startswith(first) for name in moved)
    assert "features.conv3_1.weight" in moved


def test_too_few_images_to_compare_layers_are_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="at least 8 images, scenes gives 3; raise n_images"):
        chapter.run(Parameters.validate({"profile": "smoke", "output_dir": str(tmp_path), "n_images": 3}))
    assert not (tmp_path / "cache" / "networks").exists()


def test_without_the_mix_nothing_of_it_is_trained(study, tmp_path, monkeypatch):
    given = {"profile": "smoke", "output_dir": str(tmp_path), "n_images": 8, "mixes": "sharp", "blurs": "D8"}
    tuned, asked = networks.tuned, []
    monkeypatch.setattr(networks, "tuned", lambda *given, **more: asked.append(given[2]) or tuned(*given, **more))
    run = chapter.run(Parameters.validate(given | {"layer_images": 8}))
    assert set(asked) == set(run.rows["training"]) == {"sharp"}


def test_calibration_is_recorded_for_sharp_and_mix_under_every_blur(study):
    bins = study.run.rows[study.run.rows["part_kind"] == "bin"]
    whole = {(training, blur) for training in ("sharp", "mix") for blur in study.parameters.blurs}
    assert set(zip(bins["training"], bins["blur"])) == whole
    assert set(bins["frozen"]) == {"none"}
    counts = bins[bins["metric"] == "top1"].groupby(["training", "blur"])["n"].sum()
    assert set(counts) == {study.parameters.pair.n_images}
