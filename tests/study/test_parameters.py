"""Parameters: a profile gives defaults, what is explicit overrides, and every misuse is one line before work starts."""

import math
import types

import pytest

from blurnb import labels
from blurnb.errors import UserError
from blurnb.optics import blurring
from blurnb.optics.transforms import MIXES, parse_mix
from blurnb.study import chapters, parameters, profiles, recipes
from blurnb.study.profiles import NAMES
from blurnb.study.protocol import Protocol

CHAPTERS = list(chapters.names())


def validate(chapter, given):
    return chapters.found(chapter).Parameters.validate(given)


def shown(pair):
    """A pair as what tells it from others."""
    return pair.dataset, pair.network, pair.weights, pair.n_images


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("profile", profiles.NAMES)
def test_every_profile_of_every_chapter_is_valid(chapter, profile):
    checked = validate(chapter, {"profile": profile})
    assert checked.profile == profile
    assert "sharp" in checked.blurs
    assert checked.pairs
    assert hash(checked.pairs)
    assert not {"dataset", "network", "weights", "n_images", "scales"} & set(dict(checked))


def blurred_with(chapter, checked, pair):
    """(label, side of the images, frame) of everything that a chapter does to the images of a pair."""
    mixes = [one for mix in (*MIXES, *getattr(checked, "mixes", ())) for one, _ in parse_mix(parameters.parts(mix))]
    told = {*checked.blurs, *getattr(checked, "layer_blurs", ()), *(one.label for one in mixes)}
    if pair is checked.pairs[0]:
        told |= {*getattr(checked, "dose_blurs", ())}
    photographs = [max(labels.sides(scale)) for scale in pair.scales if scale != "native"] if chapter == "rq5" else []
    side = parameters.NATIVE.get(pair.dataset) or max(photographs, default=pair.frame)
    return {(label, side, pair.frame) for label in told - {"sharp"}}


def test_no_label_of_a_profile_or_a_mix_is_nothing_at_the_size_of_its_images():
    """A radius of 0.375 is no blur: with it 30 % of what the mix trains on would be sharp, and no record would say."""
    checked = {(chapter, profile): validate(chapter, {"profile": profile}) for chapter in CHAPTERS for profile in NAMES}
    asked = {
        one for (chapter, _), given in checked.items() for p in given.pairs for one in blurred_with(chapter, given, p)
    }
    assert {(side, frame) for _, side, frame in asked} == {(96, 256), (64, 128), (512, 512), (256, 512)}
    for label, side, frame in sorted(asked):
        for draw in range(20 if labels.parse(label).is_random else 1):
            kernel = blurring.kernel_for(label, side / frame, 0, f"image {draw}")
            assert 1 - kernel.max() > 0.05, f"{label} leaves images of side {side} in a frame of {frame} as they are"


@pytest.mark.parametrize(
    "chapter, given, frames",
    [
        ("rq1", {}, [256, 512]),
        ("rq1", {"profile": "photographs", "dataset": "scenes", "network": "vgg_mini", "weights": "scenes"}, [256]),
        ("rq1", {"profile": "photographs", "dataset": "tiny-imagenet"}, [128]),
        ("rq1", {"frame": 512}, [512, 512]),
        ("rq2", {"profile": "photographs", "dataset": "imagenet", "scales": "256"}, [512]),
        ("rq4", {"profile": "photographs"}, [128, 512]),
    ],
)
def test_a_data_set_has_the_frame_of_its_size_in_whatever_profile_it_stands(chapter, given, frames):
    assert [pair.frame for pair in validate(chapter, given).pairs] == frames


@pytest.mark.parametrize("weights", parameters.SCENES)
def test_scenes_are_trained_on_in_the_frame_in_which_they_are_tested(weights):
    training = parameters.scenes_training(weights, "cpu")
    assert training.recipe().frame == training.protocol().frame == validate("rq1", {}).pairs[0].frame == 256


def test_the_embedded_profile_is_the_default():
    assert validate("rq1", {}) == validate("rq1", {"profile": "embedded"}) == validate("rq1", {"profile": None})


