"""Engines: the ways to convolve a batch with its kernels, and the choice between them.

On a CPU, images in [0, 1] go through the compiled 16-bit loops (`loops`) with the cheapest plan for their kernel
(`plans`), or through a float32 FFT where the kernel has more taps than loops are good for.
Images on a GPU, values outside [0, 1] and tensors that want gradients go through torch.
"""

import contextlib
import functools
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy import fft
from torch.nn.functional import conv2d, pad

from blurnb.errors import demand_known
from blurnb.optics.plans import Plan, plan_for

VERSION = 1
BORDERS = ("reflect", "replicate", "circular")
ENGINES = ("auto", "torch")

_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def convolve(batch: torch.Tensor, kernels: Sequence[np.ndarray], border: str, engine: str) -> torch.Tensor:
    """(N, C, H, W) float `batch`, image i convolved with kernels[i]: a new float32 tensor.

    `engine` is auto or torch. The result of an image on a CPU does not depend on the others, nor on the number of
    threads; on a GPU it may, in the last bits.
    """
    demand_known(engine, ENGINES, "engine")
    batch = batch.float()
    wants_gradient = torch.is_grad_enabled() and batch.requires_grad
    if engine == "torch" or batch.device.type != "cpu" or wants_gradient:
        return _by_torch(batch, kernels, border)
    return _by_loops(batch.detach().contiguous(), kernels, border)


