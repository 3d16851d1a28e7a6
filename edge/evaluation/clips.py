"""What a model finds in clips: frame-mAP, actors, and what happens at one threshold.

For the mAP every token enters, with p(actor) x p(action) as its score: no threshold, no NMS. At a
threshold, tokens with p(actor) above it are kept, and each kept token is one of four things: a hit,
a duplicate (its actor was claimed by a token with a higher score), on a bystander, or elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.data.samples import ClipSample
from edge.evaluation.average_precision import Ranking, rank
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
from edge.evaluation.frames import FrameMetrics, summarise
from edge.evaluation.operating_point import best_f1
from runtime.decode import Detections, decode
from runtime.errors import ConfigError

F32 = npt.NDArray[np.float32]

DEFAULT_CONF = 0.5  # where no actor was ever hit, so that no threshold is better than another


def predict(pred_boxes: F32, pred_actor: F32, pred_actions: F32) -> Detections:
    """Turn one clip's outputs into triplets with boxes in [0, 1], by the device's own decode.

    Args:
        pred_boxes: (N, 4) cxcywh in [0, 1].
        pred_actor: (N,) logits.
        pred_actions: (N, C) logits.

    Returns:
        All tokens, by falling p(actor).

    Raises:
        ConfigError: A shape or type differs.
        DecodeError: A value is not finite.
    """
    return decode(pred_boxes, pred_actor, pred_actions, conf=0.0, size_wh=(1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class AtThreshold:
    """The actors at one threshold.

    Attributes:
        conf: The threshold on p(actor).
        precision: Hits among the kept tokens; NaN where none is kept.
        recall: Actors that were found; NaN where there are none.
        f1: Harmonic mean of the two.
        kept_per_clip: Kept tokens.
        duplicates_per_actor: Kept tokens whose actor a better one claimed, for each true actor.
        bystander_fp_per_clip: Kept tokens on a bystander and on no actor.
        elsewhere_fp_per_clip: Kept tokens on nobody.
    """

    conf: float
    precision: float
    recall: float
    f1: float
    kept_per_clip: float
    duplicates_per_actor: float
    bystander_fp_per_clip: float
    elsewhere_fp_per_clip: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """All clips as columns; the tokens of a clip stand together, as do its people."""

    clip: I64
    xyxy: F64
    actor: F64
    actions: F32
    true_clip: I64
    labels: Bools
    overlaps: Overlaps
    on: I64  # for each token the actor that it overlaps most, or -1
    hit: Bools  # the first token on its actor
    on_bystander: Bools


class ClipMetrics:
    """Collects clips and their triplets, then counts."""

    def __init__(self, class_names: Sequence[str], *, iou: float = 0.5) -> None:
        """Prepare for clips of these classes.

        Args:
            class_names: Names of the C actions.
            iou: Least overlap of a hit.
        """
        self.class_names = tuple(class_names)
        self.iou = iou
        self._found: list[Detections] = []
        self._boxes: list[F32] = []
        self._labels: list[F32] = []
        self._bystanders: list[F32] = []
        self._cached: _Columns | None = None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._found)

    def update(self, sample: ClipSample, detections: Detections) -> None:
        """Add one clip.

        Args:
            sample: The clip; its frames are not kept.
            detections: Its triplets with boxes in [0, 1], as `predict` returns them.

        Raises:
            ConfigError: The number of classes differs.
        """
        self.add(sample.boxes, sample.labels, sample.bystanders, detections)

    def add(self, boxes: F32, labels: F32, bystanders: F32, detections: Detections) -> None:
        """Add one clip by its truth: boxes (M, 4), labels (M, C), bystanders (K, 4)."""
        classes = len(self.class_names)
        if labels.shape != (len(boxes), classes) or detections.actions.shape[1:] != (classes,):
            raise ConfigError(
                f"got labels {labels.shape} and scores {detections.actions.shape}, expected "
                f"{classes} classes: {', '.join(self.class_names)}"
            )
        self._found.append(detections)
        self._boxes.append(boxes)
        self._labels.append(labels)
        self._bystanders.append(bystanders)
        self._cached = None

    def frame_metrics(self) -> FrameMetrics:
        """Return frame-mAP, class by class, over all tokens."""
        columns = self._columns()
        rankings = (
            self._ranking(columns, columns.actions[:, c] * columns.actor, columns.labels[:, c])
            for c in range(len(self.class_names))
        )
        return summarise(rankings, ties="spread")

    def actor_ranking(self) -> Ranking:
        """Return the ranking of tokens by p(actor), whatever the actors do."""
        columns = self._columns()
        order = np.argsort(-columns.actor, kind="stable")
        return rank(columns.actor[order], columns.hit[order], len(columns.true_clip))

    def at(self, conf: float) -> AtThreshold:
        """Return what tokens with p(actor) above `conf` are."""
        columns = self._columns()
        kept = columns.actor > conf
        hits = int((kept & columns.hit).sum())
        extra = kept & ~columns.hit
        off_actors = extra & (columns.on < 0)
        actors, clips = len(columns.true_clip), max(len(self), 1)
        return AtThreshold(
            conf=float(conf),
            precision=_share(hits, int(kept.sum())),
            recall=_share(hits, actors),
            f1=_share(2 * hits, int(kept.sum()) + actors),
            kept_per_clip=int(kept.sum()) / clips,
            duplicates_per_actor=_share(int((extra & (columns.on >= 0)).sum()), actors),
            bystander_fp_per_clip=int((off_actors & columns.on_bystander).sum()) / clips,
            elsewhere_fp_per_clip=int((off_actors & ~columns.on_bystander).sum()) / clips,
        )

    def best_conf(self) -> float:
        """Return the threshold of the best F1 on these very clips."""
        best = best_f1(self.actor_ranking())
        return DEFAULT_CONF if best is None else best.conf

    def confusion(self, conf: float) -> I64:
        """Count, at a threshold, what the people do against what they are said to do.

        An actor with k actions is said to do the k that score highest. Those that are right count
        on the diagonal, the rest against each other in the order of their scores.

        Returns:
            (C + 2, C + 1). Rows: the C classes, bystander, nobody. Columns: the C classes, not
            found. A duplicate is in no cell.
        """
        columns, classes = self._columns(), len(self.class_names)
        table = np.zeros((classes + 2, classes + 1), dtype=np.int64)
        kept = columns.actor > conf
        hits = np.flatnonzero(kept & columns.hit)
        found = np.zeros(len(columns.true_clip), dtype=bool)
        found[columns.on[hits]] = True
        table[:classes, classes] = columns.labels[~found].sum(axis=0)
        for token in hits:
            true, said = self._labels_said(columns, int(token))
            for a, b in zip(true, said, strict=True):
                table[a, b] += 1
        stray = np.flatnonzero(kept & (columns.on < 0))
        row = np.where(columns.on_bystander[stray], classes, classes + 1)
        np.add.at(table, (row, columns.actions[stray].argmax(axis=1)), 1)
        return table

    def errors_by_clip(self, conf: float) -> I64:
        """Return, for each clip, how many errors it holds at a threshold.

        An error is an actor not found, a kept token that is no hit, or a wrong label of a hit.
        """
        columns = self._columns()
        kept = columns.actor > conf
        hits = np.flatnonzero(kept & columns.hit)
        errors = np.bincount(columns.true_clip, minlength=len(self))
        errors -= np.bincount(columns.clip[hits], minlength=len(self))
        errors += np.bincount(columns.clip[kept & ~columns.hit], minlength=len(self))
        for token in hits:
            true, said = self._labels_said(columns, int(token))
            errors[columns.clip[token]] += int((true != said).sum())
        return errors

    def result(self, conf: float | None = None) -> dict[str, Any]:
        """Return all figures as plain values; NaN is None.

        Args:
            conf: Threshold; None takes the best F1 on these clips.
        """
        frames, actors = self.frame_metrics(), self.actor_ranking()
        at = self.at(self.best_conf() if conf is None else conf)
        least, most = frames.tie_bounds
        ap = dict(zip(self.class_names, frames.ap.tolist(), strict=True))
        return {
            "clips": len(self),
            "actors": actors.num_truth,
            "bystanders": sum(map(len, self._bystanders)),
            "iou": self.iou,
            "frame_map": plain(frames.mean_ap),
            "frame_map_tie_bounds": [plain(least), plain(most)],
            "ap": {name: plain(value) for name, value in ap.items()},
            "actor_ap": plain(actors.average_precision("spread")),
            "at_threshold": {name: plain(value) for name, value in asdict(at).items()},
        }

    def _ranking(self, columns: _Columns, score: F64, is_true: Bools) -> Ranking:
        """Rank all tokens for one class."""
        token, actor = best_truth(columns.overlaps, is_true)
        hit = np.zeros(len(score), dtype=bool)
        order = np.argsort(-score, kind="stable")
        hit[token] = first_claims(token, actor, places(order))
        return rank(score[order], hit[order], int(is_true.sum()))

    def _labels_said(self, columns: _Columns, token: int) -> tuple[I64, I64]:
        """Return the true labels of a hit and as many said ones, what is right in the same place.

        The classes come by falling score on both sides.
        """
        order = np.argsort(-columns.actions[token], kind="stable")
        is_true = columns.labels[columns.on[token]][order]
        said, true = order[: is_true.sum()], order[is_true]
        right = np.intersect1d(said, true)
        wrong_said, wrong_true = (side[~np.isin(side, right)] for side in (said, true))
        return np.concatenate([right, wrong_true]), np.concatenate([right, wrong_said])

    def _columns(self) -> _Columns:
        if self._cached is not None:
            return self._cached
        classes = len(self.class_names)
        clip = _owner(self._found)
        true_clip = _owner(self._boxes)
        xyxy = _stacked([d.xyxy for d in self._found], 4).astype(np.float64)
        actor = np.concatenate([np.empty(0), *(d.actor for d in self._found)])
        true_xyxy = _stacked(self._boxes, 4).astype(np.float64)
        overlaps = find_overlaps(clip, xyxy, true_clip, true_xyxy, iou=self.iou)
        token, truth = best_truth(overlaps)
        on = np.full(len(clip), -1, dtype=np.int64)
        on[token] = truth
        hit = np.zeros(len(clip), dtype=bool)
        hit[token] = first_claims(token, truth, places(np.argsort(-actor, kind="stable")))
        beside = _stacked(self._bystanders, 4).astype(np.float64)
        near = find_overlaps(clip, xyxy, _owner(self._bystanders), beside, iou=self.iou)
        on_bystander = np.zeros(len(clip), dtype=bool)
        on_bystander[near.detection] = True
        self._cached = _Columns(
            clip=clip,
            xyxy=xyxy,
            actor=actor,
            actions=_stacked([d.actions for d in self._found], classes),
            true_clip=true_clip,
            labels=_stacked(self._labels, classes) > 0.5,
            overlaps=overlaps,
            on=on,
            hit=hit,
            on_bystander=on_bystander,
        )
        return self._cached


def plain(value: float) -> float | None:
    """Return a number as JSON has it: None for NaN."""
    return None if np.isnan(value) else float(value)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _owner(rows: Sequence[Detections] | Sequence[F32]) -> I64:
    """Return for each row of each entry the number of its entry."""
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]).astype(np.int64)


def _stacked(parts: Sequence[F32], width: int) -> F32:
    return np.concatenate(
        [np.empty((0, width), np.float32), *(p.reshape(-1, width) for p in parts)]
    )
