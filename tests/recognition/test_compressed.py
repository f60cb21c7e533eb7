"""Published files of a few megabytes become torchvision's networks, to the number."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from blurnb.errors import UserError
from blurnb.optics import resampling
from blurnb.recognition import datasets, families, models
from blurnb.recognition.families import compressed
from blurnb.recognition.weights import Published

DATA = os.environ.get("BLURNB_DATA", "")
HERE = [name for name, file in compressed.FILES.items() if DATA and file.files()]


class Small(nn.Module):
    """Two convolutions as SqueezeNet's: the first pads nothing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride=2)
        self.last = nn.Conv2d(5, 7, 1)

    def forward(self, images):
        return self.last(torch.relu(self.first(images)))


def caffe() -> Small:
    """Weights for blue first, 0..255, minus the mean; exact in float16."""
    torch.manual_seed(0)
    network = Small()
    for value in network.parameters():
        value.data = value.data.half().float()
    return network


def packed_as_ncnn(network: nn.Module) -> bytes:
    parts = []
    for layer in families.named_layers(network).values():
        half = layer.weight.detach().numpy().astype("<f2").tobytes()
        parts += [(0x01306B47).to_bytes(4, "little"), half, bytes(-len(half) % 4)]
        parts.append(layer.bias.detach().numpy().astype("<f4").tobytes())
    return b"".join(parts)


def packed_as_deep_compression(network: nn.Module) -> bytes:
    """As published: a zero is written where a gap would be longer than four bits hold."""
    layers, parts, counts = families.named_layers(network), [], []
    for layer in layers.values():
        weight = layer.weight.detach().numpy().ravel()
        codebook = np.zeros(256, "<f4")
        values = np.unique(weight[weight != 0])
        codebook[1 : 1 + len(values)] = values
        places, at = [], -1
        for place in np.flatnonzero(weight):
            while place - at > 16:
                at += 16
                places.append(at)
            places.append(at := int(place))
        codes = np.array([0 if weight[p] == 0 else 1 + np.searchsorted(values, weight[p]) for p in places], "u1")
        gaps = np.diff([-1, *places]) - 1
        gaps = np.append(gaps, [0] * (len(gaps) % 2)).astype("u1").reshape(-1, 2)
        counts.append(len(places))
        parts += [codebook.tobytes(), layer.bias.detach().numpy().astype("<f4").tobytes(), codes.tobytes()]
        parts.append((gaps[:, 0] | gaps[:, 1] << 4).tobytes())
    return np.array(counts, "<u4").tobytes() + b"".join(parts)


def pruned() -> Small:
    network = caffe()
    weight = network.first.weight.data
    weight[torch.rand_like(weight) < 0.5] = 0
    weight[1:4] = 0  # a run that four bits cannot bridge
    return network


@pytest.mark.parametrize(
    "made, pack, decode",
    [(caffe, packed_as_ncnn, compressed._ncnn), (pruned, packed_as_deep_compression, compressed._deep_compression)],
)
def test_caffes_networks_answer_our_pixels_as_they_answered_theirs(made, pack, decode):
    theirs, ours = made(), Small()
    data = pack(theirs)
    ours.load_state_dict(decode(data, families.named_layers(ours)))
    pixels = torch.rand(2, 3, 21, 24)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (families.IMAGENET_MEAN, families.IMAGENET_STD))
    given = pixels.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)  # the rim included
    expected = theirs(given).detach()
    assert torch.allclose(ours((pixels - mean) / std), expected, atol=1e-3 * float(expected.std()))
    for wrong in (data + b"\0\0\0\0", data[:-4]):
        with pytest.raises(ValueError, match="byte|buffer"):
            decode(wrong, families.named_layers(ours))


