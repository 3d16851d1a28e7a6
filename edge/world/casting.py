"""The actions of the world, and who does what: motions, labels and things of one person."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from edge.world.dice import Dice
from edge.world.figure import cloth
from edge.world.motions import (
    REST_STYLES,
    Clap,
    Jump,
    Motion,
    Phone,
    Punch,
    RestArms,
    Run,
    Sway,
    Turn,
    Walk,
    Wave,
)
from edge.world.passages import Fall, Kick, PickUp, Sit, Throw
from edge.world.skeleton import HAND
from edge.world.things import Held

CLASS_NAMES: tuple[str, ...] = (
    "walk forward",
    "walk backward",
    "sit down",
    "stand up",
    "pick up",
    "put down",
    "wave",
    "raise hand",
    "turn left",
    "turn right",
    "run",
    "jump",
    "clap",
    "punch",
    "kick",
    "throw",
    "fall",
    "phone",
)

INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}

# The keyframe of one is, pixel for pixel, the keyframe of a clip of the other (`Scene.twin`).
TIME_PAIRS: tuple[tuple[str, str], ...] = (
    ("walk forward", "walk backward"),
    ("sit down", "stand up"),
    ("pick up", "put down"),
    ("wave", "raise hand"),
    ("turn left", "turn right"),
)

TWIN: dict[str, str] = {a: b for a, b in TIME_PAIRS} | {b: a for a, b in TIME_PAIRS}


_TURN = 6.283185307179586
_CHAIR, _GROUND = 0.5, 0.1
# Gestures of the arms, which are also done while sitting and walking.
GESTURES = ("wave", "raise hand", "clap", "phone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a person does.

    Attributes:
        motions: Written one over the other, the last on top.
        labels: Names of the actions; none for a bystander.
        held: What they hold, or None.
        governs: Index of the motion that takes or leaves the held thing; None where they just
            hold it.
        seated: They sit on a chair, or come to, or get up from it.
    """

    motions: tuple[Motion, ...]
    labels: tuple[str, ...]
    held: Held | None = None
    governs: int | None = None
    seated: bool = False

    @property
    def sit(self) -> Sit | None:
        """Return the motion that says where the seat is."""
        return next((m for m in self.motions if isinstance(m, Sit)), None)

    def twin(self) -> Role:
        """Return the role with each action of a time-only pair turned into the other one."""
        paced = ("walk forward", "walk backward", "sit down", "stand up", "pick up", "put down",
                 "turn left", "turn right")  # fmt: skip
        reverse = any(label in paced for label in self.labels)
        motions = []
        for motion in self.motions:
            if isinstance(motion, Wave):
                motion = replace(motion, pace=1.0 - motion.pace)
            elif isinstance(motion, Walk | Sit | PickUp | Turn) and reverse:
                motion = replace(motion, pace=-motion.pace)
            motions.append(motion)
        labels = tuple(TWIN.get(label, label) for label in self.labels)
        return replace(self, motions=tuple(motions), labels=labels)


def _phase(dice: Dice) -> float:
    return _TURN * dice.unit()


def _sway(dice: Dice, *, looking: bool = False) -> Sway:
    return Sway(
        phase=_phase(dice),
        side=dice.uniform(0.004, 0.03),
        gaze=dice.uniform(0.5, 1.0) if looking else dice.uniform(0.0, 0.2),
        gaze_hz=dice.uniform(0.15, 0.55),
        gaze_at=dice.bell(0.0, 0.4),
        nod=dice.bell(0.06, 0.2),
    )


def _rest(dice: Dice) -> RestArms:
    styles = tuple(REST_STYLES)
    return RestArms(style=styles[dice.weighted((5, 1, 1, 1.6, 1, 1, 0))])


def _thing(dice: Dice, shapes: tuple[str, ...], *, both: bool = False, left: bool = False) -> Held:
    shape = dice.one_of(shapes)
    size = {"ball": 0.1, "bottle": 0.12, "bag": 0.13, "box": 0.16, "phone": 0.06}[shape]
    colour = cloth(dice) if shape != "phone" else (26.0, 28.0, 34.0)
    return Held(shape=shape, size=size * dice.uniform(0.8, 1.35), colour=colour, both=both,
                left=left)  # fmt: skip


def _walk(dice: Dice, pace: float) -> Walk:
    return Walk(pace=pace, phase=_phase(dice), hz=dice.uniform(0.75, 1.05),
                stride=dice.uniform(1.3, 1.75), lift=dice.uniform(0.12, 0.2),
                arms=dice.uniform(0.15, 0.42))  # fmt: skip


