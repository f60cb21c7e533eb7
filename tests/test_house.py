"""The house stands as it was drawn: who may import whom, floors, sizes, names; and nothing walks inside a string."""

import ast
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "blurnb"
PACKAGE_LINES = 12_603
"""Lines of the package that are no docstring. It may fall; whoever raises it takes no line from anywhere else."""
LONGEST = 350
FLOORS = 6

TOP = ("errors", "labels", "metrics", "files", "provenance", "intervals", "samples", "cells", "records")
"""The pure top of the house, in order: each may know those before it, `labels` and `metrics` only `errors`."""
ALLOWED = {
    **{f"blurnb.{name}": {f"blurnb.{before}" for before in TOP[:place]} for place, name in enumerate(TOP)},
    "blurnb.metrics": {"blurnb.errors"},
    "blurnb.optics": {"blurnb.errors", "blurnb.files", "blurnb.labels"},
    "blurnb.recognition": {"blurnb.errors", "blurnb.files", "blurnb.labels", "blurnb.provenance", "blurnb.optics"},
    "blurnb.study": {*(f"blurnb.{name}" for name in TOP), "blurnb.optics", "blurnb.recognition"},
    "blurnb.report": {f"blurnb.{name}" for name in TOP},
}
DOORS = {"blurnb", "blurnb.commands", "blurnb.__main__"}
"""What may import anything and is imported by nobody, as the scripts beside the package."""
SCRIPTS = ("faults", "benchmarks", "book")
KNOW_CHAPTERS = {"blurnb.commands", *(f"blurnb.study.{name}" for name in ("shards", "sweeps", "grids", "notebooks"))}
FRAMEWORKS = {"torch", "torchvision", "safetensors", "deepinv"}


def home(name: str) -> str:
    """blurnb.optics.kernels -> blurnb.optics: the room, or the module at the top."""
    return ".".join(name.split(".")[:2])


@functools.cache
def house() -> dict[str, str]:
    """The source of every module of the package by its dotted name; a room's `__init__` goes by the room's."""
    names = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in sorted(PACKAGE.rglob("*.py"))}
    return {name.removesuffix(".__init__"): file.read_text() for file, name in names.items()}


def planted(module: str, lines: str) -> dict[str, str]:
    """The house with `lines` at the end of a module, be it there or not."""
    return {**house(), module: house().get(module, "") + f"\n\n{lines}\n"}


@functools.cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


@functools.cache
def imported(text: str, module: str, known: frozenset, is_package: bool = False) -> set[str]:
    """Every module that a source names in an import, at the top or inside a function; of ours, the very file."""
    found = set()
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = node.level - 1 if is_package else node.level
            parent = module.split(".")[: len(module.split(".")) - above] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            for alias in node.names:
                one = f"{base}.{alias.name}"
                found.add(one if one in known else base)
    return found


def imports(texts) -> dict[str, set[str]]:
    """Module -> what it imports."""
    rooms = {name.rpartition(".")[0] for name in texts}
    known = frozenset(texts)
    return {name: imported(text, name, known, name in rooms) for name, text in texts.items()}


def offences(texts) -> set[str]:
    """'<module> imports <module>' for every import that goes the wrong way."""
    found = set()
    for module, names in imports(texts).items():
        mine = home(module)
        for name in names:
            first, ours = name.split(".")[0], name.split(".")[0] == "blurnb"
            wrong = first in SCRIPTS or name in DOORS - {"blurnb"} and module not in DOORS
            if mine not in DOORS:
                wrong |= ours and home(name) not in ALLOWED[mine] | {mine}
            at_the_top = mine in ALLOWED and mine.removeprefix("blurnb.") in TOP
            wrong |= first in FRAMEWORKS and (at_the_top or mine == "blurnb.report")
            wrong |= first == "matplotlib" and at_the_top
            chapter = name.startswith("blurnb.study.chapters")
            wrong |= chapter and module not in KNOW_CHAPTERS and module != "blurnb.study.chapters"
            if wrong:
                found.add(f"{module} imports {name}")
    return found


def test_imports_go_one_way():
    assert offences(house()) == set()


def test_every_module_is_in_a_room_or_at_the_top():
    assert {home(name) for name in house()} == {*ALLOWED, *DOORS}


