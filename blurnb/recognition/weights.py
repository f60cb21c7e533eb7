"""Files of weights: found, held to their hashes, and read as plain tensors alone."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Collection
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
import torchvision
from torch import nn
from tqdm import tqdm

from blurnb import files
from blurnb.errors import UserError
from blurnb.recognition import downloads

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WHOLES = (torch.uint8, torch.int16, torch.int32, torch.int64)
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
        otherwise = f"put {RAW}{self.source} into {folder}"
        return downloads.fetch([RAW + self.source], self.sha256, name, otherwise, folder)


def published() -> dict[str, Published]:
    """The published file of each network that has one."""
    lines = resources.files(__package__).joinpath(COMPRESSED).read_text().splitlines()
    rows = [line.split(maxsplit=4) for line in lines if not line.startswith("#")]
    return {network: Published(digest, *others) for digest, network, *others in rows}


def kept_by_torch() -> dict[Path, str]:
    """Every file that torch has downloaded here, with its hash: the recorded one, or the part that its name states."""
    return {file: digest for file in sorted(_torch_cache().glob("*.pth")) if (digest := _known(file))}


def _known(file: Path) -> str:
    """The SHA-256 that `file` had when it was first used, else the part that its name states; empty without both."""
    stated, recorded = re.search("-([0-9a-f]{8,64})$|$", file.stem)[1] or "", ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        recorded = Path(f"{file}.sha256").read_text()
    return recorded if re.fullmatch(f"(?=.{{64}}$){stated}[0-9a-f]*", recorded) else stated


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def check_digest(file: Path, digest: str) -> str:
    """The SHA-256 of `file`; UserError unless it begins with `digest`: a flipped bit in a weight raises nothing."""
    try:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read the weights {file}: {error.strerror}; install or fetch them again") from error
    if not found.startswith(digest):
        differ = f"{digest[:12]}... expected, {found[:12]}... found"
        raise UserError(f"{file} does not match its SHA-256 ({differ}); delete it and install or fetch it again")
    return found


def from_torchvision(name: str) -> nn.Module:
    """A torchvision classifier with its ImageNet weights, kept where torchvision keeps them.

    Its file's name states eight digits of its hash. The whole hash is recorded beside it when it is first used, and
    demanded ever after.

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
    record = Path(f"{kept}.sha256")
    try:
        if not kept.is_file():
            record.unlink(missing_ok=True)  # of the file that was there before
            _fetch(weights.url, kept)
        digest, state = check_digest(kept, _known(kept)), _state(kept)
        if digest != _known(kept):
            with contextlib.suppress(UserError):  # a folder that only its owner may write
                files.write_whole(record, digest)
        # torchvision's builders know what each network needs beside the numbers; they would read them with pickle
        weights.get_state_dict = lambda **_: state
        return torchvision.models.get_model(name, weights=weights)
    except UserError:
        raise
    except Exception as error:  # a damaged file in the cache can end anywhere in torch.load
        raise UserError(
            f"cannot get the ImageNet weights of {name} ({type(error).__name__}); connect to the network once, or put "
            f"a whole {kept.name} from {weights.url} into {kept.parent}"
        ) from error
    finally:
        vars(weights).pop("get_state_dict", None)


def _fetch(url: str, file: Path) -> None:
    """Download to a neighbour whose name nobody foresees, then into place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        new = Path(folder) / file.name
        downloads.stream(url, new)
        check_digest(new, _known(new))
        new.replace(file)


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
    own, state = network.body.state_dict(), {}
    for name, value in _state(path).items():
        name = re.sub(r"^(module\.)?(body\.|module\.)?", "", name)
        if name in state:
            raise UserError(f"{path} holds {name} twice, as it is and as module.{name}; save the state of one network")
        state[name] = value
    wrong = [n for n in own if n not in state] or sorted(set(state) - set(own))
    for name in () if wrong else own:
        if odd := oddity(state[name], FLOATS if own[name].is_floating_point() else WHOLES):
            way_out = "save the state_dict() of a network that is neither quantized nor compressed"
            raise UserError(f"{path} holds {name} as {odd}, not as {own[name].dtype} or the like; {way_out}")
    wrong = wrong or [n for n in own if state[n].shape != own[n].shape]
    if wrong:
        other = f"another architecture than {network.name} with {network.class_count} classes"
        found = f"{len(wrong)} tensors missing, too many or of another shape, first {wrong[0]}"
        raise UserError(f"{path} is a checkpoint of {other} ({found}); name the network it was made with")
    if bad := [n for n, v in state.items() if not torch.isfinite(v.to(own[n].dtype)).all()]:
        raise UserError(f"{path} holds values that are not finite ({bad[0]}); use an earlier checkpoint")
    network.body.load_state_dict(state)


def oddity(value: object, dtypes: Collection[torch.dtype], device: torch.device | str = "cpu") -> str:
    """What a value is in place of a dense tensor of one of `dtypes` on `device`; empty where it is one."""
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    is_dense = value.layout == torch.strided and not value.is_nested
    is_plain = is_dense and value.dtype in dtypes and value.device == torch.device(device)
    return "" if is_plain else f"{value.dtype}, {value.layout}, on {value.device}"


def _state(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state) if isinstance(state, dict) else state
    except Exception as error:  # a damaged file can end anywhere in torch.load
        wrong = f"not a whole checkpoint of plain tensors ({type(error).__name__})"
        raise UserError(f"{path} is {wrong}; fetch or train it again") from error
    if not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        raise UserError(f"{path} holds no state dict; save network.state_dict()")
    return state
