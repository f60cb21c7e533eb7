"""Seconds of acts that take turns."""

import time

import pytest

from blurnb.study import timing


def test_acts_take_turns_and_the_first_round_does_not_count():
    order = []

    def act(name):
        if order.count(name) == 0:
            time.sleep(0.2)  # as whatever is loaded on first use
        order.append(name)

    found = timing.seconds({"a": lambda: act("a"), "b": lambda: act("b")}, repeats=3)
    assert order == ["a", "b"] * 4
    for median, least, most in found.values():
        assert 0 < least <= median <= most < 0.1


def test_the_median_of_what_an_act_takes():
    pauses = iter([0.0, 0.01, 0.2, 0.03])
    ((median, least, most),) = timing.seconds({"a": lambda: time.sleep(next(pauses))}, repeats=3).values()
    assert median == pytest.approx(0.03, abs=0.02)
    assert least < median < most
