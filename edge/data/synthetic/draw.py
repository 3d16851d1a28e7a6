"""From solids to pixels: project, outline, sort by depth, fill from far to near.

All outlines of a clip are made at once in NumPy; what is left for each shape is one call of
OpenCV's polygon fill, which costs 2 to 9 us at 160 px.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.synthetic.camera import Camera, moved
from edge.data.synthetic.pose import F64
from edge.data.synthetic.shapes import SHIFT, capsules, fixed
from edge.data.synthetic.solids import BALLS, NOBODY, Group, Solids, joined
from edge.data.synthetic.tone import Tone

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
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
