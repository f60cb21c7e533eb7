"""Families of networks: how each is built, and what its parts are called.

A new family is a module here, with its VERSION and its NETWORKS (a Family for each name), and its name in MODULES. All
other names are torchvision's classifiers, taken as torchvision builds them.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import takewhile
from types import ModuleType
from typing import NamedTuple

import torchvision
from torch import nn

from blurnb.recognition.weights import Packaged, Published, from_torchvision

VERSION = 1
MODULES = ("vgg", "vgg_mini", "efficientnet", "compressed")
OF_IMAGENET = ("imagenet", "compressed")  # names of weights that answer ImageNet's 1,000 classes
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def named_layers(body: nn.Module) -> dict[str, nn.Module]:
    """Convolutional and linear layers by their module's dotted name, in order of execution as declared."""
    return {name: module for name, module in body.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def followed(body: nn.Module, layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """For each layer the last of the normalisation and the ReLU that follow it, where its trunk is sequential."""
    chains = [list(parent) for parent in body.modules() if isinstance(parent, nn.Sequential)]
    found = {}
    for name, layer in layers.items():
        chain = next((chain for chain in chains if layer in chain), [layer])
        after = chain[chain.index(layer) + 1 :]
        found[name] = [layer, *takewhile(lambda one: isinstance(one, nn.BatchNorm2d | nn.ReLU), after)][-1]
    return found


def children(body: nn.Module) -> list[list[nn.Module]]:
    """The top-level children that have parameters, each a block."""
    return [[child] for child in body.children() if any(True for _ in child.parameters())]


class Family(NamedTuple):
    """What there is to know of a network by its name.

    Attributes
    ----------
    build : callable
        ``build(class_count, weights)`` gives the body: normalised images (N, 3, H, W) to scores (N, classes), or to
        scores at every position (N, classes, h, w).
    weights : tuple of str
        The names of weights that `build` knows, the usual ones first; "none" are random ones.
    mean, std : tuple of float
        Of RGB in [0, 1]: the body is given ``(x - mean) / std``.
    activations : callable
        ``activations(body)`` gives the modules whose outputs are hidden activations, shallow to deep, by name.
    blocks : callable
        ``blocks(body)`` gives consecutive lists of modules, shallow to deep, which together hold every parameter once.
    levels : callable or None
        ``levels(names of activations)`` gives those whose maps zoomout stacks, and the one that it sees globally.
    files : tuple of Packaged or Published
        The files that its named weights are read from.
    """

    build: Callable[[int, str], nn.Module]
    weights: tuple[str, ...] = ("imagenet", "none")
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    activations: Callable[[nn.Module], dict[str, nn.Module]] = lambda body: followed(body, named_layers(body))
    blocks: Callable[[nn.Module], list[list[nn.Module]]] = children
    levels: Callable[[Sequence[str]], tuple[list[str], str]] | None = None
    files: tuple[Packaged | Published, ...] = ()


@cache
def homes() -> dict[str, ModuleType]:
    """The module of each network that has one here, by the network's name."""
    modules = [importlib.import_module(f"{__name__}.{module}") for module in MODULES]
    return {name: module for module in modules for name in module.NETWORKS}


@cache
def names() -> tuple[str, ...]:
    """Every network that can be built: those of the modules here, then torchvision's other classifiers."""
    return (*homes(), *(n for n in torchvision.models.list_models(torchvision.models) if n not in homes()))


@cache
def weights() -> tuple[str, ...]:
    """Every name of weights that some family knows; whatever else is given as weights is a file."""
    return tuple({one for name in homes() for one in find(name).weights} | {"imagenet", "none"})


@cache
def find(name: str) -> Family:
    """The family of a network; one that is not ours has no weights, and its parts go by their modules' names."""
    if name in homes():
        return homes()[name].NETWORKS[name]
    return torchvisions(name) if name in names() else Family(partial(_build, name), weights=())


def version(name: str) -> dict[str, int]:
    """{module: VERSION} of the code that builds a network and names its parts."""
    parts = [getattr(part, "func", part) for part in find(name) if callable(part)]
    modules = {__name__, *(part.__module__ for part in parts if part.__module__.startswith(__name__))}
    modules |= {homes()[name].__name__} if name in homes() else set()
    return {module.removeprefix("blurnb."): sys.modules[module].VERSION for module in sorted(modules)}


def torchvisions(name: str) -> Family:
    """A classifier as torchvision builds it, with the normalisation that its ImageNet weights state."""
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    known = torchvision.models.get_model_weights(name)
    if "IMAGENET1K_V1" in known.__members__:
        transform = known["IMAGENET1K_V1"].transforms()
        mean, std = tuple(getattr(transform, "mean", mean)), tuple(getattr(transform, "std", std))
    return Family(partial(_build, name), mean=mean, std=std)


def _build(name: str, class_count: int, weights: str) -> nn.Module:
    if weights == "imagenet":
        return from_torchvision(name)
    extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, num_classes=class_count, **extra)
