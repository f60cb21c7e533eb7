"""What happens to an image before a network sees it: blur, noise, rounding, restoration; each a column."""

import functools
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Self

import numpy as np
import torch
from tqdm import tqdm

from blurnb import labels, provenance
from blurnb.optics import blurring, borders, deblurring, engines, hyper_laplacian, kernels, loops, plans, resampling
from blurnb.study import stores
from blurnb.study.protocol import Protocol

VERSION = 1
ROUNDINGS = ("none", "8-bit blur", "8-bit")
"""Of the blurred image, as saved files are; with "8-bit" the resized one is rounded too."""
TRUE, ANOTHER_DRAW = "true", "another draw"
"""Kernels that a restorer is given: that of the blur, or for shake the one of another picture."""

Weights = Mapping[tuple[str, float], float]  # (method, standard deviation of the noise) -> weight of the prior


class Treatment(NamedTuple):
    """How an image comes to the network: blurred, captured with noise and rounding, restored with a kernel.

    `kernel` is "none" where nothing is restored, "true", "another draw", or the label of a wrong one.
    """

    blur: str
    noise_sd: float = 0.0
    rounding: str = "none"
    method: str = "none"
    kernel: str = "none"

    @property
    def captured(self) -> Self:
        """The same image, as the camera stores it."""
        return self._replace(method="none", kernel="none")


class Condition(NamedTuple):
    """What a network is asked: images under a treatment, at a scale, by the network of a training."""

    treatment: Treatment
    scale: str
    training: str = "sharp"

    def columns(self) -> dict:
        """The facts of the condition as columns of the records."""
        return {**self.treatment._asdict(), "scale": self.scale, "training": self.training}

    @property
    def sharp(self) -> Self:
        """The same condition without blur and restoration."""
        return self._replace(treatment=self.treatment.captured._replace(blur="sharp"))


def conditions(
    blurs: Sequence[str], scales: Sequence[str], training: str = "sharp", rounding: str = "none"
) -> list[Condition]:
    """Every blur at every scale, each once: "D8.0" is D8."""
    distinct = dict.fromkeys(labels.parse(blur).label for blur in blurs)
    return [Condition(Treatment(blur, rounding=rounding), scale, training) for scale in scales for blur in distinct]


def versions(treatments: Sequence[Treatment], *others: ModuleType) -> dict[str, int]:
    """The versions of the modules that compute `treatments`, and of what shows them to a network: `others`."""
    used = [sys.modules[__name__], blurring, kernels, engines, plans, loops, resampling, *others]
    if any(one.method != "none" for one in treatments):
        used += [deblurring, borders, hyper_laplacian]
    return provenance.versions(*used)


def shown(
    images: torch.Tensor, treatments: Sequence[Treatment], ids: Sequence[str], protocol: Protocol, weights: Weights
) -> torch.Tensor:
    """Images (N, 3, H, W) under each treatment: (len(treatments) * N, 3, H, W), treatment by treatment.

    An image is captured once for neighbours that differ only in how they restore it.
    """
    found, seen, before = [], images, None
    for one in treatments:
        if one.captured != before:
            seen, before = captured(images, one, ids, protocol), one.captured
        found.append(restored(seen, one, ids, protocol, weights))
    return torch.cat(found)


def captured(images: torch.Tensor, one: Treatment, ids: Sequence[str], protocol: Protocol) -> torch.Tensor:
    """Images (N, 3, H, W) blurred, then given noise and rounding; in [0, 1], as a camera would store them."""
    blurred = blurring.blur(
        images, one.blur, frame=protocol.frame, border=protocol.border, seed=protocol.seed, image_ids=ids
    )
    if one.noise_sd:
        name = f"{one.blur}, noise {one.noise_sd:g}"
        draws = [blurring.generator_for(protocol.seed, identity, name) for identity in ids]
        noise = np.stack([draw.normal(0, one.noise_sd, blurred.shape[1:]).astype(np.float32) for draw in draws])
        blurred = (blurred + torch.from_numpy(noise).to(blurred.device)).clamp_(0, 1)
    return blurred if one.rounding == "none" else resampling.rounded(blurred)


def restored(
    images: torch.Tensor, one: Treatment, ids: Sequence[str], protocol: Protocol, weights: Weights
) -> torch.Tensor:
    """Captured images (N, 3, H, W) as the method of `one` restores them; as they are where it names none."""
    if one.method == "none":
        return images
    factor = min(images.shape[-2:]) / protocol.frame
    label, drawn = one.blur if one.kernel in (TRUE, ANOTHER_DRAW) else one.kernel, ids
    if one.kernel == ANOTHER_DRAW:
        drawn = [f"{identity}, another" for identity in ids]
    given = [blurring.kernel_for(label, factor, protocol.seed, identity) for identity in drawn]
    return deblurring.deblur(images, given, one.method, one.noise_sd, weights[one.method, one.noise_sd])


def at_side(images: torch.Tensor, side: int, is_rounded: torch.Tensor, resample: str) -> torch.Tensor:
    """Images (M, 3, H, W) at one side, rounded again where `is_rounded` (M,)."""
    images = resampling.resized(images, side, resample)
    if is_rounded.any():
        images = torch.where(is_rounded[:, None, None, None].to(images.device), resampling.rounded(images), images)
    return images


def wrong_kernels(blur: str) -> list[str]:
    """Kernels that one could mistake for that of `blur`: a radius off by 1 and 2 frame pixels, an angle off by 15
    degrees, the shake of another picture; none for the other families."""
    one = labels.parse(blur)
    given = dict(one.parameters)
    if one.family == "defocus":
        radii = [given["radius"] + error for error in (-2, -1, 1, 2)]
        return [labels.parse(f"D{radius:g}").label for radius in radii if radius > 0]
    if one.family == "motion":
        return [labels.parse(f"M{given['length']:g}@{given['angle'] + 15:g}").label]
    return [ANOTHER_DRAW] if one.is_random else []


def tuned_weights(
    methods: Sequence[str], noises: Sequence[float], images, protocol: Protocol, blurs: Sequence[str], store: str | Path
) -> Weights:
    """Weights tuned by PSNR on a data set of small images, whose statistics differ from photographs': once for a store.

    The images are loaded only where something is missing.
    """
    blurs = [blur for blur in blurs if blur != "sharp"]
    facts = {"tuning": versions([Treatment("sharp", method="any")]), "data": images.fingerprint, "blurs": blurs}
    facts |= {"frame": protocol.frame, "seed": protocol.seed}
    pixels = functools.cache(lambda: torch.stack([images.load(i) for i in range(len(images))]))

    def tune(method: str, noise: float) -> list:
        factor = min(pixels().shape[-2:]) / protocol.frame
        given = [blurring.kernel_for(blur, factor, protocol.seed, "tuning") for blur in blurs]
        found = deblurring.tune(pixels(), given, method, noise, seed=protocol.seed)
        return [found.weight, sorted(found.psnr.items())]

    weights = {}
    keys = [(method, noise) for method in methods for noise in noises]
    for method, noise in tqdm(keys, desc=f"tuning on {images.name}", unit="weight", leave=False, mininterval=1):
        own = facts | {"method": method, "noise_sd": noise, "grid": deblurring.GRIDS[method]}
        weights[method, noise] = stores.once(store, "weights of methods", own, partial(tune, method, noise))[0]
    return weights
