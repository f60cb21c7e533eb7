"""What the chapters' prose says of the records: each sentence that compares or explains has a query, and that holds.

`book/sentences.toml` lists them. A page here is a chapter's Markdown cells and captions, `book/intro.md` or
`book/method.md`; in a sentence white space is one blank, and a number that the page takes from the records is `…`.
"""

import functools
import json
import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from blurnb import records
from blurnb.report import paper, verdicts

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "book" / "records" / "photographs"
LISTED = tomllib.loads((ROOT / "book" / "sentences.toml").read_text(encoding="utf-8"))

# Words of a comparison or of a cause. A question claims nothing.
TELLING = re.compile(
    r"\b(because|due to|ow(ing|ed) to|thus|hence|therefore|that is why|cannot be told|than|as \w+ as|more|less|fewer"
    r"|better|worse|larger|smaller|higher|lower|stronger|weaker|closer|cheaper|most|least|best|worst|nearly|almost"
    r"|hardly|behind|survives?|copes?|costs?|helps?|fails?|loses?|gains?|falls?|rises?|recovers?|keeps?)\b",
    re.IGNORECASE,
)


@functools.cache
def pages():
    """{page: its prose}."""
    found = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("book/intro.md", "book/method.md")}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in cells]
        found[f"notebooks/{path.name}"] = "\n\n".join([*texts, *(one.get("caption", "") for one in figures)])
    return found


def sentences_of(page):
    """The sentences of a page; a list item, a table's line and a heading begin one too."""
    page = re.sub(r"```.*?```|\$\$.*?\$\$", "\n\n", page, flags=re.DOTALL)
    page = re.sub(r"\{from-records\}`[^`]*`", "…", page)
    for block in re.split(r"\n\s*\n|\n(?=[-*|] |#+ |\d+\. )", page):
        yield from filter(None, re.split(r"(?<=[.?!])\s+(?=\W*[A-Z…])", " ".join(block.split())))


def unlisted(texts, listed):
    """Sentences with a telling word that are in neither list, and those with queries that stand in no such page."""
    queried = {(one["page"], one["says"]) for one in listed["sentence"]}
    known = queried | {(page, says) for page, some in listed["not_about_records"].items() for says in some}
    there = {(page, one) for page, text in texts.items() for one in sentences_of(text)}
    telling = {(page, one) for page, one in there if TELLING.search(one) and not one.endswith("?")}
    new = [f"{page}: give it a query, or say that it needs none: {one}" for page, one in telling - known]
    return sorted(new + [f"{page}: no such sentence: {one}" for page, one in queried - there])


@functools.cache
def table(file):
    """Every cell of a committed file as text, the numbers as numbers; "paper" is what the paper published."""
    if file == "paper":
        return paper.published().rename(columns={"share_kept": "value"}).assign(ci_low=0.0, ci_high=1.0)
    found = pd.read_csv(RECORDS / f"{file}.csv", dtype=str, keep_default_na=False)
    return found.assign(**{name: pd.to_numeric(found[name]) for name in ("value", "ci_low", "ci_high")})


def asked(file, where):
    """The rows that `where` names (a list: any of them). A column of the other side that it does not name is empty, and
    so are parts; frozen parts and networks for each scale are asked for by name."""
    found = table(file)
    usual = {name: "" for name in found if name.startswith("versus_")} | {"part_kind": "", "per_scale": ["", "false"]}
    usual["frozen"] = ["", "none"]
    usual["statistic"] = "difference" if any(name.startswith("versus_") for name in where) else "estimate"
    for name, wanted in ({} if file == "paper" else usual).items():
        if name not in where:
            where = {**where, name: wanted}
    for name, wanted in where.items():
        found = found[found[name].isin([str(one) for one in (wanted if isinstance(wanted, list) else [wanted])])]
    order = [name for name in ("train_seed", "blur", "scale", "part") if name in found]
    return found.sort_values(order)[["value", "ci_low", "ci_high"]].to_numpy().tolist()


