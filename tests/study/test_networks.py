"""Networks ready for a chapter: what parameters say reaches the recipe, and names stand for trainings."""

import pytest

from blurnb.study import finetuning, networks, profiles


@pytest.fixture
def asked(monkeypatch) -> list:
    """(start, images, recipe) of every training that is asked for; none takes place."""
    found = []

    def finetune(network, images, recipe, **_):
        found.append((network, images, recipe))
        return network.eval(), {"weights": "nowhere"}

    monkeypatch.setattr(finetuning, "finetune", finetune)
    return found


def test_the_recipe_says_what_the_parameters_say():
    given = {"train_batch": 16, "weight_decay": 0.3, "max_shift": 2, "warmup": 0.1, "optimizer": "sgd"}
    given |= {"augmentation": "flip", "frame": 256, "border": "circular", "precision": "bf16"}
    recipe = networks.recipe(profiles.validate("rq2", given), mix="D8", epochs=9)
    assert recipe.batch == 16
    assert (recipe.mix, recipe.epochs) == ("D8", 9)
    for name in given.keys() - {"train_batch"}:
        assert getattr(recipe, name) == given[name], name


def test_a_tuned_network_goes_on_from_the_sharp_one(asked):
    parameters = profiles.validate("rq2", {"profile": "smoke", "base_frozen": 1})
    networks.tuned(parameters, "D4+shake", 3, frozen=2, scale=48)
    (_, images, first), (_, again, second) = asked
    assert len(images) == len(again) == parameters.train_images
    assert (first.mix, first.epochs, first.frozen_blocks, first.scale) == ("sharp", parameters.base_epochs, 1, 0)
    assert first.learning_rate == parameters.base_learning_rate
    assert (second.mix, second.epochs, second.frozen_blocks) == (["D4", "shake"], parameters.epochs, 2)
    assert (second.scale, second.learning_rate) == (48, parameters.learning_rate)
    assert first.seed == second.seed == 3


@pytest.mark.parametrize("name, profile", networks.TRAINED.items())
def test_weights_by_name_are_the_sharp_network_of_rq2(asked, name, profile):
    parameters = profiles.validate("rq1", {"dataset": "scenes", "seed": 2})
    networks.ready("vgg_mini", name, 12, parameters)
    networks.sharp(profiles.validate("rq2", {"profile": profile}), 2)
    (_, images, recipe), (_, theirs, same) = asked
    assert recipe == same
    assert images.fingerprint == theirs.fingerprint


def test_other_weights_are_loaded_and_trained_by_nobody(asked):
    network, about = networks.ready("vgg_mini", "none", 5, profiles.validate("rq1", {"dataset": "scenes"}))
    assert network.class_count == 5
    assert about["weights"] == "none"
    assert not asked
