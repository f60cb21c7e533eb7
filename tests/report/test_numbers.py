"""One way to print a number: percent with a decimal where the images are many, a true minus, no negative nothing."""

import math

import pytest

from blurnb.report import numbers


@pytest.mark.parametrize(
    "value, n, metric, text",
    [
        (0.61, 500, "top5", "61.0"),
        (0.61, 199, "top5", "61"),
        (0.616, 20, "top1", "62"),
        (math.nan, 20, "top1", "–"),
        (-0.0001, 500, "top1", "0.0"),
        (-0.221, 500, "top1", "−22.1"),
        (1.2345, 500, "entropy", "1.23"),
        (0.83, 500, "cosine", "0.830"),
        (123.4, 5, "seconds", "123"),
    ],
)
def test_number(value, n, metric, text):
    assert numbers.number(value, n, metric) == text


def test_interval():
    assert numbers.interval(0.61, 0.566, 0.652, 500) == "61.0 [56.6, 65.2]"
    assert numbers.interval(0.61, math.nan, math.nan, 500) == "61.0"
    assert numbers.interval(0.61, math.nan, math.nan, 500, "ece") == "no interval"
    assert numbers.interval(-0.05, -0.1, 0.02, 500, signed=True) == "−5.0 [−10.0, +2.0]"


@pytest.mark.parametrize("seconds, text", [(0.4, "< 1 s"), (59.4, "59 s"), (60, "1 min 00 s"), (7500, "2 h 05 min")])
def test_duration(seconds, text):
    assert numbers.duration(seconds) == text
