"""Zoomout: every pixel judged by all that a classifier sees around it, from its own texture to the whole image.

Mostajabi, Yadollahpour & Shakhnarovich 2015 (arXiv:1412.0774), in the dense form of their later release: the maps of
all convolutional layers brought to a quarter of the image's resolution and stacked, with what the last hidden layer
sees of the whole image replicated everywhere; standardised; three 1x1 convolutions; enlarged four times.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from blurnb.recognition import models

VERSION = 1
STRIDE = 4  # pixels from one position to the next, in each direction


class Zoomout(nn.Module):
    """[0, 1] pixels (N, 3, H, W) in, class scores (N, class_count, H, W) out; H and W 32 pixels or more.

    Parameters
    ----------
    backbone : models.Network
        A classifier of a family that states its levels; its own last layer goes unused. It stays in evaluation mode
        even in training: a batch of few images has no normalisation statistics worth having, and its dropout belongs
        to classification.
    class_count : int
        Classes of pixels, 2 or more.
    hidden : int
        Channels of each of the two hidden convolutions.
    dropout : float
        Share of them that training sets to 0.

    Raises
    ------
    UserError
        The backbone has no levels.
    """

    def __init__(self, backbone: models.Network, class_count: int, hidden: int = 1000, dropout: float = 0.5):
        super().__init__()
        self.name, self.class_count, self.backbone = f"zoomout of {backbone.name}", class_count, backbone
        self._local, self._overall = models.levels(backbone)
        device = next(backbone.parameters()).device
        backbone.eval()
        self.strides = (STRIDE,) * len(self._local)  # nothing subsampled while they are found out
        with torch.no_grad():
            probed = self.levels(torch.zeros(1, 3, 64, 64, device=device))
        # from a size that every stride divides; of odd sizes the maps are rounded, up here and down there
        self.strides = tuple(64 // level.shape[-1] for level in probed[:-1])
        coarse = [max(1, stride // STRIDE) for stride in self.strides]
        with torch.random.fork_rng(devices=[]):  # a new head must not depend on what was drawn before it
            torch.manual_seed(0)
            self.head = Head([level.shape[1] for level in probed], [*coarse, 0], class_count, hidden, dropout)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.backbone.eval()
        return self

    def levels(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The tapped maps, each (N, channels, h, w): finer than the stride subsampled, coarser as they are; last the
        global one, (N, channels, 1, 1), its maximum over positions."""
        with models.tapped(self.backbone, [*self._local, self._overall]) as found:
            self.backbone(images)
        steps = (max(1, STRIDE // stride) for stride in self.strides)  # from the middle of each cell
        maps = [found[name][..., n // 2 :: n, n // 2 :: n] for name, n in zip(self._local, steps)]
        return [*maps, found[self._overall].amax((2, 3), keepdim=True)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        return self.head(self.levels(images), _grid(images))[..., :height, :width]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The standardised feature of every position, (N, channels, H / 4, W / 4): 8,320 channels of VGG-16.

        `forward` computes the same scores without it; it is here to be looked at, and to hold `forward` to.
        """
        grid = _grid(images)
        placed = [_placed(one, factor, grid) for one, factor in zip(self.levels(images), self.head.factors)]
        return (torch.cat(placed, 1) - self.head.mean) / self.head.deviation


class Head(nn.Module):
    """Levels in, scores at every pixel out: two hidden 1x1 convolutions with ReLU and dropout, a 1x1 to the classes,
    and a bilinear enlargement that training may change.

    The first convolution is linear and the enlargement of coarse levels repeats values, so it is applied to each level
    at that level's own resolution and the sums are enlarged: the same scores, without a feature of thousands of
    channels at every position. `factors` say over how many positions each way a value of each level is repeated; 0 for
    the level that is one value for the whole image.
    """

    def __init__(self, channels: Sequence[int], factors: Sequence[int], class_count: int, hidden: int, dropout: float):
        super().__init__()
        self.channels, self.factors, total = tuple(channels), tuple(factors), sum(channels)
        self.register_buffer("mean", torch.zeros(1, total, 1, 1))
        self.register_buffer("deviation", torch.ones(1, total, 1, 1))
        self.first = nn.Conv2d(total, hidden, 1)
        self.second = nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, class_count, 1)
        self.dropout = nn.Dropout(dropout)
        self.enlarge = nn.ConvTranspose2d(
            class_count, class_count, 2 * STRIDE, STRIDE, padding=STRIDE // 2 + STRIDE, groups=class_count, bias=False
        )
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)
        ramp = 1 - ((torch.arange(2 * STRIDE) + 0.5) / STRIDE - 1).abs()
        with torch.no_grad():
            self.enlarge.weight.copy_(ramp[:, None] * ramp)

    def forward(self, levels: Sequence[torch.Tensor], grid: tuple[int, int]) -> torch.Tensor:
        sums: dict[tuple, torch.Tensor] = {}
        parts = (torch.split(one, self.channels, dim=1) for one in (self.mean, self.deviation, self.first.weight))
        for maps, factor, mean, deviation, weight in zip(levels, self.factors, *parts):
            mixed = F.conv2d((maps - mean) / deviation, weight)
            key = factor, *maps.shape[-2:]
            sums[key] = sums[key] + mixed if key in sums else mixed
        placed = sum(_placed(one, factor, grid) for (factor, *_), one in sums.items())
        return self.judged(placed + self.first.bias.view(1, -1, 1, 1))

    def judged(self, mixed: torch.Tensor) -> torch.Tensor:
        """Scores at every pixel from what the first convolution gives."""
        hidden = self.dropout(F.relu(mixed))
        scores = self.last(self.dropout(F.relu(self.second(hidden))))
        return self.enlarge(F.pad(scores, (1, 1, 1, 1), mode="replicate"))  # else scores would fade at the edge


def standardise(network: Zoomout, batches: Iterable[torch.Tensor]) -> None:
    """Set the mean and the standard deviation of every channel to those it has over the images in `batches`.

    Each batch is float (N, 3, H, W) in [0, 1]; there must be one.
    """
    count: list[int] = []
    with torch.no_grad():
        for images in batches:
            levels = [level.double() for level in network.levels(images)]
            if not count:
                count, sums, squares = [0] * len(levels), [0.0] * len(levels), [0.0] * len(levels)
            for place, level in enumerate(levels):
                count[place] += level[:, 0].numel()
                sums[place] = sums[place] + level.sum((0, 2, 3))
                squares[place] = squares[place] + level.square().sum((0, 2, 3))
        mean = torch.cat([total / n for total, n in zip(sums, count)])
        variance = torch.cat([total / n for total, n in zip(squares, count)]) - mean.square()
        deviation = variance.clamp(min=0).sqrt()
        deviation[deviation < 1e-4] = 1  # a channel that never fires says nothing, and must not say it loudly
        network.head.mean.copy_(mean.view(1, -1, 1, 1))
        network.head.deviation.copy_(deviation.view(1, -1, 1, 1))


def _grid(images: torch.Tensor) -> tuple[int, int]:
    return tuple(-(-side // STRIDE) for side in images.shape[-2:])


def _placed(maps: torch.Tensor, factor: int, grid: tuple[int, int]) -> torch.Tensor:
    """Coarse maps on the grid, each value repeated over its cell; what a pooling layer cut off at the right and the
    bottom is filled with the nearest value, so that nothing is stretched and no label shifts."""
    if factor == 0:
        return maps.expand(-1, -1, *grid)
    if factor > 1:
        maps = F.interpolate(maps, scale_factor=factor, mode="nearest")
    lack = [max(0, side - size) for side, size in zip(grid, maps.shape[-2:])]
    if any(lack):
        maps = F.pad(maps, (0, lack[1], 0, lack[0]), mode="replicate")
    return maps[..., : grid[0], : grid[1]]
