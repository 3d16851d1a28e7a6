"""Labelled clips of one data set or of several, in the words of a model."""

from __future__ import annotations

from collections.abc import Sequence

from edge.data.concat import ConcatDataset
from edge.data.dataset import ClipDataset
from edge.data.joint_classes import JOINT_CLASSES
from edge.data.registry import open_dataset, split_mix
from edge.data.remap import joined, judged
from edge.labelling.ignored import ignoring, open_labelled
from runtime.types import ClipSpec


def open_labelled_clips(
    data: str, shape: ClipSpec, class_names: Sequence[str], *, limit: int = 0,
    people: str | None = None,
) -> ClipDataset:  # fmt: skip
    """Open what thresholds are fitted on.

    A single data set is judged by its own classes. In several together each also tells what nobody
    in it does, where the model has the joint classes: nobody in JHMDB-21 fights.

    Args:
        data: `A`, or `A+B`; the validation parts where a word names none.
        shape: What the model asks for.
        class_names: The model's classes.
        limit: Clips of each data set, evenly spread over real videos; 0 takes all.
        people: Folder of `--ignore-people`.

    Raises:
        ConfigError: A word names no data set, or one has classes that the model does not know.
    """
    parts = split_mix(data)
    ignored = open_labelled(people, [word for word, _ in parts])
    opened = [
        (word, ignoring(open_dataset(word, shape, limit=limit or None), word, ignored), times)
        for word, times in parts
    ]
    if len(opened) == 1:
        word, clips, _ = opened[0]
        return judged(clips, word, class_names)[0]
    classes = "joint" if set(class_names) == set(JOINT_CLASSES) else "own"
    return ConcatDataset([(joined(clips, word, classes), times) for word, clips, times in opened])
