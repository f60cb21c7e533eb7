"""The loop: every image and condition once, whatever the batch, the order, the workers and the interruptions."""

import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import planted
import pytest
import torch
from PIL import Image, ImageFile
from planted import asked, conditions, images, network

from blurnb import provenance
from blurnb.errors import UserError
from blurnb.recognition import datasets
from blurnb.recognition.datasets import UnreadableImage, sample, subset
from blurnb.study import answers, journal
from blurnb.study.answers import Computing
from blurnb.study.classification import Classification
from blurnb.study.protocol import Protocol

PLAIN = Protocol(frame=64)
ASKED = conditions(["sharp", "D6", "shake"], ["48", "32+48"])
COUNTS = {"photographs": 9, "small": 100}


def data(name):
    """Photographs of three shapes, or small images of 32 pixels, more than a block of them."""
    return images(COUNTS[name], None if name == "photographs" else 32)


def asking(body=None, **changed) -> Classification:
    return Classification({"sharp": network(body)}, PLAIN, **changed)


class Recording:
    """A task that notes what it is shown and answers the truth."""

    facts = {"task": "recording"}

    def __init__(self):
        self.groups, self.alive, self.most = [], 0, 0

    def check(self, images):
        pass

    def load(self, images, index):
        pixels = images.load(index).clone()
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(pixels, self._gone)
        return pixels, images.labels[index]

    def _gone(self):
        self.alive -= 1

    def show(self, group, some):
        self.groups.append((len(group.ids), tuple(group.pixels.shape[-2:]), [one.blur for one in some]))
        return group.pixels.repeat(len(some), 1, 1, 1)

    def answer(self, shown, group, some, wanted):
        assert len(shown) == len(group.ids) * len(some)
        assert {one.treatment for one in wanted} == set(some)
        return {one: [[truth] for truth in group.truths] for one in wanted}


# ------------------------------------------------------------------------------------------------ windows and groups


def test_on_the_cpu_photographs_come_one_by_one_and_the_batch_is_filled_with_treatments(tmp_path):
    task = Recording()
    asked(images(9), conditions(["sharp", "D2", "D4", "D6", "D8"]), task, tmp_path, batch=4)
    blurs = [["sharp", "D2", "D4", "D6"], ["D8"]]
    shapes = [(48 + 8 * (i % 3), 64) for i in range(9)]
    assert task.groups == [(1, shape, some) for shape in shapes for some in blurs]


