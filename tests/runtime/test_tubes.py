"""Linking: who is who from one keyframe to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.decode import Detections
from runtime.errors import ConfigError
from runtime.results import KeyframeResult, Timings
from runtime.spans import active_spans
from runtime.tubes import LinkConfig, PersonTracks, TubeLinker, iou_matrix

LEFT, RIGHT = (0, 0, 10, 30), (40, 0, 50, 30)


def f32(rows: object) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def moved(box: tuple[int, ...], by: float) -> tuple[float, ...]:
    return (box[0] + by, box[1], box[2] + by, box[3])


def link(linker: TubeLinker, at: int, *boxes: tuple[tuple[float, ...], float]) -> list[int]:
    numbers = linker.update(
        at, f32([box for box, _ in boxes]).reshape(-1, 4), f32([score for _, score in boxes])
    )
    return [int(n) for n in numbers]


def test_two_people_keep_their_numbers() -> None:
    linker = TubeLinker()
    for at in range(5):
        assert link(linker, at, (moved(LEFT, at), 0.6), (moved(RIGHT, -at), 0.9)) == [1, 0]
    one, two = linker.finish()
    assert (one.number, two.number) == (0, 1)
    assert one.frames.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(one.boxes[2], f32(moved(RIGHT, -2)))
    assert one.score == pytest.approx(0.9)
    assert linker.finish() == []


def test_a_second_opinion_on_one_person_is_in_no_tube() -> None:
    linker = TubeLinker()
    assert link(linker, 0, (LEFT, 0.9), (moved(LEFT, 1), 0.8), (RIGHT, 0.7)) == [0, -1, 1]
    assert link(linker, 1, (moved(LEFT, 1), 0.9), (LEFT, 0.6)) == [0, -1]
    # The one with the higher score plus overlap goes on, not the one that is given first.
    assert link(linker, 2, (moved(LEFT, 4), 0.6), (moved(LEFT, 1), 0.6)) == [-1, 0]


def test_who_is_missing_does_not_take_the_neighbours_box() -> None:
    a, b = (0, 0, 20, 30), (8, 0, 28, 30)
    linker = TubeLinker(LinkConfig(start_iou=0.9))
    assert link(linker, 0, (a, 0.9), (b, 0.5)) == [0, 1]
    # Only b is seen. It overlaps the tube of a by 0.43, which has had the higher scores.
    assert link(linker, 1, (b, 0.5)) == [1]
    assert link(linker, 2, (a, 0.9), (b, 0.5)) == [0, 1]


def test_gaps_are_bridged_up_to_their_limit_and_filled() -> None:
    linker = TubeLinker(LinkConfig(max_gap=4))
    assert link(linker, 0, (LEFT, 0.8)) == [0]
    assert link(linker, 2) == []
    assert link(linker, 4, (moved(LEFT, 4), 0.4)) == [0]
    assert linker.ended() == []
    assert link(linker, 9, (moved(LEFT, 4), 0.4)) == [1]
    (tube,) = linker.ended()
    whole = tube.filled()
    assert tube.frames.tolist() == [0, 4]
    assert whole.frames.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(whole.boxes[:, 0], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(whole.scores, [0.8, 0.7, 0.6, 0.5, 0.4], rtol=1e-6)
    assert whole.filled() is whole
    assert whole.part(1, 2).frames.tolist() == [1, 2]


def test_a_weak_box_goes_on_but_starts_nothing() -> None:
    linker = TubeLinker(LinkConfig(start_score=0.5))
    assert link(linker, 0, (LEFT, 0.4)) == [-1]
    assert link(linker, 1, (LEFT, 0.6)) == [0]
    assert link(linker, 2, (LEFT, 0.1)) == [0]


def test_a_restart_ends_everything_and_numbers_go_on() -> None:
    linker = TubeLinker()
    link(linker, 7, (LEFT, 0.9))
    with pytest.raises(ConfigError, match="position 7 after 7"):
        link(linker, 7, (LEFT, 0.9))
    linker.restart()
    assert link(linker, 0, (LEFT, 0.9)) == [1]


@pytest.mark.parametrize(
    ("boxes", "scores", "sentence"),
    [
        pytest.param(np.zeros((2, 3)), np.zeros(2), "expected", id="shape"),
        pytest.param(np.zeros((2, 4)), np.zeros(1), "expected", id="count"),
        pytest.param(np.full((1, 4), np.nan), np.zeros(1), "not finite", id="NaN"),
    ],
)
def test_what_is_no_box_is_refused(boxes: Any, scores: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TubeLinker().update(0, boxes, scores)


@pytest.mark.parametrize(
    "values",
    [{"link_iou": 0.0}, {"start_iou": 1.5}, {"start_score": float("nan")}, {"max_gap": 0}],
    ids=lambda values: next(iter(values)),
)
def test_a_setting_of_no_use_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        LinkConfig(**values)


def test_without_history_memory_stays_flat() -> None:
    linker = TubeLinker(history=False)
    for at in range(1000):
        link(linker, at, (LEFT, 0.9), (moved(RIGHT, 7 * at), 0.9))
    assert len(linker._live) < 20
    assert linker._ended == []
    assert all(not tube.frames for tube in linker._live)
    with pytest.raises(ConfigError, match="no history"):
        linker.ended()


corners = st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(1, 8), st.integers(1, 8))
frames = st.lists(
    st.lists(st.tuples(corners, st.integers(0, 4)), max_size=5, unique=True), max_size=6
)


@settings(deadline=None)
@given(frames, st.randoms(use_true_random=False))
def test_the_order_of_boxes_does_not_matter(given_frames: Any, random: Any) -> None:
    one, other = TubeLinker(), TubeLinker()
    for at, rows in enumerate(given_frames):
        boxes = f32([[x, y, x + w, y + h] for (x, y, w, h), _ in rows]).reshape(-1, 4)
        scores = f32([score / 4 for _, score in rows])
        order = list(range(len(rows)))
        random.shuffle(order)
        numbers = one.update(at, boxes, scores)
        np.testing.assert_array_equal(numbers[order], other.update(at, boxes[order], scores[order]))
        taken = numbers[numbers >= 0]
        assert len(set(taken.tolist())) == len(taken), "a tube has one box at a time"
    tubes = one.finish()
    assert sum(map(len, tubes)) <= sum(map(len, given_frames))
    for tube in tubes:
        step = iou_matrix(tube.boxes.astype(float), tube.boxes.astype(float)).diagonal(1)
        assert (step >= one.config.link_iou).all()


def result(t: float, *boxes: tuple[float, ...]) -> KeyframeResult:
    count = len(boxes)
    return KeyframeResult(
        frame=0, t=t, keyframe=0, keyframe_t=t, latency_ms=0.0,
        detections=Detections(
            xyxy=f32(boxes).reshape(-1, 4), actor=np.linspace(0.9, 0.5, count, dtype=np.float32),
            actions=np.zeros((count, 1), np.float32), token=np.arange(count),
        ),
        class_names=("walk",), action_conf=0.5, trained=True, size_wh=(64, 64),
        timings=Timings(capture_ms=0, preprocess_ms=0, inference_ms=0, decode_ms=0),
    )  # fmt: skip


def test_live_results_get_a_number_for_each_person() -> None:
    tracks = PersonTracks()
    assert tracks.update(result(0.0, LEFT, RIGHT)).tolist() == [0, 1]
    assert tracks.update(result(0.3, moved(RIGHT, 2), moved(LEFT, 2))).tolist() == [1, 0]
    assert tracks.update(result(0.6)).tolist() == []
    assert tracks.update(result(1.9, moved(LEFT, 3))).tolist() == [0], "missed for 1.6 s"
    assert tracks.update(result(4.0, moved(LEFT, 3))).tolist() == [2], "gone for 2.1 s"
    assert tracks.update(result(0.0, LEFT)).tolist() == [3], "time went back: another stream"
    tracks.restart()
    assert tracks.update(result(0.1, LEFT)).tolist() == [4]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([0.5] * 20, [(0, 19)], id="even: whole"),
        pytest.param([0.05] * 20, [(0, 19)], id="even and low: whole"),
        pytest.param([0.0] * 20, [(0, 19)], id="nothing: whole"),
        pytest.param([0.1] * 20 + [0.9] * 20 + [0.1] * 20, [(20, 39)], id="in the middle"),
        pytest.param([0.9] * 20 + [0.1] * 20, [(0, 19)], id="at first"),
        pytest.param([0.9] * 20 + [0.1] * 3 + [0.9] * 20, [(0, 42)], id="a short break"),
        pytest.param([0.9] * 20 + [0.1] * 30 + [0.9] * 20, [(0, 19), (50, 69)], id="a long break"),
        pytest.param([0.1] * 30 + [0.9] + [0.1] * 30, [(0, 60)], id="one outlier"),
        pytest.param([0.3], [(0, 0)], id="one row"),
    ],
)
def test_an_action_is_on_where_its_scores_are_high(
    scores: list[float], expected: list[tuple[int, int]]
) -> None:
    assert active_spans(f32(scores)) == expected
    assert active_spans(f32(scores) * 0.01) == expected, "only what is high for this tube counts"


@settings(deadline=None)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=9), st.integers(0, 3))
def test_spans_are_the_best_of_all_divisions(values: list[int], cost: int) -> None:
    scores = f32(values) / 10
    padded = np.pad(scores.astype(np.float64), 2, mode="edge")
    smooth = np.array([np.median(padded[i : i + 5]) for i in range(len(scores))])
    if smooth.max() == 0:
        return
    on = smooth / smooth.max()

    def worth(states: np.ndarray) -> float:
        return float(np.where(states, on, 1 - on).sum() - cost * np.abs(np.diff(states)).sum())

    states = np.zeros(len(values), dtype=np.int64)
    for first, last in active_spans(scores, switch_cost=cost):
        states[first : last + 1] = 1
    every = (np.array([i >> k & 1 for k in range(len(values))]) for i in range(2 ** len(values)))
    best = max(worth(each) for each in every)
    # Nothing on at all is the best only where no row is: then the whole tube is given.
    assert worth(states) == pytest.approx(best) or states.all()


@pytest.mark.parametrize("scores", [[], [-0.1], [float("nan")]], ids=["none", "negative", "NaN"])
def test_scores_without_a_meaning_are_refused(scores: list[float]) -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        active_spans(f32(scores))
    with pytest.raises(ConfigError, match="switch_cost"):
        active_spans(f32([1.0]), switch_cost=-1.0)