def _by_torch(batch: torch.Tensor, kernels: Sequence[np.ndarray], border: str) -> torch.Tensor:
    """The batch at once, on its own device, in one of `WAYS`."""
    if len(batch) == 0 or all(kernel.size == 1 for kernel in kernels):
        return batch.clone()
    half = max(max(kernel.shape) for kernel in kernels) // 2
    distinct = kernels[:1] if all(kernel is kernels[0] for kernel in kernels) else kernels
    squares = np.zeros((len(distinct), 1, 2 * half + 1, 2 * half + 1), dtype=np.float32)
    for square, kernel in zip(squares, distinct):
        top, left = half - kernel.shape[0] // 2, half - kernel.shape[1] // 2
        square[0, top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    way = way_for(2 * half + 1, batch.device.type)
    with exact():
        return WAYS[way](batch, torch.from_numpy(squares).to(batch.device), half, border)


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Float32 that is float32 on a GPU too, where cuDNN rounds it to ten bits, a fifth of an 8-bit level, if it may."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def way_for(side: int, device: str) -> str:
    """The quicker one of `WAYS` for kernels of this side, as measured (`benchmarks/gpu.py`)."""
    return "direct" if device != "cpu" and side <= 5 else "fourier"


def _direct(batch: torch.Tensor, squares: torch.Tensor, half: int, border: str) -> torch.Tensor:
    """One convolution, a group a plane, or a channel where all images share the kernel."""
    padded = pad(batch, (half, half, half, half), mode=border)
    weights = squares.flip(2, 3).repeat_interleave(batch.shape[1], dim=0)  # conv2d correlates
    planes = padded.reshape(-1, len(weights), *padded.shape[-2:])
    return conv2d(planes, weights, groups=len(weights)).reshape(batch.shape)


def _fourier(batch: torch.Tensor, squares: torch.Tensor, half: int, border: str) -> torch.Tensor:
    """One FFT of all planes."""
    sides = batch.shape[-2:]
    size = [fast_side(side + 2 * half) for side in sides]
    # up to the size that FFTs like with the border, too, where it reaches so far: a copy less
    more = [whole - side - half if whole - side - half < side else half for whole, side in zip(size, sides)]
    padded = pad(batch, (half, more[1], half, more[0]), mode=border)
    spectrum = torch.fft.rfft2(padded, s=size).mul_(torch.fft.rfft2(squares, s=size))
    whole = torch.fft.irfft2(spectrum, s=size)
    return whole[..., 2 * half : 2 * half + sides[0], 2 * half : 2 * half + sides[1]].contiguous()


WAYS = {"direct": _direct, "fourier": _fourier}
"""Ways of torch to blur a batch (N, C, H, W) with kernels (1 or N, 1, k, k), k = 2 half + 1, sum 1."""


def fast_side(least: int) -> int:
    """The smallest even number from `least` up without a prime factor above 5: a side that FFTs like."""
    return 2 * fft.next_fast_len(-(-least // 2), real=True)


Task = Callable[[], tuple[bool, range] | None]
"""Makes part of the result, and may say whether the images it saw were in [0, 1], and which these are."""


def _by_loops(batch: torch.Tensor, kernels: Sequence[np.ndarray], border: str) -> torch.Tensor:
    """Contiguous (N, C, H, W) float32 `batch` on the CPU, convolved by the plan of each kernel."""
    if batch.numel() and batch.shape[-1] < _NARROW:
        return _by_loops_widened(batch, kernels, border)
    result = _room(batch.shape)
    plans = [plan_for(kernel) for kernel in kernels]
    tasks: list[Task] = []
    # neighbours with one kernel have one plan, the same object, and share a call
    for _, same in itertools.groupby(range(len(plans)), lambda i: id(plans[i])):
        first, *others = same
        last, plan = first + len(others) + 1, plans[first]
        if plan.loop == "copy":
            result[first:last] = batch[first:last]
        elif plan.loop == "fourier":
            tasks.extend(
                functools.partial(_by_fourier, batch[i].numpy(), result[i].numpy(), kernels[i], border)
                for i in range(first, last)
            )
        else:
            tasks.extend(_tasks(batch, result, plan, border, first, last))
    strange = {i for outcome in _run(tasks) if outcome and not outcome[0] for i in outcome[1]}
    for i in sorted(strange):
        if not (batch[i] >= 0).all() or not (batch[i] <= 1).all():
            result[i] = _by_torch(batch[i : i + 1], kernels[i : i + 1], border)[0]
    return result


def _room(shape: Sequence[int]) -> torch.Tensor:
    """An empty float32 tensor from the start of a cache line on.

    NumPy asks for huge pages: a large result costs a third of what torch's page faults take.
    """
    room = np.empty(math.prod(shape) + 16, dtype=np.float32)
    start = -(room.ctypes.data // 4) % 16
    return torch.from_numpy(room[start : start + math.prod(shape)].reshape(shape))


def _by_loops_widened(batch: torch.Tensor, kernels: Sequence[np.ndarray], border: str) -> torch.Tensor:
    """For images narrower than the loops' step: with their borders beside them, and black up to its width."""
    width = batch.shape[-1]
    margin = max(max(kernel.shape) for kernel in kernels) // 2
    wide = pad(batch, (margin, margin, 0, 0), mode=border)
    wide = pad(wide, (0, max(0, _NARROW - wide.shape[-1])))
    return _by_loops(wide, kernels, border)[..., margin : margin + width].contiguous()


def _by_fourier(image: np.ndarray, out: np.ndarray, kernel: np.ndarray, border: str) -> None:
    """`image` (C, H, W) convolved with `kernel` into `out`.

    A two-dimensional FFT by hand: rows that only repeat others beyond the border, and those that are thrown away, are
    never transformed.
    """
    height, width = image.shape[-2:]
    half = max(kernel.shape) // 2
    rows, columns = fast_side(height + 2 * half), fast_side(width + 2 * half)
    spectra = fft.rfft(_extend(image, 2, half, columns, border))
    product = fft.fft(_extend(spectra, 1, half, rows, border), axis=1, overwrite_x=True)
    product *= _spectrum(kernel.tobytes(), kernel.shape, rows, columns)
    product = fft.ifft(product, axis=1, overwrite_x=True)[:, 2 * half : 2 * half + height]
    out[:] = fft.irfft(product, columns)[..., 2 * half : 2 * half + width]


def _extend(values: np.ndarray, axis: int, half: int, size: int, border: str) -> np.ndarray:
    """`values` with `half` more at both ends of `axis` as `border` says, then zeros up to `size`."""
    count = values.shape[axis]
    places = _extended(count, half, border)
    shape = list(values.shape)
    shape[axis] = size
    result = np.empty(shape, dtype=values.dtype)
    for start, stop, source in (
        (0, half, places[:half]),
        (half, half + count, slice(None)),
        (half + count, count + 2 * half, places[half + count :]),
    ):
        result[(slice(None),) * axis + (slice(start, stop),)] = values[(slice(None),) * axis + (source,)]
    result[(slice(None),) * axis + (slice(count + 2 * half, size),)] = 0
    return result


@functools.lru_cache(maxsize=16)
def _spectrum(data: bytes, shape: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    kernel = np.frombuffer(data, dtype=np.float32).reshape(shape)
    return fft.rfft2(kernel, s=(rows, columns))


def _tasks(batch: torch.Tensor, result: torch.Tensor, plan: Plan, border: str, first: int, last: int) -> Iterator[Task]:
    """Calls that each make a band of rows of the images first..last and say whether these were in [0, 1]."""
    from blurnb.optics import loops

    height, width = batch.shape[-2:]
    planes = batch[first:last].reshape(-1, height, width).numpy()
    out = result[first:last].view(-1, height, width).numpy()
    rows = _extended(height, plan.reach, border)
    columns = _extended(width, plan.half, border)
    loop = getattr(loops, plan.loop)
    total, image_rows = len(planes) * height, batch.shape[1] * height
    threads = torch.get_num_threads()
    bands = min(6 * threads if threads > 1 else 1, max(1, int(total * width * (plan.cost + 8) / _BAND_WORK)))
    unit = height if len(planes) >= bands else 1  # a band that ends inside a plane wants rows beyond its end
    edges = [total // unit * band // bands * unit for band in range(bands + 1)]
    for top, bottom in zip(edges[:-1], edges[1:]):
        images = range(first + top // image_rows, first + (bottom - 1) // image_rows + 1)
        yield functools.partial(_band, loop, images, planes, out, top, bottom, rows, columns, *plan.arguments)


def _band(loop: Callable, images: range, *arguments: object) -> tuple[bool, range]:
    return loop(*arguments), images


@functools.lru_cache(maxsize=64)
def _extended(size: int, margin: int, border: str) -> np.ndarray:
    """The index of the pixel that stands at each place from -margin to size + margin."""
    return np.pad(np.arange(size), margin, mode=_PAD_MODES[border])


_NARROW = 64  # `loops.STRIP`, without importing numba
_BAND_WORK = 1e7  # pixels times taps worth handing to another thread: a quarter of a millisecond
_POOLS: dict[int, ThreadPoolExecutor] = {}


def _run(tasks: Sequence[Task]) -> list:
    """The results of `tasks`, shared between this thread and as many more as torch is allowed."""
    waiting = deque(tasks)

    def drain() -> list:
        results = []
        while True:
            try:
                task = waiting.popleft()
            except IndexError:
                return results
            results.append(task())

    # Threads do not survive a fork (a DataLoader's workers), hence a pool for each process.
    threads = min(torch.get_num_threads(), len(waiting)) - 1
    if threads > 0 and os.getpid() not in _POOLS:
        _POOLS.clear()
        _POOLS[os.getpid()] = ThreadPoolExecutor(torch.get_num_threads(), "blur")
    helpers = [_POOLS[os.getpid()].submit(drain) for _ in range(threads)]
    results = drain()
    for helper in helpers:
        if not helper.cancel():
            results += helper.result()
    return results
