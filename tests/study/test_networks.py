"""Networks ready for a chapter: what parameters say reaches the recipe, and names stand for trainings."""

from types import SimpleNamespace

import pytest

from blurnb.study import chapters, finetuning, networks, parameters


@pytest.fixture
def asked(monkeypatch) -> list:
    """(start, images, recipe) of every training that is asked for; none takes place."""
    found = []

    def finetune(network, images, recipe, **_):
        found.append((network, images, recipe))
        return network.eval(), {"weights": "nowhere"}

    monkeypatch.setattr(finetuning, "finetune", finetune)
    return found


def validate(chapter, given):
    return chapters.found(chapter).Parameters.validate(given)


def opened(checked, count=12):
    """The pair of a chapter, with images of so many classes."""
    classes = tuple(map(str, range(count)))
    return SimpleNamespace(pair=checked.pair, images=SimpleNamespace(classes=classes, name=checked.pair.dataset))


def test_a_tuned_network_goes_on_from_the_sharp_one(asked):
    checked = validate("rq2", {"profile": "smoke", "base_frozen": 1})
    networks.tuned(checked.pair, checked, "D4+shake", 3, frozen=2, scale=48)
    (_, images, first), (_, again, second) = asked
    assert len(images) == len(again) == checked.train_images
    assert (first.mix, first.epochs, first.frozen_blocks, first.scale) == ("sharp", checked.base_epochs, 1, 0)
    assert first.learning_rate == checked.base_learning_rate
    assert (second.mix, second.epochs, second.frozen_blocks) == (["D4", "shake"], checked.epochs, 2)
    assert (second.scale, second.learning_rate) == (48, checked.learning_rate)
    assert first.seed == second.seed == 3


@pytest.mark.parametrize("weights, profile", [("scenes", "embedded"), ("scenes-smoke", "smoke")])
def test_weights_by_name_are_the_sharp_network_of_rq2(asked, weights, profile):
    assert weights in parameters.SCENES
    checked, theirs = (
        validate("rq1", {"dataset": "scenes", "weights": weights, "seed": 2}),
        validate("rq2", {"profile": profile}),
    )
    networks.ready(opened(checked), checked)
    networks.sharp(theirs.pair, theirs, 2)
    (_, images, recipe), (_, others, same) = asked
    assert recipe == same
    assert images.fingerprint == others.fingerprint


def test_other_weights_are_loaded_and_trained_by_nobody(asked):
    checked = validate("rq1", {"dataset": "scenes", "network": "vgg_mini", "weights": "none"})
    network, about = networks.ready(opened(checked, 5), checked)
    assert network.class_count == 5
    assert about["weights"] == "none"
    assert networks.trained(about) == {}
    assert not asked


def test_imagenets_weights_are_for_its_own_classes():
    checked = validate("rq1", {"dataset": "imagenet", "network": "resnet18", "weights": "imagenet"})
    networks.check_classes(opened(checked, 1000))
    with pytest.raises(ValueError, match="weights 'imagenet' of resnet18 answer 1,000 classes, imagenet has 12"):
        networks.check_classes(opened(checked))
