"""Networks that are not ours: a TorchScript file, an exported program, or a function that builds one.

Loading any of these runs code that came with it (a TorchScript or exported file holds a program, a module is
imported): load only what you trust. Checkpoints of plain tensors, which `models.load` reads, execute nothing.
Whatever such code does wrong, when it is loaded or long after, ends at one gate in one line.
"""

import contextlib
import hashlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import torch
from torch import nn

from blurnb.errors import UserError, nearest, reason
from blurnb.recognition import contents, models
from blurnb.recognition.weights import FLOATS, oddity

VERSION = 2
EXPORTED = ".pt2"
PROBE_SIDE = 224
_imported: dict[str, dict[str, str]] = {}
TOLERANCE = 1e-3
"""By so much of an image's largest score its scores may differ when it is shown again, or beside others: the order of
sums in float32 makes a hundredth of that."""


@contextlib.contextmanager
def _gate(failed: str, way_out: str) -> Iterator[None]:
    """Others' code runs in here: what it raises becomes one line, what it changes for everybody is put back."""
    settings = ((os.getcwd, os.chdir), (torch.get_default_dtype, torch.set_default_dtype))
    settings += ((torch.get_default_device, torch.set_default_device),)
    before = [read() for read, _ in settings]
    try:
        yield
    except (KeyboardInterrupt, UserError):
        raise
    except BaseException as error:  # sys.exit(0) would otherwise be a success without an answer
        raise UserError(f"{failed} ({type(error).__name__}: {reason(error)}); {way_out}") from error
    finally:
        for was, (read, write) in zip(before, settings):
            if read() != was:
                write(was)


class Guest(nn.Module):
    """A network that is not ours: every call of it, at any time, goes through here.

    Parameters
    ----------
    source : str
        What the user called it.
    body : nn.Module
        (N, 3, H, W) to scores (N, classes), or (N, classes, h, w).
    """

    def __init__(self, source: str, body: nn.Module):
        super().__init__()
        self.source, self.class_count = source, 0
        self.probe = body.probe if isinstance(body, _Exported) else (PROBE_SIDE, PROBE_SIDE)
        self.body = body

    def train(self, mode: bool = True) -> Self:
        with _gate(f"{self.source} cannot be put into evaluation mode", "call super().__init__() in its class"):
            return super().train(mode)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shown = f"{len(images)} image{'s' * (len(images) > 1)} of {' x '.join(map(str, images.shape[-2:]))} pixels"
        way_out = "use another scale, or view center-crop (a network made for 224 pixels wants scale 256)"
        with _gate(f"{self.source} cannot answer {shown}", f"it must take (N, 3, H, W) float32; {way_out}"):
            scores = self.body(images)
            if wrong := _wrong(scores, images, self.class_count):
                raise UserError(
                    f"{self.source} answers {wrong} for {shown}; it must return scores (N, classes), "
                    + (f"{self.class_count:,} classes as at first" if self.class_count else "two classes or more")
                )
            # a copy, as its memory is its own; what is narrower is widened to the same numbers
            return scores.to(scores.dtype if scores.dtype == torch.float64 else torch.float32, copy=True)


def _wrong(scores: object, images: torch.Tensor, class_count: int) -> str:
    """What an answer to `images` is instead of scores; empty where it is scores."""
    if odd := oddity(scores, FLOATS, images.device):
        return odd
    shape = tuple(scores.shape)
    is_right = len(shape) in (2, 4) and shape[0] == len(images) and shape[1] == (class_count or max(2, shape[1]))
    return "" if is_right else str(shape)


class _Exported(nn.Module):
    """A program of torch.export as a module: always evaluating, and one image at a time where it was exported so."""

    def __init__(self, program: torch.export.ExportedProgram):
        super().__init__()
        self.program = program.module()
        names = program.graph_signature.user_inputs
        (shape,) = [node.meta["val"].shape for node in program.graph.nodes if node.name in names][:1] or [()]
        # torch.export fixes every size that was not declared dynamic, and a batch of one always.
        fixed = [size if isinstance(size, int) else 0 for size in shape]
        self.single = fixed[:1] == [1]
        self.probe = tuple(size or PROBE_SIDE for size in fixed[2:4])

    def train(self, mode: bool = True) -> Self:
        self.training = False  # an exported program cannot change its mode, and says so by an exception
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.single:
            return torch.cat([self.program(image[None]) for image in images])
        return self.program(images)


