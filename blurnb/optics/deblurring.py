"""Non-blind deblurring: the kernel is known, the sharp image is not.

`deblur` is one door to five methods; `tune` finds the weight of their prior on held-out photographs. Wiener,
Richardson-Lucy, total variation and EPLL are deepinv's; the hyper-Laplacian solver of Krishnan & Fergus is ours.

All five see the image as periodic. A photograph is not: what lies beyond its border has been blurred into it, and
the jump from one side to the other rings through the whole restoration. So images are extended first (`border`),
restored, and cut back.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from torch.nn import functional

from blurnb.errors import UserError, nearest, shown
from blurnb.optics import hyper_laplacian
from blurnb.optics.blurring import blur

BORDERS = ("fill", "liu_jia", "taper", "mirror", "circular")
EIGHT_BIT_SD = 1 / (255 * math.sqrt(12))
"""Standard deviation of rounding to 8 bits: the least noise that any stored photograph carries."""


def deblur(
    images: torch.Tensor,
    kernel: np.ndarray | Sequence[np.ndarray],
    method: str = "wiener",
    noise_sd: float = 0.0,
    weight: float | None = None,
    border: str = "fill",
    **options,
) -> torch.Tensor:
    """Restore `images` that were blurred with a known `kernel`.

    Args:
        images: (N, 3, H, W) or (3, H, W), floating point in [0, 1].
        kernel: square odd array that sums to 1, or a list with one kernel an image. A kernel of one pixel has nothing
            to undo: its image comes back as it is.
        method: "wiener" | "richardson_lucy" | "tv" | "krishnan_fergus" | "epll".
        noise_sd: standard deviation of the noise in the images. It chooses the default weight, and is read as at least
            `EIGHT_BIT_SD`.
        weight: of the prior against ``1/2 sum (k * x - y)^2``; more is smoother. Richardson-Lucy has no prior: there
            it is the number of iterations, and more is sharper. None: the tuned weight for method and noise.
        border: how images are extended before they are taken as periodic, see `extend`: "fill" | "liu_jia" | "taper" |
            "mirror" | "circular".
        options: of the method; see `wiener`, `richardson_lucy`, `tv`, `krishnan_fergus`, `epll`.

    Returns:
        The shape of `images`, float32, clipped to [0, 1].

    Raises:
        UserError: an image or kernel that is not what is asked for above, a kernel larger than the image, a negative
            noise, an unknown method, border or option, or deepinv absent.
    """
    batch = _checked_images(images)
    kernels = _checked_kernels(kernel, len(batch), batch.shape[-2:])
    restore = METHODS[_known_name(method, METHODS, "method")]
    _known_name(border, BORDERS, "border")
    if not (isinstance(noise_sd, (int, float, np.floating)) and 0 <= noise_sd <= 1):
        raise UserError(f"noise_sd={shown(noise_sd)}: give a standard deviation from 0 to 1, in pixel values of [0, 1]")
    noise_sd = max(float(noise_sd), EIGHT_BIT_SD)
    for option in options:
        _known_name(option, list(inspect.signature(restore).parameters)[3:], f"option of {method}")
    if weight is None:
        weight = default_weight(method, noise_sd)
    elif not (isinstance(weight, (int, float, np.floating)) and 0 < weight <= 1e12):
        raise UserError(f"weight={shown(weight)}: give a positive number, or None for the tuned weight")

    restored = batch.clone()
    for size in sorted({len(k) for k in kernels} - {1}):
        # Images whose kernels have one size share one extension; so a batch gives what its images give one by one.
        members = [index for index, k in enumerate(kernels) if len(k) == size]
        filters = torch.from_numpy(np.stack([kernels[index] for index in members]))[:, None].to(batch.device)
        extended, (top, left) = extend(batch[members], filters, border)
        with torch.no_grad():
            result = restore(extended, filters, weight, **options)
        height, width = batch.shape[-2:]
        restored[members] = result[..., top : top + height, left : left + width].clamp(0, 1)
    return restored.reshape(images.shape)


# -- the methods: (extended images, filters (N, 1, k, k), weight) -> restored extended images, taken as periodic


def wiener(blurred: torch.Tensor, filters: torch.Tensor, weight: float, prior: str = "gradient") -> torch.Tensor:
    """``conj(K) Y / (|K|^2 + weight R)``, by deepinv.

    `prior` is R, the ratio of noise to signal over frequency up to a constant: "gradient" has R = |F grad|^2, as the
    power of photographs falls with the square of the frequency; "laplacian" R = |F laplace|^2; "flat" R = 1.
    """
    deepinv = _deepinv()
    if _known_name(prior, ("gradient", "laplacian", "flat"), "prior") == "gradient":
        ridge = hyper_laplacian.gradient_power(*blurred.shape[-2:], like=blurred)
        model = deepinv.models.WienerDeconvolution(lambda_reg=weight * ridge[None, None])
    else:
        model = deepinv.models.WienerDeconvolution(lambda_reg=weight, prior=prior)
    return model(blurred, _physics(blurred, filters))


def richardson_lucy(blurred: torch.Tensor, filters: torch.Tensor, weight: float) -> torch.Tensor:
    """`weight` multiplicative updates from the blurred image, by deepinv's MLEM."""
    if weight != round(weight):
        raise UserError(f"weight={weight!r}: for richardson_lucy the weight is a whole number of iterations")
    deepinv = _deepinv()
    # Zero is a fixed point of the multiplicative update, and noise can go below it.
    blurred = blurred.clamp(min=1e-4)
    model = deepinv.optim.MLEM(max_iter=int(weight), custom_init=lambda y, physics: y.clone())
    return model(blurred, _physics(blurred, filters))


