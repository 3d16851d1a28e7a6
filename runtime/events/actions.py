"""From results to events: an action of a tracked person begins, continues, ends.

For each person and action: a result with the probability `start` or more begins it; one with `end`
or more carries it on; when none did for `max_gap_s` it has ended, at the last that did. An action
shorter than `min_duration_s` is not told. Memory holds the actions that are open, nothing else.

Durations come from a clock that nobody sets. The wall clock only labels: where it was set while an
action lasts (a board without a battery starts in 1970), its start moves with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError
from runtime.events.settings import END_SHARE, ActionSettings
from runtime.events.types import ActionEvent, Box, Phase
from runtime.options import did_you_mean
from runtime.results import KeyframeResult

# Slewing by NTP is below this; what is above was set.
CLOCK_SET_S = 1.0


@dataclass(slots=True)
class _Action:
    """One that goes on; `told` is None until it lasted long enough."""

    event_id: str
    first: float
    started: float
    seen: float
    score: float
    box: Box
    told: float | None = None


class ActionTracker:
    """Makes the events of one camera. Not for several threads."""

    def __init__(
        self, camera: str, settings: ActionSettings, class_names: Sequence[str]
    ) -> None:  # fmt: skip
        """Begin without actions.

        Args:
            camera: Its name, for the events.
            settings: When an action begins and ends.
            class_names: Names of the model's actions, in order.

        Raises:
            ConfigError: A class of interest is none of the model's.
        """
        self.camera = camera
        self.class_names = tuple(class_names)
        self._open: dict[tuple[int, int], _Action] = {}
        self._newest: float | None = None
        self.configure(settings)

    def configure(self, settings: ActionSettings) -> None:
        """Take other settings from the next result on; what is open goes on under them.

        Raises:
            ConfigError: A class of interest is none of the model's.
        """
        for name in settings.classes:
            if name not in self.class_names:
                raise ConfigError(
                    f"camera {self.camera}: the model has no action {name!r}."
                    f"{did_you_mean(name, self.class_names)}"
                )
        self.settings = settings
        wanted = [not settings.classes or name in settings.classes for name in self.class_names]
        self._wanted = np.array(wanted, dtype=bool)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the actions that may be told, in the model's order."""
        return tuple(
            name for name, on in zip(self.class_names, self._wanted, strict=True) if on
        )  # fmt: skip

    def update(self, result: KeyframeResult, *, now: float, monotonic: float) -> list[ActionEvent]:
        """Take the next result, as soon as it is there.

        What it shows was so at its keyframe, which is older by the rest of the clip and the
        latency; starts and durations are of keyframes.

        Args:
            result: With `people`, and for the `class_names` given at the beginning.
            now: Wall clock, Unix seconds.
            monotonic: A clock that nobody sets, seconds. One that goes back begins a new stream.

        Returns:
            Events: first those that ended.

        Raises:
            ConfigError: The result has no people, or other actions.
        """
        if result.people is None:
            raise ConfigError("events need the people's numbers; turn tracking on")
        if result.class_names != self.class_names:
            raise ConfigError(
                f"camera {self.camera}: the result has the actions of another model; "
                "make a new ActionTracker for it"
            )
        age_s = max(0.0, result.t - result.keyframe_t) + result.latency_ms / 1000.0
        at = monotonic - age_s  # of the keyframe
        backwards = self._newest is not None and at < self._newest
        told = self._end(None if backwards else at, now, monotonic)
        self._newest = at
        start, end = self._thresholds(result)
        scores = result.detections.actions
        size = np.tile(np.asarray(result.size_wh, dtype=np.float64), 2)
        boxes = np.clip(result.detections.xyxy / size, 0.0, 1.0)
        for row, action in np.argwhere((scores >= end) & self._wanted):
            person = result.people[row]
            if person < 0:  # a second box on somebody
                continue
            score = float(scores[row, action])
            x1, y1, x2, y2 = boxes[row].tolist()
            key = (int(person), int(action))
            going = self._open.get(key)
            if going is None:
                if score < start[action]:
                    continue
                going = _Action(uuid.uuid4().hex, at, now - age_s, at, 0.0, (0, 0, 0, 0))
                self._open[key] = going
            going.seen, going.box = at, (x1, y1, x2, y2)
            going.score = max(going.score, score)
            told += self._tell(key, going, now, monotonic)
        return told

    def lost(self, *, now: float, monotonic: float) -> list[ActionEvent]:
        """End everything: the camera is lost, or what comes next has other people.

        Args:
            now: Wall clock, Unix seconds.
            monotonic: A clock that nobody sets, seconds.
        """
        told = self._end(None, now, monotonic)
        self._newest = None
        return told

    def _thresholds(
        self, result: KeyframeResult
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return (C,) where actions start and (C,) where they pause."""
        settings = self.settings
        given = result.action_conf if settings.start is None else settings.start
        start = np.broadcast_to(np.asarray(given, dtype=np.float64), (len(self.class_names),))
        if settings.end is None:
            return start, start * END_SHARE
        return start, np.full_like(start, settings.end)

    def _tell(
        self, key: tuple[int, int], going: _Action, now: float, monotonic: float
    ) -> list[ActionEvent]:
        """Return the begin or continue of an action that a result has just shown."""
        if going.told is None:
            if going.seen - going.first < self.settings.min_duration_s:
                return []
            phase = Phase.BEGIN
        else:
            interval = self.settings.continue_s
            if not interval or going.seen - going.told < interval:
                return []
            phase = Phase.CONTINUE
        going.told = going.seen
        return [self._event(phase, key, going, now, monotonic)]

    def _end(self, at: float | None, now: float, monotonic: float) -> list[ActionEvent]:
        """Let go of actions that no result has shown for too long at `at`; None: of all."""
        limit = self.settings.max_gap_s
        over = [
            key for key, going in self._open.items() if at is None or at - going.seen > limit
        ]  # fmt: skip
        told = []
        for key in over:
            going = self._open.pop(key)
            if going.told is not None:
                told.append(self._event(Phase.END, key, going, now, monotonic))
        return told

    def _event(
        self, phase: Phase, key: tuple[int, int], going: _Action, now: float, monotonic: float
    ) -> ActionEvent:
        person, action = key
        # A monotonic clock that went back is of another stream and says nothing about the start.
        started = now - max(0.0, monotonic - going.first)
        if monotonic >= going.seen and abs(started - going.started) > CLOCK_SET_S:
            going.started = started
        return ActionEvent(
            event_id=going.event_id,
            camera=self.camera,
            phase=phase,
            action=self.class_names[action],
            person=person,
            score=going.score,
            box=going.box,
            started=going.started,
            time=now,
            duration_s=going.seen - going.first,
        )
