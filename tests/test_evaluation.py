"""Evaluation: known networks give known answers, whatever the batch, the order, the workers and the interruptions."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from blurnb.study.evaluation import Protocol, evaluate
from scipy.stats import binomtest
from torch import nn

from blurnb.errors import UserError
from blurnb.optics import blur, resampling
from blurnb.recognition.datasets import Dataset, UnreadableImage, sample, subset
from blurnb.recognition.models import Network
from blurnb.study import evaluation, journal

PLAIN = Protocol(frame=64, flip=False)
PALETTE = torch.tensor([[0.1 + 0.12 * i, 0.5, 0.5] for i in range(7)])


class Nearest(nn.Module):
    """Scores by the distance of the image's mean colour to each class's: planted, so that answers are known."""

    def __init__(self, sharpness: float = 300.0):
        super().__init__()
        self.register_buffer("palette", PALETTE.clone())
        self.register_buffer("sharpness", torch.tensor(sharpness))

    def forward(self, images):
        return -self.sharpness * (images.mean((2, 3))[:, None] - self.palette).square().sum(2)


def planted(name: str = "nearest", body: nn.Module | None = None) -> Network:
    return Network(name, body or Nearest(), len(PALETTE), mean=(0.0,) * 3, std=(1.0,) * 3).eval()


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(24, len(PALETTE))

    def forward(self, images):
        return self.head(self.trunk(images).mean((2, 3)))


def convolutional() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = Convolutional()
        nn.init.normal_(body.head.weight, std=3)
        return Network("convolutional", body, len(PALETTE)).eval().to(memory_format=torch.channels_last)


def plain_image(colours: tuple[int, ...], index: int) -> torch.Tensor:
    return PALETTE[colours[index]].view(3, 1, 1).expand(3, 40, 50)


def noise_image(shapes: tuple[tuple[int, int], ...], index: int) -> torch.Tensor:
    return torch.rand(3, *shapes[index], generator=torch.Generator().manual_seed(index))


def made(load, labels, native_side=None, name="planted") -> Dataset:
    labels = tuple(labels)
    ids = tuple(f"image {i}.jpg" for i in range(len(labels)))
    return Dataset(name, tuple("abcdefg"), ids, labels, load, native_side, f"{name} {len(labels)}")


def colours(seen, labels) -> Dataset:
    return made(partial(plain_image, tuple(seen)), labels)


def photographs(count: int = 9) -> Dataset:
    shapes = tuple((48 + 8 * (i % 3), 64) for i in range(count))
    return made(partial(noise_image, shapes), [i % 7 for i in range(count)], name="photographs")


def small(count: int = 100) -> Dataset:
    return made(partial(noise_image, ((32, 32),) * count), [i % 7 for i in range(count)], 32, "small")


# ------------------------------------------------------------------------------------------------ planted answers


def test_planted_colours_have_known_ranks(tmp_path):
    # class 0 is at the palette's end: seen as colour 0, the classes rank 0, 1, 2 ... by their distance
    dataset = colours([0] * 7, range(7))
    found, about = evaluate(planted(), dataset, ["sharp", "D8", "shake"], ["64"], PLAIN, store=tmp_path)
    assert len(found) == 3 * 7
    for _, part in found.groupby("blur"):  # a plain image is its own blur
        assert part["rank"].tolist() == list(range(7))
        assert part["predicted"].tolist() == [0] * 7
        assert part["top1"].tolist() == [True] + [False] * 6
        assert part["top5"].tolist() == [True] * 5 + [False] * 2
    shares = torch.softmax(-300 * (0.12 * torch.arange(7, dtype=torch.float64)).square(), 0)
    sharp = found[found["blur"] == "sharp"]
    assert np.allclose(sharp["p_true"], shares, rtol=2e-3, atol=1e-9)
    assert np.allclose(sharp["confidence"], shares[0], rtol=1e-4)
    assert np.allclose(sharp["entropy"], -(shares * shares.log()).sum(), rtol=1e-3)
    assert about["computed_images"] == 7
    rows = {(r["blur"], r["metric"], r["view"]): r for r in evaluation.summarise(found, PLAIN, question="rq1")}
    assert rows["D8", "top1", "dense"]["value"] == pytest.approx(1 / 7)
    assert rows["D8", "top5", "dense"]["value"] == pytest.approx(5 / 7)
    assert rows["D8", "top5", "dense"]["n"] == 7
    assert rows["D8", "top5", "dense"]["ci_low"] < 5 / 7 < rows["D8", "top5", "dense"]["ci_high"]
    assert rows["D8", "top1_change", "dense vs sharp image"]["value"] == 0
    assert ("sharp", "top1_change", "dense vs sharp image") not in rows


def test_a_network_that_knows_nothing_has_the_entropy_of_the_classes_and_is_never_right(tmp_path):
    dataset = colours(range(7), range(7))
    found, _ = evaluate(planted("ignorant", Nearest(0.0)), dataset, ["sharp"], ["64"], PLAIN, store=tmp_path)
    assert np.allclose(found["entropy"], np.log(7), atol=1e-6)
    assert np.allclose(found["p_true"], 1 / 7, atol=1e-6)
    assert found["rank"].tolist() == [6] * 7  # a tie is a miss
    assert not found["top1"].any()
    assert not found["top5"].any()


def test_a_tie_for_the_fifth_place_is_a_miss():
    shares = torch.tensor([[0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    assert [evaluation.scored(shares, torch.tensor([i]))[0][1] for i in (0, 2, 3, 6)] == [2, 2, 6, 6]


# ------------------------------------------------------------------------------------------------ by hand


def by_hand(network, image, label, sides, protocol, image_id) -> np.ndarray:
    """Class probabilities of one image, step by step as the method says."""
    image = resampling.resized(image[None], protocol.frame)
    seen = blur(image, label, frame=protocol.frame, border=protocol.border, seed=protocol.seed, image_ids=[image_id])
    if protocol.rounding != "none":
        seen = (seen * 255).round() / 255
    parts = []
    for side in sides:
        view = resampling.resized(seen, side)
        if protocol.rounding == "8-bit":
            view = (view * 255).round() / 255
        if protocol.view == "center-crop":
            crop, (height, width) = round(side * 7 / 8), view.shape[-2:]
            top, left = (height - crop) // 2, (width - crop) // 2
            view = view[:, :, top : top + crop, left : left + crop]
        for one in [view, view.flip(-1)] if protocol.flip else [view]:
            with torch.inference_mode():
                scores = network(one)[0].double()
            parts.append(torch.exp(scores - scores.logsumexp(0)))
    return torch.stack(parts).mean(0).numpy()


PROTOCOLS = {
    "dense": PLAIN,
    "flip": Protocol(frame=64, flip=True),
    "center-crop": Protocol(frame=64, flip=False, view="center-crop"),
    "8-bit": Protocol(frame=64, flip=False, rounding="8-bit"),
    "8-bit blur": Protocol(frame=64, flip=False, rounding="8-bit blur"),
    "circular, seed 5": Protocol(frame=64, flip=False, border="circular", seed=5),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_answers_are_those_computed_by_hand(tmp_path, name):
    network, dataset, protocol = convolutional(), photographs(3), PROTOCOLS[name]
    scales = {"48": [48], "64": [64], "48+64": [48, 64]}
    found, _ = evaluate(network, dataset, ["sharp", "D8", "shake"], list(scales), protocol, store=tmp_path)
    for row in found.itertuples():
        index = dataset.ids.index(row.image)
        shares = by_hand(network, dataset.load(index), row.blur, scales[row.scale], protocol, row.image)
        assert row.label == dataset.labels[index]
        assert row.p_true == pytest.approx(shares[row.label], rel=1e-4)
        assert row.confidence == pytest.approx(shares.max(), rel=1e-4)
        assert row.entropy == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-4)
        assert row.predicted == shares.argmax()
        assert row.rank == (shares > shares[row.label]).sum()


def test_the_switches_change_the_answers(tmp_path):
    dataset = photographs(3)
    seen = {
        name: tuple(evaluate(convolutional(), dataset, ["D8", "shake"], ["48"], p, store=tmp_path)[0]["p_true"])
        for name, p in PROTOCOLS.items()
    }
    assert len(set(seen.values())) == len(PROTOCOLS)
    assert np.allclose(seen["8-bit"], seen["dense"], atol=0.01)  # half a grey level moves little


# ------------------------------------------------------------------------------------------------ independence

CONDITIONS = (["sharp", "D6", "shake"], ["48", "32+48"], PLAIN)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return {
        data.__name__: evaluate(convolutional(), data(), *CONDITIONS, store=tmp_path_factory.mktemp("reference"))[0]
        for data in (photographs, small)
    }


def assert_same(found, reference):
    found = found.set_index(["image", "scale", "blur"]).loc[reference.set_index(["image", "scale", "blur"]).index]
    expected = reference.set_index(["image", "scale", "blur"])
    exact = ["label", "predicted", "rank", "top1", "top5"]
    assert found[exact].equals(expected[exact])
    close = ["entropy", "p_true", "confidence"]
    # sums of a matrix product are ordered by its size: single precision agrees to five digits, not to the bit
    assert np.allclose(found[close], expected[close], rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 7}, {"batch": 64, "workers": 3}], ids=str)
@pytest.mark.parametrize("data", [photographs, small], ids=["photographs", "small"])
def test_answers_do_not_depend_on_batch_or_workers(tmp_path, reference, data, options):
    found, _ = evaluate(convolutional(), data(), *CONDITIONS, store=tmp_path, **options)
    assert found["image"].tolist() == reference[data.__name__]["image"].tolist()
    assert_same(found, reference[data.__name__])


def test_large_images_are_shown_fewer_at_a_time_and_answered_the_same(tmp_path, monkeypatch):
    whole, _ = evaluate(
        convolutional(), photographs(), ["sharp", "D4", "D6", "D8"], ["48"], PLAIN, store=tmp_path / "a"
    )
    shown, network = [], convolutional()
    network.register_forward_pre_hook(lambda module, inputs: shown.append(len(inputs[0])))
    monkeypatch.setattr(evaluation, "CACHED_SIDE", 34)  # 48 has about twice its pixels
    found, _ = evaluate(network, photographs(), ["sharp", "D4", "D6", "D8"], ["48"], PLAIN, store=tmp_path / "b")
    assert set(shown) == {2}
    assert_same(found, whole)


@pytest.mark.parametrize("data", [photographs, small], ids=["photographs", "small"])
def test_answers_do_not_depend_on_the_order_of_images_blurs_and_scales(tmp_path, reference, data):
    backwards = subset(data(), range(len(data()))[::-1])
    blurs, scales, protocol = CONDITIONS
    found, _ = evaluate(convolutional(), backwards, blurs[::-1], scales[::-1], protocol, store=tmp_path)
    assert found["image"].iloc[0] == data().ids[-1]
    assert_same(found, reference[data.__name__])


def test_a_condition_named_twice_counts_once(tmp_path, reference):
    found, _ = evaluate(convolutional(), photographs(), ["D6", "D6.0", "D6"], ["48", "48"], PLAIN, store=tmp_path)
    assert len(found) == len(photographs())


def test_a_network_in_training_mode_is_evaluated_as_trained(tmp_path, reference):
    network = convolutional().train()
    found, _ = evaluate(network, photographs(), *CONDITIONS, store=tmp_path)
    assert_same(found, reference["photographs"])


# ------------------------------------------------------------------------------------------------ never twice


class Forbidden(Convolutional):
    def forward(self, images):
        raise AssertionError("this was computed before")


def forbidden() -> Network:
    """The network of `convolutional`, which may not be asked."""
    network = convolutional()
    network.body.__class__ = Forbidden
    return network


@pytest.mark.parametrize("data", [photographs, small], ids=["photographs", "small"])
def test_what_was_computed_is_found(tmp_path, reference, data):
    first, about = evaluate(convolutional(), data(), *CONDITIONS, store=tmp_path)
    assert about["computed_images"] == len(data())
    again, about = evaluate(forbidden(), data(), *CONDITIONS, store=tmp_path)
    assert about["computed_images"] == 0
    assert again.equals(first)
    fewer, _ = evaluate(forbidden(), sample(data(), 5, seed=1), ["shake"], ["48"], PLAIN, store=tmp_path)
    assert len(fewer) == 5
    with pytest.raises(UserError, match="computed before"):  # the network that may not be asked does object
        evaluate(forbidden(), data(), ["D7"], ["48"], PLAIN, store=tmp_path)


def test_a_larger_set_computes_only_what_is_new(tmp_path, reference):
    evaluate(convolutional(), sample(photographs(), 4), *CONDITIONS, store=tmp_path)
    found, about = evaluate(convolutional(), photographs(), *CONDITIONS, store=tmp_path)
    assert about["computed_images"] == 5
    assert_same(found, reference["photographs"])


def test_other_weights_data_and_protocols_are_computed_anew(tmp_path):
    args = ["sharp"], ["48"], PLAIN
    evaluate(convolutional(), photographs(), *args, store=tmp_path)
    other = convolutional()
    with torch.no_grad():
        other.body.head.bias[0] += 1
    for network, data, protocol in [
        (other, photographs(), PLAIN),
        (convolutional(), photographs(8), PLAIN),
        (convolutional(), photographs(), Protocol(frame=63, flip=False)),
        (convolutional(), photographs(), Protocol(frame=64, flip=False, seed=1)),
    ]:
        _, about = evaluate(network, data, ["sharp"], ["48"], protocol, store=tmp_path)
        assert about["computed_images"] == len(data)


@pytest.mark.parametrize("data", [photographs, small], ids=["photographs", "small"])
def test_an_interrupted_run_goes_on_to_the_same_answers(tmp_path, reference, data):
    _, about = evaluate(convolutional(), data(), *CONDITIONS, store=tmp_path)
    path = journal.path_for(tmp_path, about["facts"])
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 3, 2 * len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:length])
        found, about = evaluate(convolutional(), data(), *CONDITIONS, store=tmp_path)
        assert 0 < about["computed_images"] <= len(data())
        assert found.equals(reference[data.__name__])


SLOWLY = """
import sys, time
sys.path.insert(0, sys.argv[2])
import test_evaluation as t
network = t.convolutional()
network.register_forward_pre_hook(lambda *_: time.sleep(0.1))
t.evaluate(network, t.photographs(), *t.CONDITIONS, store=sys.argv[1])
"""


def test_a_killed_run_goes_on_to_the_same_answers(tmp_path, reference):
    arguments = [sys.executable, "-c", SLOWLY, str(tmp_path), str(Path(__file__).parent)]
    run = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not list((tmp_path / "answers").glob("*.jsonl")) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    found, about = evaluate(convolutional(), photographs(), *CONDITIONS, store=tmp_path)
    assert 0 < about["computed_images"] < len(photographs())
    assert found.equals(reference["photographs"])


# ------------------------------------------------------------------------------------------------ bad input


def spoiled_image(index: int) -> torch.Tensor:
    if index in (1, 3):
        raise UnreadableImage(f"photo {index}.jpg is not a whole image (truncated)")
    return noise_image(((48, 48),) * 9, index)


@pytest.mark.parametrize("native_side", [None, 48])
def test_an_unreadable_image_is_named_skipped_and_counted(tmp_path, native_side):
    dataset = made(spoiled_image, [0, 1, 2, 3, 4], native_side, "spoiled")
    with pytest.warns(UserWarning, match="skipped: photo 1.jpg is not a whole image"):
        found, about = evaluate(convolutional(), dataset, ["sharp", "D4"], ["48"], PLAIN, store=tmp_path)
    assert set(found["image"]) == {"image 0.jpg", "image 2.jpg", "image 4.jpg"}
    assert set(about["skipped"]) == {"image 1.jpg", "image 3.jpg"}
    assert about["computed_images"] == 3
    rows = evaluation.summarise(found, PLAIN)
    assert {row["n"] for row in rows} == {3}
    with pytest.raises(UserError, match="photo 1.jpg is not a whole image"):
        evaluate(convolutional(), dataset, ["sharp", "D4"], ["48"], PLAIN, store=tmp_path, strict=True)


@pytest.mark.filterwarnings("ignore:skipped")
def test_a_set_without_a_readable_image_is_one_line(tmp_path):
    dataset = subset(made(spoiled_image, [0, 1, 2, 3, 4], None, "spoiled"), [1, 3])
    with pytest.raises(UserError, match="no image of spoiled could be read; first: photo 1.jpg"):
        evaluate(convolutional(), dataset, ["sharp"], ["48"], PLAIN, store=tmp_path)


class Broken(Nearest):
    def forward(self, images):
        return super().forward(images) * float("nan")


@pytest.mark.parametrize(
    "network, labels, blurs, scales, message",
    [
        (planted, [0, 7], ["sharp"], ["64"], "class index 7 but nearest answers 7 classes"),
        (planted, [0, 1], ["sharp", "Q8"], ["64"], "'Q8'"),
        (planted, [0, 1], ["sharp"], ["31"], "'31'"),
        (planted, [0, 1], ["sharp"], ["64+64"], r"'64\+64'"),
        (planted, [0, 1], ["sharp"], ["big"], "'big'"),
        (partial(planted, "broken", Broken()), [0, 1], ["sharp"], ["64"], "broken gives scores that are not finite"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, network, labels, blurs, scales, message):
    with pytest.raises(UserError, match=message) as caught:
        evaluate(network(), colours([0, 1], labels), blurs, scales, PLAIN, store=tmp_path)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ pairs


def test_paired_changes_are_those_that_numpy_finds(tmp_path):
    found, _ = evaluate(convolutional(), small(), ["sharp", "D20"], ["32"], PLAIN, store=tmp_path)
    rows = {r["metric"]: r for r in evaluation.summarise(found, PLAIN) if r["view"] == "dense vs sharp image"}
    sharp, blurred = (found[found["blur"] == b].sort_values("image") for b in ("sharp", "D20"))
    for metric in ("top1", "top5", "entropy"):
        change = blurred[metric].to_numpy(float) - sharp[metric].to_numpy(float)
        row = rows[f"{metric}_change"]
        assert row["value"] == pytest.approx(change.mean())
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["n"] == 100
    half = 1.96 * change.std(ddof=1) / np.sqrt(len(change))  # of the entropy, which is nearly normal
    assert row["ci_low"] == pytest.approx(change.mean() - half, abs=0.2 * half)
    assert row["ci_high"] == pytest.approx(change.mean() + half, abs=0.2 * half)


def test_the_paired_p_value_is_that_of_the_binomial_of_disagreements():
    generator = np.random.default_rng(0)
    theirs = generator.random(200) < 0.8
    mine = theirs & (generator.random(200) < 0.8) | (generator.random(200) < 0.1)
    images = pd.Index([f"image {i}" for i in range(200)], name="image")
    sharp, blurred = (pd.DataFrame({"top1": t, "top5": t, "entropy": 1.0}, index=images) for t in (theirs, mine))
    rows = {r["metric"]: r for r in evaluation.changes(blurred, sharp, PLAIN, "sharp image")}
    worse, better = int((theirs & ~mine).sum()), int((~theirs & mine).sum())
    assert worse > better > 0
    assert rows["mcnemar_p"]["value"] == pytest.approx(binomtest(worse, worse + better).pvalue)
    assert rows["top1_change"]["value"] == pytest.approx((better - worse) / 200)


def test_pairs_are_made_by_image_over_what_both_have(tmp_path):
    found, _ = evaluate(convolutional(), small(20), ["sharp", "D20"], ["32"], PLAIN, store=tmp_path)
    sharp, blurred = (found[found["blur"] == b].set_index("image") for b in ("sharp", "D20"))
    some = blurred.iloc[[7, 3, 11, 0]]
    rows = evaluation.changes(some, sharp.iloc[::-1].drop(index="image 0.jpg"), PLAIN, "sharp network", blur="D20")
    kept = ["image 7.jpg", "image 3.jpg", "image 11.jpg"]
    expected = (blurred.loc[kept, "entropy"] - sharp.loc[kept, "entropy"]).mean()
    assert {r["n"] for r in rows} == {3}
    assert {r["view"] for r in rows} == {"dense vs sharp network"}
    assert next(r["value"] for r in rows if r["metric"] == "entropy_change") == pytest.approx(expected)


def test_a_frame_that_no_memory_holds_is_refused_for_photographs(tmp_path):
    protocol = Protocol(frame=65536, flip=False)
    with pytest.raises(UserError, match="frame=65536 would enlarge"):
        evaluate(convolutional(), photographs(1), ["sharp"], ["64"], protocol, store=tmp_path)
    evaluate(convolutional(), small(2), ["sharp"], ["32"], protocol, store=tmp_path)  # small images are never enlarged
