"""θ lets about as many tokens pass as it was asked to, in the scores of the decoder."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.threshold import quantile_threshold
from runtime.decode import decode
from runtime.errors import CalibrationError


def passing(logits: np.ndarray, conf: float) -> list[int]:
    """Count the tokens that the runtime's own decoder keeps."""
    boxes = np.full((logits.shape[1], 4), 0.5, np.float32)
    actions = np.zeros((logits.shape[1], 2), np.float32)
    return [len(decode(boxes, row, actions, conf=conf, size_wh=(10, 10))) for row in logits]


def test_a_few_tokens_of_a_clip_pass() -> None:
    logits = np.random.default_rng(0).normal(-4, 1, (40, 200)).astype(np.float32)
    counts = passing(logits, quantile_threshold(logits))
    assert 2 <= np.median(counts) <= 4


def test_one_odd_clip_does_not_decide() -> None:
    logits = np.random.default_rng(1).normal(-4, 1, (20, 50)).astype(np.float32)
    logits[0] += 20
    counts = passing(logits, quantile_threshold(logits))
    assert 2 <= np.median(counts) <= 4
    assert counts[0] == 50


def test_few_levels_of_an_int8_output_are_split_at_the_nearest() -> None:
    logits = np.array([[-2.0, -2.0, -2.0, 1.0]] * 5, np.float32)
    assert passing(logits, quantile_threshold(logits, tokens_per_clip=1.5)) == [1] * 5


def test_tokens_all_alike_pass_none() -> None:
    logits = np.zeros((3, 4), np.float32)
    assert passing(logits, quantile_threshold(logits)) == [0, 0, 0]


@pytest.mark.parametrize(
    "logits",
    [
        pytest.param(np.zeros((0, 4), np.float32), id="no-clips"),
        pytest.param(np.zeros(4, np.float32), id="one-dimension"),
        pytest.param(np.array([[0, np.nan]], np.float32), id="nan"),
        pytest.param(np.array([[0, np.inf]], np.float32), id="inf"),
    ],
)
def test_scores_that_mean_nothing_are_refused(logits: np.ndarray) -> None:
    with pytest.raises(CalibrationError):
        quantile_threshold(logits)
