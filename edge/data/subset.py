"""Which clips of a data set are taken: some of them, or others in place of broken ones."""

from __future__ import annotations

import logging

import numpy as np

from edge.data.annotations import ClipPlace, Tube
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import ClipSample
from runtime.errors import CaptureError

logger = logging.getLogger(__name__)

# So many clips in a row that cannot be decoded are no accident.
_MOST_SKIPPED = 64


class EvenSubset(WrappedDataset):
    """So many clips of a data set, spread evenly over it: its first ones may be all of one video.

    True tubes go on through clips that are left out, so there are none here.
    """

    def __init__(self, dataset: ClipDataset, count: int) -> None:
        """Choose `count` clips, or all where there are no more."""
        super().__init__(dataset)
        count = min(count, len(dataset))
        self._chosen = (np.arange(count) * len(dataset) // max(count, 1)).astype(np.int64)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._chosen)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return the `index`th of the chosen clips."""
        return self.dataset.clip(self._inner(index), epoch)

    def without_frames(self, index: int) -> ClipSample | None:
        """Return the `index`th of the chosen clips with black frames, if its truth is known so."""
        return self.dataset.without_frames(self._inner(index))

    def where(self, index: int) -> ClipPlace | None:
        """Return where the `index`th of the chosen clips lies."""
        return self.dataset.where(self._inner(index))

    def tubes(self) -> list[Tube]:
        """Return no tubes."""
        return []

    def _inner(self, index: int) -> int:
        return int(self._chosen[self.checked(index)])


class SkipUndecodable(WrappedDataset):
    """For learning: the next clip in place of one that cannot be decoded, said and counted.

    A data set leaves out videos that do not open; damage in the middle of one shows only when the
    clip is read, and must not end a run of days. The same files give the same clips each time.
    Evaluation does not do this: there a clip that cannot be decoded counts as missed.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        """Stand in front of `dataset`."""
        super().__init__(dataset)
        self._broken: set[int] = set()

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` of a pass, or the next that can be decoded.

        Raises:
            CaptureError: Many clips in a row cannot.
        """
        error: CaptureError | None = None
        length = len(self.dataset)
        for step in range(min(_MOST_SKIPPED, length)):
            at = (self.checked(index) + step) % length
            try:
                return self.dataset.clip(at, epoch)
            except CaptureError as why:
                error = why
                if at not in self._broken:
                    self._broken.add(at)
                    logger.warning("clip %d is skipped, the %d. of this process: %s",
                                   at, len(self._broken), why)  # fmt: skip
        raise CaptureError(f"no clip from {index} on can be decoded; the last: {error}")
