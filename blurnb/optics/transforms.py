"""RandomBlur: the paper's recipe, every training image sharp or blurred by a fresh draw, as one transform."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from blurnb.errors import UserError, nearest, shown
from blurnb.labels import FRAME, MIXES, Blur, parse
from blurnb.optics.blurring import blur, check_frame_and_border

VERSION = 1  # of `labels.MIXES` too
LARGEST_WEIGHT = 1e100  # of a label in a mix: the sum of a few must be a float


def parse_mix(mix: str | Sequence | Mapping[str, float]) -> tuple[tuple[Blur, float], ...]:
    """The blurs of `mix` with their probabilities, which sum to 1.

    Parameters
    ----------
    mix
        A name in MIXES; or a label, for that blur always; or a list of labels, equally likely; or {label: weight}, or
        a list of (label, weight). The names win over labels that look alike: ``"shake"`` is the mix, one fifth of it
        sharp, and ``["shake"]`` is always shaken.

    Raises
    ------
    UserError
        For an empty mix, a weight that is negative or not finite, weights that sum to 0, and a label that is none.
    """
    if isinstance(mix, str):
        pairs = MIXES.get(mix) or ((_label_or_name(mix), 1.0),)
    elif isinstance(mix, Mapping):
        pairs = tuple(mix.items())
    elif isinstance(mix, Sequence):
        pairs = tuple((one, 1.0) if isinstance(one, str | Blur) else one for one in mix)
    else:
        raise UserError(f"mix={shown(mix)}: give a name ({', '.join(MIXES)}), a label, a list, or {{label: weight}}")
    if not pairs:
        raise UserError(f"mix={shown(mix)} is empty: give at least one label, for instance 'sharp'")
    for pair in pairs:
        if not (isinstance(pair, Sequence) and len(pair) == 2):
            raise UserError(f"mix: {shown(pair)} is neither a label nor a pair (label, weight)")
        label, weight = pair
        if not (isinstance(weight, int | float) and 0 <= weight <= LARGEST_WEIGHT):
            named = label if isinstance(label, str) else shown(label)
            raise UserError(f"mix: the weight of {named[:80]} is {shown(weight)}; give a number from 0 up")
    total = sum(weight for _, weight in pairs)
    if not 0 < total < math.inf:
        raise UserError(f"mix: the weights sum to {shown(total)}; give at least one label a weight above 0")
    return tuple((one if isinstance(one, Blur) else parse(one), weight / total) for one, weight in pairs)


def draw_blur(pool: Sequence[tuple[Blur, float]], generator: np.random.Generator) -> Blur:
    """One Blur of `pool` (from `parse_mix`), by its probabilities; takes one number from `generator`."""
    number = generator.random()
    for one, probability in pool:
        number -= probability
        if number < 0:
            return one
    # Rounding may leave the probabilities short of 1 by 1e-16; what is never to be drawn stays so.
    return next(one for one, probability in reversed(pool) if probability > 0)


class RandomBlur(v2.Transform):
    """Leaves an image sharp, or blurs it with a blur drawn from `mix`: a fresh draw, and a fresh shake, each time.

    Takes what torchvision's v2 transforms take: a PIL image (RGB or L), a tensor or `tv_tensors.Image`
    (C, H, W), a batch (N, C, H, W) with a draw per image, or any nesting with labels, masks and boxes, which it
    leaves alone, as the kernels are centred. What comes in as uint8 goes out as uint8, rounded; floats in [0, 1]
    stay floats of their type. Rounding after blur changes predictions: put the conversion to float before this
    transform where it matters. The size of a blur is in pixels of the frame (`blurring`), so put RandomBlur before
    a crop if the crop is to be a part of the photograph, and after it if the crop is to be the photograph. A label
    that does nothing to images as small as these is said once, as a warning: give a smaller `frame`.

    All randomness comes from torch's generator, so DataLoader workers differ from one another, and the loader's
    seed repeats them.

    Parameters
    ----------
    mix
        See `parse_mix`.
    frame
        Shorter side of the frame in which labels count, pixels; None: the image's own pixels.
    border
        reflect | replicate | circular.

    Raises
    ------
    UserError
        For other modes, types and shapes, and for videos.

    Examples
    --------
    >>> RandomBlur(mix={"sharp": 1, "D8": 3})(torch.rand(3, 64, 64)).shape
    torch.Size([3, 64, 64])
    """

    def __init__(
        self, mix: str | Sequence | Mapping[str, float] = "mix", *, frame: float | None = FRAME, border: str = "reflect"
    ) -> None:
        super().__init__()
        check_frame_and_border(frame, border)
        self.mix, self.frame, self.border = mix, frame, border
        self._pool = parse_mix(mix)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        # One number from torch per call: several images of one sample get the same blur, as in all v2 transforms.
        return {"seed": int(torch.randint(2**63 - 1, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, PIL.Image.Image):
            if inpt.mode not in ("RGB", "L"):
                raise UserError(f"RandomBlur: a PIL image of mode {inpt.mode}; convert it with .convert('RGB')")
            return functional.to_pil_image(self._blurred(functional.pil_to_tensor(inpt), params["seed"]))
        if isinstance(inpt, tv_tensors.Video):
            raise UserError("RandomBlur: a video; pass its frames as a batch of tv_tensors.Image")
        if isinstance(inpt, tv_tensors.Image):
            plain = inpt.as_subclass(torch.Tensor)
            return tv_tensors.wrap(self._blurred(plain, params["seed"]), like=inpt)
        if isinstance(inpt, tv_tensors.TVTensor):
            return inpt
        return self._blurred(inpt, params["seed"])

    def _blurred(self, images: torch.Tensor, seed: int) -> torch.Tensor:
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise UserError(f"RandomBlur: images of {images.dtype}; give uint8, or floats in [0, 1]")
        if images.ndim not in (3, 4):
            shape = tuple(images.shape)
            raise UserError(f"RandomBlur: a tensor of shape {shape}; give (C, H, W) or (N, C, H, W)")
        count = len(images) if images.ndim == 4 else 1
        generator = np.random.default_rng(seed)
        drawn = [draw_blur(self._pool, generator) for _ in range(count)]
        if all(one.family == "sharp" for one in drawn):
            return images.clone()
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        result = blur(pixels, drawn, frame=self.frame, border=self.border, seed=seed)
        if images.dtype == torch.uint8:
            return result.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        return result.to(images.dtype)


def _label_or_name(word: str) -> str:
    """`word` if it is a label; otherwise the error speaks of mixes too."""
    try:
        return parse(word).label
    except UserError as error:
        known = nearest(word[:80], MIXES)
        raise UserError(f"mix={shown(word)} is no mix ({', '.join(MIXES)}){known} and {error}") from None
