"""The chapters, each named like its notebook and found by its name: a module with `Parameters`, `run`, `examples`."""

import importlib
import pkgutil
from types import ModuleType

from blurnb.errors import UserError, nearest, shown


def names() -> dict[str, str]:
    """Module by short name: ``{"card": "card", "rq1": "rq1_degradation", ...}``."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {short(module): module for module in modules}


def short(stem: str) -> str:
    """The short name of a chapter, of its module or of a notebook: ``rq1_degradation`` -> ``rq1``."""
    return stem.split("_")[0]


def found(name: str) -> ModuleType:
    """The chapter that a short name, a module's name or a notebook's stem means.

    Raises
    ------
    UserError
        Where there is none.
    """
    known = names()
    if short(name) not in known:
        raise UserError(f"chapter {shown(name)} is unknown{nearest(name[:80], known)}; known: {', '.join(known)}")
    return importlib.import_module(f"{__name__}.{known[short(name)]}")
