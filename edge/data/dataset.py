"""The contract of data sets of clips, and of what stands in front of another data set.

A data set gives `ClipSample`s by index. The same index gives the same clip, in whatever order and
process; one that `changes_by_epoch` gives clip `index` as it is in one pass over the data, by
`clip(index, epoch)`. What is known beside the clips are attributes and methods with defaults: a
data set overrides those of which it knows more, so nobody has to ask what a data set has.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge.data.annotations import ClipPlace, Tube
from edge.data.samples import ClipSample

if TYPE_CHECKING:
    from edge.data.media import Media
    from edge.data.video_labels import VideoLabels

_NO_MEDIA: Mapping[str, Media] = {}


class ClipDataset(ABC):
    """Clips by index.

    A subclass defines `__len__`, `class_names`, and one of `__getitem__` (its clips never change)
    and `clip` (they may change from pass to pass).

    Attributes:
        class_names: Names of the C actions, in the order of `ClipSample.labels`.
        changes_by_epoch: Whether a clip depends on the pass over the data.
        video_labels: Labels of whole videos; None where there are none.
        media: The videos by name, where the clips are of videos.
        version: Version of what makes the clips, where they are made; None for recorded ones.
    """

    class_names: tuple[str, ...]
    changes_by_epoch: bool = False
    video_labels: VideoLabels | None = None
    media: Mapping[str, Media] = _NO_MEDIA
    version: int | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of clips of a pass."""

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip `index`, from 0 to `len(self) - 1`, as the first pass shows it.

        Raises:
            IndexError: There is no such clip.
            CaptureError: Its frames cannot be decoded.
        """
        return self.clip(index)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` as pass `epoch`, from 0, shows it; raises as `self[index]` does."""
        return self[index]

    def without_frames(self, index: int) -> ClipSample | None:
        """Return clip `index` with black frames; None where its truth is not known without them.

        For evaluation: someone in a clip that cannot be decoded was there, and is missed.
        """
        return None

    def where(self, index: int) -> ClipPlace | None:
        """Return where clip `index` lies in the videos; None where it lies in none."""
        return None

    def tubes(self) -> list[Tube]:
        """Return the true tubes; none where the annotation has keyframes only."""
        return []

    @property
    def video_level_classes(self) -> list[int]:
        """The classes that are said of whole videos."""
        labels = self.video_labels
        return [] if labels is None else np.flatnonzero(labels.video_level).tolist()

    @property
    def label_ids(self) -> tuple[int, ...]:
        """The number of each class in rows of the annotation's own files."""
        return tuple(range(1, len(self.class_names) + 1))

    @property
    def class_counts(self) -> Mapping[str, float]:
        """How many people do each action; nothing of those where that costs a pass."""
        return {}

    @property
    def actor_count(self) -> float | None:
        """How many people act; None where that costs a pass."""
        return None

    def checked(self, index: int) -> int:
        """Return the index of a clip.

        Raises:
            IndexError: There is no such clip.
        """
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}; expected 0 to {len(self) - 1}")
        return index


class WrappedDataset(ClipDataset):
    """A data set in front of another; what it does not say itself, the other one says.

    A subclass that changes each clip for itself, with its frames or without, overrides `changed`
    alone.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        """Stand in front of `dataset`."""
        self.dataset = dataset
        self.class_names = tuple(dataset.class_names)
        self.changes_by_epoch = dataset.changes_by_epoch
        self.video_labels, self.media = dataset.video_labels, dataset.media
        self.version = dataset.version

    def __len__(self) -> int:
        return len(self.dataset)

    def changed(self, sample: ClipSample) -> ClipSample:
        """Return a clip of the other data set as this one shows it."""
        return sample

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` of a pass."""
        return self.changed(self.dataset.clip(index, epoch))

    def without_frames(self, index: int) -> ClipSample | None:
        """Return clip `index` with black frames, if its truth is known so."""
        sample = self.dataset.without_frames(index)
        return None if sample is None else self.changed(sample)

    def where(self, index: int) -> ClipPlace | None:
        """Return where clip `index` lies in the videos."""
        return self.dataset.where(index)

    def tubes(self) -> list[Tube]:
        """Return the true tubes."""
        return self.dataset.tubes()

    @property
    def label_ids(self) -> tuple[int, ...]:
        """The number of each class in rows of the annotation's own files."""
        return self.dataset.label_ids

    @property
    def class_counts(self) -> Mapping[str, float]:
        """How many people do each action."""
        return self.dataset.class_counts

    @property
    def actor_count(self) -> float | None:
        """How many people act."""
        return self.dataset.actor_count


class RepeatKeyframe(WrappedDataset):
    """The same clips with time taken out: every sample is the keyframe.

    A model that scores as well here as on the clips themselves does not look at motion.
    """

    def changed(self, sample: ClipSample) -> ClipSample:
        """Return a clip with the keyframe in place of every sample."""
        frames = sample.frames_rgb
        still = np.repeat(frames[len(frames) // 2][None], len(frames), axis=0)
        return replace(sample, frames_rgb=still, clip_id=f"{sample.clip_id}/frozen")
