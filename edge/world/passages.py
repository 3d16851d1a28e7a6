"""Motions with a beginning and an end: sit, pick up, kick, throw, fall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.world.motions import Passage
from edge.world.skeleton import F64, FOOT, HAND, Ch, mixed, ramp

_THIGH_REST = (-0.02, 0.52, -0.62)
_GROUND_REST = (0.3, -0.42, -0.7)
_CARRY = ((-0.12, 0.62, -0.5), (0.1, 0.5, -0.62))
_HANG = (0.13, 0.08, -0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sit(Passage):
    """Sitting down; with a pace of -1 it is standing up, with 0 it is sitting still.

    Attributes:
        seat: Height of the hips when seated, legs; 0.5 is a chair, 0.1 the ground.
        back: How far behind the feet the hips come to be, legs.
        lean: Most that the torso leans forward on the way, rad.
    """

    seat: float
    back: float
    lean: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write hips, lean, feet and hands."""
        down = ramp(self.share(t))
        ground = self.seat < 0.3
        pose[:, Ch.PELVIS_UP] = 0.995 + (self.seat - 0.995) * down
        pose[:, Ch.PELVIS_AHEAD] = -self.back * down
        pose[:, Ch.LEAN] = 4 * self.lean * down * (1 - down) + (0.22 if ground else 0.02) * down
        for foot, hand in zip(FOOT, HAND, strict=True):
            pose[:, foot] = 0.13 + 0.06 * down
            pose[:, foot + 1] = (0.12 if ground else 0.05) * down
            rest = _GROUND_REST if ground else _THIGH_REST
            pose[:, hand : hand + 3] = mixed(pose[:, hand : hand + 3], rest, down)


