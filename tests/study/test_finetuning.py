"""Fine-tuning: the same weights whatever kills it, none trained twice, nothing blurred that should be sharp."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from blurnb import provenance
from blurnb.errors import UserError
from blurnb.recognition import models
from blurnb.recognition.datasets import Dataset
from blurnb.recognition.weights import load_weights
from blurnb.study import finetuning, stores
from blurnb.study.draws import Draws
from blurnb.study.finetuning import finetune
from blurnb.study.recipes import Recipe

# 21 images in batches of 8: each epoch ends with a batch of 5; 9 steps in all
RECIPE = Recipe(mix={"sharp": 1, "D64": 2}, epochs=3, batch=8, learning_rate=0.05, max_shift=2)


class Tiny(nn.Module):
    """With a norm and dropout, whose state a resumed run must carry on."""

    def __init__(self, plain: bool = False):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.Identity() if plain else nn.BatchNorm2d(6)
        self.drop = nn.Identity() if plain else nn.Dropout(0.3)
        self.deep = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        maps = torch.relu(self.deep(self.drop(torch.relu(self.norm(self.stem(images))))))
        return self.head(maps.mean((2, 3)))


def tiny(plain: bool = False) -> models.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.Network("tiny", Tiny(plain), 4).eval()


def noise(side: tuple[int, int], index: int) -> torch.Tensor:
    return torch.rand(3, *side, generator=torch.Generator().manual_seed(index))


def images(count: int = 21, native_side: int | None = 16, side: tuple[int, int] = (16, 16)) -> Dataset:
    ids, labels = tuple(f"image {i}" for i in range(count)), tuple(i % 4 for i in range(count))
    return Dataset("noise", tuple("abcd"), ids, labels, partial(noise, side), native_side, f"noise {count} {side}")


def weights(network: models.Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.body.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    network, about = finetune(tiny(), images(), RECIPE, store=tmp_path_factory.mktemp("store"))
    assert not network.training
    assert len(about["loss"]) == 9
    return weights(network)


# ------------------------------------------------------------------------------------------------ what is trained


def test_training_changes_the_weights_and_tells_what_decided_them(tmp_path, uninterrupted):
    assert not same(uninterrupted, weights(tiny()))
    network, about = finetune(tiny(), images(), RECIPE, store=tmp_path)
    assert same(weights(network), uninterrupted)
    assert about["facts"]["learning_rate"] == 0.05
    assert about["facts"]["mix"] == {"sharp": 1, "D64": 2}
    assert about["facts"]["start"] == models.fingerprint(tiny())
    again = tiny()
    load_weights(again, about["weights"])
    assert same(weights(again), uninterrupted)


def test_a_mix_without_blur_is_plain_training_to_the_bit(tmp_path, uninterrupted):
    recipes = {
        name: RECIPE.model_copy(update={"mix": mix})
        for name, mix in {"plain": "sharp", "zero": {"sharp": 1, "D8": 0, "shake": 0}, "list": ["sharp"]}.items()
    }
    plain, zero, listed = (weights(finetune(tiny(), images(), r, store=tmp_path)[0]) for r in recipes.values())
    assert same(plain, zero)
    assert same(plain, listed)
    assert not same(plain, uninterrupted)  # where blur has a share it shows


def test_plain_training_is_that_of_a_plain_loop(tmp_path):
    recipe = RECIPE.model_copy(update={"mix": "sharp", "schedule": "constant", "warmup": 0.0, "clip": 0.0})
    trained, _ = finetune(tiny(plain=True), images(), recipe, store=tmp_path)
    network, dataset = tiny(plain=True).train(), images()
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9, weight_decay=1e-4)
    for epoch in range(3):
        draws = Draws(dataset, recipe, epoch)
        for part in np.split(np.random.default_rng([0, epoch]).permutation(21), [8, 16]):
            batch = torch.stack([draws[int(i)][0] for i in part])
            loss = nn.functional.cross_entropy(network(batch), torch.tensor([dataset.labels[i] for i in part]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in weights(network).items():
        assert torch.allclose(value, trained.body.state_dict()[name], atol=1e-5)


def test_the_order_in_which_weights_are_named_does_not_matter(tmp_path, uninterrupted):
    recipe = RECIPE.model_copy(update={"mix": {"D64": 2, "sharp": 1}})
    assert provenance.address(finetuning.facts(tiny(), images(), recipe)) == provenance.address(
        finetuning.facts(tiny(), images(), RECIPE)
    )
    assert same(weights(finetune(tiny(), images(), recipe, store=tmp_path)[0]), uninterrupted)


def test_workers_do_not_change_the_weights(tmp_path, uninterrupted):
    network, _ = finetune(tiny(), images(), RECIPE, store=tmp_path, workers=1)
    assert same(weights(network), uninterrupted)


def test_other_seeds_and_other_fields_give_other_weights(tmp_path, uninterrupted):
    for field in ({"seed": 1}, {"weight_decay": 0.1}, {"label_smoothing": 0.1}, {"schedule": "constant"}):
        recipe = RECIPE.model_copy(update=field)
        assert not same(weights(finetune(tiny(), images(), recipe, store=tmp_path)[0]), uninterrupted)


def test_a_last_batch_of_one_image_joins_the_one_before(tmp_path):
    _, about = finetune(tiny(), images(17), RECIPE, store=tmp_path)
    assert len(about["loss"]) == 3 * 2
    network = models.load("vgg_mini", "none", 4)  # its norm of 1 x 1 maps has no statistics of one image
    recipe = RECIPE.model_copy(update={"epochs": 1, "batch": 2, "max_shift": 0})
    finetune(network, images(3, 32, (32, 32)), recipe, store=tmp_path)


def test_no_epoch_leaves_the_network_as_it_was(tmp_path):
    network, about = finetune(tiny(), images(), RECIPE.model_copy(update={"epochs": 0}), store=tmp_path)
    assert same(weights(network), weights(tiny()))
    assert about["loss"] == []


def test_frozen_blocks_keep_weights_and_statistics(tmp_path):
    network = tiny()
    with torch.no_grad():
        network.body.norm.running_mean.uniform_(-1, 1)
    before = weights(network)
    trained, _ = finetune(network, images(), RECIPE.model_copy(update={"frozen_blocks": 2}), store=tmp_path)
    changed = {name for name, value in weights(trained).items() if not torch.equal(value, before[name])}
    assert changed == {"deep.weight", "deep.bias", "head.weight", "head.bias"}
    assert all(parameter.requires_grad for parameter in trained.parameters())


# ------------------------------------------------------------------------------------------------ without labels

TAUGHT = RECIPE.model_copy(update={"targets": "teacher", "mix": {"D64": 1}})


def test_the_sharp_network_teaches_its_blurred_twin(tmp_path):
    start, recipe = tiny(plain=True), TAUGHT.model_copy(update={"epochs": 30, "learning_rate": 0.1})
    before = weights(start)
    trained, about = finetune(start, images(), recipe, store=tmp_path)
    seen, sharp = (torch.stack(one) for one in zip(*(Draws(images(), recipe, 40)[i] for i in range(21))))
    untaught = tiny(plain=True)
    with torch.no_grad():
        wanted = untaught(sharp).softmax(1)
        errors = [nn.functional.kl_div(n(seen).log_softmax(1), wanted, reduction="sum") for n in (untaught, trained)]
    assert errors[1] < 0.7 * errors[0]
    assert not same(before, weights(trained))
    assert about["facts"]["targets"] == "teacher"


def test_what_needs_no_change_is_not_changed_by_a_teacher(tmp_path):
    """On sharp images alone the network gives its teacher's answer already: nothing is to be learnt."""
    recipe = TAUGHT.model_copy(update={"mix": "sharp", "weight_decay": 0.0})
    trained, about = finetune(tiny(plain=True), images(), recipe, store=tmp_path)
    for name, value in weights(tiny(plain=True)).items():
        assert torch.allclose(value, trained.body.state_dict()[name], atol=1e-5)