def test_the_paper_profile_is_the_papers():
    paper = validate("rq1", {"profile": "paper"})
    assert paper.blurs == ("sharp", "D2", "D4", "D6", "D8", "shake", "G4", "G8", "M21@30")
    assert paper.pair.scales == ("128", "256", "512", "256+512")
    assert shown(paper.pair) == ("imagenet", "vgg16", "imagenet", 0)
    assert (paper.view, paper.flip, paper.pair.frame, paper.precision) == ("dense", True, 512, "float32")


def test_what_is_explicit_overrides_and_none_does_not():
    checked = validate("rq1", {"profile": "paper", "n_images": 50, "blurs": ["sharp", "D8.0"], "scales": None})
    assert checked.pair.n_images == 50
    assert checked.blurs == ("sharp", "D8")
    assert checked.pair.scales == ("128", "256", "512", "256+512")


@pytest.mark.parametrize(
    "given, field, value",
    [
        ({"blurs": "sharp, D8,M21@30"}, "blurs", ("sharp", "D8", "M21@30")),
        ({"blurs": "D8"}, "blurs", ("D8",)),
        ({"blurs": ("sharp", "G4")}, "blurs", ("sharp", "G4")),
        ({"blurs": "D8,D8.0,D8"}, "blurs", ("D8",)),
        ({"scales": 256}, "scales", ("256",)),
        ({"scales": [128, 256]}, "scales", ("128", "256")),
        ({"scales": "128,256+512"}, "scales", ("128", "256+512")),
        ({"dataset": "foolbox20", "network": "resnet50"}, "network", "resnet50"),
        ({"frame": "128"}, "frame", 128),
        ({"seed": "7"}, "seed", 7),
        ({"n_images": "30"}, "n_images", 30),
    ],
)
def test_lists_may_be_texts_with_commas(given, field, value):
    checked = validate("rq1", {"profile": "photographs", **given})
    assert getattr(checked.pair if field in parameters.Pair.model_fields else checked, field) == value


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
        ({"weights": "scenes-fast"}, "weights='scenes-fast'"),
        ({"pairs": []}, "parameter 'pairs' is unknown"),
        ({"dataset": []}, "dataset has 0 entries"),
        ({"dataset": {"scenes": 1}}, "dataset="),
        ({"n_images": "9" * 5000}, "n_images="),
        ({"n_images": 2.5}, "n_images=2.5"),
        ({"frame": "64,wide"}, "frame='64,wide'"),
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


def test_an_unknown_chapter_is_one_line():
    with pytest.raises(UserError, match="chapter 'rq11' is unknown; did you mean rq1"):
        validate("rq11", {})


def test_lists_of_pairs_must_fit_one_another():
    given = {"dataset": ["scenes", "foolbox20"], "network": ["vgg_mini", "resnet18"], "weights": ["none"] * 3}
    with pytest.raises(UserError, match="weights has 3 entries for 2 pairs"):
        validate("rq1", given)


def test_one_network_serves_several_data_sets():
    given = {"dataset": "foolbox20,imagenet", "network": "resnet18", "weights": "imagenet", "n_images": [20, 500]}
    pairs = validate("rq1", given).pairs
    assert [shown(pair) for pair in pairs] == [
        ("foolbox20", "resnet18", "imagenet", 20),
        ("imagenet", "resnet18", "imagenet", 500),
    ]
    assert {pair.scales for pair in pairs} == {("128", "256", "512", "256+512")}


def test_a_data_set_of_ones_own_takes_the_place_of_the_profiles_pairs():
    pair = validate("rq1", {"dataset": "imagenet"}).pair
    assert pair.dataset == "imagenet"
    assert pair.weights == "imagenet"


def test_the_protocol_says_what_the_parameters_say():
    given = {"view": "center-crop", "flip": True, "border": "circular", "seed": 4, "frame": 128}
    given |= {"precision": "float32"}
    checked = validate("rq1", {**given, "rounding": "8-bit"})
    assert checked.rounding == "8-bit"
    assert {checked.protocol(pair) for pair in checked.pairs} == {Protocol(**given)}
    assert checked.protocol(checked.pairs[0], precision="bf16") == Protocol(**{**given, "precision": "bf16"})
    assert validate("rq1", {}).protocol(checked.pairs[0]).precision in ("float32", "bf16")