def test_elsewhere_too_an_unreadable_photograph_is_named_and_skipped(tmp_path):
    task = Recording()
    with pytest.warns(UserWarning, match="skipped: photo 4.jpg"):
        found = asked(planted.images(9, damaged=(4,)), conditions(["D2"]), task, tmp_path, device="meta", batch=6)
    assert [len(each) for each in found.found.values()] == [8]
    with pytest.raises(UnreadableImage, match="photo 4.jpg"):
        asked(planted.images(9, damaged=(4,)), conditions(["D2"]), task, tmp_path / "2", device="meta", strict=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("name", COUNTS)
def test_a_gpu_gives_the_answers_of_the_processor(tmp_path, name):
    found = [
        asked(data(name), ASKED, asking(), tmp_path / device, device=device, batch=4, workers=2).found
        for device in ("cpu", "cuda")
    ]
    assert found[0].keys() == found[1].keys()
    for one in found[0]:
        assert list(found[0][one]) == list(found[1][one])
        for here, there in zip(found[0][one].values(), found[1][one].values()):
            assert there[2:] == pytest.approx(here[2:], abs=1e-3)  # of 16-bit loops, hence not closer


def test_elsewhere_a_window_is_a_batch_of_photographs_and_those_of_one_shape_are_answered_together(tmp_path):
    task = Recording()
    found = asked(images(9), conditions(["sharp", "D2"]), task, tmp_path, device="meta", batch=6)
    each = [(48, 64), (56, 64), (64, 64)]
    # six photographs are two of each shape, and a batch of 6 holds both under both blurs
    both = ["sharp", "D2"]
    assert task.groups == [(2, shape, both) for shape in each] + [(1, shape, both) for shape in each]
    assert list(next(iter(found.found.values()))) == list(images(9).ids), "answers are in the order of the images"
    one_shape = images(9, draw=lambda i: planted.noise(48, 64, i))
    task = Recording()
    asked(one_shape, conditions(["sharp", "D2"]), task, tmp_path / "b", device="meta", batch=6)
    assert task.groups == [(6, (48, 64), ["sharp"]), (6, (48, 64), ["D2"]), (3, (48, 64), both)]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_small_images_come_in_fixed_blocks_one_treatment_at_a_time(tmp_path, device):
    task = Recording()
    asked(images(100, 32), conditions(["sharp", "D2"]), task, tmp_path, device=device, batch=4)
    assert [group[::2] for group in task.groups] == [(64, ["sharp"]), (64, ["D2"]), (36, ["sharp"]), (36, ["D2"])]


@pytest.mark.parametrize("workers", [1, 3])
def test_memory_is_that_of_a_few_windows_however_many_images_there_are(tmp_path, workers):
    task = Recording()
    asked(images(200), conditions(), task, tmp_path, workers=workers)
    assert task.most <= workers + 3
    assert task.alive <= 1


def test_shards_are_whole_windows_and_together_all_images():
    computing = Computing("nowhere")
    parts = [answers.part_of(images(150, 32), computing, place, 2) for place in (1, 2)]
    assert parts == [range(0, 64), range(64, 150)]
    assert not answers.part_of(images(10, 32), computing, 1, 2)
    cut = [answers.part_of(images(7), computing, place, 3) for place in (1, 2, 3)]
    assert [index for part in cut for index in part] == list(range(7))


# ------------------------------------------------------------------------------------------------ independence


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return {name: asked(data(name), ASKED, asking(), tmp_path_factory.mktemp("reference")).found for name in COUNTS}


def assert_same(found, reference):
    """The same answers; sums of a matrix product are ordered by its size, so shares agree to five digits."""
    assert set(found) == set(reference)
    for one, expected in reference.items():
        assert set(found[one]) == set(expected)
        for identity, answer in expected.items():
            assert found[one][identity][:2] == answer[:2]
            assert found[one][identity][2:] == pytest.approx(answer[2:], rel=2e-5, abs=1e-9)


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 7}, {"batch": 64, "workers": 3}], ids=str)
@pytest.mark.parametrize("name", COUNTS)
def test_answers_do_not_depend_on_batch_or_workers(tmp_path, reference, name, options):
    found = asked(data(name), ASKED, asking(batch=options["batch"]), tmp_path, **options).found
    assert [list(each) for each in found.values()] == [list(each) for each in reference[name].values()]
    assert_same(found, reference[name])


@pytest.mark.parametrize("name", COUNTS)
def test_answers_do_not_depend_on_the_order_of_images_and_conditions(tmp_path, reference, name):
    backwards = subset(data(name), range(len(data(name)))[::-1])
    found = asked(backwards, ASKED[::-1], asking(), tmp_path).found
    assert list(found) == ASKED[::-1]
    assert next(iter(found[ASKED[0]])) == data(name).ids[-1]
    assert_same(found, reference[name])


def test_a_condition_named_twice_counts_once(tmp_path):
    task = Recording()
    found = asked(images(3), conditions(["D6", "D6"], ["48", "48"]), task, tmp_path)
    assert list(found.found) == conditions(["D6"])
    assert len(task.groups) == 3


# ------------------------------------------------------------------------------------------------ never twice


@pytest.mark.parametrize("name", COUNTS)
def test_what_was_computed_is_found(tmp_path, reference, name):
    first = asked(data(name), ASKED, asking(), tmp_path)
    assert first.circumstances["computed_images"] == len(data(name))
    again = asked(data(name), ASKED, asking(planted.Forbidden()), tmp_path)
    assert again.circumstances["computed_images"] == 0
    assert again.found == first.found
    few = conditions(["shake"])
    fewer = asked(sample(data(name), 5, seed=1), few, asking(planted.Forbidden()), tmp_path)
    assert len(fewer.found[few[0]]) == 5
    with pytest.raises(UserError, match="computed before"):  # the network that may not be asked does object
        asked(data(name), conditions(["D7"]), asking(planted.Forbidden()), tmp_path)


