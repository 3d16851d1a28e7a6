"""Part of the picture in which people count: a polygon that their foot points lie in."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from runtime.decode import Detections
from runtime.errors import ConfigError
from runtime.results import KeyframeResult

MAX_CORNERS = 64


class Region:
    """A polygon; its corners are shares of the frame, x to the right, y down."""

    def __init__(self, corners: tuple[tuple[float, ...], ...]) -> None:
        """Take the corners, in order; without any it is the whole frame.

        Raises:
            ConfigError: They make no polygon, or lie outside the frame.
        """
        self.corners = corners
        if not corners:
            return
        if not 3 <= len(corners) <= MAX_CORNERS:
            raise ConfigError(
                f"region has {len(corners)} corners, expected 3 to {MAX_CORNERS}, each [x, y]"
            )
        for corner in corners:
            if len(corner) != 2 or not all(math.isfinite(v) and 0 <= v <= 1 for v in corner):
                raise ConfigError(
                    f"region has the corner {list(corner)}, expected [x, y], shares of the frame "
                    "from 0 to 1"
                )
        x, y = np.array(corners, dtype=np.float64).T
        if abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 < 1e-6:
            raise ConfigError(f"region {[list(c) for c in corners]} has no area; give its corners")

    def holds(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Tell of points (K, 2), shares of the frame, which lie inside: (K,)."""
        inside = np.full(len(points), not self.corners)
        for (x1, y1), (x2, y2) in zip(
            self.corners, (*self.corners[1:], *self.corners[:1]), strict=True
        ):
            if y1 == y2:
                continue
            # Even and odd: a ray to the left crosses this side or not.
            between = (points[:, 1] < y1) != (points[:, 1] < y2)
            crossing = x1 + (points[:, 1] - y1) * (x2 - x1) / (y2 - y1)
            inside ^= between & (points[:, 0] > crossing)
        return inside

    def of(self, result: KeyframeResult) -> KeyframeResult:
        """Return the result without the people whose foot point is outside."""
        found = result.detections
        if not self.corners or not len(found):
            return result
        x1, _, x2, y2 = found.xyxy.astype(np.float64).T
        # A box that is cut by the frame's edge ends there.
        foot = np.stack([(x1 + x2) / 2, y2], axis=1) / np.array(result.size_wh)
        kept = self.holds(np.clip(foot, 0.0, 1.0 - 1e-9))
        if kept.all():
            return result
        rows = np.flatnonzero(kept)
        people = result.people
        return replace(
            result,
            detections=Detections(
                xyxy=found.xyxy[rows], actor=found.actor[rows], actions=found.actions[rows],
                token=found.token[rows],
            ),
            people=None if people is None else tuple(people[row] for row in rows),
        )  # fmt: skip