def test_checked_parameters_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        validate("rq1", {}).seed = 5


def test_an_explicit_data_set_takes_the_pair_of_the_profile_that_has_it():
    pair = validate("rq1", {"dataset": "scenes"}).pair
    assert shown(pair) == ("scenes", "vgg_mini", "scenes", 1000)
    pair = validate("rq1", {"network": "efficientnet_lite0"}).pair
    assert shown(pair) == ("foolbox20", "efficientnet_lite0", "imagenet", 20)
    pair = validate("rq4", {"profile": "photographs", "dataset": "tiny-imagenet"}).pair  # with all that is its own
    assert (pair.frame, pair.scales, pair.trained, pair.n_images) == (128, ("native",), "rq2", 256)


def test_an_explicit_data_set_that_no_pair_has_is_evaluated_whole():
    pair = validate("rq1", {"dataset": "imagenet", "network": "resnet18"}).pair
    assert shown(pair) == ("imagenet", "resnet18", "imagenet", 0)


@pytest.mark.parametrize("given, expected", [("64", [64, 64]), ("64,3", [64, 3]), (64, [64, 64]), ([64, 3], [64, 3])])
def test_n_images_may_be_one_number_or_one_for_each_pair(given, expected):
    assert [pair.n_images for pair in validate("rq1", {"n_images": given}).pairs] == expected


def test_a_single_seed_is_a_list_of_one():
    assert validate("rq2", {"train_seeds": 3}).train_seeds == (3,)


@pytest.mark.parametrize(
    "chapter, given, message",
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
        ("rq1", {"scales": 10**5000}, "parameters scales, profile: too"),
        ("rq1", {"profile": 10**5000}, "is unknown"),
        ("rq1", {3: 4}, "parameter 3 is unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "given",
)
def test_what_would_fail_hours_later_fails_now(chapter, given, message):
    with pytest.raises(UserError) as caught:
        validate(chapter, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


# ------------------------------------------------------------------------------------------------ the ways out


def test_a_chapter_that_takes_one_refuses_several():
    for chapter in ("rq2", "rq3", "rq5"):
        with pytest.raises(UserError, match="dataset has 2 entries; this chapter takes one"):
            validate(chapter, {"dataset": "scenes,scenes"})
    with pytest.raises(UserError, match="network has 2 entries; a card is about one network"):
        validate("card", {"network": "resnet18,resnet50"})
    several = validate("rq1", {})
    with pytest.raises(UserError, match="there are 2 pairs"):
        _ = several.pair


def test_how_to_compute_decides_no_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path))
    found = validate("rq1", {"batch": 8, "workers": 2, "strict": True}).computing()
    assert found == {"store": tmp_path, "device": "cpu", "batch": 8, "workers": 2, "strict": True}


def test_a_recipe_says_what_the_parameters_say():
    given = {"max_shift": 2, "augmentation": "flip", "warmup": 0.1, "optimizer": "sgd", "weight_decay": 0.5}
    given |= {"border": "circular", "frame": 128, "precision": "float32", "learning_rate": 0.02}
    found = validate("rq2", {**given, "train_batch": 16}).recipe(mix="D8+G4", epochs=3, seed=7)
    assert found == recipes.Recipe(**given, batch=16, mix=["D8", "G4"], epochs=3, seed=7)
    photographs = {"dataset": "voc2012", "network": "vgg16", "weights": "imagenet"}
    pixels = validate("rq5", {**photographs, "crop_width": 64, "backbone_share": 0.5})
    own = pixels.recipe(mix="sharp", scale=64, start="further")
    assert isinstance(own, recipes.SegmentationRecipe)
    assert (own.crop_width, own.backbone_share, own.scale, own.start) == (64, 0.5, 64, "further")


def test_the_first_seed_trains_every_mix():
    checked = validate("rq2", {"mixes": "sharp,mix,D8", "train_seeds": "3,4"})
    assert checked.trainings() == [("sharp", 3), ("mix", 3), ("D8", 3), ("sharp", 4), ("mix", 4)]
    pixels = validate("rq5", {"mixes": "mix", "train_seeds": "0,1"})
    assert pixels.trainings() == [("mix", 0, True), ("mix", 0, False), ("mix", 1, True), ("mix", 1, False)]


