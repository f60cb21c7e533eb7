"""What decides an answer besides network, image and treatment; every field is a column of the records."""

from dataclasses import asdict, dataclass

from blurnb import labels
from blurnb.optics import resampling


@dataclass(frozen=True)
class Protocol:
    """How images are shown and answered.

    Parameters
    ----------
    frame
        Shorter side, in pixels, to which photographs are brought and in which blur is counted.
    border
        What lies beyond the image's edge when it is blurred: reflect, replicate or circular.
    resample
        How images are brought to another size: bicubic or bilinear, antialiased.
    view
        "dense" (the whole image, scores averaged over positions) or "center-crop" (the middle 7/8, square).
    flip
        Average the class probabilities with those of the mirror image.
    precision
        "float32" or "bf16" (autocast).
    seed
        What draws the images, their shake kernels and their noise.
    """

    frame: int = labels.FRAME
    border: str = "reflect"
    resample: str = resampling.RESAMPLE[0]
    view: str = "dense"
    flip: bool = False
    precision: str = "float32"
    seed: int = 0

    def columns(self) -> dict:
        """The fields as columns of the records."""
        return asdict(self)
