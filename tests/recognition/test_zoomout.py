"""Zoomout networks: the paper's channels, torchvision's own activations, and one result by two ways of computing."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from blurnb.errors import UserError
from blurnb.recognition import models, zoomout
from blurnb.recognition.zoomout import Zoomout


def photograph(height, width, count=1):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def materialised(network: Zoomout, images: torch.Tensor) -> torch.Tensor:
    """The same scores by way of `features`: the definition, which `forward` is tested against."""
    height, width = images.shape[-2:]
    return network.head.judged(network.head.first(network.features(images)))[..., :height, :width]


@pytest.fixture(scope="module")
def vgg16():
    return Zoomout(models.load("vgg16", "none", 10), class_count=21, hidden=8)


def torchvision_taps(network, images):
    """What the 13 ReLUs after convolutions and the one after fc7 give in torchvision's own VGG-16."""
    vgg = torchvision.models.vgg16(weights=None, num_classes=10).eval()
    vgg.load_state_dict(network.body.state_dict())
    found = []
    maps = (images - network.mean) / network.std
    for layer in vgg.features:
        maps = nn.ReLU()(maps) if isinstance(layer, nn.ReLU) else layer(maps)
        if isinstance(layer, nn.ReLU):
            found.append(maps)
    vector = torch.flatten(vgg.avgpool(maps), 1)
    for place, layer in enumerate(vgg.classifier[:5]):
        vector = nn.ReLU()(vector) if isinstance(layer, nn.ReLU) else layer(vector)
        if place == 4:
            found.append(vector[..., None, None])
    return found


def test_vgg16_has_8320_channels_its_13_relu_maps_and_global_fc7(vgg16):
    images = photograph(224, 224)  # where one position of fc7 is all there is
    with torch.no_grad():
        features = vgg16.features(images)
        expected = torchvision_taps(vgg16.backbone, images)
    assert features.shape == (1, 8320, 56, 56)
    assert len(expected) == 14
    assert [m.shape[1] for m in expected] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6 + [4096]
    place = 0
    for level in expected:
        mine = features[:, place : place + level.shape[1]]
        place += level.shape[1]
        if level.shape[-1] == 1:
            torch.testing.assert_close(mine, level.expand(-1, -1, 56, 56), rtol=1e-3, atol=1e-5)
        elif level.shape[-1] > 56:  # subsampled: every value of ours is one of theirs, from inside its own cell
            factor = level.shape[-1] // 56
            cells = F.unfold(level.transpose(0, 1), factor, stride=factor)
            nearest = (cells - mine.reshape(level.shape[1], 1, -1)).abs().amin(1)
            assert nearest.max() < 1e-5
        else:
            repeated = level.repeat_interleave(56 // level.shape[-1], 2).repeat_interleave(56 // level.shape[-1], 3)
            torch.testing.assert_close(mine, repeated, rtol=1e-3, atol=1e-5)


def test_fc7_is_the_maximum_over_positions_of_a_larger_image(vgg16):
    images = photograph(224, 288)  # one row of three positions of fc7
    seen = {}
    hook = vgg16.backbone.body.classifier[4].register_forward_hook(lambda _, __, o: seen.update(fc7=o.clone()))
    with torch.no_grad():
        vgg16.backbone(images)
        level = vgg16.levels(images)[-1]
    hook.remove()
    assert seen["fc7"].shape[-2:] == (1, 3)
    torch.testing.assert_close(level[..., 0, 0], seen["fc7"].flatten(2).max(2).values)


@pytest.mark.parametrize("height, width", [(96, 96), (101, 131), (64, 85)])
@pytest.mark.parametrize("name, channels", [("vgg_mini", 728), ("efficientnet_lite0", 3120)])
def test_the_first_convolution_before_enlarging_gives_the_same_scores(name, channels, height, width):
    network = Zoomout(models.load(name, "none", 12), class_count=5, hidden=16).double().eval()
    images = photograph(height, width, 2).double()
    zoomout.standardise(network, [images])
    with torch.no_grad():
        quick, plain = network(images), materialised(network, images)
        nn.init.normal_(network.head.first.bias)
        moved = network(images)
    assert sum(network.head.channels) == channels
    assert quick.shape == (2, 5, height, width)
    torch.testing.assert_close(quick, plain, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(moved, quick), "the scores must depend on the first convolution for this to mean anything"


def test_vgg16_gives_the_same_scores_both_ways_too():
    network = Zoomout(models.load("vgg16_64", "none", 12), class_count=5, hidden=16).eval()
    images = photograph(70, 90)
    zoomout.standardise(network, [images])
    with torch.no_grad():
        quick, plain = network(images), materialised(network, images)
    assert sum(network.head.channels) == 8320
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-5)


def test_gradients_agree_too():
    network = Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=16).double().eval()
    images = photograph(64, 96, 2).double()
    gradients = []
    for compute in (Zoomout.forward, materialised):
        network.zero_grad()
        compute(network, images).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    assert any(name.startswith("backbone") for name in gradients[0])
    for name, one in gradients[0].items():
        torch.testing.assert_close(one, gradients[1][name], rtol=1e-6, atol=1e-12)


def test_the_enlargement_starts_as_bilinear_interpolation_up_to_the_edge():
    head = Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=16).head
    scores = torch.rand(1, 5, 7, 9)
    with torch.no_grad():
        enlarged = head.enlarge(F.pad(scores, (1, 1, 1, 1), mode="replicate"))
    expected = F.interpolate(scores, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged, expected)


def test_standardised_features_have_mean_0_and_deviation_1():
    network = Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=16)
    batches = [photograph(96, 96, 4), 0.5 * photograph(96, 96, 4)]
    zoomout.standardise(network, batches)
    with torch.no_grad():
        features = torch.cat([network.features(one) for one in batches])
    local = features[:, :-256]
    assert local.mean((0, 2, 3)).abs().max() < 1e-3
    spread = local.std((0, 2, 3))
    assert ((spread - 1).abs() < 0.01)[spread > 0.01].all()


def test_training_leaves_the_backbones_statistics_and_dropout_alone():
    network = Zoomout(models.load("efficientnet_lite0", "none", 12), class_count=5, hidden=16).train()
    assert network.head.dropout.training
    assert not any(module.training for module in network.backbone.modules())
    before = models.fingerprint(network.backbone)
    network(photograph(64, 64, 2))
    assert models.fingerprint(network.backbone) == before


def test_a_head_does_not_depend_on_what_was_drawn_before_it():
    heads = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        heads.append(models.fingerprint(Zoomout(models.load("vgg_mini", "none", 12), class_count=5, hidden=16).head))
    assert heads[0] == heads[1]


def test_misuse_is_one_line():
    with pytest.raises(UserError, match="resnet18.*no zoomout levels"):
        Zoomout(models.load("resnet18", "none", 12), class_count=5)
