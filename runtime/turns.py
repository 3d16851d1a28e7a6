"""Turns at one engine that several streams share.

First come, first served, one waiting stream at most once: where all want more than the engine can
do, each gets the same number of turns, one after the other. A stream that is slow to prepare its
clip holds up nobody, since it does not ask before the clip is there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType


class Turns:
    """The queue in front of an engine; a context manager is one turn."""

    def __init__(self) -> None:
        """Begin with a free engine."""
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._since: float | None = None

    @property
    def held_s(self) -> float:
        """Return how long the present turn has lasted, seconds; 0 where the engine is free."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def waiting(self) -> int:
        """Return how many streams wait."""
        return len(self._waiting)

    def __enter__(self) -> Turns:
        """Wait for a turn."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._since is None and self._waiting[0] is ticket)
            finally:
                self._waiting.remove(ticket)
            self._since = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next one have the engine."""
        with self._changed:
            self._since = None
            self._changed.notify_all()
