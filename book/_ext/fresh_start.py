"""What an earlier build left must not decide what this one says.

Sphinx keeps the pages it has read, and with them forgets their warnings: a build that failed under ``-W`` would pass
when it is simply called again. So the memory of a build with warnings is wiped, and that of one that was killed, whose
pages and search index do not belong together. Pages of chapters that are no longer in the reading order are removed,
for search engines and links would still find them.
"""

from pathlib import Path


def begin(app, config):
    """Start from nothing where the build before did not come to its end (Sphinx event ``config-inited``)."""
    mark = Path(app.doctreedir, "unfinished")
    if mark.exists():
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def forget(app, exception):
    """Delete Sphinx's memory of a build that warned or failed (Sphinx event ``build-finished``)."""
    if exception is not None or app._warncount:
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
    Path(app.doctreedir, "unfinished").unlink(missing_ok=True)


def remove_strays(app, exception):
    """Delete HTML pages of documents that are no longer in the book, in the folders that hold its documents."""
    if exception is not None or app.builder.format != "html":
        return
    documents = app.env.found_docs
    for folder in {document.split("/")[0] for document in documents if "/" in document}:
        for page in Path(app.outdir, folder).rglob("*.html"):
            if page.relative_to(app.outdir).with_suffix("").as_posix() not in documents:
                page.unlink()


def setup(app):
    app.connect("config-inited", begin)
    app.connect("build-finished", forget)
    app.connect("build-finished", remove_strays)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
