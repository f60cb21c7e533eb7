"""RQ2 on the smoke profile: what is recorded, that it is paired, and that nothing is done twice."""

import pytest

from blurnb import records
from blurnb.errors import UserError
from blurnb.study import evaluation, networks, profiles, recovery, training


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(parameters, run, folder) of one smoke run in a cache of its own."""
    folder = tmp_path_factory.mktemp("rq2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLURNB_CACHE", str(folder / "cache"))
        given = {"profile": "smoke", "output_dir": str(folder), "train_images": 96, "base_epochs": 1, "n_images": 24}
        parameters = profiles.validate("rq2", given | {"mixes": "sharp,mix,D8", "layer_images": 16})
        yield parameters, recovery.run(parameters), folder


def test_every_training_has_every_blur_and_the_frozen_one_is_named(study):
    parameters, run, _ = study
    plain = run.rows[(run.rows["metric"] == "top1") & (run.rows["view"] == "dense")]
    assert set(plain["training"]) == {"sharp", "mix", "D8", "mix, 2 blocks frozen"}
    assert (plain.groupby("training")["blur"].nunique() == len(parameters.blurs)).all()
    assert set(plain["n"]) == {24}


def test_differences_are_paired_and_add_up(study):
    _, run, _ = study
    rows = run.rows.set_index(["training", "blur", "metric", "view"])["value"]
    for blur in ("D4", "D8", "shake"):
        assert rows["mix", blur, "top1_change", "dense vs sharp network"] == pytest.approx(
            rows["mix", blur, "top1", "dense"] - rows["sharp", blur, "top1", "dense"]
        )
        assert rows["mix", blur, "top1_change", "dense vs sharp image"] == pytest.approx(
            rows["mix", blur, "top1", "dense"] - rows["mix", "sharp", "top1", "dense"]
        )


def test_layers_are_compared_before_and_after_beside_the_baseline(study):
    _, run, _ = study
    layers = run.rows[run.rows["metric"] == "cosine"]
    assert set(layers["training"]) == {"sharp", "mix"}
    assert {"layer conv1_1", "layer fc8", "layer conv1_1 vs other image"} <= set(layers["view"])


def test_a_second_run_trains_nothing_answers_nothing_and_writes_the_same(study, monkeypatch):
    parameters, run, folder = study
    before = (folder / "rq2.csv").read_bytes()

    def refuse(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(training, "fit", refuse)
    monkeypatch.setattr(evaluation, "_answers", refuse)
    monkeypatch.setattr(recovery.invariance, "compare", refuse)
    assert recovery.run(parameters).rows.equals(run.rows)
    assert (folder / "rq2.csv").read_bytes() == before
    assert records.read(folder / "rq2.csv").equals(run.rows)


def test_every_network_starts_from_the_sharp_one_and_takes_as_many_steps(study):
    parameters, _, _ = study
    _, base = networks.sharp(parameters, 0)
    origins = [networks.tuned(parameters, mix, 0)[1] for mix in parameters.mixes]
    assert len({origin["facts"]["start"] for origin in origins}) == 1
    assert len({origin["facts"]["epochs"] for origin in origins}) == 1
    assert base["facts"]["mix"] == "sharp"
    assert base["facts"]["start"] != origins[0]["facts"]["start"]


def test_frozen_blocks_keep_the_weights_of_the_sharp_network(study):
    parameters, _, _ = study
    sharp, _ = networks.sharp(parameters, 0)
    kept = {name: value.clone() for name, value in sharp.body.state_dict().items()}
    frozen, _ = networks.tuned(parameters, "mix", 0, frozen=2)
    moved = {n for n, v in frozen.body.state_dict().items() if not v.equal(kept[n])}
    assert not any(
        name.startswith(("features.conv1", "features.norm1", "features.conv2", "features.norm2")) for name in moved
    )
    assert "features.conv3_1.weight" in moved


def test_too_few_images_to_compare_layers_are_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="at least 8 images, scenes gives 3; raise n_images"):
        recovery.run(profiles.validate("rq2", {"profile": "smoke", "output_dir": str(tmp_path), "n_images": 3}))
    assert not (tmp_path / "cache" / "networks").exists()


def test_without_the_mix_nothing_of_it_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    given = {"profile": "smoke", "output_dir": str(tmp_path), "train_images": 96, "base_epochs": 1, "n_images": 8}
    run = recovery.run(profiles.validate("rq2", given | {"mixes": "sharp", "blurs": "D8", "layer_images": 8}))
    assert set(run.rows["training"]) == {"sharp"}


def test_calibration_is_drawn_from_the_answers_of_the_run(study):
    _, run, _ = study
    curves = recovery.calibration(run, ["sharp", "D8"])
    assert set(curves) == {"sharp, sharp", "mix, sharp", "sharp, D8", "mix, D8"}
