"""Memory of this process: what the C library keeps of what is freed, and when it gives that back."""

import contextlib
import ctypes
import functools
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # of glibc until 2.35


@functools.cache
def keep_freed() -> bool:
    """Let glibc keep freed memory for the next allocation; whether it does.

    It asks the system for every large block anew and returns it when it is freed, which the next one then pays for in
    page faults, at every layer of a network. Whoever has set one of glibc's own variables (MALLOC_TRIM_THRESHOLD_,
    MALLOC_MMAP_THRESHOLD_, GLIBC_TUNABLES) keeps what they chose; so `GLIBC_TUNABLES= python benchmarks/sweep.py`,
    beside the same without it, shows what this is worth.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    large = any(mallopt(_MMAP_THRESHOLD, size) for size in (1 << 30, _LARGEST_MMAP_THRESHOLD))
    return bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)) and large


def give_back() -> None:
    """Return freed memory to the system: photographs of many sizes leave the heap of glibc full of holes."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