TRAINING = (
    "train_images",
    "base_epochs",
    "base_learning_rate",
    "base_frozen",
    "epochs",
    "learning_rate",
    "train_batch",
)
TRAINING += ("weight_decay", "max_shift", "warmup", "optimizer", "augmentation", "border", "data_root", "small_input")


@pytest.mark.parametrize("weights, profile", [("scenes", "embedded"), ("scenes-smoke", "smoke")])
def test_the_weights_scenes_are_those_that_fine_tuning_starts_from(weights, profile):
    """RQ1 knows them without RQ2, from the block of the profiles that both have."""
    ours, theirs = parameters.scenes_training(weights, "cpu"), validate("rq2", {"profile": profile})
    assert [getattr(ours, name) for name in TRAINING] == [getattr(theirs, name) for name in TRAINING]
    assert ours.pair == theirs.pair
    assert ours.recipe() == theirs.recipe()


# ------------------------------------------------------------------------------------------------ pairs of RQ4


def test_pairs_have_each_their_own_frame_scale_and_networks():
    small, large = validate("rq4", {"profile": "photographs"}).pairs
    assert (small.dataset, small.frame, small.scales, small.trained, small.n_images) == (
        "tiny-imagenet", 128, ("native",), "rq2", 256,
    )  # fmt: skip
    assert (large.dataset, large.frame, large.scales, large.trained, large.n_images) == (
        "imagenet", 512, ("256",), "as-is", 60,
    )  # fmt: skip
    assert small.methods == ("wiener", "richardson_lucy", "tv", "krishnan_fergus")
    assert large.methods == ("wiener", "krishnan_fergus")
    assert (small.wrong_kernels, large.wrong_kernels) == (("wiener", "krishnan_fergus"), ())
    assert validate("rq4", {"profile": "photographs"}).protocol(small).frame == 128


def test_methods_are_for_small_images_or_for_photographs():
    given = {"profile": "photographs", "methods": "tv,tv", "photograph_methods": "epll", "wrong_kernels": []}
    small, large = validate("rq4", given).pairs
    assert (small.methods, large.methods, small.wrong_kernels) == (("tv",), ("epll",), ())


def test_pairs_may_be_said_one_by_one():
    given = {"profile": "photographs", "frame": "64,256", "scales": "native,128", "trained": "as-is"}
    small, large = validate("rq4", given).pairs
    assert (small.frame, small.scales, small.trained) == (64, ("native",), "as-is")
    assert (large.frame, large.scales, large.trained) == (256, ("128",), "as-is")


@pytest.mark.parametrize("profile", profiles.NAMES)
def test_the_networks_are_those_of_rq2(profile):
    """Everything that decides a network's weights is the same in both chapters."""
    ours, theirs = validate("rq4", {"profile": profile}), validate("rq2", {"profile": profile})
    assert [getattr(ours, name) for name in TRAINING] == [getattr(theirs, name) for name in TRAINING]
    assert ours.train_seeds[0] == theirs.train_seeds[0]
    assert ours.recipe(ours.pairs[0]) == theirs.recipe()
    for name in ("dataset", "network", "weights", "frame"):
        assert getattr(ours.pairs[0], name) == getattr(theirs.pair, name), name


def test_captures_are_what_a_camera_does():
    found = validate("rq4", {"captures": "exact,8-bit,noise 0.01,noise 0.010"}).captures
    assert found == (("none", 0.0), ("8-bit blur", 0.0), ("none", 0.01))
    assert validate("rq4", {}).captures == found


