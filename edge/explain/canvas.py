"""Sizes, colours and strokes of the pictures."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from runtime.sinks.draw import FONT, Colour, plain
from runtime.sinks.layout import Rect
from runtime.sources import Image

WIDTH = 1480
MARGIN = 20
KEY_HEIGHT = 470  # the keyframe fits in
MAX_ROWS = 6  # kept tokens that are drawn in a colour of their own
BACKGROUND: Colour = (30, 26, 22)
PANEL: Colour = (48, 43, 38)
WHITE: Colour = (245, 245, 245)
GREY: Colour = (170, 165, 160)
ALARM: Colour = (50, 50, 220)
KEPT: Colour = (60, 220, 250)  # kept tokens without a colour of their own
_HEAT = cv2.COLORMAP_INFERNO


def heat(share: npt.NDArray[np.floating]) -> Image:
    """Return shares in [0, 1] as colours."""
    levels = np.clip(np.round(share * 255), 0, 255).astype(np.uint8)
    coloured: Image = np.asarray(cv2.applyColorMap(levels, _HEAT), dtype=np.uint8)
    return coloured


def blank(height: int) -> Image:
    """Return an empty strip."""
    return np.full((height, WIDTH, 3), BACKGROUND, np.uint8)


def paste(image: Image, part: Image, at: tuple[int, int]) -> None:
    """Put a picture into another, its top left corner at (x, y)."""
    x, y = at
    image[y : y + part.shape[0], x : x + part.shape[1]] = part


def tag(image: Image, words: str, spot: Rect, colour: Colour) -> None:
    """Write dark words on a patch of colour."""
    cv2.rectangle(image, (spot.x, spot.y), (spot.x + spot.w, spot.y + spot.h), colour, cv2.FILLED)
    cv2.putText(image, words, (spot.x + 6, spot.y + 17), FONT, 0.55, (0, 0, 0), 1, cv2.LINE_AA)


def write(image: Image, words: str, at: tuple[int, int], scale: float, colour: Colour) -> None:
    """Write words, their base line beginning at (x, y)."""
    cv2.putText(image, plain(words, 240), at, FONT, scale, colour, 1, cv2.LINE_AA)
