"""One clip's scene: who, what, where, seen by which camera; everything but pixels."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from edge.world.camera import Camera, CameraPath, Degradation, Tone, draw_degradation, draw_tone
from edge.world.canvas import Place
from edge.world.casting import TWIN, Role, cast_actor, cast_inactive
from edge.world.dice import Dice
from edge.world.drawing import NOBODY, Colour, belonging
from edge.world.figure import Outfit, cloth, draw_outfit, draw_stature
from edge.world.motions import Wave
from edge.world.skeleton import Stature
from edge.world.things import Ball, Box, Car, Desk, Plant, Prop, Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person of a scene.

    Attributes:
        stature: Sizes, and where they stand.
        look: Clothes and hair.
        role: What they do.
    """

    stature: Stature
    look: Outfit
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTiming:
    """How the camera samples time.

    Attributes:
        fps: Its rate, frames per second.
        phase: Where between two frames the keyframe's time falls, 0 to 1.
        jitter: Deviation of the intervals, as a share of one.
        dropped: Share of frames that never arrive.
        seed: Seed of jitter and drops.
    """

    fps: float
    phase: float
    jitter: float
    dropped: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A scene.

    Attributes:
        camera: The camera.
        path: How its picture moves.
        place: Where it is.
        people: Everybody, nearest first.
        props: Furniture and other things.
        tone: Exposure and colour.
        light: Where the light comes from in the picture.
        shadow: How dark shadows on the ground are, 0 to 1.
        source: How time is sampled.
        degradation: How bad the picture is.
        size_wh: Size of the frame before it was squeezed to the square, px.
    """

    camera: Camera
    path: CameraPath
    place: Place
    people: tuple[Person, ...]
    props: tuple[Prop, ...]
    tone: Tone
    light: tuple[float, float]
    shadow: float
    source: FrameTiming
    degradation: Degradation
    size_wh: tuple[int, int]

    def twin(self) -> Scene:
        """Return the scene with every time-only pair swapped: the same keyframe, other labels."""
        people = tuple(replace(p, role=p.role.twin()) for p in self.people)
        return replace(self, people=people)


_WOODS: tuple[Colour, ...] = ((142, 104, 70), (92, 64, 44), (186, 154, 112), (70, 70, 74))


def seats(people: Sequence[Person], dice: Dice) -> list[Prop]:
    """Return the chairs of those who sit on one."""
    chairs: list[Prop] = []
    for index, person in enumerate(people):
        sit, s = person.role.sit, person.stature
        if not person.role.seated or sit is None:
            continue
        leg = 0.49 * s.height * s.legs
        back = sit.back * leg
        chairs.append(
            Seat(
                x=s.x - back * math.cos(s.heading),
                y=s.y - back * math.sin(s.heading),
                heading=s.heading,
                height=max(sit.seat * leg + 0.042 * s.height - 0.066 * s.height * s.girth, 0.2),
                backed=dice.chance(0.7),
                colour=cloth(dice) if dice.chance(0.5) else dice.one_of(_WOODS),
                owner=belonging(index),
            )
        )
    return chairs


def furnish(dice: Dice, camera: Camera, place: Place, people: Sequence[Person]) -> list[Prop]:
    """Return furniture, something that hides a part of somebody, and what moves by itself."""
    props: list[Prop] = []
    nearest = min((p.stature.y for p in people), default=3.0)
    for _ in range(dice.weighted((0.3, 0.3, 0.2, 0.12, 0.08))):
        spot = _free_spot(dice, camera, place, people, nearest)
        if spot is not None:
            props.append(_furniture(dice, place, *spot))
    if people and dice.chance(0.22):
        hider = _hider(dice, people)
        if hider is not None:
            props.append(hider)
    props += _movers(dice, camera, place, people, nearest)
    return props


def _free_spot(
    dice: Dice, camera: Camera, place: Place, people: Sequence[Person], nearest: float
) -> tuple[float, float] | None:
    for _ in range(6):
        y = dice.uniform(max(0.9 * nearest, 1.5), max(place.wall - 0.6, nearest + 0.5))
        x = dice.uniform(-0.55, 0.55) * camera.aspect * y / camera.focal
        clear = all((p.stature.x - x) ** 2 + (p.stature.y - y) ** 2 > 1.2 for p in people)
        if clear and abs(x) < place.side - 0.6:
            return x, y
    return None


def _furniture(dice: Dice, place: Place, x: float, y: float) -> Prop:
    heading = dice.one_of((0.0, 1.57, 0.4, 2.6))
    kind = dice.weighted((3, 2, 2, 2, 1.5))
    if kind == 0:
        return Seat(x=x, y=y, heading=2 * math.pi * dice.unit(), height=dice.uniform(0.38, 0.5),
                    backed=dice.chance(0.7), colour=dice.one_of(_WOODS), owner=NOBODY)  # fmt: skip
    if kind == 1:
        return Desk(x=x, y=y, heading=heading, colour=dice.one_of(_WOODS),
                     size=(dice.uniform(0.8, 1.8), dice.uniform(0.5, 0.9), dice.uniform(0.6, 0.8)),
                     )  # fmt: skip
    if kind == 2:
        side = dice.uniform(0.25, 0.8)
        size = (side, side * dice.uniform(0.7, 1.3), side * dice.uniform(0.5, 1.4))
        return Box(x=x, y=y, heading=heading, colour=cloth(dice), size=size)
    if kind == 3:
        return _plant(dice, x, y)
    return Box(x=x, y=y, heading=0.0, colour=dice.one_of(_WOODS),
               size=(dice.uniform(0.5, 1.0), 0.4, dice.uniform(1.0, 2.0)))  # fmt: skip


def _plant(dice: Dice, x: float, y: float) -> Plant:
    count = 5 + dice.below(5)
    return Plant(
        x=x, y=y, height=dice.uniform(0.6, 1.7), sway=dice.uniform(0.0, 0.22),
        leaves=tuple(2 * math.pi * dice.unit() for _ in range(count)),
        hz=dice.uniform(0.3, 1.4), pot=cloth(dice), green=dice.uniform(60, 150),
    )  # fmt: skip


def _hider(dice: Dice, people: Sequence[Person]) -> Prop | None:
    """Return something between the camera and a person, aside of the middle of them."""
    target = dice.one_of(people).stature
    way = dice.uniform(0.5, 0.82)
    y = target.y * way
    x = target.x * way + dice.sign() * dice.uniform(0.1, 0.45) * way
    near = any((p.stature.x - x) ** 2 + (p.stature.y - y) ** 2 < 0.5 for p in people)
    if near or y < 1.2:
        return None
    kind = dice.weighted((0.35, 0.45, 0.2))
    if kind == 0:
        width = dice.uniform(0.12, 0.32)
        return Box(x=x, y=y, size=(width, width, 4.0), heading=0.0, colour=cloth(dice))
    if kind == 1:
        size = (dice.uniform(0.5, 1.6), dice.uniform(0.3, 0.7), dice.uniform(0.35, 0.8))
        return Box(x=x, y=y, size=size, heading=dice.bell(0.0, 0.4), colour=dice.one_of(_WOODS))
    return _plant(dice, x, y)


def _movers(
    dice: Dice, camera: Camera, place: Place, people: Sequence[Person], nearest: float
) -> list[Prop]:
    props: list[Prop] = []
    if dice.chance(0.16):
        spot = _free_spot(dice, camera, place, people, nearest)
        if spot is not None:
            turn = 2 * math.pi * dice.unit()
            speed = dice.uniform(0.0, 2.5)
            props.append(
                Ball(x=spot[0], y=spot[1], vx=speed * math.cos(turn), vy=speed * math.sin(turn),
                     radius=dice.uniform(0.08, 0.3), phase=dice.unit(), colour=cloth(dice),
                     bounce=dice.uniform(0.2, 0.9) if dice.chance(0.6) else 0.001)
            )  # fmt: skip
    if not place.indoors and dice.chance(0.25):
        y = max((p.stature.y for p in people), default=5.0) + dice.uniform(2.0, 6.0)
        x = dice.uniform(-0.4, 0.4) * camera.aspect * y / camera.focal
        props.append(
            Car(x=x, y=y, heading=0.0 if dice.chance(0.5) else math.pi, colour=cloth(dice),
                speed=dice.uniform(3.0, 12.0) if dice.chance(0.7) else 0.0,
                tall=dice.one_of((0.5, 0.55, 0.9)))
        )  # fmt: skip
    if dice.chance(0.07):
        spot = _free_spot(dice, camera, place, people, nearest)
        if spot is not None:
            side = dice.uniform(0.3, 0.9)
            props.append(
                Box(x=spot[0], y=spot[1], size=(side, side, side), colour=cloth(dice),
                    heading=2 * math.pi * dice.unit(), speed=dice.uniform(0.4, 1.6))
            )  # fmt: skip
    return props


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
        look = draw_outfit(dice)
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


def _draw_source(dice: Dice, seed: int) -> FrameTiming:
    fps = dice.one_of((10.0, 12.5, 15.0, 20.0, 24.0, 25.0, 29.97, 30.0, 30.0))
    return FrameTiming(
        fps=fps,
        phase=dice.unit(),
        jitter=dice.uniform(0.0, 0.2) if dice.chance(0.3) else 0.0,
        dropped=dice.uniform(0.0, 0.2) if dice.chance(0.2) else 0.0,
        seed=seed,
    )
