"""What a motion says about a body: one row of numbers for each moment.

Legs and arms are given by where ankles and wrists are, relative to the body; knees and elbows
follow (`skeleton`). Lengths are in units of the leg (hip to ankle) or of the arm (shoulder to
wrist), so that one motion fits bodies of all sizes. x is to the body's own right, y ahead, z up;
for the left limbs x counts outwards too, which makes mirrored motions a swap of columns.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


class Ch(IntEnum):
    """Columns of a pose."""

    AHEAD = 0  # way of the root along the body's first heading, legs
    YAW = 1  # turn of the whole body to the left, rad
    PELVIS_UP = 2  # height of the hips above the ankles' rest, legs
    PELVIS_AHEAD = 3  # hips ahead of the root, legs
    PELVIS_SIDE = 4  # hips to the right of the root, legs
    LEAN = 5  # torso forward, rad
    ROLL = 6  # torso to the right, rad
    TWIST = 7  # shoulders turned to the left against the hips, rad
    HEAD_YAW = 8  # to the left, rad
    HEAD_NOD = 9  # down, rad
    TILT = 10  # turn of the whole body about its ground point (falling), rad
    LIFT = 11  # whole body off the ground, legs
    R_FOOT_X = 12
    R_FOOT_Y = 13
    R_FOOT_Z = 14
    R_FOOT_PITCH = 15  # toes down, rad
    L_FOOT_X = 16
    L_FOOT_Y = 17
    L_FOOT_Z = 18
    L_FOOT_PITCH = 19
    R_HAND_X = 20
    R_HAND_Y = 21
    R_HAND_Z = 22
    L_HAND_X = 23
    L_HAND_Y = 24
    L_HAND_Z = 25


CHANNELS = len(Ch)
FOOT = (int(Ch.R_FOOT_X), int(Ch.L_FOOT_X))
HAND = (int(Ch.R_HAND_X), int(Ch.L_HAND_X))


def standing(count: int) -> F64:
    """Return `count` rows of a relaxed standing pose, shape (count, CHANNELS)."""
    pose = np.zeros((count, CHANNELS))
    pose[:, Ch.PELVIS_UP] = 0.995
    for foot in FOOT:
        pose[:, foot] = 0.13
    for hand in HAND:
        pose[:, hand : hand + 3] = (0.13, 0.08, -0.95)
    return pose


def ramp(u: F64) -> F64:
    """Return a smooth step from 0 (u <= 0) to 1 (u >= 1)."""
    v = np.clip(u, 0.0, 1.0)
    return v * v * (3 - 2 * v)


def mixed(a: F64, b: tuple[float, ...], share: F64) -> F64:
    """Return rows of `a` (n, k) moved towards `b` (k,) by `share` (n,)."""
    return a + (np.asarray(b) - a) * share[:, None]