@pytest.mark.parametrize(
    "file, line, offence",
    [
        ("errors.py", "from blurnb import labels", "blurnb.labels"),
        ("labels.py", "from blurnb import metrics", "blurnb.metrics"),
        ("metrics.py", "from blurnb.labels import FRAME", "blurnb.labels"),
        ("files.py", "from blurnb import provenance", "blurnb.provenance"),
        ("provenance.py", "from blurnb import intervals", "blurnb.intervals"),
        ("intervals.py", "from blurnb import records", "blurnb.records"),
        ("records.py", "from blurnb.study import journal", "blurnb.study.journal"),
        ("records.py", "import torchvision.transforms", "torchvision.transforms"),
        ("labels.py", "def late():\n    import torch", "torch"),
        ("intervals.py", "from matplotlib import pyplot", "matplotlib"),
        ("optics/kernels.py", "from blurnb.recognition import models", "blurnb.recognition.models"),
        ("optics/kernels.py", "def late():\n    from blurnb import records", "blurnb.records"),
        ("optics/blurring.py", "from blurnb import intervals", "blurnb.intervals"),
        ("recognition/models.py", "import blurnb.study.journal", "blurnb.study.journal"),
        ("recognition/models.py", "from ..study import journal", "blurnb.study.journal"),
        ("recognition/families/vgg.py", "from ...study import journal", "blurnb.study.journal"),
        ("recognition/families/__init__.py", "from ...study import journal", "blurnb.study.journal"),
        ("recognition/scenes.py", "from blurnb import records", "blurnb.records"),
        ("study/journal.py", "from blurnb.report import tables", "blurnb.report.tables"),
        ("study/journal.py", "from blurnb.commands import app", "blurnb.commands"),
        ("study/answers.py", "from blurnb.study import chapters", "blurnb.study.chapters"),
        ("study/answers.py", "from blurnb.study.chapters import card", "blurnb.study.chapters.card"),
        ("study/chapters/card.py", "from blurnb.study.chapters import rq1_degradation",
         "blurnb.study.chapters.rq1_degradation"),
        ("study/chapters/card.py", "from . import rq1_degradation", "blurnb.study.chapters.rq1_degradation"),
        ("study/chapters/rq1_degradation.py", "from .card import run", "blurnb.study.chapters.card"),
        ("study/chapters/card.py", "from blurnb.report import tables", "blurnb.report.tables"),
        ("report/rules.py", "from blurnb.optics.blurring import blur", "blurnb.optics.blurring"),
        ("report/rules.py", "from blurnb.study.measures import top1", "blurnb.study.measures"),
        ("report/card/facts.py", "def late():\n    import torch", "torch"),
        ("report/rules.py", "import blurnb.__main__", "blurnb.__main__"),
        ("report/rules.py", "from faults import ledger", "faults"),
        ("commands.py", "from benchmarks import sweep", "benchmarks"),
        ("commands.py", "import book._tools.speed", "book._tools.speed"),
    ],
)  # fmt: skip
def test_a_planted_import_is_found(file, line, offence):
    module = "blurnb." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert offences(planted(module, line)) - offences(house()) == {f"{module} imports {offence}"}


PROBE = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import blurnb
names = [f"blurnb.{name}" for name in sys.argv[2].split(",")]
for name in names:
    room = importlib.import_module(name)
    if hasattr(room, "__path__"):
        names += [m.name for m in pkgutil.iter_modules(room.__path__, name + ".")]
loaded = {name.split(".")[0] for name in sys.modules} & set(sys.argv[3].split(","))
loaded |= {n for n in sys.modules if n.startswith(("blurnb.optics", "blurnb.recognition", "blurnb.study"))}
print(len(names), sorted(loaded))
"""


def probe(folder: Path, names, frameworks=FRAMEWORKS) -> tuple[int, str]:
    """(modules imported, what they pulled in that they must not), in a fresh interpreter."""
    command = [sys.executable, "-c", PROBE, str(folder), ",".join(names), ",".join(frameworks)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    count, _, loaded = answer.stdout.strip().partition(" ")
    return int(count), loaded


def test_the_account_runs_without_torch_and_the_other_rooms():
    count, loaded = probe(PACKAGE.parent, ["report"])
    assert count > 30
    assert loaded == "[]"


def test_the_top_runs_without_torch_and_drawing():
    assert probe(PACKAGE.parent, TOP, FRAMEWORKS | {"matplotlib", "PIL", "pydantic"}) == (len(TOP), "[]")


def test_the_probe_sees_an_indirect_import(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "blurnb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "blurnb" / "report")  # only the planted one: this test is about the probe
    planted = tmp_path / "blurnb" / "report" / "deep"
    planted.mkdir(parents=True)
    (planted.parent / "__init__.py").write_text("")
    (planted / "__init__.py").write_text("import importlib\nimportlib.import_module('safetensors')\n")
    assert "safetensors" in probe(tmp_path, ["report"])[1]


# -- floors and sizes


def floors(texts, room: str) -> dict[str, int]:
    """On which floor each module of a room stands: above all that it imports in the room."""
    known = {name: names for name, names in imports(texts).items() if name.startswith(f"blurnb.{room}")}
    found: dict[str, int] = {}

    def floor(name: str, path: tuple = ()) -> int:
        assert name not in path, f"imports go round: {' -> '.join([*path, name])}"
        if name not in found:
            below = [other for other in known[name] if other in known and other != name]
            found[name] = 1 + max((floor(other, (*path, name)) for other in below), default=0)
        return found[name]

    for name in known:
        floor(name)
    return found


def test_the_study_stands_on_few_floors():
    found = floors(house(), "study")
    drawn = "\n".join(f"{floor}  {name}" for name, floor in sorted(found.items(), key=lambda one: one[::-1]))
    assert max(found.values()) <= FLOORS, f"\n{drawn}"


@pytest.mark.parametrize("room", ["optics", "recognition", "report"])
def test_no_room_has_a_ring(room):
    assert floors(house(), room)


def test_a_planted_floor_and_a_planted_ring_are_found():
    higher = planted("blurnb.study.planted", "from blurnb.study import sweeps")
    assert floors(higher, "study")["blurnb.study.planted"] == floors(house(), "study")["blurnb.study.sweeps"] + 1
    ring = {**higher, "blurnb.study.sweeps": "def late():\n    from blurnb.study import planted"}
    with pytest.raises(AssertionError, match="imports go round"):
        floors(ring, "study")


def docstrings(tree: ast.AST):
    """The docstrings of a source, and of what is defined in it, as nodes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first


