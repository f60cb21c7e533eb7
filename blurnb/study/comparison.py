"""Networks that differ in their training, asked the same questions: their rows, and how they differ, image by image."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from blurnb import labels, samples
from blurnb.study import answers, classification, means, measures, treatments
from blurnb.study.classification import Classification
from blurnb.study.runs import Opened, Recorder
from blurnb.study.treatments import Condition

RIVALS = ("sharp", "defocus", "shake")
"""Trainings from which the others' paired differences are recorded."""


class Trained(NamedTuple):
    """A network of a training, as records name it. `per_scale`: one network for each scale, averaged."""

    training: str
    seed: int
    frozen: str = "none"
    per_scale: bool = False

    def columns(self) -> dict:
        """These facts as columns of the records."""
        named = {"training": self.training, "train_seed": self.seed}
        return {**named, "frozen": self.frozen, "per_scale": self.per_scale}


def asked(
    recorder: Recorder, opened: Opened, task: Classification, conditions: Sequence[Condition], origin: Mapping, **about
) -> tuple[dict[Condition, pd.DataFrame], str]:
    """(answers by condition, run_id) of a task; `origin` and `about` go into the manifest, `title` onto the screen."""
    title = about.pop("title", f"{recorder.experiment}: {opened.pair.network} on {opened.images.name}")
    found = answers.gather(opened.images, conditions, task, recorder.computing, title=title)
    run_id = recorder.ran(means.decided(found.decided), origin, **found.circumstances, **about)
    return classification.tables(opened.images, found), run_id


class Comparison:
    """The networks of one chapter on the images of one pair, in the order in which they are asked."""

    def __init__(self, recorder: Recorder, opened: Opened):
        self.recorder, self.opened = recorder, opened
        self.tables: dict[Trained, dict[Condition, pd.DataFrame]] = {}
        self._runs: dict[Trained, str] = {}

    def ask(self, name: Trained, network, origin: Mapping, blurs: Sequence[str], scales: Sequence[str]) -> None:
        """Answers of a network, as rows, with its differences from the rivals that were asked before."""
        opened, recorder = self.opened, self.recorder
        task = Classification({name.training: network}, opened.protocol, recorder.computing.batch)
        conditions = treatments.conditions(blurs, scales, name.training, recorder.parameters.rounding)
        title = f"{recorder.experiment}: {name.training}" + (f", seed {name.seed}" if name.seed else "")
        tables, run_id = asked(recorder, opened, task, conditions, origin, title=title)
        self.tables[name], self._runs[name] = tables, run_id
        recorder.add(measures.summary(tables, {**opened.columns, **name.columns()}), run_id)
        for training in RIVALS:
            rival = Trained(training, name.seed)
            if rival != name and rival in self.tables:
                pairs = ((one, one._replace(training=training)) for one in tables)
                recorder.add(self._differences(name, rival, pairs), run_id)

    def scales(self, name: Trained, rival: Trained) -> None:
        """The averaged scales of a network against the first scale of each, as the network `rival` answers it."""
        pairs = (
            (one, one._replace(scale=str(labels.sides(one.scale)[0]), training=rival.training))
            for one in self.tables[name]
            if len(labels.sides(one.scale)) > 1
        )
        self.recorder.add(self._differences(name, rival, pairs), self._runs[name])

    def _differences(self, name: Trained, rival: Trained, pairs: Iterable[tuple[Condition, Condition]]) -> list[dict]:
        rows = []
        for mine, theirs in pairs:
            if theirs in self.tables[rival]:
                sides = ((name, mine), (rival, theirs))
                here, there = ({**self.opened.columns, **who.columns(), **what.columns()} for who, what in sides)
                rows += measures.difference(self.tables[name][mine], self.tables[rival][theirs], here, there)
        return rows

    def means(self) -> None:
        """Rows over several blurs and, from three seeds on, over these; for when all networks have been asked."""
        about = {"network": self.opened.pair.network, "dataset": self.opened.images.name}
        run_id = self.recorder.ran(means.decided({"task": "means", "runs": sorted(self._runs.values()), **about}))
        tables = dict(zip(self.tables, means.common(list(self.tables.values()))))

        def side(names: Sequence[Trained], scale: str) -> means.Side | None:
            if not all(any(one.scale == scale for one in tables.get(name, ())) for name in names):
                return None
            return means.side([tables[name] for name in names], scale, {**self.opened.columns, **names[0].columns()})

        for names in self._alike():
            for scale in dict.fromkeys(one.scale for one in tables[names[0]]):
                mine, own = side(names, scale), [name._replace(per_scale=False) for name in names]
                rivals = {each: [name._replace(training=each, frozen="none") for name in own] for each in RIVALS}
                others = {each: side(rival, scale) for each, rival in rivals.items() if rival != names}
                if len(labels.sides(scale)) > 1:
                    others["one scale"] = side(own, str(labels.sides(scale)[0]))
                there = {each: other for each, other in others.items() if other is not None}
                self.recorder.add(means.of_network(mine, there.get("sharp"), list(there.values())), run_id)

    def _alike(self) -> list[list[Trained]]:
        """Networks that differ in their seeds alone, where they are enough for the spread of seeds to be estimated."""
        alike: dict[Trained, list[Trained]] = {}
        for name in self.tables:
            alike.setdefault(name._replace(seed=0), []).append(name)
        return [
            part
            for names in alike.values()
            for part in ([names] if len(names) >= samples.LEAST_SEEDS else [[name] for name in names])
        ]

    def calibration(self, name: Trained, scale: str) -> None:
        """Accuracy by confidence of a network at one scale, under every blur."""
        tables = {one: part for one, part in self.tables[name].items() if one.scale == scale}
        shared = {**self.opened.columns, **name.columns()}
        self.recorder.add(measures.of_bins(tables, shared), self._runs[name])
