"""The actions of the last hour, as the page draws them: one entry for each, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from runtime.events import ActionEvent, Phase

SPAN_S = 3600.0
MOST = 2000


class Timeline:
    """Actions by their id; what is told of one later replaces what was told before."""

    def __init__(self, events: Iterable[ActionEvent] = ()) -> None:
        """Begin with events of an earlier run, which hold no action that still goes on."""
        self._lock = threading.Lock()
        self._actions: OrderedDict[str, ActionEvent] = OrderedDict()
        self._earlier: set[str] = set()
        for event in events:
            self.add(event)
        self._earlier = set(self._actions)

    def add(self, event: ActionEvent) -> None:
        """Take an event."""
        with self._lock:
            self._actions.pop(event.event_id, None)
            self._actions[event.event_id] = event
            oldest = event.time - SPAN_S
            while self._actions:
                key, first = next(iter(self._actions.items()))
                if len(self._actions) <= MOST and (first.time >= oldest or self._goes_on(first)):
                    break
                del self._actions[key]
                self._earlier.discard(key)

    def since(
        self, t: float | None = None, camera: str | None = None, limit: int = MOST
    ) -> list[dict[str, Any]]:
        """Return actions told of at `t` (Unix seconds; None: an hour ago) or later, newest last."""
        start = time.time() - SPAN_S if t is None else t
        with self._lock:
            found = [
                event for event in self._actions.values()
                if event.time >= start and camera in (None, event.camera)
            ]  # fmt: skip
        return [
            {**event.to_dict(), "ended": not self._goes_on(event)}
            for event in (found[-limit:] if limit else [])
        ]

    def _goes_on(self, event: ActionEvent) -> bool:
        return event.phase is not Phase.END and event.event_id not in self._earlier
