"""What a cheap camera does to a picture: noise, blur, few pixels, flicker, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.textures import SIZE, noise

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """How bad the picture is.

    Attributes:
        noise: Standard deviation of the noise, 0 - 255; 0 for none.
        noise_seed: Seed of where in the bank of noise each frame looks.
        softness: Blur of the whole picture, px at 160; 0 for none.
        smear: Length of a smear from the camera's own shake, px at 160; 0 for none.
        shrink: Size of the picture before it was enlarged again; 1 for no loss.
        jpeg: JPEG quality; 0 for none.
        flicker: Change of brightness over a second, as a share; 0 for steady light.
        flicker_hz: How fast the light changes.
        exposures: Sub-frames that are averaged: motion blur of what moves; 1 for none.
        shutter_s: Time from the first to the last of them, seconds.
    """

    noise: int = 0
    noise_seed: int = 0
    softness: float = 0.0
    smear: float = 0.0
    shrink: float = 1.0
    jpeg: int = 0
    flicker: float = 0.0
    flicker_hz: float = 1.0
    exposures: int = 1
    shutter_s: float = 0.0


def draw_degradation(dice: Dice, seed: int, *, sharp: bool) -> Degradation:
    """Draw how bad the picture is.

    Args:
        dice: Dice.
        seed: Seed of the clip.
        sharp: Leave out motion blur.
    """
    blurred = dice.chance(0.22) and not sharp
    # Few pixels or a soft lens; both together leave nothing of a small person.
    loss = dice.weighted((0.12, 0.23, 0.65))
    return Degradation(
        noise=dice.one_of((2, 3, 5, 5, 8, 12)) if dice.chance(0.72) else 0,
        noise_seed=seed,
        softness=dice.uniform(0.4, 0.95) if loss == 1 else 0.0,
        smear=dice.uniform(2.0, 5.0) if dice.chance(0.06) else 0.0,
        shrink=dice.uniform(0.5, 0.8) if loss == 0 else 1.0,
        jpeg=25 + dice.below(60) if dice.chance(0.22) else 0,
        flicker=dice.uniform(0.06, 0.35) if dice.chance(0.14) else 0.0,
        flicker_hz=dice.uniform(0.2, 3.0),
        exposures=3 if blurred else 1,
        shutter_s=dice.uniform(0.02, 0.055) if blurred else 0.0,
    )


class Degrader:
    """Applies one clip's degradation to its frames, one after the other."""

    def __init__(self, how: Degradation, size: tuple[int, int]) -> None:
        self.how = how
        self.scale = size[0] / 160
        self._dice = Dice(how.noise_seed, 60)
        self._phase = self._dice.unit()

    def apply(self, frame: U8, t: float) -> None:
        """Degrade one RGB frame in place.

        Args:
            frame: (H, W, 3).
            t: Its time from the keyframe, seconds.
        """
        how = self.how
        if how.flicker:
            wave = np.sin(2 * np.pi * (how.flicker_hz * t + self._phase))
            cv2.convertScaleAbs(frame, dst=frame, alpha=1.0 + how.flicker * float(wave))
        if how.shrink < 1.0:
            height, width = frame.shape[:2]
            few = (max(8, round(width * how.shrink)), max(8, round(height * how.shrink)))
            small = cv2.resize(frame, few, interpolation=cv2.INTER_AREA)
            cv2.resize(small, (width, height), dst=frame, interpolation=cv2.INTER_LINEAR)
        if how.softness:
            cv2.GaussianBlur(frame, (0, 0), how.softness * self.scale, dst=frame)
        if how.smear:
            length = max(2, round(how.smear * self.scale))
            cv2.blur(frame, (length, 1), dst=frame)
        if how.noise:
            self._add_noise(frame)
        if how.jpeg:
            quality = [cv2.IMWRITE_JPEG_QUALITY, how.jpeg]
            _, coded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
            cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB, dst=frame)

    def _add_noise(self, frame: U8) -> None:
        more, less = noise(self.how.noise)
        height, width = frame.shape[:2]
        if height > 2 * SIZE or width > 2 * SIZE:
            times = (-(-height // (2 * SIZE)), -(-width // (2 * SIZE)), 1)
            more, less = np.tile(more, times), np.tile(less, times)
        y = self._dice.below(more.shape[0] - height + 1)
        x = self._dice.below(more.shape[1] - width + 1)
        cv2.add(frame, more[y : y + height, x : x + width], dst=frame)
        cv2.subtract(frame, less[y : y + height, x : x + width], dst=frame)