def test_a_teacher_leaves_the_statistics_of_norms_as_they_were_unless_told(tmp_path):
    before = weights(tiny())
    for fields, moves in (({}, set()), ({"batch_norm": "updated"}, {"running_mean", "running_var"})):
        after = weights(finetune(tiny(), images(), TAUGHT.model_copy(update=fields), store=tmp_path)[0])
        moved = {name for name in ("running_mean", "running_var", "weight", "bias")
                 if not torch.equal(before[f"norm.{name}"], after[f"norm.{name}"])}  # fmt: skip
        assert moved == {"weight", "bias"} | moves


def test_another_network_may_teach_and_decides_the_weights(tmp_path, monkeypatch):
    def load(name, kind):
        assert kind == "own"
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return models.Network(name, Tiny(), 5 if name == "five" else 4).eval()

    monkeypatch.setattr(models, "load", load)
    recipe = TAUGHT.model_copy(update={"teacher": "stronger", "teacher_weights": "own"})
    trained, about = finetune(tiny(), images(), recipe, store=tmp_path)
    assert about["facts"]["taught_by"] == models.fingerprint(load("stronger", "own"))
    assert not same(weights(trained), weights(finetune(tiny(), images(), TAUGHT, store=tmp_path)[0]))
    with pytest.raises(UserError, match="teacher=five answers 5 classes, tiny 4"):
        finetune(tiny(), images(), recipe.model_copy(update={"teacher": "five"}), store=tmp_path)


