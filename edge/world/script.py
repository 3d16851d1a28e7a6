"""What somebody does over a longer time: one action after the other, with pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.world.dice import Dice
from edge.world.motions import Clap, Jump, Motion, Punch, RestArms, Sway, Turn, Walk, Wave
from edge.world.passages import Kick, PickUp, Sit
from edge.world.skeleton import F64, HAND, Ch, ramp, standing
from edge.world.things import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One motion within a script.

    Attributes:
        motion: The motion; its time 0 is at `zero_s`.
        zero_s: Where its time begins, s.
        start_s: From when on it is seen, s.
        end_s: Until when, s.
        blend_s: How long it fades in and out; 0 for motions that begin and end by themselves.
        label: Name of the action; empty for a pose that is none (sitting, carrying).
    """

    motion: Motion
    zero_s: float
    start_s: float
    end_s: float
    blend_s: float
    label: str

    def active(self, t: float) -> bool:
        """Tell whether the action is to be seen at a time."""
        lead = max(0.6 * self.blend_s, 0.15)
        return bool(self.label) and self.start_s + lead <= t <= self.end_s - lead


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Everything one person does, in order.

    Attributes:
        beats: Motions, one after the other.
        arms: How the arms rest between them.
        sway: What never stops.
        held: A thing that is picked up and put down, or None.
        events: Times at which it is taken and put down, in turn, s.
    """

    beats: tuple[Beat, ...]
    arms: RestArms
    sway: Sway
    held: Held | None
    events: tuple[float, ...]

    @property
    def sit(self) -> Sit | None:
        """Return the motion that says where a seat is."""
        return next((b.motion for b in self.beats if isinstance(b.motion, Sit)), None)

    def labels(self, t: float) -> tuple[str, ...]:
        """Return the actions at a time."""
        return tuple(beat.label for beat in self.beats if beat.active(t))

    def in_hand(self, t: F64) -> F64:
        """Return 1 while the thing is in the hands."""
        counts = np.searchsorted(np.array(self.events), t, side="right")
        return (counts % 2).astype(np.float64)

    def poses(self, t: F64) -> F64:
        """Return the poses (n, CHANNELS) at the times `t` (n,), seconds from the start."""
        pose = standing(len(t))
        self.arms.apply(pose, t)
        ahead, yaw = np.zeros_like(t), np.zeros_like(t)
        for beat in self.beats:
            motion = beat.motion
            if isinstance(motion, Walk | Turn):
                passed = np.clip(t, beat.start_s, beat.end_s) - beat.start_s
                if isinstance(motion, Walk):
                    ahead += motion.pace * motion.stride * motion.hz * passed
                else:
                    yaw += motion.pace * motion.rate * passed
            inside = np.flatnonzero((t >= beat.start_s) & (t < beat.end_s))
            if len(inside):
                now = t[inside]
                own = standing(len(now)) if beat.blend_s else pose[inside]
                motion.apply(own, now - beat.zero_s)
                own[:, [Ch.AHEAD, Ch.YAW]] = 0.0
                share = np.ones_like(now)
                if beat.blend_s:
                    into, out = now - beat.start_s, beat.end_s - now
                    share = ramp(into / beat.blend_s) * ramp(out / beat.blend_s)
                pose[inside] += share[:, None] * (own - pose[inside])
        pose[:, Ch.AHEAD] += ahead
        pose[:, Ch.YAW] += yaw
        self.sway.apply(pose, t)
        return pose


def draw_script(dice: Dice, seconds: float, *, chair: bool) -> Script:
    """Draw what somebody does.

    Whoever has a chair sits down and stands up again; the others walk there and back, turn there
    and back, pick a thing up and put it down, and so end every round where they began it.

    Args:
        dice: Dice.
        seconds: How long the script is.
        chair: There is a chair behind the person.
    """
    beats: list[Beat] = []
    events: list[float] = []
    t = dice.uniform(0.2, 1.0)
    held = Held(shape="box", size=0.17, colour=(196.0, 150.0, 92.0), both=True)
    last = -1
    while t < seconds:
        weights = [3.0, 2.0, 1.6, 1.4, 1.4, 1.2, 0.0, 0.0, 0.0, 0.0]
        weights[6:] = [4.0, 0.0, 0.0, 0.0] if chair else [0.0, 3.0, 1.6, 2.0]
        if last >= 0:
            weights[last] = 0.0
        last = dice.weighted(weights)
        drawn = _BUILDERS[last](dice, t)
        beats += drawn
        if last == 9:
            events += [beat.zero_s for beat in drawn if isinstance(beat.motion, PickUp)]
        t = drawn[-1].end_s + dice.uniform(0.3, 1.0)
    return Script(
        beats=tuple(beats),
        arms=RestArms(style="hang"),
        sway=Sway(phase=6.28 * dice.unit(), gaze=0.12),
        held=held if events else None,
        events=tuple(events),
    )


def draw_idle(dice: Dice) -> Script:
    """Draw somebody who only stands there and looks about."""
    style = dice.one_of(("hang", "crossed", "hips"))
    sway = Sway(phase=6.28 * dice.unit(), gaze=dice.uniform(0.4, 0.9), side=0.02)
    return Script(beats=(), arms=RestArms(style=style), sway=sway, held=None, events=())


def _gesture(motion: Motion, label: str, t: float, length: float) -> list[Beat]:
    return [Beat(motion=motion, zero_s=t, start_s=t, end_s=t + length, blend_s=0.35, label=label)]


def _wave(dice: Dice, t: float, pace: float = 1.0) -> list[Beat]:
    motion = Wave(pace=pace, phase=0.0, hz=dice.uniform(1.3, 1.9), hands=(HAND[dice.below(2)],),
                  reach=dice.uniform(0.2, 1.0), centre=0.2, swing=0.5)  # fmt: skip
    return _gesture(motion, "wave" if pace else "raise hand", t, dice.uniform(2.2, 3.2))


def _raise(dice: Dice, t: float) -> list[Beat]:
    return _wave(dice, t, 0.0)


def _clap(dice: Dice, t: float) -> list[Beat]:
    motion = Clap(phase=0.0, hz=dice.uniform(1.6, 2.1), height=-0.2, width=0.45)
    return _gesture(motion, "clap", t, dice.uniform(2.0, 3.0))


def _punch(dice: Dice, t: float) -> list[Beat]:
    motion = Punch(phase=0.0, hz=dice.uniform(1.2, 1.6), both=True, height=0.0)
    return _gesture(motion, "punch", t, dice.uniform(2.0, 3.0))


def _jump(dice: Dice, t: float) -> list[Beat]:
    motion = Jump(phase=0.0, hz=1.15, height=0.4, arms_up=dice.unit())
    return _gesture(motion, "jump", t, (2 + dice.below(2)) / 1.15)


def _kick(dice: Dice, t: float) -> list[Beat]:
    motion = Kick(at_keyframe=0.0, duration_s=1.0, left=dice.chance(0.5),
                  height=dice.uniform(0.4, 0.8))  # fmt: skip
    return [Beat(motion=motion, zero_s=t, start_s=t, end_s=t + 1.0, blend_s=0.0, label="kick")]


def _there_and_back(
    motions: Sequence[tuple[Motion, str]], t: float, length: float, pause: float
) -> list[Beat]:
    beats = []
    for motion, label in motions:
        beats.append(
            Beat(motion=motion, zero_s=t, start_s=t, end_s=t + length, blend_s=0.25, label=label)
        )
        t += length + pause
    return beats


def _sit(dice: Dice, t: float) -> list[Beat]:
    length, rest = dice.uniform(1.1, 1.4), dice.uniform(1.2, 2.2)
    back = 0.47
    down = Sit(at_keyframe=0.0, duration_s=length, seat=0.5, back=back, lean=0.65)
    still = Sit(pace=0.0, at_keyframe=1.0, duration_s=length, seat=0.5, back=back, lean=0.65)
    up = Sit(pace=-1.0, at_keyframe=1.0, duration_s=length, seat=0.5, back=back, lean=0.65)
    beats, labels = [], ("sit down", "", "stand up")
    for motion, label, lasts in zip((down, still, up), labels, (length, rest, length), strict=True):
        beats.append(Beat(motion=motion, zero_s=t, start_s=t, end_s=t + lasts, blend_s=0.0,
                          label=label))  # fmt: skip
        t += lasts
    return beats


def _walk(dice: Dice, t: float) -> list[Beat]:
    hz, stride = dice.uniform(0.8, 0.95), dice.uniform(1.3, 1.6)
    pair = [(Walk(pace=pace, phase=1.57, hz=hz, stride=stride), f"walk {name}")
            for pace, name in ((1.0, "forward"), (-1.0, "backward"))]  # fmt: skip
    return _there_and_back(pair, t, dice.uniform(1.6, 2.4), 0.4)


def _turn(dice: Dice, t: float) -> list[Beat]:
    rate, sign = dice.uniform(1.5, 2.1), float(dice.sign())
    pair = [(Turn(pace=pace, phase=0.0, hz=1.1, rate=rate), "turn left" if pace > 0 else
             "turn right") for pace in (sign, -sign)]  # fmt: skip
    return _there_and_back(pair, t, dice.uniform(1.2, 1.6), 0.5)


def _pick(dice: Dice, t: float) -> list[Beat]:
    """Pick a box up, hold it, put it down; `zero_s` of each is the moment of the grip."""
    length, rest = dice.uniform(1.3, 1.6), dice.uniform(0.8, 1.6)
    grip = {"dip": 0.48, "lean": 1.1, "one_hand": False, "duration_s": length}
    up, down = (PickUp(pace=pace, at_keyframe=0.5, **grip) for pace in (1.0, -1.0))  # type: ignore[arg-type]
    still = RestArms(style="carry")
    half, later = t + length / 2, t + length + rest
    return [
        Beat(motion=up, zero_s=half, start_s=t, end_s=t + length, blend_s=0.0, label="pick up"),
        Beat(motion=still, zero_s=t, start_s=t + length, end_s=later, blend_s=0.0, label=""),
        Beat(motion=down, zero_s=later + length / 2, start_s=later, end_s=later + length,
             blend_s=0.0, label="put down"),
    ]  # fmt: skip


_BUILDERS = (_wave, _raise, _clap, _punch, _jump, _kick, _sit, _walk, _turn, _pick)
