"""An open space: sky, ground, and what stands far away."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.data.synthetic.appearance import Colour, cloth
from edge.data.synthetic.place import Canvas, Place, shades
from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.textures import GROUNDS, SIZE, texture

_RING = tuple((math.cos(i * math.pi / 6), math.sin(i * math.pi / 6)) for i in range(12))


def paint_outdoors(canvas: Canvas, place: Place, dice: Dice) -> None:
    """Paint an open space."""
    camera = canvas.camera
    horizon = canvas.row(camera.horizon)
    width = canvas.size_wh[0]
    zenith, haze = _sky_colours(dice)
    if horizon > 0:
        share = np.linspace(0, 1, horizon)[:, None, None]
        sky = np.array(zenith) + share * (np.array(haze) - np.array(zenith))
        sky = np.broadcast_to(sky, (horizon, width, 3))
        cover = dice.uniform(0, 0.5)
        clouds = cv2.resize(texture("clouds")[: SIZE // 2], (width, horizon))
        sky = sky + cover * (clouds[:, :, None].astype(np.float32) - 128.0)
        canvas.picture[:horizon] = np.clip(sky, 0, 255).astype(np.uint8)
    name = dice.one_of(GROUNDS)
    ground = _ground_colour(name, dice)
    contrast = dice.uniform(0.2, 0.6)
    canvas.floor(horizon, name, shades(ground, contrast), dice.uniform(14, 50), 0.0)
    if dice.chance(0.5):
        _strips(canvas, place, dice)
    _skyline(canvas, place, dice)
    canvas.flush()


def _sky_colours(dice: Dice) -> tuple[Colour, Colour]:
    kind = dice.unit()
    if kind < 0.5:
        return (96.0, 150.0, 216.0), (206.0, 222.0, 236.0)
    if kind < 0.8:
        level = dice.uniform(130, 225)
        return (level, level * 1.01, level * 1.03), (level * 1.08, level * 1.08, level * 1.08)
    return (92.0, 96.0, 150.0), (246.0, 190.0, 140.0)


def _ground_colour(name: str, dice: Dice) -> Colour:
    if name == "grass":
        level = dice.uniform(70, 140)
        return (level * dice.uniform(0.7, 1.05), level, level * dice.uniform(0.4, 0.65))
    level = dice.uniform(80, 190)
    warm = dice.uniform(-0.05, 0.15)
    return (level * (1 + warm), level, level * (1 - warm))


def _strips(canvas: Canvas, place: Place, dice: Dice) -> None:
    """Lay a path or a street with a kerb across the ground."""
    near = dice.uniform(1.0, place.wall)
    far = near + dice.uniform(1.0, 6.0)
    level = dice.uniform(60, 170)
    for a, b, grey in ((near - 0.15, near, level * 1.35), (near, far, level),
                       (far, far + 0.2, level * 1.35)):  # fmt: skip
        corners = [(-60.0, a, 0.0), (60.0, a, 0.0), (60.0, b, 0.0), (-60.0, b, 0.0)]
        canvas.shape(corners, (grey, grey, grey * 0.98))


def _skyline(canvas: Canvas, place: Place, dice: Dice) -> None:
    """Put houses, trees and fences behind the scene, from far to near."""
    camera = canvas.camera
    haze = dice.uniform(0.1, 0.5)
    for layer in range(1 + dice.below(3)):
        y = place.wall * (3.2 - layer * 1.0) + dice.uniform(0, 4)
        half = 0.6 * camera.aspect * y / camera.focal + 2
        x = -half + dice.uniform(0, 0.4 * half)
        trees = dice.chance(0.5)
        while x < half:
            w = dice.uniform(0.12, 0.6) * half
            tall = dice.uniform(2.5, 9.0)
            if trees:
                _tree(canvas, x + w / 2, y, tall * 0.7, haze, dice)
                w *= 0.5
            else:
                _house(canvas, x, w, y, tall, haze, dice)
            x += w + dice.uniform(0, 0.5) * half
    if dice.chance(0.4):
        y, tall = place.wall, dice.uniform(0.8, 1.8)
        colour = dice.one_of(((60.0, 92.0, 48.0), (150.0, 120.0, 92.0), (170.0, 168.0, 164.0)))
        canvas.panel((-60, 60), (0.0, tall), y, colour)
        canvas.panel((-60, 60), (tall - 0.1, tall), y, shades(colour, 0.18)[1])


def _hazy(colour: Colour, haze: float) -> Colour:
    r, g, b = (c + haze * (205.0 - c) for c in colour)
    return r, g, b


def _house(
    canvas: Canvas, x: float, w: float, y: float, tall: float, haze: float, dice: Dice
) -> None:
    colour = _hazy(cloth(dice), haze)
    canvas.panel((x, x + w), (0.0, tall), y, colour)
    glass = shades(colour, 0.4)[dice.below(2)]
    step = dice.uniform(0.9, 1.6)
    columns = min(int(w / step), 7)
    for i in range(columns):
        for z in (0.9, 3.1, 5.3):
            if z + 1.2 < tall:
                a = x + (i + 0.25) * w / max(columns, 1)
                canvas.panel((a, a + 0.45 * step), (z, z + 1.1), y, glass)


def _tree(canvas: Canvas, x: float, y: float, tall: float, haze: float, dice: Dice) -> None:
    green = dice.uniform(55, 125)
    canvas.panel((x - 0.12, x + 0.12), (0.0, 0.55 * tall), y, _hazy((86, 66, 48), haze))
    radius = 0.34 * tall
    for shade in (0.8, 1.0, 1.18):
        cx = x + dice.uniform(-0.35, 0.35) * radius
        cz = 0.68 * tall + dice.uniform(-0.3, 0.4) * radius
        r = radius * (1.25 - 0.3 * shade)
        points = [(cx + r * cosine, y, cz + r * sine) for cosine, sine in _RING]
        colour = (green * 0.75 * shade, green * shade, green * 0.5 * shade)
        canvas.shape(points, _hazy(colour, haze))
