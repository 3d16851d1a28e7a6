"""A data set with other classes: those of a table (`joint_classes.py`), or one more, `person`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge.data.annotations import Tube
from edge.data.class_tables import PERSON, ClassTable, joins_line, joins_of
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.joint_classes import JOINT_CLASSES, class_table
from edge.data.samples import ClipSample
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)


class RemapClasses(WrappedDataset):
    """A data set with the classes of a table in the place of its own.

    A joint class that several of its own make is done by who does one of them, and not done by who
    is known to do none. Of a joint class that none of its own makes, and that the table does not
    call absent, nothing is known. Whoever acts is a `person`, where the table has that class.
    """

    def __init__(
        self, dataset: ClipDataset, spec: str, table: ClassTable, *, only_its_own: bool = False
    ) -> None:
        """See `dataset` through `table`.

        Args:
            dataset: The clips.
            spec: What names them; by this the table finds what it says of them.
            table: The classes.
            only_its_own: Keep the joint classes alone that its own make: what it can judge.

        Raises:
            ConfigError: It has a class that the table does not know.
        """
        super().__init__(dataset)
        own = tuple(dataset.class_names)
        source = table.source(spec)
        self.made: Mapping[str, tuple[str, ...]] = joins_of(table, source, own)
        self.class_names = tuple(self.made) if only_its_own else table.names
        self._columns = {
            self.class_names.index(joint): [own.index(name) for name in names]
            for joint, names in self.made.items()
        }
        self._absent = [self.class_names.index(name) for name in source.absent
                        if name in self.class_names and name not in self.made]  # fmt: skip
        self._person = self.class_names.index(PERSON) if PERSON in self.class_names else -1
        self._unknown = [
            (self.class_names.index(one),
             [self.class_names.index(name) for name in others if name in self.class_names])
            for one, others in source.unknown.items() if one in self.class_names
        ]  # fmt: skip
        if dataset.video_labels is not None:
            self.video_labels = dataset.video_labels.mapped(self._columns, len(self.class_names))

    def knows(self, name: str) -> bool:
        """Tell whether something is known of a joint class here."""
        column = self.class_names.index(name)
        return column in self._columns or column in self._absent or column == self._person

    def changed(self, sample: ClipSample) -> ClipSample:
        """Return a clip with the labels of the table's classes."""
        shape = (len(sample.boxes), len(self.class_names))
        labels, label_mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        bag_id = np.full(shape, -1, np.int64)
        label_mask[:, self._absent] = True
        for column, own in self._columns.items():
            labels[:, column] = sample.labels[:, own].max(axis=1)
            does_it = labels[:, column] > 0.5
            label_mask[:, column] = does_it | sample.label_mask[:, own].all(axis=1)
            bags = sample.bag_id[:, own].max(axis=1)
            bag_id[:, column] = np.where(label_mask[:, column], -1, bags)
        if self._person >= 0 and self._person not in self._columns:
            # Whether somebody acts may be unknown; then nothing is said of this, either.
            acts = ~sample.ignore
            labels[acts, self._person] = 1.0
            label_mask[acts, self._person] = True
        for one, others in self._unknown:
            rows = np.flatnonzero(labels[:, one] > 0.5)
            for column in others:
                silent = rows[labels[rows, column] < 0.5]
                label_mask[silent, column] = False
                bag_id[silent, column] = -1
        return replace(sample, labels=labels, label_mask=label_mask, bag_id=bag_id)

    @property
    def class_counts(self) -> Mapping[str, float]:
        """How many people do each joint class, as far as that is known."""
        counts = self.dataset.class_counts
        joint = {
            name: sum(counts[own] for own in made if own in counts)
            for name, made in self.made.items() if any(own in counts for own in made)
        }  # fmt: skip
        people = self.dataset.actor_count
        if self._person >= 0 and PERSON not in joint and people is not None:
            joint[PERSON] = people
        return joint

    @property
    def label_ids(self) -> tuple[int, ...]:
        """The number of each class: that of the first of its own which makes it."""
        ids = self.dataset.label_ids
        first = {column: ids[own[0]] for column, own in self._columns.items()}
        rest = iter(range(max(ids) + 1, max(ids) + 1 + len(self.class_names)))
        return tuple(first[i] if i in first else next(rest) for i in range(len(self.class_names)))

    def tubes(self) -> list[Tube]:
        """Return the true tubes, by the number of their joint class."""
        column_of = {own: column for column, made in self._columns.items() for own in made}
        return [replace(tube, label=column_of[tube.label]) for tube in self.dataset.tubes()
                if tube.label in column_of]  # fmt: skip