@pytest.mark.parametrize(
    "chapter, given, words",
    [
        ("rq4", {"captures": "noise"}, "'noise' is none of exact, 8-bit, noise 0.01"),
        ("rq4", {"captures": "noise 0.9"}, "none of exact"),
        ("rq4", {"captures": 3}, "none of exact"),
        ("rq4", {"captures": ""}, "captures=''"),
        ("rq4", {"methods": "weiner"}, "methods='weiner': 'weiner' is unknown; did you mean wiener"),
        ("rq4", {"photograph_methods": "weiner"}, "photograph_methods='weiner': .*did you mean wiener"),
        ("rq4", {"methods": ""}, "methods=''"),
        ("rq4", {"wrong_kernels": "krishnan"}, "krishnan"),
        ("rq4", {"trained": "rq1"}, "trained='rq1'"),
        ("rq4", {"frame": 3}, "frame=3"),
        ("rq4", {"profile": "photographs", "frame": "128,512,512"}, "frame has 3 entries for 2 pairs"),
        ("rq4", {"scales": "native,256"}, "scales has 2 entries for 1 pairs"),
        ("rq4", {"rounding": "8-bit"}, "one of this chapter's captures"),
        ("rq4", {"repeats": 0}, "repeats=0"),
        ("rq4", {"tuning_images": -1}, "tuning_images=-1"),
        ("rq5", {"dataset": "tiny-imagenet"}, "dataset='tiny-imagenet'"),
        ("rq5", {"dataset": "scenes,camvid"}, "this chapter takes one"),
        ("rq5", {"scales": "128,256"}, "this chapter takes one"),
        ("rq5", {"features": "thawed"}, "features='thawed'"),
        ("rq5", {"boundary_width": 0}, "boundary_width=0"),
        ("rq5", {"view": "center-crop"}, "view='center-crop'"),
        ("rq5", {"base_epochs": 0}, "base_epochs=0"),
        ("rq2", {"epochs": 0}, "epochs=0"),
        ("rq2", {"frozen": 0}, "frozen=0"),
        ("rq3", {"dataset": "scenes", "n_images": "3,4"}, "n_images has 2 entries; this chapter takes one"),
        ("rq2", {"learning_rate": math.nan}, "learning_rate=nan"),
        ("rq2", {"augmentation": "mirror"}, "augmentation='mirror'"),
        ("rq2", {"mixes": "sharp,mud"}, "mixes='sharp,mud'"),
        ("card", {"blurs": "sharp"}, "give at least one blur beside sharp"),
        ("card", {"network": "nothing.pt"}, "network='nothing.pt'"),
        ("card", {"f_number": 0}, "f_number=0"),
        ("card", {"mean": True}, "mean=True"),
    ],
)
def test_misuse_of_a_chapters_own_is_one_line(chapter, given, words):
    with pytest.raises(UserError, match=words) as caught:
        validate(chapter, given)
    assert "\n" not in str(caught.value)


def test_a_card_takes_any_network_and_is_never_without_sharp(tmp_path):
    (tmp_path / "net.pt").touch()
    for network in (str(tmp_path / "net.pt"), "package.module:make", "resnet18"):
        assert validate("card", {"network": network}).pair.network == network
    found = validate("card", {"blurs": "D8", "dataset": "auto", "mean": 0.5, "std": "none"})
    assert (found.blurs, found.pair.dataset, found.mean, found.std) == (("sharp", "D8"), "auto", "0.5", "none")


# ------------------------------------------------------------------------------------------------ chapters by name


def test_chapters_are_found_by_what_lies_in_their_folder():
    assert chapters.names() == {
        "card": "card", "rq1": "rq1_degradation", "rq2": "rq2_fine_tuning", "rq3": "rq3_generalization",
        "rq4": "rq4_deblurring", "rq5": "rq5_segmentation",
    }  # fmt: skip
    for name, module in chapters.names().items():
        assert chapters.found(name) is chapters.found(module)
        assert chapters.found(name).Parameters.experiment == name


PHOTOGRAPHS = {"dataset": "imagenet", "network": "vgg16", "weights": "imagenet", "scales": "256"}
MAPS = {"dataset": "voc2012", "network": "vgg16", "weights": "imagenet", "scales": "256"}
AS_IS = {"dataset": "scenes", "network": "vgg_mini", "weights": "scenes", "scales": "native", "trained": "as-is"}
GUEST = {"network": "nets:build", "dataset": "folder", "data_root": "x"}


