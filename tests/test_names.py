"""A name is a word: what users call their classes and folders comes through every table, file and page as itself."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies
from PIL import Image
from torch import nn

from blurnb import provenance, records
from blurnb.errors import UserError
from blurnb.recognition import datasets, families, label_maps
from blurnb.recognition.families import vgg_mini
from blurnb.report import card, figures, page, selection
from blurnb.report.markdown import markdown
from blurnb.report.tables import accuracy, segmentation
from blurnb.study import chapters, confusion, measures, runs

ROOT = Path(__file__).parents[1]
FORK = 'fork vs spoon, "x"'
NAMES = (
    FORK, "mix, 2 blocks frozen", "D8", "=1+1", "'quoted", " padded ", "a|b\\|c\\", "$\\frac{x$", "<b onclick=x>",
    "[l](javascript:x)", "![i](http://x)", "{{ 7 * 7 }}", "{eval}`rm`", "two\nlines\r\n", "", "nan", "true",
    "\x00\u2028", "&lt;b&gt;", "all",
)  # fmt: skip
BLURS = {"profile": "smoke", "blurs": "sharp,D16", "precision": "float32", "network": "vgg_mini", "weights": "none"}
text = strategies.text(
    alphabet=strategies.characters(exclude_categories=("Cs",)), max_size=40
) | strategies.sampled_from(NAMES)
some = hypothesis.settings(
    max_examples=12, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def quick(tmp_path_factory, monkeypatch):
    """One store for all runs, whose names differ and whose answers do not."""
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path_factory.getbasetemp() / "names"))
    monkeypatch.setattr(provenance, "commit", lambda: "commit")
    monkeypatch.setattr(confusion.resampled, "__defaults__", (50,))


@pytest.fixture(scope="module")
def planted():
    """Images of two classes, 6 each, and the same with maps: the class of every pixel is the half it lies in."""
    generator = np.random.default_rng(0)
    pixels = [torch.from_numpy(generator.random((3, 48, 48), np.float32)) for _ in range(12)]
    for i, image in enumerate(pixels):
        image[i % 2] *= 0.5
    ids, labels = tuple(f"image {i}" for i in range(12)), tuple(i % 2 for i in range(12))
    halves = torch.zeros(48, 48, dtype=torch.uint8)
    halves[:, 24:] = 1
    images = datasets.Dataset("folder", ("a", "b"), ids, labels, lambda i: pixels[i], 48, "names")
    return images, datasets.Dataset("voc-layout", ("a", "b"), ids, (), lambda i: (pixels[i], halves), 48, "n")


@pytest.fixture
def answered(planted, monkeypatch, tmp_path):
    """A function of (chapter, name) -> its run on the planted images, one class and the folder called so."""
    images, maps = planted
    monkeypatch.setitem(vgg_mini.NETWORKS, "vgg_mini", vgg_mini.NETWORKS["vgg_mini"]._replace(build=_built))
    families.find.cache_clear()

    def run(chapter: str, name: str, other: str = "another"):
        module = chapters.found(chapter)
        classes = (name, other if name != other else "a third")
        monkeypatch.setattr(datasets, "load", lambda *_, **__: replace(images, classes=classes))
        monkeypatch.setattr(label_maps, "load", lambda *_, **__: replace(maps, classes=classes))
        monkeypatch.setattr(runs, "folder_name", lambda root: name)
        given = BLURS | {
            "scales": "48",
            "n_images": 0,
            "output_dir": str(tmp_path / str(len(list(tmp_path.iterdir())))),
        }
        if chapter == "rq5":
            given |= {"dataset": "voc-layout", "train_images": 0, "train_batch": 12, "base_epochs": 1, "epochs": 1}
            given |= {"hidden_channels": 2, "features": "trained", "mixes": "sharp,mix"}
        else:
            given |= {"dataset": "folder"}
        found = module.run(module.Parameters.validate(given))
        back = records.read(f"{given['output_dir']}/{chapter}.csv")
        assert back.equals(found.rows)
        assert name in set(back[back["part_kind"] == "class"]["part"])
        if chapter != "rq5":
            assert set(back["folder"]) == {name}
        return back, next(iter(found.manifests.values()))

    yield run
    families.find.cache_clear()


def _built(class_count: int, weights: str) -> nn.Module:
    return vgg_mini.VGGMini(class_count, width=1)


# ------------------------------------------------------------------------------------------------ what a page does


class Page(HTMLParser):
    """The tags of a page, and its words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.words.append(data)


def rendered(written: str) -> Page:
    """Markdown as the book renders it, formulas and roles among it."""
    myst = pytest.importorskip("myst_parser.parsers.mdit")
    import yaml
    from markdown_it.renderer import RendererHTML
    from myst_parser.config.main import MdParserConfig

    extensions = yaml.safe_load((ROOT / "_config.yml").read_text())["parse"]["myst_enable_extensions"]
    config = MdParserConfig(enable_extensions=extensions)
    return Page(myst.create_md_parser(config, RendererHTML).render(written))


