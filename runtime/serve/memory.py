"""Keep a process of many short threads small: glibc's allocator, asked for what suits days.

A camera that is opened again brings new threads of grabber and decoder. By default glibc gives
threads arenas of their own, eight for each core, and each keeps its largest size: in a soak with a
camera lost each minute that was 10 MB for each of them, one after the other. Other C libraries do
as they like.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
ARENAS = 2
# Blocks from this size on, such as a clip, are given back when they are freed. Frames are smaller:
# the kernel would clear their pages anew each time.
MMAP_FROM = 4 << 20


@functools.cache
def _libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None


def tame() -> bool:
    """Limit arenas, before threads are started; False where the C library has no such call."""
    if not hasattr(_libc(), "mallopt"):
        return False
    calls = ((_M_ARENA_MAX, ARENAS), (_M_MMAP_THRESHOLD, MMAP_FROM))
    return all([_libc().mallopt(*call) == 1 for call in calls])


def give_back() -> None:
    """Give free pages back to the kernel: after a camera was lost, with all that it held."""
    if hasattr(_libc(), "malloc_trim"):
        _libc().malloc_trim(0)
