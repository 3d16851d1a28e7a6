"""Soft shadows on the ground under people: without them they would float."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.synthetic.camera import Camera, moved
from edge.data.synthetic.pose import F64
from edge.data.synthetic.shapes import SHIFT, fixed
from edge.data.synthetic.skeleton import J, Stature

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

_RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=-1)
_OVER = [J.PELVIS, J.CHEST, J.R_ANKLE, J.L_ANKLE]


def shadow_outlines(stature: Stature, rows: F64, camera: Camera, maps: F64) -> list[I32]:
    """Return the outline of one person's shadow in each frame, in pixels of half the size."""
    radius = 0.11 * stature.height
    ground = np.zeros((len(maps), len(_OVER), 8, 3))
    ground[..., :2] = rows[:, _OVER][:, :, None, :2] + radius * _RING
    places, _ = camera.project(ground)
    places = moved(places, maps, camera.aspect).reshape(len(maps), -1, 2)
    kx, ky = camera.px
    points = fixed(places, (kx / 2, ky / 2))
    return [cv2.convexHull(p)[:, 0] for p in points]


def cast(image: U8, outlines: list[I32], darkness: float) -> None:
    """Darken an image (H, W, 3) in place where shadows fall."""
    height, width = image.shape[:2]
    half = np.full((-(-height // 2), -(-width // 2)), 255, np.uint8)
    level = round(255 * (1 - darkness))
    top, bottom = len(half), 0
    for outline in outlines:
        cv2.fillConvexPoly(half, outline, level, cv2.LINE_8, SHIFT)
        rows = outline[:, 1] >> SHIFT
        top, bottom = min(top, int(rows.min())), max(bottom, int(rows.max()))
    top, bottom = max(top - 3, 0), min(bottom + 4, len(half))
    if top >= bottom:
        return
    last = min(2 * bottom, height)
    soft = cv2.blur(half[top:bottom], (3, 3))
    soft = cv2.resize(soft, (width, last - 2 * top), interpolation=cv2.INTER_LINEAR)
    part = image[2 * top : last]
    cv2.multiply(part, cv2.merge((soft, soft, soft)), dst=part, scale=1 / 255)
