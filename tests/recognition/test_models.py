"""Networks: normalisation inside, weights by name or by file, an identity, mistakes in one line."""

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


@pytest.fixture
def tiny() -> Network:
    torch.manual_seed(0)
    return Network("tiny", Tiny(), 4).eval()


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
        ({"name": "vgg_mini", "weights": "none", "class_count": 1}, "class_count=1: give a whole number"),
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


def test_the_head_is_made_anew():
    body = torchvision.models.resnet18(weights=None)
    models.replace_head(body, 3)
    assert body(pixels(2, 3, 64, 64)).shape == (2, 3)
    assert body.fc.bias.abs().max() == 0
    with pytest.raises(UserError, match="no linear layer"):
        models.replace_head(nn.Sequential(nn.Conv2d(3, 4, 3)), 3)
    squeezed = torchvision.models.squeezenet1_1(weights=None)  # whose last layer is a 1 x 1 convolution
    models.replace_head(squeezed, 3)
    assert squeezed(pixels(2, 3, 64, 64)).shape == (2, 3)


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
