"""Networks: normalisation inside, the dense view, weights that are whole or refused, names of layers and blocks."""

import pickle
import urllib.error
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from blurnb.errors import UserError
from blurnb.recognition import datasets, models
from blurnb.recognition.models import Network


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


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


@pytest.fixture(scope="module")
def vgg() -> nn.Module:
    """torchvision's VGG-16 with weights of the usual size, so that scores differ."""
    with torch.device("meta"):
        vgg = torchvision.models.vgg16(weights=None, init_weights=False)
    vgg.to_empty(device="cpu")
    some = torch.randn(100_003, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in vgg.parameters():
            spread = (2 / parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(some.repeat(parameter.numel() // len(some) + 1)[: parameter.numel()].view_as(parameter))
            parameter.mul_(spread)
    return vgg.eval()


def dense(vgg: nn.Module) -> Network:
    return Network("vgg16", models.DenseVGG(vgg), 1000).eval()


# ------------------------------------------------------------------------------------------------ views


@torch.inference_mode()
def test_the_dense_view_of_a_224_image_is_torchvisions_own_output(vgg):
    images = pixels(1, 3, 224, 224)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (models.IMAGENET_MEAN, models.IMAGENET_STD))
    theirs = vgg((images - mean) / std)
    assert theirs.std() > 0.01
    assert torch.allclose(dense(vgg)(images), theirs, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_the_dense_view_of_a_larger_image_is_the_mean_over_windows(vgg):
    maps = pixels(1, 512, 8, 9)
    network = Network("vgg16", models.DenseVGG(vgg), 1000).eval()
    network.body.features = nn.Identity()  # what is under test comes after the trunk
    windows = [vgg.classifier(maps[:, :, y : y + 7, x : x + 7].flatten(1)) for y in range(2) for x in range(3)]
    found = network.body(maps)
    assert found.shape == (1, 1000, 2, 3)
    assert torch.allclose(found.flatten(2).mean(2), sum(windows) / 6, atol=1e-5)


@torch.inference_mode()
def test_small_images_take_the_way_that_small_input_names(vgg):
    # the same trunk, a window of 2 x 2 in place of 7 x 7: what 128 pixels are to 7, 32 are to 2
    head = nn.Sequential(nn.Linear(512 * 2 * 2, 32), nn.ReLU(), nn.Linear(32, 5))
    small = SimpleNamespace(features=vgg.features, classifier=head)
    body = models.DenseVGG(small, window=2)
    images = pixels(1, 3, 32, 40)
    trunk = vgg.features(images)
    assert trunk.shape[-2:] == (1, 1)
    padded = torch.zeros(1, 512, 2, 2)
    padded[:, :, :1, :1] = trunk
    enlarged = nn.functional.interpolate(images, size=(64, 80), mode="bilinear", antialias=True)
    expected = {
        "adaptive": small.classifier(trunk.expand(-1, -1, 2, 2).flatten(1)),
        "zero-pad": small.classifier(padded.flatten(1)),
        "upsample": small.classifier(vgg.features(enlarged).flatten(1)),
    }
    for small_input, scores in expected.items():
        body.small_input = small_input
        assert torch.allclose(body(images).mean((2, 3)), scores, atol=1e-5)
        whole = small.classifier(vgg.features(images.repeat(1, 1, 2, 2)[..., :64, :64]).flatten(1))
        large = body(images.repeat(1, 1, 2, 2)[..., :64, :64]).mean((2, 3))
        assert torch.allclose(large, whole, atol=1e-5)  # it has no say where the image is large enough
    assert min((expected[a] - expected[b]).abs().max() for a, b in [("adaptive", "zero-pad"), ("adaptive", "upsample")])


def test_normalisation_is_inside():
    body = Tiny().eval()
    network = Network("tiny", body, 4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)).eval()
    images = pixels(2, 3, 16, 20)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    assert torch.equal(network(images), body((images - mean) / std))
    assert not any("mean" in name.split(".") for name in network.state_dict())


def test_score_maps_are_averaged_over_positions():
    network = Network("map", nn.Conv2d(3, 5, 1), 5)
    images = pixels(2, 3, 6, 7)
    assert torch.allclose(network(images), network.body((images - network.mean) / network.std).mean((2, 3)), atol=1e-6)


def test_a_network_per_scale_hands_out_the_one_asked_for():
    parts = {64: Network("tiny", Tiny(), 4), 96: Network("tiny", Tiny(), 4)}
    both = models.PerScale(parts)
    assert both.for_side(96) is parts[96]
    assert (both.name, both.class_count) == ("tiny", 4)


@torch.inference_mode()
def test_efficientnet_lite0_recognises_photographs():
    pytest.importorskip("foolbox", reason="NOT TESTED: foolbox is not installed")
    network, photographs = models.load("efficientnet_lite0"), datasets.load("foolbox20")
    assert not network.training
    right = 0
    for index in range(20):
        image = photographs.load(index)[None]
        image = nn.functional.interpolate(image, size=(256, 256), mode="bilinear", antialias=True)[..., 16:240, 16:240]
        right += photographs.labels[index] in network(image)[0].topk(5).indices
    assert right >= 15


# ------------------------------------------------------------------------------------------------ loading


def test_every_network_of_ours_is_built_from_nothing():
    for name, side in [("vgg_mini", 64), ("efficientnet_lite0", 64), ("resnet18", 64)]:
        network = models.load(name, "none", 7)
        assert network(pixels(1, 3, side, side)).shape == (1, 7)
        assert not network.training
    assert {"vgg16", "vgg16_64", "resnet50", "convnext_tiny"} <= set(models.names())


def test_random_weights_do_not_depend_on_what_was_drawn_before():
    torch.manual_seed(3)
    first = models.fingerprint(models.load("vgg_mini", "none", 5))
    torch.rand(9)
    state = torch.get_rng_state()
    assert models.fingerprint(models.load("vgg_mini", "none", 5)) == first
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"name": "vgg61"}, "network 'vgg61' is unknown; did you mean vgg"),
        ({"name": "vgg_mini", "weights": "imagenet"}, "weights 'imagenet' do not exist for vgg_mini; use none"),
        ({"name": "vgg_mini", "weights": "best.pt"}, "weights 'best.pt' are neither"),
        ({"name": "vgg_mini", "weights": ""}, "weights '' are neither"),
        ({"name": "vgg_mini", "weights": "none", "class_count": 1}, "class_count=1 is too few"),
        ({"name": "vgg_mini", "weights": "none", "small_input": "stretch"}, "small_input 'stretch' is unknown"),
        ({"name": "vit_h_14", "weights": "imagenet"}, "vit_h_14"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(given, message):
    with pytest.raises(UserError) as caught:
        models.load(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_named_weights_for_other_classes_keep_all_but_the_head():
    whole, other = models.load("efficientnet_lite0"), models.load("efficientnet_lite0", class_count=10)
    assert other(pixels(1, 3, 64, 64)).shape == (1, 10)
    theirs = whole.state_dict()
    changed = [name for name, value in other.state_dict().items() if not torch.equal(value, theirs[name])]
    assert changed == ["body._fc.weight", "body._fc.bias"]


def test_the_head_is_made_anew(vgg):
    body = torchvision.models.resnet18(weights=None)
    models.replace_head(body, 3)
    assert body(pixels(2, 3, 64, 64)).shape == (2, 3)
    assert body.fc.bias.abs().max() == 0
    with pytest.raises(UserError, match="no linear layer"):
        models.replace_head(nn.Sequential(nn.Conv2d(3, 4, 1)), 3)


# ------------------------------------------------------------------------------------------------ checkpoints


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
    models.load_weights(other, path)
    assert models.fingerprint(other) == models.fingerprint(tiny)


def test_a_path_serves_as_weights(tmp_path):
    network = models.load("vgg_mini", "none", 5)
    with torch.no_grad():
        network.body.classifier.fc8.bias.fill_(0.5)
    state = {name: value.contiguous() for name, value in network.body.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    again = models.load("vgg_mini", str(tmp_path / "net.safetensors"), 5)
    assert models.fingerprint(again) == models.fingerprint(network)
    with pytest.raises(UserError, match="another architecture than vgg_mini with 6 classes.*classifier.fc8"):
        models.load("vgg_mini", str(tmp_path / "net.safetensors"), 6)


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
        models.load_weights(tiny, path)
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
            models.load_weights(tiny, path)


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
        models.load_weights(tiny, path)
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


def test_imagenet_vgg16_comes_through_torchvisions_cache(vgg, cache, monkeypatch):
    monkeypatch.setattr(models, "check_digest", lambda file, digest: None)  # not its numbers, so not its hash either
    # one number a filter: 40 thousand numbers on disk stand for 138 million
    state = {name: value.flatten()[: len(value)].view(-1, *[1] * (value.dim() - 1)).clone().expand(value.shape)
             for name, value in vgg.state_dict().items()}  # fmt: skip
    place("vgg16", cache, lambda path: torch.save(state, path))
    network = models.load("vgg16", "imagenet")
    assert not network.training
    found = network.body.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[name], value) for name, value in state.items())


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


# ------------------------------------------------------------------------------------------------ identity and parts


def test_the_fingerprint_is_that_of_the_weights_alone(tiny):
    first = models.fingerprint(tiny)
    assert models.fingerprint(tiny.to(memory_format=torch.channels_last)) == first
    assert models.fingerprint(tiny.train()) == first
    seen = {first}
    with torch.no_grad():
        tiny.body.head.bias[0] += 1e-7
        seen.add(models.fingerprint(tiny))
        tiny.body.norm.running_mean[0] += 1
        seen.add(models.fingerprint(tiny))
        tiny.body.norm.num_batches_tracked += 1
        seen.add(models.fingerprint(tiny))
    assert len(seen) == 4


def test_the_layers_of_vgg16_have_the_papers_names(vgg):
    found = models.layers(dense(vgg))
    convolutions = [f"conv{b}_{i}" for b, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1)]
    assert list(found) == [*convolutions, "fc6", "fc7", "fc8"]
    assert [m.out_channels for m in found.values() if isinstance(m, nn.Conv2d)] == [
        64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
    ]  # fmt: skip
    assert found["fc6"].in_features == 25088
    assert found["fc8"].out_features == 1000


def test_layers_of_other_networks(tiny):
    assert list(models.layers(tiny)) == ["stem", "deep", "head"]
    mini = models.layers(models.load("vgg_mini", "none", 5))
    assert list(mini) == [
        "conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2", "fc6", "fc7", "fc8",
    ]  # fmt: skip


@pytest.mark.parametrize("name, count", [("vgg16_64", 6), ("vgg_mini", 6), ("efficientnet_lite0", 6), ("resnet18", 7)])
def test_blocks_cut_a_network_into_disjoint_parts_that_cover_it(name, count):
    network = models.load(name, "none", 4)
    blocks = models.blocks(network)
    assert len(blocks) == count
    parameters = [id(p) for block in blocks for module in block for p in module.parameters()]
    assert len(parameters) == len(set(parameters))
    assert set(parameters) == {id(p) for p in network.parameters()}
    order = [id(p) for p in network.parameters()]
    assert [order.index(p) for p in parameters] == sorted(order.index(p) for p in parameters)  # shallow to deep


@pytest.mark.parametrize("name", ["vgg16_64", "vgg_mini", "efficientnet_lite0", "resnet18"])
def test_every_named_activation_is_seen_when_the_network_answers(name):
    network = models.load(name, "none", 4)
    named, seen = models.activations(network), {}
    for layer, module in named.items():
        module.register_forward_hook(lambda _, __, output, layer=layer: seen.__setitem__(layer, output))
    scores = network(torch.rand(2, 3, 64, 64))
    assert list(named)
    assert set(seen) == set(named)
    if name.startswith("vgg"):
        assert list(named)[-1] == "fc8"
        assert torch.equal(seen["fc8"].flatten(2).mean(2), scores)
