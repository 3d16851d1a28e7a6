"""When a session of a run is to end: the schedule, a limit, a signal."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Literal

logger = logging.getLogger(__name__)

Reason = Literal["finished", "step limit", "time limit", "interrupted"]
REASONS: tuple[Reason, ...] = ("step limit", "time limit", "interrupted")


class Session:
    """Watches the clock and the signals; asks for an end, never takes one in the middle of a step.

    The first SIGINT or SIGTERM lets the step finish; a second SIGINT interrupts at once.
    """

    def __init__(
        self,
        *,
        limit_steps: int | None,
        max_minutes: float | None,
        save_minutes: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the limits of this session; None is no limit.

        Args:
            limit_steps: Most steps.
            max_minutes: Longest time.
            save_minutes: Longest time from one saved state to the next.
            clock: Gives seconds.
        """
        self._clock = clock
        self._save_s = 60 * save_minutes
        self._limit = limit_steps
        self._seconds = None if max_minutes is None else 60 * max_minutes
        self._begin = self._saved = clock()
        self._steps = 0
        self._signal: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Session:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number).name
        logger.warning("%s: finishing this step and saving", self._signal)

    def stepped(self) -> None:
        """Count a step."""
        self._steps += 1

    def saved(self) -> None:
        """Take that a state was saved."""
        self._saved = self._clock()

    @property
    def save_due(self) -> bool:
        """Whether the last saved state is old."""
        return self._clock() - self._saved >= self._save_s

    @property
    def wants(self) -> Reason | None:
        """Why this process would end now, or None."""
        if self._signal is not None:
            return "interrupted"
        if self._limit is not None and self._steps >= self._limit:
            return "step limit"
        if self._seconds is not None and self._clock() - self._begin >= self._seconds:
            return "time limit"
        return None
