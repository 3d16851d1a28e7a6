"""Draws a scene: camera, people in front of it, things around them."""

from __future__ import annotations

import math
from collections.abc import Collection

from edge.data.synthetic.actions import TWIN
from edge.data.synthetic.appearance import draw_look, draw_stature
from edge.data.synthetic.camera import Camera, CameraPath
from edge.data.synthetic.casting import cast_actor, cast_inactive
from edge.data.synthetic.degrade import draw_degradation
from edge.data.synthetic.furnishing import furnish, seats
from edge.data.synthetic.motions.gestures import Wave
from edge.data.synthetic.place import Place
from edge.data.synthetic.props import Prop
from edge.data.synthetic.scene import Person, Scene, Source
from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.tone import draw_tone

# People in a scene, 0 to 6, and how often.
_CROWD = (0.05, 0.22, 0.26, 0.21, 0.13, 0.08, 0.05)
_BYSTANDER = 0.3
_SIZES_WH = (
    (640, 480), (1024, 768), (640, 360), (1280, 720), (1920, 1080), (720, 1280), (360, 640),
)  # fmt: skip
_TRIES = 14
# A person of average height, m.
_TALL = 1.68


def draw_scene(seed: int, *, width: int, height: int, actions: Collection[str] = ()) -> Scene:
    """Draw the scene of one clip.

    Args:
        seed: Seed of the clip (`seeds.clip_seed`).
        width: Width of the network's square, px.
        height: Height of the network's square, px.
        actions: What those who act do first; empty for anything.
    """
    dice = Dice(seed, 1)
    size_wh = _SIZES_WH[dice.weighted((3, 2, 2, 3, 3, 1.2, 1.2))]
    share = dice.log_uniform(0.28, 0.88) if dice.chance(0.9) else dice.log_uniform(0.1, 0.28)
    camera = _draw_camera(dice, share, size_wh[0] / size_wh[1], width, height)
    people = _draw_people(Dice(seed, 2), camera, share, dice.weighted(_CROWD), actions)
    place = _draw_place(dice, people, seed)
    props: list[Prop] = seats(people, dice)
    props += furnish(Dice(seed, 3), camera, place, people)
    turn = dice.uniform(-math.pi, 0.0)
    return Scene(
        camera=camera,
        path=_draw_path(dice, camera.aspect),
        place=place,
        people=tuple(people),
        props=tuple(props),
        tone=draw_tone(dice),
        light=(0.8 * math.cos(turn), 0.8 * math.sin(turn)),
        shadow=dice.uniform(0.12, 0.5),
        source=_draw_source(dice, seed),
        degradation=draw_degradation(dice, seed, sharp=_tells_time(people, props)),
        size_wh=size_wh,
    )


def _tells_time(people: list[Person], props: list[Prop]) -> bool:
    """Tell whether motion blur would show in the keyframe what only time may tell.

    A waving hand blurs and a held one does not. And where an action of a time-only pair meets
    something that moves, the blur of both shows who was where first.
    """
    waving = any(isinstance(m, Wave) for p in people for m in p.role.motions)
    labels = {label for p in people for label in p.role.labels}
    moving = bool(labels - set(TWIN)) or any(prop.moves for prop in props)
    return waving or (moving and bool(labels & set(TWIN)))


def _draw_camera(dice: Dice, share: float, aspect: float, width: int, height: int) -> Camera:
    """Draw a camera that sees the first person with about this share of the frame's height."""
    focal = dice.uniform(0.8, 1.9)
    distance = max(focal * _TALL / share, 1.4)
    eye = (dice.uniform(1.2, 1.8), dice.uniform(0.5, 1.1), dice.uniform(2.2, 4.5))[
        dice.weighted((0.5, 0.15, 0.35))
    ]
    eye = min(eye, 0.85 + 0.6 * distance)
    ahead = math.sqrt(max(distance**2 - (eye - 0.85) ** 2, 0.3 * distance**2))
    middle = 0.5 + dice.uniform(-1, 1) * min(0.14, 0.48 - 0.5 * share)
    pitch = math.atan2(eye - 0.85, ahead) - math.atan((middle - 0.5) / focal)
    return Camera(height=eye, pitch=pitch, focal=focal, aspect=aspect, width=width,
                  height_px=height)  # fmt: skip


