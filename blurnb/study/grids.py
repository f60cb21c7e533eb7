"""Parameter sets: from `-p network=vgg16,resnet50` and files to one dict a run, checked before anything starts."""

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from blurnb import provenance
from blurnb.errors import UserError
from blurnb.recognition import contents
from blurnb.study import runs
from blurnb.study.parameters import Trained
from blurnb.study.values import spelled

Grid = dict[str, list]


def values(name: str, text: str) -> list:
    """What `name` takes, one value for each run: ``vgg16,resnet50`` is two; ``[sharp,D8]`` is one, a list."""
    try:
        found = spelled(f"[{text}]")
    except ValueError:
        found = [{}]
    if not found or any(value is None or isinstance(value, Mapping) for value in found):
        raise UserError(
            f"-p {name}={text} is no list of values; give one for each run, for example {name}=A,B (a value that is a "
            f"list itself in brackets: {name}=[A,B])"
        )
    return found


def read(path: str | Path) -> Grid | list[dict]:
    """A grid (a mapping: a list is one run for each entry) or a list of parameter sets (mappings) from a YAML file."""
    try:
        found = spelled(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not YAML ({error})") from error
    if isinstance(found, list) and found and all(isinstance(one, dict) and one for one in found):
        return found
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} holds neither NAME: VALUES nor a list of such sets; see book/reproduce.md")
    grid = {str(name): value if isinstance(value, list) else [value] for name, value in found.items()}
    if empty := [name for name, value in grid.items() if not value or None in value]:
        raise UserError(f"{path}: {empty[0]} has no value; leave it out for the profile's default")
    return grid


def sets(grid: Mapping[str, Sequence], base: Sequence[Mapping[str, Any]] = ({},)) -> list[dict]:
    """Every combination of the grid's values, on top of every set in `base`; the last name varies fastest."""
    combinations = [dict(zip(grid, chosen)) for chosen in itertools.product(*grid.values())]
    return [{**below, **chosen} for below in base for chosen in combinations]


def plan(question: str, notebook: str, given: Sequence[Mapping[str, Any]]) -> dict[str, dict]:
    """Address -> parameters of every distinct set, all of them checked.

    The address is that of the checked parameters and the notebook's code, of what the weights, networks and images that
    they name hold, as far as they are on this machine, and of the package's VERSIONs: a rerun finds what it finished
    and nothing else. Raises UserError for the first set that the chapter refuses.
    """
    from blurnb.study import chapters

    found, fingerprints = {}, {}
    for one in given:
        if "output_dir" in one:
            raise UserError("output_dir is where the sweep puts its records; give it as --output")
        checked = chapters.found(question).Parameters.validate(one)
        facts = {"notebook": _code(notebook), "parameters": checked.model_dump(mode="json", exclude={"output_dir"})}
        facts |= {"versions": provenance.all_versions(), "held": []}
        for pair in checked.pairs:
            parts = getattr(checked, "train_images", None), checked.on_validation
            data = checked.data_root, checked.seed, pair.dataset, pair.n_images, *parts
            if data not in fingerprints:
                fingerprints[data] = _fingerprints(chapters.found(question), checked, pair)
            weights = contents.digest(os.path.expanduser(pair.weights))
            facts["held"] += [weights, contents.of_program(pair.network), fingerprints[data]]
        found.setdefault(provenance.address(facts), dict(one))
    return found


def _fingerprints(chapter: ModuleType, checked, pair) -> dict[str, str]:
    """Of a pair's images in a folder of the user's, by split; those that are not on this machine are left out."""
    opened, found = getattr(chapter, "opened_images", runs.opened_images), {}
    splits = ("", "train") if isinstance(checked, Trained) else ("",)
    for split in splits if checked.data_root else ():
        with contextlib.suppress(UserError):
            found[split] = opened(checked, pair, split).fingerprint
    return found


def _code(notebook: str) -> str:
    try:
        cells = json.loads(notebook)["cells"]
        return hashlib.sha256(repr([c["source"] for c in cells if c["cell_type"] == "code"]).encode()).hexdigest()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("the chapter is not a notebook") from error


def described(parameters: Mapping[str, Any], among: Sequence[Mapping[str, Any]] = ()) -> str:
    """`network=vgg16 seed=1`: the parameters that differ `among` the sets, or all of them."""
    varied = [n for n, v in parameters.items() if any(other.get(n) != v for other in among)] or list(parameters)
    texts = (json.dumps(parameters[n]) if not isinstance(parameters[n], str) else parameters[n] for n in varied)
    return " ".join(f"{name}={text}" for name, text in zip(varied, texts)) or "the profile's defaults"
