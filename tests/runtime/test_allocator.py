"""Memory that a process frees stays with it where that is asked for."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Frees and allocates 32 MB some times; prints how many pages the kernel had to clear for it.
PROGRAM = """
import resource, sys
import numpy as np
from runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(8_000_000, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(8_000_000, np.float32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_pages_are_cleared_once() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") * 8 < faults("give back")
