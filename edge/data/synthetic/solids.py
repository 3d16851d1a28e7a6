"""What a scene is drawn with: capsules, hulls of balls and flat faces, in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.data.synthetic.appearance import Colour
from edge.data.synthetic.pose import F64
from edge.data.synthetic.shapes import BOX_FACES, box_corners

# Owners: a person's index for their body, `belonging(index)` for what they hold or sit on.
NOBODY = -1
# Balls of a hull; one with fewer repeats its last.
BALLS = 6
_FACE_SHADES = np.array([0.8, 0.95, 0.72, 0.88, 1.12, 0.4])[:, None]


def belonging(person: int) -> int:
    """Return the owner of a thing that goes with a person but is not part of their body."""
    return -2 - person


def person_of(owner: int) -> int:
    """Return the person that a solid goes with, or `NOBODY`."""
    return owner if owner >= NOBODY else -2 - owner


@dataclass(slots=True)
class Group:
    """Shapes of one kind, drawn one by one.

    Attributes:
        points: (F, m, k, 3), m: two ends of capsules, `BALLS` middles of hulls, four corners of
            faces; or (1, m, k, 3) where nothing moves.
        radii: (m, k) of ends or balls, m; faces have none.
        colours: (m, 3), 0 - 255.
        owner: Person that they are or belong to, or `NOBODY`.
        nearer: (m,) how much nearer than they are they count when sorted, m.
        lit: (m,) whether they are shaded.
    """

    points: F64
    radii: F64
    colours: F64
    owner: int
    nearer: F64
    lit: F64


@dataclass(slots=True)
class Solids:
    """Everything that is drawn, for F moments, in world coordinates.

    Attributes:
        capsules: Balls with what is between two of them.
        hulls: Convex hulls of balls: a torso, a skirt.
        faces: Flat faces that are seen from one side only.
    """

    capsules: list[Group] = field(default_factory=list)
    hulls: list[Group] = field(default_factory=list)
    faces: list[Group] = field(default_factory=list)

    def capsule(
        self, ends: F64, radii: tuple[float, float], colour: Colour, *, owner: int = NOBODY,
        nearer: float = 0.0, lit: bool = True,
    ) -> None:  # fmt: skip
        """Add one capsule with ends (F, 2, 3)."""
        self.capsules.append(
            Group(
                points=ends[:, None], radii=np.array([radii]), colours=np.array([colour]),
                owner=owner, nearer=np.array([nearer]), lit=np.array([float(lit)]),
            )
        )  # fmt: skip

    def box(
        self, centre: F64, size: tuple[float, float, float], heading: float, colour: Colour, *,
        owner: int = NOBODY, nearer: float = 0.0,
    ) -> None:  # fmt: skip
        """Add an upright box: `centre` (F, 3) or (1, 3), size along, across and up, m."""
        offsets = box_corners(np.zeros(3), np.array(size), heading)[BOX_FACES]
        self.faces.append(
            Group(
                points=centre[:, None, None] + offsets, radii=np.zeros((6, 0)),
                colours=_FACE_SHADES * colour, owner=owner, nearer=np.full(6, nearer),
                lit=np.zeros(6),
            )
        )  # fmt: skip


def joined(groups: Sequence[Group], frames: int) -> Group:
    """Return all groups as one, moments of what stands still repeated; `owner` means nothing."""
    points = [
        g.points if len(g.points) == frames else np.repeat(g.points, frames, axis=0) for g in groups
    ]
    return Group(
        points=np.concatenate(points, axis=1),
        radii=np.concatenate([g.radii for g in groups]),
        colours=np.concatenate([g.colours for g in groups]),
        owner=NOBODY,
        nearer=np.concatenate([g.nearer for g in groups]),
        lit=np.concatenate([g.lit for g in groups]),
    )
