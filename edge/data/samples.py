"""What a data set gives a model: one clip with the people who act at its keyframe.

NumPy only: training, evaluation and reports read the same samples, with torch or without.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSample:
    """One clip and what is true at its keyframe, sample `num_frames // 2`.

    Attributes:
        frames_rgb: uint8 RGB of shape (T, H, W, 3), at the network's size.
        boxes: float32 (M, 4), xyxy in [0, 1]: the people who act.
        labels: float32 (M, C), 1 for each action that the person does.
        inactive_persons: float32 (K, 4), xyxy in [0, 1]: people who do none of the actions. They
            are never targets; reports, which call them bystanders, count how often a model takes
            them for actors.
        ignored: float32 (I, 4), xyxy in [0, 1]: people whom the annotation leaves out. They
            are neither targets nor background: who finds them is neither right nor wrong.
        clip_id: Stable name, unique within the data set.
        size_wh: Width and height of the original frame, px.
        label_mask: bool (M, C), whether the label is known; by default all are. A label that is
            not known is 0.
        bag_id: int64 (M, C), for a label that is not known: the number of the bag of people of whom
            at least one does it, -1 where nothing is known. A person is in one bag at most; the
            same number in two columns means the same people. By default there is no bag.
        features: int8 (K,), the features of a frozen stem in place of the frames, which are empty
            then (`edge.training.features`).
        feature_scales: float32, one number a channel of them.
    """

    frames_rgb: U8
    boxes: F32
    labels: F32
    inactive_persons: F32
    clip_id: str
    size_wh: tuple[int, int]
    label_mask: Bools = field(default_factory=lambda: np.ones(0, bool))
    bag_id: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: F32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    features: npt.NDArray[np.int8] | None = None
    feature_scales: F32 | None = None

    def __post_init__(self) -> None:
        shape = self.labels.shape
        if self.label_mask.ndim == 1:  # the default
            object.__setattr__(self, "label_mask", np.ones(shape, bool))
        if self.bag_id.ndim == 1:
            object.__setattr__(self, "bag_id", np.full(shape, -1, np.int64))
        assert self.label_mask.shape == self.bag_id.shape == shape, (self.clip_id, shape)

    def with_people(self, chosen: Bools) -> ClipSample:
        """Return the clip with some of its M people only, by a mask (M,)."""
        return replace(
            self, boxes=self.boxes[chosen], labels=self.labels[chosen],
            label_mask=self.label_mask[chosen], bag_id=self.bag_id[chosen],
        )  # fmt: skip

    def with_labels(self, labels: F32) -> ClipSample:
        """Return the clip with other labels of its people, (M, C'), all of them known."""
        shape = labels.shape
        return replace(self, labels=labels, label_mask=np.ones(shape, bool),
                       bag_id=np.full(shape, -1, np.int64))  # fmt: skip

    @property
    def ignore(self) -> Bools:
        """Return of whom it is not known whether they act, (M,): no label, and not all known."""
        acts = (self.labels > 0.5).any(axis=1)
        return np.asarray(~acts & ~self.label_mask.all(axis=1), bool)