TABLE = {"table", "thead", "tbody", "tr", "th", "td", "div"}
EMPHASIS = {"em", "strong", "s", "p"}
"""What a star in a name may do: nothing that calls, runs or leaves the page."""


def harmless(frame) -> None:
    """Each cell of a table stays one cell, and nothing in it acts."""
    written = markdown(frame)
    assert len(written.splitlines()) == 2 + len(frame), written
    found = rendered(written)
    assert found.tags <= TABLE | EMPHASIS, (found.tags, written)


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_of_a_table_acts(name):
    frame = pd.DataFrame({"class": [name, "b"], "top-1": ["1 [0, 2]", "2"]})
    harmless(frame)
    found = rendered(markdown(frame))
    assert found.words.count("1 [0, 2]") == 1


@some
@hypothesis.given(text)
def test_no_text_whatever_acts(name):
    harmless(pd.DataFrame({"class": [name]}))


@pytest.mark.parametrize("name", ["<script>x</script>", "{eval}`rm`", "![i](http://x)", "$x$"])
def test_what_a_page_lacks_is_said_and_does_not_act(name, monkeypatch):
    shown = []
    monkeypatch.setattr(page, "display", shown.append)

    def make():
        raise UserError(f"the rows of {name} are missing")

    page.show(make)
    assert not rendered(shown[0].data).tags - EMPHASIS
    assert not rendered(shown[0].data).tags & {"script", "img", "a"}


# ------------------------------------------------------------------------------------------------ through chapters


@some
@hypothesis.given(text)
@hypothesis.example(FORK)
def test_rq1_tells_classes_by_any_name(answered, name):
    back, _ = answered("rq1", name)
    table = segmentation.class_table(back)
    assert name in set(table["class"])
    harmless(table)
    harmless(accuracy.by_blur(back))
    if name == FORK:
        assert figures.segmentation.most_affected(back)


@pytest.mark.parametrize("chapter", ["rq1", "rq5"])
@pytest.mark.parametrize("names", [("b vs c", "b v c"), ("cat vs", "vs dog"), ("a vs sharp image", "a")], ids=str)
def test_names_that_look_like_comparisons_are_two_classes(answered, chapter, names):
    back, _ = answered(chapter, *names)
    of_classes = back[(back["part_kind"] == "class").to_numpy()]
    assert set(of_classes["part"]) == set(names)
    counts = of_classes.groupby("part").size()
    assert counts[names[0]] == counts[names[1]]
    assert set(segmentation.class_table(back)["class"] if chapter == "rq1" else counts.index) == set(names)


@hypothesis.settings(some, max_examples=6)
@hypothesis.given(text)
@hypothesis.example(FORK)
def test_rq5_tells_classes_of_pixels_by_any_name(answered, name):
    back, _ = answered("rq5", name)
    table = segmentation.by_class(back, "D16")
    assert name in set(table["class"])
    harmless(table)


@pytest.mark.filterwarnings("ignore:Glyph")
@hypothesis.settings(some, max_examples=6)
@hypothesis.given(text)
@hypothesis.example(FORK)
def test_the_card_shows_any_name_and_obeys_none(answered, name):
    back, note = answered("card", name)
    facts = card.collect(back, note, back.head(0))
    whole = Page(card.page(facts))
    assert not whole.tags & {"script", "iframe", "object", "a", "b", "i"}
    assert any(name.split() == words.split() or name in words for words in whole.words) or not name.strip()
    written = rendered(card.markdown(facts))
    assert not written.tags & {"script", "img", "a", "eq"}


def test_a_folder_of_ones_own_ends_in_its_column(answered, tmp_path, monkeypatch):
    folder = tmp_path / FORK
    for place, name in enumerate((FORK, "spoon")):
        (folder / name).mkdir(parents=True)
        for i in range(measures.LEAST_OF_A_CLASS):
            Image.fromarray(np.full((40, 48, 3), 40 * i + 20 * place, np.uint8)).save(folder / name / f"{i}.png")
    monkeypatch.undo()
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "store"))
    module = chapters.found("rq1")
    given = BLURS | {"dataset": "folder", "data_root": str(folder), "n_images": 0, "scales": "48", "frame": 48}
    rows = module.run(module.Parameters.validate(given | {"output_dir": str(tmp_path / "out")})).rows
    assert records.read(tmp_path / "out" / "rq1.csv").equals(rows)
    assert set(rows["folder"]) == {FORK}
    assert set(rows["part"]) == {"", FORK, "spoon"}
    assert selection.one_source(rows, "it")[1] == f"folder {FORK}, frame 48"


def test_a_folder_whose_name_is_no_text_is_spelled_out():
    assert runs.folder_name("/photos/caf\udce9") == "caf\\xe9"
    assert runs.folder_name(f"/photos/{FORK}") == FORK
