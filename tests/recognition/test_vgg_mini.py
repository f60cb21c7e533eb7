import pytest
import torch

from blurnb.errors import UserError
from blurnb.recognition.families.vgg_mini import VGGMini


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return VGGMini(12).eval()


def test_follows_the_vgg_pattern(network):
    names = [name for name, module in network.features.named_children() if isinstance(module, torch.nn.Conv2d)]
    assert names[0] == "conv1_1"
    assert names == sorted(names)
    assert sum(isinstance(module, torch.nn.MaxPool2d) for module in network.features) == 5
    assert [name for name, _ in network.classifier.named_children() if name.startswith("fc")] == ["fc6", "fc7", "fc8"]


def test_at_its_own_side_the_classifier_is_fully_connected(network):
    images = torch.randn(2, 3, 96, 96)
    maps = network.features(images)
    assert maps.shape[-2:] == (3, 3)
    fc6, fc7, fc8 = network.classifier.fc6, network.classifier.fc7, network.classifier.fc8
    hidden = torch.relu(torch.nn.functional.linear(maps.flatten(1), fc6.weight.flatten(1), fc6.bias))
    hidden = torch.relu(torch.nn.functional.linear(hidden, fc7.weight.flatten(1), fc7.bias))
    scores = torch.nn.functional.linear(hidden, fc8.weight.flatten(1), fc8.bias)
    torch.testing.assert_close(network(images), scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "height, width, positions", [(32, 32, (1, 1)), (64, 70, (1, 1)), (128, 96, (2, 1)), (161, 130, (3, 2))]
)
def test_dense_scores_are_averages_over_positions(network, height, width, positions):
    images = torch.randn(2, 3, height, width)
    score_map = network.score_map(images)
    assert score_map.shape == (2, 12, *positions)
    torch.testing.assert_close(network(images), score_map.mean((2, 3)))


def test_dense_view_classifies_each_window_of_the_feature_map(network):
    maps = network.features(torch.randn(1, 3, 160, 128))
    score_map = network.classifier(maps)
    for row in range(3):
        for column in range(2):
            window = network.classifier(maps[:, :, row : row + 3, column : column + 3])
            torch.testing.assert_close(score_map[:, :, row, column], window[:, :, 0, 0], rtol=1e-4, atol=1e-5)


def test_scores_do_not_depend_on_the_batch(network):
    images = torch.randn(3, 3, 96, 96)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


def test_width_scales_every_layer():
    narrow, wide = VGGMini(5, width=2), VGGMini(5, width=4)
    assert wide.features.conv3_1.out_channels == 2 * narrow.features.conv3_1.out_channels
    assert narrow(torch.zeros(2, 3, 96, 96)).shape == (2, 5)


def test_learns_a_handful_of_images_by_heart():
    torch.manual_seed(1)
    network = VGGMini(4, width=4, dropout=0.0)
    images, labels = torch.randn(8, 3, 48, 48), torch.arange(8) % 4
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_too_small_an_image_is_named(network):
    with pytest.raises(UserError, match="40x31.*32 or more"):
        network(torch.zeros(1, 3, 31, 40))
