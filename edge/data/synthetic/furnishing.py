"""Things around the people: what they sit on, what hides them, what moves by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.data.synthetic.appearance import Colour, cloth
from edge.data.synthetic.camera import Camera
from edge.data.synthetic.place import Place
from edge.data.synthetic.props import Ball, Box, Car, Plant, Prop, Seat, Table
from edge.data.synthetic.scene import Person
from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.solids import NOBODY, belonging

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
        return Table(x=x, y=y, heading=heading, colour=dice.one_of(_WOODS),
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
