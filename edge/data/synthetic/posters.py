"""A person as a flat picture: what hangs on walls and must not be taken for one."""

from __future__ import annotations

import numpy as np

from edge.data.synthetic.appearance import draw_look, draw_stature
from edge.data.synthetic.figure import dress
from edge.data.synthetic.motions.gestures import REST_STYLES, RestArms, Wave
from edge.data.synthetic.pose import F64, HAND, standing
from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.skeleton import solve
from edge.data.synthetic.solids import NOBODY, Solids


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
    dress(solids, NOBODY, stature, draw_look(dice), rows)
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
