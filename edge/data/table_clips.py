"""From the rows of an AVA-style table to clips: one keyframe per time, one actor per box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge.data.media import Media
from edge.data.table import I64, MAX_TIME_S, Table
from edge.data.video_clips import ClipTable, build_table
from runtime.errors import ConfigError

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
