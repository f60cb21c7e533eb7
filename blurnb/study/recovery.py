"""RQ2: whether training on blurred images recovers what blur took, and what it does to the layers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from blurnb import intervals, records
from blurnb.recognition import datasets
from blurnb.study import degradation, evaluation, invariance, networks, stores
from blurnb.study.profiles import RQ2, Trained


def run(parameters: RQ2) -> degradation.Run:
    """Train what is missing, evaluate all, compare layers; writes ``<output_dir>/rq2.csv``.

    Trainings: each of `mixes`, for each of `train_seeds`; "mix" again with the first blocks frozen. All start
    from the sharp network of the same seed and take the same number of further steps, "sharp" too.
    """
    book = Book(parameters, "rq2")
    invariance.check(book.dataset)  # before hours of training, not after
    scales = degradation.scales_for(book.dataset, parameters.scales)
    for mix, seed in parameters.trainings():
        book.add(mix, seed, networks.tuned(parameters, mix, seed), parameters.blurs, scales)
    first = parameters.train_seeds[0]
    for count in parameters.frozen if "mix" in parameters.mixes else ():
        frozen = networks.tuned(parameters, "mix", first, frozen=count)
        name = f"mix, {count} block{'s' if count > 1 else ''} frozen"
        book.add(name, first, frozen, parameters.blurs, scales)
    for mix in ("sharp", "mix"):
        if mix in parameters.mixes:
            book.add_layers(mix, first, networks.tuned(parameters, mix, first), scales[0])
    return book.closed()


def calibration(run: degradation.Run, blurs: list[str], trainings: tuple[str, ...] = ("sharp", "mix")) -> dict:
    """`intervals.reliability` of each training (its first seed) under each blur at the first scale, by "mix, D8"."""
    curves = {}
    for blur in blurs:
        for training in trainings:
            answers = next((a for (name, _), a in run.answers.items() if name == training), None)
            if answers is None:
                continue
            here = answers[(answers["blur"] == blur) & (answers["scale"] == answers["scale"].iloc[0])]
            if len(here):
                sure = here["confidence"].clip(0, 1).to_numpy()
                curves[f"{training}, {blur}"] = intervals.reliability(sure, here["top1"].to_numpy(), bins=10)
    return curves


class Book:
    """The records of one chapter while its networks are evaluated one after another."""

    def __init__(self, parameters: Trained, question: str):
        self.parameters, self.question = parameters, question
        self.dataset = degradation.opened_dataset(
            parameters.dataset[0], parameters.evidence()[0]["n_images"], parameters
        )
        self.protocol = parameters.protocol()
        self.shared = {
            "question": question,
            "dataset": degradation.dataset_label(self.dataset, self.protocol),
            "network": parameters.network[0],
            "profile": parameters.profile,
        }
        self.rows: list[dict] = []
        self.manifests: dict[str, dict] = {}
        self.answers: dict[tuple[str, int], pd.DataFrame] = {}

    def add(self, training: str, seed: int, trained, blurs: list[str], scales: list[str]) -> None:
        """Evaluate a network; rows for it, and its paired differences from the networks that were added before."""
        network, origin = trained
        title = f"{self.question}: {training}" + (f", seed {seed}" if seed else "")
        found, circumstances = degradation.evaluate(
            self.parameters, network, self.dataset, scales, self.protocol, blurs, title
        )
        shared = self._registered(circumstances.pop("facts"), origin, circumstances) | {
            "training": training,
            "seed": seed,
        }
        self.rows += evaluation.summarise(found, self.protocol, **self.shared, **shared)
        for rival in ("sharp", "defocus", "shake"):
            other = self.answers.get((rival, seed))
            if other is not None and rival != training:
                self.rows += self._differences(found, other, f"{rival} network", shared)
        self.answers[training, seed] = found

    def _registered(self, facts: dict, origin: dict, circumstances: dict) -> dict:
        """The run_id of what `facts` and the chosen images decide, with its manifest kept."""
        decided = facts | {"n": len(self.dataset), "selection": self.dataset.fingerprint}
        run_id = records.address(decided)
        origin = {k: v for k, v in origin.items() if k != "weights"}
        self.manifests[run_id] = records.manifest(decided, network_origin=origin, **circumstances)
        return {"run_id": run_id}

    def _differences(self, found: pd.DataFrame, other: pd.DataFrame, against: str, shared: dict) -> list[dict]:
        rows = []
        theirs = {key: part.set_index("image") for key, part in other.groupby(["scale", "blur"], sort=False)}
        for (scale, blur), part in found.groupby(["scale", "blur"], sort=False):
            if (scale, blur) in theirs:
                rows += evaluation.changes(
                    part.set_index("image"), theirs[scale, blur], self.protocol, against,
                    scale=scale, blur=blur, **self.shared, **shared,
                )  # fmt: skip
        return rows

    def add_scale_differences(
        self, training: str, seed: int, single: str, against: str, rival: str | None = None
    ) -> None:
        """Paired differences of the averaged scales of `training` from `rival` (itself) at one scale."""
        mine, theirs = self.answers[training, seed], self.answers[rival or training, seed]
        theirs = theirs[theirs["scale"] == single]
        run_id = self._run_of(training, seed)
        for scale, part in mine.groupby("scale", sort=False):
            if "+" not in scale or single not in scale.split("+"):
                continue
            other = theirs.assign(scale=scale)
            self.rows += self._differences(part, other, against, {"training": training, "seed": seed, "run_id": run_id})

    def _run_of(self, training: str, seed: int) -> str:
        return next(r["run_id"] for r in self.rows if (r["training"], r["seed"]) == (training, seed))

    def add_layers(self, training: str, seed: int, trained, scale: str) -> None:
        """Similarity of every layer's answers to sharp images and their blurred twins."""
        network, origin = trained
        parameters = self.parameters
        images = datasets.sample(self.dataset, min(parameters.layer_images, len(self.dataset)), parameters.seed)
        side = evaluation.scale_parts(scale)[0]
        facts = {"invariance": invariance.VERSION, "weights": origin["sha256"], "data": images.fingerprint,
                 "network": network.name, "side": side, "blurs": parameters.layer_blurs,
                 **evaluation.asdict(self.protocol)}  # fmt: skip
        shared = self._registered(facts, origin, {"device": parameters.device})

        def compute() -> list:
            found = invariance.compare(
                network, images, parameters.layer_blurs, self.protocol, device=parameters.device,
                side=0 if side == images.native_side else side, title=f"layers: {training}",
            )  # fmt: skip
            return [[layer, blur, measures] for (layer, blur), measures in found.items()]

        compared = stores.once(datasets.cache_folder(), "layers", facts, compute)
        self.rows += invariance.rows(
            compared, **self.shared, **shared, training=training, seed=seed, scale=scale, n=len(images)
        )

    def closed(self) -> degradation.Run:
        """Write ``<output_dir>/<question>.csv`` and return the run, its answers by (training, seed)."""
        path = Path(self.parameters.output_dir) / f"{self.question}.csv"
        records.write(path, self.rows, self.manifests)
        return degradation.Run(records.table(self.rows), self.manifests, self.answers)
