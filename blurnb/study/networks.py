"""Networks ready for the study: loaded by name, or trained once for a store and found there ever after."""

from __future__ import annotations

from blurnb import files
from blurnb.recognition import datasets, models
from blurnb.study import finetuning, profiles, recipes

TRAINED = {"scenes": "embedded", "scenes-smoke": "smoke"}
"""Weights known by name: the sharp network that RQ2 trains in that profile."""


def ready(name: str, weights: str, class_count: int, parameters: profiles.Evaluated) -> tuple[models.Network, dict]:
    """A network with its weights, trained first where they are the study's own.

    Parameters
    ----------
    name, class_count : as of `models.load`; weights in TRAINED bring their own.
    weights : imagenet | none | hed | scenes | scenes-smoke | a file.
    parameters : of the chapter; device, seed and small_input act.

    Returns
    -------
    (network, what is known of its weights)
    """
    if weights in TRAINED:
        given = {"profile": TRAINED[weights], "device": parameters.device}
        return sharp(profiles.validate("rq2", given), parameters.seed)
    network = models.load(name, weights, class_count, small_input=parameters.small_input)
    return network, {"weights": weights, "fingerprint": models.fingerprint(network)}


def training_images(parameters: profiles.Trained) -> datasets.Dataset:
    """The images that networks learn from: the training split of the chapter's data set."""
    return datasets.load(
        parameters.dataset[0], parameters.data_root or None, split="train", n_images=parameters.train_images, seed=0
    )


def recipe(parameters: profiles.Trained, **changed) -> recipes.Recipe:
    """The fields that all trainings of a chapter share, and those that `changed` names."""
    shared = {
        "batch": parameters.train_batch,
        "weight_decay": parameters.weight_decay,
        "max_shift": parameters.max_shift,
        "warmup": parameters.warmup,
        "optimizer": parameters.optimizer,
        "augmentation": parameters.augmentation,
        "frame": parameters.frame,
        "border": parameters.border,
        "precision": parameters.protocol().precision,
    }
    return recipes.Recipe(**{**shared, **changed})


def sharp(parameters: profiles.Trained, seed: int) -> tuple[models.Network, dict]:
    """The network every other starts from: trained on sharp images alone."""
    images = training_images(parameters)
    network = models.load(
        parameters.network[0], parameters.weights[0], len(images.classes), small_input=parameters.small_input
    )
    return _finetuned(
        network,
        images,
        recipe(
            parameters,
            mix="sharp",
            epochs=parameters.base_epochs,
            learning_rate=parameters.base_learning_rate,
            frozen_blocks=parameters.base_frozen,
            seed=seed,
        ),
        parameters,
        f"training {network.name} on sharp {images.name}, seed {seed}",
    )


def tuned(
    parameters: profiles.Trained, mix: str, seed: int, *, frozen: int = 0, scale: int = 0
) -> tuple[models.Network, dict]:
    """The sharp network, trained further on `mix` (also "sharp", so that all have had the same number of steps).

    Parameters
    ----------
    mix : a name in `optics.MIXES`, a label, or several joined by "+", equally likely.
    seed : of both trainings.
    frozen : the first so many blocks keep the sharp network's weights.
    scale : shorter side of the training images, pixels; 0 keeps small images as they are.
    """
    network, _ = sharp(parameters, seed)
    changed = {"epochs": parameters.epochs, "learning_rate": parameters.learning_rate, "seed": seed}
    changed |= {"mix": mix.split("+") if "+" in mix else mix, "frozen_blocks": frozen, "scale": scale}
    title = f"fine-tuning on {mix}, seed {seed}" + (f", {frozen} blocks frozen" if frozen else "")
    return _finetuned(network, training_images(parameters), recipe(parameters, **changed), parameters, title)


def _finetuned(network, images, chosen, parameters, title):
    return finetuning.finetune(
        network,
        images,
        chosen,
        store=files.cache_folder(),
        device=parameters.device,
        workers=parameters.train_workers,
        title=title,
    )
