"""What a step of training sees: an image, blurred, flipped and placed at random, with its label or with its map."""

import copy
from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from blurnb.labels import Blur, parse
from blurnb.optics import blurring, resampling
from blurnb.optics.transforms import draw_blur, parse_mix
from blurnb.recognition.datasets import Dataset
from blurnb.recognition.label_maps import VOID
from blurnb.study.recipes import Recipe, SegmentationRecipe

VERSION = 1
Pool = tuple[tuple[Blur, float], ...]
DECODED_BYTES = 1_500_000_000  # more than this is not held in memory, but decoded anew in every epoch


class Draws(torch.utils.data.Dataset):
    """One epoch of images (3, H, W) with their class indices; for a teacher, with what they were before the blur.

    What is drawn for image i depends on (seed, epoch, image id) alone.

    Parameters
    ----------
    images : the images to learn from.
    recipe : how they are blurred and placed.
    epoch : counted from 0.
    """

    def __init__(self, images: Dataset, recipe: Recipe, epoch: int = 0):
        self.images, self.recipe, self.epoch = images, recipe, epoch
        self.decoded: list[tuple] = []
        # weights by label have one content address whatever their order, so their order must not matter here
        pool = parse_mix(dict(sorted(recipe.mix.items())) if isinstance(recipe.mix, Mapping) else recipe.mix)
        self.pool = with_sharp(pool, recipe.sharp_share) if recipe.sharp_share else pool

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        recipe, identity = self.recipe, f"{self.images.ids[index]}#{self.epoch}"
        generator = blurring.generator_for(recipe.seed, identity, "training")
        blur = draw_blur(self.pool, generator)
        image, label = self.decoded[index] if self.decoded else self.load(index)
        image, label = self.framed(resampling.in_floats(image), label)
        seen = blurring.blur(
            image, blur, frame=recipe.frame, border=recipe.border, seed=recipe.seed, image_ids=[identity]
        )
        again = copy.deepcopy(generator)
        seen, label = self.placed(seen, label, generator)
        if recipe.targets == "labels":
            return seen, label
        return seen, seen if blur.family == "sharp" else self.placed(image, label, again)[0]

    def of(self, epoch: int) -> Self:
        """The same images as another epoch sees them; what is decoded is shared."""
        other = copy.copy(self)
        other.epoch = epoch
        return other

    def decode(self, device: str = "cpu") -> None:
        """Decode all images once, as 8-bit where nothing is lost by it; none where they would not fit in memory.

        Those that lie on a GPU are drawn there too.
        """
        each = sum(torch.as_tensor(one).numel() for one in self.load(0)) * (4 if self.images.native_side else 1)
        if self.decoded or len(self) * each > DECODED_BYTES:
            return
        title = f"reading {self.images.name}"
        for index in tqdm(range(len(self)), desc=title, unit="image", mininterval=1, leave=False):
            image, label = self.load(index)
            self.decoded.append((resampling.in_bytes(image).to(device), label))

    def load(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        """Image (3, H, W) in [0, 1] and its class index, or its map."""
        found = self.images.load(index)
        return (found, self.images.labels[index]) if self.images.labels else found

    def framed(self, image: torch.Tensor, label: int) -> tuple[torch.Tensor, int]:
        """The image as it is blurred, (1, 3, h, w): photographs in the frame, small ones as they are."""
        if self.images.native_side:
            return image[None], label
        return resampling.resized(image[None], self.recipe.frame, self.recipe.resample), label

    def placed(self, image: torch.Tensor, label: int, generator: np.random.Generator) -> tuple[torch.Tensor, int]:
        """A random view, (3, h, w): small images shifted by a few pixels over a reflected border, photographs cropped
        to 7/8."""
        recipe = self.recipe
        if recipe.scale:
            image = resampling.resized(image, recipe.scale, recipe.resample)
        (image,) = _turned(recipe, generator, image[0])
        if self.images.native_side:
            if not recipe.max_shift:
                return image, label
            size = image.shape[-2:]
            top, left = (int(v) for v in generator.integers(0, 2 * recipe.max_shift + 1, 2))
            image = F.pad(image[None], (recipe.max_shift,) * 4, mode="reflect")[0]
        else:
            size = (round(min(image.shape[-2:]) * 7 / 8),) * 2
            top, left = _corner(image, size, generator)
        return image[:, top : top + size[0], left : left + size[1]], label


class MapDraws(Draws):
    """One epoch of images (3, H, W) with their maps (H, W), both flipped and cut alike; the blur is the image's."""

    recipe: SegmentationRecipe

    def framed(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return at_scale(image, label, self.recipe.scale, self.recipe.resample)

    def placed(
        self, image: torch.Tensor, label: torch.Tensor, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A random part of a photograph, `scale` high and `crop_width` wide; small images whole.

        What the part has beyond a narrow image is its reflection, labelled as void.
        """
        recipe = self.recipe
        image, label = _turned(recipe, generator, image[0], label)
        if not recipe.scale:
            return image, label
        size = recipe.scale, recipe.crop_width or recipe.scale
        if lack := max(0, size[1] - image.shape[-1]):
            image = F.pad(image[None], (0, lack, 0, 0), mode="reflect")[0]
            label = F.pad(label, (0, lack), value=VOID)
        top, left = _corner(image, size, generator)
        part = (..., slice(top, top + size[0]), slice(left, left + size[1]))
        return image[part], label[part]


def with_sharp(pool: Pool, share: float) -> Pool:
    """`pool` with `share` of it sharp and its blurs in their proportions; as it is where it has no blur."""
    blurs = [(one, weight) for one, weight in pool if one.family != "sharp"]
    if not (total := sum(weight for _, weight in blurs)):
        return pool
    return ((parse("sharp"), share), *((one, weight / total * (1 - share)) for one, weight in blurs))


def at_scale(image: torch.Tensor, labels: torch.Tensor, scale: int, resample: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (3, H, W) and map (H, W) with a shorter side of `scale` (0: as they are); the image as a batch of one.

    A pixel of the map becomes that of the nearest centre, which is where the image's resampling puts it.
    """
    image = resampling.resized(image[None], scale, resample) if scale else image[None]
    if labels.shape != image.shape[-2:]:
        labels = F.interpolate(labels[None, None].float(), size=image.shape[-2:], mode="nearest-exact")[0, 0].byte()
    return image, labels


def _turned(recipe: Recipe, generator: np.random.Generator, *planes: torch.Tensor) -> list[torch.Tensor]:
    """`planes` (..., H, W) after one random symmetry, the same for all."""
    if generator.random() < 0.5:
        planes = [one.flip(-1) for one in planes]
    if recipe.augmentation == "square":
        turns = int(generator.integers(4))
        planes = [torch.rot90(one, turns, (-2, -1)) for one in planes]
    return list(planes)


def _corner(image: torch.Tensor, size: tuple[int, int], generator: np.random.Generator) -> list[int]:
    """[top, left] of a part of `size` anywhere in the image."""
    return [int(generator.integers(0, have - want + 1)) for have, want in zip(image.shape[-2:], size)]
