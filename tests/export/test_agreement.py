"""Detections of two sets of outputs, matched by hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest

from export.agreement import match_detections
from runtime.errors import DecodeError
from runtime.types import Outputs


def outputs(*tokens: tuple[float, float, float, int]) -> Outputs:
    """Return one clip's outputs; a token is (cx, size, actor logit, likeliest of three actions)."""
    boxes = np.array([[[cx, 0.5, size, size] for cx, size, _, _ in tokens]], dtype=np.float32)
    actor = np.array([[logit for *_, logit, _ in tokens]], dtype=np.float32)
    actions = np.full((1, len(tokens), 3), -2.0, dtype=np.float32)
    for index, token in enumerate(tokens):
        actions[0, index, token[3]] = 2.0
    return boxes, actor, actions


A, B, SILENT = (0.2, 0.2, 3.0, 0), (0.7, 0.2, 2.0, 1), (0.5, 0.2, -3.0, 2)


@pytest.mark.parametrize(
    ("found", "expected", "counts"),
    [
        pytest.param((A, B, SILENT), (A, B, SILENT), (2, 2, 2, 2), id="the same"),
        pytest.param((B, SILENT, A), (A, B, SILENT), (2, 2, 2, 2), id="by other tokens"),
        pytest.param((A, SILENT, SILENT), (A, B, SILENT), (2, 1, 1, 1), id="one is missed"),
        pytest.param((A, B, A), (A, B, SILENT), (2, 3, 2, 2), id="a double matches once"),
        pytest.param((A, A, SILENT), (A, B, SILENT), (2, 2, 1, 1), id="one box for two"),
        pytest.param(((0.2, 0.2, 3.0, 2), B), (A, B), (2, 2, 2, 1), id="another action"),
        pytest.param(((0.27, 0.2, 3.0, 0), B), (A, B), (2, 2, 1, 1), id="IoU 0.48"),
        pytest.param(((0.26, 0.2, 3.0, 0), B), (A, B), (2, 2, 2, 2), id="IoU 0.54"),
        pytest.param((SILENT,), (SILENT,), (0, 0, 0, 0), id="nobody"),
        pytest.param((SILENT,), (A,), (1, 0, 0, 0), id="nobody is found"),
    ],
)
def test_matches_are_one_to_one(
    found: tuple, expected: tuple, counts: tuple[int, int, int, int]
) -> None:
    one, other = outputs(*found), outputs(*expected)
    matched = match_detections(one, other, conf=0.5)
    assert (matched.expected, matched.found, matched.boxes, matched.actions) == counts
    assert matched.record()["conf"] == 0.5


def test_clips_add_up_and_do_not_mix() -> None:
    first, second = outputs(A), outputs(B)
    both: Outputs = tuple(np.concatenate(pair) for pair in zip(first, second, strict=True))
    swapped: Outputs = tuple(np.concatenate(pair) for pair in zip(second, first, strict=True))
    assert match_detections(both, both, conf=0.5).boxes == 2
    assert match_detections(swapped, both, conf=0.5).boxes == 0


def test_a_value_that_is_not_finite_is_refused() -> None:
    bad = outputs(A)
    bad[1][0, 0] = np.nan
    with pytest.raises(DecodeError):
        match_detections(bad, outputs(A), conf=0.5)
