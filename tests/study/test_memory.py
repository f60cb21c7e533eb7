"""Memory: what glibc is told holds for the process, once, unless the user has told it otherwise."""

import ctypes
import resource
import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys
import numpy as np
from blurnb.study import memory
kept = memory.keep_freed() if sys.argv[1] == "keep" else None
for _ in range(3):
    blocks = [np.ones(800_000) for _ in range(10)]
    del blocks
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    blocks = [np.ones(800_000) for _ in range(10)]
    del blocks
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
memory.give_back()
print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
"""


def has_mallopt() -> bool:
    try:
        return hasattr(ctypes.CDLL("libc.so.6"), "mallopt")
    except OSError:
        return False


def faults(word: str, **environment) -> tuple[str, int, int]:
    """(what keep_freed said, page faults of 40 rounds of ten large blocks, resident bytes afterwards)"""
    base = {"PATH": "/usr/bin:/bin", "NUMPY_MADVISE_HUGEPAGE": "0", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ROUNDS, word], capture_output=True, text=True, check=True,
                          env=base | environment)  # fmt: skip
    kept, count, resident = done.stdout.split()
    return kept, int(count), int(resident)


@pytest.mark.skipif(not has_mallopt(), reason="NOT TESTED: this C library has no mallopt")
def test_freed_blocks_are_kept_and_given_back_when_asked():
    _, without, _ = faults("leave")
    kept, count, resident = faults("keep")
    assert kept == "True"
    assert count < without / 10
    assert resident < 400e6


@pytest.mark.skipif(not has_mallopt(), reason="NOT TESTED: this C library has no mallopt")
def test_what_the_user_told_glibc_stands():
    kept, _, _ = faults("keep", MALLOC_TRIM_THRESHOLD_=str(resource.getpagesize() * 32))
    assert kept == "False"
