"""Parameters: a profile gives defaults, what is explicit overrides, and every misuse is one line before work starts."""

import types

import pytest

from blurnb.errors import UserError
from blurnb.study import evaluation, profiles
from blurnb.study.profiles import validate

QUESTIONS = list(profiles.DEFAULTS)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_profile_of_every_question_is_valid(question, profile):
    checked = validate(question, {"profile": profile})
    assert checked.profile == profile
    assert "sharp" in checked.blurs
    for pair in checked.evidence():
        assert set(pair) == {"dataset", "network", "weights", "n_images"}


def test_the_embedded_profile_is_the_default():
    assert validate("rq1", {}) == validate("rq1", {"profile": "embedded"}) == validate("rq1", {"profile": None})


def test_the_paper_profile_is_the_papers():
    paper = validate("rq1", {"profile": "paper"})
    assert paper.blurs == ["sharp", "D2", "D4", "D6", "D8", "shake", "G4", "G8", "M21@30"]
    assert paper.scales == ["128", "256", "512", "256+512"]
    assert (paper.network, paper.dataset, paper.weights) == (["vgg16"], ["imagenet"], ["imagenet"])
    assert (paper.view, paper.flip, paper.frame, paper.precision) == ("dense", True, 512, "float32")
    assert paper.n_images == 0


def test_what_is_explicit_overrides_and_none_does_not():
    checked = validate("rq1", {"profile": "paper", "n_images": 50, "blurs": ["sharp", "D8.0"], "scales": None})
    assert checked.n_images == 50
    assert checked.blurs == ["sharp", "D8"]
    assert checked.scales == ["128", "256", "512", "256+512"]


@pytest.mark.parametrize(
    "given, field, value",
    [
        ({"blurs": "sharp, D8,M21@30"}, "blurs", ["sharp", "D8", "M21@30"]),
        ({"blurs": "D8"}, "blurs", ["D8"]),
        ({"blurs": ("sharp", "G4")}, "blurs", ["sharp", "G4"]),
        ({"blurs": "D8,D8.0,D8"}, "blurs", ["D8"]),
        ({"scales": 256}, "scales", ["256"]),
        ({"scales": [128, 256]}, "scales", ["128", "256"]),
        ({"scales": "128,256+512"}, "scales", ["128", "256+512"]),
        ({"dataset": "foolbox20", "network": "resnet50"}, "network", ["resnet50"]),
        ({"seed": "7"}, "seed", 7),
        ({"n_images": "30"}, "n_images", 30),
    ],
)
def test_lists_may_be_texts_with_commas(given, field, value):
    assert getattr(validate("rq1", {"profile": "photographs", **given}), field) == value


def test_a_notebooks_globals_may_be_handed_over():
    furniture = {
        "__name__": "__main__", "_": 3, "_i1": "code", "In": ["x"], "Out": {}, "get_ipython": lambda: None,
        "exit": object(), "quit": object(), "open": open, "types": types, "validate": validate, "UserError": UserError,
    }  # fmt: skip
    assert validate("rq1", {**furniture, "seed": 3}) == validate("rq1", {"seed": 3})
    with pytest.raises(UserError, match="parameter 'sede' is unknown; did you mean seed"):
        validate("rq1", {**furniture, "sede": 3})


