"""Text that is computed from records while the book is built: a directive, and a role for use inside a sentence.

    ```{from-records} blurnb.report.tables:published
    :profile: photographs
    ```

    Measured on {from-records}`blurnb.report.tables:count profile=photographs` photographs.

``module:function`` is called as ``function(records, **options)`` with the folder ``book/records`` as a Path and every
option as a string; it returns Markdown. What it raises ends the build. A page is rebuilt when any record, or the module,
has changed.
"""

from importlib import import_module
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

RECORDS = "book/records"


class AnyOption(dict):
    """Accepts every option name and keeps its text: the function called knows its own parameters."""

    def __bool__(self):
        return True

    def __contains__(self, key):
        return True

    def __getitem__(self, key):
        return directives.unchanged

    def get(self, key, default=None):
        return directives.unchanged


def compute(env, target, options):
    """Markdown returned by ``module:function``; raises ValueError with the name of what failed."""
    module_name, _, function_name = target.partition(":")
    records = Path(env.srcdir, RECORDS)
    for file in sorted(records.rglob("*")) if records.is_dir() else []:
        if file.is_file():
            env.note_dependency(str(file))
    try:
        module = import_module(module_name)
        env.note_dependency(module.__file__)
        text = getattr(module, function_name)(records, **options)
    except Exception as error:
        raise ValueError(f"{target}: {type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise ValueError(f"{target} returned {type(text).__name__}, not Markdown text")
    return text


class FromRecords(SphinxDirective):
    required_arguments = 1
    option_spec = AnyOption()

    def run(self):
        try:
            text = compute(self.env, self.arguments[0], self.options)
        except ValueError as error:
            raise self.error(str(error)) from error
        holder = nodes.Element()
        # State of the MyST parser: what is returned may hold roles, citations and formulas.
        self.state.nested_parse(text.splitlines(), self.content_offset, holder)
        return holder.children


class FromRecordsInline(SphinxRole):
    def run(self):
        target, *pairs = self.text.split()
        try:
            text = compute(self.env, target, dict(pair.split("=", 1) for pair in pairs))
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.inline(self.rawtext, text)], []


def setup(app):
    app.add_directive("from-records", FromRecords)
    app.add_role("from-records", FromRecordsInline())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
