"""The tools of the book: pages call them through from-records, and each that writes a file is a program."""

import subprocess
import sys
from pathlib import Path

import pytest

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
