"""Who may import whom: light <- recognition <- study, and an account that knows records alone and never torch."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "blurnb"
SEAM = {
    "blurnb.errors",
    "blurnb.files",
    "blurnb.intervals",
    "blurnb.labels",
    "blurnb.metrics",
    "blurnb.provenance",
    "blurnb.records",
}
ALLOWED = {  # a module may import its own wing and these
    "blurnb.errors": set(),
    "blurnb.labels": {"blurnb.errors"},
    "blurnb.metrics": {"blurnb.errors"},
    "blurnb.files": {"blurnb.errors"},
    "blurnb.provenance": {"blurnb.errors"},
    "blurnb.intervals": {"blurnb.errors"},
    "blurnb.records": {"blurnb.errors", "blurnb.files", "blurnb.metrics", "blurnb.provenance"},
    "blurnb.optics": {"blurnb.errors", "blurnb.files", "blurnb.labels"},
    "blurnb.recognition": {"blurnb.errors", "blurnb.files", "blurnb.labels", "blurnb.optics"},
    "blurnb.study": {*SEAM, "blurnb.optics", "blurnb.recognition"},
    "blurnb.report": SEAM,
}
FRAMEWORKS = {"torch", "torchvision", "safetensors", "deepinv"}
WITHOUT_TORCH = ("blurnb.errors", "blurnb.intervals", "blurnb.records", "blurnb.report")


def home(name: str) -> str:
    """blurnb.optics.kernels -> blurnb.optics: the wing, or the module of the seam."""
    return ".".join(name.split(".")[:2])


def imported(file: Path, module: str) -> set[str]:
    """Every module that a source file names in an import, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: len(module.split(".")) - node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names} if base in ("blurnb", home(base)) else {base}
    return found


def offences(package: Path) -> list[str]:
    """'<module> imports <module>' for every import that goes the wrong way."""
    found = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts)
        mine = home(module)
        if mine not in ALLOWED:  # the package itself and the command line may name anything
            continue
        for name in imported(file, module):
            ours = name.split(".")[0] == "blurnb"
            if ours and home(name) not in ALLOWED[mine] | {mine}:
                found.append(f"{module} imports {name}")
            if mine in WITHOUT_TORCH and name.split(".")[0] in FRAMEWORKS:
                found.append(f"{module} imports {name}")
    return found


def test_imports_go_one_way():
    assert offences(PACKAGE) == []


def test_every_module_is_in_a_wing_or_on_the_seam():
    homes = {home(".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts)) for f in PACKAGE.rglob("*.py")}
    assert homes == {*ALLOWED, "blurnb.__init__", "blurnb.__main__", "blurnb.commands"}


@pytest.mark.parametrize(
    "file, line, offence",
    [
        ("optics/kernels.py", "from blurnb.recognition import models", "blurnb.recognition.models"),
        ("optics/kernels.py", "def late():\n    from blurnb import records", "blurnb.records"),
        ("recognition/models.py", "import blurnb.study.journal", "blurnb.study.journal"),
        ("recognition/models.py", "from ..study import journal", "blurnb.study.journal"),
        ("study/journal.py", "from blurnb.report import tables", "blurnb.report.tables"),
        ("report/tables.py", "from blurnb.optics.blurring import parse", "blurnb.optics.blurring"),
        ("report/tables.py", "def late():\n    import torch", "torch"),
        ("records.py", "import torchvision.transforms", "torchvision.transforms"),
        ("intervals.py", "from blurnb import records", "blurnb.records"),
    ],
)
def test_a_planted_import_is_found(tmp_path, file, line, offence):
    copy = tmp_path / "blurnb"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = set(offences(copy))
    with open(copy / file, "a") as source:
        source.write(f"\n\n{line}\n")
    module = "blurnb." + file.removesuffix(".py").replace("/", ".")
    assert set(offences(copy)) - before == {f"{module} imports {offence}"}


PROBE = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import blurnb
names = ["blurnb.errors", "blurnb.records", "blurnb.intervals", "blurnb.report"]
names += [f"blurnb.report.{m.name}" for m in pkgutil.iter_modules([f"{sys.argv[1]}/blurnb/report"])]
for name in names:
    importlib.import_module(name)
loaded = {name.split(".")[0] for name in sys.modules} & {"torch", "torchvision", "safetensors", "deepinv"}
loaded |= {n for n in sys.modules if n.startswith(("blurnb.optics", "blurnb.recognition", "blurnb.study"))}
print(len(names), sorted(loaded))
"""


def probe(folder: Path) -> tuple[int, str]:
    """(modules imported, what they pulled in that they must not), in a fresh interpreter."""
    answer = subprocess.run([sys.executable, "-c", PROBE, str(folder)], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    count, _, loaded = answer.stdout.strip().partition(" ")
    return int(count), loaded


def test_the_account_runs_without_torch_and_the_other_wings():
    count, loaded = probe(PACKAGE.parent)
    assert count > 6
    assert loaded == "[]"


def test_the_probe_sees_an_indirect_import(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "blurnb", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "blurnb" / "report").glob("*.py"):  # only the planted one: this test is about the probe
        if file.name != "__init__.py":
            file.unlink()
    (tmp_path / "blurnb" / "report" / "planted.py").write_text(
        "import importlib\nimportlib.import_module('safetensors')\n"
    )
    assert "safetensors" in probe(tmp_path)[1]
