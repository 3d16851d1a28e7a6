"""Outlines of solids as polygons in pixels.

A capsule (two balls and what is between them) seen from afar is the hull of two discs; limbs,
heads, balls and legs of chairs are capsules. Polygons are int32 with `SHIFT` fractional bits, as
OpenCV's fill takes them: without the fraction slow limbs would move in steps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.data.synthetic.pose import F64

I32 = npt.NDArray[np.int32]

SHIFT = 4
_ONE = float(1 << SHIFT)
# Corners on each of a capsule's two arcs.
ARC = 6
_STEPS = np.linspace(0.0, 1.0, ARC)
_END = np.repeat([0, 1], ARC)
_FAR = float(1 << 13)


def capsules(ends: F64, radii: F64) -> tuple[F64, F64]:
    """Return the outlines of capsules with ends (..., 2, 2) and radii (..., 2).

    They come in two parts (..., 2 * ARC, 2): the middle of the ball that each corner is on, and the
    way from there to the corner. Their sum is the outline; with shorter ways it is a thinner one.
    """
    way = ends[..., 1, :] - ends[..., 0, :]
    length = np.sqrt(way[..., 0] ** 2 + way[..., 1] ** 2) + 1e-9
    phi = np.arctan2(way[..., 1], way[..., 0])[..., None]
    gamma = np.arccos(np.clip((radii[..., 0] - radii[..., 1]) / length, -0.99, 0.99))[..., None]
    angles = np.concatenate(
        [phi + gamma + (2 * np.pi - 2 * gamma) * _STEPS, phi - gamma + 2 * gamma * _STEPS], axis=-1
    )
    rims = np.empty((*angles.shape, 2))
    radius = radii[..., _END]
    np.multiply(np.cos(angles), radius, out=rims[..., 0])
    np.multiply(np.sin(angles), radius, out=rims[..., 1])
    return ends[..., _END, :], rims


def fixed(places: F64, px: tuple[float, float]) -> I32:
    """Return isotropic places as fixed-point pixels.

    OpenCV puts the middle of a pixel on whole numbers; half a pixel is taken off so that a box in
    [0, 1] times the width is where the pixels are.
    """
    scaled = places * (np.array(px) * _ONE)
    scaled -= 0.5 * _ONE
    np.clip(scaled, -_FAR * _ONE, _FAR * _ONE, out=scaled)
    rounded: I32 = np.rint(scaled, out=scaled).astype(np.int32)
    return rounded


def unfixed(points: I32) -> F64:
    """Return the pixel coordinates of fixed-point polygons, edges of pixel 0 at 0 and 1."""
    return points / _ONE + 0.5


def box_corners(centre: F64, size: F64, heading: float) -> F64:
    """Return the corners (8, 3) of an upright box; the first four are its bottom."""
    sine, cosine = np.sin(heading), np.cos(heading)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64) * size[:2] / 2
    flat = signs @ np.array([[cosine, sine], [-sine, cosine]]) + centre[:2]
    corners = np.empty((8, 3))
    corners[:4, :2] = corners[4:, :2] = flat
    corners[:4, 2], corners[4:, 2] = centre[2] - size[2] / 2, centre[2] + size[2] / 2
    return corners


# Corners of the faces of `box_corners`: four sides, then top and bottom, all seen from outside.
BOX_FACES = np.array(
    [[0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7], [4, 5, 6, 7], [3, 2, 1, 0]]
)
