"""Exposure, contrast and colour of a clip.

Applied once to the background and to each colour that is drawn with, not to every frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.synthetic.pose import F64
from edge.data.synthetic.seeds import Dice

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """How scene colours become pixel values.

    Attributes:
        gain: Exposure; 1 leaves colours as they are.
        gamma: Contrast; above 1 darkens the middle.
        tint: Gain of red, green and blue.
        saturation: 1 as it is, 0 grey.
        black: Value of black, 0 - 255 (haze, bad screens).
    """

    gain: float = 1.0
    gamma: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    black: float = 0.0

    def paints(self, colours: F64, shades: F64) -> list[tuple[int, int, int]]:
        """Return the pixel values of colours (n, 3), each made darker by a factor (n,)."""
        grey = colours @ np.array([0.3, 0.59, 0.11])
        mixed = self.saturation * colours + (1 - self.saturation) * grey[:, None]
        levels = mixed * (self.gain / 255.0) * shades[:, None] * np.array(self.tint)
        values = self.black + (255.0 - self.black) * np.clip(levels, 0.0, 1.0) ** self.gamma
        return [tuple(v) for v in np.rint(values).astype(int).tolist()]

    def image(self, picture: U8) -> U8:
        """Return the pixel values of a picture (H, W, 3)."""
        if self.saturation != 1.0:
            grey = np.array([0.3, 0.59, 0.11], np.float32)
            mix = self.saturation * np.eye(3, dtype=np.float32) + (1 - self.saturation) * grey
            picture = cv2.transform(picture, mix)
        levels = np.arange(256)[:, None] / 255.0 * self.gain * np.array(self.tint)
        table = self.black + (255.0 - self.black) * np.clip(levels, 0, 1) ** self.gamma
        toned: U8 = cv2.LUT(picture, (table + 0.5).astype(np.uint8).reshape(256, 1, 3))
        return toned


def draw_tone(dice: Dice) -> Tone:
    """Draw exposure and colour: mostly plain, some dark, some pale, a few without colour."""
    warm = dice.bell(0.0, 0.1)
    kind = dice.unit()
    gain, black = dice.uniform(0.85, 1.15), 0.0
    if kind < 0.14:
        gain = dice.uniform(0.5, 0.78)
    elif kind < 0.24:
        gain = dice.uniform(1.15, 1.45)
    elif kind < 0.34:
        gain, black = dice.uniform(0.7, 0.95), dice.uniform(20.0, 60.0)
    saturation = dice.uniform(0.55, 1.1)
    if dice.chance(0.05):
        saturation, warm = 0.0, 0.0
    return Tone(
        gain=gain,
        gamma=dice.uniform(0.85, 1.2),
        tint=(1 + warm, 1 + 0.3 * dice.bell(0.0, 0.06), 1 - warm),
        saturation=saturation,
        black=black,
    )
