"""Tables and numbers computed from records while the book is built: a directive, and a role for inside a sentence.

    ```{from-records} blurnb.report.tables:published_rows
    :require: photographs
    :profiles: [embedded, photographs]
    :class: sortable
    ```

    ... on {from-records}`blurnb.report.tables:count question=rq1 profile=photographs` photographs ...

``module:function`` is called as ``function(records, **options)``, or as ``function(manifests, **options)`` where its
first parameter has that name. Options are read as YAML. Three are the directive's own: ``question`` (records whose file
name begins so; default all), ``require`` (profiles without which the build fails) and ``class``. The function returns
Markdown text or a frame. What it raises ends the build. A page is rebuilt when a record or the module has changed.

Records come from ``book/records/<profile>``; a profile that was run anew below ``_build/records`` is shown from there.
"""

import inspect
from importlib import import_module
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole


class AnyOption(dict):
    """Accepts every option name and keeps its text: the function called knows its own parameters."""

    def __bool__(self):
        return True

    def __contains__(self, name):
        return True

    def __getitem__(self, name):
        return directives.unchanged


def profile_folders(env):
    """Folder of each profile; where several places have the profile the last named wins."""
    found = {}
    for place in env.config.records_folders:
        base = Path(env.srcdir, place)
        found |= {folder.name: folder for folder in sorted(base.glob("*")) if folder.is_dir() and any(folder.iterdir())}
        # A profile that appears or goes changes the folder, a record that is rewritten itself.
        env.note_dependency(str(base))
    for folder in found.values():
        for file in sorted(folder.rglob("*.csv")):
            env.note_dependency(str(file))
    return found


def compute(env, target, options):
    """What ``module:function`` returns for these options (texts, as written); raises ValueError that names it."""
    from blurnb import records

    given = {name: yaml.safe_load(text) for name, text in options.items()}
    question, required = given.pop("question", "rq"), given.pop("require", None) or []
    folders = profile_folders(env)
    missing = sorted(set(required.split() if isinstance(required, str) else required) - set(folders))
    if missing:
        raise ValueError(f"{target}: no records of the profile {', '.join(missing)} in {env.config.records_folders}")
    module_name, _, function_name = target.partition(":")
    try:
        module = import_module(module_name)
        env.note_dependency(module.__file__)
        function = getattr(module, function_name)
        if next(iter(inspect.signature(function).parameters), "") == "manifests":
            first = {run: note for f in folders.values() for run, note in records.manifests(f, question).items()}
        else:
            rows = (row for f in folders.values() for row in records.load(f, question).to_dict("records"))
            first = records.table(rows)
        return function(first, **given)
    except Exception as error:
        raise ValueError(f"{target}: {type(error).__name__}: {error}") from error


class FromRecords(SphinxDirective):
    required_arguments = 1
    option_spec = AnyOption()

    def run(self):
        from blurnb.report import tables

        options = dict(self.options)
        classes = options.pop("class", "").split()
        try:
            result = compute(self.env, self.arguments[0], options)
        except ValueError as error:
            raise self.error(str(error)) from error
        text = result if isinstance(result, str) else tables.markdown(result)
        # Parsed where it stands: it may hold citations, links and formulas.
        holder = nodes.container(classes=classes, is_div=True)
        self.state.nested_parse(text.splitlines(), self.content_offset, holder)
        return [holder]


class FromRecordsInline(SphinxRole):
    def run(self):
        target, *pairs = self.text.split()
        try:
            text = str(compute(self.env, target, dict(pair.split("=", 1) for pair in pairs)))
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.inline(self.rawtext, text)], []


def setup(app):
    app.add_config_value("records_folders", ["book/records", "_build/records"], "env", [list])
    app.add_directive("from-records", FromRecords)
    app.add_role("from-records", FromRecordsInline())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
