"""How the C library keeps memory that a process gives back."""

from __future__ import annotations

import ctypes
import sys

# Names of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEPT_BYTES = 2_000_000_000


def keep_freed_memory() -> bool:
    """Let the process keep memory that it frees, for its next allocation.

    torch allocates each activation anew. glibc maps large blocks one by one and returns them at
    once, so that the kernel clears every page again: in virtual machines that can take more than
    half of the time of a network. At most 2 GB are kept. Not for the device: it computes in memory
    that is allocated once.

    Returns:
        Whether the C library knows how.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
