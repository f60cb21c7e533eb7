"""RQ3: every training against every blur, and the part that scale plays."""

from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator

from blurnb import labels, provenance
from blurnb.errors import UserError
from blurnb.optics import resampling
from blurnb.recognition import models
from blurnb.study import measures, networks, parameters, similarity, specimens, stores, timing, values
from blurnb.study.classification import probabilities
from blurnb.study.comparison import Comparison, Trained
from blurnb.study.runs import Opened, Recorder, Run
from blurnb.study.treatments import Condition, Treatment


class Parameters(parameters.Trained):
    """Generalization; `train_scales` are sides with a mix network of their own."""

    experiment: ClassVar[str] = "rq3"

    train_scales: values.WholeNumbers[Annotated[int, Field(ge=labels.SMALLEST_SIDE, le=labels.LARGEST_SIDE)]] = ()

    @property
    def averaged(self) -> set[int]:
        """The sides that some scale averages."""
        return {side for scale in self.pair.scales if "+" in scale for side in labels.sides(scale)}

    @model_validator(mode="after")
    def _averaged(self):
        missing = sorted(self.averaged - set(self.train_scales))
        if missing and self.train_scales:
            scales = self.pair.scales
            raise UserError(f"train_scales={self.train_scales} lacks {missing[0]}, which scales={scales} average")
        return self

    IDLE: ClassVar[parameters.Rules] = (
        ("train_scales", lambda p: set(p.train_scales) - (p.averaged if "mix" in p.mixes else set()),
         "no average of the mix network has all of them"),
    )  # fmt: skip


REPEATS = 9


def run(parameters: Parameters) -> Run:
    """Every training against every blur at every scale; writes ``<output_dir>/rq3.csv``.

    The networks are those of RQ2. With `train_scales` the first seed trains "mix" at each of these sides too, and
    averages the class probabilities of the per-scale networks (`per_scale`).
    """
    with Recorder(parameters, "rq3") as recorder:
        (opened,) = recorder.pairs
        compared, pair, scales = Comparison(recorder, opened), opened.pair, opened.scales
        native = (str(opened.images.native_side or scales[0]),)
        averaged = [scale for scale in scales if len(labels.sides(scale)) > 1]
        for mix, seed in parameters.trainings():
            network, origin = networks.tuned(pair, parameters, mix, seed)
            wanted = scales if mix in ("sharp", "mix") else native
            compared.ask(Trained(mix, seed), network, origin, parameters.blurs, wanted)
        if "mix" in parameters.mixes:
            first, timed = parameters.train_seeds[0], [Trained("mix", parameters.train_seeds[0])]
            for seed in parameters.train_seeds:
                compared.scales(Trained("mix", seed), Trained("mix", seed))
            if averaged and parameters.train_scales:
                each = Trained("mix", first, per_scale=True)
                network, origin = _per_scale(opened, parameters, first)
                compared.ask(each, network, origin, parameters.blurs, averaged)
                compared.scales(each, Trained("mix", first))
                timed.append(each)
            _add_seconds(recorder, opened, timed, networks.tuned(pair, parameters, "mix", first)[0])
        compared.means()
    return recorder.run


def _per_scale(opened: Opened, parameters: Parameters, seed: int) -> tuple[models.PerScale, dict]:
    native = opened.images.native_side
    trained = {  # scale 0: as they are
        side: networks.tuned(opened.pair, parameters, "mix", seed, scale=0 if side == native else side)
        for side in parameters.train_scales
    }
    digests = {str(side): origin["sha256"] for side, (_, origin) in trained.items()}
    network = models.PerScale({side: network for side, (network, _) in trained.items()})
    return network.eval(), {"sha256": provenance.address(digests), "networks": digests}


def _add_seconds(recorder: Recorder, opened: Opened, timed: list[Trained], network) -> None:
    """Seconds for one image at each scale: resize and forward pass, batch 1, blur not counted.

    A network for each scale takes as long as one network for all; it is recorded for the averages alone.
    """
    images, protocol = opened.images, opened.protocol
    image = images.load(0)[None]
    if not images.native_side:
        image = resampling.resized(image, protocol.frame, protocol.resample)
    sides = sorted({side for scale in opened.scales for side in labels.sides(scale)})
    facts = {
        "task": "seconds",
        "versions": {"study.timing": timing.VERSION, **similarity.versions(network)},
        "network": network.name,
        "threads": torch.get_num_threads(),
        "image": images.ids[0],
        "sides": sides,
        "repeats": REPEATS,
        **protocol.columns(),
    }

    def answer(side: int) -> None:
        probabilities(network, resampling.resized(image, side, protocol.resample), side, protocol)

    acts = {str(side): partial(answer, side) for side in sides}
    found = stores.once(recorder.computing.store, "seconds", facts, lambda: timing.seconds(acts, REPEATS))
    run_id = recorder.ran(facts, median_least_most=found)
    for scale in opened.scales:
        value = sum(found[str(side)][0] for side in labels.sides(scale))
        for name in timed if len(labels.sides(scale)) > 1 else timed[:1]:
            here = opened.columns | name.columns() | Condition(Treatment("sharp"), scale, name.training).columns()
            recorder.add([measures.row(value, "seconds", 1, **here)], run_id)


kernels = specimens.kernels
