"""The same card in other surroundings: its records and its page are the same, or one line says why there are none."""

from __future__ import annotations

import os
import random
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..disturb import ROOT, folder, mounted
from ..jobs import told
from ..ledger import Ledger
from ..pictures import saved, scene
from ..processes import forked


class Surroundings(NamedTuple):
    """`variables` (None: unset) and what is done `before` in the process; `must` run to its end, or may refuse."""

    variables: dict[str, str | None] = {}
    before: Callable[[Path], object] | None = None
    must: bool = True


def _gone(place: Path) -> None:
    """The working directory is removed under the process."""
    here = place / "gone"
    here.mkdir()
    os.chdir(here)
    here.rmdir()


def _limited(which: int, count: int) -> Callable[[Path], None]:
    return lambda place: resource.setrlimit(which, (count, count))


C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
EVERY: dict[str, dict[str, Surroundings]] = {
    "locale": {
        "C": Surroundings(C), "POSIX, ASCII": Surroundings(C | {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}),
        "Latin-1 streams": Surroundings({"PYTHONIOENCODING": "latin-1"}),
        "Turkish": Surroundings({"LANG": "tr_TR.UTF-8"}),
        "UTF-16 streams": Surroundings({"PYTHONIOENCODING": "utf-16"}), "UTF-8 mode": Surroundings({"PYTHONUTF8": "1"}),
        "no such locale": Surroundings({"LC_ALL": "xx_XX"}), "far away": Surroundings({"TZ": "Pacific/Kiritimati"}),
    },
    "umask": {
        f"{mask:03o}": Surroundings({"UMASK": f"{mask}"}, lambda place, mask=mask: os.umask(mask))
        for mask in (0o077, 0o000, 0o027, 0o022)
    },
    "home": {
        "unset": Surroundings({"HOME": None}), "absent": Surroundings({"HOME": "/nonexistent"}),
        "empty": Surroundings({"HOME": ""}), "a file": Surroundings({"HOME": "/etc/hostname"}),
        "relative": Surroundings({"HOME": "home"}), "a device": Surroundings({"HOME": os.devnull}),
        "read-only": Surroundings({"HOME": "/proc"}),
        "nowhere to keep": Surroundings({"HOME": "/proc", "BLURNB_CACHE": None}, must=False),
    },
    "temporary folder": {
        "absent": Surroundings({"TMPDIR": "/nonexistent"}), "a file": Surroundings({"TMPDIR": "/etc/hostname"}),
        "empty": Surroundings({"TMPDIR": ""}), "read-only": Surroundings({"TMPDIR": "/proc"}),
        "full": Surroundings({"TMPDIR": "full"}), "beyond ASCII": Surroundings({"TMPDIR": "tmp \u65e5\u672c"} | C),
    },
    "terminal": {
        **{f"COLUMNS={text}": Surroundings({"COLUMNS": text}) for text in ("0", "1", "-5", "wide", "99999999999")},
        "none": Surroundings({"TERM": None}), "dumb": Surroundings({"TERM": "dumb", "NO_COLOR": "1"}),
        "coloured": Surroundings({"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}),
    },
    "interpreter": {
        "without docstrings and asserts": Surroundings({"PYTHONOPTIMIZE": "2"}),
        **{f"hash seed {seed}": Surroundings({"PYTHONHASHSEED": seed}) for seed in ("0", "1", "4294967295", "random")},
        "safe path": Surroundings({"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}),
        "development mode": Surroundings({"PYTHONDEVMODE": "1"}), "unbuffered": Surroundings({"PYTHONUNBUFFERED": "1"}),
        "few digits": Surroundings({"PYTHONINTMAXSTRDIGITS": "640"}),
    },
    "libraries": {
        "another backend": Surroundings({"MPLBACKEND": "svg"}), "no display": Surroundings({"DISPLAY": ":99"}),
        "no GPU": Surroundings({"CUDA_VISIBLE_DEVICES": "-1"}), "proxies": Surroundings({"https_proxy": "http://[::1"}),
        "an unwritable code cache": Surroundings({"NUMBA_CACHE_DIR": "/proc"}),
        "an unwritable font cache": Surroundings({"MPLCONFIGDIR": "/proc"}),
        **{f"OMP_NUM_THREADS={n!r}": Surroundings({"OMP_NUM_THREADS": n}, must=False) for n in ("0", "x", "-1")},
    },
    "working directory": {
        "gone": Surroundings(before=_gone), "read-only": Surroundings(before=lambda place: os.chdir("/proc")),
        "the root": Surroundings(before=lambda place: os.chdir("/")),
    },
    "cache": {
        "a file": Surroundings({"BLURNB_CACHE": "/etc/hostname"}, must=False),
        "empty": Surroundings({"BLURNB_CACHE": ""}, must=False),
        "beyond ASCII": Surroundings({"BLURNB_CACHE": "z\u00fcrich \u65e5"} | C),
        "nobody's home": Surroundings({"BLURNB_CACHE": "~nobody-here/x"}, must=False),
        "a device": Surroundings({"BLURNB_CACHE": os.devnull}, must=False),
    },
    "limits": {
        "40 open files": Surroundings(before=_limited(resource.RLIMIT_NOFILE, 40), must=False),
        "no core, small stack": Surroundings(before=_limited(resource.RLIMIT_STACK, 1 << 20)),
        "nothing locked": Surroundings(before=_limited(resource.RLIMIT_MEMLOCK, 0)),
    },
}  # fmt: skip
PATHS = ("HOME", "TMPDIR", "BLURNB_CACHE")  # that may be given below the place


AT_THE_START = ("locale", "home", "interpreter", "libraries", "limits")
"""What is looked at when a process starts, so that a fork would not see it."""


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    if brief:
        kind, name = random.Random(seed).choice([(k, n) for k in ("home", "cache", "umask") for n in EVERY[k]])
        chosen = {"temporary folder": {"absent": EVERY["temporary folder"]["absent"]}, kind: {name: EVERY[kind][name]}}
        return {"environments": partial(surrounded, every=chosen, started=False)}
    return {
        f"environments {kind}": partial(surrounded, every={kind: those}, started=kind in AT_THE_START)
        for kind, those in EVERY.items()
    }


def surrounded(ledger: Ledger, every: dict[str, dict[str, Surroundings]], started: bool) -> None:
    """A card in each of the surroundings, in a process `started` anew or forked from this one."""
    from blurnb.report import card  # noqa: F401  before the forks, not in each

    expected: list[str] = []
    for kind, name, one in [("", "", Surroundings())] + [(k, n, one) for k, v in every.items() for n, one in v.items()]:
        with folder() as place:
            variables = _prepared(place, one)
            if variables is None:
                ledger.skip("a full temporary folder: a small tmpfs cannot be mounted here (it takes root)")
                continue
            code, said = (_started if started else _forked)(place, variables, one)
            _looked_at(ledger, f"environment, {kind}", name, one, code, said, place, expected)
            subprocess.run(["umount", "-lq", str(place / "full")], check=False, capture_output=True)


def _prepared(place: Path, one: Surroundings) -> dict[str, str] | None:
    """The photographs, and the variables with places of their own; None where a full disk cannot be had."""
    for label in ("cat", "dog \u65e5"):
        (place / "photos" / label).mkdir(parents=True)
        for i in range(2):
            (place / "photos" / label / f"{i}.png").write_bytes(saved(scene(40 + i, 48), "PNG"))
    given = {"BLURNB_CACHE": "cache", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | one.variables
    for name in PATHS:
        if given.get(name) and not given[name].startswith(("/", "~")):
            given[name] = str(place / given[name])
            if name == "TMPDIR":
                Path(given[name]).mkdir()
    if one.variables.get("TMPDIR") == "full":
        if not mounted(place / "full", 4):
            return None
        (place / "full" / "everything").write_bytes(b"0" * 4096)
    left = {name: value for name, value in os.environ.items() if name not in given}
    return left | {name: value for name, value in given.items() if value is not None}


def _arguments(place: Path) -> list[str]:
    return [
        *("card", "--network", "vgg_mini", "--weights", "none", "--data", str(place / "photos"), "--blurs", "D8"),
        *("--scales", "48", "-p", "frame=64", "-p", "precision=float32", "--output", str(place / "out")),
    ]


def _started(place: Path, variables: dict[str, str], one: Surroundings) -> tuple[int, str]:
    def before() -> None:
        if one.before:
            one.before(place)

    command = [sys.executable, "-m", "blurnb", *_arguments(place)]
    try:
        done = subprocess.run(command, cwd=place, env=variables, preexec_fn=before, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        return 1, "Traceback: hung for five minutes"
    return done.returncode, (done.stdout + done.stderr).decode(errors="backslashreplace")


def _forked(place: Path, variables: dict[str, str], one: Surroundings) -> tuple[int, str]:
    def work() -> None:
        from blurnb.__main__ import main

        os.chdir(place)
        os.environ.clear()
        os.environ.update(variables)
        if one.before:
            one.before(place)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["blurnb", *_arguments(place)]
        main()

    outcome = forked(work, patience=300)
    return {"done": 0, "refused": 2}.get(outcome.kind, 2 if "error: " in outcome.text else 1), outcome.text


def _looked_at(
    ledger: Ledger, kind: str, name: str, one: Surroundings, code: int, said: str, place: Path, expected: list[str]
) -> None:
    """The undisturbed card is kept in `expected`, every other is held to it."""
    shown = f"{kind}, {name}"
    if name:
        ledger.inputs[kind] += 1
    if "Traceback" in said or code not in (0, 2) or (code == 2 and said.count("error: ") != 1):
        ledger.failed("tracebacks", f"{shown} (exit code {code}): {said[-1500:]}")
        return
    if code == 2:
        if one.must:
            ledger.failed("lost records", f"{shown}: refused: {said[-400:]}")
        return
    found = told(place) + (place / "out" / "card.md").read_text(encoding="utf-8").splitlines()
    if not name:
        expected += found
        return
    ledger.compare(found, expected, shown)
    mask = int(one.variables.get("UMASK") or os.umask(os.umask(0o022)) or 0)
    for file in (path for path in (place / "out").iterdir() if path.is_file() and not path.name.startswith(".")):
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode != 0o666 & ~mask:
            ledger.failed("wrong numbers", f"{shown}: {file.name} is {mode:o} under the umask {mask:03o}")
