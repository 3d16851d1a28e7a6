"""A short clip of moving, people-like figures, drawn from a seed: something to run a model on.

It needs OpenCV and NumPy only, so a device can make it. It is no training data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.world.video import write_mp4

Frame = npt.NDArray[np.uint8]
Point = tuple[float, float]
Colour = tuple[int, int, int]
Place = Callable[[float, float], Point]

SIZE_WH = (640, 360)
FPS = 30.0
# Fixed-point bits of OpenCV's sub-pixel drawing; without them slow limbs move in steps.
_SHIFT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One person: where they stand, how tall they are in pixels, what they wear and do."""

    action: str
    x: float
    ground_y: float
    height_px: float
    shirt: Colour
    trousers: Colour
    skin: Colour
    speed_px_s: float = 0.0
    phase: float = 0.0


def demo_figures() -> list[Figure]:
    """Return the cast of the demo clip: one walks past, one waves, one falls, one stands."""
    skins: list[Colour] = [(150, 180, 225), (90, 125, 175), (60, 85, 130), (130, 160, 210)]
    return [
        Figure(action="stand", x=560, ground_y=262, height_px=112, shirt=(70, 120, 60),
               trousers=(60, 55, 50), skin=skins[3], phase=1.0),
        Figure(action="wave", x=420, ground_y=290, height_px=165, shirt=(60, 70, 190),
               trousers=(95, 70, 45), skin=skins[0]),
        Figure(action="walk", x=-20, ground_y=318, height_px=205, shirt=(175, 120, 50),
               trousers=(50, 45, 60), skin=skins[1], speed_px_s=95.0),
        Figure(action="fall", x=250, ground_y=340, height_px=225, shirt=(60, 170, 200),
               trousers=(110, 80, 60), skin=skins[2]),
    ]  # fmt: skip


def render_frame(t: float, *, seed: int = 0, figures: list[Figure] | None = None) -> Frame:
    """Draw the scene at time `t` in seconds, as uint8 BGR of shape (360, 640, 3)."""
    frame = _background(seed).copy()
    pan = 6.0 * math.sin(0.5 * t)
    frame = np.roll(frame, round(pan), axis=1)
    cast = demo_figures() if figures is None else figures
    for figure in sorted(cast, key=lambda f: f.ground_y):
        _draw_figure(frame, figure, t, pan)
    noise = np.random.default_rng(seed * 100_003 + round(t * FPS)).normal(0, 4, frame.shape)
    noisy: Frame = np.clip(frame + noise, 0, 255).astype(np.uint8)
    return noisy


def write_demo_clip(path: Path, *, seconds: float = 6.0, seed: int = 0) -> int:
    """Write the clip as an mp4 of 640x360 at 30 fps; return its number of frames.

    Raises:
        SinkError: The file cannot be written.
    """
    moments = (index / FPS for index in range(round(seconds * FPS)))
    frames = (render_frame(t, seed=seed) for t in moments)
    return write_mp4(path, frames, size_wh=SIZE_WH, fps=FPS)


_BACKGROUNDS: dict[int, Frame] = {}


def _background(seed: int) -> Frame:
    if seed not in _BACKGROUNDS:
        _BACKGROUNDS.clear()
        _BACKGROUNDS[seed] = _paint_room(np.random.default_rng(seed))
    return _BACKGROUNDS[seed]


