"""Likeness of layers: planted invariance is found, and both measures agree with NumPy."""

import numpy as np
import planted
import pytest
import torch
from planted import images
from torch import nn

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.optics import blurring
from blurnb.study import similarity
from blurnb.study.protocol import Protocol

SIDE = 32


def noise(index):
    return planted.noise(SIDE, SIDE, index)


def network(*layers):
    """A network of the layers under the paper's names."""
    return planted.network(planted.Layered(*layers), "vgg16", 2)


def convolution(channels, out=4):
    with torch.random.fork_rng():
        torch.manual_seed(channels)
        return nn.Conv2d(channels, out, 3, padding=1)


def strong_blur():
    """A fixed layer that leaves of each channel little more than its mean."""
    layer = nn.Conv2d(3, 3, 21, padding=10, groups=3, bias=False, padding_mode="reflect")
    with torch.no_grad():
        layer.weight.fill_(1 / 21**2)
    return layer


def test_a_network_that_blurs_first_is_found_invariant_from_there_on():
    sighted, blurring_first = network(convolution(3), nn.ReLU(), convolution(4)), (strong_blur(), convolution(3))
    plain = similarity.compare(sighted, images(64, SIDE), ["D24"], Protocol())
    blind = similarity.compare(network(*blurring_first, nn.ReLU()), images(64, SIDE), ["D24"], Protocol())
    assert plain["conv1_1", "D24"]["cosine"][0] < 0.97
    for layer in ("conv1_1", "conv1_2"):
        assert blind[layer, "D24"]["cosine"][0] > 0.999
        assert blind[layer, "D24"]["cka"][0] > 0.9
        assert blind[layer, "D24"]["cka"][0] > plain["conv1_1", "D24"]["cka"][0]


def test_the_baseline_of_another_image_is_that_of_the_next_one():
    found = similarity.compare(network(convolution(3), nn.ReLU()), images(64, SIDE), [], Protocol())
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


def hsic(x, y):
    return similarity.hsic(*(similarity.kernel(torch.from_numpy(one)) for one in (x, y)))


def test_hsic_equals_its_definition():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(7, 5)), generator.normal(size=(7, 3))
    y[:, 0] += x[:, 0]
    found = hsic(x, y)
    assert found[0] == pytest.approx(hsic_by_definition(x, y), rel=1e-9)
    without = [hsic(np.delete(x, i, 0), np.delete(y, i, 0))[0] for i in range(7)]
    assert found[1:] == pytest.approx(without, rel=1e-9)


def test_cosine_and_cka_equal_a_float64_computation():
    net, batch = network(convolution(3), nn.ReLU()), torch.stack([noise(i) for i in range(64)])
    found = similarity.compare(net, images(64, SIDE), ["G16"], Protocol())["conv1_1", "G16"]
    one = features(net, batch)
    other = features(net, blurring.blur(batch, "G16", image_ids=[f"image {i}.jpg" for i in range(64)]))
    assert found["cosine"][0] == pytest.approx(cosine(one, other).mean(), abs=1e-5)
    across, first, second = (hsic(a, b)[0] for a, b in ((one, other), (one, one), (other, other)))
    value, low, high = found["cka"]
    assert value == pytest.approx(across / np.sqrt(first * second), abs=1e-4)
    assert low < value < high


def test_cka_of_a_layer_with_itself_is_one_and_ignores_rotation_and_scale():
    generator = np.random.default_rng(1)
    x = torch.from_numpy(generator.normal(size=(40, 6)))
    rotation = torch.from_numpy(np.linalg.qr(generator.normal(size=(6, 6)))[0])
    turned = 3 * x @ rotation
    assert cka(x, turned) == pytest.approx((1, 1, 1), abs=1e-9)


def cka(x, y, batch=64):
    """CKA with its interval of features (N, p) and (N, q), from batches."""
    starts = range(0, len(x), batch)
    both = [(np.asarray(x[i : i + batch]), np.asarray(y[i : i + batch])) for i in starts]
    return similarity.cka([np.stack([hsic(a, b), hsic(a, a), hsic(b, b)]) for a, b in both])


@pytest.mark.parametrize("n, noise", [(64, 0.2), (256, 2.0)])
def test_intervals_of_cka_cover_the_likeness_that_was_planted(n, noise):
    """Of features whose covariances, and so whose CKA over all images, are known."""
    generator = np.random.default_rng(4)
    scales = np.logspace(0, -1, 12)
    mixed = generator.normal(size=(6, 12)) * scales
    own = mixed.T @ mixed
    true = np.linalg.norm(own) / np.linalg.norm(own + noise**2 * np.diag(scales**2))
    held = []
    for _ in range(250):
        x = generator.normal(size=(n, 6)) @ mixed
        _, low, high = cka(x, x + noise * scales * generator.normal(size=(n, 12)))
        held.append(low <= true <= high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_a_layer_that_answers_all_images_alike_has_no_cka():
    generator = np.random.default_rng(0)
    found = cka(np.ones((20, 3)), generator.normal(size=(20, 3)))
    assert np.isnan(found).all()
    shared = {"experiment": "rq2", "n": 20}
    one = {"cosine": (0.9, 0.8, 0.95), "cka": found}
    assert [row["metric"] for row in similarity.rows([("conv1_1", "D8", one)], shared)] == ["cosine"]


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="at least 8 images"):
        similarity.compare(network(convolution(3)), images(4, SIDE), ["D8"], Protocol())


def test_hooks_are_gone_afterwards():
    net = network(convolution(3), nn.ReLU())
    similarity.compare(net, images(16, SIDE), ["D8"], Protocol())
    assert all(not module._forward_hooks for module in net.modules())


def test_photographs_are_cut_to_the_square_middle_of_the_frame():
    body = network(convolution(3), nn.ReLU())
    given = images(16, draw=lambda i: planted.noise(40, 60, i))
    square = images(16, 40, draw=lambda i: planted.noise(40, 60, i)[:, :, 10:50])
    found = similarity.compare(body, given, ["D8"], Protocol(frame=40))
    assert found == similarity.compare(body, square, ["D8"], Protocol(frame=40))


def test_rows_name_layers_and_the_baseline_is_another_image_not_another_blur():
    one = {"cosine": (0.9, 0.8, 0.95), "cka": (0.7, 0.6, 0.8)}
    shared = {"experiment": "rq2", "n": 16, "scale": "32"}
    rows = records.table(similarity.rows([("conv1_1", "D8", one), ("conv1_1", "", one)], shared))
    assert set(rows["part"]) == {"conv1_1"}
    assert set(zip(rows["blur"], rows["versus_blur"], rows["versus_image"])) == {
        ("D8", "sharp", ""), ("sharp", "", "other"),
    }  # fmt: skip
    assert set(rows[rows["metric"] == "cka"]["ci_low"]) == {0.6}


def test_intervals_are_kept_with_their_values_so_their_version_decides_too():
    assert similarity.versions(network(convolution(3)))["intervals"] == intervals.VERSION
