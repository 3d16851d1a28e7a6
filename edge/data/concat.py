"""Several data sets as one: their classes joined by name, each as often as it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge.data.annotations import ClipPlace
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import ClipSample
from edge.data.video_labels import VideoLabels
from runtime.errors import ConfigError


class ExpandClasses(WrappedDataset):
    """A data set whose labels are columns of more classes than its own.

    Of a class that it does not have nothing is known in its clips.
    """

    def __init__(self, dataset: ClipDataset, class_names: Sequence[str]) -> None:
        """Give `dataset` the classes `class_names`, its own among them."""
        super().__init__(dataset)
        self.class_names = tuple(class_names)
        self._columns = np.array([self.class_names.index(name) for name in dataset.class_names])
        if dataset.video_labels is not None:
            columns = {int(new): [own] for own, new in enumerate(self._columns)}
            self.video_labels = dataset.video_labels.mapped(columns, len(self.class_names))

    def changed(self, sample: ClipSample) -> ClipSample:
        """Return a clip with the labels in their columns."""
        shape = (len(sample.boxes), len(self.class_names))
        labels, label_mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        bag_id = np.full(shape, -1, np.int64)
        labels[:, self._columns] = sample.labels
        label_mask[:, self._columns] = sample.label_mask
        bag_id[:, self._columns] = sample.bag_id
        return replace(sample, labels=labels, label_mask=label_mask, bag_id=bag_id)


class ConcatDataset(ClipDataset):
    """Data sets one behind the other, each as many times as it says.

    A part that changes its clips anew in each pass over it does so in each of its repetitions.
    """

    changes_by_epoch = True

    def __init__(self, parts: Sequence[tuple[ClipDataset, int]]) -> None:
        """Join data sets.

        Args:
            parts: Each with the number of times that its clips occur in a pass.

        Raises:
            ConfigError: There is no part, or a number of times below 1.
        """
        if not parts or any(times < 1 for _, times in parts):
            raise ConfigError(f"{len(parts)} data sets to join; expected one or more, once or more")
        names = joined_names([dataset.class_names for dataset, _ in parts])
        self.class_names = names
        self.parts: list[tuple[ClipDataset, int]] = [
            (
                dataset if tuple(dataset.class_names) == names else ExpandClasses(dataset, names),
                times,
            )
            for dataset, times in parts
        ]
        self._ends = np.cumsum([len(dataset) * times for dataset, times in self.parts])
        self.media = {
            _in_part(part, name): one
            for part, (dataset, _) in enumerate(self.parts) for name, one in dataset.media.items()
        }  # fmt: skip
        self.video_labels = _together([dataset.video_labels for dataset, _ in self.parts])

    @property
    def class_counts(self) -> Mapping[str, float]:
        """How often each action occurs, as far as the parts know."""
        return sum_counts([(dataset.class_counts, times) for dataset, times in self.parts])

    def __len__(self) -> int:
        """Return the number of clips of a pass."""
        return int(self._ends[-1])

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` of a pass."""
        part, index = self._part(index)
        dataset, times = self.parts[part]
        repetition, clip = divmod(index, len(dataset))
        return dataset.clip(clip, epoch * times + repetition)

    def where(self, index: int) -> ClipPlace | None:
        """Return where clip `index` lies, the video's name with the number of its part."""
        part, index = self._part(index)
        dataset, _ = self.parts[part]
        place = dataset.where(index % len(dataset))
        return None if place is None else replace(place, video=_in_part(part, place.video))

    def _part(self, index: int) -> tuple[int, int]:
        """Return which part clip `index` is of, and its number among that part's clips."""
        index = self.checked(index)
        part = int(np.searchsorted(self._ends, index, side="right"))
        dataset, times = self.parts[part]
        return part, index - (int(self._ends[part]) - len(dataset) * times)


def _in_part(part: int, video: str) -> str:
    """Return the name of a video among those of all parts, of which several may have it."""
    return f"{part}/{video}"


def _together(said: Sequence[VideoLabels | None]) -> VideoLabels | None:
    """Join what the parts say of their videos; None where none of them says anything."""
    told = [(part, one) for part, one in enumerate(said) if one is not None]
    if not told:
        return None
    return VideoLabels(
        video_level=np.any([one.video_level for _, one in told], axis=0),
        states={_in_part(part, video): state
                for part, one in told for video, state in one.states.items()},
        sources={_in_part(part, video): f"{part}/{source}"
                 for part, one in told for video, source in one.sources.items()},
    )  # fmt: skip


def joined_names(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the names of all parts, each once, in the order in which they first occur."""
    return tuple(dict.fromkeys(name for names in parts for name in names))


def sum_counts(parts: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Add up counts, each so many times."""
    total: dict[str, float] = {}
    for counts, times in parts:
        for name, count in counts.items():
            total[name] = total.get(name, 0.0) + count * times
    return total