def test_a_larger_set_computes_only_what_is_new(tmp_path, reference):
    asked(sample(images(), 4), ASKED, asking(), tmp_path)
    found = asked(images(), ASKED, asking(), tmp_path)
    assert found.circumstances["computed_images"] == 5
    assert_same(found.found, reference["photographs"])


def test_other_weights_data_and_protocols_are_computed_anew(tmp_path):
    asked(images(), conditions(), asking(), tmp_path)
    other = planted.Convolutional()
    other.head.bias.data[0] += 1
    for body, given, protocol in [
        (other, images(), PLAIN),
        (None, images(8), PLAIN),
        (None, images(), Protocol(frame=63)),
        (None, images(), Protocol(frame=64, seed=1)),
    ]:
        found = asked(given, conditions(), Classification({"sharp": network(body)}, protocol), tmp_path)
        assert found.circumstances["computed_images"] == len(given)


def photographed(folder: Path, seed: int = 0) -> Path:
    """Four photographs as BMP, whose files are of one size whatever they show; the last one is cut."""
    (folder / "cat").mkdir(parents=True, exist_ok=True)
    for i in range(4):
        pixels = np.random.default_rng(10 * seed + i).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "cat" / f"{i}.bmp")
    whole = (folder / "cat" / "3.bmp").read_bytes()
    (folder / "cat" / "3.bmp").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("cached")
@pytest.mark.filterwarnings("ignore:skipped")
def test_answers_are_those_to_what_the_files_hold(tmp_path):
    def of(folder):
        return asked(datasets.load("folder", folder), conditions(), asking(), tmp_path)

    first, other = of(photographed(tmp_path / "a")), of(photographed(tmp_path / "b", seed=1))
    assert first.circumstances["computed_images"] == other.circumstances["computed_images"] == 3
    assert first.found != other.found
    assert first.decided != other.decided
    again = of(photographed(tmp_path / "c"))  # the same photographs elsewhere
    assert again.circumstances["computed_images"] == 0
    assert (again.found, again.decided) == (first.found, first.decided)
    with open(tmp_path / "a" / "cat" / "1.bmp", "r+b") as file:
        file.seek(1000)
        file.write(b"xxx")
    changed = of(tmp_path / "a")
    assert changed.circumstances["computed_images"] == 1
    assert changed.decided["selection"] != first.decided["selection"]


@pytest.mark.usefixtures("cached")
@pytest.mark.filterwarnings("ignore:skipped")
def test_an_image_that_is_repaired_or_can_be_read_at_last_makes_another_run(tmp_path, monkeypatch):
    folder = photographed(tmp_path / "a")
    broken = asked(datasets.load("folder", folder), conditions(), asking(), tmp_path)
    assert broken.decided["unreadable"] == ["cat/3.bmp"]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as another version of the library may
    lenient = asked(datasets.load("folder", folder), conditions(), asking(), tmp_path)
    assert lenient.circumstances["computed_images"] == 1
    assert "unreadable" not in lenient.decided
    assert lenient.decided != broken.decided
    (folder / "cat" / "3.bmp").write_bytes((folder / "cat" / "2.bmp").read_bytes())
    repaired = asked(datasets.load("folder", folder), conditions(), asking(), tmp_path)
    assert repaired.circumstances["computed_images"] == 1
    assert len({provenance.address(one.decided) for one in (broken, lenient, repaired)}) == 3


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_answers_to_what_was_written_meanwhile_are_not_kept(tmp_path, device):
    found = datasets.load("folder", photographed(tmp_path / "a"))
    assert found.digests
    photographed(tmp_path / "a", seed=2)
    with pytest.raises(UserError, match=r"0.bmp changed while it was answered"):
        asked(found, conditions(), asking(), tmp_path, device=device)
    assert not list((tmp_path / "answers").glob("*.jsonl"))


@pytest.mark.parametrize("name", COUNTS)
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, reference, name):
    first = asked(data(name), ASKED, asking(), tmp_path)
    (path,) = (tmp_path / "answers").glob("*.jsonl")
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 3, 2 * len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:length])
        found = asked(data(name), ASKED, asking(), tmp_path)
        assert 0 < found.circumstances["computed_images"] <= len(data(name))
        assert found.found == first.found == reference[name]


