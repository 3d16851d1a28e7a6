"""Poses, and from poses to joints in the world, for all people and moments of a clip at once.

A pose is one row of numbers for each moment. Legs and arms are given by where ankles and wrists
are, relative to the body; knees and elbows follow. Lengths are in units of the leg (hip to ankle)
or of the arm (shoulder to wrist), so that one motion fits bodies of all sizes. In a pose x is to
the body's own right, y ahead, z up; for the left limbs x counts outwards too, which makes mirrored
motions a swap of columns. In the world, in metres, X is to the right of the camera, Y away from it,
Z up; the ground is Z = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


class J(IntEnum):
    """Joints, in the order of the arrays."""

    PELVIS = 0
    CHEST = 1
    NECK = 2
    HEAD = 3
    R_SHOULDER = 4
    L_SHOULDER = 5
    R_ELBOW = 6
    L_ELBOW = 7
    R_WRIST = 8
    L_WRIST = 9
    R_HIP = 10
    L_HIP = 11
    R_KNEE = 12
    L_KNEE = 13
    R_ANKLE = 14
    L_ANKLE = 15
    R_TOE = 16
    L_TOE = 17


# Directions that a figure needs beside its joints, in the rows after them.
HEAD_AHEAD, HEAD_UP, HEAD_RIGHT, TORSO_AHEAD, TORSO_RIGHT = range(len(J), len(J) + 5)
ROWS = len(J) + 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stature:
    """Sizes of a body, and where it stands.

    Attributes:
        height: From sole to crown, m.
        legs: Length of the legs against the average of that height.
        shoulders: Width of the shoulders against the average.
        head: Size of the head against the average (children have larger ones).
        girth: Thickness of limbs and torso against the average.
        x: Root on the ground, m.
        y: Root on the ground, m.
        heading: Direction of the body at rest, rad from X towards Y.
        tilt_axis: Direction of a fall, rad to the left of ahead.
    """

    height: float
    legs: float
    shoulders: float
    head: float
    girth: float
    x: float
    y: float
    heading: float
    tilt_axis: float


def _column(statures: Sequence[Stature], name: str) -> F64:
    """Return one size of all bodies, shape (P, 1, 1)."""
    return np.array([getattr(s, name) for s in statures])[:, None, None]


def solve(statures: Sequence[Stature], poses: F64) -> F64:
    """Return joints and directions, shape (P, N, ROWS, 3), for poses (P, N, CHANNELS)."""
    c = poses[:, :, :, None]
    height = _column(statures, "height")
    leg = 0.49 * height * _column(statures, "legs")
    arm = 0.318 * height
    ankle_up = 0.042 * height
    torso = 0.282 * height * (2 - _column(statures, "legs"))
    out = np.empty((*poses.shape[:2], ROWS, 3))
    ahead0, _ = _heading(_column(statures, "heading"), 0.0)
    ahead, right = _heading(_column(statures, "heading"), c[:, :, Ch.YAW])
    up = np.array([0.0, 0.0, 1.0])
    root = np.concatenate([_column(statures, "x"), _column(statures, "y")], axis=2)
    ground = leg * c[:, :, Ch.AHEAD] * ahead0
    ground[:, :, :2] += root
    lift = leg * c[:, :, Ch.LIFT] * up

    pelvis = ground + leg * (c[:, :, Ch.PELVIS_AHEAD] * ahead + c[:, :, Ch.PELVIS_SIDE] * right)
    pelvis = pelvis + (ankle_up + 0.018 * height + leg * c[:, :, Ch.PELVIS_UP]) * up + lift
    lean, roll, twist = c[:, :, Ch.LEAN], c[:, :, Ch.ROLL], c[:, :, Ch.TWIST]
    spine = _unit(np.cos(lean) * up + np.sin(lean) * ahead + np.sin(roll) * right)
    chest_ahead = np.cos(lean) * ahead - np.sin(lean) * up
    chest_right = np.cos(twist) * right + np.sin(twist) * chest_ahead
    chest_ahead = np.cos(twist) * chest_ahead - np.sin(twist) * right
    neck = pelvis + torso * spine
    _write_head(out, statures, neck, spine, ahead, right, c)
    out[:, :, J.PELVIS], out[:, :, J.NECK] = pelvis, neck
    out[:, :, J.CHEST] = pelvis + 0.72 * torso * spine
    out[:, :, TORSO_AHEAD], out[:, :, TORSO_RIGHT] = chest_ahead, chest_right

    half = 0.115 * height * _column(statures, "shoulders")
    hip_half = 0.054 * height
    flat_ahead, flat_right = _flat(ahead, right, twist)
    for side, (foot, hand) in enumerate(zip(FOOT, HAND, strict=True)):
        sign = 1 - 2 * side
        shoulder = neck + sign * half * chest_right - 0.025 * height * spine
        wrist = shoulder + arm * (
            sign * c[:, :, hand] * flat_right
            + c[:, :, hand + 1] * flat_ahead
            + c[:, :, hand + 2] * up
        )
        outward = sign * chest_right
        elbow, wrist = _two_bones(
            shoulder, wrist, 0.168 * height, 0.15 * height,
            outward * 0.75 - up * 0.6 - ahead * 0.45,
        )  # fmt: skip
        hip = pelvis + sign * hip_half * right - 0.02 * height * spine
        ankle = ground + lift + ankle_up * up
        ankle = ankle + leg * (
            sign * c[:, :, foot] * right + c[:, :, foot + 1] * ahead + c[:, :, foot + 2] * up
        )
        knee, ankle = _two_bones(hip, ankle, 0.5 * leg, 0.5 * leg, ahead + 0.18 * sign * right)
        pitch = c[:, :, foot + 3]
        toes = np.cos(pitch) * (ahead + 0.18 * sign * right) - np.sin(pitch) * up
        out[:, :, J.R_SHOULDER + side], out[:, :, J.R_ELBOW + side] = shoulder, elbow
        out[:, :, J.R_WRIST + side], out[:, :, J.R_HIP + side] = wrist, hip
        out[:, :, J.R_KNEE + side], out[:, :, J.R_ANKLE + side] = knee, ankle
        out[:, :, J.R_TOE + side] = ankle + 0.115 * height * toes - 0.018 * height * up
    _tilt(out, statures, poses, ground)
    return out


def _heading(base: F64, turn: F64 | float) -> tuple[F64, F64]:
    angle = base + turn
    sine, cosine, flat = np.sin(angle), np.cos(angle), np.zeros_like(angle)
    ahead = np.concatenate([cosine, sine, flat], axis=-1)
    return ahead, np.concatenate([sine, -cosine, flat], axis=-1)


def _flat(ahead: F64, right: F64, twist: F64) -> tuple[F64, F64]:
    """Return the level frame that hands are given in, turned with the shoulders."""
    sine, cosine = np.sin(twist), np.cos(twist)
    return cosine * ahead - sine * right, cosine * right + sine * ahead


def _write_head(
    out: F64, statures: Sequence[Stature], neck: F64, spine: F64, ahead: F64, right: F64, c: F64
) -> None:
    yaw, nod = c[:, :, Ch.HEAD_YAW], c[:, :, Ch.HEAD_NOD]
    up = np.array([0.0, 0.0, 1.0])
    # People keep their head nearer to upright than their back.
    upright = _unit(spine + 0.8 * up)
    gaze = np.cos(yaw) * ahead - np.sin(yaw) * right
    gaze = _unit(np.cos(nod) * gaze - np.sin(nod) * up)
    side = _unit(_cross(gaze, upright))
    size = _column(statures, "head") * _column(statures, "height")
    out[:, :, J.HEAD] = neck + (0.052 + 0.058) * size * upright + 0.015 * size * gaze
    out[:, :, HEAD_AHEAD], out[:, :, HEAD_RIGHT] = gaze, side
    out[:, :, HEAD_UP] = _cross(side, gaze)


def _unit(v: F64) -> F64:
    norm: F64 = v / np.sqrt(np.einsum("...i,...i->...", v, v))[..., None]
    return norm


def _cross(a: F64, b: F64) -> F64:
    """Return the cross product along the last axis, in a quarter of the time of `np.cross`."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _two_bones(start: F64, end: F64, first: F64, second: F64, pole: F64) -> tuple[F64, F64]:
    """Return where the joint between two bones is, bent towards `pole`, and where they end."""
    way = end - start
    distance = np.sqrt(np.einsum("...i,...i->...", way, way))[..., None]
    direction = way / np.maximum(distance, 1e-9)
    distance = np.clip(distance, 0.25 * first, 0.999 * (first + second))
    along = (first * first - second * second + distance * distance) / (2 * distance)
    off = np.sqrt(np.maximum(first * first - along * along, 0.0))
    across = pole - np.einsum("...i,...i->...", pole, direction)[..., None] * direction
    return start + along * direction + off * _unit(across + 1e-9), start + distance * direction


def _tilt(out: F64, statures: Sequence[Stature], poses: F64, ground: F64) -> None:
    """Turn the bodies that fall about their ground point, and lay them on the ground."""
    for p, stature in enumerate(statures):
        angle = poses[p, :, Ch.TILT]
        if not angle.any():
            continue
        direction = stature.heading + stature.tilt_axis
        way = np.array([np.cos(direction), np.sin(direction), 0.0])
        axis = np.array([-way[1], way[0], 0.0])  # up x way: turns up into the way
        rows = out[p].copy()
        rows[:, : len(J)] -= ground[p][:, None]
        cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
        along = (rows @ axis)[..., None] * axis
        rows = along + cosine * (rows - along) + sine * np.cross(axis, rows)
        rows[:, : len(J)] += ground[p][:, None]
        floor = 0.06 * stature.height * np.abs(np.sin(angle))[:, None]
        joints = rows[:, : len(J)]
        np.maximum(joints[:, :, 2], floor, out=joints[:, :, 2])
        out[p] = rows
