"""A room: floor, wall, ceiling, and what hangs and stands along the wall."""

from __future__ import annotations

import math

import numpy as np

from edge.data.synthetic.appearance import Colour, cloth
from edge.data.synthetic.draw import compile_solids, fill
from edge.data.synthetic.place import AXES, Canvas, Place, shades
from edge.data.synthetic.posters import poster_figure
from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.textures import FLOORS, WALLS
from edge.data.synthetic.tone import Tone


def paint_room(canvas: Canvas, place: Place, dice: Dice) -> None:
    """Paint a room."""
    camera, far = canvas.camera, place.wall
    places, _ = camera.project(np.array([0.0, far, 0.0]))
    base = canvas.row(float(places[1]))
    wall, floor = _wall_colour(dice), _floor_colour(dice)
    contrast = dice.uniform(0.1, 0.5)
    upright = (np.array([0.0, far, 0.0]), AXES[0], -AXES[2])
    canvas.surface((0, base), dice.one_of(WALLS), shades(wall, 0.6 * contrast),
                   dice.uniform(24, 90), upright)  # fmt: skip
    canvas.floor(base, dice.one_of(FLOORS), shades(floor, contrast), dice.uniform(24, 80),
                 dice.one_of((0.0, 0.0, 0.6, 1.1)))  # fmt: skip
    half = 0.5 * camera.aspect * far / camera.focal + 1.0
    _decorate(canvas, place, min(half, place.side), wall, dice)
    canvas.panel((-40, 40), (0.0, 0.11), far - 0.01, shades(wall, 0.35)[dice.below(2)])
    shade = dice.uniform(0.72, 0.95)
    if math.isfinite(place.side):
        for x, light in ((-place.side, shade), (place.side, 1.85 - shade)):
            side = (wall[0] * light, wall[1] * light, wall[2] * light)
            canvas.shape([(x, 0.4, 0.0), (x, far, 0.0), (x, far, 9.0), (x, 0.4, 9.0)], side)
    ceiling = dice.uniform(2.5, 4.2)
    if ceiling > camera.height + 0.3:
        corners = [(-40.0, far), (40.0, far), (40.0, 0.3), (-40.0, 0.3)]
        canvas.shape([(x, y, ceiling) for x, y in corners], (226.0, 224.0, 218.0))
    canvas.flush()


def _wall_colour(dice: Dice) -> Colour:
    level = dice.uniform(90, 235)
    warm, green = dice.bell(0, 0.1), dice.bell(0, 0.06)
    if dice.chance(0.2):
        return cloth(dice)
    return (level * (1 + warm), level * (1 + green), level * (1 - warm))


def _floor_colour(dice: Dice) -> Colour:
    level = dice.uniform(50, 190)
    warm = dice.uniform(-0.08, 0.3)
    return (level * (1 + 0.5 * warm), level, level * (1 - warm))


def _decorate(canvas: Canvas, place: Place, half: float, wall: Colour, dice: Dice) -> None:
    """Put windows, doors, pictures, shelves and posters of people on the back wall."""
    y = place.wall - 0.02
    x = -half + dice.uniform(0.1, 1.2)
    painters = (_window, _door, _picture, _shelf, _poster, _board)
    while x < half:
        width = dice.uniform(0.5, 1.7)
        kind = dice.weighted((3, 2, 3, 2, 2, 1))
        if dice.chance(0.72):
            painters[kind](canvas, x, min(width, max(half - x, 0.3)), y, wall, dice)
        x += width + dice.uniform(0.15, 1.8)


def _window(canvas: Canvas, x: float, w: float, y: float, wall: Colour, dice: Dice) -> None:
    low, high = dice.uniform(0.7, 1.1), dice.uniform(1.9, 2.4)
    frame = (235.0, 235.0, 232.0) if dice.chance(0.6) else (96.0, 74.0, 56.0)
    canvas.panel((x, x + w), (low, high), y, frame)
    sky = dice.uniform(120, 255)
    glass = (sky * 0.86, sky * 0.94, min(sky * 1.02, 255.0))
    panes = 1 + dice.below(3)
    for i in range(panes):
        a = x + w * i / panes + 0.04
        canvas.panel((a, x + w * (i + 1) / panes - 0.04), (low + 0.05, high - 0.05), y, glass)
    if dice.chance(0.4):
        curtain = cloth(dice)
        canvas.panel((x - 0.25, x + 0.1), (0.1, high + 0.1), y, curtain)
        canvas.panel((x + w - 0.1, x + w + 0.25), (0.1, high + 0.1), y, curtain)


