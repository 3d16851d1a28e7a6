"""Frame-mAP: answers that others published, and what must hold for any detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.evaluation import BoxTable, FrameMetrics, evaluate_frames
from edge.evaluation.average_precision import Ties
from edge.evaluation.boxes import best_truth, find_overlaps, free_claims
from edge.evaluation.protocols import PROTOCOLS
from runtime.errors import ConfigError


def table(rows: list[tuple[float, ...]], *, scores: bool) -> BoxTable:
    """Build a table from rows (frame, label, x1, y1, x2, y2[, score])."""
    columns = np.array(rows, dtype=np.float64).reshape(-1, 7 if scores else 6)
    return BoxTable(
        frame=columns[:, 0].astype(np.int64),
        label=columns[:, 1].astype(np.int64),
        xyxy=columns[:, 2:6],
        score=columns[:, 6] if scores else None,
    )


def shuffled(boxes: BoxTable, seed: int) -> BoxTable:
    order = np.random.default_rng(seed).permutation(len(boxes))
    score = None if boxes.score is None else boxes.score[order]
    return BoxTable(
        frame=boxes.frame[order], label=boxes.label[order], xyxy=boxes.xyxy[order], score=score
    )


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([(0, 0, *A, 0.9), (0, 0, *B, 0.8)], 1.0, id="both found"),
        pytest.param([], 0.0, id="nothing found"),
        pytest.param([(0, 0, *A, 0.9)], 0.5, id="one found"),
        pytest.param([(0, 0, *FAR, 0.9), (0, 0, *A, 0.8), (0, 0, *B, 0.7)], 2 / 3, id="one wrong"),
        pytest.param(
            [(0, 0, *A, 0.9), (0, 0, *A, 0.8), (0, 0, *B, 0.7)],
            0.5 + 0.5 * 2 / 3,
            id="a duplicate is an error",
        ),
        pytest.param([(1, 0, *A, 0.9), (1, 0, *B, 0.8)], 0.0, id="in another frame"),
        pytest.param([(0, 1, *A, 0.9), (0, 1, *B, 0.8)], 0.0, id="of another class"),
        pytest.param(
            [(0, 0, *FAR, 0.9), (0, 0, *A, 0.5), (0, 0, *B, 0.5)],
            2 / 3,
            id="ties among hits change nothing",
        ),
        pytest.param(
            [(0, 0, *A, 0.5), (0, 0, *FAR, 0.5)],
            0.5 * 1 / 2,
            id="of equals the one lower in the picture goes first",
        ),
    ],
)
def test_average_precision_is_what_arithmetic_says(
    found: list[tuple[float, ...]], expected: float
) -> None:
    truth = table([(0, 0, *A), (0, 0, *B)], scores=False)
    metrics = evaluate_frames(table(found, scores=True), truth, num_classes=2)
    assert metrics.ap[0] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(metrics.ap[1]), "a class with nothing to find has no AP"
    assert metrics.mean_ap == metrics.ap[0]
    assert metrics.num_truth.tolist() == [2, 0]


def test_a_tie_of_a_hit_and_an_error_is_the_mean_of_both_orders() -> None:
    found = table([(0, 0, *A, 0.5), (0, 0, *FAR, 0.5)], scores=True)
    truth = table([(0, 0, *A)], scores=False)
    metrics = evaluate_frames(found, truth, num_classes=1, ties="spread")
    assert metrics.mean_ap == (1 + 1 / 2) / 2
    assert metrics.tie_bounds == (1 / 2, 1)


def test_one_score_for_everything_earns_what_guessing_does() -> None:
    rows = [(frame, 0, *(A if frame % 10 == 0 else FAR), 0.5) for frame in range(1000)]
    truth = table([(frame, 0, *A) for frame in range(0, 1000, 10)], scores=False)
    metrics = evaluate_frames(table(rows, scores=True), truth, num_classes=1, ties="spread")
    assert metrics.mean_ap == pytest.approx(0.1, abs=0.02)
    assert metrics.tie_bounds == (pytest.approx(0.1, abs=1e-3), 1.0)


def test_only_the_truth_that_is_overlapped_most_counts() -> None:
    # The second box lies on A as well, but more on its neighbour, which is taken.
    truth = table([(0, 0, 0, 0, 10, 10), (0, 0, 0, 3, 10, 13)], scores=False)
    found = [(0, 0, 0, 3, 10, 13, 0.9), (0, 0, 0, 2, 10, 12, 0.8)]
    metrics = evaluate_frames(table(found, scores=True), truth, num_classes=1)
    assert metrics.ap[0] == 0.5


@pytest.mark.parametrize(
    ("iou", "expected"),
    [
        pytest.param(0.1, 0.3371980676, id="0.1"),
        pytest.param(0.3, 0.2456866804, id="0.3"),
        pytest.param(0.5, 0.0222222222, id="0.5"),
        pytest.param(0.75, 0.0, id="0.75"),
    ],
)
def test_padillas_answers_are_reproduced(shared_data, iou: float, expected: float) -> None:
    found, truth = [], []
    for path in sorted((shared_data / "evaluator" / "padilla" / "gts").glob("*.txt")):
        for line in path.read_text("utf-8").split("\n"):
            if line:
                truth.append((int(path.stem), 0, *pixels(line.split()[1:])))
        other = path.parent.parent / "dets" / path.name
        for line in other.read_text("utf-8").split("\n"):
            if line:
                score, *box = line.split()[1:]
                found.append((int(path.stem), 0, *pixels(box), float(score)))
    assert (len(truth), len(found)) == (15, 24)
    metrics = evaluate_frames(
        table(found, scores=True), table(truth, scores=False), num_classes=1, iou=iou
    )
    assert metrics.mean_ap == pytest.approx(expected, abs=1e-9)


def pixels(words: list[str]) -> tuple[float, ...]:
    """Turn x y w h into corners; that tool counts the last pixel's own width in."""
    x, y, w, h = map(float, words)
    return x, y, x + w + 1, y + h + 1


