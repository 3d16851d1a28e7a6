"""The actor threshold θ of one artifact, from scores of that artifact's own engine.

Decoding is one threshold and nothing else, and int8 moves scores: a θ that was fitted in float32
drops actors or floods the screen. So each artifact carries its own.

A trained model's θ maximises F1 on labelled clips. An untrained model has no right θ; the quantile
rule below gives one that lets a few tokens of each clip pass, so that every later stage has
something to work on, and whoever uses it says "untrained" beside each number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.errors import CalibrationError

TOKENS_PER_CLIP = 3.0
"""What the quantile rule aims at; neighbours rise together, and at one, many clips have none."""

_OVERFLOW = 4.0


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
