"""The book as its readers meet it: in a browser, light and dark, on a desk and on a phone, without a network.

The book is not built here. BLURNB_BOOK names its folder (default `_build/html`); a folder that was named but holds no
book is a failure, the default one without a book a skip. The checks are proved on pages made wrong on purpose.
"""

import functools
import http.server
import io
import os
import re
import shutil
import socket
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import nbformat
import planted
import pytest
import yaml
from sphinx import application
from sphinx.util.docutils import docutils_namespace

from blurnb import provenance, records
from blurnb.report.page import NOTHING

ROOT = Path(__file__).resolve().parent.parent
EXTENSIONS = ROOT / "book" / "_ext"
THEMES = ("light", "dark")

# What a page must not show, asked of the page itself.
FAULTS = """
async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  await document.fonts.ready;
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth)
    faults.push(`overflow: ${root.scrollWidth} pixels of content in ${root.clientWidth}`);
  for (const image of document.images) {
    if (!image.complete || image.naturalWidth === 0) faults.push(`image not loaded: ${image.getAttribute("src")}`);
    if (!image.alt.trim()) faults.push(`image without alt: ${image.getAttribute("src")}`);
  }
  document.querySelectorAll("mjx-merror, [data-mjx-error]").forEach((bad) =>
    faults.push(`formula: ${bad.getAttribute("data-mjx-error") || bad.textContent}`));

  // Contrast of every text in the article with what lies behind it (WCAG 2: 4.5, large text 3).
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = colour; pixel.fillRect(0, 0, 1, 1);
      known.set(colour, [...pixel.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const over = (top, below) => below.map((b, i) => (top[i] * top[3] + b * (255 - top[3])) / 255);
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const luminance = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const seen = new Set();
  const texts = document.createTreeWalker(document.querySelector("article") || document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || seen.has(element)) continue;
    seen.add(element);
    if (element.closest("svg, script, style, mjx-assistive-mml, .headerlink, button.copybtn")) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    const [a, b] = [luminance(over(rgba(style.color), behind)), luminance(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    if (ratio < (size >= 24 || (size >= 18.6 && style.fontWeight >= 600) ? 3 : 4.5))
      faults.push(`contrast ${ratio.toFixed(2)}: "${texts.currentNode.textContent.trim().slice(0, 40)}"`);
  }
  return faults;
}
"""

# The theme that the page shows within half a second of the reader's system changing to it.
FOLLOWED = """
async (theme) => {
  const shown = () => document.documentElement.dataset.theme ?? null;
  for (let tries = 0; tries < 25 && ![null, theme].includes(shown()); tries++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  return shown();
}
"""


class Page(HTMLParser):
    """The links, anchors and embedded files of one HTML file."""

    EMBEDDING = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
    LINK_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "shortcut icon"}

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.embedded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.update(given[key] for key in ("id", "name") if given.get(key))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        target = given.get(self.EMBEDDING.get(tag, ""))
        if target and (tag != "link" or given.get("rel") in self.LINK_RELATIONS):
            self.embedded.append(target)


def pages_of(folder):
    """Paths of the pages, relative to the folder; what belongs to the theme is left out."""
    return sorted(p.relative_to(folder) for p in folder.rglob("*.html") if p.relative_to(folder).parts[0] != "_static")


def broken_links(folder):
    """Every link, anchor and embedded file of a built book that leads nowhere or, embedded, to another host."""
    folder = folder.resolve()
    pages = {folder / path: Page(folder / path) for path in pages_of(folder)}
    faults = []
    for path, page in pages.items():
        here = path.relative_to(folder)
        for target in page.embedded:
            if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
                faults.append(f"{here}: embeds {target}")
        for target in page.links + page.embedded:
            parts = urlsplit(target)
            if parts.scheme or target.startswith("//"):
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                faults.append(f"{here}: no file for {target}")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors:
                faults.append(f"{here}: no anchor for {target}")
    return faults


