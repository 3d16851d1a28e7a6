"""What people do, as functions of time: gestures of the arms, and ways to go, turn and jump."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from edge.world.skeleton import F64, FOOT, HAND, Ch, ramp

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


# Half the width of the shoulders, in arms: a hand at x = -MIDDLE is before the middle of the chest.
MIDDLE = 0.37


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave(Cycle):
    """Waving with a raised arm; with a pace of 0 it is a hand held up.

    Attributes:
        hands: Columns of the hands that do it (`pose.HAND`).
        reach: 0 for a forearm raised beside the head, 1 for a straight arm.
        centre: Mean angle outwards from upright, rad.
        swing: How far it goes to each side, rad.
    """

    hands: tuple[int, ...]
    reach: float
    centre: float
    swing: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write the raised hands."""
        angle = self.centre + self.swing * np.sin(self.angle(t))
        radius = 0.5 + 0.45 * self.reach
        for hand in self.hands:
            pose[:, hand] = 0.25 * (1 - self.reach) + radius * np.sin(angle)
            pose[:, hand + 1] = 0.16
            pose[:, hand + 2] = 0.32 * (1 - self.reach) + radius * np.cos(angle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clap(Cycle):
    """Clapping before the chest, or above the head.

    Attributes:
        height: Height of the hands against the shoulders, arms.
        width: How far each hand goes out, arms.
    """

    height: float
    width: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write both hands."""
        open_ = 0.5 + 0.5 * np.cos(self.angle(t))
        for hand in HAND:
            pose[:, hand] = 0.05 - MIDDLE + self.width * open_
            pose[:, hand + 1] = 0.62 - 0.1 * open_
            pose[:, hand + 2] = self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Punch(Cycle):
    """Punches from a guard; one cycle is one punch.

    Attributes:
        both: Left and right in turn, else the right alone.
        height: Height of the fist against the shoulders, arms.
    """

    both: bool
    height: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write fists, shoulders and stance."""
        turns = self.angle(t) / (2 * math.pi)
        part = np.mod(turns, 1.0)
        out = np.interp(part, (0.0, 0.15, 0.42, 0.52, 0.82, 1.0), (0.0, -0.12, 1.0, 1.0, 0.0, 0.0))
        left_turn = np.mod(np.floor(turns), 2.0) if self.both else np.zeros_like(part)
        for hand, own in zip(HAND, (1 - left_turn, left_turn), strict=True):
            strike = out * own
            pose[:, hand] = -0.1 - 0.15 * strike
            pose[:, hand + 1] = 0.36 + 0.64 * strike
            pose[:, hand + 2] = -0.06 + (self.height + 0.06) * strike
        pose[:, Ch.TWIST] = 0.45 * out * (1 - 2 * left_turn)
        pose[:, Ch.LEAN] = 0.1 + 0.1 * out
        pose[:, Ch.PELVIS_UP] = 0.93
        pose[:, FOOT[0] + 1] = -0.2
        pose[:, FOOT[1] + 1] = 0.24


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone(Motion):
    """A phone held to the ear.

    Attributes:
        left: At the left ear.
    """

    left: bool

    def apply(self, pose: F64, t: F64) -> None:
        """Write the hand at the ear."""
        hand = HAND[int(self.left)]
        pose[:, hand : hand + 3] = (-0.1, 0.12, 0.3)
        pose[:, Ch.HEAD_YAW] += 0.12 if self.left else -0.12
        pose[:, Ch.ROLL] += -0.03 if self.left else 0.03


REST_STYLES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "hang": ((0.13, 0.08, -0.95), (0.13, 0.08, -0.95)),
    "hips": ((0.02, 0.05, -0.72), (0.02, 0.05, -0.72)),
    "hip": ((0.02, 0.05, -0.72), (0.13, 0.08, -0.95)),
    "crossed": ((-0.52, 0.36, -0.42), (-0.5, 0.4, -0.36)),
    "folded": ((-0.34, 0.34, -0.72), (-0.34, 0.36, -0.7)),
    "behind": ((-0.25, -0.3, -0.78), (-0.25, -0.3, -0.8)),
    "carry": ((-0.12, 0.62, -0.5), (-0.12, 0.62, -0.5)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestArms(Motion):
    """Arms at rest in one of the ways people have.

    Attributes:
        style: A key of `REST_STYLES`.
    """

    style: str

    def apply(self, pose: F64, t: F64) -> None:
        """Write both hands."""
        for hand, place in zip(HAND, REST_STYLES[self.style], strict=True):
            pose[:, hand : hand + 3] = place


def _even(angle: F64) -> F64:
    """Return a cosine flattened to a triangle: a foot on the ground passes at an even speed."""
    cosine = np.cos(angle)
    even: F64 = 0.35 * cosine + 0.65 * (2 / math.pi) * np.arcsin(cosine)
    return even


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk(Cycle):
    """A walk straight ahead; with a pace of -1 it is a walk backwards.

    Attributes:
        stride: Way of one cycle (two steps), legs.
        lift: How high a foot is lifted, legs.
        arms: How far the hands swing, arms.
    """

    stride: float
    lift: float = 0.16
    arms: float = 0.32

    def apply(self, pose: F64, t: F64) -> None:
        """Write root, feet, hips and swinging hands."""
        angle = self.angle(t)
        pose[:, Ch.AHEAD] += self.stride * self.hz * self.pace * t
        pose[:, Ch.PELVIS_UP] = 0.962 - 0.018 * np.cos(2 * angle)
        pose[:, Ch.LEAN] = 0.06
        pose[:, Ch.TWIST] = 0.14 * np.cos(angle)
        for foot, hand, own in zip(FOOT, HAND, (angle, angle + math.pi), strict=True):
            pose[:, foot] = 0.1
            pose[:, foot + 1] = self.stride / 4 * _even(own)
            pose[:, foot + 2] = self.lift * np.maximum(0.0, -np.sin(own))
            pose[:, foot + 3] = 0.75 * np.maximum(0.0, np.sin(own - 0.62 * math.pi))
            pose[:, hand + 1] = 0.1 - self.arms * np.cos(own)
            pose[:, hand + 2] = -0.94 + 0.25 * self.arms * np.cos(own) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Cycle):
    """A run with bent arms.

    Attributes:
        stride: Way of one cycle (two steps), legs.
    """

    stride: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write root, feet, hips and bent arms."""
        angle = self.angle(t)
        pose[:, Ch.AHEAD] += self.stride * self.hz * self.pace * t
        pose[:, Ch.PELVIS_UP] = 0.92
        pose[:, Ch.LIFT] += 0.07 * np.sin(angle) ** 2
        pose[:, Ch.LEAN] = 0.24
        pose[:, Ch.TWIST] = 0.25 * np.cos(angle)
        for foot, hand, own in zip(FOOT, HAND, (angle, angle + math.pi), strict=True):
            swing = np.maximum(0.0, -np.sin(own))
            back = np.maximum(0.0, np.sin(own - 0.6 * math.pi))
            pose[:, foot] = 0.08
            pose[:, foot + 1] = 0.52 * np.cos(own) + 0.12 * swing
            pose[:, foot + 2] = 0.28 * swing + 0.42 * back**2
            pose[:, foot + 3] = 1.25 * back
            pose[:, hand] = 0.05
            pose[:, hand + 1] = 0.22 - 0.42 * np.cos(own)
            pose[:, hand + 2] = -0.5 - 0.22 * np.cos(own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Cycle):
    """A turn on the spot, in small steps; to the left with a pace of 1.

    Attributes:
        rate: Speed of the turn, rad/s.
    """

    rate: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write heading and stepping feet."""
        angle = self.angle(t)
        pose[:, Ch.YAW] += self.rate * self.pace * t
        pose[:, Ch.PELVIS_UP] = 0.965
        pose[:, Ch.PELVIS_SIDE] = -0.05 * np.sin(angle)
        for foot, hand, own in zip(FOOT, HAND, (angle, angle + math.pi), strict=True):
            pose[:, foot + 1] = 0.09 * np.cos(own)
            pose[:, foot + 2] = 0.13 * np.maximum(0.0, -np.sin(own))
            pose[:, hand] = 0.2
            pose[:, hand + 1] = 0.08 - 0.1 * np.cos(own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump(Cycle):
    """Jumps on the spot, one after the other.

    Attributes:
        height: How high, legs.
        arms_up: How far the arms go up with it, 0 to 1.
    """

    height: float
    arms_up: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write hips, lift, feet and hands: a third of the cycle on the ground, then the flight."""
        part = np.mod(self.angle(t) / (2 * math.pi), 1.0)
        ground = np.clip(part / 0.42, 0.0, 1.0)
        air = np.clip((part - 0.42) / 0.58, 0.0, 1.0)
        bend = np.sin(math.pi * ground) * (part < 0.42)
        flight = 4 * air * (1 - air)
        pose[:, Ch.PELVIS_UP] = 0.995 - 0.34 * bend
        pose[:, Ch.PELVIS_AHEAD] = -0.16 * bend
        pose[:, Ch.LEAN] = 0.05 + 0.5 * bend
        pose[:, Ch.LIFT] += self.height * flight
        up = self.arms_up * ramp(1.3 * flight)
        for foot, hand in zip(FOOT, HAND, strict=True):
            pose[:, foot + 1] = -0.12 * flight
            pose[:, foot + 2] = 0.14 * flight
            pose[:, foot + 3] = 0.8 * np.sqrt(flight)
            pose[:, hand] = 0.2 + 0.35 * up
            pose[:, hand + 1] = 0.05 - 0.45 * bend + 0.2 * up
            pose[:, hand + 2] = -0.85 + 1.55 * up