def test_a_detection_without_a_score_or_with_a_strange_label_is_refused() -> None:
    truth = table([(0, 0, *A)], scores=False)
    with pytest.raises(ConfigError, match="no scores"):
        evaluate_frames(truth, truth, num_classes=1)
    with pytest.raises(ConfigError, match="ground-truth row 0 has the label 3"):
        evaluate_frames(table([], scores=True), table([(0, 3, *A)], scores=False), num_classes=3)
    with pytest.raises(ConfigError, match=r"iou is 0\.0"):
        evaluate_frames(table([], scores=True), truth, num_classes=1, iou=0.0)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        pytest.param([(0, 0, 0, 0, np.nan, 1)], "xyxy of row 0", id="NaN"),
        pytest.param([(0, 0, *A), (0, 0, 5, 0, 4, 1)], "box of row 1", id="ends before it begins"),
    ],
)
def test_a_box_that_is_none_is_named(rows: list[tuple[float, ...]], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        table(rows, scores=False)


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="label has shape"):
        BoxTable(frame=np.zeros(2, np.int64), label=np.zeros(1, np.int64), xyxy=np.zeros((2, 4)))


def test_overlaps_are_the_same_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 5, size=(400, 2))
    xyxy = np.concatenate([corners, corners + random.uniform(1, 5, size=(400, 2))], axis=1)
    keys = random.integers(0, 5, size=400)
    whole = find_overlaps(keys[:300], xyxy[:300], keys[300:], xyxy[300:], iou=0.3)
    assert len(whole.iou) > 100
    monkeypatch.setattr("edge.evaluation.boxes._PAIRS_AT_A_TIME", 50)
    parts = find_overlaps(keys[:300], xyxy[:300], keys[300:], xyxy[300:], iou=0.3)
    for name in ("detection", "truth", "iou"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    detection, truth = best_truth(whole)
    for d, t in zip(detection, truth, strict=True):
        mine = whole.detection == d
        assert whole.iou[mine].max() == whole.iou[mine & (whole.truth == t)][0]


FRAMES, CLASSES = 3, 2
boxes = st.tuples(
    st.integers(0, FRAMES - 1), st.integers(0, CLASSES - 1),
    st.integers(0, 3), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3),
).map(lambda r: (r[0], r[1], r[2], r[3], r[2] + r[4], r[3] + r[5]))  # fmt: skip
truths = st.lists(boxes, min_size=1, max_size=8).map(lambda rows: table(rows, scores=False))
# Few scores, so that there are ties.
founds = st.lists(st.tuples(boxes, st.integers(0, 4)), max_size=20).map(
    lambda rows: table([(*box, score / 4) for box, score in rows], scores=True)
)


