"""A few images and kernels to look at, beside the numbers that thousands give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from blurnb.optics import blurring, resampling
from blurnb.study.runs import Opened

SHOWN_SIDE = 256
"""Shorter side at which photographs are shown."""


def examples(
    opened: Opened, blurs: Sequence[str], count: int = 3
) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """(images, row titles, column titles) for a contact sheet: `count` images under every blur.

    Images are (H, W, 3) float arrays; photographs at shorter side 256, cut to their middle square.
    """
    images, protocol = opened.images, opened.protocol
    sheet, titles = [], []
    for index in spread(len(images), count):
        image = images.load(int(index))[None]
        if not images.native_side:
            image = resampling.resized(image, protocol.frame)
        line = []
        for blur in blurs:
            seen = blurring.blur(
                image, blur, frame=protocol.frame, border=protocol.border, seed=protocol.seed,
                image_ids=[images.ids[index]],
            )  # fmt: skip
            line.append(square(seen if images.native_side else resampling.resized(seen, SHOWN_SIDE)))
        sheet.append(line)
        titles.append(images.classes[images.labels[index]])
    return sheet, titles, list(blurs)


def spread(n: int, count: int) -> np.ndarray:
    """`count` places from the first of n to the last."""
    return np.linspace(0, n - 1, count).round().astype(int)


def square(images: torch.Tensor) -> np.ndarray:
    """The middle square (side, side, 3) of the first of `images` (N, 3, H, W)."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[0, :, top : top + side, left : left + side].permute(1, 2, 0).numpy()


def kernels(blurs: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """The kernel of each blur in the frame; for shake, the one that the first image gets."""
    return {blur: blurring.kernel_for(blur, seed=seed) for blur in blurs if blur != "sharp"}
