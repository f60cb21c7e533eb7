"""How robust is one network, anybody's: its answers to one's own photographs, from which a card is drawn."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from blurnb import labels
from blurnb.errors import UserError
from blurnb.optics import camera
from blurnb.recognition import custom, datasets, families, models
from blurnb.study import classification, comparison, measures, parameters, treatments, values
from blurnb.study.classification import Classification
from blurnb.study.means import of_tables
from blurnb.study.runs import Opened, Recorder, Run


class Pair(parameters.Pair):
    """`network` is a name, a TorchScript or torch.export file, or module:function; `dataset` "auto" is imagenet where
    every class folder is a WordNet id, else folder; an n_images beyond the set means all."""

    dataset: Annotated[str, values.one_of("auto", *datasets.NAMES)]
    # else a place; what is there, and whether it loads, is seen later
    network: Annotated[str, values.one_of(*models.names(), unless=lambda word: ":" in word or values.is_file(word))]


class Parameters(parameters.Evaluated):
    """One network that may be anybody's, on photographs sorted into folders, and the camera that takes them."""

    experiment: ClassVar[str] = "card"
    takes_one: ClassVar[str] = "a card is about one network"

    pairs: tuple[Pair, ...]
    blurs: Annotated[
        parameters.Blurs,
        AfterValidator(lambda blurs: values.distinct(("sharp", *blurs))),
        values.where(lambda blurs: len(blurs) > 1, "give at least one blur beside sharp"),
    ]
    mean: values.Text = ""
    std: values.Text = ""
    focal_length_mm: float = Field(50, gt=0, le=1e5)
    f_number: float = Field(1.8, gt=0, le=1e4)
    focus_distance_m: float = Field(1.0, gt=0, le=1e9)
    sensor_height_mm: float = Field(24, gt=0, le=1e4)
    exposure_s: float = Field(0.02, gt=0, le=1e5)

    IDLE: ClassVar[parameters.Rules] = (
        ("weights", lambda p: p.pair.network not in models.names(), "a file or a function has its own"),
    )


TRAINING = "as given"
CAMERA = ("focal_length_mm", "f_number", "focus_distance_m", "sensor_height_mm", "exposure_s")


def run(parameters: Parameters) -> Run:
    """Evaluate the network under every blur and scale; writes ``<output_dir>/card.csv`` and its manifest."""
    with Recorder(parameters, "card", opened_images) as recorder:
        (opened,) = recorder.pairs
        network = _network(opened, parameters)
        task = Classification({TRAINING: network}, opened.protocol, recorder.computing.batch)
        conditions = treatments.conditions(parameters.blurs, opened.scales, TRAINING, parameters.rounding)
        own = opened.pair.network in models.names()
        weights = opened.columns["weights"] if own else "own"
        about = {
            "normalisation": {"mean": network.mean.flatten().tolist(), "std": network.std.flatten().tolist()},
            "classes": network.class_count,
            "camera": camera.situations(**{name: getattr(parameters, name) for name in CAMERA}),
        }
        origin = {"source": opened.pair.network, "weights": weights}
        tables, run_id = comparison.asked(recorder, opened, task, conditions, origin, **about)
        answered = tables[conditions[0]]["label"]  # of an image that cannot be read no network says the class
        recorder.manifests[run_id]["most_frequent_class"] = float(answered.value_counts(normalize=True).iloc[0])
        shared = opened.columns | {"network": network.name, "weights": weights}
        recorder.add(measures.summary(tables, shared, opened.images.classes), run_id)
        recorder.add(of_tables(tables, shared, network.class_count), run_id)
    return recorder.run


def opened_images(parameters: Parameters, pair, split: str = "") -> datasets.Dataset:
    """Of the photographs below `data_root` so many as are asked for; "auto" is imagenet where every class folder is a
    WordNet id, else folder."""
    root = parameters.data_root or None
    if pair.dataset == "auto":
        try:
            found = datasets.load("imagenet", root)
        except UserError:
            found = datasets.load("folder", root)  # which says what it misses, if anything
    else:
        found = datasets.load(pair.dataset, root, split="test" if pair.dataset == "scenes" else "val")
    return datasets.sample(found, min(pair.n_images, len(found)), parameters.seed)


def _network(opened: Opened, parameters: Parameters) -> models.Network:
    """The network, checked against the classes of the data before anything is computed."""
    pair, count = opened.pair, len(opened.images.classes)
    if pair.network in models.names() and pair.weights in families.OF_IMAGENET and count != 1000:
        raise UserError(
            f"{pair.network} with ImageNet weights answers 1,000 classes, {opened.images.name} {parameters.data_root} "
            f"has {count}; name the class folders by WordNet id (n01440764 ...), or give the weights file of a network "
            "trained on them, or weights none for a random one"
        )
    given = {name: getattr(parameters, name) for name in ("mean", "std", "small_input")}
    sides = {side for scale in opened.scales for side in labels.sides(scale)}
    given["sides"] = [classification.looked_at(side, opened.protocol) for side in sides]
    return custom.load(pair.network, pair.weights, count, **given)