def tv(blurred: torch.Tensor, filters: torch.Tensor, weight: float, iterations: int = 50) -> torch.Tensor:
    """Isotropic total variation, each channel by itself, by deepinv's Chambolle-Pock algorithm."""
    deepinv = _deepinv()
    prior = deepinv.optim.TVPrior()
    # The dual variable is bounded by `weight`, so the primal step must grow as it shrinks to keep the two in balance:
    # thirty iterations from the Wiener image then reach what steps of 1 do not in three hundred.
    step = 0.01 / weight
    start = wiener(blurred, filters, 3 * weight)
    model = deepinv.optim.PDCP(
        K=prior.nabla,
        K_adjoint=prior.nabla_adjoint,
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.L12Prior(),
        lambda_reg=weight,
        stepsize=step,
        stepsize_dual=1 / (8 * step),
        g_first=True,
        max_iter=iterations,
        custom_init=lambda y, physics: (start, start, torch.zeros_like(prior.nabla(start))),
    )
    return model(blurred, _physics(blurred, filters))


def krishnan_fergus(
    blurred: torch.Tensor,
    filters: torch.Tensor,
    weight: float,
    alpha: float = 2 / 3,
    betas: tuple[float, ...] = hyper_laplacian.BETAS,
    inner_steps: int = 1,
) -> torch.Tensor:
    """Hyper-Laplacian prior on gradients; `weight` is 1 / lambda of the paper. See `hyper_laplacian.restore`."""
    transfer = transfer_function(filters, blurred.shape[-2:])
    return hyper_laplacian.restore(blurred, transfer, weight, alpha=alpha, betas=betas, inner_steps=inner_steps)


