"""Engines: the ways to convolve a batch with its kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import conv2d, pad

BORDERS = ("reflect", "replicate", "circular")


def convolve(batch: torch.Tensor, kernels: Sequence[np.ndarray], border: str, engine: str) -> torch.Tensor:
    """(N, C, H, W) float `batch`, image i convolved with kernels[i]: a new float32 tensor."""
    images = [_by_torch(image, kernel, border) for image, kernel in zip(batch, kernels)]
    return torch.stack(images) if images else torch.empty_like(batch, dtype=torch.float32)


def _by_torch(image: torch.Tensor, kernel: np.ndarray, border: str) -> torch.Tensor:
    image = image.float()
    if kernel.size == 1:
        return image.clone()
    half_y, half_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = pad(image[None], (half_x, half_x, half_y, half_y), mode=border)[0]
    weights = torch.as_tensor(kernel, device=image.device)
    if kernel.size <= 49:
        # conv2d correlates: flip.
        return conv2d(padded[:, None], weights.flip(0, 1)[None, None])[:, 0]
    size = padded.shape[-2:]
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(weights, s=size)
    return torch.fft.irfft2(product, s=size)[:, 2 * half_y :, 2 * half_x :]
