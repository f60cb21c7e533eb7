"""VGG seen densely: torchvision's own scores where there is one position, their mean where there are more."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn

from blurnb.recognition import families, models, weights
from blurnb.recognition.families.vgg import DenseVGG
from blurnb.recognition.models import Network


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


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
    return Network("vgg16", DenseVGG(vgg), 1000).eval()


@torch.inference_mode()
def test_the_dense_view_of_a_224_image_is_torchvisions_own_output(vgg):
    images = pixels(1, 3, 224, 224)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (families.IMAGENET_MEAN, families.IMAGENET_STD))
    theirs = vgg((images - mean) / std)
    assert theirs.std() > 0.01
    assert torch.allclose(dense(vgg)(images), theirs, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_the_dense_view_of_a_larger_image_is_the_mean_over_windows(vgg):
    maps = pixels(1, 512, 8, 9)
    network = Network("vgg16", DenseVGG(vgg), 1000).eval()
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
    body = DenseVGG(small, window=2)
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


def test_the_layers_of_vgg16_have_the_papers_names(vgg):
    found = families.homes()["vgg16"].layers(dense(vgg).body)
    convolutions = [f"conv{b}_{i}" for b, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1)]
    assert list(found) == [*convolutions, "fc6", "fc7", "fc8"]
    assert [m.out_channels for m in found.values() if isinstance(m, nn.Conv2d)] == [
        64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
    ]  # fmt: skip
    assert found["fc6"].in_features == 25088
    assert found["fc8"].out_features == 1000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path


def test_imagenet_vgg16_comes_through_torchvisions_cache(vgg, cache, monkeypatch):
    monkeypatch.setattr(weights, "check_digest", lambda file, digest: digest)  # not its numbers, so not its hash either
    # one number a filter: 40 thousand numbers on disk stand for 138 million
    state = {name: value.flatten()[: len(value)].view(-1, *[1] * (value.dim() - 1)).clone().expand(value.shape)
             for name, value in vgg.state_dict().items()}  # fmt: skip
    url = torchvision.models.get_model_weights("vgg16")["IMAGENET1K_V1"].url
    (cache / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, cache / "hub" / "checkpoints" / url.rsplit("/", 1)[1])
    network = models.load("vgg16", "imagenet")
    assert not network.training
    found = network.body.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[name], value) for name, value in state.items())
