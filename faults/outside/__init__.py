"""Found from outside: what an attacker would try, a module each, every one found by lying here.

A module has ``sections(brief, seed)``, which returns its parts by name; each is called with a Ledger, in a process of
its own, and shows in the book as what it counts in ``ledger.inputs`` or ``ledger.faults``. What goes wrong is counted
by `ledger.failed`, what cannot be tried here by `ledger.skip`; `faults.inputs.tried` and `faults.inputs.command` do
both for one call in a child of its own. All brief parts together take seconds.
"""

import importlib
import pkgutil
from collections.abc import Callable

from ..ledger import Ledger


def sections(brief: bool, seed: int) -> dict[str, Callable[[Ledger], None]]:
    """The parts of every module here, each named "outside ..."."""
    found: dict[str, Callable[[Ledger], None]] = {}
    for module in pkgutil.iter_modules(__path__):
        own = importlib.import_module(f"{__name__}.{module.name}").sections(brief, seed)
        found |= {f"outside {name}": part for name, part in own.items()}
    return found
