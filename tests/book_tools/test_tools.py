"""The tools of the book: pages call them through from-records, and each that writes a file is a program."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from book._tools import licences

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path for path in (ROOT / "book" / "_tools").glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_a_tool_runs_as_a_program_from_the_repository(tool):
    """As far as its imports: what it would rewrite stays."""
    code = f"import runpy; runpy.run_path({str(tool)!r}, run_name='imported')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"book/_tools/{tool.name}" in (ROOT / "Makefile").read_text()


def test_a_page_calls_the_tools_without_the_repository_on_the_path(tmp_path):
    code = (
        f"import sys; sys.path = [p for p in sys.path if p not in ('', {str(ROOT)!r})]\n"
        f"sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "import from_records\n"
        "from book._tools import fault_totals\n"
        f"print(fault_totals.not_tried(file={str(ROOT / 'book' / 'records' / 'campaign.json')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def test_the_bill_of_materials_names_what_is_installed():
    found = licences.bill()
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    assert found["metadata"]["component"]["name"] == "blurnb"
    parts = {part["name"]: part for part in found["components"]}
    assert "blurnb" not in parts
    numpy = parts["numpy"]
    assert numpy["version"] == metadata.version("numpy")
    assert numpy["purl"] == numpy["bom-ref"] == f"pkg:pypi/numpy@{metadata.version('numpy')}"
    assert "BSD" in numpy["licenses"][0]["license"]["name"]
    assert len({part["bom-ref"] for part in found["components"]}) == len(found["components"])


def test_the_audit_fails_where_it_could_not_look():
    """pip-audit itself ends well when it could ask about no package at all."""
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "-r constraints.txt" in line]
    assert "pip-audit --strict " in line