@pytest.mark.parametrize(
    "chapter, given, name, value",
    [
        ("rq1", {"dataset": "scenes"}, "data_root", "/nonexistent"),
        ("rq1", {}, "data_root", "/nonexistent"),  # scenes and photographs of a package
        ("rq5", {}, "data_root", "/nonexistent"),
        ("card", {}, "data_root", "/nonexistent"),
        ("rq1", {"network": "efficientnet_lite0", "dataset": "foolbox20"}, "small_input", "zero-pad"),
        ("rq1", {"network": "resnet18", "dataset": "foolbox20"}, "small_input", "upsample"),
        ("rq5", {}, "small_input", "zero-pad"),
        ("card", GUEST, "small_input", "zero-pad"),
        ("card", GUEST, "weights", "none"),
        ("rq1", {"dataset": "scenes"}, "scales", "512"),
        ("rq1", {"dataset": "scenes"}, "scales", "96,512"),
        ("rq1", {"dataset": "scenes"}, "scales", "native,128"),
        ("rq1", {}, "dose_scales", "512"),
        ("rq5", {}, "scales", "256"),
        ("rq2", {"base_epochs": 0}, "base_learning_rate", 0.5),
        ("rq2", {"base_epochs": 0}, "base_frozen", 1),
        ("rq2", PHOTOGRAPHS, "max_shift", 3),
        ("rq2", {"mixes": "D8"}, "train_seeds", "0,1"),
        ("rq2", {"mixes": "D8"}, "layer_blurs", "G8"),
        ("rq2", {"mixes": "D8"}, "layer_images", 9),
        ("rq2", {"mixes": "sharp"}, "frozen", 1),
        ("rq3", {"mixes": "sharp"}, "train_scales", "96,128,160"),
        ("rq3", {"scales": "96"}, "train_scales", "128"),
        ("rq4", {}, "mixes", "sharp,D8"),
        ("rq4", {}, "train_seeds", "0,1"),
        ("rq4", {}, "photograph_methods", "tv"),
        ("rq4", {"methods": "wiener"}, "wrong_kernels", "tv"),
        ("rq4", PHOTOGRAPHS, "methods", "tv"),
        ("rq4", PHOTOGRAPHS, "tuning_images", 3),
        ("rq4", AS_IS, "mixes", "sharp"),
        ("rq4", AS_IS, "epochs", 7),
        ("rq4", AS_IS, "wrong_kernels", "krishnan_fergus"),
        ("rq4", AS_IS | {"tuning_images": 0}, "train_images", 7),
        ("rq5", {}, "crop_width", 64),
        ("rq5", {"features": "frozen"}, "backbone_share", 0.5),
        ("rq5", MAPS, "max_shift", 3),
        ("rq5", MAPS, "base_frozen", 1),
    ],
)
def test_what_would_change_nothing_is_refused(chapter, given, name, value):
    assert validate(chapter, given)
    with pytest.raises(UserError) as caught:
        validate(chapter, {**given, name: value})
    assert name in str(caught.value)
    assert "would change nothing: " in str(caught.value) or "is unknown" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "chapter, given",
    [
        ("rq1", {"data_root": "", "small_input": "adaptive"}),  # what it is anyway
        ("rq1", {"dataset": "scenes,imagenet", "data_root": "x", "scales": "512"}),
        ("rq1", {"dataset": "scenes", "network": "vgg16", "weights": "none", "small_input": "zero-pad"}),
        ("rq1", {"dataset": "scenes", "scales": "96,128,96+128"}),
        ("rq4", {"mixes": "mix", "wrong_kernels": "wiener"}),
        ("rq4", AS_IS | {"tuning_images": 2, "train_images": 7}),
        ("rq5", MAPS | {"small_input": "zero-pad", "crop_width": 64, "data_root": "x"}),
        ("card", GUEST | {"weights": "imagenet", "mean": 0.5}),
    ],
)
def test_what_changes_something_is_not_refused(chapter, given):
    assert validate(chapter, given)


def test_weights_of_our_own_training_are_of_its_network():
    with pytest.raises(UserError, match="weights 'scenes' are those of vgg_mini, not of vgg16"):
        validate("rq1", {"dataset": "scenes", "network": "vgg16", "weights": "scenes"})
