"""Tables and numbers computed from records while the book is built: a directive, and a role for inside a sentence.

    ```{from-records} blurnb.report.tables.published:rows
    :require: photographs
    :profiles: [embedded, photographs]
    :class: sortable
    ```

    ... on {from-records}`blurnb.report.sentences:value experiment=rq1 blur=D8 form=n` photographs ...

``module:function`` is called as ``function(records, **options)``, or as ``function(manifests, **options)`` where its
first parameter has that name, and with both where another has it. Options are read as YAML. Four are the directive's
own: ``experiment`` (its records alone; default all but speed), ``require`` (profiles, or a profile's experiments as in
``photographs/rq2``, without which the build fails), ``csv`` (a file name under which the table can be downloaded) and
``class``. The function returns Markdown text or a frame. What it raises ends the build. Pages that use it are made anew
in every build.

Records come from ``book/records/<profile>``; a profile that was run anew below ``_build/records`` is shown from there.
"""

import inspect
import re
import sys
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import pandas as pd
import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

sys.path.insert(0, str(Path(__file__).parents[2]))  # `book._tools` are beside the pages, not in the package


NUMBERS = re.compile(r"[-+\N{MINUS SIGN}\d., \[\]%]*")


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
        found |= {folder.name: folder for folder in sorted(base.glob("*")) if any(folder.rglob("*.csv"))}
    return found


def present(folders, profile, experiment="*"):
    """Whether there are records of the profile, or of one experiment in it."""
    return profile in folders and any(folders[profile].rglob(f"{experiment}.csv"))


@lru_cache(maxsize=16)
def load(folders, experiment, stamps):
    """Records and manifests of these folders; `stamps` (times of change) make a rewritten file a new question."""
    from blurnb import records

    found = [records.load(folder, experiment, with_manifests=True) for folder in folders]
    rows = records.table(pd.concat([frame for frame, _ in found]) if found else [])
    return rows, {run: note for _, notes in found for run, note in notes.items()}


def compute(env, target, options):
    """What ``module:function`` returns for these options (texts, as written); raises ValueError that names it."""
    # What decides the text (records, functions, what those call) is more than file dates can tell; it is quickly made.
    env.note_reread()
    given = {name: yaml.safe_load(text) for name, text in options.items()}
    experiment, required = given.pop("experiment", ""), (given.pop("require", None) or "").split()
    folders = profile_folders(env)
    missing = [one for one in required if not present(folders, *one.split("/"))]
    if missing:
        raise ValueError(f"{target}: no records of the profile {', '.join(missing)} in {env.config.records_folders}")
    module_name, _, function_name = target.partition(":")
    if not module_name.startswith(tuple(env.config.records_modules)):  # a page is text; it must not call what it likes
        raise ValueError(f"{target}: only functions of {', '.join(env.config.records_modules)} are called")
    stamps = tuple(
        file.stat().st_mtime_ns for f in folders.values() for file in sorted(f.rglob(f"{experiment or '*'}.*"))
    )
    try:
        function = getattr(import_module(module_name), function_name)
        records, manifests = load(tuple(folders.values()), experiment, stamps)
        wanted, *others = inspect.signature(function).parameters or [""]
        given |= {"manifests": manifests} if "manifests" in others else {}
        return function(manifests if wanted == "manifests" else records.copy(), **given)
    except Exception as error:
        raise ValueError(f"{target}: {type(error).__name__}: {error}") from error


def unrun(cell):
    """A cell of a downloaded table: numbers and intervals as they are, names so that no spreadsheet runs them."""
    from blurnb.cells import guarded

    return guarded(cell) if isinstance(cell, str) and not NUMBERS.fullmatch(cell) else cell


class FromRecords(SphinxDirective):
    required_arguments = 1
    option_spec = AnyOption()

    def run(self):
        from blurnb.report.markdown import markdown

        options = dict(self.options)
        classes, file = options.pop("class", "").split(), options.pop("csv", "")
        try:
            result = compute(self.env, self.arguments[0], options)
        except ValueError as error:
            raise self.error(str(error)) from error
        text = result if isinstance(result, str) else markdown(result)
        # Parsed where it stands: it may hold citations, links and formulas.
        holder = nodes.container(classes=classes, is_div=True)
        self.state.nested_parse(text.splitlines(), self.content_offset, holder)
        return [holder, self.download(result, file)] if file else [holder]

    def download(self, frame, file):
        """A link to the table as CSV, which is written beside the book's other files."""
        folder = Path(self.env.app.outdir, "_static", "tables")
        folder.mkdir(parents=True, exist_ok=True)
        frame.map(unrun).to_csv(folder / file, index=False)
        address = "../" * self.env.docname.count("/") + f"_static/tables/{file}"
        link = nodes.reference("", "this table as CSV", refuri=address, internal=True, classes=["download"])
        return nodes.paragraph("", "", link)


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
    app.add_config_value("records_modules", ["blurnb.report.", "book._tools."], "env", [list])
    app.add_directive("from-records", FromRecords)
    app.add_role("from-records", FromRecordsInline())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
