"""The names of blurs and scales, read here and nowhere else: `D8` is a disk of radius 8, `256+512` an average of two.

The unit of a blur label is a pixel of the *frame*, an image whose shorter side is 512: on a photograph whose shorter
side is s, the kernel is the one for an image s/512 as large (D8 on a 64-pixel image: radius 1).
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from blurnb.errors import UserError, nearest, shown

FRAME = 512  # shorter side, in pixels, of the frame in which labels count
GRIDS = (8, 16, 24)  # sides of the camera-shake grids in Chakrabarti 2016
SMALLEST_SIDE, LARGEST_SIDE = 32, 4096  # bounds of a scale, pixels


class Family(NamedTuple):
    """A kind of blur: how its labels are written and what their number means.

    `letter` and `parameter` (name, smallest, largest) belong to families whose labels hold a number (and an angle where
    `is_turned`), `words` to the others: label -> parameters. `kernel_sd` is the kernel's standard deviation for a
    strength of 1 (root mean square over both axes; NaN where every image draws its own kernel), `axis` the strength as
    a figure names it, `phrase` the blur in the middle of a sentence.
    """

    kernel_sd: float
    axis: str
    phrase: str
    letter: str = ""
    parameter: tuple[str, float, float] = ("", 0.0, 0.0)
    words: dict[str, dict[str, float]] = {}
    is_turned: bool = False

    @property
    def is_random(self) -> bool:
        """Whether every image gets a kernel of its own."""
        return math.isnan(self.kernel_sd)


# In the order of every table and figure. A blur as wide as the frame is a typing error.
FAMILIES = {
    "sharp": Family(0.0, "", "no blur", words={"sharp": {}}),
    "defocus": Family(0.5, "defocus radius", "defocus of radius {:g} pixels", "D", ("radius", 0.0, FRAME / 2)),
    "gaussian": Family(1.0, "Gaussian sigma", "a Gaussian of sigma {:g}", "G", ("sigma", 0.0, FRAME / 8)),
    "motion": Family(24**-0.5, "length of motion", "{:g} pixels moved", "M", ("length", 1.0, FRAME), is_turned=True),
    "shake": Family(
        math.nan, "grid of shake", "a hand-held trajectory",
        words={"shake": {}, **{f"shake{grid}": {"grid": grid} for grid in GRIDS}},
    ),
    "inertial": Family(math.nan, "inertial shake", "a hand-held trajectory", words={"inertial": {}}),
}  # fmt: skip
GRAMMAR = ", ".join(
    part
    for one in FAMILIES.values()
    for part in one.words or [f"{one.letter}<{one.parameter[0]}>{'@<angle>' if one.is_turned else ''}"]
)

_LETTERS = {family.letter: name for name, family in FAMILIES.items() if family.letter}
_TURNED = {family.letter for family in FAMILIES.values() if family.is_turned}
_WORDS = {word: (name, given) for name, family in FAMILIES.items() for word, given in family.words.items()}
_NUMBER = "(?:0|[1-9][0-9]*)(?:[.][0-9]+)?"
_PATTERN = re.compile(f"(?P<letter>[{''.join(_LETTERS)}])(?P<size>{_NUMBER})(?:@(?P<angle>-?{_NUMBER}))?")


@dataclass(frozen=True)
class Blur:
    """One blur: its canonical label, its family, and its parameters in frame pixels (and degrees).

    `family` is a key of FAMILIES. `parameters` is a tuple of pairs such as ``(("length", 21.0), ("angle", 30.0))``,
    so that a Blur can be hashed, compared and pickled.
    """

    label: str
    family: str
    parameters: tuple[tuple[str, float], ...] = ()

    @property
    def is_random(self) -> bool:
        """Whether every image gets a kernel of its own."""
        return FAMILIES[self.family].is_random

    @property
    def strength(self) -> float:
        """Radius, sigma, length or grid; 0 for sharp, NaN where the label states none."""
        if self.family == "sharp":
            return 0.0
        return float(self.parameters[0][1]) if self.parameters else math.nan

    @property
    def kernel_sd(self) -> float:
        """Standard deviation of the kernel in frame pixels, RMS over both axes; NaN for shake, whose kernels differ."""
        return FAMILIES[self.family].kernel_sd * self.strength


def parse(label: str) -> Blur:
    """The Blur that a label names.

    Strict: case counts, no blanks, sizes above 0 (motion from 1) and at most the frame. ``D8.0`` is ``D8``, and an
    angle is taken modulo 180, as a motion blur has no direction.

    Parameters
    ----------
    label
        sharp, D8, G4, M21@30, shake, shake8, shake16, shake24 or inertial.

    Raises
    ------
    UserError
        Names the label, the grammar and the nearest valid form.

    Examples
    --------
    >>> parse("M21@210")
    Blur(label='M21@30', family='motion', parameters=(('length', 21.0), ('angle', 30.0)))
    >>> parse("D8.0").label, parse("D8").strength, parse("D8").kernel_sd
    ('D8', 8.0, 4.0)
    """
    if not isinstance(label, str):
        raise UserError(f"blur label {shown(label)}: give text, one of {GRAMMAR}")
    if label in _WORDS:
        family, given = _WORDS[label]
        return Blur(label, family, tuple(given.items()))
    found = _PATTERN.fullmatch(label)
    if not found or (found["letter"] in _TURNED) != (found["angle"] is not None):
        raise UserError(f"blur label {shown(label)} is none of {GRAMMAR}{_suggestion(label[:40])}")
    family = _LETTERS[found["letter"]]
    name, smallest, largest = FAMILIES[family].parameter
    size = round(float(found["size"]), 6)
    if not (size > 0 and smallest <= size <= largest):
        least = "from 1" if smallest else "above 0"
        raise UserError(f"blur label {shown(label)}: {name} must be {least} and at most {largest:g} frame pixels")
    parameters = [(name, size)]
    canonical = found["letter"] + _text(size)
    if found["angle"] is not None:
        angle = round(float(found["angle"]), 6)
        if not abs(angle) < 1e6:  # a float of 400 digits is infinite, and infinity modulo 180 no number
            raise UserError(f"blur label {shown(label)}: angle must be a number of degrees below 1,000,000")
        angle = round(angle % 180.0, 6) % 180.0  # a remainder has digits beyond the sixth again
        parameters.append(("angle", angle))
        canonical += "@" + _text(angle)
    return Blur(canonical, family, tuple(parameters))


def _text(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _suggestion(label: str) -> str:
    """``; did you mean D8?`` for a label that is nearly one, else examples."""
    numbers = [_text(float(number)) for number in re.findall("[0-9]+(?:[.][0-9]+)?", label)]
    letter = label.strip()[:1].upper()
    if letter in _TURNED and numbers:
        return f"; did you mean {letter}{numbers[0]}@{numbers[1] if len(numbers) > 1 else 0}?"
    if letter in _LETTERS and numbers:
        return f"; did you mean {letter}{numbers[0]}?"
    examples = ["D8", "G4", "M21@30"]
    return nearest(label.strip().lower(), [*_WORDS, *examples]) or f"; for example {', '.join(examples)}"


def family(label: str) -> str:
    """The family of a blur label: ``D8`` -> ``defocus``."""
    return parse(label).family


SHARP_SHARE = 0.2
"""Share of sharp images in every named mix. The paper does not say it; here sharp counts as one family of five."""

_POOLS = {
    "defocus": ("D2", "D4", "D6", "D8"),
    "motion": tuple(f"M{length}@{angle}" for length in (9, 15, 21, 27, 33) for angle in range(0, 180, 15)),
    "shake": ("shake8", "shake16", "shake24"),
    "gaussian": ("G1", "G2", "G3", "G4"),
}


def _shared(names: Sequence[str], share: float) -> tuple[tuple[str, float], ...]:
    return tuple((name, share / len(names)) for name in names)


MIXES: dict[str, tuple[tuple[str, float], ...]] = {
    "sharp": (("sharp", 1.0),),
    **{family: (("sharp", SHARP_SHARE), *_shared(names, 1 - SHARP_SHARE)) for family, names in _POOLS.items()},
    "mix": (
        ("sharp", SHARP_SHARE),
        *(pair for names in _POOLS.values() for pair in _shared(names, (1 - SHARP_SHARE) / 4)),
    ),
}
"""Named mix -> ((label, probability), ...). One fifth sharp in each; within a family every label is as likely as
another; `mix` gives each of the four families a fifth. Motion: 9 to 33 pixels, angles 15 degrees apart."""


def learnt(trainings: Iterable[str]) -> set[str]:
    """The blur labels that trainings, as records name them, draw from: a test of another is one of what carries over.

    >>> [label in learnt(["sharp", "mix"]) for label in ("D6", "D7", "M21@30", "M18@40", "shake", "inertial")]
    [True, False, True, False, True, False]
    """
    parts = (part for training in trainings for part in training.split("+"))
    found = {label for part in parts for label, _ in MIXES.get(part, ((part, 1.0),))}
    return found | ({"shake"} if found.issuperset(f"shake{grid}" for grid in GRIDS) else set())


def renamed(label: str, frame: int, other: int = FRAME) -> str | None:
    """The label in a frame of `other` pixels of the blur that is `label` in one of `frame`, so that equal labels are
    equal blurs. None for shake, which is drawn on grids of given sizes.

    >>> renamed("D2", 128), renamed("M3@30", 256), renamed("shake", 128)
    ('D8', 'M6@30', None)
    """
    one = parse(label)
    if frame == other or one.family == "sharp":
        return one.label
    if one.is_random:
        return None
    angle = dict(one.parameters).get("angle")
    size = f"{FAMILIES[one.family].letter}{_text(one.strength * other / frame)}"
    return size if angle is None else f"{size}@{_text(angle)}"


def in_order(labels: Iterable[str]) -> list[str]:
    """Distinct blur labels in the order that every table and figure uses: by family, then by strength.

    >>> in_order(["shake", "D8", "sharp", "D2", "D8"])
    ['sharp', 'D2', 'D8', 'shake']
    """
    return sorted(dict.fromkeys(labels), key=_place)


def _place(label: str) -> tuple:
    one = parse(label)
    return list(FAMILIES).index(one.family), -1.0 if math.isnan(one.strength) else one.strength, label


def trainings_in_order(trainings: Iterable[str]) -> list[str]:
    """Distinct trainings: sharp, mix, whole families, single blurs, then whatever else."""
    first = ["sharp", "mix", *list(FAMILIES)[1:]]

    def place(training: str) -> tuple:
        if training in first:
            return 0, first.index(training)
        try:
            return 1, *_place(training)
        except UserError:
            return 2, training

    return sorted(dict.fromkeys(trainings), key=place)


def sides(scale: str) -> tuple[int, ...]:
    """The sides, in pixels, that are averaged in a scale; raises UserError for what is no scale.

    >>> sides("256"), sides("256+512")
    ((256,), (256, 512))
    """
    texts = scale.split("+") if isinstance(scale, str) else [shown(scale)]
    parts = tuple(int(text) for text in texts if re.fullmatch("[0-9]{1,4}", text))
    parts = parts if len(parts) == len(texts) else ()
    if not parts or any(not SMALLEST_SIDE <= part <= LARGEST_SIDE for part in parts) or len(set(parts)) != len(parts):
        wrong = f"not a side between {SMALLEST_SIDE} and {LARGEST_SIDE} or a sum of them"
        raise UserError(f"scale {shown(scale)} is {wrong}; for example 256 or 256+512")
    return parts


def scales_in_order(scales: Iterable[str]) -> list[str]:
    """Distinct scales, single ones by size, then averages such as 256+512."""

    def place(scale: str) -> tuple:
        parts = scale.split("+")
        return len(parts), [int(part) if part.isdigit() else 0 for part in parts]

    return sorted(dict.fromkeys(scales), key=place)


def layers_in_order(layers: Iterable[str]) -> list[str]:
    """Layer names by their numbers (conv2_1 before conv10_1), convolutions before what follows them."""

    def place(layer: str) -> tuple:
        head = re.match(r"[a-z]*", layer.lower()).group()
        rank = 0 if head in ("conv", "stem", "features") else 2 if head in ("fc", "classifier", "head") else 1
        # A tag keeps numbers and words comparable where names differ in shape.
        return rank, [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", layer) if p]

    return sorted(dict.fromkeys(layers), key=place)
