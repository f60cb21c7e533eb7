"""Files of weights: found, held to their hashes, and read as plain tensors alone."""

import hashlib
import os
import re
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pooch
import safetensors.torch
import torch
import torchvision
from torch import nn
from tqdm import tqdm

from blurnb import files
from blurnb.errors import UserError

RAW = "https://raw.githubusercontent.com/"
COMPRESSED = "compressed_weights.txt"  # a SHA-256 and what belongs to it a line


class Packaged(NamedTuple):
    """A file of weights that an installed package carries: the package, a pattern of the file's name, its SHA-256."""

    package: str
    pattern: str
    sha256: str

    def files(self) -> list[Path]:
        """Where it is on this machine; empty without the package, which is found and never imported."""
        spec = find_spec(self.package)
        return [] if spec is None else sorted(Path(spec.origin).parent.rglob(self.pattern))


class Published(NamedTuple):
    """A file of weights in a public repository: SHA-256, its folder here, owner/name/commit/path there, licence.

    It is looked for in $BLURNB_DATA/weights/<folder>, then in the cache, whither it is downloaded.
    """

    sha256: str
    folder: str
    source: str
    licence: str

    def files(self) -> list[Path]:
        """Where it is on this machine."""
        roots = [Path(os.environ.get("BLURNB_DATA") or files.cache_folder()), files.cache_folder()]
        found = dict.fromkeys(root / "weights" / self.folder / self.source.rsplit("/", 1)[1] for root in roots)
        return [path for path in found if path.is_file()]

    def fetched(self) -> Path:
        """The file, held to its hash; downloaded where it is nowhere, its licence said once."""
        for path in self.files():
            check_digest(path, self.sha256)
            return path
        name, folder = self.source.rsplit("/", 1)[1], files.cache_folder() / "weights" / self.folder
        tqdm.write(f"fetching {name} of github.com/{self.source.rsplit('/', 1)[0]} (licence: {self.licence})")
        try:
            return Path(pooch.retrieve(RAW + self.source, f"sha256:{self.sha256}", name, folder, progressbar=False))
        except Exception as error:  # pooch lets every kind of network error through
            raise UserError(
                f"cannot get the compressed weights {name} ({type(error).__name__}); connect to the network once, or "
                f"put {RAW}{self.source} into {folder}"
            ) from error


def published() -> dict[str, Published]:
    """The published file of each network that has one."""
    lines = resources.files(__package__).joinpath(COMPRESSED).read_text().splitlines()
    rows = [line.split(maxsplit=4) for line in lines if not line.startswith("#")]
    return {network: Published(digest, *others) for digest, network, *others in rows}


def kept_by_torch() -> dict[Path, str]:
    """Every file that torch has downloaded here, with the hash that its name states."""
    stated = {file: re.search("-([0-9a-f]{8,64})$", file.stem) for file in sorted(_torch_cache().glob("*.pth"))}
    return {file: found[1] for file, found in stated.items() if found}


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def check_digest(file: Path, digest: str) -> None:
    """Raise UserError unless the SHA-256 of `file` begins with `digest`: a flipped bit in a weight raises nothing."""
    try:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read the weights {file}: {error.strerror}; install or fetch them again") from error
    if not found.startswith(digest):
        raise UserError(
            f"{file} does not match its SHA-256 ({digest[:12]}... expected, {found[:12]}... found); delete it and "
            "install or fetch it again"
        )


def from_torchvision(name: str) -> nn.Module:
    """A torchvision classifier with its ImageNet weights, through torchvision's own cache and hash check.

    Raises
    ------
    UserError
        There are none, the file does not match its hash, or it cannot be downloaded.
    """
    try:
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    except KeyError as error:
        raise UserError(f"torchvision has no IMAGENET1K_V1 weights of {name}; give a file, or weights none") from error
    kept = _torch_cache() / weights.url.rsplit("/", 1)[1]
    try:
        if kept.is_file():  # torchvision checks the hash in the name as it downloads, and never again
            check_digest(kept, kept.stem.rsplit("-", 1)[1])
        return torchvision.models.get_model(name, weights=weights)
    except UserError:
        raise
    except Exception as error:  # a damaged file in the cache can end anywhere in torch.load
        raise UserError(
            f"cannot get the ImageNet weights of {name} ({type(error).__name__}); connect to the network once, or put "
            f"a whole {kept.name} from {weights.url} into {kept.parent}"
        ) from error


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Read a checkpoint into the body of a `models.Network`; nothing in the file is ever executed.

    Parameters
    ----------
    network : models.Network
        Unchanged when the file is refused.
    path : str or Path
        .safetensors, or a .pt or .pth of plain tensors: the state of the network or of its body, wrapped for several
        processes or not, or a dict that holds it as ``state_dict``.

    Raises
    ------
    UserError
        The file is damaged, holds more than tensors, belongs to another architecture or has values that are not finite.
    """
    path = Path(path)
    state = _state(path)
    own = network.body.state_dict()
    state = {re.sub(r"^(module\.)?(body\.|module\.)?", "", name): value for name, value in state.items()}
    wrong = [n for n in own if n not in state or getattr(state[n], "shape", None) != own[n].shape]
    if wrong or set(state) - set(own):
        odd = wrong[0] if wrong else sorted(set(state) - set(own))[0]
        raise UserError(
            f"{path} is a checkpoint of another architecture than {network.name} with {network.class_count} classes "
            f"({len(wrong)} tensors missing or of another shape, first {odd}); name the network it was made with"
        )
    bad = [n for n, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise UserError(f"{path} holds values that are not finite ({bad[0]}); use an earlier checkpoint")
    network.body.load_state_dict(state)


def _state(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state) if isinstance(state, dict) else state
    except Exception as error:  # a damaged file can end anywhere in torch.load
        raise UserError(
            f"{path} is not a whole checkpoint of plain tensors ({type(error).__name__}); fetch or train it again"
        ) from error
    if not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        raise UserError(f"{path} holds no state dict; save network.state_dict()")
    return state
