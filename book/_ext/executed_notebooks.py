"""Show the executed copy of every notebook.

The repository keeps notebooks without outputs; papermill writes what it ran to ``_build/executed``, at the same
relative path. Sphinx is handed the text of that copy whenever it reads ``notebooks/<chapter>.ipynb``, so one tree of
sources serves the editor and the book, and a page is rebuilt when its notebook was run again.
"""

from pathlib import Path

from sphinx.util import logging

logger = logging.getLogger(__name__)


def read_executed(app, docname, source):
    """Replace the text of a notebook by that of its executed copy (Sphinx event ``source-read``)."""
    notebook = Path(app.env.doc2path(docname))
    if notebook.suffix != ".ipynb":
        return
    relative = notebook.relative_to(app.srcdir)
    executed = Path(app.srcdir, app.config.executed_notebooks_dir, relative)
    # Also where it is missing: its appearance then makes the page out of date.
    app.env.note_dependency(str(executed))
    if not executed.is_file():
        logger.warning(
            f"{relative} has not been run: {executed.relative_to(app.srcdir)} is missing; `make book` runs it first",
            location=docname,
        )
        return
    source[0] = executed.read_text(encoding="utf-8")


def setup(app):
    app.add_config_value("executed_notebooks_dir", "_build/executed", "env", [str])
    app.connect("source-read", read_executed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