def _draw_people(
    dice: Dice, camera: Camera, share: float, count: int, actions: Collection[str]
) -> list[Person]:
    people: list[Person] = []
    taken: list[tuple[float, float, float, float]] = []
    for index in range(count):
        role = cast_inactive(dice) if dice.chance(_BYSTANDER) else cast_actor(dice, actions)
        spot = None
        for _ in range(_TRIES):
            own = share if index == 0 else dice.log_uniform(
                max(0.1, 0.48 * share), min(0.88, 1.6 * share)
            )  # fmt: skip
            spot = _try_spot(dice, camera, own, taken, people)
            if spot is not None:
                break
        heading = 2 * math.pi * dice.unit()
        look = draw_look(dice)
        if spot is None:
            continue
        stature = draw_stature(dice, x=spot[0], y=spot[1], heading=heading)
        people.append(Person(stature=stature, look=look, role=role))
    return people


def _try_spot(
    dice: Dice, camera: Camera, share: float, taken: list[tuple[float, float, float, float]],
    people: list[Person],
) -> tuple[float, float] | None:  # fmt: skip
    """Draw a place on the ground; None where nobody would be seen there well."""
    sine, cosine = math.sin(camera.pitch), math.cos(camera.pitch)
    depth = camera.focal * _TALL * cosine / share
    y = (depth - camera.height * sine) / cosine
    half = 0.2 * share / camera.aspect
    u = dice.uniform(min(0.5 * half + 0.02, 0.4), max(1 - 0.5 * half - 0.02, 0.6))
    x = (u - 0.5) * camera.aspect * depth / camera.focal
    if y < 0.6 or any((p.stature.x - x) ** 2 + (p.stature.y - y) ** 2 < 0.4 for p in people):
        return None
    foot = 0.5 + camera.focal * (camera.height * cosine - y * sine) / depth
    top_depth = max(y * cosine + (camera.height - _TALL) * sine, 0.3)
    top = 0.5 + camera.focal * ((camera.height - _TALL) * cosine - y * sine) / top_depth
    if foot > 1.0 + 0.12 * dice.unit() or top < -0.03:
        return None
    box = (u - half, top, u + half, foot)
    if any(_overlap(box, other) > 0.35 for other in taken):
        return None
    taken.append(box)
    return x, y


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the share of the smaller box that both cover."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    areas = ((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return w * h / min(areas)


def _draw_place(dice: Dice, people: list[Person], seed: int) -> Place:
    furthest = max((p.stature.y for p in people), default=4.0)
    widest = max((abs(p.stature.x) for p in people), default=2.0)
    indoors = dice.chance(0.62) and furthest < 13
    wall = furthest + (dice.uniform(1.0, 4.0) if indoors else dice.uniform(3.0, 12.0))
    sides = indoors and dice.chance(0.45)
    return Place(
        indoors=indoors,
        wall=wall,
        side=widest + dice.uniform(0.8, 2.5) if sides else math.inf,
        seed=seed,
        defocus=dice.uniform(0.4, 1.3) if dice.chance(0.3) else 0.0,
    )


def _draw_path(dice: Dice, aspect: float) -> CameraPath:
    kind = dice.weighted((0.5, 0.2, 0.18, 0.12))
    if kind == 0:
        return CameraPath()
    pan = dice.log_uniform(0.01, 0.08) if kind in (2, 3) else 0.0
    return CameraPath(
        pan=(pan * aspect * dice.sign(), 0.35 * pan * dice.uniform(-1, 1)),
        pan_hz=dice.uniform(0.12, 0.5),
        pan_phase=2 * math.pi * dice.unit(),
        shake=dice.log_uniform(0.001, 0.008) if kind != 2 else 0.0,
        shake_phase=2 * math.pi * dice.unit(),
        roll=dice.uniform(-0.02, 0.02) if kind == 3 else 0.0,
        zoom=dice.uniform(-0.06, 0.06) if kind == 3 else 0.0,
    )


def _draw_source(dice: Dice, seed: int) -> Source:
    fps = dice.one_of((10.0, 12.5, 15.0, 20.0, 24.0, 25.0, 29.97, 30.0, 30.0))
    return Source(
        fps=fps,
        phase=dice.unit(),
        jitter=dice.uniform(0.0, 0.2) if dice.chance(0.3) else 0.0,
        dropped=dice.uniform(0.0, 0.2) if dice.chance(0.2) else 0.0,
        seed=seed,
    )
