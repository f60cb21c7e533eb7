"""Checkpoints and downloads of weights: whole or refused, and never run."""

import contextlib
import hashlib
import http.server
import json
import pickle
import struct
import threading
import time

import pytest
import requests
import safetensors.torch
import torch
import torchvision
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import downloads, models, weights
from blurnb.recognition.models import Network
from faults.outside import checkpoints


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


def test_a_checkpoint_of_half_or_double_precision_is_read(tiny, tmp_path):
    for dtype in weights.FLOATS:
        state = {k: v.to(dtype) if v.is_floating_point() else v.int() for k, v in tiny.body.state_dict().items()}
        torch.save(state, tmp_path / "net.pt")
        other = Network("tiny", Tiny(), 4)
        weights.load_weights(other, tmp_path / "net.pt")
        assert torch.allclose(other.body.head.weight, tiny.body.head.weight, rtol=1e-2)


@pytest.mark.filterwarnings("ignore")  # sparse and quantized tensors are on their way out of torch
@pytest.mark.parametrize("kind", checkpoints.STRANGE)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_numbers_of_another_kind_are_not_taken_for_weights(tiny, tmp_path, kind, suffix):
    path = tmp_path / f"net{suffix}"
    if not checkpoints.spoil(tiny.body.state_dict(), "head.weight", kind, path):
        pytest.skip("safetensors do not hold such a tensor")
    before = models.fingerprint(tiny)
    with pytest.raises(UserError) as caught:
        weights.load_weights(tiny, path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert models.fingerprint(tiny) == before


def test_a_count_of_batches_is_a_whole_number(tiny, tmp_path):
    state = tiny.body.state_dict() | {"norm.num_batches_tracked": torch.tensor(0.5)}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"norm.num_batches_tracked as torch.float32"):
        weights.load_weights(tiny, tmp_path / "net.pt")


@pytest.mark.parametrize("prefix", ["module.", "body.", "module.body."])
def test_a_tensor_that_is_there_twice_is_refused(tiny, tmp_path, prefix):
    state = tiny.body.state_dict()
    torch.save(state | {f"{prefix}head.bias": torch.ones(4)}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"net.pt holds head.bias twice"):
        weights.load_weights(tiny, tmp_path / "net.pt")


@pytest.mark.parametrize(
    "size, content", [(2**63, b""), (2**40, b"{}"), (90_000_000, b"{"), (8, b'{"a": 1}'), (2, b"[]")]
)
def test_a_header_that_is_not_what_it_says_is_refused(tiny, tmp_path, size, content):
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", size) + content)
    with pytest.raises(UserError, match="not a whole checkpoint"):
        weights.load_weights(tiny, tmp_path / "net.safetensors")


def test_a_tensor_larger_than_its_file_is_refused(tiny, tmp_path):
    header = {"head.bias": {"dtype": "F32", "shape": [2**40, 2**30], "data_offsets": [0, 16]}}
    text = json.dumps(header).encode()
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(UserError, match="not a whole checkpoint"):
        weights.load_weights(tiny, tmp_path / "net.safetensors")


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
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(UserError) as caught:
        models.load("squeezenet1_1", "imagenet")
    message = str(caught.value)
    assert "cannot get the ImageNet weights of squeezenet1_1 (ConnectionError)" in message
    assert "squeezenet1_1-b8a52dc0.pth" in message
    assert str(cache / "hub" / "checkpoints") in message
    assert "\n" not in message
    assert list((cache / "hub" / "checkpoints").iterdir()) == []


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


def named_by_hash(data: bytes) -> str:
    return f"squeezenet1_1-{hashlib.sha256(data).hexdigest()[:8]}.pth"


