"""Networks ready for a chapter: loaded by name, or trained once for a store and found there ever after."""

from collections.abc import Mapping

from blurnb.errors import UserError
from blurnb.recognition import families, models
from blurnb.study import finetuning
from blurnb.study import parameters as chapter
from blurnb.study.parameters import Evaluated, Pair, Trained
from blurnb.study.runs import Opened, opened_images


def ready(opened: Opened, parameters: Evaluated, class_count: int = 0) -> tuple[models.Network, dict]:
    """(network, what is known of its weights) of a pair, for its images' classes or for `class_count`."""
    pair = opened.pair
    if pair.weights in chapter.SCENES:
        training = chapter.scenes_training(pair.weights, parameters.device)
        return sharp(training.pair, training, parameters.seed)
    count = class_count or max(2, len(opened.images.classes))
    network = models.load(pair.network, pair.weights, count, small_input=parameters.small_input)
    return network, {"weights": pair.weights, "fingerprint": models.fingerprint(network)}


def trained(origin: Mapping) -> dict:
    """The seed of a network's training as a column, where it was trained here; `origin` is what is known of it."""
    return {"train_seed": origin["facts"]["seed"]} if "facts" in origin else {}


def check_classes(opened: Opened) -> None:
    """Raise UserError for ImageNet's weights on other classes than its 1,000, where a network would be guessing."""
    pair, count = opened.pair, len(opened.images.classes)
    if pair.weights in families.OF_IMAGENET and count != 1000:
        raise UserError(
            f"weights {pair.weights!r} of {pair.network} answer 1,000 classes, {opened.images.name} has {count}; "
            "fine-tune first (chapter rq2), or give the weights file of a network trained on these classes"
        )


def sharp(pair: Pair, parameters: Trained, seed: int, images=None) -> tuple[models.Network, dict]:
    """The network every other starts from: trained on sharp images alone, `images` where they are open already."""
    images = opened_images(parameters, pair, "train") if images is None else images
    network = models.load(pair.network, pair.weights, len(images.classes), small_input=parameters.small_input)
    recipe = parameters.recipe(pair, base=True, frozen_blocks=parameters.base_frozen, seed=seed)
    title = f"training {network.name} on sharp {images.name}, seed {seed}"
    return finetuning.finetune(network, images, recipe, **parameters.fitting(title))


def tuned(
    pair: Pair, parameters: Trained, mix: str, seed: int, *, frozen: int = 0, scale: int = 0
) -> tuple[models.Network, dict]:
    """The sharp network, trained further on `mix` (also "sharp", so that all have had the same number of steps).

    `mix` is a name in `optics.MIXES`, a label, or several joined by "+", equally likely.
    """
    images = opened_images(parameters, pair, "train")
    network, _ = sharp(pair, parameters, seed, images)
    recipe = parameters.recipe(pair, mix=mix, frozen_blocks=frozen, scale=scale, seed=seed)
    title = f"fine-tuning on {mix}, seed {seed}" + (f", {frozen} first blocks kept" if frozen else "")
    return finetuning.finetune(network, images, recipe, **parameters.fitting(title))
