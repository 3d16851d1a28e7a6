"""From solids to pixels: project, outline, sort by depth, fill from far to near.

A scene is drawn with capsules (two balls and what is between them), hulls of balls and flat faces.
All outlines of a clip are made at once in NumPy; what is left for each shape is one call of
OpenCV's polygon fill, which costs 2 to 9 us at 160 px. Polygons are int32 with `SHIFT` fractional
bits, as the fill takes them: without the fraction slow limbs would move in steps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from edge.world.camera import Camera, Tone, moved
from edge.world.skeleton import F64

Colour = tuple[float, float, float]
"""RGB, 0 - 255, before light and exposure."""
I32 = npt.NDArray[np.int32]

SHIFT = 4
_ONE = float(1 << SHIFT)
# Corners on each of a capsule's two arcs.
ARC = 6
_STEPS = np.linspace(0.0, 1.0, ARC)
_END = np.repeat([0, 1], ARC)
_FAR = float(1 << 13)


def capsules(ends: F64, radii: F64) -> tuple[F64, F64]:
    """Return the outlines of capsules with ends (..., 2, 2) and radii (..., 2).

    They come in two parts (..., 2 * ARC, 2): the middle of the ball that each corner is on, and the
    way from there to the corner. Their sum is the outline; with shorter ways it is a thinner one.
    """
    way = ends[..., 1, :] - ends[..., 0, :]
    length = np.sqrt(way[..., 0] ** 2 + way[..., 1] ** 2) + 1e-9
    phi = np.arctan2(way[..., 1], way[..., 0])[..., None]
    gamma = np.arccos(np.clip((radii[..., 0] - radii[..., 1]) / length, -0.99, 0.99))[..., None]
    angles = np.concatenate(
        [phi + gamma + (2 * np.pi - 2 * gamma) * _STEPS, phi - gamma + 2 * gamma * _STEPS], axis=-1
    )
    rims = np.empty((*angles.shape, 2))
    radius = radii[..., _END]
    np.multiply(np.cos(angles), radius, out=rims[..., 0])
    np.multiply(np.sin(angles), radius, out=rims[..., 1])
    return ends[..., _END, :], rims


def fixed(places: F64, px: tuple[float, float]) -> I32:
    """Return isotropic places as fixed-point pixels.

    OpenCV puts the middle of a pixel on whole numbers; half a pixel is taken off so that a box in
    [0, 1] times the width is where the pixels are.
    """
    scaled = places * (np.array(px) * _ONE)
    scaled -= 0.5 * _ONE
    np.clip(scaled, -_FAR * _ONE, _FAR * _ONE, out=scaled)
    rounded: I32 = np.rint(scaled, out=scaled).astype(np.int32)
    return rounded


def unfixed(points: I32) -> F64:
    """Return the pixel coordinates of fixed-point polygons, edges of pixel 0 at 0 and 1."""
    return points / _ONE + 0.5


def box_corners(centre: F64, size: F64, heading: float) -> F64:
    """Return the corners (8, 3) of an upright box; the first four are its bottom."""
    sine, cosine = np.sin(heading), np.cos(heading)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64) * size[:2] / 2
    flat = signs @ np.array([[cosine, sine], [-sine, cosine]]) + centre[:2]
    corners = np.empty((8, 3))
    corners[:4, :2] = corners[4:, :2] = flat
    corners[:4, 2], corners[4:, 2] = centre[2] - size[2] / 2, centre[2] + size[2] / 2
    return corners


# Corners of the faces of `box_corners`: four sides, then top and bottom, all seen from outside.
BOX_FACES = np.array(
    [[0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7], [4, 5, 6, 7], [3, 2, 1, 0]]
)


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


U8 = npt.NDArray[np.uint8]
Paint = tuple[int, int, int]

# Capsules thinner than this never show, and below the second radius shading is lost, px.
_LEAST_PX = 0.15
_LIT_PX = 1.8
# OpenCV's smooth fill reaches this far beyond a polygon (measured); radii are drawn that much
# smaller by the second number, or small people would be all thick limbs.
FRINGE_PX = 0.7
SHRUNK_PX = 0.45
_DARK, _LIT = 0.74, 1.06
_BALL = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=-1)


@dataclass(slots=True)
class DrawList:
    """Everything to fill in each of F frames.

    Attributes:
        polygons: For each frame, one polygon (V, 2) in fixed point for each shape, or None where
            it is not seen.
        lit: The same for the brighter part of each shape.
        keys: (F, n) distance by which shapes are sorted.
        paints: Colour of each shape.
        lit_paints: Colour of its brighter part.
        owners: Owner of each shape (`solids`).
    """

    polygons: list[list[I32 | None]]
    lit: list[list[I32 | None]]
    keys: F64
    paints: list[Paint]
    lit_paints: list[Paint]
    owners: list[int]


def compile_solids(
    solids: Solids,
    camera: Camera,
    maps: F64,
    tone: Tone,
    *,
    light: tuple[float, float],
    keyframe: int = 0,
) -> DrawList:
    """Project and outline all solids.

    Args:
        solids: What there is, F moments of each.
        camera: The camera.
        maps: How the picture moves, (F, 2, 3).
        tone: Exposure and colour of the picture.
        light: Where the light comes from in the picture, a vector of length up to 1.
        keyframe: Moment that decides which shapes are too small to draw or to shade. It must be
            this one alone, or the keyframe would show what comes before and after it.
    """
    compiler = _Compiler(camera, maps, tone, np.array(light), keyframe)
    if solids.capsules:
        compiler.add_capsules(solids.capsules)
    if solids.hulls:
        compiler.add_hulls(solids.hulls)
    if solids.faces:
        compiler.add_faces(solids.faces)
    return compiler.finish()


class _Compiler:
    """Collects the shapes of a draw list, kind by kind."""

    def __init__(self, camera: Camera, maps: F64, tone: Tone, light: F64, keyframe: int) -> None:
        self.camera, self.maps, self.tone, self.light = camera, maps, tone, light
        self.keyframe = keyframe
        self.polygons: list[list[I32 | None]] = [[] for _ in maps]
        self.lit: list[list[I32 | None]] = [[] for _ in maps]
        self.keys: list[F64] = []
        self.colours: list[F64] = []
        self.shades: list[F64] = []
        self.owners: list[int] = []

    def finish(self) -> DrawList:
        """Return the list."""
        if not self.keys:
            empty: list[list[I32 | None]] = [[] for _ in self.maps]
            return DrawList(empty, empty, np.zeros((len(self.maps), 0)), [], [], [])
        colours = np.concatenate(self.colours)
        paints = self.tone.paints(colours, np.concatenate(self.shades))
        lit = self.tone.paints(colours, np.full(len(colours), _LIT))
        keys = np.concatenate(self.keys, axis=1)
        return DrawList(self.polygons, self.lit, keys, paints, lit, self.owners)

    def _project(
        self, groups: Sequence[Group]
    ) -> tuple[Group, F64, F64, F64, npt.NDArray[np.intp]]:
        """Return all groups as one, with places, depths and radii of the shapes that show."""
        group = joined(groups, len(self.maps))
        places, depth = self.camera.project(group.points)
        radii = group.radii * (self.camera.focal / depth[:, :, : group.radii.shape[1]])
        owners = [g.owner for g in groups for _ in range(len(g.colours))]
        largest = radii[self.keyframe].max(axis=1) if radii.shape[2] else np.ones(len(owners))
        seen = np.flatnonzero(largest * self.camera.px[1] >= _LEAST_PX)
        radii = np.maximum(radii - SHRUNK_PX / self.camera.px[1], 0.4 * radii)
        places = moved(places[:, seen], self.maps, self.camera.aspect)
        self.keys.append(depth[:, seen].mean(axis=2) - group.nearer[seen])
        self.owners += [owners[i] for i in seen.tolist()]
        self.colours.append(group.colours[seen])
        return group, places, radii[:, seen], largest[seen], seen

    def _shaded(self, group: Group, largest: F64, seen: npt.NDArray[np.intp]) -> list[bool]:
        shaded = (group.lit[seen] > 0) & (largest * self.camera.px[1] >= _LIT_PX)
        self.shades.append(np.where(shaded, _DARK, 0.92))
        flags: list[bool] = shaded.tolist()
        return flags

    def add_capsules(self, groups: Sequence[Group]) -> None:
        """Add capsules."""
        group, places, radii, largest, seen = self._project(groups)
        shaded = self._shaded(group, largest, seen)
        middles, rims = capsules(places, radii)
        outlines = fixed(middles + rims, self.camera.px)
        some = np.flatnonzero(shaded)
        shift = 0.3 * radii[:, some].mean(axis=2)[..., None, None] * self.light
        lit = fixed(middles[:, some] + 0.64 * rims[:, some] + shift, self.camera.px)
        for frame in range(len(self.maps)):
            self.polygons[frame] += list(outlines[frame])
            brighter = iter(lit[frame])
            self.lit[frame] += [next(brighter) if s else None for s in shaded]

    def add_hulls(self, groups: Sequence[Group]) -> None:
        """Add hulls of balls."""
        group, places, radii, largest, seen = self._project(groups)
        shaded = self._shaded(group, largest, seen)
        points = places[..., None, :] + radii[..., None, None] * _BALL
        points = points.reshape(*points.shape[:2], BALLS * len(_BALL), 2)
        middle = points.mean(axis=2, keepdims=True)
        shift = 0.16 * radii.max(axis=2)[..., None, None] * self.light
        outlines = fixed(points, self.camera.px)
        lit = fixed(middle + 0.74 * (points - middle) + shift, self.camera.px)
        for frame in range(len(self.maps)):
            for i, s in enumerate(shaded):
                self.polygons[frame].append(cv2.convexHull(outlines[frame, i])[:, 0])
                self.lit[frame].append(cv2.convexHull(lit[frame, i])[:, 0] if s else None)

    def add_faces(self, groups: Sequence[Group]) -> None:
        """Add flat faces; those turned away are left out."""
        _, places, _, _, _ = self._project(groups)
        one, two = places[:, :, 1] - places[:, :, 0], places[:, :, 2] - places[:, :, 0]
        facing = (one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0] < 0).tolist()
        outlines = fixed(places, self.camera.px)
        self.shades.append(np.ones(places.shape[1]))
        for frame in range(len(self.maps)):
            shown = zip(outlines[frame], facing[frame], strict=True)
            self.polygons[frame] += [polygon if ahead else None for polygon, ahead in shown]
            self.lit[frame] += [None] * places.shape[1]


def fill(image: U8, listed: DrawList, frame: int, *, without: Collection[int] = ()) -> None:
    """Fill one frame, from far to near, leaving out shapes of the owners `without`."""
    polygons, lit = listed.polygons[frame], listed.lit[frame]
    paints, lit_paints, owners = listed.paints, listed.lit_paints, listed.owners
    put = cv2.fillConvexPoly
    for i in np.argsort(-listed.keys[frame], kind="stable").tolist():
        polygon = polygons[i]
        if polygon is None or (without and owners[i] in without):
            continue
        put(image, polygon, paints[i], cv2.LINE_AA, SHIFT)
        brighter = lit[i]
        if brighter is not None:
            put(image, brighter, lit_paints[i], cv2.LINE_AA, SHIFT)


def label_map(listed: DrawList, frame: int, size: tuple[int, int]) -> U8:
    """Return which person is seen at each pixel: index + 1, or 0 for anything else.

    Args:
        listed: What is drawn.
        frame: Which frame.
        size: Height and width, px.
    """
    labels = np.zeros(size, np.uint8)
    polygons, owners = listed.polygons[frame], listed.owners
    for i in np.argsort(-listed.keys[frame], kind="stable").tolist():
        polygon = polygons[i]
        if polygon is not None:
            label = owners[i] + 1 if owners[i] > NOBODY else 0
            cv2.fillConvexPoly(labels, polygon, label, cv2.LINE_8, SHIFT)
    return labels


def body(listed: DrawList, frame: int, person: int) -> list[I32]:
    """Return the polygons of a person's body."""
    mine = zip(listed.polygons[frame], listed.owners, strict=True)
    return [polygon for polygon, owner in mine if owner == person and polygon is not None]


def silhouette(polygons: Sequence[I32], size: tuple[int, int]) -> U8:
    """Return a mask (H, W) of 1 where polygons are, with nothing before them."""
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        cv2.fillConvexPoly(mask, polygon, 1, cv2.LINE_8, SHIFT)
    return mask
