"""The licence of every package that the project asks for, as a page of the book: `make licences` writes it.

With --bill, what is installed here as a bill of materials (CycloneDX) instead: `make sbom`, which needs no network.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from blurnb import files
from blurnb.report.markdown import markdown

PAGE, BILL = Path("book/licences.md"), Path("_build/sbom.cdx.json")
LONGEST = 40  # characters; some packages put the whole text of their licence into the field for its name
BY_HAND = ("benchmark",)  # extras that `make setup` does not install
HEAD = """# Licences

The book and its package are under the MIT licence. They stand on these, each under its own terms, here as the package
itself states them. Photographs and pretrained weights keep their own terms too and are not part of the repository.

"""


def table(project: Path) -> pd.DataFrame:
    """Package, version, what asks for it, licence: one line for each requirement of `project`'s pyproject.toml."""
    stated = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (project / "constraints.txt").read_text().split() if "==" in line)
    pins = {_plain(name): pin for name, pin in pins.items()}
    extras = {name: asked for name, asked in stated["optional-dependencies"].items() if name not in BY_HAND}
    lists = {"the study": stated["dependencies"], **extras}
    lines = {}
    for user, requirements in lists.items():
        for requirement in requirements:
            name = _plain(re.match(r"[\w.-]+", requirement)[0])
            line = lines.setdefault(name, {"package": name, "version": pins.get(name, "–"), "for": user})
            line["licence"] = licence(name)
    return pd.DataFrame(sorted(lines.values(), key=lambda line: line["package"]))


def licence(name: str) -> str:
    """What an installed package states: its SPDX expression, its classifier, or the name in its licence field."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed here"
    classified = [text.split(" :: ")[-1] for text in about.get_all("Classifier", []) if text.startswith("License ::")]
    written = (about.get("License") or "").strip().splitlines()
    named = bool(written) and len(written[0]) <= LONGEST and not re.match("UNKNOWN|Files:", written[0])
    short = written[0] if named else ""
    return about.get("License-Expression") or short or ", ".join(classified) or "see the package"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def page(project: Path) -> str:
    """The whole page in Markdown."""
    return HEAD + markdown(table(project))


def bill() -> dict:
    """Every distribution of this environment, and the project above them: name, version, licence, package address."""
    found = {_plain(one.name): one.version for one in metadata.distributions() if one.name}
    own = found.pop("blurnb", metadata.version("blurnb"))
    parts = [{"type": "library", **_identified(name, version)} for name, version in sorted(found.items())]
    about = {"component": {"type": "application", **_identified("blurnb", own)}}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": about, "components": parts}


def _identified(name: str, version: str) -> dict:
    address = f"pkg:pypi/{quote(name)}@{quote(version)}"
    stated = {"license": {"name": licence(name)}}
    return {"bom-ref": address, "name": name, "version": version, "purl": address, "licenses": [stated]}


def main() -> None:
    """Write the page, or the bill, of the repository in the working directory."""
    if sys.argv[1:] == ["--bill"]:
        files.write_whole(BILL, json.dumps(bill(), indent=1) + "\n")
    else:
        files.write_whole(PAGE, page(Path.cwd()))


if __name__ == "__main__":
    main()
