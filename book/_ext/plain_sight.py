"""Verdicts are shown as badges, and no picture goes without a text.

A verdict is one of five words. Set in bold, as ``**supported**``, or alone in the cell of a table, it becomes a badge,
whether the author wrote it, a notebook printed it or it was computed from records; elsewhere (a terminal, a card)
the same Markdown stays what it is.
"""

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)

VERDICTS = {word: word.replace(" ", "-") for word in ("supported", "contradicted", "no effect", "undecided", "not run")}
VERDICTS["not run yet"] = "not-run"


class Badges(SphinxPostTransform):
    default_priority = 400

    def run(self, **_):
        for node in list(self.document.findall(lambda n: isinstance(n, nodes.strong | nodes.entry))):
            kind = VERDICTS.get(node.astext().strip())
            if kind is None:
                continue
            badge = nodes.inline("", node.astext().strip(), classes=["verdict", kind])
            if isinstance(node, nodes.entry):
                node[:] = [nodes.paragraph("", "", badge)]
            elif node.parent is not None:
                rest = node.next_node(descend=False, siblings=True)
                if isinstance(rest, nodes.Text) and rest.startswith(": "):
                    # The badge parts what it says from what follows; a colon after it would hang in the air.
                    rest.parent.replace(rest, nodes.Text(rest[1:]))
                node.replace_self(badge)


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
    app.add_post_transform(Badges)
    app.connect("doctree-resolved", require_alt)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
