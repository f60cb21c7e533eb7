"""Non-blind deblurring: the kernel is known, the sharp image is not.

`deblur` is one door to five methods; `tune` finds the weight of their prior on held-out photographs. Wiener,
Richardson-Lucy, total variation and EPLL are deepinv's; the hyper-Laplacian solver of Krishnan & Fergus is ours.

All five see the image as periodic, which a photograph is not: images are extended first (`borders`), restored, and cut
back.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from blurnb.errors import UserError, demand_known, shown
from blurnb.optics import borders, hyper_laplacian
from blurnb.optics.blurring import blur, check_images, checked_kernel
from blurnb.optics.kernels import trimmed
from blurnb.optics.resampling import rounded

VERSION = 1

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

    Parameters
    ----------
    images
        (N, 3, H, W) or (3, H, W), floating point in [0, 1].
    kernel
        Square odd array that sums to 1, or a list with one kernel an image. A kernel of one pixel has nothing to undo:
        its image comes back as it is.
    method
        wiener | richardson_lucy | tv | krishnan_fergus | epll.
    noise_sd
        Standard deviation of the noise in the images. It chooses the default weight, and is read as at least
        `EIGHT_BIT_SD`.
    weight
        Of the prior against ``1/2 sum (k * x - y)^2``; more is smoother. Richardson-Lucy has no prior: there it is the
        number of iterations, and more is sharper. None: the tuned weight for method and noise.
    border
        How images are extended before they are taken as periodic, see `borders.extend`: fill | liu_jia | circular.
    options
        Of the method; see `tv`, `krishnan_fergus`, `epll`.

    Returns
    -------
    Tensor
        The shape of `images`, float32, clipped to [0, 1].

    Raises
    ------
    UserError
        For an image or kernel that is not what is asked for above, a kernel larger than the image, a negative noise,
        an unknown method, border or option, or deepinv absent.
    """
    check_images(images)
    if images.shape[-3] != 3:
        raise UserError(f"images of shape {tuple(images.shape)}: give (N, 3, H, W) or (3, H, W)")
    if not torch.isfinite(images).all():
        raise UserError("images hold NaN or infinite pixels: mend or leave out those images")
    batch = images.detach().float()
    batch = batch if batch.ndim == 4 else batch[None]
    kernels = _checked_kernels(kernel, len(batch), batch.shape[-2:])
    restore = METHODS[demand_known(method, METHODS, "method")]
    demand_known(border, borders.BORDERS, "border")
    if not (isinstance(noise_sd, (int, float, np.floating)) and 0 <= noise_sd <= 1):
        raise UserError(f"noise_sd={shown(noise_sd)}: give a standard deviation from 0 to 1, in pixel values of [0, 1]")
    noise_sd = max(float(noise_sd), EIGHT_BIT_SD)
    for option in options:
        demand_known(option, list(inspect.signature(restore).parameters)[3:], f"option of {method}")
    if weight is None:
        weight = default_weight(method, noise_sd)
    elif not (isinstance(weight, (int, float, np.floating)) and 0 < weight <= 1e12):
        raise UserError(f"weight={shown(weight)}: give a positive number, or None for the tuned weight")

    restored = batch.clone()
    for size in sorted({len(k) for k in kernels} - {1}):
        # Images whose kernels have one size share one extension; so a batch gives what its images give one by one.
        members = [index for index, k in enumerate(kernels) if len(k) == size]
        filters = torch.from_numpy(np.stack([kernels[index] for index in members]))[:, None].to(batch.device)
        extended, (top, left) = borders.extend(batch[members], filters, border)
        with torch.no_grad():
            result = restore(extended, filters, weight, **options)
        height, width = batch.shape[-2:]
        restored[members] = result[..., top : top + height, left : left + width].clamp(0, 1)
    return restored.reshape(images.shape)


# -- the methods: (extended images, filters (N, 1, k, k), weight) -> restored extended images, taken as periodic


def wiener(blurred: torch.Tensor, filters: torch.Tensor, weight: float) -> torch.Tensor:
    """``conj(K) Y / (|K|^2 + weight R)``, by deepinv.

    R is the ratio of noise to signal over frequency up to a constant: |F grad|^2, as the power of photographs falls
    with the square of the frequency.
    """
    ridge = hyper_laplacian.gradient_power(*blurred.shape[-2:], like=blurred)
    model = borders.load_deepinv().models.WienerDeconvolution(lambda_reg=weight * ridge[None, None])
    return model(blurred, _physics(blurred, filters))


def richardson_lucy(blurred: torch.Tensor, filters: torch.Tensor, weight: float) -> torch.Tensor:
    """`weight` multiplicative updates from the blurred image, by deepinv's MLEM."""
    if weight != round(weight):
        raise UserError(f"weight={weight!r}: for richardson_lucy the weight is a whole number of iterations")
    deepinv = borders.load_deepinv()
    # Zero is a fixed point of the multiplicative update, and noise can go below it.
    blurred = blurred.clamp(min=1e-4)
    model = deepinv.optim.MLEM(max_iter=int(weight), custom_init=lambda y, physics: y.clone())
    return model(blurred, _physics(blurred, filters))


def tv(blurred: torch.Tensor, filters: torch.Tensor, weight: float, iterations: int = 50) -> torch.Tensor:
    """Isotropic total variation, each channel by itself, by deepinv's Chambolle-Pock algorithm."""
    deepinv = borders.load_deepinv()
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
    blurred: torch.Tensor, filters: torch.Tensor, weight: float, betas: tuple[float, ...] = hyper_laplacian.BETAS
) -> torch.Tensor:
    """Hyper-Laplacian prior on gradients; `weight` is 1 / lambda of the paper. See `hyper_laplacian.restore`."""
    transfer = borders.transfer_function(filters, blurred.shape[-2:])
    return hyper_laplacian.restore(blurred, transfer, weight, betas)


