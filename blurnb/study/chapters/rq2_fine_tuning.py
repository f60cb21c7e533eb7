"""RQ2: what fine-tuning on blur recovers, what it does to the layers, and where the loss comes from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from blurnb import labels
from blurnb.recognition import datasets
from blurnb.study import networks, parameters, recipes, similarity, specimens, stores, values
from blurnb.study.comparison import Comparison, Trained
from blurnb.study.runs import Opened, Recorder, Run


class Parameters(parameters.Trained):
    """Fine-tuning; `frozen` are numbers of first blocks that keep their weights while a network learns the mix."""

    experiment: ClassVar[str] = "rq2"

    layer_blurs: parameters.Blurs
    layer_images: int = Field(256, ge=8)
    frozen: values.WholeNumbers[Annotated[recipes.FrozenBlocks, Field(ge=1)]] = ()

    IDLE: ClassVar[parameters.Rules] = (
        *((name, lambda p: not {"sharp", "mix"} & set(p.mixes), "layers are compared of sharp and mix alone")
          for name in ("layer_blurs", "layer_images")),
        ("frozen", lambda p: "mix" not in p.mixes, "blocks are kept while the mix is learnt"),
    )  # fmt: skip


def run(parameters: Parameters) -> Run:
    """Train what is missing, evaluate all, compare layers; writes ``<output_dir>/rq2.csv``.

    Trainings: each of `mixes`, for each of `train_seeds`; "mix" again with its first blocks held. All start
    from the sharp network of the same seed and take the same number of further steps, "sharp" too.
    """
    with Recorder(parameters, "rq2") as recorder:
        (opened,) = recorder.pairs
        similarity.check(opened.images)  # before hours of training, not after
        compared, pair = Comparison(recorder, opened), opened.pair
        first = parameters.train_seeds[0]
        for mix, seed in parameters.trainings():
            network, origin = networks.tuned(pair, parameters, mix, seed)
            compared.ask(Trained(mix, seed), network, origin, parameters.blurs, opened.scales)
        for count in parameters.frozen if "mix" in parameters.mixes else ():
            network, origin = networks.tuned(pair, parameters, "mix", first, frozen=count)
            compared.ask(Trained("mix", first, str(count)), network, origin, parameters.blurs, opened.scales)
        compared.means()
        for mix in ("sharp", "mix"):
            if mix in parameters.mixes:
                name = Trained(mix, first)
                compared.calibration(name, opened.scales[0])
                readable = replace(opened, images=_answered(opened.images, compared.tables[name]))
                _compare_layers(recorder, readable, name, *networks.tuned(pair, parameters, mix, first))
    return recorder.run


def _answered(images: datasets.Dataset, tables: Mapping) -> datasets.Dataset:
    """The images without those that could not be read."""
    known = set(next(iter(tables.values())).index)
    chosen = [place for place, identity in enumerate(images.ids) if identity in known]
    return images if len(chosen) == len(images) else datasets.subset(images, chosen)


def _compare_layers(recorder: Recorder, opened: Opened, name: Trained, network, origin) -> None:
    """Similarity of every layer's answers to sharp images and their blurred twins, at the first scale."""
    parameters, protocol = recorder.parameters, opened.protocol
    images = datasets.sample(opened.images, min(parameters.layer_images, len(opened.images)), parameters.seed)
    (side, *_) = labels.sides(opened.scales[0])
    decided = {
        "task": "similarity",
        "versions": similarity.versions(network),
        "weights": origin["sha256"],
        "network": network.name,
        "data": images.fingerprint,
        "side": side,
        "blurs": parameters.layer_blurs,
        "n": len(images),
        "selection": images.fingerprint,
        **protocol.columns(),
    }
    run_id = recorder.ran(decided, origin, device=parameters.device)

    def compute() -> list:
        found = similarity.compare(
            network, images, parameters.layer_blurs, protocol, device=parameters.device,
            side=0 if side == images.native_side else side, title=f"layers: {name.training}",
        )  # fmt: skip
        return [[layer, blur, measured] for (layer, blur), measured in found.items()]

    compared = stores.once(recorder.computing.store, "layers", decided, compute)
    undisturbed = {"rounding": "none", "noise_sd": 0.0, "method": "none", "kernel": "none"}
    shared = opened.columns | name.columns() | undisturbed | {"scale": opened.scales[0], "n": len(images)}
    shared = {column: value for column, value in shared.items() if column not in ("view", "flip")}
    recorder.add(similarity.rows(compared, shared), run_id)


examples = specimens.examples
