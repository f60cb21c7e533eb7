"""Networks whose real ImageNet weights are published in a few megabytes: decoded here into torchvision's modules.

They are never called "imagenet": compression costs one to ten points, and torchvision's own weights come first.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from blurnb.errors import UserError, shown
from blurnb.recognition.families import IMAGENET_MEAN, IMAGENET_STD, OF_IMAGENET, named_layers, torchvisions
from blurnb.recognition.weights import published

VERSION = 1
CAFFE_MEAN = (123.0, 117.0, 104.0)  # what SqueezeNet's pixels of 0..255 are given without, in RGB order
NCNN_HALF = 0x01306B47
State = dict[str, torch.Tensor]


def _ncnn(data: bytes, layers: dict[str, nn.Module]) -> State:
    """ncnn's float16: for each convolution a tag, the weights padded to four bytes, float32 biases."""
    found, at = {}, 0
    for name, layer in layers.items():
        if int.from_bytes(data[at : at + 4], "little") != NCNN_HALF:
            raise ValueError(f"no float16 weights of {name} at byte {at}")
        count, outputs = layer.weight.numel(), layer.out_channels
        found[f"{name}.weight"] = _numbers(data, at + 4, "<f2", count).view(layer.weight.shape)
        at += 4 + (2 * count + 3) // 4 * 4
        found[f"{name}.bias"] = _numbers(data, at, "<f4", outputs)
        at += 4 * outputs
    return _for_our_pixels(found, data, at)


def _deep_compression(data: bytes, layers: dict[str, nn.Module]) -> State:
    """Han, Mao & Dally 2016: codebooks of 256, one code and one 4-bit gap for each weight that pruning left."""
    counts = np.frombuffer(data, "<u4", len(layers)).tolist()
    found, at = {}, 4 * len(layers)
    for count, (name, layer) in zip(counts, layers.items()):
        codebook = _numbers(data, at, "<f4", 256)
        found[f"{name}.bias"] = _numbers(data, at + 1024, "<f4", layer.out_channels)
        at += 1024 + 4 * layer.out_channels
        codes = np.frombuffer(data, "u1", count, at)
        packed = np.frombuffer(data, "u1", (count + 1) // 2, at + count)
        at += count + len(packed)
        gaps = np.stack([packed & 15, packed >> 4], 1).ravel()[:count].astype(np.int64)
        weight = torch.zeros(layer.weight.numel())
        weight[torch.from_numpy(np.cumsum(gaps + 1) - 1)] = codebook[torch.from_numpy(codes.astype(np.int64))]
        found[f"{name}.weight"] = weight.view(layer.weight.shape)
    return _for_our_pixels(found, data, at)


def _numbers(data: bytes, at: int, kind: str, count: int) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(data, kind, count, at).astype(np.float32))


def _for_our_pixels(state: State, data: bytes, end: int) -> State:
    """Caffe's blue-first pixels of 0..255 without their mean, folded into the first convolution, which pads nothing."""
    if end != len(data):
        raise ValueError(f"{len(data)} bytes where the layers take {end}")
    first = next(iter(state)).rpartition(".")[0]
    mean, std, caffe = (torch.tensor(v, dtype=torch.float64) for v in (IMAGENET_MEAN, IMAGENET_STD, CAFFE_MEAN))
    weight = state[f"{first}.weight"].double().flip(1)
    shift = (weight.sum((2, 3)) * (255 * mean - caffe)).sum(1)
    scaled = weight * (255 * std)[:, None, None]
    return state | {f"{first}.weight": scaled.float(), f"{first}.bias": (state[f"{first}.bias"] + shift).float()}


def _kill_the_bits(state: dict[str, dict], layers: dict[str, nn.Module]) -> State:
    """Stock et al. 2020: block b of output o is centroids[assignments[b * outputs + o]]; the statistics are folded."""
    found = {}
    for name, part in state.items():
        if "centroids" in part:
            weight = layers[name].weight
            codes = part["assignments"].long().view(-1, len(weight))
            found[f"{name}.weight"] = part["centroids"].float()[codes].transpose(0, 1).reshape(weight.shape)
        else:
            found |= {f"{name.removesuffix('_bias')}.{kind}": value.float() for kind, value in part.items()}
    return found


def _permute_quantize(state: State, layers: dict[str, nn.Module]) -> State:
    """Martinez et al. 2021: row o is codebook[codes_matrix[o]] side by side; the statistics are folded."""
    found = {name: value.float() for name, value in state.items() if not name.endswith(("codes_matrix", "codebook"))}
    for name in (name.removesuffix(".codebook") for name in state if name.endswith(".codebook")):
        codes = state[f"{name}.codes_matrix"].long()
        found[f"{name}.weight"] = state[f"{name}.codebook"].float()[codes].reshape(layers[name].weight.shape)
    return found


DECODERS: dict[str, Callable[..., State]] = {
    "squeezenet1_1": _ncnn,
    "squeezenet1_0": _deep_compression,
    "resnet18": _kill_the_bits,
    "resnet50": _permute_quantize,
}
"""What decodes a network's file: called with its bytes, or the plain tensors in it, and the layers by name."""
FILES = published()


def _build(name: str, class_count: int, weights: str) -> nn.Module:
    if weights != "compressed":
        return torchvisions(name).build(class_count, weights)
    body = torchvisions(name).build(1000, "none")
    path = FILES[name].fetched()
    try:
        held = torch.load(path, "cpu", weights_only=True) if path.suffix == ".pth" else path.read_bytes()
        # folded statistics are those of a new norm
        body.load_state_dict(body.state_dict() | DECODERS[name](held, named_layers(body)))
    except (OSError, ValueError, KeyError, RuntimeError, IndexError) as error:
        raise UserError(f"{path} cannot be decoded ({shown(str(error))}); delete it and fetch it again") from error
    return body


NETWORKS = {
    name: torchvisions(name)._replace(build=partial(_build, name), weights=(*OF_IMAGENET, "none"), files=(file,))
    for name, file in FILES.items()
}
