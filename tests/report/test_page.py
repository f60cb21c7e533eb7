"""What a chapter shows: the figure, the table, the sentence, or what the run lacks; anything else is raised."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from blurnb.errors import UserError
from blurnb.report import page
from blurnb.report.markdown import markdown


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(page, "display", shown.append)
    return shown


def test_a_figure_is_displayed_as_it_is(displayed):
    figure = Figure()
    page.show(lambda given, *, also: {1: figure}[given + also], 0, also=1)
    assert displayed == [figure]


def test_a_table_and_a_sentence_are_markdown(displayed):
    table = pd.DataFrame({"blur": ["D8"], "top-1": ["12 %"]})
    page.show(lambda: table)
    page.show(lambda: "One *sentence*.")
    assert [one.data for one in displayed] == [markdown(table), "One *sentence*."]


def test_what_a_run_lacks_is_said_in_its_place(displayed):
    def before_after():
        raise UserError("before_after has no rows with training mix")

    page.show(before_after)
    assert displayed[0].data == f"*{page.NOTHING}: before_after has no rows with training mix.*"


def test_a_fault_of_the_program_is_not_hidden(displayed):
    with pytest.raises(KeyError):
        page.show(lambda: {}["rows"])
    assert displayed == []