def serve(folder):
    """An HTTP server for the folder on a free local port; its address is `server.url`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')
LOADS = re.compile(r"<(script|link|img|style|iframe)\b")


def unguarded(folder):
    """Every page of a book that does not forbid other hosts before it loads anything."""
    faults = []
    for path in pages_of(folder):
        text = (folder / path).read_text(encoding="utf-8")
        policy, loads = POLICY.search(text), LOADS.search(text)
        if "http-equiv=refresh" in text or 'http-equiv="Refresh"' in text:  # the first page, which leads on at once
            continue
        if not policy or "://" in policy[1] or "*" in policy[1] or not policy[1].startswith("default-src 'self'"):
            faults.append(f"{path}: no policy, or one that lets others in")
        elif loads and loads.start() < policy.start():
            faults.append(f"{path}: loads before it forbids")
    return faults


def faults_of(browser, url, paths, width):
    """What is wrong with the pages below `url` on a window of this width, in light and in dark: one line a fault."""
    # Colours that fade over would be measured half way.
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    faults = []
    page = context.new_page()
    theme = THEMES[0]

    def note(text):
        faults.append(f"{path} ({theme}, {width}): {text}")

    def guard(route):
        if route.request.url.startswith((url, "data:", "blob:")):
            route.continue_()
        else:
            note(f"request to {route.request.url}")
            route.abort("blockedbyclient")

    page.on("console", lambda message: note(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: note(f"script: {error}"))
    page.on("response", lambda r: note(f"status {r.status}: {r.url}") if r.status >= 400 else None)
    if url.startswith("http"):
        page.route("**/*", guard)
    for path in paths:
        page.emulate_media(color_scheme=theme)
        page.goto(url + str(path), wait_until="load")
        # Opened in the one and switched to the other; the next page is opened in the theme this one ends with.
        for theme in (theme, THEMES[1 - THEMES.index(theme)]):  # noqa: B020
            page.emulate_media(color_scheme=theme)
            shown = page.evaluate(FOLLOWED, theme)
            if shown not in (None, theme):
                note(f"shows the theme {shown}")
            for fault in page.evaluate(FAULTS):
                note(fault)
    context.close()
    return faults


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("THE BOOK WAS NOT LOOKED AT: no chromium is installed (Debian: the package chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # As root Chromium refuses to start with its sandbox.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def book():
    named = os.environ.get("BLURNB_BOOK")
    folder = Path(named or ROOT / "_build" / "html")
    if not (folder / "index.html").is_file():
        if named:
            pytest.fail(f"BLURNB_BOOK={named} holds no index.html: build the book first")
        pytest.skip("THE BOOK WAS NOT LOOKED AT: none is built in _build/html (make book)")
    return folder


@pytest.fixture(scope="module")
def served(book):
    server = serve(book)
    yield server.url
    server.shutdown()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_whole_and_legible(browser, book, served, width):
    # The first page is index.html, which leads on to the root page at once.
    pages = [path for path in pages_of(book) if path != Path("index.html")]
    assert pages
    assert faults_of(browser, served, pages, width) == []


def test_no_figure_is_missing(book):
    """`show` says on the page what a run lacks; the profiles that the book is built on lack nothing."""
    assert [path.name for path in pages_of(book) if NOTHING in (book / path).read_text()] == []


def test_every_link_leads_somewhere(book):
    assert broken_links(book) == []


def test_no_page_may_ask_another_host(book):
    assert unguarded(book) == []


def test_no_script_of_the_book_names_another_host_to_load_from(book):
    """Of what is served; links that readers follow are no requests."""
    named = re.compile(r"https?://[^\s\"'`<>)\\]*\.(?:js|css|json|woff2?|mjs)\b|https?://cdn\.")
    mathjax = [path for path in (book / "_static" / "mathjax").rglob("*.js") if named.search(path.read_text())]
    assert mathjax == []


def search(browser, url, word):
    page = browser.new_page()
    page.goto(f"{url}search.html?q={word}")
    # not by a function: polling it is an eval, which the pages forbid
    page.locator(".search-summary", has_text=re.compile("found|did not match")).wait_for(timeout=10000)
    found = page.locator("#search-results ul.search li a").all_inner_texts()
    page.close()
    return found


def test_search_finds_what_is_there_and_nothing_else(browser, served):
    assert search(browser, served, "defocus")
    assert search(browser, served, "xylophonist") == []


def test_the_book_opens_from_the_disk(browser, book):
    """No server: formulas, pictures and search have to work on file:// too."""
    url = book.resolve().as_uri() + "/"
    pages = [path for path in pages_of(book) if path.parts[0] in ("book", "notebooks")]
    # One page with formulas, one chapter: what differs from a server is the same on every page.
    pages = [path for path in pages if 'class="math' in (book / path).read_text()][:1] + pages[-1:]
    assert faults_of(browser, url, pages, 1280) == []
    assert search(browser, url, "defocus")


