"""Drawn clips taught as film is: whoever is there is a person, also who does nothing.

A detector that labels film (`edge label`) marks everybody, and who stands idle on film is an actor
of the class `person`. In the drawn world the idle ones are bystanders, and never are. Side by side
the two teach that an idle figure is nobody and an idle person somebody, and what drawings teach of
people's looks does not carry over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.data.samples import Certainty, ClipDataset, ClipSample, Wrapped
from runtime.errors import ConfigError

PERSON = "person"


class Everyone(Wrapped):
    """A data set with one class more, `person`, which its bystanders are, too."""

    def __init__(self, dataset: ClipDataset) -> None:
        """Add the class.

        Raises:
            ConfigError: The data set has it already.
        """
        if PERSON in dataset.class_names:
            raise ConfigError(f"the clips have a class {PERSON!r} of their own")
        super().__init__(dataset)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the actions, `person` last."""
        return (*self.dataset.class_names, PERSON)

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip `index`."""
        return _joined(self.dataset[index])

    def without_frames(self, index: int) -> ClipSample | None:
        """Return clip `index` with black frames; None where its truth is not known so."""
        sample = super().without_frames(index)
        return None if sample is None else _joined(sample)


def _joined(sample: ClipSample) -> ClipSample:
    """Put the bystanders behind the actors; that they do none of the actions is known."""
    more = len(sample.bystanders)
    labels = np.pad(sample.labels, ((0, more), (0, 1)))
    labels[:, -1] = 1.0
    certainty, bags = sample.certainty, sample.bags
    if certainty is not None:
        certainty = np.pad(certainty, ((0, more), (0, 1)), constant_values=Certainty.KNOWN)
    if bags is not None:
        first = int(bags.max(initial=-1)) + 1
        bags = np.concatenate([bags, np.arange(first, first + more)])
    return replace(
        sample,
        boxes=np.concatenate([sample.boxes, sample.bystanders]),
        labels=labels,
        certainty=certainty,
        bags=bags,
        bystanders=np.zeros((0, 4), np.float32),
    )
