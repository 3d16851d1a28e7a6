"""The threshold on p(action) of each action, from answers of an artifact's own engine.

θ on p(actor) decides who is shown, these decide what is said of them. A probability of 0.5 means
little here: rare actions are learned with low scores, and int8 moves all of them. So each action of
each artifact has the threshold of the best F1 among the people whom θ lets through.

Of an action that is labelled for whole videos nobody knows who does it. Its threshold is the one
that tells the videos apart best by their scores (`edge.evaluation.video_scores`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation.average_precision import rank
from edge.evaluation.boxes import best_truth, find_overlaps, first_claims
from edge.evaluation.operating_point import OperatingPoint, best_f1
from edge.evaluation.video_scores import Videos, VideoScores, best_threshold
from runtime.bundle_spec import ActionThreshold
from runtime.decode import Detections

I8 = npt.NDArray[np.int8]

LEAST_PEOPLE = 10
"""Found people who do an action, and who do not, below which it gets no threshold of its own; of
labels of whole videos, videos."""

LEAST_CONF = 0.1
"""No threshold is below it: the labelled clips show less than a camera does, and where an action's
best F1 lies at scores of nearly nothing, it would be named of people who do something else."""

_IOU = 0.5
_DONE, _NOT_DONE, _UNKNOWN = 1, 0, -1
_ALONE = (
    2  # a bystander in a clip without actors: `_NOT_DONE` unless the data set is partly labelled
)


class ActionScores:
    """Collects what is said of people whose actions are known.

    A person is spoken of by the token that overlaps them by 0.5 or more and nobody else by more;
    of several, the one with the highest p(actor). Bystanders do none of the actions.
    """

    def __init__(self, dataset: ClipDataset, class_names: Sequence[str]) -> None:
        """Prepare for the clips of a data set.

        Args:
            dataset: Says which actions are labelled, and which only for whole videos.
            class_names: The model's actions, in the order of its scores.
        """
        names, video_level = tuple(dataset.class_names), set(dataset.video_level_classes)
        both = [i for i, name in enumerate(names) if name in class_names and i not in video_level]
        self.names = tuple(names[i] for i in both)
        self._of_data = both
        self._of_model = [list(class_names).index(name) for name in self.names]
        self._actor: list[npt.NDArray[np.float32]] = []
        self._scores: list[npt.NDArray[np.float32]] = []
        self._states: list[I8] = []
        self._partly_labelled = False
        self._dataset, self._videos = dataset, VideoScores.of(dataset)
        self._whole = [i for i in sorted(video_level) if names[i] in class_names]
        self._whole_of_model = [list(class_names).index(names[i]) for i in self._whole]

    def update(self, sample: ClipSample, found: Detections, index: int | None = None) -> None:
        """Add one clip.

        Args:
            sample: The clip; its frames are not kept.
            found: All of the model's tokens with boxes in [0, 1], by falling p(actor).
            index: Which clip of the data set it is; without it, labels of whole videos are left
                out.
        """
        self._add_to_video(found, index)
        people = np.concatenate([sample.boxes, sample.inactive_persons]).astype(np.float64)
        keys = np.zeros(len(found), np.int64)
        overlaps = find_overlaps(
            keys, found.xyxy.astype(np.float64), np.zeros(len(people), np.int64), people, iou=_IOU
        )
        token, person = best_truth(overlaps)
        first = first_claims(token, person, np.arange(len(found)))
        token, person = token[first], person[first]
        self._actor.append(found.actor[token])
        self._scores.append(found.actions[token][:, self._of_model])
        self._states.append(self._known(sample)[person])

    def fit(self, conf: float) -> dict[str, ActionThreshold]:
        """Return the threshold of each action for which there are enough people.

        Args:
            conf: θ of the artifact: who is not above it is not spoken of.
        """
        if not self._actor:
            return {}
        kept = np.concatenate(self._actor).astype(np.float64) > conf
        scores, states = np.concatenate(self._scores)[kept], np.concatenate(self._states)[kept]
        states[states == _ALONE] = _UNKNOWN if self._partly_labelled else _NOT_DONE
        result = {}
        for column, name in enumerate(self.names):
            one = _fit(scores[:, column].astype(np.float64), states[:, column])
            if one is not None:
                result[name] = one
        if self._videos is not None:
            for label in self._whole:
                one = _fit_videos(self._videos.videos(label))
                if one is not None:
                    result[self._dataset.class_names[label]] = one
        return result

    def _add_to_video(self, found: Detections, index: int | None) -> None:
        place = None if index is None or self._videos is None else self._dataset.where(index)
        if self._videos is None or place is None:
            return
        actions = np.zeros((len(found), len(self._dataset.class_names)), np.float32)
        actions[:, self._whole] = found.actions[:, self._whole_of_model]
        self._videos.add(place, replace(found, actions=actions))

    def _known(self, sample: ClipSample) -> I8:
        """Return who does what: (M + K, C)."""
        labels = sample.labels[:, self._of_data] > 0.5
        states = np.where(labels, _DONE, _NOT_DONE).astype(np.int8)
        states[~sample.label_mask[:, self._of_data]] = _UNKNOWN
        # Where the clip is silent about some action, so it may be about its bystanders.
        silent = not sample.label_mask.all()
        self._partly_labelled |= silent
        state = _UNKNOWN if silent else _NOT_DONE if len(sample.boxes) else _ALONE
        beside = np.full((len(sample.inactive_persons), len(self.names)), state, np.int8)
        return np.concatenate([states, beside])


def _fit(score: npt.NDArray[np.float64], state: I8) -> ActionThreshold | None:
    """Return the threshold of the best F1 from `LEAST_CONF` on; None where too few people say."""
    doing, not_doing = int((state == _DONE).sum()), int((state == _NOT_DONE).sum())
    if min(doing, not_doing) < LEAST_PEOPLE:
        return None
    score, state = score[state != _UNKNOWN], state[state != _UNKNOWN]
    best = _best(score, state, doing)
    if best is not None and best.conf < LEAST_CONF:
        best = _best(score[score >= LEAST_CONF], state[score >= LEAST_CONF], doing)
    if best is None:
        return None
    conf = max(best.conf, LEAST_CONF)
    return ActionThreshold(
        conf=conf, f1=best.f1, precision=best.precision, recall=best.recall,
        doing=doing, not_doing=not_doing,
    )  # fmt: skip


def _fit_videos(videos: Videos) -> ActionThreshold | None:
    """Return the threshold of the highest accuracy; None where there are too few videos."""
    present = videos.present
    if min(present.sum(), (~present).sum()) < LEAST_PEOPLE:
        return None
    best = best_threshold(videos.score, present)
    assert best is not None, "both kinds are there"
    conf = max(best, LEAST_CONF)
    said = videos.score >= conf
    right = int((said & present).sum())
    precision, recall = right / max(1, int(said.sum())), right / int(present.sum())
    return ActionThreshold(
        conf=conf, f1=2 * right / (int(said.sum()) + int(present.sum())), precision=precision,
        recall=recall, doing=int(present.sum()), not_doing=int((~present).sum()),
    )  # fmt: skip


def _best(score: npt.NDArray[np.float64], state: I8, doing: int) -> OperatingPoint | None:
    if not (state == _DONE).any():
        return None
    order = np.argsort(-score, kind="stable")
    return best_f1(rank(score[order], state[order] == _DONE, doing))
