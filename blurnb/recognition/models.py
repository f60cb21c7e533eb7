"""Networks by name: [0, 1] pixels in, class scores out, normalisation inside."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import nn

from blurnb.errors import UserError, demand_known, nearest, shown
from blurnb.recognition import families
from blurnb.recognition.families import IMAGENET_MEAN, IMAGENET_STD
from blurnb.recognition.weights import kept_by_torch, load_weights

SMALL_INPUTS = ("adaptive", "zero-pad", "upsample")


class Network(nn.Module):
    """A classifier that normalises its own input, so that blur always acts on pixels and never on their z-scores.

    Input float (N, 3, H, W) in [0, 1]; output class scores (N, classes) before the softmax. Fully connected
    layers that follow a convolutional trunk are applied as convolutions over the whole image and their scores
    averaged over positions (Simonyan & Zisserman 2014, section 3.2); networks that pool globally do the same by
    construction, since their last layer is linear.

    Parameters
    ----------
    name : str
        By which `families` knows its parts.
    body : nn.Module
        Normalised images to scores (N, classes), or to scores at every position (N, classes, h, w).
    class_count : int
        Number of classes.
    mean, std : sequence of 3 floats, RGB
        The body is given ``(x - mean) / std``.
    """

    def __init__(self, name: str, body: nn.Module, class_count: int, mean=IMAGENET_MEAN, std=IMAGENET_STD):
        super().__init__()
        self.name, self.class_count = name, class_count
        self.body = body
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.body((images - self.mean) / self.std)
        return scores.flatten(2).mean(2) if scores.dim() == 4 else scores


class PerScale(nn.Module):
    """One network for each scale: `for_side(side)` is the one that looks at images of that shorter side."""

    def __init__(self, networks: dict[int, Network]):
        super().__init__()
        first = next(iter(networks.values()))
        self.name, self.class_count = first.name, first.class_count
        self.body = nn.ModuleDict({str(side): network for side, network in networks.items()})

    def for_side(self, side: int) -> Network:
        return self.body[str(side)]


def names() -> list[str]:
    """Every network that `load` knows: ours, then torchvision's classifiers."""
    return list(families.names())


def load(name: str, weights: str = "imagenet", class_count: int = 1000, *, small_input: str = "adaptive") -> Network:
    """A network in evaluation mode.

    Parameters
    ----------
    name : str
        One of `names`.
    weights : str
        A name that its family knows ("imagenet", "compressed", "none" for random ones), or the path of a checkpoint.
    class_count : int
        Number of classes. Where it is not that of named weights, the last linear layer is made anew for it, as
        fine-tuning wants.
    small_input : {"adaptive", "zero-pad", "upsample"}
        See `families.vgg.DenseVGG`; other networks have no use for it.

    Returns
    -------
    Network

    Raises
    ------
    UserError
        An unknown name, unknown weights, a checkpoint of another architecture or with values that are not finite, and
        weights that must be downloaded when there is no network.
    """
    if not isinstance(name, str) or name not in names():
        close = nearest(str(name)[:80], names())
        raise UserError(f"network {shown(name)} is unknown{close}; see blurnb.recognition.models.names()")
    demand_known(small_input, SMALL_INPUTS, "small_input")
    if isinstance(class_count, bool) or not isinstance(class_count, int) or not 2 <= class_count < 1_000_000:
        raise UserError(f"class_count={shown(class_count)}: give a whole number of classes, two or more")
    family = families.find(name)
    path = None if weights in families.weights() else _path(weights)
    if path is None and weights not in family.weights:
        raise UserError(f"weights {shown(weights)} do not exist for {name}; use {', '.join(family.weights)} or a file")
    if path is not None and not os.path.isfile(path):
        raise UserError(f"weights {shown(weights)} are neither {', '.join(family.weights)} nor a file; check the path")
    with torch.random.fork_rng(devices=[]):  # a new head must not depend on what was drawn before it
        torch.manual_seed(0)
        is_imagenet = weights in families.OF_IMAGENET
        body = family.build(1000 if is_imagenet else class_count, weights if path is None else "none")
        if is_imagenet and class_count != 1000:
            replace_head(body, class_count)
    if hasattr(body, "small_input"):
        body.small_input = small_input
    network = Network(name, body, class_count, family.mean, family.std)
    if path is not None:
        load_weights(network, path)
    return network.eval().to(memory_format=torch.channels_last)


