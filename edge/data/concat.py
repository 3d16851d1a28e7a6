"""Several data sets as one: their classes joined by name, each as often as it is asked for."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.data.samples import ClipDataset, ClipSample, Wrapped
from runtime.errors import ConfigError


class ExpandClasses(Wrapped):
    """A data set whose labels are columns of more classes than its own.

    Of a class that it does not have nothing is known in its clips.
    """

    def __init__(self, dataset: ClipDataset, class_names: Sequence[str]) -> None:
        """Give `dataset` the classes `class_names`, its own among them."""
        super().__init__(dataset)
        self._names = tuple(class_names)
        self._columns = np.array([self._names.index(name) for name in dataset.class_names])
        self.by_pass = bool(getattr(dataset, "by_pass", False))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the actions."""
        return self._names

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip `index`."""
        return self._wider(self.dataset[index])

    def without_frames(self, index: int) -> ClipSample | None:
        """Return clip `index` with black frames; None where its truth is not known so."""
        sample = super().without_frames(index)
        return None if sample is None else self._wider(sample)

    def _wider(self, sample: ClipSample) -> ClipSample:
        shape = (len(sample.boxes), len(self._names))
        labels, label_mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        bag_id = np.full(shape, -1, np.int64)
        labels[:, self._columns] = sample.labels
        label_mask[:, self._columns] = sample.label_mask
        bag_id[:, self._columns] = sample.bag_id
        return replace(sample, labels=labels, label_mask=label_mask, bag_id=bag_id)


class ConcatDataset:
    """Data sets one behind the other, each as many times as it says.

    Index `pass * len(self) + i` is clip `i` of a pass. A part that changes its clips anew in each
    pass over it does so in each of its repetitions.
    """

    by_pass = True

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
        self._class_names = names
        self.parts: list[tuple[ClipDataset, int]] = [
            (
                dataset if tuple(dataset.class_names) == names else ExpandClasses(dataset, names),
                times,
            )
            for dataset, times in parts
        ]
        self._ends = np.cumsum([len(dataset) * times for dataset, times in self.parts])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the actions of all parts, in the order in which they first occur."""
        return self._class_names

    @property
    def class_counts(self) -> Mapping[str, float]:
        """Return how often each action occurs, as far as the parts know."""
        return sum_counts([(counts_of(dataset), times) for dataset, times in self.parts])

    def __len__(self) -> int:
        """Return the number of clips of a pass."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip `index % len(self)` of pass `index // len(self)`.

        Raises:
            IndexError: The index is below 0, or there are no clips.
        """
        index = operator.index(index)
        if index < 0 or not len(self):
            raise IndexError(f"clip {index} of {len(self)}; expected 0 or more")
        number, place = divmod(index, len(self))
        part = int(np.searchsorted(self._ends, place, side="right"))
        dataset, times = self.parts[part]
        place -= int(self._ends[part]) - len(dataset) * times
        repetition, clip = divmod(place, len(dataset))
        if not getattr(dataset, "by_pass", False):
            return dataset[clip]
        return dataset[(number * times + repetition) * len(dataset) + clip]


def joined_names(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the names of all parts, each once, in the order in which they first occur."""
    return tuple(dict.fromkeys(name for names in parts for name in names))


def counts_of(dataset: ClipDataset) -> Mapping[str, float]:
    """Return how often each action occurs in a data set; nothing where that costs a pass."""
    counts: Any = getattr(dataset, "class_counts", None)
    return {} if counts is None else dict(counts)


def sum_counts(parts: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Add up counts, each so many times."""
    total: dict[str, float] = {}
    for counts, times in parts:
        for name, count in counts.items():
            total[name] = total.get(name, 0.0) + count * times
    return total
