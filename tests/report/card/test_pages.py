"""The card as pages: nothing that a file is called is obeyed, in HTML or in Markdown."""

import re
import shutil
from html.parser import HTMLParser

import hypothesis
import pytest
from carded import NOBODY, note, planted
from hypothesis import strategies
from planted import row, rows

from blurnb.report import card
from blurnb.report.card import pages

EVIL = 'a<b>"&$x_1|[l](javascript:x) vs\nz {{ 7 * 7 }} {% raw %} {# #}'


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.given, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.given += attributes

    def handle_data(self, data):
        self.text.append(data)


def evil():
    """A card on which every word that comes from outside is an instruction."""
    classes = [row(0.05, value=0.9, part_kind="class", part=name, experiment="card", training="as given",
                   network=EVIL, dataset="folder", folder=EVIL) for name in (EVIL, "cat")]  # fmt: skip
    classes += [one | {"blur": "D8", "value": -0.4, "statistic": "difference", "versus_blur": "sharp"}
                for one in classes]  # fmt: skip
    rest = planted(network=EVIL, folder=EVIL).to_dict("records")
    return rows(*rest, *classes), note(network_origin={"source": EVIL, "weights": "none"})


def test_nothing_that_a_file_is_called_is_obeyed(tmp_path):
    paths = card.write(tmp_path, *evil(), NOBODY)
    page = Reader(paths[0].read_text())
    assert not {"b", "script", "iframe", "object", "a"} & set(page.tags)
    assert any(EVIL in text for text in page.text)
    assert not any(key.startswith("on") for key, _ in page.given)
    sources = [value for key, value in page.given if key in ("src", "href")]
    assert sources
    assert all(value.startswith("data:") for value in sources)
    text = paths[1].read_text()
    assert "[l](javascript" not in text
    assert "<b>" not in text
    assert "{{ 7 \\* 7 }}" in text
    table = [line for line in text.splitlines() if line.startswith("| a\\")]
    assert table
    assert {line.count("|") - line.count("\\|") for line in table} == {5}


@hypothesis.given(strategies.text(max_size=60))
def test_markdown_that_is_escaped_holds_no_markup_and_all_its_letters(text):
    escaped = pages.plain(text)
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]<>#~$]", escaped)


def test_the_markdown_shows_the_figures_beside_it(tmp_path):
    text = card.write(tmp_path, planted(), note(), NOBODY)[1].read_text()
    for file in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / file).read_text().startswith("<?xml")
    assert "card_1.svg" in text
    assert 'RandomBlur(mix="mix")' in text


def test_the_parts_of_a_notebook_are_those_of_the_page():
    told = card.collect(planted(), note(), NOBODY)
    text = card.markdown(told)
    assert text.startswith("# How robust is net to blur?\n\nMeasured on 500 images")
    assert card.markdown(told, only="summary").strip() in text
    assert card.markdown(told, only="todo").startswith("**What to do about it**\n\n- Fine-tune it")
    assert card.markdown(told, only="todo").count("```") == 2
    for step in told.sections[0].words:
        assert f"- {pages.plain(step)}\n" in card.markdown(told, only="todo")
    assert not re.search("\n{3}", text)


def test_numbers_keep_to_one_line_and_words_do_not():
    page = card.page(card.collect(planted(), note(), NOBODY))
    assert "<td class=number>90.0 [87.1, 92.3]</td>" in page
    assert "<td>beyond the strongest measured, D8</td>" in page
    assert "<td>500 of 10 classes, seed 0</td>" in page


def test_the_card_is_legible_in_a_browser_light_and_dark_on_a_desk_and_a_phone(tmp_path):
    test_book = pytest.importorskip("test_book")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("THE CARD WAS NOT LOOKED AT: no chromium is installed (Debian: the package chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    card.write(tmp_path, planted(), note(classes=100), card.references())
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (1280, 390):
            assert test_book.faults_of(browser, tmp_path.as_uri() + "/", ["card.html"], width) == []
        browser.close()