def _sit(dice: Dice, pace: float, *, chair: bool, still: bool = False) -> Sit:
    return Sit(
        pace=0.0 if still else pace,
        at_keyframe=1.2 if still else dice.uniform(0.3, 0.7),
        duration_s=dice.uniform(0.85, 1.4) if chair else dice.uniform(1.0, 1.6),
        seat=_CHAIR + dice.bell(0.0, 0.06) if chair else _GROUND,
        back=0.47 if chair else 0.42,
        lean=dice.uniform(0.45, 0.85),
    )


def _gesture(dice: Dice, name: str) -> tuple[Motion, Held | None]:
    if name in ("wave", "raise hand"):
        both = dice.chance(0.12)
        hands = HAND if both else (HAND[dice.below(2)],)
        wave = Wave(pace=1.0 if name == "wave" else 0.0, phase=_phase(dice),
                    hz=dice.uniform(1.1, 2.1), hands=hands, reach=dice.unit(),
                    centre=dice.uniform(0.0, 0.4), swing=dice.uniform(0.32, 0.62))  # fmt: skip
        return wave, None
    if name == "clap":
        clap = Clap(phase=_phase(dice), hz=dice.uniform(1.4, 2.3),
                    height=dice.uniform(-0.4, 0.0) if dice.chance(0.8) else 0.75,
                    width=dice.uniform(0.32, 0.55))  # fmt: skip
        return clap, None
    left = dice.chance(0.5)
    return Phone(left=left), _thing(dice, ("phone",), left=left)


def _gesturing(dice: Dice, name: str) -> Role:
    motion, held = _gesture(dice, name)
    posture = dice.weighted((0.62, 0.2, 0.18))
    if posture == 1:
        pace = float(dice.sign())
        label = "walk forward" if pace > 0 else "walk backward"
        return Role(motions=(_walk(dice, pace), motion, _sway(dice)), labels=(label, name),
                    held=held)  # fmt: skip
    base: Motion = _sit(dice, 1.0, chair=True, still=True) if posture == 2 else _rest(dice)
    return Role(motions=(base, motion, _sway(dice)), labels=(name,), held=held,
                seated=posture == 2)  # fmt: skip


def _walking(dice: Dice, pace: float) -> Role:
    label = "walk forward" if pace > 0 else "walk backward"
    walk, sway = _walk(dice, pace), _sway(dice)
    if dice.chance(0.14):
        name = dice.one_of(GESTURES)
        motion, held = _gesture(dice, name)
        return Role(motions=(walk, motion, sway), labels=(label, name), held=held)
    if dice.chance(0.12):
        return Role(motions=(walk, RestArms(style="carry"), sway), labels=(label,),
                    held=_thing(dice, ("box", "bag"), both=True))  # fmt: skip
    return Role(motions=(walk, sway), labels=(label,))


def _sitting_down(dice: Dice, pace: float) -> Role:
    chair = dice.chance(0.7)
    label = "sit down" if pace > 0 else "stand up"
    motions = (_sit(dice, pace, chair=chair), _sway(dice))
    return Role(motions=motions, labels=(label,), seated=chair)


def _picking_up(dice: Dice, pace: float) -> Role:
    one_hand = dice.chance(0.5)
    low = dice.chance(0.6)
    motion = PickUp(
        pace=pace,
        at_keyframe=dice.uniform(0.28, 0.72),
        duration_s=dice.uniform(1.1, 1.8),
        dip=dice.uniform(0.42, 0.55) if low else dice.uniform(0.15, 0.3),
        lean=dice.uniform(0.95, 1.25) if low else dice.uniform(0.6, 0.9),
        one_hand=one_hand,
    )
    shapes = ("ball", "bottle", "bag") if one_hand else ("box", "box", "ball")
    return Role(motions=(motion, _sway(dice)), held=_thing(dice, shapes, both=not one_hand),
                labels=("pick up" if pace > 0 else "put down",), governs=0)  # fmt: skip


def _turning(dice: Dice, pace: float) -> Role:
    motion = Turn(pace=pace, phase=_phase(dice), hz=dice.uniform(0.9, 1.3),
                  rate=dice.uniform(1.4, 2.6))  # fmt: skip
    label = "turn left" if pace > 0 else "turn right"
    return Role(motions=(motion, _sway(dice)), labels=(label,))


def _running(dice: Dice) -> Role:
    motion = Run(phase=_phase(dice), hz=dice.uniform(1.25, 1.55), stride=dice.uniform(1.9, 2.9))
    return Role(motions=(motion, _sway(dice)), labels=("run",))


