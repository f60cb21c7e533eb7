"""Non-blind deconvolution under a hyper-Laplacian prior on image gradients.

Krishnan & Fergus, "Fast image deconvolution using hyper-Laplacian priors", NIPS 2009. The restored image minimises

    1/2 sum (k * x - y)^2 + weight * sum (|dx x|^alpha + |dy x|^alpha),  alpha = 2/3

where their lambda is 1 / weight. Gradients of photographs have heavy tails, which this alpha fits and the alpha = 2 of
Wiener does not: a few strong edges then cost less than many faint ripples. Half-quadratic splitting puts
auxiliary gradients w beside those of x, tied by beta / 2 (dx x - w)^2, and alternates two steps that are both exact:
`shrink` (each pixel by itself) and `image_step` (each frequency by itself), while beta grows.

Everything is periodic here; `borders` extends images before they come.
"""

import torch

VERSION = 1
BETAS = (1.0, 2.83, 8.0, 22.6, 64.0, 181.0)
ALPHA = 2 / 3
_NEWTON_STEPS = 4  # the worst start, at the threshold, is then within 1e-5 of the root
_PIECE = 1 << 16


def shrink(gradients: torch.Tensor, beta: float) -> torch.Tensor:
    """``argmin_w |w|^alpha + beta/2 (w - v)^2`` for every element v of `gradients` (paper, section 2.2).

    Setting the derivative to zero gives, in u = |w|^(1/3), a quartic whose largest root is the one local minimum
    besides 0. Newton from u(v) comes down on it, since the polynomial is convex and increasing there. Below a threshold
    that has a closed form, w = 0 costs less.
    """
    smallest = (2 * (1 - ALPHA) / beta) ** (1 / (2 - ALPHA))
    threshold = smallest + ALPHA / beta * smallest ** (ALPHA - 1)
    shrunk = torch.empty_like(gradients, memory_format=torch.contiguous_format)
    # Piece by piece, each small enough to stay in the processor's cache through all Newton steps.
    for values, result in zip(gradients.reshape(-1).split(_PIECE), shrunk.view(-1).split(_PIECE)):
        size = values.abs()
        kept = size > threshold
        size.clamp_(min=threshold)  # Newton stays where it is defined; those elements become 0
        torch.copysign(_quartic_root(size, beta).mul_(kept), values, out=result)
    return shrunk


def _quartic_root(size: torch.Tensor, beta: float) -> torch.Tensor:
    """u^3 for the largest u with u^4 - size u + 2 / (3 beta) = 0."""
    root = size.pow(1 / 3)
    for _ in range(_NEWTON_STEPS):
        cube = (root * root).mul_(root)
        root = root.mul_(cube).mul_(3).sub_(2 / (3 * beta)).div_(cube.mul_(4).sub_(size))
    return (root * root).mul_(root)


def gradients(images: torch.Tensor) -> torch.Tensor:
    """Forward differences with wrap-around: (N, C, H, W) -> (2, N, C, H, W), along the width, then the height."""
    return torch.stack([images.roll(-1, -1) - images, images.roll(-1, -2) - images])


def _divergence(field: torch.Tensor) -> torch.Tensor:
    """The adjoint of `gradients`: (2, N, C, H, W) -> (N, C, H, W)."""
    return field[0].roll(1, -1) - field[0] + field[1].roll(1, -2) - field[1]


def gradient_power(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """``|F dx|^2 + |F dy|^2`` on the half spectrum, shape (height, width // 2 + 1), in the precision of `like`."""
    rows = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)
    columns = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
    return 4 * torch.sin(torch.pi * rows)[:, None] ** 2 + 4 * torch.sin(torch.pi * columns) ** 2


def image_step(
    auxiliary: torch.Tensor, data: torch.Tensor, power: torch.Tensor, ridge: torch.Tensor, strength: float
) -> torch.Tensor:
    """``argmin_x 1/2 sum (k * x - y)^2 + strength/2 sum (grad x - w)^2``, in the Fourier domain (paper, eq. 4).

    Parameters
    ----------
    auxiliary
        w, (2, N, C, H, W).
    data
        conj(K) Y on the half spectrum, (N, C, H, W // 2 + 1).
    power
        |K|^2, (N, 1, H, W // 2 + 1).
    ridge
        `gradient_power`, (H, W // 2 + 1).
    strength
        beta * weight.
    """
    spectrum = torch.fft.rfft2(_divergence(auxiliary)).mul_(strength).add_(data)
    return torch.fft.irfft2(spectrum.div_(power + strength * ridge), s=auxiliary.shape[-2:])


def restore(
    blurred: torch.Tensor, transfer: torch.Tensor, weight: float, betas: tuple[float, ...] = BETAS
) -> torch.Tensor:
    """Deconvolve periodic images, starting from themselves (paper, algorithm 1).

    Parameters
    ----------
    blurred
        (N, C, H, W), floating point.
    transfer
        rfft2 of the kernels, centred on pixel (0, 0), complex, (N or 1, 1, H, W // 2 + 1).
    weight
        Of the prior; 1 / lambda of the paper.
    betas
        The continuation; each beta gets one pair of steps.

    Returns
    -------
    Tensor
        (N, C, H, W), not clipped.
    """
    data = torch.fft.rfft2(blurred) * transfer.conj()
    power = transfer.abs().square()
    ridge = gradient_power(*blurred.shape[-2:], like=blurred)
    restored = blurred
    for beta in betas:
        auxiliary = shrink(gradients(restored), beta)
        restored = image_step(auxiliary, data, power, ridge, beta * weight)
    return restored
