"""VGG: torchvision's networks seen densely, VGG-16 for 64-pixel images, and the paper's names of their layers."""

from collections.abc import Sequence
from functools import partial

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from blurnb.recognition.families import Family, followed, named_layers, torchvisions

VERSION = 2


class DenseVGG(nn.Module):
    """torchvision's VGG with its three fully connected layers applied as convolutions; same parameters, same names.

    Parameters
    ----------
    vgg : nn.Module
        With `features` and `classifier`, which are taken over.
    window : int
        Positions each way of the last feature map that the first fully connected layer sees: 7 for 224 pixels.

    Attributes
    ----------
    small_input : {"adaptive", "zero-pad", "upsample"}
        What happens where the last feature map is smaller than that window (128-pixel images have 4 x 4 of the 7 x 7;
        the paper does not say): "adaptive" stretches the map as torchvision's own forward does, "zero-pad" centres it
        in zeros, "upsample" enlarges the image first.
    """

    def __init__(self, vgg: nn.Module, window: int = 7):
        super().__init__()
        self.features, self.classifier = vgg.features, vgg.classifier
        self.small_input, self.window = "adaptive", window

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        side, window = min(images.shape[-2:]), self.window
        if side < 32 * window and self.small_input == "upsample":
            factor = 32 * window / side
            shape = [max(32 * window, round(s * factor)) for s in images.shape[-2:]]
            images = F.interpolate(images, size=shape, mode="bilinear", antialias=True)
        maps = self.features(images)
        shape = [max(window, s) for s in maps.shape[-2:]]
        if shape != list(maps.shape[-2:]):
            if self.small_input == "zero-pad":
                down, right = shape[0] - maps.shape[-2], shape[1] - maps.shape[-1]
                maps = F.pad(maps, (right // 2, right - right // 2, down // 2, down - down // 2))
            else:
                maps = F.adaptive_avg_pool2d(maps, shape)
        for layer in self.classifier:
            if isinstance(layer, nn.Linear):
                size = window if layer is self.classifier[0] else 1
                maps = F.conv2d(maps, layer.weight.view(layer.out_features, -1, size, size), layer.bias)
            else:
                maps = layer(maps)
        return maps


def _for_64(class_count: int, weights: str) -> nn.Module:
    """VGG-16 for 64-pixel images: the same 13 convolutions, fc6 over the 2 x 2 map that is left, fc7 and fc8.

    Without dropout: in the few epochs that some ten thousand images allow, it underfits.
    """
    vgg = torchvision.models.vgg16(weights=None, num_classes=class_count, dropout=0.0)
    vgg.classifier[0] = nn.Linear(512 * 2 * 2, 4096)
    for layer in vgg.classifier:  # torchvision's own start, a hundredth, leaves the scores of such maps far too large
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    with torch.no_grad():
        vgg.classifier[-1].weight.mul_(0.1)  # the first loss is near that of guessing
    return DenseVGG(vgg, window=2)


def layers(body: nn.Module) -> dict[str, nn.Module]:
    """Convolutional and linear layers under the paper's names, conv1_1 ... fc8."""
    named, block, place = {}, 1, 0
    for layer in body.features:
        if isinstance(layer, nn.Conv2d):
            place += 1
            named[f"conv{block}_{place}"] = layer
        elif isinstance(layer, nn.MaxPool2d):
            block, place = block + 1, 0
    return named | {f"fc{block + i}": layer for i, layer in enumerate(named_layers(body.classifier).values())}


def activations(body: nn.Module) -> dict[str, nn.Module]:
    """What each convolution and fully connected layer gives after its normalisation and ReLU."""
    named = layers(body)
    found = followed(body, named)
    if isinstance(body, DenseVGG):  # it applies its linear layers as convolutions, so their modules are never called
        found[list(named)[-1]] = body
    return found


def blocks(body: nn.Module) -> list[list[nn.Module]]:
    """The convolutional blocks, split after each pooling, then the fully connected layers."""
    cut: list[list[nn.Module]] = [[]]
    for layer in body.features:
        cut[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            cut.append([])
    return [block for block in [*cut, [body.classifier]] if block]


def levels(names: Sequence[str]) -> tuple[list[str], str]:
    """Each convolution, and fc7."""
    return [name for name in names if name.startswith("conv")], [name for name in names if name.startswith("fc")][-2]


def _dense(build, class_count: int, weights: str) -> nn.Module:
    return DenseVGG(build(class_count, weights))


PARTS = {"activations": activations, "blocks": blocks, "levels": levels}
NETWORKS = {"vgg16_64": Family(_for_64, ("none",), **PARTS)}
for _name in torchvision.models.list_models(torchvision.models, include="vgg*"):
    _theirs = torchvisions(_name)
    NETWORKS[_name] = _theirs._replace(build=partial(_dense, _theirs.build), **PARTS)