@dataclass(frozen=True, slots=True, kw_only=True)
class PickUp(Passage):
    """Bending down for a thing and coming up with it; backwards it is putting it down.

    Attributes:
        dip: How far the hips go down, legs.
        lean: How far the torso goes down, rad.
        one_hand: The right hand alone, else both.
    """

    dip: float
    lean: float
    one_hand: bool

    def apply(self, pose: F64, t: F64) -> None:
        """Write hips, lean and hands: empty on the way down, carrying on the way up."""
        share = self.share(t)
        bent = ramp(1.12 * (1 - np.abs(2 * share - 1)))
        after = ramp((share - 0.44) / 0.2)
        pose[:, Ch.PELVIS_UP] = 0.995 - self.dip * bent
        pose[:, Ch.PELVIS_AHEAD] = -0.2 * bent
        pose[:, Ch.LEAN] = self.lean * bent
        pose[:, Ch.HEAD_NOD] += 0.25 * bent
        pose[:, Ch.R_FOOT_Y] = 0.14
        pose[:, Ch.L_FOOT_Y] = -0.12
        reach = (-0.2 + 0.25 * self.one_hand, 0.3, -0.95)
        for hand in HAND[: 1 if self.one_hand else 2]:
            ends = mixed(np.tile(_HANG, (len(t), 1)), _CARRY[self.one_hand], after)
            pose[:, hand : hand + 3] = mixed(ends, reach, bent)

    @property
    def event_s(self) -> float:
        """Return when the hand closes on the thing."""
        return self.when(0.5)

    def in_hand(self, t: F64) -> F64:
        """Return 1 from the moment of the grip on (in the motion's own time)."""
        return (self.share(t) >= 0.5).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kick(Passage):
    """One kick.

    Attributes:
        left: With the left foot.
        height: How high the foot goes, legs.
    """

    left: bool
    height: float

    def apply(self, pose: F64, t: F64) -> None:
        """Write the kicking leg, the hips above the other one, and arms held out."""
        share = np.clip(self.share(t), 0.0, 1.0)
        foot = FOOT[int(self.left)]
        knots = (0.0, 0.28, 0.52, 0.66, 1.0)
        out = np.interp(share, knots, (0.0, -0.5, 0.88, 0.7, 0.0))
        up = np.interp(share, knots, (0.0, 0.32, self.height, 0.75 * self.height, 0.0))
        raised = np.interp(share, (0.0, 0.2, 0.8, 1.0), (0.0, 1.0, 1.0, 0.0))
        pose[:, foot + 1] = out
        pose[:, foot + 2] = up
        pose[:, foot + 3] = np.interp(share, knots, (0.0, 0.9, -0.3, 0.1, 0.0))
        pose[:, Ch.PELVIS_SIDE] = (0.09 if self.left else -0.09) * raised
        pose[:, Ch.PELVIS_UP] = 0.965
        pose[:, Ch.LEAN] = -0.3 * np.maximum(out, 0.0) * (0.6 + self.height) + 0.12 * raised
        for hand in HAND:
            pose[:, hand] += 0.35 * raised
            pose[:, hand + 2] += 0.3 * raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Throw(Passage):
    """A throw over the shoulder.

    Attributes:
        left: With the left hand.
    """

    left: bool

    def apply(self, pose: F64, t: F64) -> None:
        """Write the throwing arm, the turn of the shoulders and the step."""
        share = np.clip(self.share(t), 0.0, 1.0)
        knots = (0.0, 0.34, 0.5, 0.64, 1.0)
        hand, other = HAND[int(self.left)], HAND[1 - int(self.left)]
        pose[:, hand] = np.interp(share, knots, (0.15, 0.42, 0.18, -0.12, 0.12))
        pose[:, hand + 1] = np.interp(share, knots, (0.15, -0.5, 0.5, 0.75, 0.12))
        pose[:, hand + 2] = np.interp(share, knots, (-0.75, 0.4, 0.68, -0.1, -0.92))
        raised = np.interp(share, (0.0, 0.3, 0.7, 1.0), (0.0, 1.0, 0.2, 0.0))
        pose[:, other + 1] += 0.6 * raised
        pose[:, other + 2] += 0.65 * raised
        turn = np.interp(share, knots, (0.0, -0.75, 0.1, 0.55, 0.0))
        pose[:, Ch.TWIST] = turn * (-1 if self.left else 1)
        pose[:, Ch.LEAN] = np.interp(share, knots, (0.0, -0.16, 0.12, 0.4, 0.05))
        pose[:, Ch.PELVIS_UP] = 0.94
        front, rear = (FOOT[0], FOOT[1]) if self.left else (FOOT[1], FOOT[0])
        pose[:, front + 1] = 0.1 + 0.24 * ramp(share / 0.4)
        pose[:, rear + 1] = -0.22
        pose[:, rear + 3] = 0.7 * ramp((share - 0.45) / 0.2)

    @property
    def event_s(self) -> float:
        """Return when the thing leaves the hand."""
        return self.when(0.52)

    def in_hand(self, t: F64) -> F64:
        """Return 1 before the thing leaves the hand."""
        return (self.share(t) < 0.52).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall(Passage):
    """A fall to the ground (which way, the figure knows); a pace of 0 late in it is lying still."""

    def apply(self, pose: F64, t: F64) -> None:
        """Write the tilt of the body, ever faster, giving knees, and arms thrown out."""
        share = np.clip(self.share(t), 0.0, 1.0)
        pose[:, Ch.TILT] = 1.5 * share**2.1
        give = np.sin(np.pi * np.minimum(share * 1.1, 1.0))
        pose[:, Ch.PELVIS_UP] = 0.97 - 0.26 * give
        pose[:, Ch.PELVIS_AHEAD] = -0.1 * give
        pose[:, Ch.LEAN] = 0.3 * give
        for hand in HAND:
            pose[:, hand] += 0.45 * ramp(share * 1.6)
            pose[:, hand + 1] += 0.35 * give
            pose[:, hand + 2] += 0.9 * ramp(share * 1.4)