def test_launch_buttons_name_the_repository_and_the_notebook(book):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    _, owner, name = repository["url"].rsplit("/", 2)
    chapters = sorted((book / "notebooks").glob("*.html"))
    for chapter in chapters:
        links = Page(chapter).links
        notebook = f"notebooks/{chapter.stem}.ipynb"
        assert (ROOT / notebook).is_file()
        for host in ("https://colab.research.google.com/", "https://mybinder.org/"):
            assert any(link.startswith(host) and f"{owner}/{name}" in link and notebook in link for link in links), host


# --- the checks can fail ---------------------------------------------------------------------------------------------

GOOD = "<!doctype html><html><head><title>t</title><link rel=icon href=data:,></head><body>{}</body></html>"
WRONG = {
    "request to": "<script src='https://example.org/a.js'></script>",
    "image without alt": "<img src='dot.svg'>",
    "image not loaded": "<img src='missing.svg' alt='a dot'>",
    "status 404": "<img src='missing.svg' alt='a dot'>",
    "overflow": "<p style='width: 2000px'>wide</p>",
    "console": "<script>console.error('planted')</script>",
    "script": "<script>const twice = 1;</script><script>const twice = 1;</script>",
    "contrast": "<article style='background: #111'><p style='color: #333'>dark on dark</p></article>",
    "formula": "<p data-mjx-error='Undefined control sequence'>x</p>",
    "shows the theme": "<script>document.documentElement.dataset.theme = 'dark'</script>",
}
DOT = "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><circle cx='4' cy='4' r='3'/></svg>"


def test_the_checker_reports_what_is_planted_and_nothing_else(browser, tmp_path):
    (tmp_path / "dot.svg").write_text(DOT)
    (tmp_path / "good.html").write_text(GOOD.format("<img src='dot.svg' alt='a dot'><p>text</p>"))
    for number, body in enumerate(WRONG.values()):
        (tmp_path / f"{number}.html").write_text(GOOD.format(body))
    server = serve(tmp_path)
    assert faults_of(browser, server.url, ["good.html"], 390) == []
    faults = faults_of(browser, server.url, [f"{number}.html" for number in range(len(WRONG))], 390)
    server.shutdown()
    for number, kind in enumerate(WRONG):
        seen = [fault for fault in faults if fault.startswith(f"{number}.html")]
        assert any(f", 390): {kind}" in fault for fault in seen), (kind, seen)


