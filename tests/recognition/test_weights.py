"""Checkpoints and downloads of weights: whole or refused, and never run."""

import pickle
import urllib.error

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import models, weights
from blurnb.recognition.models import Network


class Tiny(nn.Module):
    """Two convolutions, a norm, and a linear layer after a global mean."""

    def __init__(self, classes: int = 4):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.deep = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        return self.head(torch.relu(self.deep(torch.relu(self.norm(self.stem(images))))).mean((2, 3)))


@pytest.fixture
def tiny() -> Network:
    torch.manual_seed(0)
    return Network("tiny", Tiny(), 4).eval()


FORMS = {
    "body": lambda n: n.body.state_dict(),
    "network": lambda n: n.state_dict(),
    "state_dict": lambda n: {"epoch": 3, "state_dict": n.body.state_dict()},
    "parallel": lambda n: {f"module.{k}": v for k, v in n.body.state_dict().items()},
    "parallel network": lambda n: {f"module.{k}": v for k, v in n.state_dict().items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_checkpoints_of_every_usual_form_are_read(tiny, tmp_path, form, suffix):
    path, state = tmp_path / f"net{suffix}", FORMS[form](tiny)
    if suffix == ".pt":
        torch.save(state, path)
    elif form == "state_dict":
        pytest.skip("safetensors hold tensors alone")
    else:
        safetensors.torch.save_file(state, path)
    torch.manual_seed(9)
    other = Network("tiny", Tiny(), 4).eval()
    assert models.fingerprint(other) != models.fingerprint(tiny)
    weights.load_weights(other, path)
    assert models.fingerprint(other) == models.fingerprint(tiny)


def spoiled(tiny: Network, how: str, at) -> None:
    state = {k: v.clone() for k, v in tiny.body.state_dict().items()}
    if how == "nan":
        state["deep.weight"][1, 2, 0, 0] = float("nan")
    elif how == "infinite":
        state["head.bias"][0] = float("inf")
    elif how == "missing tensor":
        del state["deep.bias"]
    elif how == "extra tensor":
        state["more"] = torch.zeros(3)
    elif how == "other shape":
        state["head.weight"] = torch.zeros(5, 8)
    elif how == "no tensor":
        state["head.bias"] = [0.0, 0.0, 0.0, 0.0]
    elif how == "numbered":
        state = {0: torch.zeros(3)}
    torch.save(state if how != "a tensor" else torch.zeros(3), at)
    data = at.read_bytes()
    if how == "truncated":
        at.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        at.write_bytes(b"")
    elif how == "text":
        at.write_bytes(b"<html>not found</html>")


SPOILED = (
    "nan", "infinite", "missing tensor", "extra tensor", "other shape", "no tensor", "numbered", "a tensor",
    "truncated", "empty", "text",
)  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_checkpoint_is_refused_in_one_line(tiny, tmp_path, how):
    path = tmp_path / "net.pth"
    spoiled(tiny, how, path)
    before = models.fingerprint(tiny)
    with pytest.raises(UserError) as caught:
        weights.load_weights(tiny, path)
    assert "net.pth" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert models.fingerprint(tiny) == before


def test_a_truncated_safetensors_file_is_refused(tiny, tmp_path):
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(tiny.body.state_dict(), path)
    data = path.read_bytes()
    for length in (0, 4, 60, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match="not a whole checkpoint"):
            weights.load_weights(tiny, path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", ["pickle", "torch", "torch, old form"])
def test_code_in_a_checkpoint_is_never_run(tiny, tmp_path, protocol):
    path, trace = tmp_path / "net.pt", tmp_path / "executed"
    if protocol == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Bomb(trace)}))
    else:
        torch.save({"state_dict": Bomb(trace)}, path, _use_new_zipfile_serialization=protocol == "torch")
    with pytest.raises(UserError, match="not a whole checkpoint of plain tensors"):
        weights.load_weights(tiny, path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if protocol != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()  # it would have gone off


# ------------------------------------------------------------------------------------------------ torchvision's cache


def place(name: str, cache, make) -> str:
    """Put a stand-in where torchvision keeps its weights of `name`; returns the file's name."""
    url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    folder = cache / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    make(folder / url.rsplit("/", 1)[1])
    return url.rsplit("/", 1)[1]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path


def test_weights_without_a_network_are_one_line(cache, monkeypatch):
    def offline(*args, **kwargs):  # what a machine without network answers, at once
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", offline)
    with pytest.raises(UserError) as caught:
        models.load("squeezenet1_1", "imagenet")
    message = str(caught.value)
    assert "cannot get the ImageNet weights of squeezenet1_1 (URLError)" in message
    assert "squeezenet1_1-b8a52dc0.pth" in message
    assert str(cache / "hub" / "checkpoints") in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(1000), "half", "half, old form"])
def test_a_damaged_file_in_the_cache_is_one_line(cache, content):
    def make(path):
        if isinstance(content, bytes):
            path.write_bytes(content)
            return
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
        torch.save(state, path, _use_new_zipfile_serialization="old" not in content)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    name = place("squeezenet1_1", cache, make)
    with pytest.raises(UserError, match=name):
        models.load("squeezenet1_1", "imagenet")
