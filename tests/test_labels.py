"""The grammar of blurs and scales: one label for one blur, and the way out of every bad one."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blurnb import labels
from blurnb.errors import UserError
from blurnb.labels import Blur, parse

SIZES = st.decimals("0.000001", "64", places=6).map(lambda size: f"{size.normalize():f}")
ANGLES = st.decimals("-720", "720", places=6).map(lambda angle: f"{angle:f}")
LABELS = st.one_of(
    st.sampled_from(["sharp", "shake", "shake8", "shake16", "shake24", "inertial"]),
    st.builds("{}{}".format, st.sampled_from("DG"), SIZES),
    st.builds("M{}@{}".format, st.decimals("1", "512", places=6).map(lambda size: f"{size:f}"), ANGLES),
)


@pytest.mark.parametrize(
    "label, family, parameters",
    [
        ("sharp", "sharp", {}),
        ("D8", "defocus", {"radius": 8}),
        ("D0.25", "defocus", {"radius": 0.25}),
        ("G4", "gaussian", {"sigma": 4}),
        ("M21@30", "motion", {"length": 21, "angle": 30}),
        ("shake", "shake", {}),
        ("shake16", "shake", {"grid": 16}),
        ("inertial", "inertial", {}),
    ],
)
def test_labels(label, family, parameters):
    found = parse(label)
    assert (found.label, found.family, dict(found.parameters)) == (label, family, parameters)


@pytest.mark.parametrize(
    "label, canonical",
    [
        ("D8.0", "D8"),
        ("D2.50", "D2.5"),
        ("M21@210", "M21@30"),
        ("M21@-45", "M21@135"),
        ("M9@180", "M9@0"),
        ("M1@-131.813144", "M1@48.186856"),
    ],
)
def test_one_blur_has_one_label(label, canonical):
    assert parse(label).label == canonical
    assert parse(label) == parse(canonical)


@pytest.mark.parametrize(
    "label, hint",
    [
        ("d8", "D8"),
        ("D08", "D8"),
        (" D8", "D8"),
        ("D-3", "D3"),
        ("D0", "above 0"),
        ("D0.0000001", "above 0"),
        ("G1000", "at most"),
        ("D1" + "0" * 400, "at most"),
        ("M0.5@3", "from 1"),
        ("M21", "M21@0"),
        ("M21@", "M21@0"),
        ("m21@30", "M21@30"),
        ("D8@30", "D8"),
        ("Dnan", "D<radius>"),
        ("Dinf", "D<radius>"),
        ("D8\n", "D8"),
        ("D\uff18", "D<radius>"),
        ("G", "G4"),
        ("shake12", "shake16"),
        ("Sharp", "sharp"),
        ("", "D8"),
        (8, "text"),
        (None, "text"),
        ([], "text"),
    ],
)
def test_a_bad_label_is_named_with_the_way_out(label, hint):
    with pytest.raises(UserError) as caught:
        parse(label)
    message = str(caught.value)
    assert repr(label) in message
    assert hint in message
    assert "\n" not in message.replace(repr(label), "")


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[DGM][0-9]{1,4}(\.[0-9]{1,8})?(@-?[0-9]{1,3})?")))
def test_parsing_ends_in_a_stable_blur_or_a_user_error(label):
    try:
        found = parse(label)
    except UserError:
        return
    assert parse(found.label) == found
    assert all(np.isfinite(value) for _, value in found.parameters)
    assert hash(found) == hash(parse(label))


def test_a_blur_is_a_value():
    assert {parse("D8"): 1}[Blur("D8", "defocus", (("radius", 8.0),))] == 1


def test_an_angle_that_is_no_number_is_refused():
    with pytest.raises(UserError, match="angle must be a number of degrees"):
        parse("M21@" + "9" * 400)


@given(LABELS)
def test_what_is_parsed_is_canonical(label):
    found = parse(label)
    assert parse(found.label) == found
    assert labels.family(label) == found.family
    np.testing.assert_equal(labels.parse(label).strength, found.strength)
    assert math.isnan(found.kernel_sd) == found.is_random == (found.family in ("shake", "inertial"))
    if labels.FAMILIES[found.family].letter:
        assert found.strength == pytest.approx(float(label[1:].split("@")[0]), abs=1e-6)
        assert not found.label.split("@")[0].endswith(".")
        assert 0 <= dict(found.parameters).get("angle", 0) < 180


# --------------------------------------------------------------------------------------- in another frame


@given(LABELS, st.integers(16, 4096), st.integers(16, 4096))
def test_a_renamed_blur_is_as_wide_in_the_image(label, frame, other):
    one, name = parse(label), labels.renamed(label, frame, other)
    if name is None:
        assert one.is_random
        assert frame != other
        return
    size, _, angle = name.partition("@")
    if one.family in ("sharp", "shake", "inertial"):
        assert name == one.label
        return
    assert float(size[1:]) / other == pytest.approx(one.strength / frame, abs=1e-6 / other)
    assert angle == one.label.partition("@")[2]


@given(LABELS, st.sampled_from([64, 128, 256, 1024]))
def test_renaming_there_and_back_gives_the_same_blur(label, frame):
    name = labels.renamed(label, frame)
    assume(name is not None)
    try:
        back = parse(labels.renamed(name, labels.FRAME, frame))
    except UserError:
        return  # a blur that is as wide as a frame in one of the two
    assert back.strength == pytest.approx(parse(label).strength, abs=2e-6)  # labels have six decimals


# ---------------------------------------------------------------------------------------------- in order


@given(st.lists(LABELS, max_size=8), st.randoms())
def test_an_order_of_blurs_holds_each_once_by_family_then_strength(given_labels, random):
    found = labels.in_order(given_labels)
    assert sorted(found) == sorted(set(given_labels))
    shuffled = random.sample(given_labels, len(given_labels))
    assert labels.in_order(shuffled) == found == labels.in_order(found)
    families = list(labels.FAMILIES)
    places = [(families.index(labels.family(one)), np.nan_to_num(labels.parse(one).strength, nan=-1)) for one in found]
    assert places == sorted(places)


def test_trainings_scales_and_layers_in_order():
    trainings = ["own", "D8+G4", "D8", "shake", "D2", "mix", "gaussian", "sharp", "mix"]
    assert labels.trainings_in_order(trainings) == ["sharp", "mix", "gaussian", "shake", "D2", "D8", "D8+G4", "own"]
    assert labels.scales_in_order(["256+512", "512", "native", "64"]) == ["native", "64", "512", "256+512"]
    layers = ["fc6", "pool5", "conv10_1", "conv2_1", "features.3"]
    assert labels.layers_in_order(layers) == ["conv2_1", "conv10_1", "features.3", "pool5", "fc6"]


# ------------------------------------------------------------------------------------------------ scales


def test_sides_of_a_scale():
    assert labels.sides("64") == (64,)
    assert labels.sides("64+96+4096") == (64, 96, 4096)


@pytest.mark.parametrize("scale", ["", "31", "4097", "256+256", "256+", "+256", "256 + 512", "native", "256.0", None])
def test_what_is_no_scale_is_one_line_that_names_it(scale):
    with pytest.raises(UserError, match="is not a side between 32 and 4096") as caught:
        labels.sides(scale)
    assert repr(scale) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_family_tells_a_figure_what_its_number_means():
    for family in labels.FAMILIES.values():
        assert family.phrase
        assert bool(family.letter) != bool(family.words)
        if family.letter:
            assert family.axis
            assert "2" in family.phrase.format(2)