def holds(query):
    """Whether a query's condition holds on the committed records, for every row that it asks for.

    `file`, `where`: the rows, `rows` of them (1). `minus`, `of`: other columns, whose row is taken off, or is what the
    number is a share of, the ends as if independent. `mean`: of all the rows, ends averaged. `is`: comparisons of
    value, low and high with numbers. Or `claim` and `network`: the `word` of its verdict, and what its note `says`.
    """
    if "claim" in query:
        experiment = {1: "rq1", 2: "rq2", 3: "rq2", 4: "rq2", 5: "rq3", 6: "rq3", 7: "rq4", 8: "rq5"}[query["claim"]]
        found = [one for one in judged(query["claim"], experiment) if one.evidence.startswith(query["network"] + " on")]
        told = [one for one in found if one.verdict != verdicts.NOT_RUN]
        return [one.verdict for one in told] == [query["word"]] and query.get("says", "") in told[0].note
    rows = asked(query["file"], query["where"])
    if len(rows) != query.get("rows", 1):
        raise ValueError(f"{len(rows)} rows match {query['where']}, not {query.get('rows', 1)}")
    for relation in ("minus", "of"):
        if relation in query:
            others = asked(query["file"], query["where"] | query[relation])
            others = others * (len(rows) if len(others) == 1 else 1)
            rows = [_related(relation, *both) for both in zip(rows, others, strict=True)]
    if query.get("mean"):
        rows = [[sum(column) / len(rows) for column in zip(*rows)]]
    return all(_is(query["is"], *row) for row in rows)


def _related(relation, one, other):
    if relation == "minus":
        return one[0] - other[0], one[1] - other[2], one[2] - other[1]
    sizes = sorted(map(abs, other[1:]))
    ends = sorted(map(abs, one[1:]))
    return abs(one[0] / other[0]), ends[0] / sizes[1], ends[1] / sizes[0]


def _is(condition, value, low, high):
    numbers = {"value": value, "low": low, "high": high}
    for part in condition.split(" and "):
        name, sign, bar = re.fullmatch(r"(value|low|high) ([<>]) (-?[\d.]+)", part).groups()
        if not (numbers[name] < float(bar) if sign == "<" else numbers[name] > float(bar)):
            return False
    return True


@functools.cache
def judged(claim, experiment):
    found = [records.load(RECORDS, one) for one in dict.fromkeys([experiment, "rq2"])]
    return verdicts.judge(claim, records.table(pd.concat(found)), "photographs")


def unsupported(listed):
    """The sentences whose queries do not hold, with the first such query."""
    found = []
    for one in listed["sentence"]:
        assert one["rests_on"], one["says"]
        wrong = [query for query in one["rests_on"] if not holds(query)]
        found += [f"{one['page']}: {one['says']} rests on {wrong[0]}"] if wrong else []
    return found


def test_every_sentence_that_compares_or_explains_is_listed_and_stands_in_its_page():
    assert unlisted(pages(), LISTED) == []


def test_every_listed_sentence_is_supported_by_the_committed_records():
    assert unsupported(LISTED) == []


def test_a_sentence_that_nobody_listed_is_found():
    new = {**pages(), "book/intro.md": pages()["book/intro.md"] + "\n\nBlur helps because it\nhides noise."}
    (said,) = set(unlisted(new, LISTED)) - set(unlisted(pages(), LISTED))
    assert said == "book/intro.md: give it a query, or say that it needs none: Blur helps because it hides noise."
    question = {**pages(), "book/intro.md": pages()["book/intro.md"] + "\n\nDoes blur help more?"}
    assert unlisted(question, LISTED) == unlisted(pages(), LISTED)


def test_a_listed_sentence_that_was_rewritten_is_found():
    one = LISTED["sentence"][0]
    said = f"{one['says'][:-1]}, nearly{one['says'][-1]}"
    changed = {"sentence": [one | {"says": said}, *LISTED["sentence"]], "not_about_records": {}}
    assert f"{one['page']}: no such sentence: {said}" in unlisted(pages(), changed)


@pytest.mark.parametrize("place", range(len(LISTED["sentence"])))
def test_a_query_turned_round_does_not_hold(place):
    one = LISTED["sentence"][place]
    for query in one["rests_on"]:
        if "claim" in query:
            turned = query | {"word": "contradicted" if query["word"] != "contradicted" else "supported"}
        else:
            turned = query | {"is": query["is"].translate(str.maketrans("<>", "><"))}
        assert unsupported({"sentence": [one | {"rests_on": [turned]}]}), turned
