"""A sink with a bounded queue and a thread of its own, so that nobody waits for it."""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence

from runtime.errors import EdgeError, SinkError
from runtime.events.types import ActionEvent

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.5
# A batch that meets a fault of the program so often in a row would block those behind it for ever.
_MOST_FAULTS = 3


class GiveUp(Exception):  # noqa: N818  (a decision, not an error)
    """The batch will never be taken; it counts as dropped."""


class Later(SinkError):  # noqa: N818  (a decision, not an error)
    """Not now, and the receiver has said when."""

    def __init__(self, message: str, wait_s: float) -> None:
        """Take the message and the seconds to wait."""
        super().__init__(message)
        self.wait_s = wait_s


class QueueSink(ABC):
    """Base of the sinks: an `EventSink` whose subclass has to say how a batch is delivered.

    A batch that fails is tried again, after waits that double from 0.5 s to `longest_wait_s`, until
    it is acknowledged; events behind it wait in the queue. Only its overflow, `GiveUp` and the end
    of `close` drop events, and each is counted.

    Attributes:
        name: What it is.
        largest_batch: Events of one delivery.
        longest_wait_s: Longest wait between two attempts, seconds.
    """

    name = ""
    largest_batch = 256
    longest_wait_s = 5.0

    def __init__(self, limit: int) -> None:
        """Prepare; the subclass calls `_start` once it can deliver.

        Args:
            limit: Events that may wait, beside those of one delivery.
        """
        self._limit = limit
        self._waiting: deque[ActionEvent] = deque()
        self._batch: list[ActionEvent] = []
        self._changed = threading.Condition()
        self._woken = False
        self._deadline: float | None = None  # monotonic; set by close
        self._sent = self._dropped = 0
        self._error: str | None = None
        self._faults = 0
        self._thread = threading.Thread(target=self._run, name=f"events-{self.name}", daemon=True)

    def cameras(self, actions: Mapping[str, Sequence[str]]) -> None:  # noqa: B027  (a hook)
        """Learn the names of all cameras and of the actions that each may tell."""

    def camera_state(self, camera: str, *, online: bool) -> None:  # noqa: B027  (a hook)
        """Learn that a camera gives results, or no longer does."""

    def send(self, event: ActionEvent) -> None:
        """Queue an event and return; the oldest makes room and is counted."""
        with self._changed:
            if self._deadline is not None:
                self._dropped += 1
                return
            self._waiting.append(event)
            if len(self._waiting) > self._limit:
                self._waiting.popleft()
                self._dropped += 1
                if self._dropped == 1:
                    logger.warning("%s: the queue of %d events is full; the oldest are dropped",
                                   self.name, self._limit)  # fmt: skip
            self._changed.notify_all()

    def status(self) -> dict[str, object]:
        """Return what waits, what was acknowledged, what was dropped, and what is wrong."""
        with self._changed:
            return {
                "queued": len(self._waiting) + len(self._batch),
                "sent": self._sent,
                "dropped": self._dropped,
                "error": self._error,
            }

    def close(self, timeout_s: float) -> None:
        """Deliver what is queued for at most `timeout_s` seconds, then stop."""
        with self._changed:
            if self._deadline is not None:
                return
            self._deadline = time.monotonic() + timeout_s
            self._woken = True
            self._changed.notify_all()
        if self._thread.ident is None:
            self._release()
            return
        self._thread.join(timeout_s + 1.0)
        if self._thread.is_alive():
            logger.warning("%s: did not stop within %.0f s", self.name, timeout_s + 1.0)

    def _start(self) -> None:
        self._thread.start()

    def _wake(self) -> None:
        """Deliver now: there is news, or a reason to try again at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @abstractmethod
    def _deliver(self, batch: Sequence[ActionEvent]) -> None:
        """Deliver a batch; on return it is acknowledged. Called with the same list until then.

        Raises:
            EdgeError: Not now; it is tried again.
            GiveUp: Never.
        """

    def _idle(self) -> bool:
        """Tell whether there is nothing to deliver beside events."""
        return True

    def _settled(self) -> bool:
        """Tell whether `close` need not wait for anything beside events."""
        return True

    def _release(self) -> None:  # noqa: B027  (a hook)
        """Let go of files and connections; called once, behind the last delivery."""

    @property
    def _late(self) -> bool:
        """Tell whether `close` has no more time."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _run(self) -> None:
        wait_s = 0.0
        try:
            while self._take(wait_s):
                wait_s = self._attempt(wait_s)
        finally:
            with self._changed:
                left = len(self._waiting) + len(self._batch)
                self._dropped += left
                self._waiting.clear()
                self._batch = []
            if left:
                logger.warning("%s: closed with %d events not delivered", self.name, left)
            self._release()

    def _take(self, wait_s: float) -> bool:
        """Wait for something to deliver, or for `wait_s` before another attempt; False: stop."""
        with self._changed:
            if wait_s:
                if self._deadline is not None:  # closing: what is left of the time is used
                    left_s = max(0.0, self._deadline - time.monotonic())
                    wait_s = min(wait_s, FIRST_WAIT_S, left_s)
                # Boards that lost one broker together do not come back together.
                self._changed.wait_for(lambda: self._woken, wait_s * random.uniform(0.5, 1.0))
            else:
                self._changed.wait_for(
                    lambda: self._waiting or self._batch or not self._idle() or self._deadline
                )
            self._woken = False
            done = not (self._waiting or self._batch) and self._settled()
            if self._late or (self._deadline is not None and done):
                return False
            if not self._batch:
                count = min(len(self._waiting), self.largest_batch)
                self._batch = [self._waiting.popleft() for _ in range(count)]
            return True

    def _attempt(self, wait_s: float) -> float:
        """Deliver the batch; return how long to wait before the next attempt."""
        try:
            self._deliver(self._batch)
        except Later as error:
            self._failed(str(error))
            return max(error.wait_s, FIRST_WAIT_S)
        except EdgeError as error:
            self._failed(str(error))
            return min(2 * wait_s or FIRST_WAIT_S, self.longest_wait_s)
        except GiveUp as error:
            self._failed(str(error))
            return self._given_up()
        except Exception as error:  # a fault of ours must not end the telling of events
            logger.exception("%s: an unexpected error", self.name)
            self._failed(f"{type(error).__name__}: {error}")
            self._faults += 1
            if self._faults >= _MOST_FAULTS:
                return self._given_up()
            return min(2 * wait_s or FIRST_WAIT_S, self.longest_wait_s)
        self._faults = 0
        with self._changed:
            self._sent += len(self._batch)
            self._batch = []
            back, self._error = self._error is not None, None
        if back:
            logger.info("%s: works again", self.name)
        return 0.0

    def _given_up(self) -> float:
        """Drop the batch, and go on with the next at once."""
        self._faults = 0
        with self._changed:
            self._dropped += len(self._batch)
            self._batch = []
        return 0.0

    def _failed(self, message: str) -> None:
        with self._changed:
            new, self._error = self._error is None, message
        # Once for each time that it stops working, not once for each attempt.
        logger.log(logging.WARNING if new else logging.DEBUG, "%s: %s", self.name, message)