@pytest.mark.parametrize(
    "given, message",
    [
        ({"n_image": 5}, "parameter 'n_image' is unknown; did you mean n_images"),
        ({"zzzzzz": 5}, "parameter 'zzzzzz' is unknown; known: "),
        ({"zzzzzz": None}, "parameter 'zzzzzz' is unknown; known: "),
        ({"profile": "papers"}, "profile 'papers' is unknown; did you mean paper"),
        ({"profile": 5}, "profile 5 is unknown"),
        ({"profile": ["smoke"]}, "profile ['smoke'] is unknown"),
        ({"profile": ""}, "profile '' is unknown"),
        ({"n_images": True}, "n_images=True"),
        ({"device": "cpu:junk"}, "device='cpu:junk'"),
        ({"weights": "trained-fast"}, "weights='trained-fast'"),
        ({"dataset": "scenes,foolbox20,folder", "weights": "none,imagenet"}, "weights has 2 entries for 3 pairs"),
        ({"blurs": ["sharp", "D-8"]}, "D-8"),
        ({"blurs": "sharp,Q8"}, "Q8"),
        ({"blurs": []}, "blurs=[]"),
        ({"blurs": ""}, "blurs=''"),
        ({"blurs": {"D8": 1}}, "blurs="),
        ({"scales": "16"}, "scale '16'"),
        ({"scales": "256+256"}, "scale '256+256'"),
        ({"scales": "large"}, "scale 'large'"),
        ({"scales": 256.5}, "scale '256.5'"),
        ({"n_images": -1}, "n_images=-1"),
        ({"n_images": "many"}, "n_images='many'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": "x"}, "seed='x'"),
        ({"seed": 2**40}, "seed="),
        ({"dataset": "imagnet"}, "'imagnet' is unknown; did you mean imagenet"),
        ({"network": "vgg61"}, "'vgg61' is unknown; did you mean vgg"),
        ({"view": "sparse"}, "view='sparse'"),
        ({"border": "mirror"}, "border='mirror'"),
        ({"rounding": "7-bit"}, "rounding='7-bit'"),
        ({"small_input": "stretch"}, "small_input='stretch'"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"flip": "perhaps"}, "flip='perhaps'"),
        ({"strict": 3}, "strict=3"),
        ({"frame": 0}, "frame=0"),
        ({"batch": 0}, "batch=0"),
        ({"workers": 0}, "workers=0"),
        ({"output_dir": " "}, "output_dir=' '"),
        ({"output_dir": 5}, "output_dir=5"),
        ({"data_root": 5}, "data_root=5"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(given, message):
    with pytest.raises(UserError) as caught:
        validate("rq1", given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_question_is_one_line():
    with pytest.raises(UserError, match="question 'rq11' is unknown; did you mean rq1"):
        validate("rq11", {})


def test_lists_of_pairs_must_fit_one_another():
    given = {"dataset": ["scenes", "foolbox20"], "network": ["vgg_mini", "resnet18"], "weights": ["none"] * 3}
    with pytest.raises(UserError, match="weights has 3 entries for 2 pairs"):
        validate("rq1", given).evidence()


def test_one_network_serves_several_data_sets():
    given = {"dataset": "foolbox20,imagenet", "network": "resnet18", "weights": "imagenet", "n_images": [20, 500]}
    assert validate("rq1", given).evidence() == [
        {"dataset": "foolbox20", "network": "resnet18", "weights": "imagenet", "n_images": 20},
        {"dataset": "imagenet", "network": "resnet18", "weights": "imagenet", "n_images": 500},
    ]


def test_a_data_set_of_ones_own_takes_the_place_of_the_profiles_pairs():
    (pair,) = validate("rq1", {"dataset": "imagenet"}).evidence()
    assert pair["dataset"] == "imagenet"
    assert pair["weights"] == "imagenet"


def test_the_protocol_says_what_the_parameters_say():
    given = {"view": "center-crop", "flip": True, "border": "circular", "rounding": "8-bit", "seed": 4, "frame": 128}
    found = validate("rq1", {**given, "precision": "float32"}).protocol()
    expected = evaluation.Protocol(precision="float32", **given)
    assert found == expected
    assert found.view_name == "center-crop+flip, 8-bit"


def test_checked_parameters_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        validate("rq1", {}).seed = 5


def test_an_explicit_data_set_takes_the_pair_of_the_profile_that_has_it():
    pair = profiles.validate("rq1", {"dataset": "scenes"}).evidence()
    assert pair == [{"dataset": "scenes", "network": "vgg_mini", "weights": "scenes", "n_images": 1000}]
    pair = profiles.validate("rq1", {"network": "efficientnet_lite0"}).evidence()
    assert pair == [{"dataset": "foolbox20", "network": "efficientnet_lite0", "weights": "imagenet", "n_images": 20}]


def test_an_explicit_data_set_that_no_pair_has_is_evaluated_whole():
    (pair,) = profiles.validate("rq1", {"dataset": "imagenet", "network": "resnet18"}).evidence()
    assert pair == {"dataset": "imagenet", "network": "resnet18", "weights": "imagenet", "n_images": 0}


@pytest.mark.parametrize("given, expected", [("64", 64), ("64,3", [64, 3]), (64, 64), ([64, 3], [64, 3])])
def test_n_images_may_be_one_number_or_one_for_each_pair(given, expected):
    assert profiles.validate("rq1", {"n_images": given}).n_images == expected


def test_a_single_seed_is_a_list_of_one():
    assert profiles.validate("rq2", {"train_seeds": 3}).train_seeds == [3]


@pytest.mark.parametrize(
    "question, given, message",
    [
        ("rq2", {"layer_blurs": "sharp,Q8"}, "Q8"),
        ("rq2", {"frozen": -1}, "frozen=-1"),
        ("rq2", {"frozen": [2, 5000]}, "frozen=[2, 5000]"),
        ("rq2", {"train_seeds": -1}, "train_seeds=-1"),
        ("rq3", {"train_scales": 7}, "train_scales=7"),
        ("rq3", {"scales": "96,96+128", "train_scales": 96}, "lacks 128"),
        ("rq1", {"weights": "a" * 5000}, "is no file"),
        ("rq1", {"weights": "~nobody-here/net.pt"}, "is no file"),
        ("rq1", {"device": "cpu:\u00b2"}, "device='cpu:\u00b2'"),
        ("rq1", {"device": "cuda:99999999"}, "device="),
        ("rq1", {"seed": 10**5000}, "seed=a int too large to print"),
        ("rq1", {"scales": 10**5000}, "scales="),
        ("rq1", {"profile": 10**5000}, "is unknown"),
        ("rq1", {3: 4}, "parameter 3 is unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "given",
)
def test_what_would_fail_hours_later_fails_now(question, given, message):
    with pytest.raises(UserError) as caught:
        validate(question, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000