class AddPersonClass(WrappedDataset):
    """A data set with one class more, `person`, which its inactive persons are, too.

    A detector that labels film (`edge label`) marks everybody, and who stands idle on film is an
    actor of the class `person`. In the drawn world the idle ones are inactive, and never are.
    Side by side the two would teach that an idle drawn figure is nobody and an idle person
    somebody, and what drawings teach of people's looks would not carry over.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        """Add the class.

        Raises:
            ConfigError: The data set has it already.
        """
        if PERSON in dataset.class_names:
            raise ConfigError(f"the clips have a class {PERSON!r} of their own")
        super().__init__(dataset)
        self.class_names = (*dataset.class_names, PERSON)

    def changed(self, sample: ClipSample) -> ClipSample:
        """Put the inactive persons behind the actors; that they do no action is known."""
        more = len(sample.inactive_persons)
        labels = np.pad(sample.labels, ((0, more), (0, 1)))
        labels[:, -1] = 1.0
        return replace(
            sample,
            boxes=np.concatenate([sample.boxes, sample.inactive_persons]),
            labels=labels,
            label_mask=np.pad(sample.label_mask, ((0, more), (0, 1)), constant_values=True),
            bag_id=np.pad(sample.bag_id, ((0, more), (0, 1)), constant_values=-1),
            inactive_persons=np.zeros((0, 4), np.float32),
        )

    @property
    def label_ids(self) -> tuple[int, ...]:
        """The number of each class: that of the data set, and one more."""
        ids = self.dataset.label_ids
        return (*ids, max(ids) + 1)


def joined(dataset: ClipDataset, spec: str, classes: str) -> ClipDataset:
    """Return a data set to learn from, with the classes that `--classes` names.

    Raises:
        ConfigError: It has a class that the table does not know, or there is no such table.
    """
    table = class_table(classes)
    if table is None:
        return dataset
    seen = RemapClasses(dataset, spec, table)
    line = joins_line(spec, seen.made, dataset.class_names)
    if line is not None:
        logger.info("%s", line)
    return seen


def judged(
    dataset: ClipDataset, spec: str, class_names: Sequence[str], classes: str | None = None
) -> tuple[ClipDataset, str | None]:
    """Return a data set to judge a model by, in the model's words.

    The classes are those of the data set after the join: `person`, say, is judged by data that has
    a class of that name.

    Args:
        dataset: The clips.
        spec: What names them.
        class_names: The model's classes.
        classes: As for `joined`; None joins where the model has the joint classes and the data
            set has others.

    Returns:
        The data set, and a line that says what was joined; None where nothing was.

    Raises:
        ConfigError: `classes` names a table that does not know a class of the data set.
    """
    own = tuple(dataset.class_names)
    if classes is None:
        classes = "joint" if set(class_names) == set(JOINT_CLASSES) else "own"
        table = class_table(classes)
        if table is not None:
            source = table.source(spec)
            if any(name not in source.join and name not in table.names for name in own):
                return dataset, None  # the error about other classes says more
    else:
        table = class_table(classes)
    if table is None:
        return dataset, None
    made = joins_of(table, table.source(spec), own)
    line = joins_line(spec, made, own)
    if line is None:
        return dataset, None
    logger.info("%s", line)
    return RemapClasses(dataset, spec, table, only_its_own=True), line
