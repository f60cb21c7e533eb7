"""RQ1: how blur affects the accuracy and the confidence of networks that were trained on sharp images."""

from __future__ import annotations

from typing import ClassVar, Literal

from blurnb.study import parameters, values


class Parameters(parameters.Evaluated):
    """Degradation: accuracy and confidence of sharp-trained networks against blur, and against its dose.

    `backend`: eager (torch), or openvino, which is several times as fast on a CPU and is checked against it.
    """

    experiment: ClassVar[str] = "rq1"
    takes_one: ClassVar[str] = ""

    backend: Literal["eager", "openvino"] = "eager"
    dose_blurs: values.Blurs
    dose_scales: values.Scales