def load(
    source: str, weights: str = "none", class_count: int = 0, *, mean: str = "", std: str = "", sides=(), **given: str
) -> models.Network:
    """The network that `source` names, in evaluation mode.

    Parameters
    ----------
    source : str
        A name that `models.load` knows, the path of a TorchScript file or of a torch.export file (.pt2), or
        ``module:function``, called without arguments, returning an nn.Module. It must take (N, 3, H, W) and answer
        scores (N, classes) before the softmax.
    weights : str
        As in `models.load`, for a name.
    class_count : int
        Classes that the network must answer; 0 means any number.
    mean, std : str
        It is given ``(x - mean) / std`` of pixels in [0, 1]: one number or three with commas, by default ImageNet's,
        or "none" for a network that normalises its input itself.
    sides : iterable of int
        Shorter sides in pixels of the images that it will be asked: its `identity` tells how it answers each.
    given
        What else `models.load` takes, for a name; a network of one's own has no use for it.

    Returns
    -------
    models.Network
        Its attribute `identity` is a digest of everything that decides its answers: file or sources, weights, versions,
        and its answers at `sides`. A network of ours with its own normalisation has none, its weights say it all.

    Raises
    ------
    UserError
        In one line, for whatever is not so.
    """
    ours = source in models.names()
    is_its_own = bool(mean or std) or not ours
    if ours:
        network = models.load(source, weights, class_count or 1000, **given)
    else:
        name = Path(source).name if Path(source).is_file() else source
        network = models.Network(name, Guest(source, _body(source)), class_count)
    if is_its_own:
        network.mean, network.std = (_channels(name, text, network) for name, text in (("mean", mean), ("std", std)))
    network = network.eval()
    if not ours:
        network.class_count = network.body.class_count = _answered(network, source)
    if class_count and network.class_count != class_count:
        differ = f"{network.class_count:,} classes, the data has {class_count:,}"
        raise UserError(f"{source} answers {differ}; give the folders that it was trained on, or another network")
    if not ours:
        _check_steady(network, source)
    if is_its_own:
        network.identity = _identity(network, {} if ours else _program(source), sides)
    return network


def _body(source: str) -> nn.Module:
    path = Path(os.path.expanduser(source))  # which leaves the home of nobody as it is
    if path.is_file() and path.suffix == EXPORTED:
        way_out = "save it with torch.export.save, with one input (N, 3, H, W)"
        with _gate(f"{path} is not a file of torch.export", way_out):
            return _Exported(torch.export.load(str(path)))
    if path.is_file():
        way_out = "save it with torch.jit.save, or name the architecture as network and give the file as weights"
        with _gate(f"{path} is not a TorchScript file", way_out), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it says that torch.export is to be preferred
            return torch.jit.load(str(path), map_location="cpu")
    if ":" in source:
        return _built(*source.rsplit(":", 1))
    wrong = f"is no known name{nearest(source, models.names())}, no file and no module:function"
    raise UserError(f"network {source!r} {wrong}; see blurnb.recognition.models.names()")


def _built(module: str, function: str) -> nn.Module:
    here = str(Path.cwd())  # where a user's own module lies, as with python -m
    if here not in sys.path:
        sys.path.insert(0, here)
    way_out = "run where it lies, or put its folder on PYTHONPATH"
    with _gate(f"module {module!r} cannot be imported", way_out):
        imported = importlib.import_module(module)
        make = getattr(imported, function, None)
    if not callable(make):
        have = [name for name, value in vars(imported).items() if callable(value) and not name.startswith("_")]
        raise UserError(f"module {module!r} has no function {function!r}{nearest(function, have)}")
    way_out = "it is called without arguments and must return an nn.Module"
    with _gate(f"{module}:{function}() failed", way_out), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a random network is the same one next time
        body = make()
    if not isinstance(body, nn.Module):
        raise UserError(f"{module}:{function}() returned {type(body).__name__}, not an nn.Module")
    return body


