"""Show the executed copy of every notebook.

The repository keeps notebooks without outputs; papermill writes what it ran to ``_build/executed``, at the same
relative path. Sphinx is handed the text of that copy whenever it reads ``notebooks/<chapter>.ipynb``, so one tree of
sources serves the editor and the book, and a page is rebuilt when its notebook was run again: by what the copy says,
not by its date, which a clock that was set back would make older than the page.
"""

import hashlib
from pathlib import Path

from sphinx.util import logging

logger = logging.getLogger(__name__)


def read_executed(app, docname, source):
    """Replace the text of a notebook by that of its executed copy (Sphinx event ``source-read``)."""
    notebook = Path(app.env.doc2path(docname))
    if notebook.suffix != ".ipynb":
        return
    relative = notebook.relative_to(app.srcdir)
    executed = copy_of(app, notebook)
    # Also where it is missing: its appearance then makes the page out of date.
    app.env.note_dependency(str(executed))
    if not executed.is_file():
        logger.warning(
            f"{relative} has not been run: {executed.relative_to(app.srcdir)} is missing; `make book` runs it first",
            location=docname,
        )
        return
    source[0] = executed.read_text(encoding="utf-8")
    shown(app.env)[docname] = digest(executed)


def copy_of(app, notebook):
    return Path(app.srcdir, app.config.executed_notebooks_dir, Path(notebook).relative_to(app.srcdir))


def digest(executed):
    return hashlib.sha256(executed.read_bytes()).hexdigest() if executed.is_file() else ""


def shown(env):
    """Document name -> digest of the copy that its page shows."""
    if not hasattr(env, "executed_notebooks"):
        env.executed_notebooks = {}
    return env.executed_notebooks


def changed(app, env, added, altered, removed):
    """Pages whose executed copy is another than the one they show (Sphinx event ``env-get-outdated``)."""
    known = shown(env).items()
    return [name for name, seen in known if name in env.found_docs and digest(copy_of(app, env.doc2path(name))) != seen]


def merge(app, env, docnames, other):
    """Bring together what parallel readers saw (Sphinx event ``env-merge-info``)."""
    shown(env).update({name: seen for name, seen in shown(other).items() if name in docnames})


def setup(app):
    app.add_config_value("executed_notebooks_dir", "_build/executed", "env", [str])
    app.connect("source-read", read_executed)
    app.connect("env-get-outdated", changed)
    app.connect("env-merge-info", merge)
    return {"version": "2", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
