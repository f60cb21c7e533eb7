"""Networks that are not ours: a TorchScript file, an exported program, or a function that builds one.

Loading any of these runs code that came with it (a TorchScript or exported file holds a program, a module is
imported): load only what you trust. Checkpoints of plain tensors, which `models.load` reads, execute nothing.
"""

import hashlib
import importlib
import sys
import warnings
from pathlib import Path
from typing import Self

import torch
from torch import nn

from blurnb.errors import UserError, nearest
from blurnb.recognition import contents, models

VERSION = 2
EXPORTED = ".pt2"
PROBE_SIDE = 224
_imported: dict[str, dict[str, str]] = {}


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
        network = models.Network(name, _body(source), class_count)
    if is_its_own:
        network.mean, network.std = (_channels(name, text, network) for name, text in (("mean", mean), ("std", std)))
    network = network.eval()
    if not ours:
        network.class_count = _answered(network, source)
    if class_count and network.class_count != class_count:
        raise UserError(
            f"{source} answers {network.class_count:,} classes, the data has {class_count:,}; give the network that "
            "was trained on these folders, or the folders that it was trained on"
        )
    if is_its_own:
        network.identity = _identity(network, {} if ours else _program(source), sides)
    return network


def _body(source: str) -> nn.Module:
    path = Path(source).expanduser()
    if path.is_file():
        return _exported(path) if path.suffix == EXPORTED else _scripted(path)
    if ":" in source:
        return _built(*source.rsplit(":", 1))
    known = models.names()
    raise UserError(
        f"network {source!r} is no known name{nearest(source, known)}, no file and no module:function; "
        "see blurnb.recognition.models.names()"
    )


def _scripted(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it says that torch.export is to be preferred
            return torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # a file of any kind can end anywhere in the reader
        raise UserError(
            f"{path} is not a TorchScript file ({type(error).__name__}); save it with torch.jit.save, or name the "
            "architecture as network and give the file as weights"
        ) from error


def _exported(path: Path) -> nn.Module:
    try:
        program = torch.export.load(str(path))
    except Exception as error:
        raise UserError(
            f"{path} is not a file of torch.export ({type(error).__name__}); save it with torch.export.save"
        ) from error
    return _Exported(program)


def _built(module: str, function: str) -> nn.Module:
    here = str(Path.cwd())  # where a user's own module lies, as with python -m
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # whatever the module does when it is imported
        raise UserError(
            f"module {module!r} cannot be imported ({type(error).__name__}: {_first_line(error)}); run where it lies, "
            "or put its folder on PYTHONPATH"
        ) from error
    make = getattr(imported, function, None)
    if not callable(make):
        have = [name for name in vars(imported) if callable(getattr(imported, name)) and not name.startswith("_")]
        raise UserError(f"module {module!r} has no function {function!r}{nearest(function, have)}")
    try:
        with torch.random.fork_rng(devices=[]):  # a random network is the same one next time
            torch.manual_seed(0)
            body = make()
    except Exception as error:
        raise UserError(
            f"{module}:{function}() failed ({type(error).__name__}: {_first_line(error)}); it is called without "
            "arguments and must return an nn.Module"
        ) from error
    if not isinstance(body, nn.Module):
        raise UserError(f"{module}:{function}() returned {type(body).__name__}, not an nn.Module")
    return body


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:160]


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


def _probe(network: models.Network, source: str) -> torch.Tensor:
    """Scores for one fixed image; UserError where the network does not take or answer what it must."""
    sides = getattr(network.body, "probe", ()) or (PROBE_SIDE, PROBE_SIDE)
    image = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            scores = network(image)
    except Exception as error:
        raise UserError(
            f"{source} cannot answer an image of (1, 3, {sides[0]}, {sides[1]}) float32 "
            f"({type(error).__name__}: {_first_line(error)}); it must take (N, 3, H, W) and return (N, classes)"
        ) from error
    return scores


def _answered(network: models.Network, source: str) -> int:
    """How many classes a custom network answers."""
    scores = _probe(network, source)
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2 or scores.shape[0] != 1 or scores.shape[1] < 2:
        shown = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise UserError(f"{source} answers {shown} for one image; it must return scores (N, classes), two or more")
    if not torch.isfinite(scores).all():
        raise UserError(f"{source} answers scores that are not finite; check its weights and mean and std")
    if scores.min() >= 0 and abs(float(scores.sum()) - 1) < 1e-3:
        raise UserError(f"{source} answers probabilities; return the scores before the softmax, or their logarithm")
    return scores.shape[1]


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