def _channels(name: str, text: str, network: models.Network) -> torch.Tensor:
    """`mean` or `std` as (1, 3, 1, 1); without text the network's own."""
    if not text:
        return getattr(network, name)
    try:
        values = [float(part) for part in text.split(",")] if text != "none" else [0.0 if name == "mean" else 1.0]
    except ValueError:
        values = []
    if len(values) not in (1, 3) or not all(abs(v) < 1e6 for v in values) or (name == "std" and min(values) <= 0):
        raise UserError(f"{name} {text!r} is neither none nor one number or three with commas, such as 0.5,0.5,0.5")
    return torch.tensor(values * (3 if len(values) == 1 else 1)).view(1, 3, 1, 1)


def _answered(network: models.Network, source: str) -> int:
    """How many classes a custom network answers; UserError where it answers no scores."""
    with torch.inference_mode():
        scores = network(_images(network)[:1])
    if not torch.isfinite(scores).all():
        raise UserError(f"{source} answers scores that are not finite; check its weights and mean and std")
    if scores.min() >= 0 and abs(float(scores.sum()) - 1) < 1e-3:
        raise UserError(f"{source} answers probabilities; return the scores before the softmax, or their logarithm")
    return scores.shape[1]


def _images(network: models.Network) -> torch.Tensor:
    """Three images of different brightness, of the size that the network is asked at first."""
    noise = torch.rand(3, 3, *network.body.probe, generator=torch.Generator().manual_seed(0))
    return noise * torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1, 1)


@torch.inference_mode()
def _check_steady(network: models.Network, source: str) -> None:
    """Raise UserError for a network whose answer to an image depends on anything but the image."""
    images = _images(network)
    with _gate(f"the weights of {source} cannot be read", "its state_dict() must hold plain tensors"):
        before = models.fingerprint(network)
        together, again = network(images), network(images)
        alone = torch.cat([network(image[None]) for image in images])
        is_changed = models.fingerprint(network) != before
    centred = together - together.mean(1, keepdim=True)
    # beside scores that are large and alike, float32 itself has no more digits
    allowed = TOLERANCE * centred.abs().amax(1) + 1e-6 * together.abs().amax(1)
    way_out = "switch dropout and batch norm to evaluation in it (eval()), and keep nothing from call to call"
    for other, seen in ((again, "when it is asked twice"), (alone, "alone and among others")):
        apart = (other - together).abs().amax(1)
        if not (apart <= allowed).all():
            raise UserError(
                f"{source} answers an image differently {seen} (scores move by up to {float(apart.max()):.2g}, "
                f"{TOLERANCE:.1%} of the largest is allowed); {way_out}"
            )
    if is_changed:
        raise UserError(f"{source} changes its own weights when it is asked; {way_out}")


def _program(source: str) -> dict[str, str]:
    found = contents.of_program(source)
    if "file" not in found and _imported.setdefault(source, found) != found:  # its code here is the one of before
        raise UserError(f"the sources of {source} changed since they were imported; start again (restart the kernel)")
    return found


def _identity(network: models.Network, program: dict, sides) -> str:
    """Digest of the program, the weights, the normalisation and, roughly, the answers: what neither of them tells, such
    as a file that the program reads, shows in these."""
    own = getattr(network.body, "probe", ()) or (PROBE_SIDE, PROBE_SIDE)
    facts = [VERSION, program, models.fingerprint(network), network.mean.tolist(), network.std.tolist()]
    facts += [_told(network, size) for size in sorted({tuple(own), *((side, side) for side in sides)})]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _told(network: models.Network, size: tuple[int, int]) -> list:
    """The answer to a fixed image in few digits: a change moves them, another order of summation does not."""
    generator = torch.Generator().manual_seed(0)
    tint = torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1)  # colours that change places must show
    try:
        with torch.inference_mode():
            scores = network(torch.rand(1, 3, *size, generator=generator) * tint).double().flatten()
    except Exception:  # a size that it refuses, which is said when images of it are asked
        return [size, "refused"]
    along = scores @ torch.rand(len(scores), generator=generator, dtype=torch.float64)
    return [size, int(scores.argmax()), *(f"{float(part):.2e}" for part in (scores.mean(), scores.std(), along))]
