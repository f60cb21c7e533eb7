"""Faster ways to compute a network's scores on a CPU, held to what torch itself answers."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

import torch

from blurnb.errors import UserError, demand_known, reason
from blurnb.recognition import models

VERSION = 1
BACKENDS = ("eager", "openvino")
AGREEMENT = 0.95
"""Share of answers that a faster backend must give as torch in float32 does, on the first images, to be let on."""
CHECKED_IMAGES = 16


class Compiled:
    """A network whose scores OpenVINO computes, for images of any size; called as the network itself is.

    Parameters
    ----------
    network : models.Network
        What is compiled.
    precision : {"float32", "bf16"}
        bf16 where the processor has it.

    Raises
    ------
    UserError
        The package is missing or cannot compile the network.
    """

    def __init__(self, network: models.Network, precision: str = "float32"):
        try:
            import openvino
        except ImportError as error:
            raise UserError("backend 'openvino' needs its package: pip install 'blurnb[openvino]'") from error
        self.name, self.class_count = network.name, network.class_count
        example = torch.rand(1, 3, 256, 256)
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # OpenVINO's own use of torch.jit
                any_size = [openvino.PartialShape([-1, 3, -1, -1])]
                traced = openvino.convert_model(network.eval(), example_input=example, input=any_size)
            kind = {"float32": "f32", "bf16": "bf16"}[precision]
            threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
            self.model = openvino.Core().compile_model(traced, "CPU", {"INFERENCE_PRECISION_HINT": kind, **threads})
        except Exception as error:  # a network that cannot be traced or compiled can end anywhere
            raise UserError(f"OpenVINO cannot compile {network.name} ({reason(error)}); use backend eager") from error

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) of images (N, 3, H, W) on the CPU."""
        scores = torch.from_numpy(self.model(images.contiguous().numpy())[0].copy())
        if scores.shape != (len(images), self.class_count):  # traced at 256 pixels, it may not know what others take
            raise RuntimeError(f"OpenVINO gives scores of shape {tuple(scores.shape)}")
        return scores


def compiled(network: models.Network, backend: str, precision: str) -> models.Network | Compiled:
    """`network` as `backend` computes it on the CPU; only eager, which is the network itself, knows other devices.

    Parameters
    ----------
    network : models.Network
        In evaluation mode.
    backend : {"eager", "openvino"}
        "eager" is torch.
    precision : {"float32", "bf16"}
        What a backend computes in.

    Raises
    ------
    UserError
        An unknown backend, one that is not installed, or one that cannot do this.
    """
    if demand_known(backend, BACKENDS, "backend") == "eager":
        return network
    os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
    return Compiled(network, precision)


def version(backend: str) -> str:
    """What a backend is called where it decides numbers: its name and version."""
    try:
        return f"{backend} {metadata.version(backend)}"
    except metadata.PackageNotFoundError as error:
        raise UserError(f"backend {backend!r} needs its package: pip install 'blurnb[{backend}]'") from error


def compared(
    quick: Callable[[torch.Tensor], torch.Tensor],
    exact: Callable[[torch.Tensor], torch.Tensor],
    cases: Iterable[tuple[torch.Tensor, int]],
    interval: Callable[[int, int], tuple[float, float]],
) -> dict:
    """How a backend's answers agree with torch's own in float32.

    Parameters
    ----------
    quick, exact : callable
        An image (1, 3, H, W) as a network is shown it to class probabilities (1, classes): the backend, and torch.
    cases : iterable
        Images with the index of their class.
    interval : callable
        ``interval(right, count)`` gives the ends within which an accuracy may lie.

    Returns
    -------
    dict
        answers (how many), agreement (share with the same class first), top1 of the backend, top1_float32 and
        top1_float32_interval of torch, largest_difference of a probability.
    """
    answered = [(quick(image), exact(image), label) for image, label in cases]
    count, right = len(answered), sum(int(theirs.argmax() == label) for _, theirs, label in answered)
    largest = max((float((mine - theirs).abs().max()) for mine, theirs, _ in answered), default=0.0)
    return {
        "answers": count,
        "agreement": sum(int(mine.argmax() == theirs.argmax()) for mine, theirs, _ in answered) / max(count, 1),
        "top1": sum(int(mine.argmax() == label) for mine, _, label in answered) / max(count, 1),
        "top1_float32": right / max(count, 1),
        "top1_float32_interval": list(interval(right, count)) if count else [0.0, 1.0],
        "largest_difference": float(f"{largest:.6g}"),
    }


def demand_agreement(check: Mapping, backend: str, name: str) -> None:
    """Raise UserError where what `compared` found is too little to let a backend answer for the network `name`."""
    way_out = "use precision float32, or backend eager"
    if check["answers"] and check["agreement"] < AGREEMENT:
        share = f"{check['agreement']:.1%} of {check['answers']} cases, less than {AGREEMENT:.0%}"
        raise UserError(f"backend {backend!r} gives {name}'s own answer in {share}; {way_out}")
    low, high = check["top1_float32_interval"]
    if not low <= check["top1"] <= high:
        moved = f"from {check['top1_float32']:.1%} to {check['top1']:.1%} of {check['answers']} answers"
        raise UserError(
            f"backend {backend!r} moves the top-1 accuracy of {name} {moved}, out of its interval; {way_out}"
        )