def same(a: FrameMetrics, b: FrameMetrics) -> None:
    for name in ("ap", "ap_least", "ap_most"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


both = st.sampled_from(("fixed", "spread"))


@settings(deadline=None)
@given(truths, founds, st.integers(0, 1000), both)
def test_the_order_of_rows_does_not_matter(
    truth: BoxTable, found: BoxTable, seed: int, ties: Ties
) -> None:
    metrics = evaluate_frames(found, truth, num_classes=CLASSES, ties=ties)
    other = shuffled(found, seed), shuffled(truth, seed)
    same(metrics, evaluate_frames(*other, num_classes=CLASSES, ties=ties))
    assert (metrics.ap_least <= metrics.ap + 1e-12)[~np.isnan(metrics.ap)].all()
    assert (metrics.ap <= metrics.ap_most + 1e-12)[~np.isnan(metrics.ap)].all()


@settings(deadline=None)
@given(truths, founds, st.integers(0, 1000), st.sampled_from(sorted(PROTOCOLS)))
def test_the_rules_of_other_data_sets_are_as_stable(
    truth: BoxTable, found: BoxTable, seed: int, protocol: str
) -> None:
    assert found.score is not None
    rules = PROTOCOLS[protocol].frames
    metrics = evaluate_frames(found, truth, num_classes=CLASSES, rules=rules)
    other = shuffled(found, seed), shuffled(truth, seed)
    same(metrics, evaluate_frames(*other, num_classes=CLASSES, rules=rules))
    mapped = replace(found, score=np.exp(3 * found.score) - 7)
    same(metrics, evaluate_frames(mapped, truth, num_classes=CLASSES, rules=rules))
    assert (metrics.ap_least <= metrics.ap + 1e-12)[~np.isnan(metrics.ap)].all()
    assert (metrics.ap <= metrics.ap_most + 1e-12)[~np.isnan(metrics.ap)].all()


@settings(deadline=None)
@given(truths, founds)
def test_free_claims_are_those_of_one_after_the_other(truth: BoxTable, found: BoxTable) -> None:
    overlaps = find_overlaps(found.frame, found.xyxy, truth.frame, truth.xyxy, iou=0.2)
    left, expected = set(range(len(truth))), []
    for row in range(len(found)):
        mine = np.flatnonzero(overlaps.detection == row)
        mine = np.array([pair for pair in mine if overlaps.truth[pair] in left], dtype=np.int64)
        if len(mine):
            left.remove(int(overlaps.truth[mine[np.argmax(overlaps.iou[mine])]]))
            expected.append(row)
    assert sorted(free_claims(overlaps, np.arange(len(found)))) == expected


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        # 10 x 10 pixels against 10 x 5: exactly half, of 9 x 9 and 9 x 4 less than half.
        pytest.param("act", 1.0, id="act"),
        pytest.param("yowo", 1.0, id="yowo"),
        pytest.param("road", 0.0, id="road"),
        pytest.param("ava", 0.0, id="ava"),
    ],
)
def test_corners_are_pixels_for_some(protocol: str, expected: float) -> None:
    truth = table([(0, 0, 0, 0, 9, 9)], scores=False)
    found = table([(0, 0, 0, 0, 9, 4, 0.9)], scores=True)
    rules = PROTOCOLS[protocol].frames
    assert evaluate_frames(found, truth, num_classes=1, rules=rules).mean_ap == expected


@settings(deadline=None)
@given(truths, founds, both)
def test_only_the_ranks_of_scores_matter(truth: BoxTable, found: BoxTable, ties: Ties) -> None:
    assert found.score is not None
    metrics = evaluate_frames(found, truth, num_classes=CLASSES, ties=ties)
    for mapped in (np.exp(3 * found.score) - 7, found.score**3, 1e-6 * found.score):
        other = replace(found, score=mapped)
        same(metrics, evaluate_frames(other, truth, num_classes=CLASSES, ties=ties))


@settings(deadline=None)
@given(truths, founds, both)
def test_removing_a_hit_never_helps(truth: BoxTable, found: BoxTable, ties: Ties) -> None:
    assert found.score is not None
    metrics = evaluate_frames(found, truth, num_classes=CLASSES, ties=ties)
    key, true_key = (t.frame * CLASSES + t.label for t in (found, truth))
    overlaps = find_overlaps(key, found.xyxy, true_key, truth.xyxy, iou=0.5)
    detection, taken = best_truth(overlaps)
    # Where a duplicate stands behind it, its removal makes that one the hit: one error less.
    alone = detection[np.bincount(taken, minlength=len(truth))[taken] == 1]
    for row in alone:
        kept = np.arange(len(found)) != row
        less = BoxTable(
            frame=found.frame[kept], label=found.label[kept], xyxy=found.xyxy[kept],
            score=found.score[kept],
        )  # fmt: skip
        after = evaluate_frames(less, truth, num_classes=CLASSES, ties=ties)
        for name in ("ap", "ap_least", "ap_most"):
            before = getattr(metrics, name)
            assert (getattr(after, name) <= before + 1e-12)[~np.isnan(before)].all()


@settings(deadline=None)
@given(truths)
def test_the_truth_itself_scores_one(truth: BoxTable) -> None:
    # Equal boxes of one class and frame cannot all be claimed: each takes the first.
    rows = np.concatenate([truth.frame[:, None], truth.label[:, None], truth.xyxy], axis=1)
    single = table([tuple(row) for row in np.unique(rows, axis=0)], scores=False)
    found = replace(single, score=np.linspace(1, 0, len(single)))
    metrics = evaluate_frames(found, single, num_classes=CLASSES)
    assert metrics.mean_ap == 1.0
    assert metrics.tie_bounds == (1.0, 1.0)
