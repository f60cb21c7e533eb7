"""What is typed is read as it is written: never as an octal number, a time of day or a truth that nobody meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurnb.errors import UserError
from blurnb.study import chapters, values


@pytest.mark.parametrize(
    "text, found",
    [
        ("0512", 512), ("-007", -7), ("+4", 4), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("true", True),
        ("False", False), ("null", None), ("", None), ("sharp,D8", "sharp,D8"), ("[sharp, 0512]", ["sharp", 512]),
        ("'0512'", "0512"), ("{a: 010}", {"a": 10}),
        # YAML 1.1 makes numbers, truths and dates of these
        *((text, text) for text in ("0o17", "0x1f", "0b11", "1_000", "1:30", "1:30:00", "2020-01-01", "yes", "no",
                                    "on", "off", "y", "~", ".nan", ".inf", "-.inf", "<<", "=")),
    ],
)  # fmt: skip
def test_a_text_spells_what_it_says(text, found):
    assert values.spelled(text) == found
    assert type(values.spelled(text)) is type(found)


@pytest.mark.parametrize("text", ["!!bool x", "[" * 3000, "9" * 5000, "!!python/object/apply:os.getcwd []", "a: b: c"])
def test_what_is_no_yaml_is_one_line(text):
    with pytest.raises(ValueError) as caught:
        values.spelled(text)
    assert "\n" not in str(caught.value)


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_zeros_before_a_whole_number_say_nothing(number, zeros):
    sign = "-" if number < 0 else ""
    assert values.spelled(f"{sign}{'0' * zeros}{abs(number)}") == number


@pytest.mark.parametrize(
    "name, text, found",
    [
        ("frame", "0512", 512), ("flip", "yes", True), ("flip", "off", False), ("seed", "1e3", 1000),
        ("seed", "0o17", None), ("seed", "1:30", None), ("frame", "0x200", None), ("n_images", "1e2", None),
        ("scales", "0256", ("256",)), ("scales", "0128,256", ("128", "256")),
    ],
)  # fmt: skip
def test_a_parameter_is_what_was_typed_or_is_refused(name, text, found):
    given_ = {"profile": "smoke", "dataset": "foolbox20", "network": "efficientnet_lite0", name: values.spelled(text)}
    parameters = chapters.found("rq1").Parameters
    if found is None:
        with pytest.raises(UserError, match=f"{name}="):
            parameters.validate(given_)
        return
    checked = parameters.validate(given_)
    assert getattr(checked if name in parameters.model_fields else checked.pair, name) == found
