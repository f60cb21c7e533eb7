"""Every page of the book forbids its reader's browser to ask any other host for anything.

What a page shows comes from notebooks, records and file names; whatever got into it, nothing is fetched from elsewhere
and nothing is sent there. Scripts and styles within a page are allowed, because the theme writes some; `file:` is for
readers who open the book from their disk, where some browsers do not count other files as the page's own.
"""

POLICY = (
    "default-src 'self' file:; script-src 'self' file: 'unsafe-inline'; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data:; font-src 'self' file: data:; object-src 'none'; frame-src 'none'; base-uri 'self'; "
    "form-action 'self' file:"
)


def forbid(app, pagename, templatename, context, doctree):
    """Put the policy at the head of a page, before anything that loads (Sphinx event ``html-page-context``)."""
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    context["metatags"] = meta + context.get("metatags", "")


def setup(app):
    app.connect("html-page-context", forbid, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