def own_lines(text: str) -> int:
    """Lines that are no docstring."""
    inside = {line for one in docstrings(ast.parse(text)) for line in range(one.lineno, one.end_lineno + 1)}
    return text.count("\n") - len(inside)


def test_lines_without_docstrings_are_counted():
    assert own_lines('"""One.\n\nTwo."""\n\n\ndef f():\n    "Short."\n    return 1\n') == 4


def test_the_package_and_its_files_keep_their_size():
    lengths = {name: text.count("\n") for name, text in house().items()}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}
    assert sum(map(own_lines, house().values())) <= PACKAGE_LINES


# -- nothing inside a string

CUTS = {"split", "rsplit", "splitlines", "partition", "rpartition", "startswith", "endswith", "removeprefix",
        "removesuffix", "str"}  # fmt: skip
REVIEWED = {
    "blurnb/report/card/pages.py": "a whole page's blanks, what Markdown would take for markup, and cells that are "
    "numbers, which stand to the right",
    "blurnb/report/markdown.py": "cells that are numbers stand to the right",
    "blurnb/report/numbers.py": "the sign of a number that was just printed",
    "blurnb/report/rules.py": "line ends in the docstring of a rule",
    "blurnb/report/verdicts.py": "the unit in which a claim is printed",
    "book/_tools/licences.py": "what packages say of themselves; it reads no records",
    "book/_tools/readme.py": "the README's marks; it reads no records",
}
"""Files of the account that take texts apart, none of them a cell of a record, and which texts these are."""


def account() -> dict[str, str]:
    """What tells the reader about records, by file: the report, the notebooks' cells, the book's tools."""
    files = [*(PACKAGE / "report").rglob("*.py"), *(ROOT / "book" / "_tools").glob("*.py")]
    found = {str(file.relative_to(ROOT)): file.read_text() for file in files}
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found[str(file.relative_to(ROOT))] = "\n".join(code)
    return found


def cuts(text: str) -> list[str]:
    """The lines of a source that take a text apart, or look for a part of it."""
    found, lines = set(), text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            by_pattern = isinstance(node.value, ast.Name) and node.value.id == "re"
            if node.attr in CUTS or by_pattern:
                found.add(node.lineno)
        elif isinstance(node, ast.Import | ast.ImportFrom) and "re" in (
            getattr(node, "module", ""),
            node.names[0].name,
        ):
            found.add(node.lineno)
    return [lines[number - 1].strip() for number in sorted(found)]


def test_the_account_takes_no_column_apart():
    found = {file: cuts(text) for file, text in account().items()}
    assert {file: lines for file, lines in found.items() if lines and file not in REVIEWED} == {}
    assert {file for file in REVIEWED if not found[file]} == set(), "reviewed, and no longer needed"


def test_what_is_reviewed_touches_no_column():
    columns = re.compile(r"""\[["'](blur|scale|training|view|part|network|dataset|kernel)["']\]|\brow\.|\brows\b""")
    touched = [f"{file}: {line}" for file, text in account().items() for line in cuts(text) if columns.search(line)]
    assert touched == []


