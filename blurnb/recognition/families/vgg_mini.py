"""The VGG pattern at a size that two processor cores train in about a minute."""

from collections import OrderedDict

from torch import Tensor, nn

from blurnb.errors import UserError
from blurnb.recognition.families import Family, vgg

VERSION = 1

# block b holds _DEPTHS[b] convolutions of _WIDTHS[b] times the width; a 2x2 maximum after each block, as in VGG-16
_DEPTHS = (1, 1, 2, 2, 2)
_WIDTHS = (1, 2, 4, 8, 16)
_FC_WIDTH = 32
_FC_KERNEL = 3
SMALLEST_SIDE = 32


class VGGMini(nn.Module):
    """`features` (named conv, norm, relu, pool layers) and `classifier` (fc6, fc7, fc8), for a side of 96.

    As VGG-16 turns 224 pixels into the 7x7 positions that fc6 sees whole, this turns 96 into 3x3. The fully
    connected layers are convolutions from the start, so that the scores of a larger image are averages over
    positions, the dense view of Simonyan & Zisserman 2015, section 3.2. Normalised images (N, 3, H, W), each
    side 32 pixels or more, give scores (N, class_count).
    """

    def __init__(self, class_count: int, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for block, (depth, factor) in enumerate(zip(_DEPTHS, _WIDTHS), start=1):
            for place in range(1, depth + 1):
                name = f"{block}_{place}"
                # BatchNorm, which VGG-16 lacks, is what lets so few steps suffice
                layers["conv" + name] = nn.Conv2d(channels, factor * width, 3, padding=1, bias=False)
                channels = factor * width
                layers["norm" + name] = nn.BatchNorm2d(channels)
                layers["relu" + name] = nn.ReLU(inplace=True)
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        self.features = nn.Sequential(layers)
        hidden = _FC_WIDTH * width
        self.classifier = nn.Sequential(
            OrderedDict(
                fc6=nn.Conv2d(channels, hidden, _FC_KERNEL, bias=False),
                norm6=nn.BatchNorm2d(hidden),
                relu6=nn.ReLU(inplace=True),
                drop6=nn.Dropout(dropout),
                fc7=nn.Conv2d(hidden, hidden, 1, bias=False),
                norm7=nn.BatchNorm2d(hidden),
                relu7=nn.ReLU(inplace=True),
                drop7=nn.Dropout(dropout),
                fc8=nn.Conv2d(hidden, class_count, 1),
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.classifier.fc8.weight, std=0.01)
        nn.init.zeros_(self.classifier.fc8.bias)

    def score_map(self, images: Tensor) -> Tensor:
        """Class scores at every position, (N, class_count, h, w)."""
        if min(images.shape[-2:]) < SMALLEST_SIDE:
            size = f"{images.shape[-1]}x{images.shape[-2]}"
            raise UserError(f"images: {size} pixels; vgg_mini needs {SMALLEST_SIDE} or more each way")
        maps = self.features(images)
        lack = [max(0, _FC_KERNEL - n) for n in maps.shape[-2:]]
        if any(lack):  # an image smaller than fc6's field: zeros around it, as convolution padding would give
            maps = nn.functional.pad(maps, (lack[1] // 2, lack[1] - lack[1] // 2, lack[0] // 2, lack[0] - lack[0] // 2))
        return self.classifier(maps)

    def forward(self, images: Tensor) -> Tensor:
        return self.score_map(images).mean((2, 3))


NETWORKS = {"vgg_mini": Family(lambda class_count, weights: VGGMini(class_count), ("none",), **vgg.PARTS)}