def test_photographs_without_labels_need_a_teacher(tmp_path):
    unlabelled = dataclasses.replace(images(), classes=("photograph",), labels=(0,) * 21)
    with pytest.raises(UserError, match="noise have no labels to learn; use targets='teacher'"):
        finetune(tiny(), unlabelled, RECIPE, store=tmp_path)
    finetune(tiny(), unlabelled, TAUGHT.model_copy(update={"epochs": 1}), store=tmp_path)


# ------------------------------------------------------------------------------------------------ killed

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["blurnb.study.finetuning"])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doomed(store: str, moment: str, recipe: Recipe) -> None:
    """Train until `moment`, then die as if the plug were pulled."""
    torch.set_num_threads(1)
    network, calls = tiny(), []
    what, _, number = moment.partition(" ")

    def forward(*_):
        calls.append(1)
        if what == "step" and len(calls) > int(number):
            die()

    network.register_forward_pre_hook(forward)
    replace = os.replace

    def replaced(source, target):
        if what == "checkpoint" and Path(target).name == "checkpoint.pt" and len(calls) > int(number):
            die()
        replace(source, target)
        if what == "weights" and Path(target).name == "weights.safetensors":
            die()

    os.replace = replaced
    finetune(network, images(), recipe, store=store, checkpoint_seconds=0)


def kill(store: Path, moment: str, recipe: Recipe = RECIPE) -> Path:
    """Run `doomed`; returns the folder of the network."""
    child = SERVER.Process(target=doomed, args=(str(store), moment, recipe))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    (folder,) = (store / "networks").iterdir()
    return folder


@pytest.mark.parametrize("moment", ["step 0", "step 4", "checkpoint 6", "weights"])
def test_a_killed_run_ends_with_the_same_weights_to_the_bit(tmp_path, uninterrupted, moment):
    folder = kill(tmp_path, moment)
    assert (folder / "checkpoint.pt").exists() == (moment != "step 0")
    network, about = finetune(tiny(), images(), RECIPE, store=tmp_path)
    assert same(weights(network), uninterrupted)
    assert len(about["loss"]) == 9
    assert not (folder / "checkpoint.pt").exists()


