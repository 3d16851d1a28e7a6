"""The bounded hand-over between the grabber thread and the reader."""

from __future__ import annotations

import threading
import time
from collections import deque

from runtime.sources.frames import Frame, Gap


class Mailbox:
    """Hold a few frames for the reader.

    Without `drop` (files) `put` waits while `capacity` items are inside, so that none is lost. With
    it (live sources) `put` never waits; when `capacity` frames of the same sort are inside, the
    oldest of them is dropped and counted. The two sorts are frames that a sampler took and frames
    kept only to be drawn, so that drawing never costs a sample.
    """

    def __init__(self, *, capacity: int, drop: bool) -> None:
        """Set the bound and the policy."""
        self._capacity = capacity
        self._drop = drop
        self._items: deque[Frame | Gap] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Tell whether nothing more will be put in."""
        return self._closed

    @property
    def waiting_samples(self) -> int:
        """Return how many frames wait that a sampler took."""
        with self._changed:
            return sum(isinstance(i, Frame) and _taken(i) for i in self._items)

    def put(self, item: Frame | Gap) -> None:
        """Put an item in; after `close` it is thrown away."""
        with self._changed:
            if not self._drop:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return
            if isinstance(item, Gap):
                self._put_gap(item)
                return
            if self._drop:
                self._make_room(_taken(item))
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Frame | Gap | None:
        """Return the oldest item; None when it is closed and empty, or the time is over."""
        deadline = time.perf_counter() + timeout_s
        with self._changed:
            while not self._items and not self._closed:
                left = deadline - time.perf_counter()
                if left <= 0:
                    return None
                self._changed.wait(left)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self, *, discard: bool = False) -> None:
        """Take nothing more; what is inside can still be read unless it is discarded."""
        with self._changed:
            self._closed = True
            if discard:
                self._items.clear()
            self._changed.notify_all()

    def _put_gap(self, gap: Gap) -> None:
        # Two gaps with no frame between them are one; so the queue stays bounded.
        last = self._items[-1] if self._items else None
        if isinstance(last, Gap):
            self._items.pop()
            gap = Gap(reason=f"{last.reason}; {gap.reason}"[:200], t=gap.t)
        self._items.append(gap)
        self._changed.notify_all()

    def _make_room(self, taken: bool) -> None:
        same = [f for f in self._items if isinstance(f, Frame) and _taken(f) == taken]
        if len(same) >= self._capacity:
            self._items = deque(i for i in self._items if i is not same[0])
            self.dropped += 1


def _taken(frame: Frame) -> bool:
    return frame.sample is None or frame.sample.wanted
