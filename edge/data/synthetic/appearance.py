"""What people look like: stature, skin, hair and clothes, drawn from dice."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from edge.data.synthetic.seeds import Dice
from edge.data.synthetic.skeleton import Stature

# RGB, 0 - 255, before light and exposure.
Colour = tuple[float, float, float]

_SKINS: tuple[Colour, ...] = (
    (241, 205, 180), (226, 180, 146), (205, 152, 112), (172, 118, 82), (130, 86, 60), (88, 58, 44),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = (
    (28, 24, 24), (44, 32, 26), (84, 56, 34), (128, 88, 48), (186, 150, 92), (150, 146, 142),
    (120, 48, 28),
)  # fmt: skip
_SHOES: tuple[Colour, ...] = ((30, 30, 34), (64, 46, 34), (210, 210, 206), (120, 40, 40))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
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


def draw_look(dice: Dice) -> Look:
    """Draw clothes and hair."""
    shirt = cloth(dice)
    return Look(
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
