"""RQ3: per-scale networks, differences between scales, and times that a rerun repeats."""

import pytest
import torch

from blurnb.recognition import models
from blurnb.study import evaluation, generalization, profiles


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rq3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLURNB_CACHE", str(folder / "cache"))
        given = {"profile": "smoke", "output_dir": str(folder), "train_images": 96, "base_epochs": 1, "n_images": 24}
        given |= {"mixes": "sharp,mix", "train_scales": [96, 128], "blurs": "sharp,D8,inertial"}
        parameters = profiles.validate("rq3", given)
        yield parameters, generalization.run(parameters)


def test_the_average_of_scales_is_compared_with_its_first_scale(study):
    _, run = study
    rows = run.rows.set_index(["training", "scale", "blur", "metric", "view"])["value"]
    for training, view in (("mix", "dense vs scale 96"), ("mix per scale", "dense vs mix at scale 96")):
        assert rows[training, "96+128", "D8", "top1_change", view] == pytest.approx(
            rows[training, "96+128", "D8", "top1", "dense"] - rows["mix", "96", "D8", "top1", "dense"]
        )


def test_a_rerun_repeats_even_the_times(study):
    parameters, run = study
    assert generalization.run(parameters).rows.equals(run.rows)


def test_two_scales_take_the_time_of_both(study):
    _, run = study
    times = run.rows[(run.rows["metric"] == "seconds") & (run.rows["training"] == "mix")].set_index("scale")["value"]
    assert times["96+128"] == pytest.approx(times["96"] + times["128"])
    assert (times > 0).all()


def test_without_the_mix_nothing_of_it_is_trained_or_timed(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    given = {"profile": "smoke", "output_dir": str(tmp_path), "train_images": 96, "base_epochs": 1, "n_images": 8}
    run = generalization.run(profiles.validate("rq3", given | {"mixes": "sharp", "blurs": "sharp,D8"}))
    assert set(run.rows["training"]) == {"sharp"}
    assert len(list((tmp_path / "cache" / "networks").iterdir())) == 2  # where training starts, and sharp


def test_each_scale_is_shown_to_its_own_network():
    networks = {side: models.load("vgg_mini", "none", 5).eval() for side in (64, 96)}
    with torch.no_grad():
        for shift, network in enumerate(networks.values()):
            network.body.classifier.fc8.weight.zero_()
            network.body.classifier.fc8.bias.copy_(torch.nn.functional.one_hot(torch.tensor(shift), 5) * 9.0)
        each = models.PerScale(networks)
        images = torch.rand(2, 3, 96, 96)
        for place, side in enumerate((64, 96)):
            answer = evaluation.probabilities(each, images, side, evaluation.Protocol())
            assert answer.argmax(1).tolist() == [place, place]
