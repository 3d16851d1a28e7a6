"""What a model finds in clips: frame-mAP, actors, and what happens at one threshold.

For the mAP every token enters, with p(actor) x p(action) as its score: no threshold, no NMS. At a
threshold, tokens with p(actor) above it are kept, and each kept token is one of four things: a hit,
a duplicate (its actor was claimed by a token with a higher score), on a bystander, or elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge.data.samples import ClipSample
from edge.evaluation._tokens import Tokens, join
from edge.evaluation.average_precision import Ranking, rank
from edge.evaluation.boxes import F64, I64, Bools, best_truth, first_claims, places
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


Kind = Literal["right", "wrong label", "duplicate", "on a bystander", "on nobody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptToken:
    """A token above the threshold, and what it is.

    Attributes:
        xyxy: (4,) box in [0, 1].
        actor: p(actor).
        said: Classes that it is said to do, as many as the actor under it does, else one.
        kind: What that is worth.
    """

    xyxy: F32
    actor: float
    said: tuple[int, ...]
    kind: Kind


class ClipMetrics:
    """Collects clips and their triplets, then counts."""

    def __init__(
        self, class_names: Sequence[str], *, iou: float = 0.5, video_level: Sequence[int] = ()
    ) -> None:
        """Prepare for clips of these classes.

        Args:
            class_names: Names of the C actions.
            iou: Least overlap of a hit.
            video_level: Classes of which it is not known who does them; frame-mAP leaves them out.
        """
        self.class_names = tuple(class_names)
        self.iou, self.video_level = iou, frozenset(video_level)
        self._found: list[Detections] = []
        self._boxes: list[F32] = []
        self._labels: list[F32] = []
        self._inactive_persons: list[F32] = []
        self._ignore: list[F32] = []
        self._ignored: list[F32] = []
        self._cached: Tokens | None = None
        self._frames: FrameMetrics | None = None

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
        self.add(
            sample.boxes, sample.labels, sample.inactive_persons, detections,
            ignore=sample.ignore, ignored=sample.ignored,
        )  # fmt: skip

    def add(
        self, boxes: F32, labels: F32, inactive_persons: F32, detections: Detections,
        ignore: Bools | None = None, ignored: F32 | None = None,
    ) -> None:  # fmt: skip
        """Add one clip by its truth: boxes (M, 4), labels (M, C), bystanders (K, 4).

        Those of whom it is not known whether they act, `ignore` (M,), are no actors; a token on
        one of them is neither right nor wrong where actors are counted, and no action of theirs is
        known to be right. So is a token on somebody `ignored` (I, 4), and on nobody else. Frame-mAP
        counts both as errors, as published protocols do.
        """
        classes = len(self.class_names)
        if labels.shape != (len(boxes), classes) or detections.actions.shape[1:] != (classes,):
            raise ConfigError(
                f"got labels {labels.shape} and scores {detections.actions.shape}, expected "
                f"{classes} classes: {', '.join(self.class_names)}"
            )
        acts = np.ones(len(boxes), bool) if ignore is None else ~ignore
        self._found.append(detections)
        self._boxes.append(boxes[acts])
        self._labels.append(labels[acts])
        self._ignore.append(boxes[~acts])
        self._inactive_persons.append(inactive_persons)
        self._ignored.append(np.zeros((0, 4), np.float32) if ignored is None else ignored)
        self._cached = self._frames = None

    def frame_metrics(self) -> FrameMetrics:
        """Return frame-mAP, class by class, over all tokens."""
        if self._frames is not None:
            return self._frames
        tokens = self._tokens()
        nobody = np.zeros(len(tokens.true_clip), dtype=bool)
        rankings = (
            self._ranking(tokens, tokens.actions[:, c] * tokens.actor,
                          nobody if c in self.video_level else tokens.labels[:, c])
            for c in range(len(self.class_names))
        )  # fmt: skip
        self._frames = summarise(rankings, ties="spread")
        return self._frames

    def actor_ranking(self) -> Ranking:
        """Return the ranking of tokens by p(actor), whatever the actors do."""
        tokens = self._tokens()
        order = np.argsort(-tokens.actor, kind="stable")
        order = order[~tokens.on_ignored[order]]
        return rank(tokens.actor[order], tokens.hit[order], len(tokens.true_clip))

    def at(self, conf: float) -> AtThreshold:
        """Return what tokens with p(actor) above `conf` are."""
        tokens = self._tokens()
        kept = (tokens.actor > conf) & ~tokens.on_ignored
        hits = int((kept & tokens.hit).sum())
        extra = kept & ~tokens.hit
        off_actors = extra & (tokens.on < 0)
        actors, clips = len(tokens.true_clip), max(len(self), 1)
        return AtThreshold(
            conf=float(conf),
            precision=_share(hits, int(kept.sum())),
            recall=_share(hits, actors),
            f1=_share(2 * hits, int(kept.sum()) + actors),
            kept_per_clip=int(kept.sum()) / clips,
            duplicates_per_actor=_share(int((extra & (tokens.on >= 0)).sum()), actors),
            bystander_fp_per_clip=int((off_actors & tokens.on_bystander).sum()) / clips,
            elsewhere_fp_per_clip=int((off_actors & ~tokens.on_bystander).sum()) / clips,
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
        tokens, classes = self._tokens(), len(self.class_names)
        table = np.zeros((classes + 2, classes + 1), dtype=np.int64)
        kept = (tokens.actor > conf) & ~tokens.on_ignored
        hits = np.flatnonzero(kept & tokens.hit)
        found = np.zeros(len(tokens.true_clip), dtype=bool)
        found[tokens.on[hits]] = True
        table[:classes, classes] = tokens.labels[~found].sum(axis=0)
        for token in hits:
            true, said = self._labels_said(tokens, int(token))
            for a, b in zip(true, said, strict=True):
                table[a, b] += 1
        stray = np.flatnonzero(kept & (tokens.on < 0))
        row = np.where(tokens.on_bystander[stray], classes, classes + 1)
        np.add.at(table, (row, tokens.actions[stray].argmax(axis=1)), 1)
        return table

    def errors_by_clip(self, conf: float) -> I64:
        """Return, for each clip, how many errors it holds at a threshold.

        An error is an actor not found, a kept token that is no hit, or a wrong label of a hit.
        """
        tokens = self._tokens()
        kept = (tokens.actor > conf) & ~tokens.on_ignored
        hits = np.flatnonzero(kept & tokens.hit)
        errors = np.bincount(tokens.true_clip, minlength=len(self))
        errors -= np.bincount(tokens.clip[hits], minlength=len(self))
        errors += np.bincount(tokens.clip[kept & ~tokens.hit], minlength=len(self))
        for token in hits:
            true, said = self._labels_said(tokens, int(token))
            errors[tokens.clip[token]] += int((true != said).sum())
        return errors

    def kept(self, index: int, conf: float) -> tuple[list[KeptToken], Bools]:
        """Return what clip `index` shows at a threshold, for pictures.

        Returns:
            The kept tokens, by falling p(actor); and for each of its actors whether it was found.
        """
        tokens = self._tokens()
        first = int(np.searchsorted(tokens.clip, index))
        actors = np.flatnonzero(tokens.true_clip == index)
        found = np.zeros(len(actors), dtype=bool)
        result = []
        kept = (tokens.actor > conf) & ~tokens.on_ignored
        for token in np.flatnonzero((tokens.clip == index) & kept):
            said = np.array([tokens.actions[token].argmax()])
            kind: Kind = "on a bystander" if tokens.on_bystander[token] else "on nobody"
            if tokens.on[token] >= 0:
                true, said = self._labels_said(tokens, int(token))
                kind = "right" if (true == said).all() else "wrong label"
                kind = kind if tokens.hit[token] else "duplicate"
                found[tokens.on[token] - actors[0]] = True
            result.append(
                KeptToken(
                    xyxy=self._found[index].xyxy[token - first],
                    actor=float(tokens.actor[token]),
                    said=tuple(said.tolist()),
                    kind=kind,
                )
            )
        return sorted(result, key=lambda kept: -kept.actor), found

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
            "bystanders": sum(map(len, self._inactive_persons)),
            "undecided": sum(map(len, self._ignore)),
            "ignored": sum(map(len, self._ignored)),
            "iou": self.iou,
            "frame_map": plain(frames.mean_ap),
            "frame_map_tie_bounds": [plain(least), plain(most)],
            "ap": {name: plain(value) for name, value in ap.items()},
            "actor_ap": plain(actors.average_precision("spread")),
            "at_threshold": {name: plain(value) for name, value in asdict(at).items()},
        }

    def _ranking(self, tokens: Tokens, score: F64, is_true: Bools) -> Ranking:
        """Rank all tokens for one class."""
        token, actor = best_truth(tokens.overlaps, is_true)
        hit = np.zeros(len(score), dtype=bool)
        order = np.argsort(-score, kind="stable")
        hit[token] = first_claims(token, actor, places(order))
        return rank(score[order], hit[order], int(is_true.sum()))

    def _labels_said(self, tokens: Tokens, token: int) -> tuple[I64, I64]:
        """Return the true labels of a hit and as many said ones, what is right in the same place.

        The classes come by falling score on both sides.
        """
        order = np.argsort(-tokens.actions[token], kind="stable")
        is_true = tokens.labels[tokens.on[token]][order]
        said, true = order[: is_true.sum()], order[is_true]
        right = np.intersect1d(said, true)
        wrong_said, wrong_true = (side[~np.isin(side, right)] for side in (said, true))
        return np.concatenate([right, wrong_true]), np.concatenate([right, wrong_said])

    def _tokens(self) -> Tokens:
        if self._cached is None:
            self._cached = join(
                self._found,
                self._boxes,
                self._labels,
                self._inactive_persons,
                [np.concatenate(two) for two in zip(self._ignore, self._ignored, strict=True)],
                num_classes=len(self.class_names),
                iou=self.iou,
            )
        return self._cached


def plain(value: float) -> float | None:
    """Return a number as JSON has it: None for NaN."""
    return None if np.isnan(value) else float(value)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