@pytest.mark.parametrize(
    "line",
    [
        'rows["blur"].str.startswith("D")',
        'rows["view"].iloc[0].split(" vs ")',
        'row.training.partition(", ")',
        'import re\nre.match("D[0-9]", row.blur)',
        'from re import match\nmatch("D[0-9]", row.blur)',
        'cut = str.split\ncut(row.blur, "@")',
    ],
)
def test_a_planted_cut_is_found(line):
    assert cuts(line)


SEAM = re.compile(r'" vs "|partition\(" vs|, frame |blocks frozen')


def test_the_old_seam_is_gone():
    texts = [file for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in texts
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if SEAM.search(line)
    ]
    assert found == []


# -- names and docstrings


@functools.cache
def sources() -> dict[str, ast.Module]:
    """The package by module, and the scripts, notebooks and book's tools beside it by file."""
    found = {name: parsed(text) for name, text in house().items()}
    for folder in ("faults", "benchmarks", "book/_tools", "book/_ext"):
        found |= {str(f.relative_to(ROOT)): parsed(f.read_text()) for f in (ROOT / folder).glob("*.py")}
    return found | {name: parsed(text) for name, text in account().items() if name.endswith(".ipynb")}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private(tree: ast.AST) -> tuple[set[str], set[str]]:
    """(names with an underscore that a source defines, those that it uses as another's attribute or imports)."""
    own, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            used |= {alias.name for alias in node.names}
    return set(filter(is_private, own)), set(filter(is_private, used))


def private_uses(trees) -> set[str]:
    """'<source> uses <name>' for each private name of one source that another uses."""
    both = {name: private(tree) for name, tree in trees.items()}
    ours = set().union(*(own for own, _ in both.values()))
    return {f"{name} uses {one}" for name, (own, used) in both.items() for one in used & ours - own}


def test_no_private_name_is_used_outside_its_module():
    assert private_uses(sources()) == set()


@pytest.mark.parametrize("line", ["records._csv(1)", "from blurnb.records import _csv"])
def test_a_planted_private_use_is_found(line):
    assert private_uses({**sources(), "planted": parsed(line)}) == {"planted uses _csv"}


def uses(tree: ast.AST, module: str, known) -> set[tuple[str, str]]:
    """(module, name) of all that a source uses of ours, by `from module import name` or `module.name`."""
    found, called = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                one = f"{node.module}.{alias.name}"
                if one in known:
                    called[alias.asname or alias.name] = one
                else:
                    found.add((node.module, alias.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
            found.add((called[node.value.id], node.attr))
    return found


def public() -> set[tuple[str, str]]:
    """(module, name) of every function and class that another room, a script or a notebook uses, or a room names."""
    everything = sources()
    known = house()
    used = {
        (where, name)
        for user, tree in everything.items()
        for where, name in uses(tree, user, known)
        if where in known and home(where) != home(user)
    }
    from blurnb import optics

    return used | {("blurnb.optics", name) for name in optics.__all__}


def undocumented(known) -> list[str]:
    """Of `public`, what says nothing of itself."""
    bare = {
        (module, node.name)
        for module, tree in known.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is None
    }
    homes = {("blurnb.optics", name): home for name, home in _homes_of_optics().items()}
    return sorted(".".join(one) for one in public() if homes.get(one, one) in bare)


def _homes_of_optics() -> dict[str, tuple[str, str]]:
    from blurnb import optics

    objects = {name: getattr(optics, name) for name in optics.__all__}
    return {name: (one.__module__, name) for name, one in objects.items() if hasattr(one, "__module__")}


def test_all_that_is_public_says_what_it_is():
    assert undocumented(sources()) == []


def test_a_public_function_without_a_docstring_is_found():
    known = {name: ast.parse(text) for name, text in house().items()}
    for name, module in (("mcnemar", "blurnb.intervals"), ("blur", "blurnb.optics.blurring")):
        (function,) = [one for one in known[module].body if getattr(one, "name", "") == name]
        function.body[:1] = []
    assert undocumented(known) == ["blurnb.intervals.mcnemar", "blurnb.optics.blur", "blurnb.optics.blurring.blur"]


DIALECTS = re.compile(
    r":(param|returns?|raises|type|rtype)\b|@(param|return)\b|^\s*(Args|Arguments|Returns|Raises|Yields):$",
    re.MULTILINE,
)


def test_docstrings_speak_one_dialect():
    found = [
        f"{name}:{one.lineno}"
        for name, tree in sources().items()
        for one in docstrings(tree)
        if DIALECTS.search(one.value.value)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["It.\n\n:param x: a number", "It.\n\n    Args:\n        x", "It.\n\n@return 1"])
def test_another_dialect_is_found(text):
    assert DIALECTS.search(text)
