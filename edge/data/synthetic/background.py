"""The place behind the people, painted once a clip.

It is larger than the frame where the camera moves, and cut out for each frame.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.data.synthetic.camera import Camera, CameraPath
from edge.data.synthetic.outdoors import paint_outdoors
from edge.data.synthetic.place import Canvas, Place
from edge.data.synthetic.room import paint_room
from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.tone import Tone


def paint_place(place: Place, camera: Camera, path: CameraPath, tone: Tone) -> Canvas:
    """Paint a place."""
    dice = Dice(place.seed, 40)
    canvas = Canvas(camera, path)
    (paint_room if place.indoors else paint_outdoors)(canvas, place, dice)
    _light_field(canvas, dice)
    if place.defocus > 0:
        sigma = place.defocus * camera.height_px / 160
        canvas.picture = cv2.GaussianBlur(canvas.picture, (0, 0), sigma)
    canvas.picture = tone.image(canvas.picture)
    return canvas


def _light_field(canvas: Canvas, dice: Dice) -> None:
    """Let light fall unevenly on the place."""
    depth = dice.uniform(0.0, 0.4)
    field = np.array([1.0 - depth * dice.unit() for _ in range(12)], np.float32).reshape(3, 4)
    smooth = cv2.resize(field, canvas.size_wh, interpolation=cv2.INTER_LINEAR)
    grey = (smooth * 255).astype(np.uint8)
    canvas.picture = cv2.multiply(canvas.picture, cv2.merge([grey] * 3), scale=1 / 255)