@pytest.fixture
def policy(monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    import own_host

    return own_host.POLICY


ATTEMPTS = """
<img alt=a src='http://127.0.0.1:{port}/a.png'><script src='http://127.0.0.1:{port}/a.js'></script>
<link rel=stylesheet href='http://127.0.0.1:{port}/a.css'>
<object data='http://127.0.0.1:{port}/a.svg'></object>
<p style="background: url(http://127.0.0.1:{port}/b.png)">x</p>
<script>fetch('http://127.0.0.1:{port}/c').catch(() => 0); new WebSocket('ws://127.0.0.1:{port}/d');</script>
"""


def test_the_policy_lets_nothing_out_and_its_violation_is_a_fault(browser, tmp_path, policy):
    (tmp_path / "dot.svg").write_text(DOT)
    other = socket.create_server(("127.0.0.1", 0))
    other.setblocking(False)
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    own = "<img src='dot.svg' alt='a dot'><p style='color: black'>x</p><script>document.title = 'mine'</script>"
    (tmp_path / "own.html").write_text(GOOD.format(own).replace("<head>", f"<head>{head}"))
    attempts = ATTEMPTS.format(port=other.getsockname()[1])
    frame = "<iframe src='https://example.org/'></iframe>"  # asks nothing, but Chromium connects in advance
    (tmp_path / "out.html").write_text(GOOD.format(attempts).replace("<head>", f"<head>{head}"))
    (tmp_path / "frame.html").write_text(GOOD.format(frame).replace("<head>", f"<head>{head}"))
    server = serve(tmp_path)
    assert faults_of(browser, server.url, ["own.html"], 390) == []
    page = browser.new_page()
    page.goto(server.url + "out.html", wait_until="load")  # nothing but the policy is in the way
    page.close()
    with pytest.raises(BlockingIOError):
        other.accept()
    other.close()
    faults = faults_of(browser, server.url, ["out.html", "frame.html"], 390)
    server.shutdown()
    assert any(fault.startswith("frame.html") for fault in faults)
    assert sum("Content Security Policy" in fault for fault in faults) >= 6


def test_a_page_without_a_policy_or_with_a_weak_or_late_one_is_seen(tmp_path, policy):
    meta = '<meta http-equiv="Content-Security-Policy" content="{}">'
    for name, head in {
        "right": meta.format(policy) + "<script src=a.js></script>",
        "none": "",
        "late": "<script src=a.js></script>" + meta.format(policy),
        "weak": meta.format("default-src 'self' https://cdn.example.org"),
        "all": meta.format("default-src *"),
    }.items():
        (tmp_path / f"{name}.html").write_text(
            GOOD.format("").replace("<head>", f"<head>{head}").replace("<link rel=icon href=data:,>", "")
        )
    assert [fault.split(".")[0] for fault in unguarded(tmp_path)] == ["all", "late", "none", "weak"]


def test_mathjax_is_the_books_own_and_names_nobody_else(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    offline = pytest.importorskip("offline_mathjax")
    folder = tmp_path / "package"
    (folder / "input/tex/extensions").mkdir(parents=True)
    (folder / "tex-svg.js").write_text('a="http://www.w3.org/2000/svg";b="https://cdn.example.org/x@"+v+"/y.js"')
    (folder / "input/tex/extensions/m.js").write_text("c='http://example.org/m.js'")
    monkeypatch.setattr(offline, "mathjax_folder", lambda: folder)
    built = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path / "html")
    offline.copy_mathjax(built)
    mine = tmp_path / "html/_static/mathjax"
    assert (mine / "tex-svg.js").read_text() == 'a="http://www.w3.org/2000/svg";b=""+v+"/y.js"'
    assert (mine / "input/tex/extensions/m.js").read_text() == "c=''"


def test_broken_links_are_seen(tmp_path):
    (tmp_path / "a.html").write_text(GOOD.format("<h1 id='top'>a</h1><a href='b.html#here'>b</a><a href='#top'>a</a>"))
    (tmp_path / "b.html").write_text(GOOD.format("<p id='here'>b</p><a href='https://example.org/'>out</a>"))
    assert broken_links(tmp_path) == []
    (tmp_path / "b.html").write_text(GOOD.format("<a href='c.html'>c</a><img src='//example.org/x.png'>"))
    assert broken_links(tmp_path) == [
        "a.html: no anchor for b.html#here",
        "b.html: embeds //example.org/x.png",
        "b.html: no file for c.html",
    ]


# --- sortable tables -------------------------------------------------------------------------------------------------

TABLE = """<table class="sortable"><thead><tr><th>blur</th><th>ours</th></tr></thead><tbody>
<tr><td>D10</td><td>0.9</td></tr><tr><td>sharp</td><td>–</td></tr>
<tr><td>D2</td><td>\u22121.5 [\u22122, \u22121]</td></tr>
<tr><td>G4</td><td>1,000</td></tr></tbody></table>"""


def test_tables_sort_by_number_and_by_word_and_come_back(browser, tmp_path):
    (tmp_path / "tables.js").write_text((ROOT / "book/_static/tables.js").read_text())
    (tmp_path / "t.html").write_text(GOOD.format(TABLE + "<script src='tables.js'></script>"))
    page = browser.new_page()
    page.goto((tmp_path / "t.html").as_uri())

    def column():
        return page.locator("tbody tr td:first-child").all_inner_texts()

    ours, blur = page.get_by_role("button", name="ours"), page.get_by_role("button", name="blur")
    given = column()
    ours.click()
    assert column() == ["G4", "D10", "D2", "sharp"]  # largest first, what was not run last
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "descending"
    ours.click()
    assert column() == ["D2", "D10", "G4", "sharp"]
    ours.click()
    assert column() == given
    assert page.locator("th[aria-sort]").count() == 0
    blur.press("Enter")
    assert column() == ["D2", "D10", "G4", "sharp"]  # D2 before D10
    page.close()


# --- the build -------------------------------------------------------------------------------------------------------


def build(folder):
    """Build the pages in `folder` with the book's extensions; returns Sphinx's warnings."""
    settings = {
        "extensions": ["myst_nb", "executed_notebooks", "fresh_start", "from_records", "own_host", "plain_sight"],
        "nb_execution_mode": "off",
        "root_doc": "index",
        "exclude_patterns": ["_build"],
        "records_modules": ["blurnb.report.", "planted_report"],
    }
    output, warnings = folder / "_build" / "html", io.StringIO()
    with docutils_namespace():
        application.Sphinx(
            folder, None, output, folder / "_build" / "doctrees", "html", settings, status=None, warning=warnings
        ).build()
    return warnings.getvalue()


def notebook(path, output):
    cell = nbformat.v4.new_code_cell("print('result')")
    if output:
        cell.outputs = [nbformat.v4.new_output("stream", text=output)]
        cell.execution_count = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_markdown_cell("# Chapter"), cell]
    nbformat.write(nbformat.v4.new_notebook(metadata=metadata, cells=cells), path)