SLOWLY = """
import sys, time
sys.path[:0] = sys.argv[2:]
import planted
from blurnb.study.classification import Classification
from blurnb.study.protocol import Protocol
network = planted.network()
network.register_forward_pre_hook(lambda *_: time.sleep(0.1))
wanted = planted.conditions(["sharp", "D6", "shake"], ["48", "32+48"])
planted.asked(planted.images(), wanted, Classification({"sharp": network}, Protocol(frame=64)), sys.argv[1])
"""


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, reference):
    tests = Path(__file__).parents[1]
    arguments = [sys.executable, "-c", SLOWLY, str(tmp_path), str(tests), str(tests.parent)]
    run = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "answers").glob("*.jsonl")) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    found = asked(images(), ASKED, asking(), tmp_path)
    assert 0 < found.circumstances["computed_images"] < 9
    assert found.found == reference["photographs"]


def test_what_is_kept_of_a_task_can_be_added_to_another_store(tmp_path):
    asked(images(4), conditions(), Recording(), tmp_path / "one")
    facts, kept = answers.kept(images(4), Recording(), tmp_path / "one")
    assert set(kept) == set(images(4).ids)
    journal.add(tmp_path / "other", facts, kept)
    found = asked(images(4), conditions(), Recording(), tmp_path / "other")
    assert found.circumstances["computed_images"] == 0


def test_what_decides_is_told_apart_from_what_surrounds(tmp_path):
    found = asked(images(4), conditions(), Recording(), tmp_path, batch=3)
    assert found.decided == {
        "task": "recording", "dataset": "photographs", "data": "photographs 4", "n": 4, "selection": "photographs 4",
    }  # fmt: skip
    told = {name: found.circumstances[name] for name in ("device", "batch", "computed_images", "skipped")}
    assert told == {"device": "cpu", "batch": 3, "computed_images": 4, "skipped": {}}
    assert {"threads", "wall_seconds"} <= set(found.circumstances)


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("side", [None, 48])
@pytest.mark.filterwarnings("ignore:skipped")
def test_an_unreadable_image_is_named_skipped_and_counted_and_a_rerun_computes_nothing(tmp_path, side):
    spoiled, wanted = images(5, side, damaged=(1, 3)), conditions(["sharp", "D4"])
    with pytest.warns(UserWarning, match=r"skipped: photo 1.jpg is not a whole image"):
        found = asked(spoiled, wanted, asking(), tmp_path)
    assert all(list(each) == ["image 0.jpg", "image 2.jpg", "image 4.jpg"] for each in found.found.values())
    assert set(found.circumstances["skipped"]) == {"image 1.jpg", "image 3.jpg"}
    assert found.circumstances["computed_images"] == 3
    (path,) = (tmp_path / "answers").glob("*.jsonl")
    whole = path.read_bytes()
    again = asked(spoiled, wanted, asking(planted.Forbidden()), tmp_path)
    assert again.circumstances["computed_images"] == 0
    assert again.circumstances["skipped"] == found.circumstances["skipped"]
    assert path.read_bytes() == whole, "nothing was computed, so nothing is kept"
    with pytest.raises(UserError, match=r"photo 1.jpg is not a whole image"):
        asked(spoiled, wanted, asking(), tmp_path, strict=True)


@pytest.mark.filterwarnings("ignore:skipped")
def test_a_set_without_a_readable_image_is_one_line(tmp_path):
    spoiled = subset(images(5, damaged=(1, 3), name="spoiled"), [1, 3])
    with pytest.raises(UnreadableImage, match=r"no image of spoiled could be read; first: photo 1.jpg"):
        asked(spoiled, conditions(), asking(), tmp_path)


def test_what_a_task_refuses_is_refused_before_anything_is_computed(tmp_path):
    task = Recording()
    task.check = lambda images: (_ for _ in ()).throw(UserError("no"))
    with pytest.raises(UserError, match="no"):
        asked(images(3), conditions(), task, tmp_path)
    assert not task.groups
    assert not list(tmp_path.iterdir())
