"""The camera: a pinhole that looks along Y with a pitch, and the way its picture moves.

The picture has height 1 and width `aspect` in the isotropic units of this module; `to_px` squeezes
it onto the network's square, as the runtime's resize does. Pan, shake, roll and zoom move the
finished picture (a turn of a camera about itself does that), the same for people and background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.data.synthetic.pose import F64

# Nothing nearer to the camera than this is drawn where it is, m.
NEAREST_M = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where the camera is and what it sees.

    Attributes:
        height: Above the ground, m.
        pitch: Downwards, rad.
        focal: Focal length in heights of the picture.
        aspect: Width of the picture in its heights.
        width: Width of the network's square, px.
        height_px: Height of the network's square, px.
    """

    height: float
    pitch: float
    focal: float
    aspect: float
    width: int
    height_px: int

    @property
    def px(self) -> tuple[float, float]:
        """Return pixels per unit across and down."""
        return self.width / self.aspect, float(self.height_px)

    @property
    def horizon(self) -> float:
        """Return where the horizon is, in heights from the top of the picture."""
        return 0.5 - self.focal * math.tan(self.pitch)

    def project(self, points: F64) -> tuple[F64, F64]:
        """Return places (..., 2) in isotropic units and depths (...) in m of points (..., 3)."""
        sine, cosine = math.sin(self.pitch), math.cos(self.pitch)
        y, down = points[..., 1], self.height - points[..., 2]
        depth = np.maximum(y * cosine + down * sine, NEAREST_M)
        places = np.empty((*points.shape[:-1], 2))
        scale = self.focal / depth
        places[..., 0] = 0.5 * self.aspect + points[..., 0] * scale
        places[..., 1] = 0.5 + (down * cosine - y * sine) * scale
        return places, depth

    def plane(self, origin: F64, u: F64, v: F64) -> F64:
        """Return the homography from plane coordinates (a, b, 1) to pixels of the square.

        The plane is `origin + a * u + b * v`.
        """
        sine, cosine = math.sin(self.pitch), math.cos(self.pitch)
        look = np.array([[1, 0, 0], [0, -sine, -cosine], [0, cosine, -sine]], np.float64)
        eye = np.array([0.0, 0.0, self.height])
        columns = np.stack([look @ u, look @ v, look @ (origin - eye)], axis=1)
        kx, ky = self.px
        lens = np.array(
            [
                [self.focal * kx, 0, 0.5 * self.aspect * kx],
                [0, self.focal * ky, 0.5 * ky],
                [0, 0, 1],
            ]
        )
        homography: F64 = lens @ columns
        return homography


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPath:
    """How the picture moves: pan (slow), shake (fast), and for some clips roll and zoom.

    Attributes:
        pan: Amplitude across and down, heights of the picture.
        pan_hz: Frequency of the pan.
        pan_phase: Phase of the pan at the keyframe, rad.
        shake: Amplitude of a hand's shake, heights of the picture.
        shake_phase: Phase of the shake, rad.
        roll: Amplitude of the roll, rad.
        zoom: Amplitude of the zoom (0.05 is 5 %).
    """

    pan: tuple[float, float] = (0.0, 0.0)
    pan_hz: float = 0.3
    pan_phase: float = 0.0
    shake: float = 0.0
    shake_phase: float = 0.0
    roll: float = 0.0
    zoom: float = 0.0

    @property
    def moves(self) -> bool:
        """Tell whether the picture moves at all."""
        return any((*self.pan, self.shake, self.roll, self.zoom))

    @property
    def turns(self) -> bool:
        """Tell whether it does more than shift."""
        return bool(self.roll or self.zoom)

    @property
    def reach(self) -> tuple[float, float]:
        """Return the furthest shift across and down, heights of the picture."""
        x, y = (2 * abs(a) + 2 * self.shake for a in self.pan)
        return x, y

    def at(self, t: F64) -> F64:
        """Return (n, 2, 3) affine maps of isotropic places, about the middle of the picture.

        At the keyframe, t = 0, the picture is where `Camera` puts it.
        """
        slow = 2 * math.pi * self.pan_hz * t + self.pan_phase
        pan = np.sin(slow) - math.sin(self.pan_phase)
        fast = self.shake_phase + 2 * math.pi * 2.3 * t
        wobble_x = np.sin(fast) - math.sin(self.shake_phase)
        wobble_y = np.sin(1.37 * fast + 1) - math.sin(1.37 * self.shake_phase + 1)
        angle = self.roll * pan
        scale = 1 + self.zoom * pan
        maps = np.empty((len(t), 2, 3))
        maps[:, 0, 0] = maps[:, 1, 1] = scale * np.cos(angle)
        maps[:, 1, 0] = scale * np.sin(angle)
        maps[:, 0, 1] = -maps[:, 1, 0]
        maps[:, 0, 2] = self.pan[0] * pan + self.shake * wobble_x
        maps[:, 1, 2] = self.pan[1] * pan + 0.8 * self.shake * wobble_y
        return maps


def moved(places: F64, maps: F64, aspect: float) -> F64:
    """Apply maps (F, 2, 3) about the picture's middle to places (F, ..., 2)."""
    middle = np.array([0.5 * aspect, 0.5])
    shape = places.shape
    flat = places.reshape(shape[0], -1, 2) - middle
    turned = flat @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2] + middle
    result: F64 = turned.reshape(shape)
    return result
