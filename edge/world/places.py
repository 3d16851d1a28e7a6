"""Paint the place of a scene: a room with what is along its wall, or an open space."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.world.camera import Camera, CameraPath, Tone
from edge.world.canvas import AXES, Canvas, Place, shades
from edge.world.dice import Dice
from edge.world.drawing import NOBODY, Colour, Solids, compile_solids, fill
from edge.world.figure import cloth, draw_outfit, draw_stature, dress
from edge.world.motions import REST_STYLES, RestArms, Wave
from edge.world.skeleton import F64, HAND, solve, standing
from edge.world.textures import FLOORS, GROUNDS, SIZE, WALLS, texture


def poster_figure(dice: Dice, *, x: float, y: float, low: float, high: float) -> Solids:
    """Return a figure pressed flat into the plane at distance `y`, between two heights."""
    stature = draw_stature(dice, x=0.0, y=0.0, heading=-1.57 + dice.bell(0.0, 0.9))
    pose = standing(1)
    if dice.chance(0.6):
        RestArms(style=dice.one_of(tuple(REST_STYLES))).apply(pose, np.zeros(1))
    else:
        hands = (HAND[dice.below(2)],)
        wave = Wave(phase=0.0, hz=1.0, hands=hands, reach=dice.unit(), centre=0.2, swing=0.3)
        wave.apply(pose, np.zeros(1))
    rows = solve([stature], pose[None])[0]
    solids = Solids()
    dress(solids, NOBODY, stature, draw_outfit(dice), rows)
    scale = (high - low) / (stature.height * 1.03)
    for group in (*solids.capsules, *solids.hulls):
        group.points = _pressed(group.points, scale, x, y, low)
        group.radii = group.radii * scale
        group.nearer = group.nearer * 0.01 * scale
    return solids


def _pressed(points: F64, scale: float, x: float, y: float, low: float) -> F64:
    """Scale points to the poster; a hundredth of the depth stays, for the order of drawing."""
    flat = points * scale
    flat[..., 0] += x
    flat[..., 1] = y + 0.01 * flat[..., 1]
    flat[..., 2] += low
    return flat


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


def paint_place(place: Place, camera: Camera, path: CameraPath, tone: Tone) -> Canvas:
    """Paint a place."""
    dice = Dice(place.seed, 40)
    canvas = Canvas(camera, path)
    (paint_room if place.indoors else paint_outdoors)(canvas, place, dice)
    _light_field(canvas, dice)
    if place.defocus > 0:
        sigma = place.defocus * camera.height_px / 160
        canvas.picture = cv2.GaussianBlur(canvas.picture, (0, 0), sigma)
    canvas.picture = tone.image(canvas.picture)
    return canvas


def _light_field(canvas: Canvas, dice: Dice) -> None:
    """Let light fall unevenly on the place."""
    depth = dice.uniform(0.0, 0.4)
    field = np.array([1.0 - depth * dice.unit() for _ in range(12)], np.float32).reshape(3, 4)
    smooth = cv2.resize(field, canvas.size_wh, interpolation=cv2.INTER_LINEAR)
    grey = (smooth * 255).astype(np.uint8)
    canvas.picture = cv2.multiply(canvas.picture, cv2.merge([grey] * 3), scale=1 / 255)
