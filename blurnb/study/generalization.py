"""RQ3: whether robustness carries over to blurs that were not trained on, and the part that scale plays."""

from __future__ import annotations

import statistics
import time

import torch

from blurnb import records
from blurnb.optics import resampling
from blurnb.recognition import datasets, models
from blurnb.study import degradation, evaluation, networks, stores
from blurnb.study.profiles import RQ3
from blurnb.study.recovery import Book


def run(parameters: RQ3) -> degradation.Run:
    """Every training against every blur at every scale; writes ``<output_dir>/rq3.csv``.

    The networks are those of RQ2. With `train_scales` the first seed trains "mix" at each of these sides too, and
    averages the class probabilities of the per-scale networks ("mix per scale").
    """
    book = Book(parameters, "rq3")
    scales = degradation.scales_for(book.dataset, parameters.scales)
    native = str(book.dataset.native_side or scales[0])
    averaged = [scale for scale in scales if "+" in scale]
    for mix, seed in parameters.trainings():
        wanted = scales if mix in ("sharp", "mix") else [native]
        book.add(mix, seed, networks.tuned(parameters, mix, seed), parameters.blurs, wanted)
    if "mix" not in parameters.mixes:
        return book.closed()
    for seed in parameters.train_seeds:
        for scale in averaged:
            single = scale.split("+")[0]
            book.add_scale_differences("mix", seed, single, f"scale {single}")
        if averaged and parameters.train_scales and seed == parameters.train_seeds[0]:
            each = _per_scale(parameters, seed, book.dataset.native_side)
            name = "mix per scale"
            book.add(name, seed, each, parameters.blurs, averaged)
            for scale in averaged:
                single = scale.split("+")[0]
                book.add_scale_differences(name, seed, single, f"mix at scale {single}", rival="mix")
    _add_seconds(book, networks.tuned(parameters, "mix", parameters.train_seeds[0])[0], scales)
    return book.closed()


def _per_scale(parameters: RQ3, seed: int, native_side: int | None) -> tuple[models.PerScale, dict]:
    trained = {
        side: networks.tuned(parameters, "mix", seed, scale=0 if side == native_side else side)  # 0: as the images are
        for side in parameters.train_scales
    }
    digests = {str(side): origin["sha256"] for side, (_, origin) in trained.items()}
    network = models.PerScale({side: network for side, (network, _) in trained.items()})
    return network.eval(), {"sha256": records.address(digests), "networks": digests}


def _add_seconds(book: Book, network: models.Network, scales: list[str]) -> None:
    """Seconds a network takes for one image at each scale: median of repeats, batch 1, blur not counted."""
    image = book.dataset.load(0)[None]
    if not book.dataset.native_side:
        image = resampling.resized(image, book.protocol.frame)
    facts = {"seconds": 1, "network": network.name, "threads": torch.get_num_threads(), "image": book.dataset.ids[0]}
    facts |= evaluation.asdict(book.protocol)
    run_id = records.address(facts)
    sides = sorted({side for scale in scales for side in evaluation.scale_parts(scale)})
    found = stores.once(
        datasets.cache_folder(),
        "seconds",
        facts | {"sides": sides},
        lambda: {str(side): seconds(network, image, side, book.protocol) for side in sides},
    )
    book.manifests[run_id] = records.manifest(facts, repeats=REPEATS)
    for scale in scales:
        value = sum(found[str(side)] for side in evaluation.scale_parts(scale))
        for training in ("mix", "mix per scale") if "+" in scale else ("mix",):
            book.rows.append(
                records.row(**book.shared, training=training, scale=scale, blur="sharp", view=book.protocol.view_name,
                            metric="seconds", value=value, n=1, seed=book.protocol.seed, run_id=run_id)
            )  # fmt: skip


REPEATS = 9


def seconds(network: models.Network, image: torch.Tensor, side: int, protocol: evaluation.Protocol) -> float:
    """Median seconds of the resize and the forward pass of one image (1, 3, H, W) at one scale."""
    taken = []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            evaluation.probabilities(network, image, side, protocol)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])