def _door(canvas: Canvas, x: float, w: float, y: float, wall: Colour, dice: Dice) -> None:
    w = min(w, 1.0)
    colour = cloth(dice) if dice.chance(0.5) else (138.0, 100.0, 66.0)
    canvas.panel((x - 0.07, x + w + 0.07), (0.0, 2.12), y, (210.0, 206.0, 198.0))
    canvas.panel((x, x + w), (0.0, 2.05), y, colour)
    canvas.panel((x + 0.12, x + w - 0.12), (1.1, 1.9), y, shades(colour, 0.15)[dice.below(2)])
    canvas.panel((x + w - 0.14, x + w - 0.06), (0.98, 1.04), y, (60.0, 58.0, 54.0))


def _picture(canvas: Canvas, x: float, w: float, y: float, wall: Colour, dice: Dice) -> None:
    low = dice.uniform(1.0, 1.5)
    high = low + w * dice.uniform(0.5, 1.0)
    canvas.panel((x, x + w), (low, high), y, cloth(dice))
    canvas.panel((x + 0.05, x + w - 0.05), (low + 0.05, high - 0.05), y, cloth(dice))
    middle = dice.uniform(low + 0.1, high - 0.05)
    canvas.panel((x + 0.05, x + w - 0.05), (low + 0.05, middle), y, cloth(dice))


def _shelf(canvas: Canvas, x: float, w: float, y: float, wall: Colour, dice: Dice) -> None:
    high = dice.uniform(0.8, 2.2)
    wood = (118.0, 86.0, 58.0) if dice.chance(0.6) else cloth(dice)
    canvas.panel((x, x + w), (0.0, high), y, wood)
    z = 0.15
    while z + 0.3 < high:
        a = x + 0.04
        while a < x + w - 0.1:
            b = min(a + dice.uniform(0.06, 0.35), x + w - 0.04)
            canvas.panel((a, b), (z, z + dice.uniform(0.12, 0.28)), y, cloth(dice))
            a = b + 0.01
        z += 0.36


def _board(canvas: Canvas, x: float, w: float, y: float, wall: Colour, dice: Dice) -> None:
    colour = dice.one_of(((30.0, 32.0, 36.0), (38.0, 74.0, 58.0), (240.0, 240.0, 240.0)))
    canvas.panel((x, x + w), (1.0, 1.0 + 0.6 * w + 0.2), y, (70.0, 66.0, 62.0))
    canvas.panel((x + 0.04, x + w - 0.04), (1.04, 1.16 + 0.6 * w), y, colour)


def _poster(canvas: Canvas, x: float, w: float, y: float, wall: Colour, dice: Dice) -> None:
    """Hang a picture of a person: one that never moves and is nobody."""
    w = min(w, 0.9)
    low = dice.uniform(0.75, 1.25)
    high = low + w * dice.uniform(1.2, 1.6)
    canvas.panel((x - 0.03, x + w + 0.03), (low - 0.03, high + 0.03), y, cloth(dice))
    canvas.panel((x, x + w), (low, high), y, cloth(dice))
    solids = poster_figure(dice, x=x + w / 2, y=y - 0.01, low=low + 0.05, high=high - 0.06)
    canvas.flush()
    shifted = np.zeros((1, 2, 3))
    kx, ky = canvas.camera.px
    shifted[0, :, :2] = np.eye(2)
    shifted[0, :, 2] = canvas.left / kx, canvas.top / ky
    fill(canvas.picture,
         compile_solids(solids, canvas.camera, shifted, Tone(), light=(-0.5, -0.6)), 0)  # fmt: skip
