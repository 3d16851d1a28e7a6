"""Keyframe clips of real videos: what every reader of an annotation gives.

Annotations are kept column by column: AVA has a million rows, and each process of a loader gets a
copy. Files are opened while a clip is read, and nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.annotations import ClipPlace, Tube
from edge.data.clips import resize_frames
from edge.data.dataset import ClipDataset
from edge.data.media import Media
from edge.data.problems import DataReport
from edge.data.samples import ClipSample
from edge.data.table import MAX_TIME_S, Table
from edge.data.video_labels import NO_ROW, VideoLabels
from runtime.errors import CaptureError, ConfigError
from runtime.types import ClipSpec

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTable:
    """Keyframes, the people in them, and what these do.

    Attributes:
        video: (K,) index of the keyframe's video.
        frame: (K,) number of the keyframe in it, from 0.
        timestamp: (K,) its time as the annotation writes it, seconds.
        actor_start: (K + 1,) row of `boxes` where each keyframe's people begin.
        boxes: (A, 4) xyxy, shares of the frame.
        label_start: (A + 1,) row of `labels` where each person's actions begin.
        labels: (L,) index of the action.
    """

    video: I64
    frame: I64
    timestamp: F64
    actor_start: I64
    boxes: F32
    label_start: I64
    labels: I64

    def __len__(self) -> int:
        """Return the number of keyframes."""
        return len(self.video)

    def people(self, index: int, num_classes: int) -> tuple[F32, F32, F32]:
        """Return actors (M, 4), their labels (M, C) and bystanders (K, 4) of a keyframe."""
        first, stop = int(self.actor_start[index]), int(self.actor_start[index + 1])
        starts = self.label_start[first : stop + 1]
        row = np.repeat(np.arange(stop - first), np.diff(starts))
        labels = np.zeros((stop - first, num_classes), np.float32)
        labels[row, self.labels[starts[0] : starts[-1]]] = 1.0
        boxes, acts = self.boxes[first:stop], labels.any(axis=1)
        return boxes[acts], labels[acts], boxes[~acts]


def build_table(
    *,
    video: I64,
    frame: I64,
    timestamp: F64,
    actor_keyframe: I64,
    boxes: npt.NDArray[Any],
    label_actor: I64,
    labels: I64,
) -> ClipTable:
    """Return the table of keyframes (K,), people (A,) and their actions (L,).

    Args:
        video: (K,) index of each keyframe's video.
        frame: (K,) its number.
        timestamp: (K,) its time, seconds.
        actor_keyframe: (A,) keyframe of each person, ascending.
        boxes: (A, 4) shares of the frame.
        label_actor: (L,) person of each action, ascending.
        labels: (L,) the action.
    """
    return ClipTable(
        video=video.astype(np.int64),
        frame=frame.astype(np.int64),
        timestamp=timestamp.astype(np.float64),
        actor_start=np.searchsorted(actor_keyframe, np.arange(len(video) + 1)).astype(np.int64),
        boxes=np.ascontiguousarray(boxes, np.float32).reshape(-1, 4),
        label_start=np.searchsorted(label_actor, np.arange(len(boxes) + 1)).astype(np.int64),
        labels=labels.astype(np.int64),
    )


# Times are told apart to a microsecond.
_TICKS_PER_S = 1_000_000
_MOST_VIDEOS = 1 << 20


def clips_of_table(
    table: Table, media: Mapping[str, Media], keep: I64, keep_empty: I64, class_of: Sequence[int]
) -> ClipTable:
    """Return the keyframes of a table.

    Args:
        table: The rows.
        media: The videos by name, in the order that the result counts them in.
        keep: Rows of the table that count; all of videos in `media`.
        keep_empty: Rows with nobody in them that count.
        class_of: Index of the action for each label; -1 for one that does not count. Whoever has
            none that counts is a bystander.
    """
    if len(media) > _MOST_VIDEOS:
        raise ConfigError(f"{len(media)} videos; at most {_MOST_VIDEOS} can be read together")
    index_of = {name: index for index, name in enumerate(media)}
    number = np.array([index_of.get(name, -1) for name in table.videos], np.int64)
    video, empty_video = number[table.video[keep]], number[table.empty_video[keep_empty]]
    key = np.concatenate(
        [
            _key(video, table.timestamp[keep]),
            _key(empty_video, table.empty_timestamp[keep_empty]),
        ]
    )
    keyframes, first, place = np.unique(key, return_index=True, return_inverse=True)
    at = place.reshape(-1)[: len(keep)]
    boxes, label, person = table.boxes[keep], table.label[keep], table.person[keep]
    order = np.lexsort((label, person, *boxes.T[::-1], at))
    at, boxes, label, person = at[order], boxes[order], label[order], person[order]
    new = np.ones(len(at), bool)
    new[1:] = (
        (np.diff(at) != 0) | (np.diff(boxes, axis=0) != 0).any(axis=1) | (np.diff(person) != 0)
    )
    actor = np.cumsum(new) - 1
    known = np.array([-1, *class_of], np.int64)[np.maximum(label, 0)]
    counts = known >= 0
    said = np.unique(actor[counts] * (len(class_of) + 1) + known[counts])
    timestamp = np.concatenate([table.timestamp[keep], table.empty_timestamp[keep_empty]])[first]
    where = keyframes // _SPAN
    opened = list(media.values())
    frame = [opened[v].frame_at(t) for v, t in zip(where.tolist(), timestamp.tolist(), strict=True)]
    return build_table(
        video=where,
        frame=np.array(frame, np.int64),
        timestamp=timestamp,
        actor_keyframe=at[new],
        boxes=boxes[new],
        label_actor=said // (len(class_of) + 1),
        labels=said % (len(class_of) + 1),
    )


_SPAN = int(MAX_TIME_S * 2) * _TICKS_PER_S


def _key(video: I64, timestamp: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> I64:
    return video * _SPAN + np.rint(timestamp * _TICKS_PER_S).astype(np.int64)


class VideoClips(ClipDataset):
    """Clips of real videos around labelled keyframes.

    Attributes:
        class_names: The actions.
        report: What was found on the way, and what is left out.
        video_labels: What is said of whole videos; None where nothing is.
    """

    def __init__(
        self,
        report: DataReport,
        shape: ClipSpec,
        clips: ClipTable,
        media: Mapping[str, Media],
        *,
        class_names: Sequence[str],
        label_ids: Sequence[int],
        by_frame: bool,
        sizes_wh: Mapping[str, tuple[int, int]] | None = None,
        tubes: Sequence[Tube] = (),
        video_labels: VideoLabels | None = None,
    ) -> None:
        """Hold what a reader found.

        Args:
            report: What was found on the way; its counts are filled in here.
            shape: What a model asks for.
            clips: The keyframes; their `video` counts in `media`.
            media: Videos by name.
            class_names: The actions.
            label_ids: Their numbers in the annotation's files.
            by_frame: Whether the annotation counts frames; else it gives times.
            sizes_wh: Frame sizes that tubes are measured in, where these are not the videos' own.
            tubes: True tubes.
            video_labels: What is said of whole videos.

        Raises:
            ConfigError: There is no clip.
        """
        if not len(clips):
            why = f"; the first fault: {report.skipped[0]}" if len(report.skipped) else ""
            raise ConfigError(f"{report.name} has no clip that can be used{why}")
        self.class_names, self._label_ids = tuple(class_names), tuple(label_ids)
        self.shape, self.report, self.video_labels = shape, report, video_labels
        self._clips, self._tubes, self._by_frame = clips, tuple(tubes), by_frame
        self.media, self._names = dict(media), tuple(media)
        own = {name: one.size_wh for name, one in media.items()}
        self._sizes_wh = own if sizes_wh is None else {name: sizes_wh[name] for name in media}
        self._count()

    def _count(self) -> None:
        clips, report = self._clips, self.report
        acts = np.diff(clips.label_start) > 0
        report.videos, report.keyframes = len(np.unique(clips.video)), len(clips)
        report.actors, report.inactive_persons = int(acts.sum()), int((~acts).sum())
        report.tubes = len(self._tubes)
        counts = np.bincount(clips.labels, minlength=len(self.class_names))
        report.per_class = dict(zip(self.class_names, counts.tolist(), strict=True))
        if self.video_labels is not None:
            video_level = self.video_labels.video_level
            for label in np.flatnonzero(video_level).tolist():
                state = self._states()[:, label]
                report.notes.append(
                    f"{self.class_names[label]} is said of whole videos; clips in which somebody "
                    f"does it: {(state == 1).sum()}, nobody: {(state == 0).sum()}, unknown: "
                    f"{(state == NO_ROW).sum()}"
                )

    def _states(self) -> npt.NDArray[np.int8]:
        """Return what is said of the video of each clip, (K, C)."""
        assert self.video_labels is not None
        rows = np.stack([self.video_labels.state(name) for name in self._names])
        return rows[self._clips.video]

    @property
    def label_ids(self) -> tuple[int, ...]:
        """The number of each action in rows of the annotation's own files."""
        return self._label_ids

    @property
    def class_counts(self) -> Mapping[str, float]:
        """How many people do each action; somebody whom nobody knows is one."""
        counts: dict[str, float] = dict(self.report.per_class)
        if self.video_labels is not None:
            somebody = (self._states() == 1) & (np.diff(self._clips.actor_start) > 0)[:, None]
            for name, more in zip(self.class_names, somebody.sum(axis=0).tolist(), strict=True):
                counts[name] += more
        return counts

    @property
    def actor_count(self) -> float:
        """How many people act."""
        return float(self.report.actors)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._clips)

    def where(self, index: int) -> ClipPlace:
        """Return where clip `index` lies.

        Raises:
            IndexError: There is no such clip.
        """
        index = self.checked(index)
        clips = self._clips
        return ClipPlace(
            video=self._names[clips.video[index]],
            frame=int(clips.frame[index]),
            timestamp=float(clips.timestamp[index]),
        )

    def tubes(self) -> list[Tube]:
        """Return the true tubes."""
        return list(self._tubes)

    def truth(self, index: int) -> tuple[F32, F32, F32]:
        """Return actors, labels and bystanders of a clip, without reading its frames.

        Where somebody in the video acts and nobody knows who, those without a label are among the
        actors, behind the others: whether they act is unknown.
        """
        index = self.checked(index)
        boxes, labels, inactive_persons = self._clips.people(index, len(self.class_names))
        said, video = self.video_labels, self._names[self._clips.video[index]]
        if said is not None and said.somebody_acts(video):
            nothing = np.zeros((len(inactive_persons), labels.shape[1]), np.float32)
            boxes, labels = (
                np.concatenate([boxes, inactive_persons]),
                np.concatenate([labels, nothing]),
            )
            inactive_persons = inactive_persons[:0]
        return boxes, labels, inactive_persons

    def __getitem__(self, index: int) -> ClipSample:
        """Read clip `index`.

        Raises:
            IndexError: There is no such clip.
            CaptureError: Its frames cannot be decoded.
        """
        place = self.where(index)
        media = self.media[place.video]
        try:
            if self._by_frame:
                frames = media.read_at_frame(place.frame, self.shape)
            else:
                frames = media.read_at_time(place.timestamp, self.shape)
            resized = resize_frames(frames, self.shape.height, self.shape.width)
        except (OSError, cv2.error) as error:  # a disk that fails, a frame that cannot be
            raise CaptureError(f"{media.path} cannot be read: {error}") from error
        return replace(self.without_frames(index), frames_rgb=resized)

    def without_frames(self, index: int) -> ClipSample:
        """Return clip `index` with black frames: its truth is known without decoding."""
        place, shape = self.where(index), self.shape
        boxes, labels, inactive_persons = self.truth(index)
        mark = f"{place.frame:06d}" if self._by_frame else f"{place.timestamp:010.3f}"
        sample = ClipSample(
            frames_rgb=np.zeros(shape.frames_shape, np.uint8),
            boxes=boxes,
            labels=labels,
            inactive_persons=inactive_persons,
            clip_id=f"{place.video}/{mark}",
            size_wh=self._sizes_wh[place.video],
        )
        if self.video_labels is None:
            return sample
        label_mask, bag_id = self.video_labels.masks(place.video, labels)
        return replace(sample, label_mask=label_mask, bag_id=bag_id)
