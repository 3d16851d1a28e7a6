"""What people look like, and the capsules and hulls that a clothed body is drawn with.

Every point of a figure is a weighted sum of joints and directions (`skeleton`), so a figure is a
table of weights and a person's points are one matrix product.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.world.dice import Dice
from edge.world.drawing import BALLS, Colour, Group, Solids
from edge.world.skeleton import (
    F64,
    HEAD_AHEAD,
    HEAD_RIGHT,
    HEAD_UP,
    ROWS,
    TORSO_AHEAD,
    TORSO_RIGHT,
    J,
    Stature,
)

_SKINS: tuple[Colour, ...] = (
    (241, 205, 180), (226, 180, 146), (205, 152, 112), (172, 118, 82), (130, 86, 60), (88, 58, 44),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = (
    (28, 24, 24), (44, 32, 26), (84, 56, 34), (128, 88, 48), (186, 150, 92), (150, 146, 142),
    (120, 48, 28),
)  # fmt: skip
_SHOES: tuple[Colour, ...] = ((30, 30, 34), (64, 46, 34), (210, 210, 206), (120, 40, 40))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outfit:
    """Clothes and hair of one person.

    Attributes:
        skin: Colour of the skin.
        hair: Colour of the hair.
        hair_style: `short`, `long`, `bald` or `cap`.
        shirt: Colour of the upper garment.
        sleeves: `long`, `short` or `none`.
        print_style: `plain`, `stripes`, `logo` or `jacket`.
        trim: Colour of stripes, logo or what is under the jacket; and of a cap.
        legs: `trousers`, `shorts`, `skirt` or `coat` (a skirt of the shirt's colour).
        trousers: Colour of trousers or skirt.
        shoes: Colour of the shoes.
        bag: `none`, `pack` (on the back) or `side`.
        bag_colour: Colour of the bag.
    """

    skin: Colour
    hair: Colour
    hair_style: str
    shirt: Colour
    sleeves: str
    print_style: str
    trim: Colour
    legs: str
    trousers: Colour
    shoes: Colour
    bag: str
    bag_colour: Colour


def cloth(dice: Dice) -> Colour:
    """Draw the colour of a garment: often dull or dark, sometimes bright."""
    kind = dice.unit()
    if kind < 0.28:
        grey = dice.one_of((24.0, 44.0, 84.0, 140.0, 190.0, 226.0))
        return (grey + dice.uniform(-8, 8), grey + dice.uniform(-8, 8), grey + dice.uniform(-8, 8))
    dull = kind < 0.68
    saturation = dice.uniform(0.12, 0.45) if dull else dice.uniform(0.55, 0.9)
    value = dice.uniform(0.22, 0.75) if dull else dice.uniform(0.45, 0.95)
    red, green, blue = colorsys.hsv_to_rgb(dice.unit(), saturation, value)
    return (255 * red, 255 * green, 255 * blue)


def draw_outfit(dice: Dice) -> Outfit:
    """Draw clothes and hair."""
    shirt = cloth(dice)
    return Outfit(
        skin=dice.one_of(_SKINS),
        hair=dice.one_of(_HAIRS),
        hair_style=("short", "long", "bald", "cap")[dice.weighted((0.5, 0.3, 0.07, 0.13))],
        shirt=shirt,
        sleeves=("long", "short", "none")[dice.weighted((0.5, 0.4, 0.1))],
        print_style=("plain", "stripes", "logo", "jacket")[dice.weighted((0.45, 0.2, 0.17, 0.18))],
        trim=cloth(dice),
        legs=("trousers", "shorts", "skirt", "coat")[dice.weighted((0.64, 0.15, 0.14, 0.07))],
        trousers=cloth(dice) if dice.chance(0.93) else shirt,
        shoes=dice.one_of(_SHOES),
        bag=("none", "pack", "side")[dice.weighted((0.78, 0.12, 0.1))],
        bag_colour=cloth(dice),
    )


def draw_stature(dice: Dice, *, x: float, y: float, heading: float) -> Stature:
    """Draw the sizes of a body: one in nine is a child."""
    child = dice.chance(0.11)
    return Stature(
        height=dice.uniform(1.05, 1.4) if child else dice.bell(1.71, 0.15),
        legs=dice.bell(1.0, 0.04),
        shoulders=dice.bell(0.94 if child else 1.0, 0.1),
        head=dice.uniform(1.16, 1.32) if child else dice.bell(1.04, 0.07),
        girth=dice.bell(1.0 if child else 1.06, 0.22),
        x=x,
        y=y,
        heading=heading,
        tilt_axis=dice.one_of((0.0, 3.14, 1.57, -1.57)) + dice.uniform(-0.5, 0.5),
    )


# A point as weights of rows: joints by share, directions in heights (or heads, see `_Part`).
_Point = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class _Part:
    """One shape of a figure.

    Attributes:
        points: Its ends or balls.
        radii: In heights of the person.
        paint: Which colour of the look.
        scale: `girth` (thickness follows the person's girth), `head` (sizes follow the head), or
            nothing.
        lit: Whether it is shaded.
        nearer: How much nearer it counts when sorted, heights.
    """

    points: tuple[_Point, ...]
    radii: tuple[float, ...]
    paint: str
    scale: str = ""
    lit: bool = False
    nearer: float = 0.0


_PAINTS = ("skin", "hair", "shirt", "trim", "trousers", "shoes", "bag_colour", "eye",
           "upper", "fore", "thigh", "shin", "crown", "hem")  # fmt: skip


def _mirrored(right: _Part) -> tuple[_Part, _Part]:
    """Return a limb of the right side and the same of the left, whose joints are one further."""
    points = tuple({row + 1: share for row, share in p.items()} for p in right.points)
    left = _Part(points, right.radii, right.paint, right.scale, right.lit, right.nearer)
    return right, left


def _limb(a: int, b: int, ra: float, rb: float, paint: str, *, lit: bool = True) -> _Part:
    return _Part(({a: 1.0}, {b: 1.0}), (ra, rb), paint, "girth" if lit else "", lit)


def _on_head(forward: float, above: float, aside: float = 0.0) -> _Point:
    return {J.HEAD: 1.0, HEAD_AHEAD: forward, HEAD_UP: above, HEAD_RIGHT: aside}


def _head_part(a: _Point, b: _Point, ra: float, rb: float, paint: str, *, lit: bool) -> _Part:
    return _Part((a, b), (ra, rb), paint, "head", lit)


def _stripe(share: float) -> _Part:
    middle: dict[int, float] = {J.CHEST: 1.0 - share, J.PELVIS: share}
    return _Part(({**middle, TORSO_RIGHT: -0.1}, {**middle, TORSO_RIGHT: 0.1}), (0.016, 0.016),
                 "trim", nearer=0.006)  # fmt: skip


_HAND: _Point = {J.R_WRIST: 1.3, J.R_ELBOW: -0.3}
_BODY = (
    *_mirrored(_limb(J.R_ANKLE, J.R_TOE, 0.029, 0.022, "shoes", lit=False)),
    *_mirrored(_limb(J.R_KNEE, J.R_ANKLE, 0.041, 0.028, "shin")),
    *_mirrored(_limb(J.R_HIP, J.R_KNEE, 0.062, 0.044, "thigh")),
    *_mirrored(_limb(J.R_SHOULDER, J.R_ELBOW, 0.041, 0.032, "upper")),
    *_mirrored(_limb(J.R_ELBOW, J.R_WRIST, 0.032, 0.022, "fore")),
    *_mirrored(_Part(({J.R_WRIST: 1.0}, _HAND), (0.025, 0.021), "skin", nearer=0.006)),
    _Part(({J.NECK: 1.0}, {J.HEAD: 1.0}), (0.034, 0.03), "skin", nearer=-0.012),
    _head_part(_on_head(-0.006, -0.012), _on_head(-0.006, 0.012), 0.056, 0.062, "crown", lit=True),
    _head_part(_on_head(0.02, -0.034), _on_head(0.022, -0.008), 0.041, 0.05, "skin", lit=False),
    *(
        _head_part(_on_head(0.066, 0.0, aside), _on_head(0.066, 0.004, aside), 0.006, 0.006,
                   "eye", lit=False)
        for aside in (-0.022, 0.022)
    ),
)  # fmt: skip

_EXTRAS: dict[str, tuple[_Part, ...]] = {
    "hips": (_Part(({J.R_HIP: 1.0}, {J.L_HIP: 1.0}), (0.062, 0.062), "trousers", "girth", True,
                   0.002),),
    "long": (_head_part(_on_head(-0.03, 0.01), {J.NECK: 1.0, TORSO_AHEAD: -0.04}, 0.058, 0.045,
                        "hair", lit=True),),
    "cap": (_head_part(_on_head(0.04, 0.034), _on_head(0.09, 0.026), 0.03, 0.02, "trim",
                       lit=False),),
    "stripes": tuple(_stripe(share) for share in (0.1, 0.42, 0.74)),
    "logo": (_Part(({J.CHEST: 0.9, J.PELVIS: 0.1, TORSO_AHEAD: 0.045, TORSO_RIGHT: -0.025},
                    {J.CHEST: 0.9, J.PELVIS: 0.1, TORSO_AHEAD: 0.045, TORSO_RIGHT: 0.025}),
                   (0.03, 0.03), "trim"),),
    "jacket": (_Part(({J.NECK: 1.0, TORSO_AHEAD: 0.04}, {J.PELVIS: 1.0, TORSO_AHEAD: 0.05}),
                     (0.026, 0.03), "trim"),),
    "pack": (_Part(({J.CHEST: 1.0, TORSO_AHEAD: -0.1},
                    {J.CHEST: 0.5, J.PELVIS: 0.5, TORSO_AHEAD: -0.1}),
                   (0.062, 0.072), "bag_colour", lit=True),),
    "side": (_Part(({J.R_HIP: 1.0, TORSO_RIGHT: 0.07, TORSO_AHEAD: -0.06},
                    {J.R_HIP: 1.0, TORSO_RIGHT: 0.07, TORSO_AHEAD: 0.02}),
                   (0.05, 0.05), "bag_colour", lit=True),),
}  # fmt: skip


def _hem(share: float) -> tuple[_Point, ...]:
    hems = tuple({J.R_HIP + s: 1 - share, J.R_KNEE + s: share} for s in (0, 1))
    return ({J.R_HIP: 1.0}, {J.L_HIP: 1.0}, *hems)


_BELLY = {J.PELVIS: 0.55, J.CHEST: 0.45, TORSO_AHEAD: 0.012}
_HULLS: dict[str, _Part] = {
    "torso": _Part(
        (*({int(j): 1.0} for j in (J.R_SHOULDER, J.L_SHOULDER, J.CHEST, J.R_HIP, J.L_HIP)), _BELLY),
        (0.047, 0.047, 0.064, 0.06, 0.06, 0.064), "shirt", "girth", True,
    ),
    "skirt": _Part(_hem(0.75), (0.058, 0.058, 0.062, 0.062), "hem", "girth", True, 0.085),
    "coat": _Part(_hem(0.95), (0.058, 0.058, 0.062, 0.062), "hem", "girth", True, 0.085),
}  # fmt: skip


class _Table:
    """Parts as arrays: weights, radii and flags, ready for one product."""

    def __init__(self, parts: Sequence[_Part], points: int) -> None:
        self.points = points
        self.paint = np.array([_PAINTS.index(p.paint) for p in parts])
        self.lit = np.array([float(p.lit) for p in parts])
        self.nearer = np.array([p.nearer for p in parts])
        self.girth = np.array([p.scale == "girth" for p in parts])[:, None]
        self.head = np.array([p.scale == "head" for p in parts])[:, None]
        padded = [(*p.radii, *p.radii[-1:] * (points - len(p.radii))) for p in parts]
        self.radii = np.array(padded)
        joints = np.zeros((len(parts), points, ROWS))
        for part, rows in zip(parts, joints, strict=True):
            for i in range(points):
                point = part.points[min(i, len(part.points) - 1)]
                for row, share in point.items():
                    rows[i, row] = share
        self.offsets = joints.copy()
        self.offsets[:, :, : len(J)] = 0.0
        self.joints = joints - self.offsets

    def group(
        self, stature: Stature, rows: F64, palette: F64, chosen: list[int], owner: int
    ) -> Group:
        """Return the chosen parts of one person, whose rows are (F, ROWS, 3)."""
        h = stature.height
        head = np.where(self.head[chosen], stature.head, 1.0)
        weights = self.joints[chosen] + (h * head)[:, :, None] * self.offsets[chosen]
        flat = weights.reshape(-1, ROWS) @ rows.transpose(1, 0, 2).reshape(ROWS, -1)
        points = flat.reshape(-1, len(rows), 3).transpose(1, 0, 2)
        girth = np.where(self.girth[chosen], stature.girth, 1.0)
        return Group(
            points=points.reshape(len(rows), len(chosen), self.points, 3),
            radii=self.radii[chosen] * (h * head * girth),
            colours=palette[self.paint[chosen]],
            owner=owner,
            nearer=h * self.nearer[chosen],
            lit=self.lit[chosen],
        )


_PARTS = [*_BODY]
_THIGHS = [i for i, part in enumerate(_BODY) if part.paint == "thigh"]
_INDEX: dict[str, list[int]] = {}
for _name, _extra in _EXTRAS.items():
    _INDEX[_name] = list(range(len(_PARTS), len(_PARTS) + len(_extra)))
    _PARTS += _extra
_CAPSULES = _Table(_PARTS, 2)
_SOFT = _Table(tuple(_HULLS.values()), BALLS)


def dress(solids: Solids, owner: int, stature: Stature, look: Outfit, rows: F64) -> None:
    """Add a person's solids.

    Args:
        solids: What is drawn so far.
        owner: Index of the person.
        stature: Sizes of the body.
        look: Clothes and hair.
        rows: Joints and directions, (F, ROWS, 3).
    """
    skirted = look.legs in ("skirt", "coat")
    chosen = list(range(len(_BODY)))
    for name in (look.hair_style, look.print_style, look.bag, "" if skirted else "hips"):
        chosen += _INDEX.get(name, [])
    palette = _palette(look)
    body = _CAPSULES.group(stature, rows, palette, chosen, owner)
    if skirted:
        body.nearer[_THIGHS] -= 0.12 * stature.height  # a knee does not come through the cloth
    solids.capsules.append(body)
    soft = [0, 1 + (look.legs == "coat")] if skirted else [0]
    solids.hulls.append(_SOFT.group(stature, rows, palette, soft, owner))


def _palette(look: Outfit) -> F64:
    """Return the colours of `_PAINTS`."""
    bare = look.legs == "skirt"
    return np.array(
        [
            look.skin, look.hair, look.shirt, look.trim, look.trousers, look.shoes,
            look.bag_colour, (40.0, 34.0, 32.0),
            look.skin if look.sleeves == "none" else look.shirt,
            look.shirt if look.sleeves == "long" else look.skin,
            look.skin if bare else look.trousers,
            look.skin if bare or look.legs == "shorts" else look.trousers,
            {"bald": look.skin, "cap": look.trim}.get(look.hair_style, look.hair),
            look.shirt if look.legs == "coat" else look.trousers,
        ]
    )  # fmt: skip
