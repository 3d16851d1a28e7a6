"""The benchmark world as a data set: clips by index, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.world.casting import CLASS_NAMES, INDEX
from edge.world.dice import WORLD_VERSION, clip_seed
from edge.world.render import render
from edge.world.scene import Scene, draw_scene
from runtime.errors import ConfigError
from runtime.options import did_you_mean
from runtime.types import ClipSpec

MIN_SIDE, MAX_SIDE = 32, 1024
MAX_LENGTH = 1 << 40
_COUNTED = 512  # scenes that tell how often each action occurs, within a few per cent


class SyntheticClips(ClipDataset):
    """Clips of the benchmark world.

    Clip `index` depends on nothing but world version, split, seed, index, shape and actions.

    Attributes:
        class_names: The world's actions.
        version: Version of the world, to be stored with weights and figures.
    """

    class_names = CLASS_NAMES
    version = WORLD_VERSION

    def __init__(
        self, split: str, shape: ClipSpec, *, length: int, seed: int = 0,
        actions: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Describe the clips; nothing is made yet.

        Args:
            split: `train` or `val`.
            shape: What a model asks for.
            length: How many clips there are.
            seed: Which world of that split; figures are given for 0.
            actions: What those who act do first, for practice of what is hard to learn; a gesture
                may come with a walk. Empty for anything, which is what figures are given for.

        Raises:
            ConfigError: A value is out of range.
        """
        if split not in ("train", "val"):
            raise ConfigError(f"split is {split!r}, expected 'train' or 'val'")
        if not 1 <= length <= MAX_LENGTH:
            raise ConfigError(f"a data set of {length} clips; expected 1 to {MAX_LENGTH}")
        if not 0 <= seed < 1 << 64:
            raise ConfigError(f"seed is {seed}, expected 0 to 2**64 - 1")
        for name in ("height", "width"):
            side = getattr(shape, name)
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise ConfigError(
                    f"clips of the synthetic world have {name} {MIN_SIDE} to {MAX_SIDE} px, "
                    f"asked for {side}"
                )
        for name in actions:
            if name not in INDEX:
                raise ConfigError(
                    f"the synthetic world has no action {name[:40]!r}; it has "
                    f"{', '.join(CLASS_NAMES)}.{did_you_mean(name, CLASS_NAMES)}"
                )
        self.split, self.shape, self.seed = split, shape, seed
        self.actions = tuple(dict.fromkeys(actions))
        self._length = length
        steps = np.arange(shape.num_frames, dtype=np.float64) - shape.keyframe_index
        self._wanted = steps * shape.period_s

    def __len__(self) -> int:
        """Return the number of clips."""
        return self._length

    @property
    def class_counts(self) -> Mapping[str, float]:
        """About how many people do each action, from scenes that are spread evenly."""
        counts = dict.fromkeys(CLASS_NAMES, 0.0)
        for labels, weight in self._labels_of_some():
            for label in labels:
                counts[label] += weight
        return counts

    @property
    def actor_count(self) -> float:
        """About how many people do any of the actions."""
        return sum(weight for labels, weight in self._labels_of_some() if labels)

    def _labels_of_some(self) -> Iterator[tuple[Sequence[str], float]]:
        """Yield the labels of the people of some scenes, and for how many people they stand."""
        chosen = np.unique(np.linspace(0, self._length - 1, _COUNTED).round().astype(int)).tolist()
        for index in chosen:
            for person in self.scene(index).people:
                yield person.role.labels, self._length / len(chosen)

    def scene(self, index: int) -> Scene:
        """Return the scene of one clip, without a picture.

        Raises:
            IndexError: There is no such clip.
        """
        seed = clip_seed(self.split, self.seed, self.checked(index))
        return draw_scene(
            seed, width=self.shape.width, height=self.shape.height, actions=self.actions
        )

    def __getitem__(self, index: int) -> ClipSample:
        """Make clip `index`."""
        clip_id = f"world{WORLD_VERSION}/{self.split}/{self.seed}/{index}"
        if self.actions:
            clip_id += f"/{','.join(self.actions)}"
        return self.sample(self.scene(index), clip_id)

    def sample(self, scene: Scene, clip_id: str) -> ClipSample:
        """Render a scene and tell the truth about its keyframe."""
        rendered = render(scene, self._wanted, self.shape.keyframe_index)
        boxes: list[tuple[float, float, float, float]] = []
        inactive_persons: list[tuple[float, float, float, float]] = []
        rows: list[list[float]] = []
        for seen in rendered.seen:
            labels = scene.people[seen.person].role.labels
            if not labels:
                inactive_persons.append(seen.box)
                continue
            boxes.append(seen.box)
            row = [0.0] * len(CLASS_NAMES)
            for label in labels:
                row[INDEX[label]] = 1.0
            rows.append(row)
        return ClipSample(
            frames_rgb=rendered.frames_rgb,
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array(rows, np.float32).reshape(-1, len(CLASS_NAMES)),
            inactive_persons=np.array(inactive_persons, np.float32).reshape(-1, 4),
            clip_id=clip_id,
            size_wh=scene.size_wh,
        )
