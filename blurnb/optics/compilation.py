"""Compiled functions, kept on disk under a digest of our own.

A bit that flips in kept machine code is a crash or a wrong number, and numba looks at nothing before it loads it.
"""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from numba import njit
from numba.core import caching


def compiled(function: Callable) -> Callable:
    """`function` compiled at its first call, outside the GIL, and kept on disk where a disk can be written."""
    made = njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # numba found no folder for its cache: compile once a process instead
        made._cache = _Cache(function)
    return made


class _Cache(caching.FunctionCache):
    def __init__(self, function: Callable):
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Sealed(self._cache_path, self._impl.filename_base, stamp)

    def save_overload(self, signature: object, data: object) -> None:
        with contextlib.suppress(OSError):  # no room, or no permission any more
            super().save_overload(signature, data)


class _Sealed(caching.IndexDataCacheFile):
    """A file for each signature, with a SHA-256 behind its pickle, which ends before it.

    numba's own index of them is left out: of two processes that write it at once, one gives the other's code its name.
    """

    def load(self, key: object) -> object:
        name = self._name(key)
        with contextlib.suppress(OSError):
            content = Path(self._data_path(name)).read_bytes()
            if hashlib.sha256(content[:-32]).digest() == content[-32:]:
                return self._load_data(name)
        return None

    def save(self, key: object, data: object) -> None:
        self._save_data(self._name(key), data)

    def _name(self, key: object) -> str:
        facts = repr((self._version, self._source_stamp, key))
        return self._data_name(int(hashlib.sha256(facts.encode()).hexdigest()[:12], 16))

    def _dump(self, data: object) -> bytes:
        content = super()._dump(data)
        return content + hashlib.sha256(content).digest()
