"""The answering loop: images, conditions and a task in; one answer an image and condition out, kept as they come."""

import json
import time
import typing
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from blurnb.errors import UserError, printable
from blurnb.optics import engines, resampling
from blurnb.recognition.datasets import UnreadableImage
from blurnb.study import journal, memory
from blurnb.study.treatments import Condition, Treatment

VERSION = 1
BLOCK = 64
"""Small images are decoded, shown and answered in fixed blocks, so that a resumed run repeats a run exactly."""
AT_ONCE = 2  # groups on a GPU: it goes on with one while the answers of the other are written down
GIVE_BACK = 32  # images after which freed memory is given back; it takes a few milliseconds


class Group(NamedTuple):
    """Images of one shape: ids, pixels (N, 3, H, W) on the device, and what is true of each."""

    ids: list[str]
    pixels: torch.Tensor
    truths: list


class Computing(NamedTuple):
    """How answers are computed; nothing of it decides them, but for the order of sums.

    `batch`: images and treatments at a time. `workers` decode ahead. `strict`: an unreadable image ends the run.
    """

    store: str | Path
    device: str = "cpu"
    batch: int = 4
    workers: int = 1
    strict: bool = False


class Task(typing.Protocol):
    """What a study hands to the loop.

    `facts` decide the answers, besides images and conditions; the versions of all modules that compute are among them.
    """

    facts: Mapping

    def check(self, images) -> None:
        """Raise UserError for images that cannot be answered, before anything is computed."""

    def load(self, images, index: int) -> tuple[torch.Tensor, object]:
        """(pixels (3, H, W), truth) of one image, ready for `show`."""

    def show(self, group: Group, treatments: Sequence[Treatment]) -> torch.Tensor:
        """The images under each treatment: (treatments * N, 3, h, w), treatment by treatment."""

    def answer(
        self, shown: torch.Tensor, group: Group, treatments: Sequence[Treatment], conditions: Sequence[Condition]
    ) -> dict[Condition, list]:
        """JSON answers, one an image, to each condition; they share what is shown."""


class Answers(NamedTuple):
    """What the loop found: by condition, the answers by image id in the order of the images.

    `decided` is what a run is known by, `circumstances` what its manifest tells besides.
    """

    found: dict[Condition, dict[str, list]]
    decided: dict
    circumstances: dict


def gather(images, conditions: Sequence[Condition], task: Task, computing: Computing, *, title: str = "") -> Answers:
    """One answer per image and condition, computed or found in the store.

    An image is decoded once for all conditions and shown once for all that share a treatment; memory is that of a
    window of images, whatever their number. Windows are blocks of 64 small images, single photographs on a CPU, and
    elsewhere as many as `batch`; a window's images of one shape are answered together.

    Parameters
    ----------
    images
        A `Dataset`: `ids`, `name`, `source`, `fingerprint`, `native_side`.
    conditions
        What is asked; doubles count once.
    title
        What the progress bar says.

    Raises
    ------
    UserError
        For what `task.check` refuses, and a set in which no image can be read.
    UnreadableImage
        For the first image that cannot be decoded, where `computing.strict`; else it is named, skipped and counted.
    """
    task.check(images)
    conditions = list(dict.fromkeys(conditions))
    facts, path, known = _known(images, task, computing.store)
    names = {one: _name(one) for one in conditions}
    keys = dict(zip(images.ids, images.keys))

    def lacking(ids: Sequence[str]) -> list[Condition]:
        have = [known.get(keys[identity], {}) for identity in ids]
        return [one for one in conditions if any(names[one] not in answers for answers in have)]

    windows = [window for window in _windows(images, computing) if lacking([images.ids[i] for i in window])]
    skipped: dict[str, str] = {}
    started, total, computed = time.perf_counter(), sum(map(len, windows)), 0
    memory.keep_freed()
    bar = tqdm(total=total, desc=printable(title or images.name), unit="image", disable=not windows, mininterval=1)
    reading, answering = ThreadPoolExecutor(max(1, computing.workers)), ThreadPoolExecutor(AT_ONCE)

    def groups() -> Iterator[Group]:
        for window, loaded in _decoded(images, windows, task, reading, computing):
            for index, item in zip(window, loaded):
                if isinstance(item, UnreadableImage):
                    if computing.strict:
                        raise item
                    skipped[images.ids[index]] = str(item)
                    warnings.warn(f"skipped: {item}", stacklevel=2)
                    bar.update()
            yield from _groups(images, window, loaded, computing.device)

    def answer(group: Group) -> dict[str, dict[str, list]]:
        todo = lacking(group.ids)  # none where the window was opened for an image that cannot be read
        with torch.inference_mode():
            return _answered(group, todo, names, task, computing, images.native_side) if todo else {}

    on_gpu = torch.device(computing.device).type == "cuda"
    with bar, reading, answering, engines.exact():
        for found in _in_order(answering, answer, groups(), AT_ONCE) if on_gpu else map(answer, groups()):
            computed += len(found)
            new = {keys[identity]: answers for identity, answers in found.items()}
            journal.append(path, new.items())
            for key, answers in new.items():
                known.setdefault(key, {}).update(answers)
            bar.update(len(found))
            if bar.n % GIVE_BACK < len(found):
                memory.give_back()
    found = {one: {i: known[k][names[one]] for i, k in keys.items() if names[one] in known.get(k, {})} for one in names}
    if conditions and not any(found.values()):
        first = next(iter(skipped.values()), "none asked for")
        raise UnreadableImage(f"no image of {images.name} could be read; first: {first}")
    decided = {**facts, "n": len(images), "selection": images.fingerprint}
    decided |= {"unreadable": sorted(skipped)} if skipped else {}  # once one can be read, this is another run
    return Answers(found, decided, {
        "computed_images": computed,
        "wall_seconds": round(time.perf_counter() - started, 2),
        "skipped": skipped,
        "device": computing.device,
        "threads": torch.get_num_threads(),
        "batch": computing.batch,
    })  # fmt: skip


