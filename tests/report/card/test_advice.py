"""Advice by rule: it names what costs most, and only where intervals part."""

from carded import BLURS, NOBODY, note, planted
from planted import rows

from blurnb.report.card import advice


def test_advice_names_the_family_that_costs_most_and_only_where_intervals_part():
    (first, *_), code = advice.steps(planted(), note(), NOBODY), advice.recipe(planted(), note())
    assert "Defocus costs it most." in first
    assert "−50.0 [−53.0, −47.0] under D8" in first
    assert 'RandomBlur(mix="defocus")' in code
    level = planted(BLURS | {"D8": 0.7, "G4": 0.7, "M20@30": 0.7, "shake": 0.7})
    assert "The kind of blur that costs it most is not clear." in advice.steps(level, note(), NOBODY)[0]


def test_blurs_are_compared_at_one_strength():
    losses = advice.family_losses(planted(BLURS | {"inertial": 0.5}))
    assert {family: blur for family, (blur, _) in losses.items()} == {
        "defocus": "D8", "inertial": "inertial", "gaussian": "G4", "motion": "M20@30", "shake": "shake",
    }  # fmt: skip
    assert list(losses)[0] == "defocus"


def test_what_has_no_mix_of_its_own_is_trained_as_shake():
    assert 'RandomBlur(mix="shake")' in advice.recipe(planted({"sharp": 0.9, "inertial": 0.3}), note())


def test_advice_on_confidence_scale_and_few_images():
    said = " ".join(advice.steps(planted(), note(), NOBODY))
    assert "under D8 it is +50.0" in said
    assert "too wide to act on" not in said
    calm = " ".join(advice.steps(planted(sure=0.4), note(), NOBODY))
    assert "surer than right" not in calm
    few = " ".join(advice.steps(planted(n=20), note(), NOBODY))
    assert "With 20 images the intervals are too wide to act on" in few
    small = planted({"sharp": 0.7, "D2": 0.7, "D4": 0.7, "D8": 0.6}, scales=("128",))
    both = rows(*planted(scales=("256",)).to_dict("records"), *small.to_dict("records"))
    mixed = " ".join(advice.steps(both, note(), NOBODY))
    assert "Show it sharp images 256 pixels high, but blurred ones 128: under D8 that is +20.0" in mixed
