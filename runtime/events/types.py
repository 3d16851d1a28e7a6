"""What is told of an action of one person, and what takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

Box = tuple[float, float, float, float]


class Phase(str, Enum):
    """Where an action is."""

    BEGIN = "begin"
    CONTINUE = "continue"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvent:
    """An action of a tracked person begins, continues or ends.

    Attributes:
        event_id: The action; its begin, continues and end share it. No two actions do, on no board.
        camera: Name of the camera.
        phase: What is told.
        action: Name of the action.
        person: Number of the person; see `KeyframeResult.people`.
        score: Highest probability of the action so far.
        box: Corners x1, y1, x2, y2 of the person's newest box, shares of the frame in [0, 1].
        started: When the action began, Unix seconds. A clock that was set since is followed.
        time: When this was told, Unix seconds.
        duration_s: From the first to the newest result with the action, seconds of a clock that
            nobody sets. An action that has ended ended at `started + duration_s`.
    """

    event_id: str
    camera: str
    phase: Phase
    action: str
    person: int
    score: float
    box: Box
    started: float
    time: float
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the object of JSON outputs; `event_from_dict` reads it back, rounded."""
        return {
            "event_id": self.event_id,
            "camera": self.camera,
            "phase": self.phase.value,
            "action": self.action,
            "person": self.person,
            "score": round(self.score, 4),
            "box": [round(v, 4) for v in self.box],
            "started": round(self.started, 3),
            "time": round(self.time, 3),
            "duration_s": round(self.duration_s, 3),
        }


def event_from_dict(values: Mapping[str, Any]) -> ActionEvent:
    """Read what `ActionEvent.to_dict` gave.

    Raises:
        ValueError: A value is missing, or none that an event can have.
    """
    try:
        numbers = {name: float(values[name]) for name in ("score", "started", "time", "duration_s")}
        x1, y1, x2, y2 = (float(v) for v in values["box"])
        event = ActionEvent(
            event_id=str(values["event_id"]),
            camera=str(values["camera"]),
            phase=Phase(values["phase"]),
            action=str(values["action"]),
            person=int(values["person"]),
            box=(x1, y1, x2, y2),
            **numbers,
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"this is no event: {error!r}") from error
    if not all(math.isfinite(v) for v in (*numbers.values(), *event.box)):
        raise ValueError("this is no event: a number is not finite")
    return event


class EventSink(Protocol):
    """Takes events. Nothing here waits for a disk or a network: each sink has its own thread.

    Attributes:
        name: What it is, as in the configuration: `jsonl`, `history`, `mqtt`, `webhook`, `clips`.
    """

    name: str

    def cameras(self, actions: Mapping[str, Sequence[str]]) -> None:
        """Learn the names of all cameras and of the actions that each may tell.

        Called once before the first event, and again when the configuration was read anew.
        """

    def camera_state(self, camera: str, *, online: bool) -> None:
        """Learn that a camera gives results, or no longer does."""

    def send(self, event: ActionEvent) -> None:
        """Queue an event and return; where the queue is full its oldest is dropped and counted."""

    def status(self) -> dict[str, object]:
        """Return `queued`, `sent` (acknowledged), `dropped`, `error` (text or None), and more."""

    def close(self, timeout_s: float) -> None:
        """Deliver what is queued for at most `timeout_s` seconds, then let go of everything."""