def kept(images, task: Task, store: str | Path) -> tuple[dict, dict[str, dict[str, list]]]:
    """(facts, answers by key and condition) that the store holds for a task: what `journal.add` takes elsewhere."""
    facts, _, known = _known(images, task, store)
    return facts, {key: known[key] for key in images.keys if key in known}


def _known(images, task: Task, store: str | Path) -> tuple[dict, Path, dict]:
    """(facts, journal, what it holds) of a task on images."""
    facts = {**task.facts, "dataset": images.name, "data": images.source}
    path = journal.path_for(store, facts)
    return facts, path, journal.read(path)


def _name(one: Condition) -> str:
    """A condition as the journal knows it."""
    return json.dumps([*one.treatment, one.scale, one.training], ensure_ascii=False)


def _windows(images, computing: Computing) -> list[range]:
    on_cpu = torch.device(computing.device).type == "cpu"
    step = BLOCK if images.native_side else 1 if on_cpu else computing.batch
    return [range(i, min(i + step, len(images))) for i in range(0, len(images), step)]


def part_of(images, computing: Computing, place: int, count: int) -> range:
    """Part `place` (1 first) of the `count` into which whole windows of the images are dealt; may be empty."""
    windows = _windows(images, computing)
    mine = windows[len(windows) * (place - 1) // count : len(windows) * place // count]
    return range(mine[0].start, mine[-1].stop) if mine else range(0)


def _decoded(images, windows: list[range], task: Task, pool: ThreadPoolExecutor, computing: Computing) -> Iterator:
    """(window, items) in order, read a few windows early while the network works."""
    count = max(1, computing.workers)
    if torch.device(computing.device).type == "cpu":
        yield from _in_order(pool, lambda window: (window, _load(images, window, task)), windows, count + 1)
    elif windows:
        # Processes: threads that decode would keep the one that feeds the device waiting for Python's lock.
        ahead = {"num_workers": count, "prefetch_factor": 2, "pin_memory": torch.cuda.is_available()}
        reading = DataLoader(_Reading(images), batch_sampler=windows, collate_fn=list, **ahead)
        for window, items in zip(windows, reading):
            given = dict(zip(window, items))
            ready = replace(images, load=partial(_moved, given, computing.device), files=None)
            yield window, _load(ready, window, task)


class _Reading(torch.utils.data.Dataset):
    """What each image loads, in bytes where nothing is lost by it; the error where one is not to be used."""

    def __init__(self, images):
        self.images = images

    def __getitem__(self, index: int) -> list | UserError:
        try:
            image, *truth = item if isinstance(item := self.images.load(index), tuple) else (item,)
            self.images.demand_same(index)
        except UserError as error:
            return error
        return [resampling.in_bytes(image), *truth]


def _moved(given: Mapping, device: str, index: int) -> object:
    """What `images.load` gave, its pixels on the device."""
    if isinstance(given[index], UserError):
        raise given[index]
    image, *truth = given[index]
    image = resampling.in_floats(image.to(device, non_blocking=True))
    return (image, *truth) if truth else image


def _in_order(pool: ThreadPoolExecutor, call: Callable, items: Iterable, ahead: int) -> Iterator:
    """The results of `call` for each item in order, computed by `pool`, at most `ahead` of them early."""
    waiting: deque[Future] = deque()
    for item in items:
        waiting.append(pool.submit(call, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _load(images, window: range, task: Task) -> list:
    loaded = []
    for index in window:
        try:
            loaded.append(task.load(images, index))
            images.demand_same(index)
        except UnreadableImage as error:
            loaded.append(error)
    return loaded


def _groups(images, window: range, loaded: list, device: str) -> Iterator[Group]:
    """The readable images of a window, those of one shape together."""
    shapes: dict[tuple, list[int]] = {}
    for place, item in enumerate(loaded):
        if not isinstance(item, UnreadableImage):
            shapes.setdefault(tuple(item[0].shape), []).append(place)
    for places in shapes.values():
        pixels = torch.stack([loaded[place][0] for place in places]).to(device)
        yield Group([images.ids[window[place]] for place in places], pixels, [loaded[place][1] for place in places])


def _answered(group: Group, todo, names, task: Task, computing: Computing, is_small) -> dict[str, dict[str, list]]:
    """Answers to the images of a group: image id -> condition -> answer."""
    answers: dict[str, dict[str, list]] = {identity: {} for identity in group.ids}
    treatments = list(dict.fromkeys(one.treatment for one in todo))
    step = 1 if is_small else max(1, computing.batch // len(group.ids))
    for first in range(0, len(treatments), step):
        some = treatments[first : first + step]
        asked = [one for one in todo if one.treatment in some]
        for one, each in task.answer(task.show(group, some), group, some, asked).items():
            for identity, answer in zip(group.ids, each):
                answers[identity][names[one]] = answer
    return answers
