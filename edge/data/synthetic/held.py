"""What hands hold, take, put down and throw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.data.synthetic.appearance import Colour
from edge.data.synthetic.pose import F64
from edge.data.synthetic.props import GRAVITY
from edge.data.synthetic.solids import Solids, belonging


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
