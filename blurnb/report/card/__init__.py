"""The card: what blur does to one network, on a page, from its records alone, beside the networks of the book."""

from blurnb.report.card.advice import main, training
from blurnb.report.card.facts import collect, comparison, conditions, headline, references, situations
from blurnb.report.card.pages import markdown, page, write
