"""The actor threshold θ of one artifact, from scores of that artifact's own engine.

Decoding is one threshold and nothing else, and int8 moves scores: a θ that was fitted in float32
drops actors or floods the screen. So each artifact carries its own.

A trained model's θ maximises F1 on labelled clips. An untrained model has no right θ; the quantile
rule below gives one that lets a few tokens of each clip pass, so that every later stage has
something to work on, and whoever uses it says "untrained" beside each number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from calibration.actions import ActionScores
from edge.data.dataset import ClipDataset
from edge.evaluation.clip_metrics import ClipMetrics, predict
from edge.evaluation.decode_errors import DecodeErrors
from edge.evaluation.evaluator import by_engine, run_clips
from edge.evaluation.operating_point import best_f1, short_curve
from runtime.bundle_spec import ActionThreshold, Threshold
from runtime.errors import CalibrationError
from runtime.types import ClipModel, ClipSpec, Progress

TOKENS_PER_CLIP = 3.0
"""What the quantile rule aims at; neighbours rise together, and at one, many clips have none."""

_OVERFLOW = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedThreshold:
    """θ and how it was found.

    Attributes:
        conf: θ; actor scores strictly above it are kept.
        record: What goes into the bundle beside it.
        actions: The threshold of each action for which the clips show enough people.
    """

    conf: float
    record: Threshold
    actions: dict[str, ActionThreshold] = field(default_factory=dict)


def fit_threshold(
    engine: ClipModel,
    dataset: ClipDataset,
    config: ClipSpec,
    *,
    class_names: Sequence[str] = (),
    progress: Progress | None = None,
) -> FittedThreshold:
    """Return the θ that maximises the F1 of actors on labelled clips, by an artifact's own engine.

    A kept token is right if it is the best on an actor with IoU 0.5 or more; duplicates, bystanders
    and boxes on nobody are wrong alike. What the actors do plays no part in that; the thresholds of
    their actions are fitted behind it (`calibration.actions`).

    Args:
        engine: Runs the artifact whose θ it is.
        dataset: Validation clips, never those it was trained on.
        config: Size and normalisation of the engine's clips.
        class_names: The engine's actions; those that the data set has, too, get a threshold.
        progress: Told after each clip.

    Raises:
        CalibrationError: The clips show no actor, or no token ever found one.
        CaptureError: More than a tenth of the clips cannot be decoded.
        ConfigError: The clips are not of the engine's size.
        DecodeError: The engine gave values that are not finite.
    """
    metrics, actions = ClipMetrics(("actor",)), ActionScores(dataset, class_names)
    answered = run_clips(dataset, by_engine(engine, config), range(len(dataset)))
    errors = DecodeErrors(len(dataset))
    for index, clip in enumerate(answered):
        if clip.outputs is None:
            errors.add(clip.sample.clip_id, clip.reason)
            continue
        sample, found = clip.sample, predict(*clip.outputs)
        actions.update(sample, found, index)
        labels = np.ones((len(sample.boxes), 1), np.float32)
        anybody = replace(found, actions=np.zeros((len(found), 1), np.float32))
        metrics.add(sample.boxes, labels, sample.inactive_persons, anybody,
                    ignore=sample.ignore, ignored=sample.ignored)  # fmt: skip
        if progress is not None:
            progress("fitting the threshold", index + 1, len(dataset))
    return threshold_of(metrics, actions)


def threshold_of(metrics: ClipMetrics, actions: ActionScores | None = None) -> FittedThreshold:
    """Return the θ that maximises the F1 of actors on clips that an artifact has answered.

    Args:
        metrics: The clips with its answers; the classes may be any.
        actions: The same clips, for the thresholds of actions.

    Raises:
        CalibrationError: The clips show no actor, or no token ever found one.
    """
    ranking = metrics.actor_ranking()
    if ranking.num_truth == 0:
        raise CalibrationError(
            f"the {len(metrics)} clips show no actor; a threshold needs clips with labelled actors"
        )
    best = best_f1(ranking)
    if best is None:
        raise CalibrationError(
            f"no token lies on any of the {ranking.num_truth} actors of {len(metrics)} clips: the "
            "model finds nobody; train it, or choose clips like those it was trained on"
        )
    return FittedThreshold(
        conf=best.conf,
        record=Threshold(
            rule="f1",
            clips=len(metrics),
            f1=best.f1,
            precision=best.precision,
            recall=best.recall,
            curve=tuple(short_curve(ranking)),
        ),
        actions={} if actions is None else actions.fit(best.conf),
    )


def actor_scores(pred_actor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return sigmoid(logits) as the decoder computes it: in float64, rounded to float32."""
    with np.errstate(over="ignore"):
        scores = 1.0 / (1.0 + np.exp(-pred_actor.astype(np.float64)))
    result: npt.NDArray[np.float32] = scores.astype(np.float32)
    return result


def quantile_threshold(
    pred_actor: npt.NDArray[np.float32], *, tokens_per_clip: float = TOKENS_PER_CLIP
) -> float:
    """Return the θ at which the typical clip has about `tokens_per_clip` tokens above it.

    Among the gaps between scores that occur, the one is taken whose count of passing tokens is
    nearest to the aim, in the mean over clips; a clip that overflows counts only up to a limit, so
    that one odd scene does not decide. θ lies midway in its gap, so that it survives the rounding
    of another engine; an int8 output has few distinct scores.

    Args:
        pred_actor: (K, N) float32 actor logits of K clips, from the artifact's own engine.
        tokens_per_clip: How many tokens of a clip should pass.

    Raises:
        CalibrationError: There are no scores, or one is not finite.
    """
    if pred_actor.ndim != 2 or pred_actor.size == 0:
        raise CalibrationError(
            f"got actor logits of shape {pred_actor.shape}, expected (clips, tokens)"
        )
    if not np.isfinite(pred_actor).all():
        raise CalibrationError("the engine gave actor logits that are not finite; export it again")
    scores = np.sort(actor_scores(pred_actor), axis=1)
    values = np.unique(scores)
    if len(values) == 1:
        return float(values[0])  # every token alike: strictly above it there is none
    # Tokens of each clip above the gap between values i and i + 1.
    above = np.stack([len(row) - np.searchsorted(row, values[:-1], side="right") for row in scores])
    misses = np.abs(np.minimum(above, _OVERFLOW * tokens_per_clip) - tokens_per_clip).mean(axis=0)
    gap = int(np.argmin(misses))
    return (float(values[gap]) + float(values[gap + 1])) / 2
