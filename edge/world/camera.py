"""The camera: what it sees, how its picture moves, its colours, and what makes it worse.

A pinhole looks along Y with a pitch. The picture has height 1 and width `aspect` in the isotropic
units of this module; `px` squeezes it onto the network's square, as the runtime's resize does. Pan,
shake, roll and zoom move the finished picture (a turn of a camera about itself does that), the same
for people and background. Exposure and colour are applied once to the background and to each colour
that is drawn with; noise, blur, few pixels, flicker and JPEG to every frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.world.dice import Dice
from edge.world.skeleton import F64
from edge.world.textures import SIZE, noise

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