def test_a_killed_run_of_the_other_optimizer_too(tmp_path):
    recipe = RECIPE.model_copy(update={"optimizer": "adamw", "augmentation": "square", "learning_rate": 0.01})
    whole, _ = finetune(tiny(), images(), recipe, store=tmp_path / "whole")
    kill(tmp_path / "killed", "step 4", recipe)
    resumed, _ = finetune(tiny(), images(), recipe, store=tmp_path / "killed")
    assert same(weights(resumed), weights(whole))


def flip(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


DAMAGE = {"flipped": flip, "truncated": lambda d: d[: len(d) // 2], "empty": lambda d: b"", "short": lambda d: d[:20]}


def test_a_damaged_checkpoint_starts_again(tmp_path, uninterrupted, capsys):
    folder = kill(tmp_path, "step 5")
    kept = (folder / "checkpoint.pt").read_bytes()
    for name, damage in DAMAGE.items():
        for file in folder.iterdir():
            file.unlink()
        (folder / "checkpoint.pt").write_bytes(damage(kept))
        network, _ = finetune(tiny(), images(), RECIPE, store=tmp_path)
        assert same(weights(network), uninterrupted), name
        assert "is damaged; this training starts again" in capsys.readouterr().out


def test_damaged_weights_are_trained_again(tmp_path, uninterrupted):
    _, about = finetune(tiny(), images(), RECIPE, store=tmp_path)
    path = Path(about["weights"])
    path.write_bytes(flip(path.read_bytes()))
    network, _ = finetune(tiny(), images(), RECIPE, store=tmp_path)
    assert same(weights(network), uninterrupted)


# ------------------------------------------------------------------------------------------------ never twice


class Forbidden(Tiny):
    def forward(self, images):
        raise AssertionError("this was trained before")


def test_what_was_trained_is_found(tmp_path, uninterrupted):
    finetune(tiny(), images(), RECIPE, store=tmp_path)
    network = tiny()
    network.body.__class__ = Forbidden
    found, _ = finetune(network, images(), RECIPE, store=tmp_path)
    assert same(weights(found), uninterrupted)
    network = tiny()
    network.body.__class__ = Forbidden
    with pytest.raises(AssertionError, match="trained before"):  # it does object to another recipe
        finetune(network, images(), RECIPE.model_copy(update={"seed": 1}), store=tmp_path)


def count_steps(store: str) -> None:
    torch.set_num_threads(1)
    network = tiny()

    def note(*_):
        with open(f"{store}/steps", "a") as file:
            file.write("step\n")

    network.register_forward_pre_hook(note)
    finetune(network, images(), RECIPE, store=store)


def test_two_processes_that_want_one_network_train_it_once(tmp_path):
    children = [SERVER.Process(target=count_steps, args=(str(tmp_path),)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    assert (tmp_path / "steps").read_text().count("step") == 9


# ------------------------------------------------------------------------------------------------ several processes


def take_part(store: str, rank: int, port: int) -> None:
    """One process as torchrun starts it."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for count in (21, 17):
        _, about = finetune(tiny(plain=True), images(count), RECIPE, store=store)
        assert about["processes"] == 2
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path):
    """To 1e-5 of a weight, for a network without batch statistics and dropout: the sums have another order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [SERVER.Process(target=take_part, args=(str(tmp_path / "two"), rank, port)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(240)
    assert [child.exitcode for child in children] == [0, 0]
    for count in (21, 17):  # an epoch ends with shares of 3 and 2 images; with 5 and 4
        alone, _ = finetune(tiny(plain=True), images(count), RECIPE, store=tmp_path / "one")
        both, about = finetune(tiny(plain=True), images(count), RECIPE, store=tmp_path / "two")
        assert about["processes"] == 2  # found, not trained here
        for name, value in weights(alone).items():
            assert torch.allclose(value, both.body.state_dict()[name], rtol=0, atol=1e-5), (count, name)
            assert not torch.allclose(value, weights(tiny(plain=True))[name], atol=1e-4)


# ------------------------------------------------------------------------------------------------ misuse


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, uninterrupted):
    network, calls = tiny(), []

    def poison(module, inputs):
        calls.append(1)
        return (inputs[0] * float("nan"),) if len(calls) > 4 else None

    network.register_forward_pre_hook(poison)
    with pytest.raises(UserError, match="the loss is not finite at step 4 of 9.*learning_rate=0.05") as caught:
        finetune(network, images(), RECIPE, store=tmp_path, checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    (checkpoint,) = tmp_path.rglob("checkpoint.pt")
    assert str(checkpoint) in str(caught.value)
    assert not list(tmp_path.rglob("weights.safetensors"))
    network, _ = finetune(tiny(), images(), RECIPE, store=tmp_path)
    assert same(weights(network), uninterrupted)


def test_a_learning_rate_that_diverges_is_one_line(tmp_path):
    recipe = RECIPE.model_copy(update={"learning_rate": 100.0, "clip": 0.0, "epochs": 60, "schedule": "constant"})
    with pytest.raises(UserError, match="learning_rate=100.0 diverges"):
        finetune(tiny(plain=True), images(), recipe, store=tmp_path)


@pytest.mark.parametrize("field", [{"frozen_blocks": 99}, {"frozen_blocks": 4}, {"max_shift": 16}], ids=str)
def test_a_recipe_that_does_not_fit_the_network_or_its_images_is_one_line(tmp_path, field):
    with pytest.raises(UserError) as caught:
        finetune(tiny(), images(), RECIPE.model_copy(update=field), store=tmp_path)
    assert next(iter(field)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_store_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        finetune(tiny(), images(), RECIPE, store=tmp_path / "file")


# ------------------------------------------------------------------------------------------------ stores


def test_a_read_only_store_serves_what_is_finished_and_refuses_the_rest_in_one_line(uninterrupted):
    folder = Path(tempfile.mkdtemp())
    finetune(tiny(), images(), RECIPE, store=folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        network, _ = finetune(tiny(), images(), RECIPE, store=folder)
        assert same(weights(network), uninterrupted)
        with pytest.raises(UserError, match="cannot write .*BLURNB_CACHE"):
            finetune(tiny(), images(), RECIPE.model_copy(update={"seed": 5}), store=folder)
    finally:
        if user == 0:
            os.seteuid(user)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_manifest_that_was_altered_is_not_believed(tmp_path, uninterrupted):
    _, about = finetune(tiny(), images(), RECIPE, store=tmp_path)
    told = Path(about["weights"]).with_name("manifest.json")
    told.write_text(told.read_text().replace('"processes": 1', '"processes": 9'))
    assert stores.condition(told.parent) == "damaged"
    _, again = finetune(tiny(), images(), RECIPE, store=tmp_path)
    assert again["processes"] == 1
    assert stores.condition(told.parent) == "finished"


def test_what_killed_trainings_left_is_removed(tmp_path):
    _, about = finetune(tiny(), images(), RECIPE, store=tmp_path)
    folder = Path(about["weights"]).parent
    (folder / "manifest.json").unlink()
    (folder / ".checkpoint.pt.abc.new").write_bytes(bytes(1000))
    finetune(tiny(), images(), RECIPE, store=tmp_path)
    assert list(folder.glob("*.new")) == []


def test_what_is_done_with_small_images_decides_the_weights_where_it_is_not_the_usual():
    usual, padded = tiny(), tiny()
    usual.body.small_input, padded.body.small_input = "adaptive", "zero-pad"
    one, other, third = (finetuning.facts(network, images(), RECIPE) for network in (tiny(), usual, padded))
    assert one == other
    assert third == one | {"small_input": "zero-pad"}
