"""Where a scene is, and the canvas that it is painted on: textured planes and flat shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.world.camera import Camera, CameraPath
from edge.world.drawing import SHIFT, Colour, fixed
from edge.world.skeleton import F64
from edge.world.textures import texture

U8 = npt.NDArray[np.uint8]
Corner = tuple[float, float, float]

# X, Y, Z of the world.
AXES: F64 = np.eye(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the scene is.

    Attributes:
        indoors: A room, else an open space.
        wall: Distance of the back wall (indoors) or of what stands far away (outdoors), m.
        side: Distance of the side walls from the middle, m; infinite where there are none.
        seed: Seed of everything that is painted.
        defocus: Blur of the background, px at 160.
    """

    indoors: bool
    wall: float
    side: float
    seed: int
    defocus: float


class Canvas:
    """A picture of the place with a margin around the frame."""

    def __init__(self, camera: Camera, path: CameraPath) -> None:
        kx, ky = camera.px
        reach_x, reach_y = path.reach
        spare = 0.06 if path.turns else 0.0
        self.camera = camera
        moves = path.moves
        self.left = math.ceil(kx * (reach_x + spare * camera.aspect)) + 2 if moves else 0
        self.top = math.ceil(ky * (reach_y + spare)) + 2 if moves else 0
        self.size_wh = (camera.width + 2 * self.left, camera.height_px + 2 * self.top)
        self.picture: U8 = np.empty((self.size_wh[1], self.size_wh[0], 3), np.uint8)
        self._corners: list[Corner] = []
        self._sizes: list[int] = []
        self._colours: list[Colour] = []

    def row(self, y: float) -> int:
        """Return the row of a height in isotropic units, clipped to the canvas."""
        row = self.top + y * self.camera.height_px
        return min(max(round(row), 0), self.size_wh[1]) if math.isfinite(row) else 0

    def surface(
        self, rows: tuple[int, int], name: str, colours: tuple[Colour, Colour], ppm: float,
        axes: tuple[F64, F64, F64],
    ) -> None:  # fmt: skip
        """Cover rows with a texture lying in a plane.

        Args:
            rows: First row and the one after the last.
            name: Texture.
            colours: Where it is darkest and brightest.
            ppm: Texture pixels per metre.
            axes: Origin of the plane and its two directions.
        """
        first, last = rows
        if last <= first:
            return
        origin, u, v = axes
        shift = np.array([[1, 0, self.left], [0, 1, self.top - first], [0, 0, 1]], np.float64)
        homography = shift @ self.camera.plane(origin, u / ppm, v / ppm)
        grey = cv2.warpPerspective(
            texture(name), homography, (self.size_wh[0], last - first),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        self.picture[first:last] = cv2.applyColorMap(grey, ramp(*colours))

    def floor(
        self, first: int, name: str, colours: tuple[Colour, Colour], ppm: float, turn: float
    ) -> None:
        """Cover everything below a row with a texture lying on the ground."""
        u = math.cos(turn) * AXES[0] + math.sin(turn) * AXES[1]
        v = math.cos(turn) * AXES[1] - math.sin(turn) * AXES[0]
        self.surface((first, self.size_wh[1]), name, colours, ppm, (np.zeros(3), u, v))
        # What is far away is too fine for the pixels: let it fade into its mean.
        depth = min(self.size_wh[1] - first, round(0.22 * self.camera.height_px))
        if depth > 1:
            part = self.picture[first : first + depth]
            keep = np.linspace(0.15, 1.0, depth, dtype=np.float32)[:, None, None]
            mean = np.mean(np.array(colours), axis=0, dtype=np.float32)
            part[:] = (mean + keep * (part - mean)).clip(0, 255).astype(np.uint8)

    def shape(self, corners: Sequence[Corner], colour: Colour) -> None:
        """Fill a flat convex shape in the world, with all others of its kind at `flush`."""
        self._corners += corners
        self._sizes.append(len(corners))
        self._colours.append(colour)

    def panel(self, x: tuple[float, float], z: tuple[float, float], y: float, c: Colour) -> None:
        """Fill an upright rectangle at distance `y`."""
        self.shape([(x[0], y, z[0]), (x[1], y, z[0]), (x[1], y, z[1]), (x[0], y, z[1])], c)

    def flush(self) -> None:
        """Fill the shapes so far: projected all at once, drawn in the order they came."""
        if not self._sizes:
            return
        places, _ = self.camera.project(np.array(self._corners, np.float64))
        kx, ky = self.camera.px
        shift = np.array([self.left / kx, self.top / ky])
        pixels, first = fixed(places + shift, (kx, ky)), 0
        paints = np.clip(np.rint(self._colours), 0, 255).tolist()
        for size, paint in zip(self._sizes, paints, strict=True):
            corners = pixels[first : first + size]
            cv2.fillConvexPoly(self.picture, corners, paint, cv2.LINE_AA, SHIFT)
            first += size
        self._corners, self._sizes, self._colours = [], [], []


def ramp(dark: Colour, bright: Colour) -> U8:
    """Return a colour map (256, 1, 3) for textures, whose middle is between both colours."""
    share = np.linspace(0, 1, 256)[:, None]
    values = np.array(dark) + share * (np.array(bright) - np.array(dark))
    table: U8 = np.clip(values, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    return table


def shades(colour: Colour, contrast: float) -> tuple[Colour, Colour]:
    """Return a colour made darker and brighter by a share."""
    low, high = 1 - contrast, 1 + contrast
    r, g, b = colour
    return (r * low, g * low, b * low), (r * high, g * high, b * high)
