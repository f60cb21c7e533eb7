"""Median seconds of named acts that take turns, so that whatever else the machine does falls on all alike."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from tqdm import tqdm

VERSION = 1


def seconds(acts: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """[median, least, most] seconds of each act over `repeats` rounds, after one that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    rounds = tqdm(range(repeats + 1), desc="timing", unit="round", leave=False, mininterval=1)
    with torch.inference_mode():
        for number in rounds:
            for name, act in acts.items():
                started = time.perf_counter()
                act()
                if number:
                    taken[name].append(time.perf_counter() - started)
    return {name: [statistics.median(times), min(times), max(times)] for name, times in taken.items()}
