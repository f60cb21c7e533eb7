"""Likeness of layers: planted invariance is found, and both measures agree with NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from blurnb.study.evaluation import Protocol
from torch import nn

from blurnb.errors import UserError
from blurnb.optics import blurring
from blurnb.recognition import models
from blurnb.recognition.datasets import Dataset
from blurnb.study import invariance

SIDE = 32


def noise(index):
    return torch.from_numpy(np.random.default_rng([7, index]).random((3, SIDE, SIDE), dtype=np.float32))


def images(count):
    ids = tuple(f"noise-{i}" for i in range(count))
    return Dataset("noise", ("a", "b"), ids, (0,) * count, partial(noise), SIDE, "noise")


def network(*layers):
    torch.manual_seed(0)
    body = nn.Module()
    body.features = nn.Sequential(*layers)
    body.classifier = nn.Sequential(nn.Linear(4, 2))
    body.forward = lambda x: body.classifier(body.features(x).mean((2, 3)))
    return models.Network("vgg16", body, 2, (0.0,) * 3, (1.0,) * 3).eval()


def convolution(channels, out=4):
    return nn.Conv2d(channels, out, 3, padding=1)


def strong_blur():
    """A fixed layer that leaves of each channel little more than its mean."""
    layer = nn.Conv2d(3, 3, 21, padding=10, groups=3, bias=False, padding_mode="reflect")
    with torch.no_grad():
        layer.weight.fill_(1 / 21**2)
    return layer


def test_a_network_that_blurs_first_is_found_invariant_from_there_on():
    plain = invariance.compare(network(convolution(3), nn.ReLU(), convolution(4)), images(64), ["D24"], Protocol())
    blind = invariance.compare(network(strong_blur(), convolution(3), nn.ReLU()), images(64), ["D24"], Protocol())
    assert plain["conv1_1", "D24"]["cosine"][0] < 0.97
    for layer in ("conv1_1", "conv1_2"):
        assert blind[layer, "D24"]["cosine"][0] > 0.999
        assert blind[layer, "D24"]["cka"][0] > 0.9
        assert blind[layer, "D24"]["cka"][0] > plain["conv1_1", "D24"]["cka"][0]


def test_the_baseline_of_another_image_is_that_of_the_next_one():
    found = invariance.compare(network(convolution(3), nn.ReLU()), images(64), [], Protocol())
    shown = features(network(convolution(3), nn.ReLU()), torch.stack([noise(i) for i in range(64)]))
    assert found["conv1_1", ""]["cosine"][0] == pytest.approx(np.mean(cosine(shown, np.roll(shown, -1, 0))), abs=1e-5)


def features(net, batch):
    """Activations after the ReLU of the first layer, float64 (N, p)."""
    weight, bias = (p.detach().double() for p in net.body.features[0].parameters())
    shown = nn.functional.conv2d(batch.double(), weight, bias, padding=1)
    return shown.relu().flatten(1).numpy()


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def hsic_by_definition(x, y):
    """The unbiased estimate as a U-statistic: the mean over all ordered quadruples of distinct images."""
    k, m = x @ x.T, y @ y.T
    n, total, count = len(x), 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
                        count += 1
    return total / count


def test_hsic_equals_its_definition():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(7, 5)), generator.normal(size=(7, 3))
    y[:, 0] += x[:, 0]
    found = invariance.hsic(torch.from_numpy(x), torch.from_numpy(y))
    assert found == pytest.approx(hsic_by_definition(x, y), rel=1e-9)


def test_cosine_and_cka_equal_a_float64_computation():
    net, batch = network(convolution(3), nn.ReLU()), torch.stack([noise(i) for i in range(64)])
    found = invariance.compare(net, images(64), ["G16"], Protocol())["conv1_1", "G16"]
    one = features(net, batch)
    other = features(net, blurring.blur(batch, "G16", image_ids=[f"noise-{i}" for i in range(64)]))
    assert found["cosine"][0] == pytest.approx(cosine(one, other).mean(), abs=1e-5)
    across, first, second = (
        invariance.hsic(torch.from_numpy(a), torch.from_numpy(b)) for a, b in ((one, other), (one, one), (other, other))
    )
    assert found["cka"][0] == pytest.approx(across / np.sqrt(first * second), abs=1e-4)


def test_cka_of_a_layer_with_itself_is_one_and_ignores_rotation_and_scale():
    generator = np.random.default_rng(1)
    x = torch.from_numpy(generator.normal(size=(40, 6)))
    rotation = torch.from_numpy(np.linalg.qr(generator.normal(size=(6, 6)))[0])
    turned = 3 * x @ rotation
    sums = np.array([invariance.hsic(x, turned), invariance.hsic(x, x), invariance.hsic(turned, turned)])
    assert invariance._cka(sums) == pytest.approx(1, abs=1e-9)


def test_an_unknown_layer_is_refused_with_the_nearest_names():
    with pytest.raises(UserError, match="'conv1_9' is not in vgg16; did you mean conv1_1"):
        invariance.layer_names(network(convolution(3), nn.ReLU()), ["conv1_9"])


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="at least 8 images"):
        invariance.compare(network(convolution(3)), images(4), ["D8"], Protocol())


def test_hooks_are_gone_afterwards():
    net = network(convolution(3), nn.ReLU())
    invariance.compare(net, images(16), ["D8"], Protocol())
    assert all(not module._forward_hooks for module in net.modules())
