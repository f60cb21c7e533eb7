"""What can be wrong with this machine, this environment and what is kept here, before a long run finds out."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch

from blurnb import files, records
from blurnb.errors import UserError
from blurnb.recognition import datasets, models
from blurnb.recognition.weights import check_digest
from blurnb.study import journal, stores

LEAST_DISK, GOOD_DISK = 0.2e9, 5e9  # bytes: a chapter's records and answers; a few networks with their checkpoints
LEAST_MEMORY = 1.5e9  # bytes: VGG-16 and one photograph in a frame of 512
NETWORKS = {
    "damaged": ("does not match its manifest", "the next run trains it again"),
    "unfinished": ("is half trained", "the same command goes on from its checkpoint"),
}


class Check(NamedTuple):
    """One line: `state` is ok | warn (it works, but) | wrong (it will not, or a number cannot be trusted).

    `remedy` is what to do where it is not ok.
    """

    state: str
    subject: str
    says: str
    remedy: str = ""

    def __str__(self) -> str:
        told = f"; {self.remedy}" if self.remedy and self.state != "ok" else ""
        return f"{self.state:<5}  {self.subject}: {self.says}{told}"


def examine(*, project: str | Path | None = None, data_root: str = "", output_dir: str | Path = "") -> Iterator[Check]:
    """Every check, one after another: the environment, the machine, the cache, the data, the weights, the records.

    `project` is a checkout of the repository, by default the one this package lies in; without one its versions and
    its committed records are passed over. Without an `output_dir` it is the folders that commands write to: out, card.
    """
    project = Path(project) if project else Path(__file__).parents[2]
    yield from versions(project / "constraints.txt")
    yield kernel()
    yield from machine()
    yield from store(files.cache_folder())
    yield from data(data_root)
    yield from weights()
    own = [Path(output_dir)] if output_dir else [Path("out"), Path("card")]
    yield from kept(project / "book" / "records", *own)


def versions(constraints: Path) -> Iterator[Check]:
    """What is installed, against the exact versions of a checkout."""
    if not constraints.is_file():
        yield Check("ok", "versions", "no constraints.txt here, nothing to compare with")
        return
    pins = dict(line.split("==") for line in constraints.read_text().split() if "==" in line)
    needed = {re.split("[<>=]", line)[0] for line in _requirements()}
    others = []
    for name, pin in pins.items():
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name.lower() in needed:
                yield Check("wrong", "versions", f"{name} is not installed", "run make setup")
            continue
        if have.split("+")[0] != pin:
            others.append(f"{name} {have} instead of {pin}")
    listed = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
    says = listed or f"as the {len(pins)} of constraints.txt, where installed"
    yield Check("warn" if others else "ok", "versions", says, "numbers may differ; run make setup")


def _requirements() -> list[str]:
    try:
        return [line.lower() for line in metadata.requires("blurnb") or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return []


def kernel() -> Check:
    """Whether papermill will find the kernel that the notebooks name."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        found = KernelSpecManager().find_kernel_specs()
    except ImportError:
        return Check("warn", "kernel", "jupyter is not installed; no notebook can run", "pip install blurnb[book]")
    if "python3" in found:
        return Check("ok", "kernel", f"python3 in {found['python3']}")
    return Check("wrong", "kernel", "no Jupyter kernel named python3", "run python -m ipykernel install --user")


def machine() -> Iterator[Check]:
    """Memory, threads, device and precision."""
    if (memory := _available_memory()) is not None:
        state = "ok" if memory >= LEAST_MEMORY else "warn"
        yield Check(state, "memory", f"{memory / 1e9:.1f} GB available", "close programs")
    threads, processors = torch.get_num_threads(), os.cpu_count() or 1
    says, remedy = f"torch uses {threads} of {processors} processors", f"set OMP_NUM_THREADS={processors}"
    yield Check("warn" if threads > processors else "ok", "threads", says, remedy)
    device = "mps" if torch.backends.mps.is_available() else "cpu alone; the paper profile wants a GPU"
    if torch.cuda.is_available():
        device = f"cuda: {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    yield Check("ok", "device", device)
    fast = models.reduced_precision()
    yield Check("ok", "bf16", "in hardware, precision auto uses it" if fast else "not in hardware, auto is float32")


def _available_memory() -> int | None:
    info = Path("/proc/meminfo")
    if not info.is_file():
        return None
    facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    return int(facts["MemAvailable"].split()[0]) * 1024


def store(cache: Path) -> Iterator[Check]:
    """The cache: writable, with room, and what interrupted or damaged runs left in it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache) as file:
            file.write(b"0")
    except OSError as error:
        says = f"cannot write {cache} ({error.strerror})"
        yield Check("wrong", "cache", says, "set BLURNB_CACHE to a folder of yours")
        return
    yield Check("ok", "cache", f"{cache} is writable")
    free = shutil.disk_usage(cache).free
    state = "wrong" if free < LEAST_DISK else "warn" if free < GOOD_DISK else "ok"
    yield Check(state, "disk", f"{free / 1e9:.1f} GB free", "free some space")
    for folder in sorted(path for path in cache.glob("networks/*") if path.is_dir()):
        if (condition := stores.condition(folder)) in NETWORKS:
            says, remedy = NETWORKS[condition]
            yield Check("warn", "networks", f"{folder} {says}", remedy)
    for path in sorted(cache.glob("answers/*.jsonl")):
        if damaged := journal.damaged(path):
            yield Check("warn", "answers", f"{damaged} damaged lines in {path}", "the next run computes them again")
    if left := sorted(cache.rglob(".*.new")):
        inside = [file for path in left for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        size = sum(file.stat().st_size for file in inside) / 1e6
        says = f"{len(left)} unfinished files ({size:.0f} MB) of killed runs, first {left[0]}"
        yield Check("warn", "cache", says, "the next run of the same work removes them, or delete them")


def data(root: str) -> Iterator[Check]:
    """The data sets below `root`, or below BLURNB_DATA."""
    root = root or os.environ.get("BLURNB_DATA", "")
    if not root:
        yield Check("ok", "data", "no data root given; the embedded profile needs none")
        return
    found, reasons = [], []
    for name in ("imagenet", "tiny-imagenet", "folder"):
        if name == "folder" and found:
            break
        try:
            one = datasets.load(name, root, split="val")
            found.append(f"{name} ({len(one):,} images)")
        except UserError as error:
            reasons.append(str(error))
    says = f"{root} holds {', '.join(found)}" if found else reasons[0]
    yield Check("ok" if found else "wrong", "data", says, "give --data-root, the folder that holds the data")


def weights() -> Iterator[Check]:
    """Every file of pretrained weights that is here, against its SHA-256."""
    checked = []
    for file, digest in models.weight_files().items():
        try:
            check_digest(file, digest)
            checked.append(file.name)
        except UserError as error:
            yield Check("wrong", "weights", str(error))
    yield Check("ok", "weights", f"{', '.join(checked) or 'none'} checked")


def kept(*folders: Path) -> Iterator[Check]:
    """The records below the folders, and notebooks there that did not run to their end."""
    whole = rows = 0
    for path in (path for folder in folders for path in records.tables(folder)):
        try:
            rows += len(records.read(path))
            whole += 1
        except UserError as error:
            yield Check("wrong", "records", str(error))
    yield Check("ok", "records", f"{whole} files are whole, {rows:,} rows")
    for path in (path for folder in folders for path in sorted(folder.rglob("*.running.ipynb"))):
        yield Check("warn", "notebooks", f"{path} did not run to its end", "run the chapter again, or delete it")