def record(folder, value):
    row = planted.row(network="planted", blur="D8", metric="top5", value=value, profile=folder.name, run_id="0" * 12)
    shutil.rmtree(folder, ignore_errors=True)
    records.write(folder / "rq1.csv", [row], {"0" * 12: provenance.manifest({})})


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    monkeypatch.syspath_prepend(tmp_path)
    record(tmp_path / "book/records/embedded", 0.5)
    (tmp_path / "planted_report.py").write_text(
        "def first(records, unit='of one'):\n    return f'{records[\"value\"].iloc[0]} {unit}'\n"
        "def frame(records):\n    return records[['blur', 'value']].assign(verdict='undecided')\n"
        "def runs(manifests):\n    return f'{len(manifests)} run'\n"
        "def both(records, manifests):\n    return f'{len(records)} row of {len(manifests)} run'\n"
    )
    (tmp_path / "index.md").write_text(
        "# Book\n\n```{toctree}\nplain\nnotebooks/chapter\n```\n\nFound: **contradicted**. **Bold**.\n\n"
        "**undecided**: 3 points.\n\n"
        "Inline {from-records}`planted_report:first unit=points`, {from-records}`planted_report:runs`, "
        "{from-records}`planted_report:both`.\n\n"
        "```{from-records} planted_report:frame\n:class: sortable\n:require: embedded/rq1\n:csv: planted.csv\n```\n"
    )
    (tmp_path / "plain.md").write_text("# Plain\n")
    notebook(tmp_path / "notebooks/chapter.ipynb", None)
    notebook(tmp_path / "_build/executed/notebooks/chapter.ipynb", "71.6 percent")
    yield tmp_path
    sys.modules.pop("planted_report", None)


def test_the_book_shows_executed_copies_and_computed_text(small_book):
    assert build(small_book) == ""
    chapter, index = small_book / "_build/html/notebooks/chapter.html", small_book / "_build/html/index.html"
    assert "71.6 percent" in chapter.read_text()
    for text in (
        "0.5 points",
        "1 run",
        "1 row of 1 run",
        "sortable",
        "<strong>Bold</strong>",
        "<td",
        'href="_static/tables/planted.csv"',
    ):
        assert text in index.read_text()
    assert unguarded(small_book / "_build/html") == []
    assert "D8,0.5,undecided" in (small_book / "_build/html/_static/tables/planted.csv").read_text()
    assert '<span class="verdict contradicted">contradicted</span>' in index.read_text()
    assert '<span class="verdict undecided">undecided</span> 3 points' in index.read_text()
    assert re.search(r'<td[^>]*>\s*<p>\s*<span class="verdict undecided">', index.read_text())
    # The chapter is run again with another result, the profile too: the same build renews both pages.
    notebook(small_book / "_build/executed/notebooks/chapter.ipynb", "12.3 percent")
    record(small_book / "_build/records/embedded", 0.25)
    assert build(small_book) == ""
    assert "12.3 percent" in chapter.read_text()
    assert "0.25 points" in index.read_text()


