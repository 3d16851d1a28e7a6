"""Work that a stop waits for: no signal may end a run in the middle of it.

An encoder that is left between a frame and its packet loses the packet, and the film has a hole.
The handlers of a run (`runtime.cli.stopping`) ask here before they raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_depth = 0
_stopped = False


@contextmanager
def whole() -> Iterator[None]:
    """Let a stop that comes inside take effect at the end."""
    global _depth, _stopped
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        stopped, _stopped = _stopped and _depth == 0, _stopped and _depth > 0
        if stopped:
            raise KeyboardInterrupt


def stop_now() -> None:
    """End the run: at once, or behind the work that is being done.

    Raises:
        KeyboardInterrupt: At once.
    """
    global _stopped
    if _depth:
        _stopped = True
    else:
        raise KeyboardInterrupt
