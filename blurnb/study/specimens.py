"""A few images and kernels to look at, beside the numbers that thousands give."""

import numpy as np
import torch

from blurnb.optics import blurring, resampling
from blurnb.study import runs, treatments
from blurnb.study.parameters import Evaluated
from blurnb.study.treatments import Treatment

SHOWN_SIDE = 256  # shorter side at which photographs are shown


def examples(
    parameters: Evaluated, place: int = 0, count: int = 3
) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """(images, row titles, column titles) for a contact sheet: `count` images of one pair under every blur.

    The pair is found by its place in `parameters`. Images are (H, W, 3) float arrays; photographs at shorter side 256,
    cut to their middle square.
    """
    opened = runs.to_look_at(parameters, place)
    images, protocol = opened.images, opened.protocol
    sheet, titles = [], []
    for index in spread(len(images), count):
        image = images.load(int(index))[None]
        if not images.native_side:
            image = resampling.resized(image, protocol.frame, protocol.resample)
        line = []
        for blur in parameters.blurs:
            seen = treatments.captured(image, Treatment(blur), [images.ids[index]], protocol)
            line.append(square(seen if images.native_side else resampling.resized(seen, SHOWN_SIDE, protocol.resample)))
        sheet.append(line)
        titles.append(images.classes[images.labels[index]])
    return sheet, titles, list(parameters.blurs)


def spread(n: int, count: int) -> np.ndarray:
    """`count` places from the first of n to the last."""
    return np.linspace(0, n - 1, count).round().astype(int)


def square(images: torch.Tensor) -> np.ndarray:
    """The middle square (side, side, 3) of the first of `images` (N, 3, H, W)."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[0, :, top : top + side, left : left + side].permute(1, 2, 0).numpy()


def kernels(parameters: Evaluated) -> dict[str, np.ndarray]:
    """The kernel of each of a chapter's blurs in the frame; for shake, the one that the first image gets."""
    return {blur: blurring.kernel_for(blur, seed=parameters.seed) for blur in parameters.blurs if blur != "sharp"}
