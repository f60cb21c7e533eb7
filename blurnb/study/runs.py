"""Runs: what a chapter opens, records and hands to the account; run_id and manifest are made here alone."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import pandas as pd

from blurnb import intervals, provenance, records
from blurnb.errors import UserError
from blurnb.recognition import contents, datasets
from blurnb.study import measures
from blurnb.study.answers import Computing
from blurnb.study.parameters import WEIGHTS, Evaluated, Pair, Trained, is_enlarged
from blurnb.study.protocol import Protocol

OWN = "own"  # weights that are a file of the user's
PUBLISHED_TWICE = 0.01  # of the test images of a published set


@dataclass(frozen=True)
class Opened:
    """A pair of the parameters with its images and protocol, its scales in pixels, and the columns its rows share."""

    pair: Pair
    images: object
    protocol: Protocol
    scales: tuple[str, ...]
    columns: Mapping

    @property
    def place(self) -> dict:
        """Whose rows these are: what tells the pairs of a run apart."""
        return {name: self.columns[name] for name in ("network", "dataset", "folder", "frame")}

    def under(self, protocol: Protocol) -> Self:
        """The same pair under another protocol."""
        return replace(self, protocol=protocol, columns={**self.columns, **protocol.columns()})


class Run(NamedTuple):
    """What a chapter shows: its records, their manifests, and whose they are."""

    rows: pd.DataFrame
    manifests: dict[str, dict]
    pairs: tuple[Opened, ...]

    def of(self, place: int) -> pd.DataFrame:
        """The records of one pair, by its place in the run (0 first, -1 last), and those of its images alone."""
        kept = pd.Series(True, index=self.rows.index)
        for name, value in self.pairs[place].place.items():
            mine = self.rows[name] == value
            kept &= mine | (self.rows[name] == "") if name == "network" else mine  # psnr is of no network
        return self.rows[kept.fillna(False).to_numpy(dtype=bool)]


class Recorder:
    """The records of one experiment while its networks are asked; written on leaving, all or nothing.

    Use it as ``with Recorder(parameters, "rq1") as recorder: ...``; after it `recorder.run` is the `Run`.

    Pairs are opened, by `opener(parameters, pair)`, before anything is computed, and photographs refused that are both
    learnt from and tested on. Under book/records a changed working
    tree is refused at once (UserError).
    """

    def __init__(self, parameters: Evaluated, experiment: str, opener: Callable | None = None):
        provenance.demand_clean(parameters.output_dir)
        experiment += "-validation" if parameters.on_validation else ""
        self.parameters, self.experiment = parameters, experiment
        opener = opener or opened_images
        self.pairs = tuple(opened(parameters, experiment, pair, opener(parameters, pair)) for pair in parameters.pairs)
        for one in self.pairs:
            if isinstance(parameters, Trained) and one.pair in parameters.learning and one.images.files:
                _demand_apart(opener(parameters, one.pair, "train"), one.images)
        self.computing = Computing(**parameters.computing())
        self.manifests: dict[str, dict] = {}
        self._rows: list[dict] = []
        self.run = Run(records.table([]), {}, self.pairs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            path = Path(self.parameters.output_dir) / f"{self.experiment}.csv"
            records.write(path, self._rows, self.manifests)
            self.run = Run(records.table(self._rows), self.manifests, self.pairs)

    def ran(self, decided: Mapping, origin: Mapping | None = None, **circumstances) -> str:
        """The run_id of what `decided` its numbers, with its manifest kept.

        `origin` is what is known of the network's weights; where their file lies on this machine is left out.
        """
        versions = {**decided.get("versions", {}), **provenance.versions(measures, intervals)}
        decided = {**decided, "versions": versions}
        run_id = provenance.address(decided)
        about = {"network_origin": _without_paths(origin)} if origin else {}
        self.manifests[run_id] = provenance.manifest(decided, experiment=self.experiment, **about, **circumstances)
        return run_id

    def add(self, rows: Iterable[Mapping], run_id: str) -> None:
        """Rows of one run."""
        self._rows += [{**row, "run_id": run_id} for row in rows]


def _demand_apart(learnt, tested) -> None:
    """Raise UserError where a network would be tested on files that it learns from, whatever these are called.

    A published set may hold a photograph in both its parts; so few are said and no reason to refuse it.
    """
    held = {known[: contents.DIGITS]: own[0] for own, known in zip(tested.files.each, tested.digests)}
    each = ((own[0], known[: contents.DIGITS]) for own, known in zip(learnt.files.each, learnt.digests))
    shared = {held[known]: path for path, known in each if known in held and not known.startswith(contents.UNREADABLE)}
    if not shared:
        return
    first = next(iter(shared))
    twin = "" if shared[first] == first else f", as {shared[first]}"
    message = f"{first} is learnt from too{twin}, with it {len(shared):,} of {len(tested):,} test images"
    if tested.name == "folder" or len(shared) > PUBLISHED_TWICE * len(tested):
        raise UserError(f"{message}; give a data_root with folders train/ and val/ that share no photograph")
    warnings.warn(message, stacklevel=3)


def opened(parameters: Evaluated, experiment: str, pair: Pair, images) -> Opened:
    """A pair with its images: protocol, scales and the columns that all its rows share."""
    protocol = parameters.protocol(pair)
    columns = {
        "experiment": experiment,
        "profile": parameters.profile,
        "dataset": images.name + (", validation" if parameters.on_validation else ""),
        "folder": folder_name(parameters.data_root) if images.name == "folder" else "",
        "network": pair.network,
        "weights": pair.weights if pair.weights in WEIGHTS else OWN,
        "frozen": "none",
        "per_scale": False,
        **protocol.columns(),
    }
    return Opened(pair, images, protocol, scales_for(images, pair.scales), columns)


def to_look_at(parameters: Evaluated, place: int = 0, opener: Callable | None = None) -> Opened:
    """One pair of a chapter, by its place, for pictures: nothing is recorded."""
    pair = parameters.pairs[place]
    return opened(parameters, "", pair, (opener or opened_images)(parameters, pair))


def _without_paths(origin: Mapping) -> dict:
    return {
        name: _without_paths(value) if isinstance(value, Mapping) else value
        for name, value in origin.items()
        if name != "weights" or value in (*WEIGHTS, OWN) or isinstance(value, Mapping)
    }


def opened_images(parameters: Evaluated, pair: Pair, split: str = "", load: Callable | None = None):
    """The images of a pair, as `load` opens them; with the split "train" those that networks learn from.

    Else the test scenes, or the validation photographs below `data_root`; on validation (`Trained.tested_on`) scenes of
    a split of their own, or the part of the training photographs that no network learns from.
    """
    load, root = load or datasets.load, parameters.data_root or None
    is_held = parameters.on_validation and not split
    count, seed = (parameters.train_images, 0) if split else (pair.n_images, parameters.seed)
    if pair.dataset == "scenes":
        split = split or ("val" if is_held else "test")
    elif split or is_held:
        return datasets.sample(datasets.part(load(pair.dataset, root, split="train"), is_held), count, seed)
    return load(pair.dataset, root, split=split or "val", n_images=count, seed=seed)


def folder_name(root: str) -> str:
    """What a user's own folder is called; bytes that are no text are spelled out."""
    return os.fsencode(Path(root).expanduser().resolve().name).decode(errors="backslashreplace")


def scales_for(images, scales: Iterable[str]) -> tuple[str, ...]:
    """The scales as sides in pixels. "native" is the side of small images, and all they get where photographs are
    meant: enlarging a 64-pixel image to 512 shows a network nothing new."""
    scales = tuple(scales)
    if images.native_side:
        own = "native" in scales or is_enlarged(scales, images.native_side)
        return (str(images.native_side),) if own else scales
    if "native" in scales:
        raise UserError(
            f"scale 'native' means nothing for {images.name}, whose photographs differ in size; give a side"
        )
    return scales
