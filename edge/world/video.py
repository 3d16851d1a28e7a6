"""A long video of the world, at a camera's own size and rate, with its truth frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import runtime.sources.quiet  # noqa: F401  (FFmpeg would name each encoder that is not here)
from edge.world.camera import Camera, CameraPath, Degradation, Degrader, Tone
from edge.world.canvas import Canvas, Place
from edge.world.dice import Dice, clip_seed
from edge.world.drawing import Solids, compile_solids, fill
from edge.world.figure import Outfit, draw_outfit, draw_stature, dress
from edge.world.places import paint_place
from edge.world.render import cast, counts, cut_out, look, shadow_outlines
from edge.world.script import Script, draw_idle, draw_script
from edge.world.skeleton import F64, J, Stature, solve
from edge.world.things import Plant, Prop, Seat
from runtime.errors import ConfigError, SinkError
from runtime.outputs import atomic_file

Image = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

_BATCH = 16
_ACTORS = 3
_LIGHT = (-0.5, -0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFrame:
    """One frame and what is true in it.

    Attributes:
        image_bgr: uint8 (H, W, 3).
        t: Its time, seconds from the first.
        actors: Boxes, xyxy in [0, 1], and actions of those who act.
        inactive_persons: Boxes of those who do not act at this moment.
    """

    image_bgr: Image
    t: float
    actors: tuple[tuple[Box, tuple[str, ...]], ...]
    inactive_persons: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class _Player:
    """Somebody with a script."""

    stature: Stature
    look: Outfit
    script: Script


def render_video(
    seed: int, seconds: float, size_wh: tuple[int, int], fps: float
) -> Iterator[VideoFrame]:
    """Render a video in which people do one action after the other.

    Args:
        seed: Which video; the same seed gives the same one.
        seconds: Its length.
        size_wh: Width and height of a frame, px.
        fps: Frames per second.

    Returns:
        Frames in order, made as they are asked for.

    Raises:
        ConfigError: A value is out of range.
    """
    width, height = size_wh
    if not (64 <= width <= 4096 and 64 <= height <= 4096):
        raise ConfigError(f"a video of {width}x{height} px; expected 64 to 4096 each way")
    for name, value in (("seconds", seconds), ("fps", fps)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value}, expected a number above 0")
    if not 0 <= seed < 1 << 64:
        raise ConfigError(f"seed is {seed}, expected 0 to 2**64 - 1")
    return _Film(clip_seed("video", seed, 0), seconds, size_wh).frames(fps)


class _Film:
    """One video: its people, its place and its camera."""

    def __init__(self, seed: int, seconds: float, size_wh: tuple[int, int]) -> None:
        dice = Dice(seed, 1)
        width, height = size_wh
        eye, focal, ahead = dice.uniform(1.5, 2.1), 1.15, 4.6
        self.seconds = seconds
        self.camera = Camera(height=eye, pitch=math.atan2(eye - 0.75, ahead), focal=focal,
                             aspect=width / height, width=width, height_px=height)  # fmt: skip
        self.path = CameraPath(pan=(0.012, 0.004), pan_hz=0.1, shake=0.0012)
        place = Place(indoors=dice.chance(0.7), wall=7.6, side=math.inf, seed=seed, defocus=0.35)
        self.tone, self.shadow = Tone(saturation=0.95), 0.4
        self.canvas: Canvas = paint_place(place, self.camera, self.path, self.tone)
        self.players = _draw_players(dice, self.camera, ahead, seconds)
        self.props = _draw_props(dice, self.camera, self.players)
        noise = Degradation(noise=3, noise_seed=seed)
        self.degrader = Degrader(noise, (height, width))

    def frames(self, fps: float) -> Iterator[VideoFrame]:
        """Yield the frames, drawn a batch at a time."""
        count = max(1, round(self.seconds * fps))
        for first in range(0, count, _BATCH):
            yield from self._batch(np.arange(first, min(first + _BATCH, count)) / fps)

    def _batch(self, t: F64) -> Iterator[VideoFrame]:
        camera = self.camera
        solids, rows = Solids(), []
        for index, player in enumerate(self.players):
            rows.append(_play(solids, index, player, t))
        for prop in self.props:
            prop.add(solids, t)
        maps = self.path.at(t)
        listed = compile_solids(solids, camera, maps, self.tone, light=_LIGHT,
                                keyframe=len(t) // 2)  # fmt: skip
        shadows = [
            shadow_outlines(player.stature, joints, camera, maps)
            for player, joints in zip(self.players, rows, strict=True)
        ]
        for index, now in enumerate(t.tolist()):
            frame = np.empty((camera.height_px, camera.width, 3), np.uint8)
            cut_out(self.canvas, camera, self.path, maps[index], frame)
            cast(frame, [s[index] for s in shadows], self.shadow)
            fill(frame, listed, index)
            self.degrader.apply(frame, now)
            seen = [s for s in look(listed, index, len(self.players), camera) if counts(s)]
            acts = [(s.box, self.players[s.person].script.labels(now)) for s in seen]
            yield VideoFrame(
                image_bgr=cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
                t=now,
                actors=tuple((box, labels) for box, labels in acts if labels),
                inactive_persons=tuple(box for box, labels in acts if not labels),
            )


def _draw_players(dice: Dice, camera: Camera, ahead: float, seconds: float) -> list[_Player]:
    """Draw the people, side by side: actors, one of them with a chair, and one who watches."""
    players = []
    places = _ACTORS + 1
    for index in range(places):
        y = ahead + dice.uniform(-0.5, 1.1)
        room = 0.42 * camera.aspect * y / camera.focal
        x = room * (2 * (index + 0.5) / places - 1) + dice.uniform(-0.1, 0.1)
        watches, chair = index == places - 1, index == 1
        heading = -math.pi / 2 + dice.uniform(-1.0, 1.0)
        if not watches and not chair:
            heading = -math.pi / 2 + dice.sign() * dice.uniform(0.5, 1.2)
        script = draw_idle(dice) if watches else draw_script(dice, seconds, chair=chair)
        players.append(
            _Player(draw_stature(dice, x=x, y=y, heading=heading), draw_outfit(dice), script)
        )
    return players


def _draw_props(dice: Dice, camera: Camera, players: list[_Player]) -> list[Prop]:
    props: list[Prop] = []
    for player in players:
        sit, s = player.script.sit, player.stature
        if sit is None:
            continue
        leg = 0.49 * s.height * s.legs
        props.append(
            Seat(
                x=s.x - sit.back * leg * math.cos(s.heading),
                y=s.y - sit.back * leg * math.sin(s.heading),
                heading=s.heading, height=max(sit.seat * leg - 0.024 * s.height, 0.25),
                backed=True, colour=(142.0, 104.0, 70.0),
            )
        )  # fmt: skip
    y = 6.8
    x = 0.4 * camera.aspect * y / camera.focal * dice.sign()
    leaves = tuple(6.28 * dice.unit() for _ in range(8))
    props.append(Plant(x=x, y=y, height=1.3, leaves=leaves, sway=0.05, hz=0.4,
                       pot=(150.0, 96.0, 70.0), green=110.0))  # fmt: skip
    return props


def _play(solids: Solids, index: int, player: _Player, t: F64) -> F64:
    """Add a player at the times `t`; return joints and directions (n, ROWS, 3)."""
    script, stature = player.script, player.stature
    # The grips come along as further moments: where the thing lies when no hand has it.
    events = np.array(script.events)
    rows = solve([stature], script.poses(np.concatenate([t, events]))[None])[0]
    dress(solids, index, stature, player.look, rows[: len(t)])
    if script.held is not None:
        hands = rows[:, [J.R_WRIST, J.L_WRIST]]
        middle = (hands + 0.3 * (hands - rows[:, [J.R_ELBOW, J.L_ELBOW]])).mean(axis=1)
        last = np.clip(np.searchsorted(events, t, side="right") - 1, 0, len(events) - 1)
        lies = middle[len(t) :][last]
        script.held.add(solids, index, middle[: len(t)].copy(), lies, script.in_hand(t),
                        np.zeros_like(t), stature.heading)  # fmt: skip
    joints: F64 = rows[: len(t)]
    return joints


def write_mp4(
    path: Path, frames_bgr: Iterable[npt.NDArray[np.uint8]], *, size_wh: tuple[int, int], fps: float
) -> int:
    """Write a video, whole or not at all, and return its number of frames.

    Args:
        path: Of the file; its folder is made.
        frames_bgr: uint8 (H, W, 3), made as they are written.
        size_wh: Their width and height.
        fps: Frames per second.

    Raises:
        SinkError: The file cannot be written.
    """
    count = 0
    with atomic_file(path) as part:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
        if not writer.isOpened():
            raise SinkError(f"{path} cannot be written as mp4; check its name and OpenCV's FFmpeg")
        try:
            for frame in frames_bgr:
                writer.write(frame)
                count += 1
        finally:
            writer.release()
    return count


SIZE_WH = (640, 360)
FPS = 30.0


def write_world_video(path: Path, *, seconds: float, seed: int) -> list[VideoFrame]:
    """Write a video of 640x360 at 30 fps, whole or not at all, and return its frames' truth.

    Args:
        path: An mp4 file; its folder is made.
        seconds: Length.
        seed: Which video.

    Returns:
        The frames in order, with their pictures let go of (of size 0).

    Raises:
        SinkError: The file cannot be written.
        ConfigError: A value is out of range.
    """
    frames = render_video(seed, seconds, SIZE_WH, FPS)
    truth: list[VideoFrame] = []

    def pictures() -> Iterator[Image]:
        for frame in frames:
            truth.append(replace(frame, image_bgr=frame.image_bgr[:0].copy()))
            yield frame.image_bgr

    write_mp4(path, pictures(), size_wh=SIZE_WH, fps=FPS)
    return truth
