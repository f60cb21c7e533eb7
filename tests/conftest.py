"""One thread for every test, and the studies of the smoke profile, each run once a session."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    # two cores are shared, and one thread makes the order of sums the same everywhere
    os.environ.setdefault(_name, "1")


class Smoke(NamedTuple):
    """A study of the smoke profile: what was asked, what came out, where it was written, and the cache it filled."""

    parameters: Any
    run: Any
    folder: Path
    cache: Path


OF_RQ1 = {"doses": "run_doses", "rounding": "run_rounding"}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """``smoke("rq2")`` is the smoke study of a chapter (or of "doses", "rounding"), run when it is first wanted.

    Its answers are computed in the session; networks that $BLURNB_CACHE holds are not trained again.
    """
    folder = tmp_path_factory.mktemp("smoke")
    place, kept = folder / "cache", os.environ.get("BLURNB_CACHE")
    if kept:
        networks = Path(kept).expanduser().resolve() / "networks"
        networks.mkdir(parents=True, exist_ok=True)
        place.mkdir()
        (place / "networks").symlink_to(networks)

    @cache
    def study(experiment: str) -> Smoke:
        from blurnb.study import chapters

        chapter = chapters.found("rq1" if experiment in OF_RQ1 else experiment)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BLURNB_CACHE", str(place))
            given = {"profile": "smoke", "output_dir": str(folder / experiment)}
            parameters = chapter.Parameters.validate(given)
            run = getattr(chapter, OF_RQ1.get(experiment, "run"))(parameters)
        return Smoke(parameters, run, folder / experiment, place)

    return study
