"""Networks ready for the study: loaded by name, or trained on the procedural scenes on first use and then kept."""

from __future__ import annotations

from pathlib import Path

from blurnb.recognition import datasets, models, scenes
from blurnb.study import finetuning

# Found by experiment so that two cores train vgg_mini in about a minute; see book/method.md, "The embedded network".
SCENES_RECIPE = finetuning.Recipe(mix="sharp", epochs=8, batch=64, learning_rate=0.05, weight_decay=5e-4)
SCENES_IMAGES = 4000
BRIEF = {"images": 512, "epochs": 2}  # "trained-briefly": enough for tests to run every path


def obtain(
    name: str, weights: str, *, store: str | Path, class_count: int = 1000, device: str = "cpu",
    small_input: str = "adaptive", precision: str = "float32",
) -> tuple[models.Network, dict]:  # fmt: skip
    """(network, what is known of its weights) for `weights`: imagenet | none | a file | trained | trained-briefly.

    "trained" is the network trained on sharp scenes; it is trained once for a store and found there ever after.
    """
    if not weights.startswith("trained"):
        network = models.load(name, weights, class_count, small_input=small_input)
        return network, {"weights": weights, "fingerprint": models.fingerprint(network)}
    network = models.load(name, "none", len(scenes.CLASSES), small_input=small_input)
    return finetuning.finetune(network, training_scenes(weights), scenes_recipe(weights), store=store, device=device,
                               title=f"training {name} on sharp scenes")  # fmt: skip


def training_scenes(weights: str) -> datasets.Dataset:
    """The scenes that "trained" (or "trained-briefly") networks learn from."""
    return datasets.load("scenes", split="train", n_images=SCENES_IMAGES if weights == "trained" else BRIEF["images"])


def scenes_recipe(weights: str, **changed) -> finetuning.Recipe:
    """The recipe of the sharp network of the scenes, with the fields that `changed` names."""
    brief = {} if weights == "trained" else {"epochs": BRIEF["epochs"]}
    return finetuning.Recipe(**{**finetuning.asdict(SCENES_RECIPE), **brief, **changed})
