"""The chapters: clean as committed, refusing what they do not know, and held to their numbers by nbval."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import planted
import pytest
from click.testing import CliRunner
from papermill.__main__ import papermill

from blurnb.report.page import NOTHING
from blurnb.study import chapters, runs

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_committed_clean(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not {"papermill", "widgets", "execution"} & set(notebook["metadata"])
    for cell in code_cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        kinds = {type(node) for node in ast.walk(ast.parse("".join(cell["source"])))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda}, "definitions belong in the package"
        assert "papermill" not in cell["metadata"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_parameters_are_plain_literals_that_the_chapter_knows(path):
    (cell,) = [c for c in code_cells(path) if "parameters" in c["metadata"].get("tags", [])]
    parameters = chapters.found(path.stem).Parameters
    for line in "".join(cell["source"]).splitlines():
        assert re.fullmatch(r"\w+ = [^=#]+  # .+", line), f"one literal and a comment: {line}"
        name, value = line.split("  # ")[0].split(" = ")
        ast.literal_eval(value)
        assert name in parameters.names()
    parameters.validate({})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_figure_has_caption_name_and_alternative_text(path):
    named = []
    for cell in code_cells(path):
        source = "".join(cell["source"])
        if re.search(r"\bfigures\.", source):
            myst = cell["metadata"].get("mystnb", {})
            assert myst.get("figure", {}).get("caption"), source
            assert len(myst.get("image", {}).get("alt", "")) > 20, source
            named.append(myst["figure"]["name"])
    assert named
    assert len(named) == len(set(named))


def test_what_no_network_has_a_part_in_is_shown_with_the_images_of_its_pair():
    """RQ4's table of psnr shows rows that name no network."""
    place = {"network": "net", "dataset": "scenes", "folder": "", "frame": 512}
    other = place | {"dataset": "imagenet"}
    pairs = tuple(runs.Opened(None, None, None, (), one) for one in (place, other))
    quality = planted.row(metric="psnr", network="", weights="", training="", frozen="", per_scale=None)
    rows = planted.rows(quality, {**quality, "dataset": "imagenet"}, planted.row(), planted.row(network="another"))
    run = runs.Run(rows, {}, pairs)
    assert sorted(run.of(0)[["network", "metric"]].values.tolist()) == [["", "psnr"], ["net", "top1"]]
    assert run.of(1)[["dataset", "metric"]].values.tolist() == [["imagenet", "psnr"]]


def run_nbval(path, cwd):
    command = [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
    return subprocess.run([*command, "-c", os.devnull, str(path)], cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """RQ1 run on the smoke profile by the command line, with its tables stored in the copy."""
    folder = tmp_path_factory.mktemp("nbval")
    shutil.copytree(ROOT / "book" / "records", folder / "book" / "records")
    copy = folder / "rq1.ipynb"
    command = [sys.executable, "-m", "blurnb", "run", "rq1", "-p", "profile=smoke", "-p", f"output_dir={folder}"]
    done = subprocess.run([*command, "--output", str(copy)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return copy


def test_nbval_passes_on_an_executed_copy_and_fails_when_one_digit_changes(executed):
    assert run_nbval(executed, executed.parent).returncode == 0
    notebook = json.loads(executed.read_text())
    for cell in notebook["cells"]:
        if "nbval-check-output" in cell["metadata"].get("tags", []) and "by_blur" in "".join(cell["source"]):
            (output,) = cell["outputs"]
            text = "".join(output["data"]["text/markdown"])
            place = next(re.finditer(r"\d(?= \[)", text)).start()  # the last digit of the first estimate
            output["data"]["text/markdown"] = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    altered = executed.with_name("altered.ipynb")
    altered.write_text(json.dumps(notebook))
    done = run_nbval(altered, executed.parent)
    assert done.returncode == 1
    assert "1 failed" in done.stdout


@pytest.mark.parametrize(("chapter", "given"), [("rq1", "blurs=D4"), ("rq2", "mixes=sharp")])
def test_a_chapter_ends_with_its_verdict_whatever_its_parameters_leave_out(chapter, given, tmp_path):
    """A sweep over blurs runs a chapter on one at a time, without the sharp images that some figures compare with."""
    copy = tmp_path / "chapter.ipynb"
    command = [sys.executable, "-m", "blurnb", "run", chapter, "-p", "profile=smoke", "-p", given]
    command += ["-p", f"output_dir={tmp_path}", "--output", str(copy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [json.dumps(c["outputs"]) for c in code_cells(copy)]
    assert any(NOTHING in output for output in outputs)
    assert any("The rule." in output for output in outputs)


def test_a_mistyped_parameter_fails_before_a_kernel_starts(tmp_path):
    command = [sys.executable, "-m", "blurnb", "run", "rq1", "-p", "n_imges=3", "--output", str(tmp_path / "o.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'n_imges'" in done.stderr
    assert "n_images" in done.stderr
    assert not (tmp_path / "o.ipynb").exists()


def test_plain_papermill_stops_at_a_mistyped_parameter_before_the_run(tmp_path):
    out = tmp_path / "o.ipynb"
    command = [sys.executable, "-m", "papermill", "notebooks/rq1_degradation.ipynb", str(out), "-p", "datset", "scenes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "parameter 'datset' is unknown; did you mean dataset" in done.stderr
    ran = [c for c in code_cells(out) if any("chapter.run(" in line for line in c["source"])]
    assert ran[0]["execution_count"] is None


def documented_commands():
    """Every papermill command in the README and the book's pages, as the shell would split it."""
    commands = []
    for page in (ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))):
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0].rpartition("/")[2] == "papermill":
                    commands.append(pytest.param(words[1:], id=f"{page.name}: {' '.join(words[3:])[:60]}"))
    return commands


@pytest.mark.parametrize("words", documented_commands())
def test_every_papermill_command_in_the_pages_gives_parameters_that_the_chapter_takes(words, tmp_path):
    """-p, -y and -f as printed: papermill itself reads them, and the chapter checks what it made of them."""
    (tmp_path / "my_parameters.yml").write_text("blurs: [sharp, D4]\nscales: ['128', '256']\n")
    words = [str(tmp_path / word) if word == "my_parameters.yml" else word for word in words]
    notebook, out, *options = words
    made = tmp_path / "prepared.ipynb"
    done = CliRunner().invoke(papermill, [str(ROOT / notebook), str(made), *options, "--prepare-only"])
    assert done.exit_code == 0, done.output
    (cell,) = [c for c in code_cells(made) if "injected-parameters" in c["metadata"].get("tags", [])]
    given = {}
    for node in ast.parse("".join(cell["source"])).body:
        given[node.targets[0].id] = ast.literal_eval(node.value)
    assert given
    chapters.found(Path(notebook).stem).Parameters.validate(given)
