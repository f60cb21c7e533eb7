"""Give the book its own copy of MathJax, so that formulas appear without a network.

The files come from the installed package ``sphinx-mathjax-offline`` (MathJax 3.2.2, Apache-2.0). Loaded as a Sphinx
extension that package copies all of its 24 MB into every book; two parts of it suffice. ``tex-svg.js`` carries its
glyphs as outlines: web fonts are refused by some browsers on pages opened from the disk. What it would load from other
hosts for its menu and for speech, which the book does not have, is taken out of the copy.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

PACKAGE = "sphinx-mathjax-offline"
# The second is what MathJax loads by itself on meeting \cancel, \boldsymbol and the like.
PARTS = ["tex-svg.js", "input/tex/extensions"]
ELSEWHERE = re.compile(r"https?://(?!www\.w3\.org/)[^\"'<>\s]*")
"""Addresses that are no names of XML dialects."""


def mathjax_folder():
    """Folder of the installed MathJax; raises ExtensionError when the package is missing."""
    try:
        return Path(distribution(PACKAGE).locate_file("sphinx-mathjax-offline/static/mathjax"))
    except PackageNotFoundError:
        raise ExtensionError(f"the book's formulas need the package {PACKAGE}: pip install {PACKAGE}") from None


def use_own_copy(app, config):
    config.mathjax_path = "mathjax/tex-svg.js"


def copy_mathjax(app):
    """Copy what the pages load into ``_static/mathjax`` (before any page is written, so that links are checkable)."""
    if app.builder.format != "html":
        return
    folder = mathjax_folder()
    for part in PARTS:
        target = Path(app.outdir, "_static", "mathjax", part)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_asset(str(folder / part), str(target if (folder / part).is_dir() else target.parent))
        for file in target.rglob("*.js") if target.is_dir() else [target]:
            text = file.read_text(encoding="utf-8")
            if ELSEWHERE.search(text):
                file.write_text(ELSEWHERE.sub("", text), encoding="utf-8")


def setup(app):
    app.connect("config-inited", use_own_copy)
    app.connect("builder-inited", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
