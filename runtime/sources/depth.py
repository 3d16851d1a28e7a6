"""Bring pixels of more than 8 bits to 8, by a rule that is said."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

Image: TypeAlias = npt.NDArray[np.uint8]
Pixels: TypeAlias = npt.NDArray[Any]

_LOW, _HIGH = 1.0, 99.0  # per cent of the pixels


def keeps_8_bits(pixel_format: Any) -> bool:
    """Tell whether converting to 8 bits loses nothing that matters, of a format of PyAV.

    It does where the values are those of a picture for a screen (colour, or at most 8 bits). Grey
    values of more bits are measurements, such as a thermal camera's, and use a part of the range.
    """
    components = pixel_format.components
    return len(components) > 1 or components[0].bits <= 8


class DepthRange:
    """Grey values of more than 8 bits, stretched to 0 to 255.

    The range runs from the 1st to the 99th percentile of the first frame, and grows when a later
    frame has values outside: it never shrinks, so that a still scene does not flicker.
    """

    def __init__(self, shown: str) -> None:
        """Take the name for the message."""
        self._shown = shown
        self._low = self._high = np.nan

    def to_8_bits(self, grey: Pixels) -> Image:
        """Return (H, W) values as uint8 (H, W)."""
        low, high = (float(value) for value in np.percentile(grey, (_LOW, _HIGH)))
        first = np.isnan(self._low)
        self._low, self._high = np.fmin(self._low, low), np.fmax(self._high, high)
        if first:
            logger.warning(
                "%s: grey values of more than 8 bits; %.0f to %.0f (1st to 99th percentile) "
                "become 0 to 255, and the range grows with later frames",
                self._shown, self._low, self._high,
            )  # fmt: skip
        span = max(self._high - self._low, 1.0)
        scaled = (grey.astype(np.float32) - np.float32(self._low)) * np.float32(255.0 / span)
        levels: Image = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return levels

    def to_bgr(self, grey: Pixels) -> Image:
        """Return (H, W) values as uint8 BGR (H, W, 3)."""
        return np.repeat(self.to_8_bits(grey)[:, :, None], 3, axis=2)