def _path(weights: object) -> Path:
    try:
        return Path(weights).expanduser()
    except (TypeError, RuntimeError) as error:
        raise UserError(f"weights {shown(weights)} are no file name ({error}); check the path") from error


def replace_head(body: nn.Module, class_count: int) -> None:
    """Make the last linear layer, or 1 x 1 convolution, anew for another number of classes."""
    layers = families.named_layers(body)
    linear = {name: layer for name, layer in layers.items() if isinstance(layer, nn.Linear)}
    pointwise = {name: layer for name, layer in layers.items() if getattr(layer, "kernel_size", 0) == (1, 1)}
    if not (linear or pointwise):
        raise UserError(f"{type(body).__name__} has no linear layer to make anew for {class_count} classes")
    name, last = list((linear or pointwise).items())[-1]
    parent, _, leaf = name.rpartition(".")
    head = nn.Linear(last.in_features, class_count) if linear else nn.Conv2d(last.in_channels, class_count, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    setattr(body.get_submodule(parent), leaf, head)


def fingerprint(network: nn.Module) -> str:
    """16 hex digits of the weights and buffers, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def small_input(network: nn.Module) -> str:
    """What a network, or the networks within it, do with small images (SMALL_INPUTS); "" for all but dense VGG."""
    return next((part.small_input for part in network.modules() if hasattr(part, "small_input")), "")


def takes_small_input(name: str) -> bool:
    """Whether `small_input` means anything to a network of that name."""
    return hasattr(families.homes().get(name), "DenseVGG")


def activations(network: Network) -> dict[str, nn.Module]:
    """The modules whose outputs are the network's hidden activations, shallow to deep, by the name of their layer.

    VGG networks have the paper's names (conv1_1 ... fc8); most others keep their module's dotted name. In sequential
    trunks that is each convolution or linear layer after the normalisation and the ReLU that follow it; in EfficientNet
    each block and the head; elsewhere the convolutional and linear layers themselves.
    """
    return families.find(network.name).activations(network.body)


@contextlib.contextmanager
def tapped(network: Network, names: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
    """{name of one of `activations`: what it gave last}, while the network answers."""
    modules, found = activations(network), {}
    hooks = [modules[n].register_forward_hook(lambda _, __, output, n=n: found.__setitem__(n, output)) for n in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def blocks(network: Network) -> list[list[nn.Module]]:
    """The network cut into consecutive blocks, shallow to deep, for freezing.

    VGG: its convolutional blocks (split after each pooling), then the fully connected layers. EfficientNet: stem,
    then its stages (split where the resolution halves). Others: their top-level children that have parameters.
    """
    return families.find(network.name).blocks(network.body)


def levels(network: Network) -> tuple[list[str], str]:
    """Names in `activations` of the layers whose maps zoomout stacks, and of the one that it sees globally.

    Raises UserError for a network of a family that states none.
    """
    if (stated := families.find(network.name).levels) is None:
        known = (module for name, module in families.homes().items() if families.find(name).levels)
        shorts = sorted({module.__name__.rpartition(".")[2] for module in known})
        raise UserError(f"network {network.name!r} has no zoomout levels; use one of the families {', '.join(shorts)}")
    return stated(list(activations(network)))


def weight_files() -> dict[Path, str]:
    """Every file of pretrained weights that is on this machine, with what its SHA-256 must begin with."""
    packaged = {one for name in families.homes() for one in families.find(name).files}
    found = {file: one.sha256 for one in sorted(packaged) for file in one.files()}
    return found | kept_by_torch()


def reduced_precision() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, so that bf16 autocast is a gain and not a loss."""
    try:
        is_supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return is_supported and "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except (AttributeError, RuntimeError, OSError):
        return False
