"""All tokens and people of many clips as columns, and who lies on whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.evaluation.boxes import (
    F64,
    I64,
    Bools,
    Overlaps,
    best_truth,
    find_overlaps,
    first_claims,
    places,
)
from runtime.decode import Detections

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of a clip stand together, as do its actors.

    Attributes:
        clip: (R,) number of each token's clip.
        actor: (R,) p(actor).
        actions: (R, C) p(action).
        true_clip: (G,) number of each actor's clip.
        labels: (G, C) what each actor does.
        overlaps: Tokens and actors that overlap enough.
        on: (R,) the actor that each token overlaps most, of all clips' actors; -1 for none.
        hit: (R,) whether it is the best token on that actor.
        on_bystander: (R,) whether it overlaps a bystander enough.
        on_ignored: (R,) whether it overlaps nobody else enough than one of whom it is not known
            whether they act.
    """

    clip: I64
    actor: F64
    actions: F32
    true_clip: I64
    labels: Bools
    overlaps: Overlaps
    on: I64
    hit: Bools
    on_bystander: Bools
    on_ignored: Bools


def join(
    found: Sequence[Detections],
    boxes: Sequence[F32],
    labels: Sequence[F32],
    inactive_persons: Sequence[F32],
    ignore: Sequence[F32],
    *,
    num_classes: int,
    iou: float,
) -> Tokens:
    """Put clips end to end.

    Args:
        found: Tokens of each clip.
        boxes: Actors of each clip, (M, 4).
        labels: What they do, (M, C).
        inactive_persons: Those who do nothing, (K, 4).
        ignore: Those of whom it is not known whether they act, (U, 4).
        num_classes: C.
        iou: Least overlap.
    """
    clip, true_clip = _owner(found), _owner(boxes)
    xyxy = _stacked([d.xyxy for d in found], 4).astype(np.float64)
    actor = np.concatenate([np.empty(0), *(d.actor for d in found)])
    true_xyxy = _stacked(boxes, 4).astype(np.float64)
    overlaps = find_overlaps(clip, xyxy, true_clip, true_xyxy, iou=iou)
    token, truth = best_truth(overlaps)
    on = np.full(len(clip), -1, dtype=np.int64)
    on[token] = truth
    hit = np.zeros(len(clip), dtype=bool)
    hit[token] = first_claims(token, truth, places(np.argsort(-actor, kind="stable")))
    on_bystander, on_ignored = (
        _touches(clip, xyxy, beside, iou) for beside in (inactive_persons, ignore)
    )
    return Tokens(
        clip=clip,
        actor=actor,
        actions=_stacked([d.actions for d in found], num_classes),
        true_clip=true_clip,
        labels=_stacked(labels, num_classes) > 0.5,
        overlaps=overlaps,
        on=on,
        hit=hit,
        on_bystander=on_bystander,
        on_ignored=on_ignored & ~on_bystander & (on < 0),
    )


def _touches(clip: I64, xyxy: F64, people: Sequence[F32], iou: float) -> Bools:
    """Return whether each token overlaps one of these people enough."""
    boxes = _stacked(people, 4).astype(np.float64)
    near = find_overlaps(clip, xyxy, _owner(people), boxes, iou=iou)
    touches = np.zeros(len(clip), dtype=bool)
    touches[near.detection] = True
    return touches


def _owner(rows: Sequence[Detections] | Sequence[F32]) -> I64:
    """Return for each row of each entry the number of its entry."""
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]).astype(np.int64)


def _stacked(parts: Sequence[F32], width: int) -> F32:
    empty = np.empty((0, width), np.float32)
    return np.concatenate([empty, *(part.reshape(-1, width) for part in parts)])
