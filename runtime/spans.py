"""From when to when a track does an action, found from its scores along the whole of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError

Floats = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SMOOTHING = 5  # scores of a median before an action's span is looked for


def active_spans(scores: Floats, *, switch_cost: float = 3.0) -> list[tuple[int, int]]:
    """Return where along a tube its action is on: the temporal trimming of ROAD, with two states.

    A row that is on earns its score, one that is off earns 1 - score, and each change costs
    `switch_cost`; of all ways to divide the tube the best one is taken. Scores are divided by their
    largest and smoothed by a median of 5 before, so that this asks when the action is strongest,
    not whether it is there: a tube of one even score stays whole.

    Args:
        scores: (K,) along the tube, 0 or more.
        switch_cost: In rows: shorter breaks are bridged, shorter bursts left out.

    Returns:
        First and last row of each span, both included; at least one.

    Raises:
        ConfigError: The scores are none, not finite or negative, or the cost is negative.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values.min() < 0:
        raise ConfigError("a tube's scores must be finite numbers of 0 or more, at least one")
    if not (np.isfinite(switch_cost) and switch_cost >= 0):
        raise ConfigError(f"switch_cost is {switch_cost}, expected 0 or more")
    padded = np.pad(values, _SMOOTHING // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHING), axis=-1)
    if smooth.max() <= 0:
        return [(0, len(values) - 1)]
    on = np.clip(smooth / smooth.max(), 0.0, 1.0)
    states = _best_states(on, switch_cost)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], states, [0]])))
    spans = [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
    return spans or [(0, len(values) - 1)]


def _best_states(on: F64, switch_cost: float) -> I64:
    """Return 1 where on and 0 where off, by dynamic programming (Viterbi with two states)."""
    gain_off, gain_on = 1.0 - float(on[0]), float(on[0])
    came_from = np.zeros((len(on), 2), dtype=np.int64)
    for row, value in enumerate(on.tolist()):
        if row == 0:
            continue
        stay_off, stay_on = gain_off >= gain_on - switch_cost, gain_on >= gain_off - switch_cost
        came_from[row] = (0 if stay_off else 1, 1 if stay_on else 0)
        gain_off, gain_on = (
            max(gain_off, gain_on - switch_cost) + 1.0 - value,
            max(gain_on, gain_off - switch_cost) + value,
        )
    states = np.empty(len(on), dtype=np.int64)
    states[-1] = int(gain_on >= gain_off)
    for row in range(len(on) - 1, 0, -1):
        states[row - 1] = came_from[row, states[row]]
    return states