def epll(
    blurred: torch.Tensor, filters: torch.Tensor, weight: float, prior_file: str | Path | None = None
) -> torch.Tensor:
    """Gaussian mixture prior on patches (Zoran & Weiss 2011), by deepinv; `weight` is the variance of the noise.

    The mixture was trained by deepinv's authors and is not part of any package; `prior_file` is its state, by default
    where deepinv itself would keep it. Any file of a deepinv `EPLL` state with colour patches will do.
    """
    path = Path(prior_file or epll_prior())
    if not path.is_file():
        get = f"save {EPLL_FILE} of deepinv/EPLL on Hugging Face as {path}"
        raise UserError(f"method 'epll' needs its patch prior: {get}, or name your copy with prior_file=...")
    deepinv = borders.load_deepinv()
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
    method.__name__: method for method in (wiener, richardson_lucy, tv, krishnan_fergus, epll)
}
EPLL_FILE = "GMM_BSDS_color2.pt"
_EPLL_PATCHES = 20_000  # at a time: the likelihoods of 200 components then fit a small memory


def _physics(blurred: torch.Tensor, filters: torch.Tensor):
    # One channel of image size: the transfer function is then shared by the colours instead of repeated.
    size = (1, *blurred.shape[-2:])
    return borders.load_deepinv().physics.BlurFFT(img_size=size, filter=filters, device=blurred.device)


WEIGHTS: dict[str, dict[float, float]] = {
    "wiener": {EIGHT_BIT_SD: 4.1e-4, 0.01: 1.0e-2},
    "richardson_lucy": {EIGHT_BIT_SD: 200, 0.01: 60},
    "tv": {EIGHT_BIT_SD: 3.7e-5, 0.01: 7.0e-4},
    "krishnan_fergus": {EIGHT_BIT_SD: 1.3e-5, 0.01: 3.4e-4},
}  # method -> noise -> weight; see `default_weight`


def default_weight(method: str, noise_sd: float) -> float:
    """The tuned weight of `method` for noise of `noise_sd`, in pixel values of [0, 1].

    Between and beyond the tuned levels (WEIGHTS), a line in log weight over log noise; for epll the variance.

    Notes
    -----
    Best mean gain in PSNR over D4, D8, M21@30 and one shake24 on four photographs among the last 50 of the ImageNet
    validation subset in sorted order (shorter side 512, the central 192 x 192), reflected blur, noise 0.01 or rounding
    to 8 bits alone; a parabola through the best three points of the grid (total variation at 8 bits: three
    photographs). Richardson-Lucy was not tuned to its best: it still gained at 40 iterations (noise 0.01) and at 240 (8
    bits), the most that were tried, and every iteration costs as much as the first; 60 and 200 are a choice between
    gain and time. Nothing may be judged on those 50 photographs.
    """
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


GRIDS: dict[str, tuple[float, ...]] = {  # the weights that `tune` tries
    "wiener": tuple(10 ** (-k / 2) for k in range(10, 2, -1)),
    "richardson_lucy": (5, 10, 20, 40, 80, 160),
    "tv": tuple(10 ** (-k / 2) for k in range(10, 3, -1)),
    "krishnan_fergus": tuple(10 ** (-k / 2) for k in range(12, 4, -1)),
    "epll": tuple(10 ** (-k / 2) for k in range(12, 5, -1)),
}


def tune(
    images: torch.Tensor, kernels: Sequence[np.ndarray], method: str, noise_sd: float = 0.0, *, seed: int = 0
) -> Tuning:
    """The weight of `method`, of those in GRIDS, that restores sharp images best: mean PSNR over images and kernels.

    Parameters
    ----------
    images
        Sharp, (N, 3, H, W); never those on which the restorations will be judged.
    kernels
        Every image is blurred with every kernel (border reflected), then gets noise of `noise_sd`; at 0 it is rounded
        to 8 bits instead, the noise of a photograph that has none added.
    method, noise_sd
        As in `deblur`.
    seed
        Of the noise, which is the same for every weight.
    """
    weights = GRIDS[demand_known(method, METHODS, "method")]
    noise = torch.from_numpy(np.random.default_rng(seed).normal(0, noise_sd, images.shape).astype(np.float32))
    scores = dict.fromkeys(weights, 0.0)
    for kernel in kernels:
        blurred = blur(images, kernel)
        blurred = blurred + noise if noise_sd > 0 else rounded(blurred)
        for weight in weights:
            restored = deblur(blurred, kernel, method, noise_sd, weight)
            scores[weight] += psnr(restored, images).mean().item() / len(kernels)
    return Tuning(max(scores, key=scores.get), scores)


def psnr(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of every image against its reference, peak 1: (N, C, H, W) twice -> (N,)."""
    return -10 * torch.log10((images - reference).square().flatten(1).mean(1))


def _checked_kernels(kernel, count: int, shape: tuple[int, int]) -> list[np.ndarray]:
    """One float32 kernel an image, without its outer rings of zeros."""
    listed = isinstance(kernel, (list, tuple))
    if listed and len(kernel) != count:
        raise UserError(f"{len(kernel)} kernels for {count} images: give one kernel, or one an image")
    found = []
    for one in kernel if listed else [kernel]:
        array = checked_kernel(np.asarray(one))
        if array.shape[0] != array.shape[1]:
            raise UserError(f"kernel of shape {array.shape}: give a square odd array")
        found.append(np.ascontiguousarray(trimmed(array)))
        if (side := len(found[-1])) > min(shape):
            raise UserError(f"kernel of {side} pixels is larger than the image, {shape[0]} x {shape[1]}: rescale it")
    return found if listed else found * count
