"""Work that a stop waits for: no signal may end a run in the middle of it.

An encoder that is left between a frame and its packet loses the packet, and the film has a hole.
The handlers of a run (`runtime.cli.stopping`) ask here before they raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_depth = 0
_pending = False


@contextmanager
def deferred() -> Iterator[None]:
    """Let a stop that comes inside take effect at the end.

    Raises:
        KeyboardInterrupt: At the end, if a stop came.
    """
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _pending and not _depth:
            _pending = False
            raise KeyboardInterrupt


def interrupt() -> None:
    """End the run: at once, or behind the work that is being done.

    Raises:
        KeyboardInterrupt: At once.
    """
    global _pending
    if _depth:
        _pending = True
    else:
        raise KeyboardInterrupt
