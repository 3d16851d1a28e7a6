"""What every motion has: a pace of time, and a way to write itself into a pose."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from edge.data.synthetic.pose import F64, Ch

TURN = 2 * math.pi


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion(ABC):
    """A motion as a function of time; t = 0 s is the keyframe.

    Attributes:
        pace: 1 as it happens, -1 the same motion backwards in time, 0 held as at the keyframe. All
            three give the same pose at t = 0, which is what makes a pair of actions that only time
            tells apart.
    """

    pace: float = 1.0

    @abstractmethod
    def apply(self, pose: F64, t: F64) -> None:
        """Write the motion's columns of `pose` (n, CHANNELS) at the times `t` (n,), seconds."""

    @property
    def event_s(self) -> float:
        """Return when a hand takes or leaves a thing, seconds; 0 where nothing of it happens."""
        return 0.0

    def in_hand(self, t: F64) -> F64:
        """Return 1 for the times at which a thing that goes with the motion is in the hand."""
        return np.ones_like(t)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage(Motion):
    """A motion that has a beginning and an end.

    Attributes:
        at_keyframe: Which part of it has passed at t = 0, from 0 to 1.
        duration_s: How long it takes.
    """

    at_keyframe: float
    duration_s: float

    def share(self, t: F64) -> F64:
        """Return which part of the motion has passed; below 0 before it, above 1 after it."""
        return self.at_keyframe + self.pace * t / self.duration_s

    def when(self, share: float) -> float:
        """Return at what time a part of the motion has passed (for a pace of 1 or -1)."""
        return (share - self.at_keyframe) * self.duration_s * (self.pace or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle(Motion):
    """A motion that repeats.

    Attributes:
        phase: Where in the cycle it is at t = 0, rad.
        hz: Cycles per second.
    """

    phase: float
    hz: float

    def angle(self, t: F64) -> F64:
        """Return the phase at each time, rad."""
        return self.phase + TURN * self.hz * self.pace * t


@dataclass(frozen=True, slots=True, kw_only=True)
class Sway(Motion):
    """What nobody alive stops doing: breathing, shifting weight, looking about.

    Attributes:
        phase: Where in it the keyframe is, rad.
        side: Sway of the hips, legs.
        gaze: How far the head turns, rad.
        gaze_hz: How often it turns.
        gaze_at: Where it looks on average, rad to the left.
        nod: How far the head hangs, rad.
    """

    phase: float
    side: float = 0.012
    gaze: float = 0.1
    gaze_hz: float = 0.3
    gaze_at: float = 0.0
    nod: float = 0.05

    def apply(self, pose: F64, t: F64) -> None:
        """Add the sway to whatever else the body does."""
        slow = self.phase + 2.4 * t
        pose[:, Ch.PELVIS_SIDE] += self.side * np.sin(slow)
        pose[:, Ch.LEAN] += 0.012 * np.sin(slow * 1.7 + 1.0)
        pose[:, Ch.ROLL] += 0.8 * self.side * np.sin(slow + 0.6)
        turn = self.gaze_at + self.gaze * np.sin(self.phase * 3.1 + TURN * self.gaze_hz * t)
        pose[:, Ch.HEAD_YAW] += turn
        pose[:, Ch.HEAD_NOD] += self.nod
