"""From camera threads to clients: the newest of everything, and nobody is waited for.

Results, states and pictures replace each other: a client that reads slowly misses some, which is
counted, and costs one entry of memory for each. Actions are queued for each client up to a bound,
and then the oldest is dropped.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KEPT_RESULTS = 1024
KEPT_ACTIONS = 256


@dataclass(frozen=True, slots=True)
class Message:
    """What a client is told.

    Attributes:
        number: Counts results and actions from 1; 0 for what has no place in an order.
        kind: `result`, `action`, `cameras` or `frame`.
        camera: Its name; empty where it is about all.
        text: A JSON object; empty for a frame.
        jpeg: The picture of a frame.
        t: Its time on the source's clock, seconds.
    """

    number: int
    kind: str
    camera: str
    text: str = ""
    jpeg: bytes = b""
    t: float = 0.0


class Subscriber:
    """What waits for one client; made and read in the event loop, filled from any thread."""

    def __init__(self, kinds: Iterable[str], cameras: Iterable[str] | None) -> None:
        """Take messages of some kinds, about some cameras (None: all)."""
        self.kinds = frozenset(kinds)
        self.cameras = None if cameras is None else frozenset(cameras)
        self.dropped = 0
        self._loop = asyncio.get_running_loop()
        self._there = asyncio.Event()
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, str], Message] = {}
        self._queue: deque[Message] = deque()
        self._woken = False
        self.closed = False

    def wants(self, kind: str, camera: str) -> bool:
        """Tell whether messages of this kind about this camera are for this client."""
        return kind in self.kinds and (not camera or self.cameras is None or camera in self.cameras)

    def offer(self, message: Message) -> None:
        """Put a message where the client will find it."""
        with self._lock:
            if message.kind == "action":
                if len(self._queue) >= KEPT_ACTIONS:
                    self._queue.popleft()
                    self.dropped += 1
                self._queue.append(message)
            else:
                key = (message.kind, message.camera)
                # Behind all others: who waited longest is told first.
                self.dropped += self._newest.pop(key, None) is not None
                self._newest[key] = message
        self._wake()

    def close(self) -> None:
        """Let the client go: `next` gives nothing more."""
        self.closed = True
        self._wake()

    async def next(self, timeout_s: float) -> list[Message] | None:
        """Return what is there, waiting for it: nothing when the time is over, None at the end."""
        if not self.closed and not self._woken:
            try:
                await asyncio.wait_for(self._there.wait(), timeout_s)
            except (TimeoutError, asyncio.TimeoutError):
                return []
        if self.closed:
            return None
        with self._lock:
            self._woken = False
            self._there.clear()
            found = [*self._queue, *self._newest.values()]
            self._queue.clear()
            self._newest.clear()
        return found

    def _wake(self) -> None:
        # One call into the loop for whatever comes until the client looks.
        if self._woken and not self.closed:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._there.set)
        except RuntimeError:  # the loop has ended
            self.closed = True


class Hub:
    """Hands messages to subscribers, and keeps the last results."""

    def __init__(self) -> None:
        """Begin without subscribers."""
        self._lock = threading.Lock()
        self._subscribers: set[Subscriber] = set()
        self._results: deque[Message] = deque(maxlen=KEPT_RESULTS)
        self._number = 0
        self._dropped = 0
        self._closed = False

    def result(self, camera: str, content: dict[str, Any]) -> None:
        """Publish a result."""
        self._publish("result", camera, content)

    def action(self, camera: str, content: dict[str, Any]) -> None:
        """Publish the event of an action."""
        self._publish("action", camera, content)

    def cameras(self, content: list[dict[str, Any]]) -> None:
        """Publish how all cameras are."""
        if self.wanted("cameras", ""):
            text = json.dumps({"cameras": content}, ensure_ascii=False)
            self._hand_out(Message(0, "cameras", "", text))

    def frame(self, camera: str, jpeg: bytes, t: float) -> None:
        """Publish a picture."""
        self._hand_out(Message(0, "frame", camera, jpeg=jpeg, t=t))

    def wanted(self, kind: str, camera: str) -> bool:
        """Tell whether anybody wants messages of this kind about this camera."""
        with self._lock:
            return any(one.wants(kind, camera) for one in self._subscribers)

    def since(
        self, number: int, camera: str | None = None, limit: int = 100
    ) -> tuple[list[Message], int]:
        """Return kept results after a number, oldest first, and the number to go on with.

        A number that was not given out yet is of an earlier start of the service: all come again.
        """
        with self._lock:
            after = number if number <= self._number else 0
            kept, newest = list(self._results), self._number
        found = [m for m in kept if m.number > after and camera in (None, m.camera)]
        if len(found) <= limit:
            return found, newest
        return found[:limit], found[limit - 1].number

    def subscribe(self, kinds: Iterable[str], cameras: Iterable[str] | None = None) -> Subscriber:
        """Add a client; call it in the event loop."""
        subscriber = Subscriber(kinds, cameras)
        with self._lock:
            if self._closed:
                subscriber.close()
            self._subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a client."""
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
                self._dropped += subscriber.dropped

    @property
    def clients(self) -> int:
        """Return how many subscribers there are."""
        return len(self._subscribers)

    @property
    def dropped(self) -> int:
        """Return how many messages clients missed since they read too slowly."""
        with self._lock:
            return self._dropped + sum(one.dropped for one in self._subscribers)

    def close(self) -> None:
        """Let all clients go, and every one that comes."""
        with self._lock:
            self._closed = True
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.close()

    def _publish(self, kind: str, camera: str, content: dict[str, Any]) -> None:
        with self._lock:
            self._number += 1
            text = json.dumps({"number": self._number, **content}, ensure_ascii=False)
            message = Message(self._number, kind, camera, text)
            if kind == "result":
                self._results.append(message)
        self._hand_out(message)

    def _hand_out(self, message: Message) -> None:
        with self._lock:
            subscribers = [
                one for one in self._subscribers if one.wants(message.kind, message.camera)
            ]
        for subscriber in subscribers:
            subscriber.offer(message)
