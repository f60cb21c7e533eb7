"""Naming the image: known networks give known answers, and every answer is the one that is reached by hand."""

import importlib.util
from functools import partial

import numpy as np
import planted
import pytest
import torch
from planted import asked, conditions, images, network
from torch import nn

from blurnb.errors import UserError
from blurnb.optics import blur, blurring, deblurring, resampling
from blurnb.recognition import backends, models
from blurnb.study import classification
from blurnb.study.answers import Computing
from blurnb.study.classification import Classification, tables
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Condition, Treatment

PLAIN = Protocol(frame=64)


def asking(body=None, protocol=PLAIN, **changed) -> Classification:
    return Classification({"sharp": network(body)}, protocol, **changed)


def told(given, wanted, task, store, **computing):
    """By condition the table of what the loop finds."""
    return tables(given, asked(given, wanted, task, store, **computing))


def colours(seen, labels, **changed):
    return images(labels=labels, draw=lambda i: planted.colour(seen[i]), **changed)


# ------------------------------------------------------------------------------------------------ planted answers


def test_planted_colours_have_known_ranks(tmp_path):
    # class 0 is at the palette's end: seen as colour 0, the classes rank 0, 1, 2 ... by their distance
    wanted = conditions(["sharp", "D8", "shake"], ["64"])
    found = told(colours([0] * 7, range(7)), wanted, asking(planted.Nearest()), tmp_path)
    shares = torch.softmax(-300 * (0.12 * torch.arange(7, dtype=torch.float64)).square(), 0)
    assert list(found) == wanted
    for part in found.values():  # a plain image is its own blur
        assert part["label"].tolist() == part["rank"].tolist() == list(range(7))
        assert part["predicted"].tolist() == [0] * 7
        assert part["top1"].tolist() == [True] + [False] * 6
        assert part["top5"].tolist() == [True] * 5 + [False] * 2
    sharp = found[wanted[0]]
    assert np.allclose(sharp["p_true"], shares, rtol=2e-3, atol=1e-9)
    assert np.allclose(sharp["confidence"], shares[0], rtol=1e-4)
    assert np.allclose(sharp["entropy"], -(shares * shares.log()).sum(), rtol=1e-3)


def test_a_network_that_knows_nothing_has_the_entropy_of_the_classes_and_is_never_right(tmp_path):
    (found,) = told(colours(range(7), range(7)), conditions(), asking(planted.Nearest(0.0)), tmp_path).values()
    assert np.allclose(found["entropy"], np.log(7), atol=1e-6)
    assert np.allclose(found["p_true"], 1 / 7, atol=1e-6)
    assert found["rank"].tolist() == [6] * 7  # a tie is a miss
    assert not found[["top1", "top5"]].any(axis=None)


class Fixed(nn.Module):
    """Given shares, whatever it is shown."""

    def __init__(self, *shares):
        super().__init__()
        self.register_buffer("scores", torch.tensor(shares, dtype=torch.float64).log())

    def forward(self, images):
        return self.scores.expand(len(images), -1)


def test_a_tie_for_the_fifth_place_is_a_miss(tmp_path):
    body = Fixed(0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1)
    (found,) = told(colours([0] * 4, [0, 2, 3, 6]), conditions(), asking(body), tmp_path).values()
    assert found["rank"].tolist() == [2, 2, 6, 6]


# ------------------------------------------------------------------------------------------------ by hand


def by_hand(body, image, treatment, sides, protocol, image_id) -> np.ndarray:
    """Class probabilities of one image, step by step as the method says."""
    image = resampling.resized(image[None], protocol.frame)
    given = {"frame": protocol.frame, "border": protocol.border, "seed": protocol.seed, "image_ids": [image_id]}
    seen = blur(image, treatment.blur, **given)
    if treatment.rounding != "none":
        seen = (seen * 255).round() / 255
    parts = []
    for side in sides:
        view = resampling.resized(seen, side)
        if treatment.rounding == "8-bit":
            view = (view * 255).round() / 255
        if protocol.view == "center-crop":
            crop, (height, width) = round(side * 7 / 8), view.shape[-2:]
            top, left = (height - crop) // 2, (width - crop) // 2
            view = view[:, :, top : top + crop, left : left + crop]
        for one in [view, view.flip(-1)] if protocol.flip else [view]:
            with torch.inference_mode():
                scores = body(one)[0].double()
            parts.append(torch.exp(scores - scores.logsumexp(0)))
    return torch.stack(parts).mean(0).numpy()


