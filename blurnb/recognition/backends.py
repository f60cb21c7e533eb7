"""Faster ways to compute a network's scores on a CPU, held to what torch itself answers."""

from __future__ import annotations

import os
import warnings
from importlib import metadata

import torch

from blurnb.errors import UserError
from blurnb.recognition import models

BACKENDS = ("eager", "openvino")


class Compiled:
    """A network whose scores OpenVINO computes, for images of any size; called as the network itself is.

    `precision` is float32, or bf16 where the processor has it. Raises UserError where the package is missing or cannot
    compile the network.
    """

    def __init__(self, network: models.Network, precision: str = "float32"):
        try:
            import openvino
        except ImportError as error:
            raise UserError("backend 'openvino' needs its package: pip install 'blurnb[openvino]'") from error
        if not isinstance(network, models.Network):
            raise UserError("backend 'openvino' takes one network, not one for each scale; use backend eager")
        self.name, self.class_count = network.name, network.class_count
        example = torch.rand(1, 3, 256, 256)
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # OpenVINO's own use of torch.jit
                traced = openvino.convert_model(
                    network.eval(), example_input=example, input=[openvino.PartialShape([-1, 3, -1, -1])]
                )
            kind = {"float32": "f32", "bf16": "bf16"}[precision]
            threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
            self.model = openvino.Core().compile_model(traced, "CPU", {"INFERENCE_PRECISION_HINT": kind, **threads})
        except Exception as error:  # a network that cannot be traced or compiled can end anywhere
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"OpenVINO cannot compile {network.name} ({reason[:160]}); use backend eager") from error

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) of images (N, 3, H, W) on the CPU."""
        return torch.from_numpy(self.model(images.contiguous().numpy())[0].copy())


def compiled(network: models.Network, backend: str, precision: str, device: str) -> models.Network | Compiled:
    """`network` as `backend` computes it."""
    if backend not in BACKENDS:
        raise UserError(f"backend {backend!r} is unknown; use {', '.join(BACKENDS)}")
    if backend == "eager":
        return network
    if device != "cpu":
        raise UserError(f"backend {backend!r} computes on the cpu, not on {device}; use backend eager")
    os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
    return Compiled(network, precision)


def version(backend: str) -> str:
    """What a backend is called where it decides numbers: its name and version."""
    try:
        return f"{backend} {metadata.version(backend)}"
    except metadata.PackageNotFoundError as error:
        raise UserError(f"backend {backend!r} needs its package: pip install 'blurnb[{backend}]'") from error
