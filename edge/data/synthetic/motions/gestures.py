"""Motions of the arms, done standing, sitting or walking: wave, clap, punch, phone, rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.data.synthetic.motions.base import Cycle, Motion
from edge.data.synthetic.pose import F64, FOOT, HAND, Ch

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
