"""Things: furniture, what hides people, what moves without being anybody, what hands hold."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from edge.world.drawing import NOBODY, Colour, Solids, belonging
from edge.world.skeleton import F64

GRAVITY = 9.81


class Prop(ABC):
    """A thing in the scene."""

    @property
    def moves(self) -> bool:
        """Tell whether it moves by itself."""
        return False

    @abstractmethod
    def add(self, solids: Solids, t: F64) -> None:
        """Add its solids at the times `t` (F,), seconds from the keyframe."""


def _still(points: list[tuple[float, float, float]], t: F64) -> F64:
    return np.broadcast_to(np.array(points), (len(t), len(points), 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box(Prop):
    """A box that stands there: crate, table block, pillar, low wall.

    Attributes:
        x: Middle, m.
        y: Middle, m.
        size: Along, across and up, m.
        heading: Direction of its length, rad.
        colour: Its colour.
        speed: How fast it moves along its heading, m/s.
        bottom: Height of its lower side, m.
        owner: Person that it goes with.
    """

    x: float
    y: float
    size: tuple[float, float, float]
    heading: float
    colour: Colour
    speed: float = 0.0
    bottom: float = 0.0
    owner: int = NOBODY

    @property
    def moves(self) -> bool:
        """Tell whether it moves by itself."""
        return self.speed != 0

    def add(self, solids: Solids, t: F64) -> None:
        """Add the box."""
        way = self.speed * (t if self.speed else t[:1])
        centre = np.stack(
            [
                self.x + way * math.cos(self.heading),
                self.y + way * math.sin(self.heading),
                np.full(len(way), self.bottom + self.size[2] / 2),
            ],
            axis=1,
        )
        solids.box(centre, self.size, self.heading, self.colour, owner=self.owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat(Prop):
    """A chair, or a stool without a back.

    Attributes:
        x: Middle of the seat, m.
        y: Middle of the seat, m.
        heading: Where somebody on it looks, rad.
        height: Height of the seat, m.
        backed: With a back.
        colour: Its colour.
        owner: Person that it goes with, or `NOBODY`.
    """

    x: float
    y: float
    heading: float
    height: float
    backed: bool
    colour: Colour
    owner: int = NOBODY

    def add(self, solids: Solids, t: F64) -> None:
        """Add seat, legs and back."""
        cosine, sine = math.cos(self.heading), math.sin(self.heading)
        centre = np.array([[self.x, self.y, self.height - 0.03]])
        # Counted as further away than it is: whoever sits covers the seat.
        solids.box(centre, (0.44, 0.44, 0.06), self.heading, self.colour, owner=self.owner,
                   nearer=-0.16)  # fmt: skip
        dark = (self.colour[0] * 0.6, self.colour[1] * 0.6, self.colour[2] * 0.6)
        for along, across in ((0.19, 0.19), (0.19, -0.19), (-0.19, 0.19), (-0.19, -0.19)):
            x = self.x + along * cosine - across * sine
            y = self.y + along * sine + across * cosine
            leg = _still([(x, y, self.height - 0.05), (x, y, 0.01)], t)
            solids.capsule(leg, (0.018, 0.018), dark, owner=self.owner, nearer=-0.1, lit=False)
        if self.backed:
            x, y = self.x - 0.21 * cosine, self.y - 0.21 * sine
            back = np.array([[x, y, self.height + 0.25]])
            solids.box(back, (0.05, 0.42, 0.5), self.heading, self.colour, owner=self.owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk(Prop):
    """A table.

    Attributes:
        x: Middle, m.
        y: Middle, m.
        heading: Direction of its length, rad.
        size: Length, width and height, m.
        colour: Its colour.
    """

    x: float
    y: float
    heading: float
    size: tuple[float, float, float]
    colour: Colour

    def add(self, solids: Solids, t: F64) -> None:
        """Add top and legs."""
        length, width, height = self.size
        top = np.array([[self.x, self.y, height - 0.025]])
        solids.box(top, (length, width, 0.05), self.heading, self.colour)
        cosine, sine = math.cos(self.heading), math.sin(self.heading)
        dark = (self.colour[0] * 0.7, self.colour[1] * 0.7, self.colour[2] * 0.7)
        for i, j in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            along, across = 0.46 * length * i, 0.44 * width * j
            x = self.x + along * cosine - across * sine
            y = self.y + along * sine + across * cosine
            leg = _still([(x, y, height - 0.05), (x, y, 0.01)], t)
            solids.capsule(leg, (0.03, 0.025), dark, nearer=-0.05, lit=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball(Prop):
    """A ball that rolls or bounces by itself.

    Attributes:
        x: Where it is at the keyframe, m.
        y: Where it is at the keyframe, m.
        vx: Its speed, m/s.
        vy: Its speed, m/s.
        radius: Its radius, m.
        bounce: How high it bounces, m.
        phase: Where in the bounce it is at the keyframe, 0 to 1.
        colour: Its colour.
    """

    x: float
    y: float
    vx: float
    vy: float
    radius: float
    bounce: float
    phase: float
    colour: Colour

    @property
    def moves(self) -> bool:
        """Tell whether it moves by itself."""
        return True

    def add(self, solids: Solids, t: F64) -> None:
        """Add the ball."""
        period = 2 * math.sqrt(2 * max(self.bounce, 1e-3) / GRAVITY)
        part = np.mod(t / period + self.phase, 1.0)
        up = self.radius + 4 * self.bounce * part * (1 - part)
        place = np.stack([self.x + self.vx * t, self.y + self.vy * t, up], axis=1)
        ends = np.stack([place, place + np.array([0.0, 0.0, 0.004])], axis=1)
        solids.capsule(ends, (self.radius, self.radius), self.colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant(Prop):
    """A pot plant or a bush whose leaves sway.

    Attributes:
        x: Where it stands, m.
        y: Where it stands, m.
        height: Its height, m.
        leaves: Directions of the leaves, rad.
        sway: How far they sway, rad.
        hz: How fast.
        pot: Colour of the pot.
        green: Brightness of the leaves, 0 - 255.
    """

    x: float
    y: float
    height: float
    leaves: tuple[float, ...]
    sway: float
    hz: float
    pot: Colour
    green: float

    @property
    def moves(self) -> bool:
        """Tell whether it moves by itself."""
        return self.sway != 0

    def add(self, solids: Solids, t: F64) -> None:
        """Add pot and leaves."""
        foot = (self.x, self.y, 0.28 * self.height)
        pot = _still([(self.x, self.y, 0.05), (self.x, self.y, 0.24 * self.height)], t)
        solids.capsule(pot, (0.1 * self.height + 0.02, 0.13 * self.height + 0.02), self.pot)
        for i, leaf in enumerate(self.leaves):
            spread = 0.55 * ((i * 0.618) % 1.0) + 0.1
            angle = spread + self.sway * np.sin(2 * math.pi * self.hz * t + 2.1 * i)
            length = self.height * (0.72 - 0.3 * ((i * 0.37) % 1.0))
            tip = np.stack(
                [
                    foot[0] + length * np.sin(angle) * math.cos(leaf),
                    foot[1] + length * np.sin(angle) * math.sin(leaf),
                    foot[2] + length * np.cos(angle),
                ],
                axis=1,
            )
            base = np.broadcast_to(np.array(foot), tip.shape)
            shade = 0.75 + 0.5 * ((i * 0.77) % 1.0)
            colour = (0.55 * self.green * shade, self.green * shade, 0.4 * self.green * shade)
            solids.capsule(np.stack([base, tip], axis=1),
                           (0.02, 0.06 * self.height), colour, lit=i % 2 == 0)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Car(Prop):
    """A car or van that passes.

    Attributes:
        x: Where it is at the keyframe, m.
        y: Where it is at the keyframe, m.
        heading: Where it drives, rad.
        speed: How fast, m/s.
        colour: Its colour.
        tall: Height of the body, m.
    """

    x: float
    y: float
    heading: float
    speed: float
    colour: Colour
    tall: float

    @property
    def moves(self) -> bool:
        """Tell whether it moves by itself."""
        return self.speed != 0

    def add(self, solids: Solids, t: F64) -> None:
        """Add body, cabin and wheels."""
        cosine, sine = math.cos(self.heading), math.sin(self.heading)
        x, y = self.x + self.speed * t * cosine, self.y + self.speed * t * sine
        ones = np.ones_like(t)
        body = np.stack([x, y, 0.58 * ones], axis=1)
        solids.box(body, (4.2, 1.7, 0.62), self.heading, self.colour)
        cabin = np.stack([x - 0.2 * cosine, y - 0.2 * sine, (0.89 + self.tall / 2) * ones], axis=1)
        solids.box(cabin, (2.3, 1.5, self.tall), self.heading, (70.0, 82.0, 92.0), nearer=0.3)
        roof = cabin + np.array([0.0, 0.0, self.tall / 2])
        solids.box(roof, (2.0, 1.4, 0.06), self.heading, self.colour, nearer=0.4)
        for along in (-1.3, 1.3):
            for across in (-0.82, 0.82):
                wx = x + along * cosine - across * sine
                wy = y + along * sine + across * cosine
                hub = np.stack([wx, wy, 0.32 * ones], axis=1)
                axle = np.array([-sine, cosine, 0.0]) * 0.06
                solids.capsule(np.stack([hub - axle, hub + axle], axis=1), (0.32, 0.32),
                               (28.0, 28.0, 30.0), nearer=0.3, lit=False)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a hand holds, takes, puts down or throws.

    Attributes:
        shape: `ball`, `bottle`, `bag`, `box` or `phone`.
        size: Its radius, or half its length, m.
        colour: Its colour.
        both: Held between both hands.
        left: In the left hand, where one holds it.
        speed: How fast it is thrown ahead when it leaves the hand, m/s; 0 where it lies.
    """

    shape: str
    size: float
    colour: Colour
    both: bool = False
    left: bool = False
    speed: float = 0.0

    def add(
        self, solids: Solids, person: int, hands: F64, event: F64, in_hand: F64, since: F64,
        heading: float,
    ) -> None:  # fmt: skip
        """Add the thing.

        Args:
            solids: What is drawn so far.
            person: Whose it is.
            hands: Where the hand, or the middle of both, is: (F, 3).
            event: Where the thing is when no hand has it, or where it leaves the hand: (3,) or
                (F, 3).
            in_hand: 1 for the moments at which the hand has it, (F,).
            since: Time since the event, (F,), seconds.
            heading: Direction of the person, rad.
        """
        apart = np.broadcast_to(event, hands.shape)
        if self.speed:
            flight = np.maximum(since, 0.0)[:, None]
            way = (math.cos(heading), math.sin(heading), 0.25)
            apart = apart + flight * self.speed * np.array(way)
            apart = apart - 0.5 * GRAVITY * flight**2 * np.array([0.0, 0.0, 1.0])
        place = np.where(in_hand[:, None] > 0.5, hands, apart)
        low = self.size * (0.7 if self.shape == "box" else 1.0)
        place[:, 2] = np.maximum(place[:, 2], low)
        self._outline(solids, belonging(person), place, heading)

    def _outline(self, solids: Solids, owner: int, place: F64, heading: float) -> None:
        r = self.size
        if self.shape == "box":
            solids.box(place, (1.5 * r, 2 * r, 1.4 * r), heading, self.colour, owner=owner,
                       nearer=0.06)  # fmt: skip
            return
        shapes = {
            "ball": (0.004, 1.0, 1.0),
            "bottle": (1.0, 0.36, 0.26),
            "bag": (0.7, 0.8, 0.6),
            "phone": (0.8, 0.45, 0.45),
        }
        length, low, high = shapes[self.shape]
        up = np.array([0.0, 0.0, length * r])
        ends = np.stack([place - up, place + up], axis=1)
        solids.capsule(ends, (low * r, high * r), self.colour, owner=owner, nearer=0.04)
