"""What must hold for whatever hypothesis draws: a checked result, or one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from blurnb.errors import UserError
from blurnb.labels import parse
from blurnb.optics import blurring, transforms
from blurnb.study import chapters, values

NUMBERS = st.one_of(
    st.builds(pow, st.just(-10), st.sampled_from([400, 5001])),  # hypothesis itself cannot print the number
    st.integers(),
    st.floats(),
    st.sampled_from([2**63, 1e308, 5e-324, -0.0, math.nan, math.inf]),
)
TEXT = st.one_of(
    st.text(max_size=30), st.sampled_from(["", " ", "\n", "\x00", "\ud800", "9" * 5000, "D8", "sharp,D8", "M3@-0", "²"])
)
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT, st.binary(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=12,
)
LABELS = st.one_of(
    TEXT, st.from_regex(r"[DGM][0-9]{1,4}(\.[0-9]{0,8})?(@-?[0-9]{1,5}(\.[0-9]{1,3})?)?", fullmatch=True), JUNK
)


def refused(error: ValueError, names: str = "") -> None:
    message = str(error)
    assert "\n" not in message, message
    assert len(message) < 4000, message
    assert names in message, message


def a_label(label: object) -> None:
    """A label is parsed to one whose kernel is a blur and which parses to itself again, or refused."""
    try:
        blur = parse(label)
    except UserError as error:
        refused(error, "label")
        return
    assert parse(blur.label) == blur
    for factor in (1.0, 0.125):
        kernel = blurring.kernel_for(blur, factor)
        assert kernel.shape[0] == kernel.shape[1] <= 1025
        assert kernel.shape[0] % 2 == 1
        assert np.isfinite(kernel).all()
        assert kernel.min() >= 0
        assert abs(kernel.sum(dtype=float) - 1) < 1e-4


def a_mix(mix: object) -> None:
    """A mix has probabilities that sum to 1, or is refused."""
    try:
        pool = transforms.parse_mix(mix)
    except UserError as error:
        refused(error)
        return
    assert abs(sum(share for _, share in pool) - 1) < 1e-9


def a_spelling(text: str) -> None:
    """What is typed is a number only where it is written as one, and then that number; or it is refused."""
    try:
        value = values.spelled(text)
    except ValueError as error:
        refused(error)
        return
    plain = re.fullmatch("[-+]?[0-9]{1,300}", text)
    assert (type(value) is int) == bool(plain), (text, value)
    assert not plain or value == int(text)


def parameters(chapter: str, name: str, value: object) -> None:
    """A parameter is accepted as something that the model describes, or refused by name."""
    try:
        checked = chapters.found(chapter).Parameters.validate({name: value})
    except UserError as error:
        refused(error)
        return
    said_of = [checked, *checked.pairs]  # a pair's facts may be the chapter's too
    for kept in (getattr(one, name) for one in said_of if name in type(one).model_fields):
        for one in leaves(kept):
            assert isinstance(one, str | int | float | bool)
            assert not isinstance(one, float) or math.isfinite(one)


def leaves(kept: object) -> list:
    return [leaf for one in kept for leaf in leaves(one)] if isinstance(kept, tuple) else [kept]


@st.composite
def cases(draw) -> tuple[str, str, object]:
    chapter = draw(st.sampled_from(sorted(chapters.names())))
    return chapter, draw(st.sampled_from(sorted(chapters.found(chapter).Parameters.names()))), draw(JUNK)


def _repeated(strategy, check: Callable) -> Callable[[int, int, Path], None]:
    def run(count: int, seed: int, tally: Path) -> None:
        done = [0]

        @seeded(seed)
        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def each(value) -> None:
            done[0] += 1
            check(value)

        try:
            each()
        finally:
            tally.write_text(str(done[0]))

    return run


PROPERTIES = {
    "label": _repeated(LABELS, a_label),
    "mix": _repeated(st.one_of(JUNK, st.lists(LABELS, max_size=3)), a_mix),
    "spelling": _repeated(st.one_of(TEXT, st.text("0123456789+-.eExob_:", max_size=8)), a_spelling),
    "parameter": _repeated(cases(), lambda case: parameters(*case)),
}