def epll(
    blurred: torch.Tensor, filters: torch.Tensor, weight: float, prior_file: str | Path | None = None
) -> torch.Tensor:
    """Gaussian mixture prior on patches (Zoran & Weiss 2011), by deepinv; `weight` is the variance of the noise.

    The mixture was trained by deepinv's authors and is not part of any package; `prior_file` is its state, by default
    where deepinv itself would keep it. Any file of a deepinv `EPLL` state with colour patches will do.
    """
    path = Path(prior_file or epll_prior())
    if not path.is_file():
        raise UserError(
            f"method 'epll' needs its patch prior: get {EPLL_FILE} of deepinv/EPLL on Hugging Face and save it as "
            f"{path}, or name your copy with prior_file=..."
        )
    deepinv = _deepinv()
    state = torch.load(path, map_location=blurred.device, weights_only=True)
    components, dimension = state["GMM.mu"].shape
    model = deepinv.optim.EPLL(
        n_components=components,
        pretrained=None,
        patch_size=math.isqrt(dimension // blurred.shape[1]),
        channels=blurred.shape[1],
        device=blurred.device,
    )
    model.load_state_dict(state)
    restored = [
        model(y[None], _physics(y[None], k[None]), sigma=math.sqrt(weight), x_init=y[None], batch_size=_EPLL_PATCHES)
        for y, k in zip(blurred, filters)
    ]
    return torch.cat(restored)


def epll_prior() -> Path:
    """Where `epll` looks for its patch prior unless told otherwise."""
    return Path(torch.hub.get_dir()) / "checkpoints" / EPLL_FILE


METHODS: dict[str, Callable[..., torch.Tensor]] = {
    "wiener": wiener,
    "richardson_lucy": richardson_lucy,
    "tv": tv,
    "krishnan_fergus": krishnan_fergus,
    "epll": epll,
}
EPLL_FILE = "GMM_BSDS_color2.pt"
_EPLL_PATCHES = 20_000  # at a time: the likelihoods of 200 components then fit a small memory


def _deepinv():
    try:
        import deepinv  # here, not above: it is optional, and takes seconds to load
    except ImportError:
        raise UserError("this method needs deepinv: pip install 'blurnb[deblurring]'") from None
    return deepinv


def _physics(blurred: torch.Tensor, filters: torch.Tensor):
    # One channel of image size: the transfer function is then shared by the colours instead of repeated.
    return _deepinv().physics.BlurFFT(img_size=(1, *blurred.shape[-2:]), filter=filters, device=blurred.device)


# -- weights

WEIGHTS: dict[str, dict[float, float]] = {
    "wiener": {EIGHT_BIT_SD: 4.1e-4, 0.01: 1.0e-2},
    "richardson_lucy": {EIGHT_BIT_SD: 200, 0.01: 60},
    "tv": {EIGHT_BIT_SD: 3.7e-5, 0.01: 7.0e-4},
    "krishnan_fergus": {EIGHT_BIT_SD: 1.3e-5, 0.01: 3.4e-4},
}
"""The default weights: method -> noise -> weight.

Best mean gain in PSNR over D4, D8, M21@30 and one shake24 on four photographs among the last 50 of the ImageNet
validation subset in sorted order (shorter side 512, the central 192 x 192), reflected blur, noise 0.01 or rounding to
8 bits alone; a parabola through the best three points of the grid (total variation at 8 bits: three photographs).
Richardson-Lucy was not tuned to its best: it still gained at 40 iterations (noise 0.01) and at 240 (8 bits), the most
that were tried, and every iteration costs as much as the first; 60 and 200 are a choice between gain and time.
Nothing may be judged on those 50 photographs.
"""


def default_weight(method: str, noise_sd: float) -> float:
    """The tuned weight of `method`; between and beyond the tuned levels, a line in log weight over log noise."""
    noise_sd = max(noise_sd, EIGHT_BIT_SD)
    if method == "epll":
        return noise_sd**2
    (low, weight_low), (high, weight_high) = sorted(WEIGHTS[method].items())
    share = math.log(noise_sd / low) / math.log(high / low)
    weight = weight_low * (weight_high / weight_low) ** share
    return max(1, round(weight)) if method == "richardson_lucy" else weight


class Tuning(NamedTuple):
    """What `tune` found: the best weight, and the mean PSNR in dB at every weight tried."""

    weight: float
    psnr: dict[float, float]


GRIDS: dict[str, tuple[float, ...]] = {
    "wiener": tuple(10 ** (-k / 2) for k in range(10, 2, -1)),
    "richardson_lucy": (5, 10, 20, 40, 80, 160),
    "tv": tuple(10 ** (-k / 2) for k in range(10, 3, -1)),
    "krishnan_fergus": tuple(10 ** (-k / 2) for k in range(12, 4, -1)),
    "epll": tuple(10 ** (-k / 2) for k in range(12, 5, -1)),
}


def tune(
    images: torch.Tensor,
    kernels: Sequence[np.ndarray],
    method: str,
    noise_sd: float = 0.0,
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    **options,
) -> Tuning:
    """The weight of `method` that restores held-out sharp images best, by mean PSNR over images and kernels.

    Args:
        images: sharp, (N, 3, H, W); never those on which the restorations will be judged.
        kernels: every image is blurred with every kernel (border reflected), then gets noise of `noise_sd`; at 0 it is
            rounded to 8 bits instead, the noise of a photograph that has none added.
        weights: to try; None: the grid of the method.
        seed: of the noise, which is the same for every weight.
        options: passed on to `deblur`.
    """
    weights = GRIDS[_known_name(method, METHODS, "method")] if weights is None else weights
    noise = torch.from_numpy(np.random.default_rng(seed).normal(0, noise_sd, images.shape).astype(np.float32))
    scores = dict.fromkeys(weights, 0.0)
    for kernel in kernels:
        blurred = blur(images, kernel)
        blurred = blurred + noise if noise_sd > 0 else (blurred * 255).round() / 255
        for weight in weights:
            restored = deblur(blurred, kernel, method, noise_sd, weight, **options)
            scores[weight] += psnr(restored, images).mean().item() / len(kernels)
    return Tuning(max(scores, key=scores.get), scores)


def psnr(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of every image against its reference, peak 1: (N, C, H, W) twice -> (N,)."""
    return -10 * torch.log10((images - reference).square().flatten(1).mean(1))


# -- borders


def transfer_function(filters: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """rfft2 of `filters` (N, 1, k, k) with their centres on pixel (0, 0): complex, (N, 1, H, W // 2 + 1)."""
    size = filters.shape[-1]
    placed = functional.pad(filters, (0, shape[1] - size, 0, shape[0] - size))
    return torch.fft.rfft2(placed.roll((-(size // 2), -(size // 2)), (-2, -1)))


def extend(images: torch.Tensor, filters: torch.Tensor, border: str) -> tuple[torch.Tensor, tuple[int, int]]:
    """Images made fit for periodic deconvolution, and where (row, column) the originals begin in them.

    "liu_jia" adds a rim as wide as the kernel and fills it smoothly from side to side (Liu & Jia 2008, deepinv's);
    "fill" goes on from there and makes the rim what the kernel itself would have put there, see `fill`; "taper" adds
    the same rim by reflection and fades it into its own periodic blur; "mirror" reflects the image whole, which is
    continuous, and exact for an image blurred with reflection by a symmetric kernel, but four times the pixels;
    "circular" adds nothing.
    """
    height, width = images.shape[-2:]
    if border == "circular":
        return images, (0, 0)
    if border == "mirror":
        images = torch.cat([images, images[..., 1 : width - 1].flip(-1)], -1)
        return torch.cat([images, images[..., 1 : height - 1, :].flip(-2)], -2), (0, 0)
    top, left = (_rim(side, filters.shape[-1]) for side in (height, width))
    if border == "taper":
        rows, columns = (_reflected(side, rim).to(images.device) for side, rim in ((height, top), (width, left)))
        return taper(images[..., rows, :][..., columns], filters), (top, left)
    extended = _deepinv().physics.functional.liu_jia_pad(images, padding=(top, left))
    return (fill(extended, filters, (top, left)) if border == "fill" else extended), (top, left)


def _rim(side: int, size: int) -> int:
    """Pixels to add on both sides of `side`: a kernel's size or a few more, to a length that is fast to transform."""
    total = scipy.fft.next_fast_len(side + 2 * size, real=True)
    while (total - side) % 2:
        total = scipy.fft.next_fast_len(total + 1, real=True)
    return (total - side) // 2


def _reflected(side: int, rim: int) -> torch.Tensor:
    """Indices that reflect 0..side-1 about its end pixels, as often as `rim` asks for."""
    period = max(1, 2 * (side - 1))
    position = torch.arange(-rim, side + rim) % period
    return torch.minimum(position, period - position)


def fill(
    images: torch.Tensor, filters: torch.Tensor, rim: tuple[int, int], weight: float = 1e-2, iterations: int = 10
) -> torch.Tensor:
    """The rim of extended `images` replaced by what some periodic sharp image, blurred, would show there.

    Outside the frame nothing was seen, so nothing should be asked: the sharp image z minimises the misfit inside the
    frame alone, ``sum_inside (k * z - y)^2 + weight sum |grad z|^2``, and k * z is the rim. Conjugate gradients,
    started and preconditioned with the Wiener filter of the images as they come, need two transforms an iteration.
    The idea is that of Reeves 2005, "Fast image restoration without boundary artifacts".
    """
    shape = images.shape[-2:]
    inside = torch.zeros(shape, device=images.device)
    inside[rim[0] : shape[0] - rim[0], rim[1] : shape[1] - rim[1]] = 1
    transfer = transfer_function(filters, shape)
    adjoint = transfer.conj()
    # The small constant keeps frequency 0 invertible.
    ridge = weight * hyper_laplacian.gradient_power(*shape, like=images) + 1e-9
    inverse = 1 / (transfer.abs().square() + ridge)

    def transform(pixels: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(pixels)

    def blurred(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(transfer * spectrum, s=shape)

    # Half a spectrum stands for the whole: every column but the first (and the last of an even width) counts twice.
    counts = torch.full(ridge.shape[-1:], 2.0, device=images.device)
    counts[0] = 1
    if shape[1] % 2 == 0:
        counts[-1] = 1

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((torch.view_as_real(a) * torch.view_as_real(b)).sum(-1) * counts).sum((-2, -1), keepdim=True)

    sharp = inverse * adjoint * transform(images)
    residual = adjoint * transform(inside * (images - blurred(sharp))) - ridge * sharp
    step = inverse * residual
    size = dot(residual, step)
    for _ in range(iterations):
        image = adjoint * transform(inside * blurred(step)) + ridge * step
        length = size / dot(step, image).clamp(min=1e-30)
        sharp = sharp + length * step
        residual = residual - length * image
        ready = inverse * residual
        size, before = dot(residual, ready), size
        step = ready + size / before.clamp(min=1e-30) * step
    return torch.where(inside > 0, images, blurred(sharp))


def taper(images: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Fade the rim of `images` into their periodic blur, so that opposite sides meet as blurred images would.

    The share of the blur falls from 1 at the border with the autocorrelation of the kernel's projections, as in
    MATLAB's ``edgetaper``.
    """
    transfer = transfer_function(filters, images.shape[-2:])
    blurred = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[-2:])
    shares = []
    for axis, side in ((-1, images.shape[-2]), (-2, images.shape[-1])):
        spectrum = torch.fft.rfft(filters.sum(axis), n=side - 1).abs().square()
        falling = torch.fft.irfft(spectrum, n=side - 1)
        falling = torch.cat([falling, falling[..., :1]], -1)
        shares.append(1 - falling / falling.amax(-1, keepdim=True))
    kept = shares[0][..., :, None] * shares[1][..., None, :]
    return kept * images + (1 - kept) * blurred


# -- checks


def _known_name(word: str, known: Iterable[str], name: str) -> str:
    if not isinstance(word, str) or word not in known:
        raise UserError(f"{name} {shown(word)} is unknown: choose from {', '.join(known)}{nearest(str(word), known)}")
    return word


def _checked_images(images: torch.Tensor) -> torch.Tensor:
    if not (isinstance(images, torch.Tensor) and images.is_floating_point()):
        raise UserError("images: give a floating-point torch tensor with pixels in [0, 1]")
    if images.ndim not in (3, 4) or images.shape[-3] != 3:
        raise UserError(f"images of shape {tuple(images.shape)}: give (N, 3, H, W) or (3, H, W)")
    if not torch.isfinite(images).all():
        raise UserError("images hold NaN or infinite pixels: mend or leave out those images")
    batch = images.detach().to(torch.float32)
    return batch if batch.ndim == 4 else batch[None]


def _checked_kernels(kernel, count: int, shape: tuple[int, int]) -> list[np.ndarray]:
    """One float32 kernel an image, without its outer rings of zeros."""
    listed = isinstance(kernel, (list, tuple))
    if listed and len(kernel) != count:
        raise UserError(f"{len(kernel)} kernels for {count} images: give one kernel, or one an image")
    kernels = [_checked_kernel(k, shape) for k in (kernel if listed else [kernel])]
    return kernels if listed else kernels * count


def _checked_kernel(kernel, shape: tuple[int, int]) -> np.ndarray:
    array = np.asarray(kernel)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] % 2 == 0 or array.dtype.kind != "f":
        raise UserError(f"kernel of shape {array.shape} and type {array.dtype}: give a square odd array of floats")
    if not np.isfinite(array).all() or array.min() < 0:
        raise UserError("kernel holds negative, NaN or infinite weights: a blur only has weights of 0 or more")
    if abs(array.sum(dtype=np.float64) - 1) > 1e-3:
        raise UserError(f"kernel sums to {array.sum(dtype=np.float64):.4g}: divide it by its sum, so that it sums to 1")
    half = len(array) // 2
    reach = int(np.abs(np.argwhere(array > 0) - half).max())
    array = array[half - reach : half + reach + 1, half - reach : half + reach + 1]
    if len(array) > min(shape):
        raise UserError(
            f"kernel of {len(array)} pixels is larger than the image of {shape[0]} x {shape[1]}: rescale the kernel"
        )
    return np.ascontiguousarray(array, dtype=np.float32)