def test_a_table_to_download_begins_no_formula(monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    import from_records

    cells = [0.5, "+0.5 [-1, 2]", "-3", "\N{MINUS SIGN}3", "12.5%", "=1+1", "+1|cmd", "@x", "a;=b", "fork"]
    shown = [0.5, "+0.5 [-1, 2]", "-3", "\N{MINUS SIGN}3", "12.5%", "'=1+1", "'+1|cmd", "'@x", "a;'=b", "fork"]
    assert [from_records.unrun(cell) for cell in cells] == shown


def test_a_build_after_one_that_was_killed_starts_from_nothing(small_book):
    assert build(small_book) == ""
    kept = small_book / "_build/doctrees"
    assert not (kept / "unfinished").exists()
    (kept / "unfinished").touch()  # what a killed build leaves: a mark, and a search index of half a file
    index = small_book / "_build/html/searchindex.js"
    whole = index.read_text()
    index.write_text(whole[:40])
    (small_book / "plain.md").write_text("# Plain\n\nMore.\n")
    assert build(small_book) == ""
    assert index.read_text().startswith("Search.setIndex(")
    assert "notebooks/chapter" in index.read_text()
    assert not (kept / "unfinished").exists()


def test_a_page_follows_its_chapter_although_the_clock_was_set_back(small_book):
    assert build(small_book) == ""
    executed = small_book / "_build/executed/notebooks/chapter.ipynb"
    notebook(executed, "12.3 percent")
    os.utime(executed, (1_000_000_000, 1_000_000_000))
    assert build(small_book) == ""
    page = (small_book / "_build/html/notebooks/chapter.html").read_text()
    assert "12.3 percent" in page
    assert "71.6 percent" not in page


def test_a_build_says_what_is_missing(small_book):
    (small_book / "_build/executed/notebooks/chapter.ipynb").unlink()
    shutil.rmtree(small_book / "book/records/embedded")
    (small_book / "dot.svg").write_text(DOT)
    with (small_book / "plain.md").open("a") as plain:
        plain.write("\n![](dot.svg)\n")
    said = build(small_book)
    assert "notebooks/chapter.ipynb has not been run" in said
    assert "planted_report:frame: no records of the profile embedded/rq1" in said
    assert "planted_report:first: IndexError" in said
    assert "picture without alternative text: dot.svg" in said
    # Called again it says so again: a failed build does not pass the second time.
    assert build(small_book) == said


def test_a_profile_that_lacks_the_experiment_a_page_requires_fails(small_book):
    (small_book / "book/records/embedded/rq1.csv").rename(small_book / "book/records/embedded/rq2.csv")
    (small_book / "book/records/embedded/rq1.json").rename(small_book / "book/records/embedded/rq2.json")
    assert "planted_report:frame: no records of the profile embedded/rq1" in build(small_book)


def test_a_page_that_left_the_book_is_gone(small_book):
    (small_book / "notebooks/gone.md").write_text("---\norphan: true\n---\n\n# Gone\n")
    build(small_book)
    page = small_book / "_build/html/notebooks/gone.html"
    assert page.is_file()
    (small_book / "notebooks/gone.md").unlink()
    assert build(small_book) == ""
    assert not page.exists()
    assert (small_book / "_build/html/notebooks/chapter.html").is_file()


def test_the_reading_order_names_files_that_exist():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [toc["root"], *(chapter["file"] for part in toc.get("parts", []) for chapter in part["chapters"])]
    assert len(set(listed)) == len(listed)
    for name in listed:
        assert any((ROOT / f"{name}{suffix}").is_file() for suffix in (".md", ".ipynb")), name


def test_nothing_of_jupyter_book_is_lost_but_what_fetches_from_elsewhere():
    """_config.yml spells the extensions out; a newer jupyter-book may bring others."""
    config = pytest.importorskip("jupyter_book.config")
    ours = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["extensions"]
    assert set(config.get_default_sphinx_config()["extensions"]) - set(ours) == {
        "sphinx_thebe",
        "sphinx.ext.intersphinx",
    }
