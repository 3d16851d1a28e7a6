"""A data set of squares that move: small, without a download, and learnt within seconds."""

from __future__ import annotations

import numpy as np

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from runtime.types import ClipSpec


class MovingSquares(ClipDataset):
    """Zero to two bright squares on noise; each moves to the left or to the right."""

    class_names = ("left", "right")

    def __init__(self, shape: ClipSpec, length: int = 64, seed: int = 0) -> None:
        self.shape, self.length, self.seed = shape, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> ClipSample:
        shape = self.shape
        random = np.random.default_rng((self.seed, index))
        size = (shape.num_frames, shape.height, shape.width, 3)
        frames = random.integers(0, 60, size, dtype=np.uint8)
        people = int(random.integers(0, 3))
        boxes, labels = np.zeros((people, 4)), np.zeros((people, 2))
        for person in range(people):
            side = int(random.integers(shape.height // 4, shape.height // 2))
            top = int(random.integers(0, shape.height - side))
            left = int(random.integers(0, shape.width - side))
            action = int(random.integers(0, 2))
            labels[person, action] = 1
            for time in range(shape.num_frames):
                moved = left + (time - shape.keyframe_index) * (1 if action else -1)
                start, stop = max(moved, 0), max(moved + side, 0)
                frames[time, top : top + side, start:stop] = 255 - 40 * person
            corners = [left, top, left + side, top + side]
            scale = [shape.width, shape.height, shape.width, shape.height]
            boxes[person] = np.array(corners) / np.array(scale)
        return ClipSample(
            frames_rgb=frames,
            boxes=boxes.astype(np.float32),
            labels=labels.astype(np.float32),
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=f"squares-{self.seed}-{index}",
            size_wh=(shape.width, shape.height),
        )
