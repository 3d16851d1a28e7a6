"""The one loop that runs a model over labelled clips, and counts what it finds.

Training's validation, `edge val`, the export's choice of artifacts and the fit of thresholds all
run it. What differs between them is the model, given as a function from clips to outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation.clip_metrics import ClipMetrics, predict
from edge.evaluation.decode_errors import DecodeErrors, EvalClip, read_clip
from edge.evaluation.video_scores import VideoScores
from runtime.decode import Detections
from runtime.errors import ConfigError
from runtime.preprocess import normalize
from runtime.types import ClipModel, ClipSpec, Outputs, Progress

RunClips = Callable[[Sequence[ClipSample]], Sequence[Outputs]]
"""A model: the outputs of each of some clips, without a batch axis."""


def run_clips(
    dataset: ClipDataset, run: RunClips, indices: Iterable[int], *, batch: int = 1
) -> Iterator[EvalClip]:
    """Run a model over clips, and yield each with its outputs.

    Args:
        dataset: The clips.
        run: The model.
        indices: Which clips.
        batch: Clips that are given to the model together.
    """
    group: list[EvalClip] = []
    for index in indices:
        group.append(read_clip(dataset, index))
        if sum(not clip.reason for clip in group) == batch:
            yield from _run_group(group, run)
            group = []
    yield from _run_group(group, run)


def _run_group(group: Sequence[EvalClip], run: RunClips) -> Iterator[EvalClip]:
    decoded = [clip.sample for clip in group if not clip.reason]
    outputs = iter(run(decoded) if decoded else ())
    for clip in group:
        yield clip if clip.reason else replace(clip, outputs=next(outputs))


def tokens_of(clip: EvalClip) -> Detections:
    """Return all tokens of a clip, boxes in [0, 1]; none where the model was not run on it."""
    if clip.outputs is not None:
        return predict(*clip.outputs)
    sizes = ((0, 4), (0,), (0, clip.sample.labels.shape[1]))
    return predict(*(np.zeros(size, np.float32) for size in sizes))


def by_engine(model: ClipModel, config: ClipSpec) -> RunClips:
    """Return a model for `Evaluator` from one that takes normalised clips.

    Args:
        model: Run on one clip at a time.
        config: Size and normalisation of the clip.
    """
    return lambda samples: [model(normalize(one.frames_rgb, config)).of(0) for one in samples]


def class_order(model: Sequence[str], data: Sequence[str], name: str = "the model") -> list[int]:
    """Return which output of a model stands for each class of a data set.

    A model may know more classes than the data set has.

    Args:
        model: Classes of the model, in the order of its outputs.
        data: Classes of the data set.
        name: What a message calls the model.

    Raises:
        ConfigError: It does not know one that the data set has.
    """
    unknown = sorted(set(data) - set(model))
    if unknown:
        beside = sorted(set(model) - set(data))
        only = f"only the model knows {', '.join(beside[:6])}; " if beside else ""
        raise ConfigError(
            f"{name} has {len(model)} classes and the data set {len(data)}, and they differ: "
            f"{only}only the data set knows {', '.join(unknown[:6])}. Evaluate a model on classes "
            "that it was trained for"
        )
    return [list(model).index(name) for name in data]


class Evaluator:
    """Counts what a model finds in the clips of a data set.

    Attributes:
        metrics: Frame-mAP, actors, and what happens at a threshold.
        videos: Scores of whole videos; None where no label is of a whole video.
        left_out: Why each clip that could not be decoded was left out.
    """

    def __init__(self, dataset: ClipDataset, class_names: Sequence[str] | None = None) -> None:
        """Prepare for a data set.

        Args:
            dataset: The clips, with their truth.
            class_names: Classes of the model, in the order of its outputs; None are the data set's.

        Raises:
            ConfigError: The data set has a class that the model does not know.
        """
        self.dataset = dataset
        self.metrics = ClipMetrics(dataset.class_names, video_level=dataset.video_level_classes)
        self.videos = VideoScores.of(dataset)
        self.left_out: list[str] = []
        self._columns: list[int] | None = None
        if class_names is not None and tuple(class_names) != tuple(dataset.class_names):
            self._columns = class_order(class_names, dataset.class_names)

    def add(self, index: int, sample: ClipSample, found: Detections) -> None:
        """Add a clip and all tokens that the model gives for it, its classes the data set's."""
        self.metrics.update(sample, found)
        place = None if self.videos is None else self.dataset.where(index)
        if self.videos is not None and place is not None:
            self.videos.add(place, found)

    def run(
        self,
        run: RunClips,
        *,
        batch: int = 1,
        limit: int = 0,
        refuse: bool = True,
        step: str = "clips",
        progress: Progress | None = None,
        also: Callable[[ClipSample, Detections, int], None] | None = None,
    ) -> ClipMetrics:
        """Run a model over the clips; those that cannot be decoded are left out.

        Args:
            run: The model.
            batch: Clips that are given to it together.
            limit: How many clips, from the first; 0 takes all.
            refuse: Warn of each clip that cannot be decoded, and refuse more than a tenth of them.
            step: What `progress` calls the job.
            progress: Told after each clip.
            also: Told of each clip with the model's tokens, by all of the model's classes, and of
                its number.

        Returns:
            `metrics`.

        Raises:
            CaptureError: More than a tenth of the clips cannot be decoded, and `refuse` is set.
            DecodeError: The model gave values that are not finite.
        """
        count = min(limit or len(self.dataset), len(self.dataset))
        errors = DecodeErrors(count)
        for clip in run_clips(self.dataset, run, range(count), batch=batch):
            if clip.reason:
                self.left_out.append(clip.reason)
                if refuse:
                    errors.add(clip.sample.clip_id, clip.reason)
                continue
            found = tokens_of(clip)
            if also is not None:
                also(clip.sample, found, clip.index)
            if self._columns is not None:
                found = replace(found, actions=found.actions[:, self._columns])
            self.add(clip.index, clip.sample, found)
            if progress is not None:
                progress(step, clip.index + 1, count)
        return self.metrics

    def result(self, conf: float | None = None) -> dict[str, Any]:
        """Return the figures as plain values, `video_auc` among them where there are any.

        Args:
            conf: Threshold on p(actor); None takes the best F1 on these clips.
        """
        found = {**self.metrics.result(conf), "undecodable_clips": len(self.left_out)}
        return found if self.videos is None else {**found, "video_auc": self.videos.auc()}