def test_codebooks_stand_where_their_papers_put_them():
    layer = nn.Conv2d(4, 6, 3)
    generator = torch.Generator().manual_seed(0)
    codebook = torch.randn(8, 9, generator=generator).half()
    codes = torch.randint(0, 8, (6, 4), generator=generator)  # of output o, input i
    expected = torch.stack([torch.stack([codebook[c].float().view(3, 3) for c in row]) for row in codes])
    rows = {"x.codebook": codebook, "x.codes_matrix": codes, "x.bias": torch.ones(6)}
    found = compressed._permute_quantize(rows, {"x": layer})
    assert torch.equal(found["x.weight"], expected)
    assert torch.equal(found["x.bias"], torch.ones(6))
    columns = {"x": {"centroids": codebook, "assignments": codes.T.reshape(-1)}, "x_bias": {"bias": torch.ones(6)}}
    found = compressed._kill_the_bits(columns, {"x": layer})
    assert torch.equal(found["x.weight"], expected)
    assert set(found) == {"x.weight", "x.bias"}


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A folder of data, where nothing can be downloaded."""
    monkeypatch.setenv("BLURNB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compressed, "FILES", compressed.FILES.copy())
    return tmp_path / "data" / "weights"


def planted(data: bytes, own: Path) -> Published:
    one = Published(hashlib.sha256(data).hexdigest(), "net", "owner/name/commit/net.bin", "free")
    path = own / "net" / "net.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return one


def test_a_local_copy_serves_and_is_held_to_its_hash(own):
    body = torchvision.models.squeezenet1_1(weights=None)
    data = packed_as_ncnn(body.eval())
    one = compressed.FILES["squeezenet1_1"] = planted(data, own)
    assert one.files() == [own / "net" / "net.bin"]
    network = models.load("squeezenet1_1", "compressed")
    assert network.class_count == 1000
    fewer = models.load("squeezenet1_1", "compressed", 12)  # a new head, as fine-tuning wants
    assert fewer(torch.rand(1, 3, 64, 64)).shape == (1, 12)
    half = body.features[3].squeeze.weight.half().float()
    assert torch.equal(fewer.body.features[3].squeeze.weight, half)
    flipped = bytearray(data)
    flipped[1000] ^= 1
    (own / "net" / "net.bin").write_bytes(flipped)
    with pytest.raises(UserError, match="net.bin does not match its SHA-256"):
        models.load("squeezenet1_1", "compressed")
    compressed.FILES["squeezenet1_1"] = planted(data[:-8], own)
    with pytest.raises(UserError, match="net.bin cannot be decoded .*delete it and fetch it again"):
        models.load("squeezenet1_1", "compressed")


def test_without_a_copy_the_public_address_is_asked_and_named(own, monkeypatch, capsys):
    asked = []

    def offline(url, known_hash, name, folder, **_):
        asked.append((url, known_hash))
        raise OSError("no route")

    monkeypatch.setattr("blurnb.recognition.downloads.pooch.retrieve", offline)
    with pytest.raises(UserError, match="cannot download resnet18_small_blocks.pth .*OSError") as told:
        models.load("resnet18", "compressed")
    ((url, digest),) = asked
    file = compressed.FILES["resnet18"]
    assert url.startswith("https://raw.githubusercontent.com/facebookresearch/kill-the-bits/9ea70f1a")
    assert digest == f"sha256:{file.sha256}"
    assert url in str(told.value)
    assert "CC BY-NC 4.0" in capsys.readouterr().out


@pytest.mark.skipif("squeezenet1_1" not in HERE, reason="BLURNB_DATA does not name a folder with the weights")
@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1", "resnet18"])
def test_they_know_imagenet(name):
    photographs = datasets.load("imagenet", DATA, n_images=12, seed=1)
    network = models.load(name, "compressed")
    with torch.inference_mode():
        answers = [network(resampling.resized(photographs.load(i)[None], 224))[0].topk(5).indices for i in range(12)]
    assert sum(label in answer for label, answer in zip(photographs.labels, answers)) >= 8
