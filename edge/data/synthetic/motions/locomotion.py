"""Motions that take the whole body somewhere: walk, run, turn, jump."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.data.synthetic.motions.base import Cycle
from edge.data.synthetic.pose import F64, FOOT, HAND, Ch, ramp


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
