"""Threshold-only decode: NumPy and C++ equal to the bit, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime import _native
from runtime.decode import Detections, decode
from runtime.errors import ConfigError, DecodeError
from tests.runtime.reference import decode_reference


def triplets(tokens: int, classes: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return (
        rng.random((tokens, 4), dtype=np.float32),
        (4 * rng.standard_normal(tokens)).astype(np.float32),
        (4 * rng.standard_normal((tokens, classes))).astype(np.float32),
    )


def both(
    outputs: tuple[Any, ...], conf: float, size_wh: tuple[int, int] = (640, 480)
) -> Detections:
    """Decode twice, hold the results equal, and return one."""
    found = decode(*outputs, conf=conf, size_wh=size_wh)
    expected = decode_reference(*outputs, conf=conf, size_wh=size_wh)
    for ours, theirs in zip(
        (found.xyxy, found.actor, found.actions, found.token),
        (expected.xyxy, expected.actor, expected.actions, expected.token),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, theirs)
    return found


@pytest.mark.parametrize("conf", [0.0, 0.05, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (50, 80), (200, 0), (2048, 60)])
def test_native_equals_numpy_bit_for_bit(conf: float, size: tuple[int, int]) -> None:
    found = both(triplets(*size, seed=size[0]), conf, (1919, 1079))
    assert (found.actor > conf).all()


def test_all_logits_of_a_range_have_equal_scores() -> None:
    logits = np.linspace(-110, 110, 200_001, dtype=np.float32)
    found = both((np.zeros((logits.size, 4), np.float32), logits, logits[:, None]), 0.0)
    assert len(found) == np.count_nonzero(found.actor)
    assert found.actor.max() == 1.0


def test_scores_fall_and_ties_keep_the_order_of_tokens() -> None:
    boxes = np.full((5, 4), 0.5, np.float32)
    actor = np.array([1.0, 2.0, 1.0, -9.0, 2.0], np.float32)
    found = both((boxes, actor, np.zeros((5, 2), np.float32)), 0.5)
    assert found.token.tolist() == [1, 4, 0, 2]


def test_score_equal_to_conf_is_not_kept() -> None:
    outputs = (
        np.full((1, 4), 0.5, np.float32),
        np.zeros(1, np.float32),
        np.zeros((1, 1), np.float32),
    )
    assert len(both(outputs, 0.5)) == 0
    assert len(both(outputs, np.nextafter(0.5, 0))) == 1


def test_conf_is_compared_in_float64() -> None:
    # 0.3 as float32 is above 0.3: compared in float32 they would be equal and the token lost.
    logit = np.float32(np.log(0.3 / 0.7))
    outputs = (np.full((1, 4), 0.5, np.float32), np.array([logit]), np.zeros((1, 1), np.float32))
    score = float(both(outputs, 0.0).actor[0])
    assert len(both(outputs, 0.3)) == int(score > 0.3)


def test_boxes_are_clipped_corners_in_pixels() -> None:
    boxes = np.array([[0.5, 0.5, 0.5, 0.25], [0.9, 0.1, 0.4, 0.4]], np.float32)
    found = both(
        (boxes, np.array([2, 1], np.float32), np.zeros((2, 1), np.float32)), 0.5, (400, 200)
    )
    np.testing.assert_allclose(
        found.xyxy, [[100, 75, 300, 125], [280, 0, 400, 60]], rtol=1e-6, atol=1e-5
    )


def test_action_logits_may_be_a_large_negative_number_without_a_warning() -> None:
    outputs = (
        np.full((1, 4), 0.5, np.float32),
        np.array([800], np.float32),
        np.array([[-3e38, 3e38]], np.float32),
    )
    assert both(outputs, 0.5).actions.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["boxes", "actor", "actions"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_is_an_error_even_under_the_threshold(
    which: int, value: float
) -> None:
    outputs = triplets(9, 3)
    outputs[1][:] = -5
    outputs[which].flat[-1] = value
    with pytest.raises(DecodeError, match=r"pred_\w+ holds .* at \d+"):
        decode(*outputs, conf=0.5, size_wh=(4, 4))


GOOD = triplets(4, 2)
WRONG = [
    pytest.param((GOOD[0][:3], *GOOD[1:]), 0.5, (4, 4), id="boxes of other tokens"),
    pytest.param((GOOD[0], GOOD[1][:, None], GOOD[2]), 0.5, (4, 4), id="actor not flat"),
    pytest.param((*GOOD[:2], GOOD[2][0]), 0.5, (4, 4), id="actions flat"),
    pytest.param((GOOD[0].astype(np.float64), *GOOD[1:]), 0.5, (4, 4), id="float64"),
    pytest.param(GOOD, -0.1, (4, 4), id="conf below 0"),
    pytest.param(GOOD, 1.1, (4, 4), id="conf above 1"),
    pytest.param(GOOD, float("nan"), (4, 4), id="conf not a number"),
    pytest.param(GOOD, 0.5, (0, 4), id="no width"),
]


@pytest.mark.parametrize(("outputs", "conf", "size_wh"), WRONG)
def test_wrong_arguments_are_refused(
    outputs: tuple[np.ndarray, ...], conf: float, size_wh: tuple[int, int]
) -> None:
    with pytest.raises(ConfigError):
        decode(*outputs, conf=conf, size_wh=size_wh)


def test_native_refuses_a_strided_array_and_says_what_helps() -> None:
    boxes, actor, actions = triplets(8, 2)
    with pytest.raises(ConfigError, match="ascontiguousarray"):
        _native.decode(boxes[::2], actor[::2], actions[::2], 0.5, 4, 4)


def test_a_view_is_decoded_like_its_copy() -> None:
    boxes, actor, actions = triplets(8, 2)
    views = (boxes[::2], actor[::2], actions[::2])
    found, copied = (
        decode(*arrays, conf=0.1, size_wh=(9, 9)) for arrays in (views, [v.copy() for v in views])
    )
    np.testing.assert_array_equal(found.xyxy, copied.xyxy)
    np.testing.assert_array_equal(found.actions, copied.actions)
