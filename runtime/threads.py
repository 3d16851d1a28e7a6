"""How many threads an engine should have where nobody says."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Return how many processors this process may use, by its affinity and control groups."""
    try:
        from runtime import _native
    except ImportError:  # an engine without the native module
        return len(os.sched_getaffinity(0))
    return _native.usable_processors()


def limited_processors() -> int:
    """Return the same where it is less than the machine has; else 0, the engine's own choice."""
    usable = usable_processors()
    return usable if usable < (os.cpu_count() or 1) else 0