def _jumping(dice: Dice) -> Role:
    motion = Jump(phase=_phase(dice), hz=dice.uniform(1.0, 1.35), height=dice.uniform(0.28, 0.5),
                  arms_up=dice.unit())  # fmt: skip
    return Role(motions=(motion, _sway(dice)), labels=("jump",))


def _punching(dice: Dice) -> Role:
    motion = Punch(phase=_phase(dice), hz=dice.uniform(1.1, 1.7), both=dice.chance(0.7),
                   height=dice.uniform(-0.3, 0.15))  # fmt: skip
    return Role(motions=(motion, _sway(dice)), labels=("punch",))


def _kicking(dice: Dice) -> Role:
    motion = Kick(at_keyframe=dice.uniform(0.3, 0.68), duration_s=dice.uniform(0.75, 1.1),
                  left=dice.chance(0.5), height=dice.uniform(0.3, 0.85))  # fmt: skip
    return Role(motions=(motion, _sway(dice)), labels=("kick",))


def _throwing(dice: Dice) -> Role:
    left = dice.chance(0.5)
    motion = Throw(at_keyframe=dice.uniform(0.25, 0.7), duration_s=dice.uniform(0.8, 1.1),
                   left=left)  # fmt: skip
    held = replace(
        _thing(dice, ("ball", "ball", "bottle"), left=left), speed=dice.uniform(5.0, 9.0)
    )
    return Role(motions=(motion, _sway(dice)), labels=("throw",), held=held, governs=0)


def _falling(dice: Dice) -> Role:
    motion = Fall(at_keyframe=dice.uniform(0.35, 0.95), duration_s=dice.uniform(0.6, 0.95))
    return Role(motions=(motion, _sway(dice)), labels=("fall",))


ROLES: dict[str, Callable[[Dice], Role]] = {
    "walk forward": lambda dice: _walking(dice, 1.0),
    "walk backward": lambda dice: _walking(dice, -1.0),
    "sit down": lambda dice: _sitting_down(dice, 1.0),
    "stand up": lambda dice: _sitting_down(dice, -1.0),
    "pick up": lambda dice: _picking_up(dice, 1.0),
    "put down": lambda dice: _picking_up(dice, -1.0),
    "turn left": lambda dice: _turning(dice, 1.0),
    "turn right": lambda dice: _turning(dice, -1.0),
    "run": _running,
    "jump": _jumping,
    "punch": _punching,
    "kick": _kicking,
    "throw": _throwing,
    "fall": _falling,
} | {name: (lambda dice, name=name: _gesturing(dice, name)) for name in GESTURES}  # type: ignore[misc]

# How often an action is somebody's first one. Walking also comes with gestures, and gestures with
# walking, so both are drawn a little less often; the two of a pair always equally.
_WEIGHTS: dict[str, float] = {name: 1.0 for name in ROLES} | {
    "walk forward": 0.75, "walk backward": 0.75, "phone": 0.9, "clap": 0.9,
}  # fmt: skip


def cast_actor(dice: Dice, actions: Collection[str] = ()) -> Role:
    """Draw somebody who acts; their first action is one of `actions`, any where these are none."""
    weights = {name: _WEIGHTS[name] for name in _WEIGHTS if not actions or name in actions}
    name = tuple(weights)[dice.weighted(tuple(weights.values()))]
    return ROLES[name](dice)


def cast_inactive(dice: Dice) -> Role:
    """Draw somebody who does none of the actions, but is alive.

    Some hold the very pose of an action (bent down, in the middle of a step, on the ground): that
    nothing comes of it is what tells them from an actor.
    """
    sway = _sway(dice, looking=dice.chance(0.4))
    kind = dice.weighted((0.52, 0.2, 0.08, 0.08, 0.05, 0.07))
    if kind == 0:
        if dice.chance(0.15):
            return Role(motions=(RestArms(style="carry"), sway), labels=(),
                        held=_thing(dice, ("box", "bag"), both=True))  # fmt: skip
        return Role(motions=(_rest(dice), sway), labels=())
    if kind in (1, 2):
        sit = _sit(dice, 1.0, chair=kind == 1, still=True)
        return Role(motions=(sit, sway), labels=(), seated=kind == 1)
    if kind == 3:
        bent = PickUp(pace=0.0, at_keyframe=dice.uniform(0.3, 0.5), duration_s=1.0,
                      dip=dice.uniform(0.3, 0.55), lean=dice.uniform(0.7, 1.2),
                      one_hand=False)  # fmt: skip
        return Role(motions=(bent, sway), labels=())
    if kind == 4:
        return Role(motions=(Fall(pace=0.0, at_keyframe=1.0, duration_s=1.0), sway), labels=())
    return Role(motions=(replace(_walk(dice, 1.0), pace=0.0), sway), labels=())
