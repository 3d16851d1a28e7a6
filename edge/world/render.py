"""Soft shadows on the ground under people: without them they would float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.world.camera import Camera, CameraPath, Degrader, moved
from edge.world.canvas import Canvas
from edge.world.dice import Dice
from edge.world.drawing import (
    FRINGE_PX,
    SHIFT,
    SHRUNK_PX,
    DrawList,
    Solids,
    body,
    compile_solids,
    fill,
    fixed,
    label_map,
    person_of,
    silhouette,
    unfixed,
)
from edge.world.figure import dress
from edge.world.motions import Sway
from edge.world.places import paint_place
from edge.world.scene import FrameTiming, Person, Scene
from edge.world.skeleton import F64, J, Stature, solve, standing
from edge.world.things import Held

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

_RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=-1)
_OVER = [J.PELVIS, J.CHEST, J.R_ANKLE, J.L_ANKLE]


def shadow_outlines(stature: Stature, rows: F64, camera: Camera, maps: F64) -> list[I32]:
    """Return the outline of one person's shadow in each frame, in pixels of half the size."""
    radius = 0.11 * stature.height
    ground = np.zeros((len(maps), len(_OVER), 8, 3))
    ground[..., :2] = rows[:, _OVER][:, :, None, :2] + radius * _RING
    places, _ = camera.project(ground)
    places = moved(places, maps, camera.aspect).reshape(len(maps), -1, 2)
    kx, ky = camera.px
    points = fixed(places, (kx / 2, ky / 2))
    return [cv2.convexHull(p)[:, 0] for p in points]