PROTOCOLS = {
    "dense": (PLAIN, "none"),
    "flip": (Protocol(frame=64, flip=True), "none"),
    "center-crop": (Protocol(frame=64, view="center-crop"), "none"),
    "8-bit": (PLAIN, "8-bit"),
    "8-bit blur": (PLAIN, "8-bit blur"),
    "circular, seed 5": (Protocol(frame=64, border="circular", seed=5), "none"),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_answers_are_those_computed_by_hand(tmp_path, name):
    body, given, (protocol, rounding) = network(), images(3), PROTOCOLS[name]
    scales = {"48": [48], "64": [64], "48+64": [48, 64]}
    wanted = conditions(["sharp", "D8", "shake"], list(scales), rounding=rounding)
    task = Classification({"sharp": body}, protocol)
    for one, part in told(given, wanted, task, tmp_path).items():
        for row in part.reset_index().itertuples():
            index = given.ids.index(row.image)
            shares = by_hand(body, given.load(index), one.treatment, scales[one.scale], protocol, row.image)
            assert row.label == given.labels[index]
            assert row.p_true == pytest.approx(shares[row.label], rel=1e-4)
            assert row.confidence == pytest.approx(shares.max(), rel=1e-4)
            assert row.entropy == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-4)
            assert row.predicted == shares.argmax()
            assert row.rank == (shares > shares[row.label]).sum()


def test_the_switches_change_the_answers(tmp_path):
    seen = {}
    for name, (protocol, rounding) in PROTOCOLS.items():
        found = told(images(3), conditions(["D8", "shake"], rounding=rounding), asking(None, protocol), tmp_path)
        seen[name] = tuple(value for part in found.values() for value in part["p_true"])
    assert len(set(seen.values())) == len(PROTOCOLS)
    assert np.allclose(seen["8-bit"], seen["dense"], atol=0.01)  # half a grey level moves little


def test_roundings_that_are_answered_together_are_each_what_they_are_alone(tmp_path):
    wanted = [one for word in ("none", "8-bit blur", "8-bit") for one in conditions(["D8"], rounding=word)]
    together = told(images(3), wanted, asking(), tmp_path, batch=8)
    for one in wanted:
        alone = told(images(3), [one], asking(), tmp_path / one.treatment.rounding)[one]
        assert np.allclose(alone["p_true"], together[one]["p_true"], rtol=2e-5)


def test_large_images_are_shown_fewer_at_a_time_and_answered_the_same(tmp_path, monkeypatch):
    wanted = conditions(["sharp", "D4", "D6", "D8"])
    whole = told(images(), wanted, asking(), tmp_path / "a")
    shown, body = [], network()
    body.register_forward_pre_hook(lambda module, inputs: shown.append(len(inputs[0])))
    monkeypatch.setattr(classification, "CACHED_SIDE", 34)  # 48 has about twice its pixels
    found = told(images(), wanted, Classification({"sharp": body}, PLAIN), tmp_path / "b")
    assert set(shown) == {2}
    for one, part in whole.items():
        assert np.allclose(part["p_true"], found[one]["p_true"], rtol=2e-5)


def test_a_network_in_training_mode_is_evaluated_as_trained(tmp_path):
    trained = network().train()
    found = told(images(), conditions(["D6"]), Classification({"sharp": trained}, PLAIN), tmp_path / "a")
    assert found.keys() == {conditions(["D6"])[0]}
    (one, part), *_ = found.items()
    assert part.equals(told(images(), [one], asking(), tmp_path / "b")[one])


# ------------------------------------------------------------------------------------------------ mistakes


class Broken(planted.Nearest):
    def forward(self, images):
        return super().forward(images) * float("nan")


class Large(planted.Nearest):
    def forward(self, images):
        raise RuntimeError("Given input size too small\nand more")


