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
_FILM_BITS = 12  # of films for a screen, at most
_SMALL_PART = 1 / 8  # of the range of 16 bits


def keeps_8_bits(pixel_format: Any) -> bool:
    """Tell whether converting to 8 bits loses nothing that matters, of a format of PyAV.

    It does where the values are those of a picture for a screen: at most 8 bits, or colour of at
    most 12. Grey values of more bits are measurements, such as a thermal camera's, and use a part
    of the range; colour of more bits may be either (`DepthRange.uses_part`).
    """
    bits = [int(part.bits) for part in pixel_format.components]
    return max(bits) <= (_FILM_BITS if len(bits) > 1 else 8)


class DepthRange:
    """Values of more than 8 bits, stretched to 0 to 255.

    The range runs from the 1st to the 99th percentile of the first frame, and grows when a later
    frame has values outside: it never shrinks, so that a still scene does not flicker. All colours
    have the same range.

    Attributes:
        whole: Whether `uses_part` found that colours keep their scale.
    """

    def __init__(self, shown: str) -> None:
        """Take the name for the message."""
        self._shown = shown
        self._low = self._high = np.nan
        self._part = False
        self.whole = False

    def uses_part(self, colours: Pixels) -> bool:
        """Tell whether 16-bit colours have to be stretched, (H, W, 3) of one frame.

        The first frame decides, once and for all: they do where all its values lie in an eighth of
        the range, as measurements do, and 10 bits in 16. One of a single value decides nothing.
        """
        if not self._part and not self.whole:
            span = int(colours.max()) - int(colours.min())
            self.whole = span > 0xFFFF * _SMALL_PART
            self._part = span > 0 and not self.whole
        return self._part

    def to_8_bits(self, values: Pixels) -> Image:
        """Return (H, W) or (H, W, 3) values as uint8 of the same shape; what is no number as 0."""
        known = values if values.dtype.kind != "f" else values[np.isfinite(values)]
        low, high = np.percentile(known, (_LOW, _HIGH)) if known.size else (np.nan, np.nan)
        first = np.isnan(self._low)
        self._low, self._high = np.fmin(self._low, low), np.fmax(self._high, high)
        if first and known.size:
            digits = ".4g" if values.dtype.kind == "f" else ".0f"
            logger.warning(
                "%s: %s values of more than 8 bits; %s to %s (1st to 99th percentile) become 0 to "
                "255, and the range grows with later frames",
                self._shown, "grey" if values.ndim == 2 else "colour",
                format(self._low, digits), format(self._high, digits),
            )  # fmt: skip
        # Of whole numbers a span below 1 is none.
        span = max(self._high - self._low, 1e-12 if values.dtype.kind == "f" else 1.0)
        scaled = (values.astype(np.float32) - np.float32(self._low)) * np.float32(255.0 / span)
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
        levels: Image = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return levels

    def to_bgr(self, values: Pixels) -> Image:
        """Return grey values (H, W), or blue, green and red (H, W, 3), as uint8 BGR (H, W, 3)."""
        levels = self.to_8_bits(values)
        return levels if levels.ndim == 3 else np.repeat(levels[:, :, None], 3, axis=2)