def cast(image: U8, outlines: list[I32], darkness: float) -> None:
    """Darken an image (H, W, 3) in place where shadows fall."""
    height, width = image.shape[:2]
    half = np.full((-(-height // 2), -(-width // 2)), 255, np.uint8)
    level = round(255 * (1 - darkness))
    top, bottom = len(half), 0
    for outline in outlines:
        cv2.fillConvexPoly(half, outline, level, cv2.LINE_8, SHIFT)
        rows = outline[:, 1] >> SHIFT
        top, bottom = min(top, int(rows.min())), max(bottom, int(rows.max()))
    top, bottom = max(top - 3, 0), min(bottom + 4, len(half))
    if top >= bottom:
        return
    last = min(2 * bottom, height)
    soft = cv2.blur(half[top:bottom], (3, 3))
    soft = cv2.resize(soft, (width, last - 2 * top), interpolation=cv2.INTER_LINEAR)
    part = image[2 * top : last]
    cv2.multiply(part, cv2.merge((soft, soft, soft)), dst=part, scale=1 / 255)


# Who counts: people of whom enough is seen, and who are neither tiny nor larger than the frame.
MIN_VISIBLE = 0.4
MIN_HEIGHT, MAX_HEIGHT = 0.08, 0.92


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One person at the keyframe.

    Attributes:
        person: Index into the scene's people.
        box: xyxy in [0, 1]: the whole figure, hidden parts too, cut off at the frame.
        visible: Share of the figure that is neither hidden nor outside of the frame.
    """

    person: int
    box: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A rendered scene.

    Attributes:
        frames_rgb: uint8 (T, H, W, 3).
        seen: The people of the keyframe, as in the scene's order.
    """

    frames_rgb: U8
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class _Acted:
    """A scene that has been acted: solids of all moments, and the joints of everybody."""

    solids: Solids
    joints: F64


def sample_times(source: FrameTiming, wanted: F64, keyframe: int) -> F64:
    """Return the times of the camera's frames that are nearest to the wanted times.

    The keyframe's own frame is at 0: what the scene does is told from there.
    """
    interval = 1.0 / source.fps
    first, last = wanted[0] - 2.5 * interval - 0.2, wanted[-1] + 2.5 * interval + 0.2
    count = int((last - first) / interval) + 1
    stamps = first + (np.arange(count) + source.phase) * interval
    dice = Dice(source.seed, 50)
    if source.jitter:
        stamps += [interval * source.jitter * dice.uniform(-1, 1) for _ in range(count)]
    if source.dropped:
        kept = [not dice.chance(source.dropped) for _ in range(count)]
        kept[0] = kept[-1] = True
        stamps = stamps[np.array(kept)]
    right = np.clip(np.searchsorted(stamps, wanted), 1, len(stamps) - 1)
    nearer = np.where(
        wanted - stamps[right - 1] <= stamps[right] - wanted, stamps[right - 1], stamps[right]
    )
    times: F64 = nearer - nearer[keyframe]
    return times


def act(people: Sequence[Person], scene: Scene, t: F64, steady: F64) -> _Acted:
    """Let everybody and everything move.

    Args:
        people: The people.
        scene: Their scene.
        t: Times of all moments, (F,), seconds.
        steady: Times at which the camera and what nobody can hold still are taken: those of the
            frames. Within one frame's exposure only what people do goes on, which blurs an action
            and the same one backwards alike.
    """
    solids = Solids()
    joints = np.zeros((0, len(t), 0, 3))
    if people:
        poses = np.stack([_pose(person, t, steady) for person in people])
        rows = solve([person.stature for person in people], poses)
        joints = rows[:, :-1]
        for index, person in enumerate(people):
            dress(solids, index, person.stature, person.look, rows[index, :-1])
            if person.role.held is not None:
                _hold(solids, index, person, person.role.held, rows[index], t)
    for prop in scene.props:
        prop.add(solids, t)
    return _Acted(solids, joints)


def _pose(person: Person, t: F64, steady: F64) -> F64:
    """Return the poses at the times `t`, and one more at the event of the held thing."""
    governs = person.role.governs
    event = 0.0 if governs is None else person.role.motions[governs].event_s
    times, calm = np.append(t, event), np.append(steady, 0.0)
    pose = standing(len(times))
    for motion in person.role.motions:
        motion.apply(pose, calm if isinstance(motion, Sway) else times)
    return pose


def _hold(solids: Solids, index: int, person: Person, held: Held, rows: F64, t: F64) -> None:
    wrists = rows[:, [J.R_WRIST, J.L_WRIST]]
    elbows = rows[:, [J.R_ELBOW, J.L_ELBOW]]
    hands = wrists + 0.3 * (wrists - elbows)
    place = hands.mean(axis=1) if held.both else hands[:, int(held.left)]
    governs = person.role.governs
    in_hand, since = np.ones_like(t), np.zeros_like(t)
    if governs is not None:
        motion = person.role.motions[governs]
        in_hand, since = motion.in_hand(t), t - motion.event_s
    held.add(solids, index, place[:-1].copy(), place[-1], in_hand, since, person.stature.heading)


def look(listed: DrawList, keyframe: int, count: int, camera: Camera) -> list[Seen]:
    """Return who is seen in a frame, and how; people of whom nothing is there are left out."""
    size = (camera.height_px, camera.width)
    px = np.array([camera.width, camera.height_px], np.float64)
    fringe = FRINGE_PX - SHRUNK_PX * np.array(camera.px) / camera.px[1]
    pixels = np.bincount(label_map(listed, keyframe, size).ravel(), minlength=count + 1)
    seen = []
    for person in range(count):
        if not pixels[person + 1]:
            continue
        polygons = body(listed, keyframe, person)
        points = unfixed(np.concatenate(polygons))
        x0, y0 = ((points.min(axis=0) - fringe) / px).tolist()
        x1, y1 = ((points.max(axis=0) + fringe) / px).tolist()
        cut = (max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0))
        inside = max(cut[2] - cut[0], 0.0) * max(cut[3] - cut[1], 0.0) / ((x1 - x0) * (y1 - y0))
        alone = cv2.countNonZero(silhouette(polygons, size))
        visible = float(pixels[person + 1]) / max(alone, 1) * inside
        seen.append(Seen(person=person, box=cut, visible=visible))
    return seen


def counts(seen: Seen) -> bool:
    """Tell whether a person is seen well enough to be in the scene at all."""
    tall = seen.box[3] - seen.box[1]
    return seen.visible >= MIN_VISIBLE and MIN_HEIGHT <= tall <= MAX_HEIGHT


def render(scene: Scene, wanted: F64, keyframe: int) -> Rendered:
    """Render a scene.

    Args:
        scene: The scene.
        wanted: Times of the samples, seconds from the keyframe; the camera has frames near them.
        keyframe: Index of the keyframe.
    """
    times = sample_times(scene.source, wanted, keyframe)
    unique, place_of = np.unique(times, return_inverse=True)
    how = scene.degradation
    offsets = np.linspace(-0.5, 0.5, how.exposures) * how.shutter_s if how.exposures > 1 else [0.0]
    moments = (unique[:, None] + np.asarray(offsets)).ravel()
    middle = int(place_of[keyframe]) * how.exposures + how.exposures // 2
    steady = np.repeat(unique, how.exposures)
    acted = act(scene.people, scene, moments, steady)
    maps = scene.path.at(steady)
    listed = compile_solids(acted.solids, scene.camera, maps, scene.tone, light=scene.light,
                            keyframe=middle)  # fmt: skip
    seen = look(listed, middle, len(scene.people), scene.camera)
    stays = tuple(s for s in seen if counts(s))
    out = set(range(len(scene.people))) - {s.person for s in stays}
    frames = _paint(scene, acted, listed, maps, unique, out)
    return Rendered(frames_rgb=frames[place_of], seen=stays)


def _paint(
    scene: Scene, acted: _Acted, listed: DrawList, maps: F64, times: F64, out: set[int]
) -> U8:
    """Paint every frame, without the people `out` and what is theirs."""
    camera, how = scene.camera, scene.degradation
    canvas = paint_place(scene.place, camera, scene.path, scene.tone)
    without = frozenset(o for o in listed.owners if person_of(o) in out)
    shadows = [
        shadow_outlines(person.stature, acted.joints[i], camera, maps)
        for i, person in enumerate(scene.people)
        if i not in out
    ]
    size = (camera.height_px, camera.width)
    frames = np.empty((len(times), *size, 3), np.uint8)
    degrader = Degrader(how, size)
    for index, t in enumerate(times.tolist()):
        frame = frames[index]
        total = None
        for part in range(how.exposures):
            moment = index * how.exposures + part
            cut_out(canvas, camera, scene.path, maps[moment], frame)
            if shadows:
                cast(frame, [s[moment] for s in shadows], scene.shadow)
            fill(frame, listed, moment, without=without)
            if how.exposures > 1:
                total = frame.astype(np.uint16) if total is None else total + frame
        if total is not None:
            frame[:] = total // how.exposures
        degrader.apply(frame, t)
    return frames


def cut_out(canvas: Canvas, camera: Camera, path: CameraPath, motion: F64, frame: U8) -> None:
    """Copy what the moved camera sees of the place into a frame."""
    if not path.moves:
        frame[:] = canvas.picture
        return
    kx, ky = camera.px
    if path.turns:
        middle = np.array([0.5 * camera.aspect, 0.5])
        linear = motion[:, :2]
        shift = motion[:, 2] + middle - linear @ middle
        scale = np.array([kx, ky])
        pixels = np.empty((2, 3))
        pixels[:, :2] = linear * scale[:, None] / scale
        # A pixel's middle is a whole number; a place's pixel is at place * scale - 0.5.
        pixels[:, 2] = (
            shift * scale - 0.5 + pixels[:, :2] @ (0.5 - np.array([canvas.left, canvas.top]))
        )
        cv2.warpAffine(canvas.picture, pixels, (camera.width, camera.height_px), dst=frame,
                       flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)  # fmt: skip
        return
    x, y = canvas.left - motion[0, 2] * kx, canvas.top - motion[1, 2] * ky
    _shifted(canvas.picture, x, y, frame)


def _shifted(picture: U8, x: float, y: float, frame: U8) -> None:
    """Copy the part of a picture that begins at a fraction of a pixel.

    Two blends of shifted views take a fifth of the time of an affine warp.
    """
    height, width = frame.shape[:2]
    left = min(max(int(x), 0), picture.shape[1] - width - 1)
    top = min(max(int(y), 0), picture.shape[0] - height - 1)
    fx, fy = min(max(x - left, 0.0), 1.0), min(max(y - top, 0.0), 1.0)
    rows = picture[top : top + height + 1]
    across = cv2.addWeighted(
        rows[:, left : left + width], 1 - fx, rows[:, left + 1 : left + 1 + width], fx, 0.0
    )
    cv2.addWeighted(across[:-1], 1 - fy, across[1:], fy, 0.0, dst=frame)