@pytest.mark.parametrize(
    "body, labels, blurs, scales, message",
    [
        (planted.Nearest, [0, 7], ["sharp"], ["64"], "class index 7 but planted answers 7 classes"),
        (planted.Nearest, [0, 1], ["sharp", "Q8"], ["64"], "'Q8'"),
        (planted.Nearest, [0, 1], ["sharp"], ["31"], "'31'"),
        (planted.Nearest, [0, 1], ["sharp"], ["64+64"], r"'64\+64'"),
        (planted.Nearest, [0, 1], ["sharp"], ["big"], "'big'"),
        (Broken, [0, 1], ["sharp"], ["64"], "planted gives scores that are not finite at scale 64"),
        (Large, [0, 1], ["sharp"], ["64"], "cannot answer images of 64 x 80 pixels .*too small.; use another scale"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, body, labels, blurs, scales, message):
    with pytest.raises(UserError, match=message) as caught:
        asked(colours([0, 1], labels, classes=8), conditions(blurs, scales), asking(body()), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_frame_that_no_memory_holds_is_refused_for_photographs(tmp_path):
    task = asking(protocol=Protocol(frame=65536))
    with pytest.raises(UserError, match="frame=65536 would enlarge"):
        asked(images(1), conditions(scales=["64"]), task, tmp_path)
    asked(images(2, 32), conditions(scales=["32"]), task, tmp_path)  # small images are never enlarged


# ------------------------------------------------------------------------------------------------ what decides


def test_all_that_decides_an_answer_is_among_the_facts():
    facts = [
        asking().facts,
        asking(planted.Nearest()).facts,
        asking(protocol=Protocol(frame=63)).facts,
        asking(with_psnr=True).facts,
        asking(weights={("wiener", 0.0): 1e-3}).facts,
        asking(weights={("wiener", 0.0): 2e-3}).facts,
        Classification({"mix": network()}, PLAIN).facts,
    ]
    assert all(one != other for place, one in enumerate(facts) for other in facts[:place])
    custom = network()
    custom.identity = "digest of its code"
    assert Classification({"sharp": custom}, PLAIN).facts["identity"] == "digest of its code"


def test_what_is_done_with_small_images_is_among_the_facts_of_a_network_a_scale_too():
    one = network()
    one.body.small_input = "zero-pad"
    for each in (one, models.PerScale({64: one})):
        assert Classification({"mix": each}, PLAIN).facts["small_input"] == "zero-pad"
    assert asking().facts["small_input"] == ""


def test_a_network_a_scale_answers_each_side_with_its_own(tmp_path):
    dark, light = (planted.Nearest(sharpness) for sharpness in (300.0, 30.0))
    both = models.PerScale({48: network(dark), 64: network(light)})
    wanted = conditions(scales=["48", "64", "48+64"])
    found = told(images(3), wanted, Classification({"sharp": both}, PLAIN), tmp_path)
    alone = {side: told(images(3), wanted, asking(b), tmp_path) for side, b in (("48", dark), ("64", light))}
    for one in wanted[:2]:
        assert found[one].equals(alone[one.scale][one])
    mean = (found[wanted[0]]["p_true"] + found[wanted[1]]["p_true"]) / 2
    assert np.allclose(found[wanted[2]]["p_true"], mean, rtol=1e-5)


# ------------------------------------------------------------------------------------------------ restoration

SIDE = 48
SQUARE = Protocol(frame=SIDE)
WEIGHTS = {("wiener", 0.0): 1e-3, ("wiener", 0.01): 1e-2}
SHARP, BLURRED, NOISY = Treatment("sharp"), Treatment("D3"), Treatment("D3", 0.01)
RESTORED = BLURRED._replace(method="wiener", kernel="true")
WRONG = RESTORED._replace(kernel="D5")
CLEARED = NOISY._replace(method="wiener", kernel="true")
WAYS = [SHARP, BLURRED, RESTORED, WRONG, NOISY, CLEARED]
PAIRED = [
    Condition(way, str(SIDE), training)
    for way in WAYS
    for training in ("sharp", "mix")
    if training == "sharp" or way != WRONG
]


def bars(count=6, **changed):
    draw = partial(planted.squares, SIDE)
    return images(count, SIDE, draw=draw, classes=2, labels=(1,) * count, name="squares", **changed)


def two_networks():
    known = {"sharp": 0.09, "mix": 0.001}
    known = {name: network(planted.Detail(bar), classes=2) for name, bar in known.items()}
    return Classification(known, SQUARE, weights=WEIGHTS, with_psnr=True)


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    return told(bars(), PAIRED, two_networks(), tmp_path_factory.mktemp("restored"))


def test_planted_networks_see_what_blur_hides_and_deblurring_brings_back(restored):
    top1 = {(one.training, one.treatment): part["top1"].mean() for one, part in restored.items()}
    assert top1["sharp", SHARP] == 1
    assert top1["sharp", BLURRED] == 0
    assert top1["sharp", RESTORED] == 1
    assert top1["mix", BLURRED] == 1
    assert ("mix", WRONG) not in top1
    quality = {one.treatment: part["psnr"].mean() for one, part in restored.items() if one.training == "sharp"}
    assert np.isnan(quality[SHARP])
    assert quality[RESTORED] > quality[BLURRED] + 3
    assert quality[WRONG] < quality[RESTORED] - 3
    assert quality[CLEARED] < quality[RESTORED]


def test_a_restored_answer_is_the_one_reached_by_hand(restored):
    image = planted.squares(SIDE, 4)[None]
    kernel = blurring.kernel_for("D3", 1.0)
    draw = blurring.generator_for(0, "image 4.jpg", "D3, noise 0.01").normal(0, 0.01, image.shape[1:])
    seen = (blurring.blur(image, kernel) + torch.from_numpy(draw).float()).clamp(0, 1)
    clear = deblurring.deblur(seen, kernel, "wiener", 0.01, 1e-2)
    one = restored[Condition(CLEARED, str(SIDE))].loc["image 4.jpg"]
    assert one["psnr"] == pytest.approx(deblurring.psnr(clear, image).item(), abs=0.01)
    shares = network(planted.Detail(0.09), classes=2)(clear).double().softmax(1)[0]
    assert one["p_true"] == pytest.approx(shares[1].item(), rel=1e-3, abs=1e-6)


def test_more_ways_add_to_what_was_found_to_the_bit(tmp_path, restored):
    asked(bars(), PAIRED[:5], two_networks(), tmp_path)
    found = told(bars(), PAIRED, two_networks(), tmp_path)
    for one, part in restored.items():
        assert part.equals(found[one])


# ------------------------------------------------------------------------------------------------ faster backends

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="NOT TESTED: openvino is not installed (the openvino extra)"
)
BOTH = conditions(["sharp", "D8"], ["48", "64"])


def accelerated(store, **computing):
    given = images()
    task, about = classification.accelerated(asking(), given, "openvino", BOTH, Computing(store, **computing))
    return asked(given, BOTH, task, store), about


@needs_openvino
def test_a_backend_has_answers_of_its_own_and_its_check_is_in_the_circumstances(tmp_path, monkeypatch):
    given, task = images(), asking()
    assert classification.accelerated(task, given, "eager", BOTH, Computing(tmp_path)) == (task, {})
    plain = asked(given, BOTH, task, tmp_path)
    for computed in (9, 0):
        quick, about = accelerated(tmp_path)
        assert quick.circumstances["computed_images"] == computed
        assert quick.decided["backend"] == backends.version("openvino")
        assert quick.decided["versions"]["recognition.backends"] == backends.VERSION
        check = about["backend_check"]
        assert (check["answers"], check["agreement"], check["side"]) == (18, 1.0, 48)
        assert check["largest_difference"] < 1e-3
        first = [part["top1"] for one, part in tables(given, plain).items() if one.scale == "48"]
        assert check["top1"] == check["top1_float32"] == np.mean(first)
        monkeypatch.setattr(backends, "compared", None)  # what the check found is kept
    assert "recognition.backends" not in plain.decided["versions"]
    for one, each in plain.found.items():
        assert np.mean([each[i][0] == quick.found[one][i][0] for i in each]) > 0.9
    assert len(list((tmp_path / "answers").glob("*.jsonl"))) == 2


@needs_openvino
def test_a_backend_that_answers_otherwise_ends_the_run_before_it_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "compiled", lambda body, *about: lambda images: body(images).roll(1, dims=1))
    with pytest.raises(UserError, match=r"in 0\.0% of 18 cases, less than 95%"):
        accelerated(tmp_path)
    assert not list((tmp_path / "answers").glob("*.jsonl"))


def test_a_backend_is_for_the_cpu(tmp_path):
    with pytest.raises(UserError, match="'openvino' computes on the cpu, not on cuda; use backend eager"):
        accelerated(tmp_path, device="cuda")
