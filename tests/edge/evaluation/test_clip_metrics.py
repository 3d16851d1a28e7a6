"""What a clip's triplets count as: hits, duplicates, bystanders, confusions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.samples import ClipSample
from edge.evaluation import BoxTable, ClipMetrics, evaluate_frames, predict
from edge.evaluation.average_precision import rank
from edge.evaluation.operating_point import best_f1, short_curve
from runtime.decode import Detections
from runtime.errors import ConfigError, DecodeError

NAMES = ("walk", "wave", "fall")
LEFT, RIGHT, MIDDLE = (0.0, 0.0, 0.2, 0.5), (0.7, 0.0, 0.9, 0.5), (0.35, 0.0, 0.55, 0.5)
NOWHERE = (0.0, 0.8, 0.1, 1.0)


def floats(rows: object, width: int) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, width)


def sample(
    people: list[tuple[tuple[float, ...], set[str]]],
    inactive_persons: tuple[tuple[float, ...], ...] = (),
) -> ClipSample:
    return ClipSample(
        frames_rgb=np.zeros((2, 8, 8, 3), np.uint8),
        boxes=floats([box for box, _ in people], 4),
        labels=floats([[name in doing for name in NAMES] for _, doing in people], 3),
        inactive_persons=floats(inactive_persons, 4),
        clip_id="clip",
        size_wh=(8, 8),
    )


def said(*tokens: tuple[tuple[float, ...], float, tuple[float, float, float]]) -> Detections:
    return Detections(
        xyxy=floats([box for box, _, _ in tokens], 4),
        actor=np.array([actor for _, actor, _ in tokens], np.float32),
        actions=floats([actions for _, _, actions in tokens], 3),
        token=np.arange(len(tokens)),
    )


WALK, WAVE, FALL = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)


@pytest.fixture
def metrics() -> ClipMetrics:
    """Two clips: one with every kind of token, one with an actor that nobody finds."""
    result = ClipMetrics(NAMES)
    result.update(
        sample([(LEFT, {"walk"}), (RIGHT, {"wave"})], (MIDDLE,)),
        said(
            (LEFT, 0.9, WALK),
            (RIGHT, 0.8, FALL),
            (LEFT, 0.7, WALK),
            (MIDDLE, 0.6, FALL),
            (NOWHERE, 0.55, WALK),
            (RIGHT, 0.1, WAVE),
        ),
    )
    result.update(sample([(MIDDLE, {"walk", "fall"})]), said((NOWHERE, 0.2, WALK)))
    return result


def test_each_kept_token_is_one_of_four_things(metrics: ClipMetrics) -> None:
    at = metrics.at(0.5)
    assert (at.precision, at.recall) == (2 / 5, 2 / 3)
    assert at.f1 == pytest.approx(2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3))
    assert at.kept_per_clip == 5 / 2
    assert at.duplicates_per_actor == 1 / 3
    assert at.bystander_fp_per_clip == 1 / 2
    assert at.elsewhere_fp_per_clip == 1 / 2


def test_a_score_equal_to_the_threshold_is_not_kept(metrics: ClipMetrics) -> None:
    assert metrics.at(float(np.float32(0.9))).kept_per_clip == 0
    assert math.isnan(metrics.at(float(np.float32(0.9))).precision)
    assert metrics.at(0.75).kept_per_clip == 1


def test_the_best_threshold_lies_midway_in_its_gap(metrics: ClipMetrics) -> None:
    # The two hits come first: 2 of 2, 2 of 3. The next lower score is 0.7.
    assert metrics.best_conf() == pytest.approx(0.75)
    assert metrics.result()["at_threshold"]["f1"] == pytest.approx(0.8)


def test_the_confusion_names_who_was_taken_for_what(metrics: ClipMetrics) -> None:
    expected = [
        # walk wave fall not found
        [1, 0, 0, 1],  # walk
        [0, 0, 1, 0],  # wave
        [0, 0, 0, 1],  # fall
        [0, 0, 1, 0],  # bystander
        [1, 0, 0, 0],  # nobody
    ]
    assert metrics.confusion(0.5).tolist() == expected


def test_of_several_labels_the_right_ones_count_first() -> None:
    metrics = ClipMetrics(NAMES)
    metrics.update(sample([(LEFT, {"walk", "fall"})]), said((LEFT, 0.9, (0.2, 0.7, 0.8))))
    table = metrics.confusion(0.5)
    assert table.sum() == 2
    assert table[2, 2] == 1, "fall is one of the two that score highest"
    assert table[0, 1] == 1, "wave stands where walk should"


def test_a_picture_shows_what_is_counted(metrics: ClipMetrics) -> None:
    kept, found = metrics.kept(0, 0.5)
    assert [token.kind for token in kept] == [
        "right", "wrong label", "duplicate", "on a bystander", "on nobody",
    ]  # fmt: skip
    assert [token.said for token in kept] == [(0,), (2,), (0,), (2,), (0,)]
    np.testing.assert_array_equal(kept[3].xyxy, np.array(MIDDLE, np.float32))
    assert found.tolist() == [True, True]
    assert metrics.kept(0, 0.85)[1].tolist() == [True, False]
    kept, found = metrics.kept(1, 0.5)
    assert (kept, found.tolist()) == ([], [False])


def test_clips_are_ranked_by_their_errors(metrics: ClipMetrics) -> None:
    # A duplicate, a bystander, one on nobody, a wrong label; then an actor that is not found.
    assert metrics.errors_by_clip(0.5).tolist() == [4, 1]
    assert metrics.errors_by_clip(0.75).tolist() == [1, 1]


def test_the_figures_are_plain_values(metrics: ClipMetrics) -> None:
    result = metrics.result(0.5)
    assert (result["clips"], result["actors"], result["bystanders"]) == (2, 3, 1)
    # walk: p(actor) x p(action) ranks the hit first; the other walker is never found.
    assert result["ap"]["walk"] == 0.5
    # wave: the token that says it scores 0.1 x 0.9, as the walker's 0.9 x 0.1: a tie of the two.
    assert result["ap"]["wave"] == pytest.approx((1 + 1 / 2) / 2)
    assert result["frame_map_tie_bounds"] == pytest.approx([1 / 3, 1.5 / 3])
    assert result["ap"]["fall"] == 0.0
    assert result["frame_map"] == pytest.approx((0.5 + 0.75) / 3)
    assert result["actor_ap"] == pytest.approx(2 / 3)


def test_an_empty_set_has_no_figures_but_does_not_fail() -> None:
    metrics = ClipMetrics(NAMES)
    assert metrics.result()["frame_map"] is None
    metrics.update(sample([]), said())
    result = metrics.result()
    assert (result["clips"], result["actor_ap"], result["at_threshold"]["recall"]) == (
        1,
        None,
        None,
    )
    assert result["at_threshold"]["conf"] == 0.5
    assert metrics.confusion(0.5).sum() == 0


def test_other_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected 3 classes: walk, wave, fall"):
        ClipMetrics(NAMES).add(
            floats([LEFT], 4), floats([1, 0], 2), floats([], 4), said((LEFT, 0.9, WALK))
        )


def test_predict_is_the_decode_of_the_device() -> None:
    boxes = floats([[0.5, 0.5, 0.2, 0.4], [0.0, 0.5, 0.2, 0.4]], 4)
    found = predict(boxes, np.array([0.0, 3.0], np.float32), np.zeros((2, 3), np.float32))
    np.testing.assert_allclose(found.xyxy, [[0, 0.3, 0.1, 0.7], [0.4, 0.3, 0.6, 0.7]], atol=1e-6)
    assert found.token.tolist() == [1, 0]
    with pytest.raises(DecodeError):
        predict(boxes, np.array([0.0, np.nan], np.float32), np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_frame_map_is_that_of_the_evaluator(seed: int) -> None:
    random = np.random.default_rng(seed)
    metrics = ClipMetrics(NAMES)
    found: list[tuple[float, ...]] = []
    truth: list[tuple[float, ...]] = []
    for clip in range(20):
        corners = random.uniform(0, 0.7, size=(12, 2))
        boxes = np.concatenate([corners, corners + 0.25], axis=1).astype(np.float32)
        people = int(random.integers(0, 5))
        true = boxes[:people] + random.normal(0, 0.02, (people, 4)).astype(np.float32)
        labels = (random.random((people, 3)) < 0.4).astype(np.float32)
        tokens = Detections(
            xyxy=boxes,
            actor=random.random(12).astype(np.float32),
            actions=random.random((12, 3)).astype(np.float32),
            token=np.arange(12),
        )
        metrics.add(true, labels, floats([], 4), tokens)
        for c in range(3):
            score = tokens.actions[:, c] * tokens.actor.astype(np.float64)
            found += [(clip, c, *b, s) for b, s in zip(boxes.tolist(), score, strict=True)]
            truth += [(clip, c, *b) for b, d in zip(true.tolist(), labels[:, c], strict=True) if d]
    rows, true_rows = np.array(found), np.array(truth)
    expected = evaluate_frames(
        BoxTable(
            frame=rows[:, 0].astype(np.int64), label=rows[:, 1].astype(np.int64),
            xyxy=rows[:, 2:6], score=rows[:, 6],
        ),
        BoxTable(
            frame=true_rows[:, 0].astype(np.int64), label=true_rows[:, 1].astype(np.int64),
            xyxy=true_rows[:, 2:6],
        ),
        num_classes=3,
    )  # fmt: skip
    assert expected.mean_ap > 0.05
    np.testing.assert_allclose(metrics.frame_metrics().ap, expected.ap, atol=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=30), st.integers(0, 5))
def test_no_threshold_is_better_than_the_best(rows: list[tuple[int, bool]], missed: int) -> None:
    rows.sort(key=lambda row: -row[0])
    score = np.array([row[0] / 20 for row in rows])
    hit = np.array([row[1] for row in rows], dtype=bool)
    total = int(hit.sum()) + missed
    best = best_f1(rank(score, hit, total))
    if not hit.any():
        assert best is None
        return
    assert best is not None
    f1 = [2 * hit[score > t].sum() / ((score > t).sum() + total) for t in np.arange(0, 1, 0.025)]
    assert best.f1 == pytest.approx(max(f1))
    kept = score > best.conf
    assert best.precision == hit[kept].mean()
    assert best.recall == hit[kept].sum() / total


def test_a_short_curve_keeps_its_ends() -> None:
    random = np.random.default_rng(0)
    score = np.sort(random.random(1000))[::-1]
    ranking = rank(score, random.random(1000) < score, 600)
    curve = short_curve(ranking)
    assert 20 < len(curve) <= 33
    conf, _, recall = np.array(curve).T
    assert (np.diff(conf) > 0).all()
    assert (np.diff(recall) <= 0).all()
    assert recall[0] == pytest.approx(ranking.recall[-1], abs=1e-6)
    assert short_curve(rank(np.empty(0), np.empty(0, bool), 3)) == []
