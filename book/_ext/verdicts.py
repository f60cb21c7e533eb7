"""The role ``{verdict}`` and the pictures' alternative text are checked while the book is built."""

from docutils import nodes
from sphinx.util import logging

logger = logging.getLogger(__name__)

VERDICTS = ("reproduced", "not reproduced", "undecided", "not run")


def verdict(name, rawtext, text, lineno, inliner, options=None, content=None):
    """``{verdict}`reproduced` ``: a badge; any other word than the four of VERDICTS is an error."""
    if text not in VERDICTS:
        message = inliner.reporter.error(f"unknown verdict {text!r}: one of {', '.join(VERDICTS)}", line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]
    return [nodes.inline(rawtext, text, classes=["verdict", text.replace(" ", "-")])], []


def require_alt(app, doctree, docname):
    """Warn of a picture that says nothing to those who cannot see it."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning(
                f"picture without alternative text: {image.get('uri')} "
                "(in a notebook: cell metadata mystnb.image.alt; in Markdown: ![text](file))",
                location=image if image.line else docname,
            )


def setup(app):
    app.add_role("verdict", verdict)
    app.connect("doctree-resolved", require_alt)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
