"""What the runner gives: one result per keyframe, and events between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from runtime.decode import Detections
from runtime.errors import BackendUnavailableError

if TYPE_CHECKING:
    import supervision as sv

EventKind = Literal["warming_up", "running", "stale", "gap", "slow_source", "dropped"]
# Those that the JSON Lines hold: what happened to the source.
RECORDED = frozenset({"stale", "gap", "slow_source", "dropped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a user of the results has to know.

    Attributes:
        kind: `warming_up` the clip is not whole, no result comes; `running` it is; `stale` a live
            source gives nothing new; `gap` frames before and after do not belong together (a
            `warming_up` follows); `slow_source` frames are repeated to fill a clip; `dropped`
            frames or decisions of a live source were left out since newer ones were there.
        t: Time on the source's clock, seconds.
        message: One sentence.
        dropped_frames: With `dropped`: frames left out since the run began.
        dropped_clips: With `dropped`: decisions left out since the run began.
    """

    kind: EventKind
    t: float
    message: str
    dropped_frames: int | None = None
    dropped_clips: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the object of the JSON Lines output; the key `event` tells it from a result."""
        counts = {
            name: getattr(self, name)
            for name in ("dropped_frames", "dropped_clips")
            if getattr(self, name) is not None
        }
        return {"event": self.kind, "t": round(self.t, 6), "message": self.message, **counts}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStatus:
    """What is known when a frame is about to be shown.

    Attributes:
        warming_up: No clip is whole yet.
        samples: Samples of the clip so far.
        num_frames: Samples that a clip needs.
        dropped: Frames of a live source dropped so far.
        live: Whether the frame is of a live source.
        fps: Rate that the source states, frames per second, or None.
    """

    warming_up: bool
    samples: int
    num_frames: int
    dropped: int
    live: bool
    fps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds that this keyframe cost; see `runtime.profiling.Profile` for the stages."""

    capture_ms: float
    preprocess_ms: float
    inference_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeResult:
    """Who acts at one keyframe.

    Attributes:
        frame: Number of the clip's newest frame in the source.
        t: Its time, seconds.
        keyframe: Number of the frame that the boxes belong to (sample `num_frames // 2`).
        keyframe_t: Its time, seconds.
        latency_ms: From the arrival of the newest frame to this result.
        detections: Boxes in pixels of the source, actor scores, action probabilities.
        class_names: Name of each action.
        action_conf: From this probability on an action is reported; one for all, or each its own.
        trained: False while the weights are random: then the result means nothing.
        size_wh: Width and height of the source's frames, pixels.
        timings: Where the time went.
        dropped_frames: Frames of a live source dropped so far.
        dropped_clips: Decisions left out so far because newer frames were there.
        people: With tracking, a number for each detection that stays with the person from result
            to result, -1 for a second box on somebody; else None.
    """

    frame: int
    t: float
    keyframe: int
    keyframe_t: float
    latency_ms: float
    detections: Detections
    class_names: tuple[str, ...]
    action_conf: float | tuple[float, ...]
    trained: bool
    size_wh: tuple[int, int]
    timings: Timings
    dropped_frames: int = 0
    dropped_clips: int = 0
    people: tuple[int, ...] | None = None

    def person(self, index: int) -> int | None:
        """Return the number of a detection's person; None without tracking, or for a second box."""
        number = -1 if self.people is None else self.people[index]
        return None if number < 0 else number

    def actions(self, index: int) -> dict[str, float]:
        """Return a detection's actions of probability `action_conf` or more, best first."""
        scores, least = self.detections.actions[index].tolist(), self.action_conf
        each = least if isinstance(least, tuple) else (least,) * len(scores)
        named = zip(self.class_names, scores, each, strict=True)
        kept = [(name, score) for name, score, least in named if score >= least]
        return dict(sorted(kept, key=lambda item: -item[1]))

    def likeliest(self, index: int) -> tuple[str, float]:
        """Return a detection's most probable action, whatever its probability."""
        scores = self.detections.actions[index]
        best = int(scores.argmax())
        return self.class_names[best], float(scores[best])

    def to_supervision(self) -> sv.Detections:
        """Return the detections as those of the `supervision` package.

        `confidence` is p(actor), `class_id` the most probable action, `data["class_name"]` its
        name, `data["actions"]` all probabilities (K, C). With tracking `tracker_id` is the person's
        number, -1 for a second box on somebody.

        Raises:
            BackendUnavailableError: The package is not installed.
        """
        try:
            import supervision as sv
        except ImportError as error:
            raise BackendUnavailableError(
                f"supervision does not import ({error}); run: pip install supervision"
            ) from error
        found = self.detections
        best = found.actions.argmax(axis=1)
        return sv.Detections(
            xyxy=found.xyxy,
            confidence=found.actor,
            class_id=best,
            tracker_id=None if self.people is None else np.array(self.people, np.int64),
            data={"class_name": np.array(self.class_names)[best], "actions": found.actions},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the object of the JSON Lines output.

        `trained` is there only when it is false, `person` (a number or null) only with tracking.
        """
        found = self.detections
        result: dict[str, Any] = {
            "frame": self.frame,
            "t": round(self.t, 6),
            "keyframe": self.keyframe,
            "keyframe_t": round(self.keyframe_t, 6),
            "latency_ms": round(self.latency_ms, 3),
            "detections": [
                {
                    "xyxy": [round(v, 2) for v in found.xyxy[i].tolist()],
                    "actor": round(float(found.actor[i]), 6),
                    "actions": {k: round(v, 6) for k, v in self.actions(i).items()},
                }
                for i in range(len(found))
            ],
        }
        if self.people is not None:
            for i, detection in enumerate(result["detections"]):
                detection["person"] = self.person(i)
        if not self.trained:
            result["trained"] = False
        return result
