"""One clip's scene: who, what, where, seen by which camera. Everything but pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.data.synthetic.appearance import Look
from edge.data.synthetic.camera import Camera, CameraPath
from edge.data.synthetic.casting import Role
from edge.data.synthetic.degrade import Degradation
from edge.data.synthetic.place import Place
from edge.data.synthetic.props import Prop
from edge.data.synthetic.skeleton import Stature
from edge.data.synthetic.tone import Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person of a scene.

    Attributes:
        stature: Sizes, and where they stand.
        look: Clothes and hair.
        role: What they do.
    """

    stature: Stature
    look: Look
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How the camera samples time.

    Attributes:
        fps: Its rate, frames per second.
        phase: Where between two frames the keyframe's time falls, 0 to 1.
        jitter: Deviation of the intervals, as a share of one.
        dropped: Share of frames that never arrive.
        seed: Seed of jitter and drops.
    """

    fps: float
    phase: float
    jitter: float
    dropped: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A scene.

    Attributes:
        camera: The camera.
        path: How its picture moves.
        place: Where it is.
        people: Everybody, nearest first.
        props: Furniture and other things.
        tone: Exposure and colour.
        light: Where the light comes from in the picture.
        shadow: How dark shadows on the ground are, 0 to 1.
        source: How time is sampled.
        degradation: How bad the picture is.
        size_wh: Size of the frame before it was squeezed to the square, px.
    """

    camera: Camera
    path: CameraPath
    place: Place
    people: tuple[Person, ...]
    props: tuple[Prop, ...]
    tone: Tone
    light: tuple[float, float]
    shadow: float
    source: Source
    degradation: Degradation
    size_wh: tuple[int, int]

    def twin(self) -> Scene:
        """Return the scene with every time-only pair swapped: the same keyframe, other labels."""
        people = tuple(replace(p, role=p.role.twin()) for p in self.people)
        return replace(self, people=people)