def _paint_room(rng: np.random.Generator) -> Frame:
    """Paint a wall with a window and a door, and a floor in perspective."""
    width, height = SIZE_WH
    horizon = int(height * 0.6)
    room = np.zeros((height, width, 3), np.float32)
    room[:horizon] = (178, 186, 190)
    room[:horizon] *= np.linspace(0.8, 1.0, horizon, dtype=np.float32)[:, None, None]
    room[horizon:] = (108, 126, 146)
    room[horizon:] *= np.linspace(0.75, 1.15, height - horizon, dtype=np.float32)[:, None, None]
    for i in range(-14, 15):
        bottom = (width // 2 + i * 110, height)
        cv2.line(room, (width // 2 + i * 34, horizon), bottom, (88, 104, 122), 1, cv2.LINE_AA)
    for step in (0.05, 0.14, 0.28, 0.5, 0.82):
        y = int(horizon + step * (height - horizon))
        cv2.line(room, (0, y), (width, y), (88, 104, 122), 1, cv2.LINE_AA)
    cv2.rectangle(room, (60, 40), (190, 130), (226, 214, 196), -1)
    cv2.rectangle(room, (60, 40), (190, 130), (120, 122, 124), 5)
    cv2.line(room, (125, 40), (125, 130), (120, 122, 124), 4)
    cv2.rectangle(room, (478, 62), (545, horizon), (92, 112, 138), -1)
    cv2.circle(room, (536, 146), 3, (60, 70, 80), -1, cv2.LINE_AA)
    cv2.rectangle(room, (0, horizon - 6), (width, horizon), (150, 156, 160), -1)
    grain = cv2.resize(rng.normal(0, 7, (height // 4, width // 4, 3)).astype(np.float32), SIZE_WH)
    painted: Frame = np.clip(room + grain, 0, 255).astype(np.uint8)
    return painted


def _draw_figure(frame: Frame, figure: Figure, t: float, pan: float) -> None:
    h = figure.height_px
    stride = 2 * math.pi * (t * 0.95 + figure.phase)
    walking = figure.action == "walk"
    swing = 0.5 * math.sin(stride) if walking else 0.03 * math.sin(2 * t + figure.phase)
    # A fall turns the whole body about the feet; it starts at 2 s and takes 0.8 s.
    tilt = 0.0
    if figure.action == "fall":
        u = min(max((t - 2.0) / 0.8, 0.0), 1.0)
        tilt = -1.45 * u * u * (3 - 2 * u)
    foot = (figure.x + pan + figure.speed_px_s * t, figure.ground_y)
    bob = 0.012 * h * abs(math.cos(stride)) if walking else 0.0

    def place(dx: float, up: float) -> Point:
        cos, sin = math.cos(tilt), math.sin(tilt)
        return (foot[0] + h * (dx * cos - up * sin), foot[1] - bob - h * (dx * sin + up * cos))

    lying = abs(math.sin(tilt))
    under = (place(0.0, 0.5 * lying)[0], foot[1])
    _draw_shadow(frame, under, h * (1 + 1.4 * lying))
    hip, neck, head = (0.0, 0.49), (0.0, 0.82), (0.012, 0.925)
    far, near = 0.72, 1.0
    for side, light in ((-1, far), (1, near)):
        if side == 1:
            _capsule(frame, place(*hip), place(0, 0.74), 0.115 * h, figure.shirt)
            _capsule(frame, place(*neck), place(*head), 0.035 * h, figure.skin)
            _capsule(frame, place(*head), place(head[0], head[1] + 0.01), 0.066 * h, figure.skin)
            _capsule(frame, place(-0.01, 0.965), place(0.015, 0.97), 0.05 * h, (35, 40, 48))
        angle = side * swing
        knee = (hip[0] + 0.245 * math.sin(angle), hip[1] - 0.245 * math.cos(angle))
        bend = angle - (0.55 * max(0.0, math.sin(stride + (0 if side < 0 else math.pi)))
                        if walking else 0.0)  # fmt: skip
        ankle = (knee[0] + 0.235 * math.sin(bend), knee[1] - 0.235 * math.cos(bend))
        leg = _shade(figure.trousers, light)
        _capsule(frame, place(*hip), place(*knee), 0.062 * h, leg)
        _capsule(frame, place(*knee), place(*ankle), 0.045 * h, leg)
        toe = (ankle[0] + 0.06, ankle[1] - 0.01)
        _capsule(frame, place(*ankle), place(*toe), 0.026 * h, (40, 40, 45))
        _draw_arm(frame, figure, place, side=side, swing=swing, t=t, light=light)


def _draw_arm(
    frame: Frame, figure: Figure, place: Place, *, side: int, swing: float, t: float, light: float
) -> None:
    h = figure.height_px
    angle, bend = -side * swing, 0.25
    if figure.action == "wave" and side == 1:
        angle, bend = 2.2, 0.75 + 0.55 * math.sin(2 * math.pi * 1.3 * t)
    shoulder = (side * 0.03, 0.79)
    elbow = (shoulder[0] + 0.17 * math.sin(angle), shoulder[1] - 0.17 * math.cos(angle))
    lower = angle + bend
    hand = (elbow[0] + 0.17 * math.sin(lower), elbow[1] - 0.17 * math.cos(lower))
    _capsule(frame, place(*shoulder), place(*elbow), 0.042 * h, _shade(figure.shirt, light * 0.92))
    _capsule(frame, place(*elbow), place(*hand), 0.032 * h, _shade(figure.skin, light))


def _draw_shadow(frame: Frame, foot: Point, width: float) -> None:
    centre = (round(foot[0]), round(foot[1]))
    axes = (max(1, round(0.2 * width)), max(1, round(0.045 * width)))
    layer = frame.copy()
    cv2.ellipse(layer, centre, axes, 0, 0, 360, (45, 52, 60), -1, cv2.LINE_AA)
    cv2.addWeighted(layer, 0.55, frame, 0.45, 0, dst=frame)


def _capsule(frame: Frame, a: Point, b: Point, radius: float, colour: Colour) -> None:
    """Draw a limb: a dark rim, its colour, and a highlight towards the light at the upper left."""
    rim = _shade(colour, 0.62)
    for offset, share, paint in ((0.0, 1.0, rim), (-0.12, 0.82, colour),
                                 (-0.3, 0.36, _shade(colour, 1.22))):  # fmt: skip
        shift = offset * radius
        start = _fixed((a[0] + shift, a[1] + shift))
        end = _fixed((b[0] + shift, b[1] + shift))
        thickness = max(1, round(2 * radius * share))
        cv2.line(frame, start, end, paint, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * (1 << _SHIFT)), round(point[1] * (1 << _SHIFT))


def _shade(colour: Colour, factor: float) -> Colour:
    b, g, r = (min(255, max(0, round(c * factor))) for c in colour)
    return b, g, r
