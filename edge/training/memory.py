"""Memory that a step frees is kept for the next one.

Activations are the same large blocks in each step. The C library gives blocks of that size back to
the system as soon as they are freed, and the system hands them out again page by page, each filled
with zeros first: on a CPU that is a sixth to a quarter of a step.
"""

from __future__ import annotations

import ctypes
import os

# Numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_MORE_AT_ONCE = 64 * 2**20
_OWN_CHOICE = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for the rest of this process.

    Whoever has set the library up by the environment, or loads another allocator, is left alone.

    Returns:
        Whether it was told; False where the library is not glibc.
    """
    if any(name.startswith(_OWN_CHOICE) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _MORE_AT_ONCE))
    return all([mallopt(name, value) == 1 for name, value in wanted])