class Site(http.server.BaseHTTPRequestHandler):
    """Answers with `content`, whatever is asked, after silence, or with the way to another address."""

    content, to, silence = b"", "", 0.0

    def do_GET(self):
        time.sleep(self.silence)
        self.send_response(302 if self.to else 200)
        if self.to:
            self.send_header("Location", self.to)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site():
    """A server on this machine: (the class of its answers, its address)."""
    kind = type("Own", (Site,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """(bytes of a file of its weights, its state), random."""
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    file = tmp_path_factory.mktemp("squeezenet") / "net.pth"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.read_bytes(), state


@pytest.fixture
def offered(cache, site, squeezenet, monkeypatch):
    """The server offers torchvision's weights of squeezenet1_1; (its class, its address, where they are kept)."""
    kind, address = site
    kind.content = squeezenet[0]
    known = torchvision.models.get_model_weights("squeezenet1_1")["IMAGENET1K_V1"]
    monkeypatch.setattr(known.value, "url", f"{address}/{named_by_hash(kind.content)}")
    return kind, address, cache / "hub" / "checkpoints" / named_by_hash(kind.content)


def test_weights_are_downloaded_once_and_their_whole_hash_is_kept(offered, squeezenet, monkeypatch):
    _, _, kept = offered
    network = models.load("squeezenet1_1", "imagenet")
    assert torch.equal(network.body.state_dict()["features.0.weight"], squeezenet[1]["features.0.weight"])
    whole = hashlib.sha256(squeezenet[0]).hexdigest()
    assert {path.name: path.stat().st_size for path in kept.parent.iterdir() if not path.name.endswith(".lock")} == {
        kept.name: len(squeezenet[0]),
        f"{kept.name}.sha256": 64,
    }
    assert models.weight_files()[kept] == whole
    monkeypatch.setattr(requests, "get", None)
    assert models.fingerprint(models.load("squeezenet1_1", "imagenet")) == models.fingerprint(network)


def test_a_file_that_shares_eight_digits_is_not_the_one_that_was_first_used(offered, squeezenet):
    """Nobody finds such a file in a test; the record is of another one instead."""
    _, _, kept = offered
    models.load("squeezenet1_1", "imagenet")
    record = kept.with_name(f"{kept.name}.sha256")
    record.write_text(record.read_text()[:8] + "0" * 56)
    with pytest.raises(UserError, match=f"{kept.name} does not match its SHA-256"):
        models.load("squeezenet1_1", "imagenet")
    kept.unlink()  # as the message says
    models.load("squeezenet1_1", "imagenet")
    assert record.read_text() == hashlib.sha256(squeezenet[0]).hexdigest()


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff\xff"])
def test_a_record_that_is_none_is_made_anew(offered, content):
    _, _, kept = offered
    models.load("squeezenet1_1", "imagenet")
    record = kept.with_name(f"{kept.name}.sha256")
    whole = record.read_text()
    record.write_bytes(content)
    models.load("squeezenet1_1", "imagenet")
    assert record.read_text() == whole


def test_a_download_that_is_another_file_is_refused_and_not_kept(offered):
    kind, _, kept = offered
    kind.content = b"<html>come in"
    with pytest.raises(UserError, match="does not match its SHA-256"):
        models.load("squeezenet1_1", "imagenet")
    assert list(kept.parent.iterdir()) == []


@pytest.mark.parametrize("to", ["ftp://example.org/net.pth", "file:///etc/hostname"])
def test_a_mirror_that_leads_to_another_scheme_is_not_followed(offered, to):
    kind, _, kept = offered
    kind.to = to
    with pytest.raises(UserError, match=f"leads on to {to}, by another scheme"):
        models.load("squeezenet1_1", "imagenet")
    assert list(kept.parent.iterdir()) == []


def test_a_server_that_says_nothing_is_left(offered, monkeypatch):
    kind, _, kept = offered
    kind.silence = 1.0
    monkeypatch.setattr(downloads, "TIMEOUT", 0.1)
    with pytest.raises(UserError, match=r"cannot get the ImageNet weights of squeezenet1_1 \(ReadTimeout\)"):
        models.load("squeezenet1_1", "imagenet")
    assert list(kept.parent.iterdir()) == []


def test_code_in_torchvisions_cache_is_never_run(cache, tmp_path, monkeypatch):
    trace = tmp_path / "executed"
    torch.save({"features.0.weight": Bomb(trace)}, tmp_path / "bomb.pth")
    data = (tmp_path / "bomb.pth").read_bytes()
    known = torchvision.models.get_model_weights("squeezenet1_1")["IMAGENET1K_V1"]
    monkeypatch.setattr(known.value, "url", f"https://nowhere.invalid/{named_by_hash(data)}")
    place("squeezenet1_1", cache, lambda path: path.write_bytes(data))  # its name and its hash agree
    with pytest.raises(UserError, match="not a whole checkpoint of plain tensors"):
        models.load("squeezenet1_1", "imagenet")
    assert not trace.exists()
