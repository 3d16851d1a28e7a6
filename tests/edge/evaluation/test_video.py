"""Video-mAP: what arithmetic says, what published code does, and what must hold for any tubes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.annotations import BoxTable, Tube
from edge.evaluation.frames import evaluate_frames
from edge.evaluation.linking import TubeConfig, link_boxes
from edge.evaluation.protocols import PROTOCOLS
from edge.evaluation.video import (
    IOUS,
    MANY_IOUS,
    FoundTube,
    evaluate_tubes,
    suppress,
    tube_overlaps,
)
from runtime.errors import ConfigError

BOX = (10, 10, 29, 49)


def tube(
    first: int = 0, count: int = 10, box: tuple[float, ...] = BOX, *, video: str = "v",
    label: int = 0, score: float = 0.9,
) -> FoundTube:  # fmt: skip
    return FoundTube(
        video=video, label=label, score=score,
        frames=np.arange(first, first + count), boxes=np.tile(np.float32(box), (count, 1)),
    )  # fmt: skip


def overlap(a: Tube, b: Tube, protocol: str = "act") -> float:
    pairs = tube_overlaps([a], [b], PROTOCOLS[protocol].tubes)
    return float(pairs.iou[0]) if len(pairs.iou) else 0.0


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param(tube(), 1.0, id="the same"),
        pytest.param(tube(5), 5 / 15, id="half of it later"),
        pytest.param(tube(9), 1 / 19, id="one frame in common"),
        pytest.param(tube(10), 0.0, id="just behind it"),
        pytest.param(tube(2, 6), 6 / 10, id="a part of it"),
        pytest.param(tube(box=(10, 10, 29, 29)), 0.5, id="half as high"),
        pytest.param(tube(5, box=(10, 10, 29, 29)), 0.5 * 5 / 15, id="both"),
        pytest.param(tube(box=(30, 10, 49, 49)), 0.0, id="beside it"),
        pytest.param(tube(video="w"), 0.0, id="in another video"),
        pytest.param(tube(label=1), 0.0, id="of another class"),
    ],
)
def test_tubes_overlap_by_space_times_time(other: FoundTube, expected: float) -> None:
    assert overlap(tube(), other) == pytest.approx(expected, abs=1e-12)
    assert overlap(other, tube()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        # 10 frames against 10, 5 of them in common; boxes 20 x 40 and 20 x 20 pixels as ACT counts.
        pytest.param("act", 20 / 40 * 5 / 15, id="act"),
        pytest.param("yowo", 20 / 40 * 5 / 15, id="yowo"),
        pytest.param("road", 19 / 39 * 5 / 15, id="road"),
        # From frame 5 to 9 of 0 to 14.
        pytest.param("ava", 19 / 39 * 4 / 14, id="ava"),
    ],
)
def test_protocols_count_pixels_and_frames_their_way(protocol: str, expected: float) -> None:
    other = tube(5, box=(10, 10, 29, 29))
    assert overlap(tube(), other, protocol) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("act", 1.0), ("road", 0.0), ("yowo", 0.0), ("ava", 0.0)],
)
def test_a_tube_of_one_frame_is_worth_what_the_protocol_says(
    protocol: str, expected: float
) -> None:
    assert overlap(tube(3, 1), tube(3, 1), protocol) == expected


def test_frames_that_a_tube_lacks_are_no_overlap() -> None:
    whole, parts = tube(), tube()
    rows = np.array([0, 1, 2, 3, 8, 9])
    parts = replace(parts, frames=parts.frames[rows], boxes=parts.boxes[rows])
    assert overlap(whole, parts) == pytest.approx(6 / 10)
    assert overlap(parts, parts) == 1.0
    assert overlap(parts, tube(4, 4)) == 0.0


def mean_ap(
    found: list[FoundTube], truth: list[FoundTube], *, iou: float = 0.5, protocol: str = "act",
    classes: int = 1,
) -> float:  # fmt: skip
    rules = PROTOCOLS[protocol].tubes
    metrics = evaluate_tubes(found, truth, num_classes=classes, ious=(iou,), rules=rules)
    return metrics.mean_ap(iou)


A, B = tube(video="a"), tube(video="b")
WRONG = tube(video="c")


@pytest.mark.parametrize(
    ("found", "act", "every_point"),
    [
        pytest.param([(A, 0.9), (B, 0.8)], 1.0, 1.0, id="both"),
        pytest.param([], 0.0, 0.0, id="none"),
        pytest.param([(A, 0.9)], 0.5, 0.5, id="one dropped"),
        # Precision 0, 1/2, 2/3: trapezoids from the row before; or raised to 2/3 from the right.
        pytest.param(
            [(WRONG, 0.9), (A, 0.8), (B, 0.7)], (0.25 + (1 / 2 + 2 / 3) / 2) / 2, 2 / 3, id="wrong"
        ),
        pytest.param(
            [(A, 0.9), (WRONG, 0.8), (B, 0.7)],
            (1 + (1 / 2 + 2 / 3) / 2) / 2, (1 + 2 / 3) / 2, id="wrong between",
        ),
        pytest.param(
            [(A, 0.9), (A, 0.8), (B, 0.7)],
            (1 + (1 / 2 + 2 / 3) / 2) / 2, (1 + 2 / 3) / 2, id="a duplicate is an error",
        ),
        pytest.param([(A, 0.9), (B, 0.8), (A, 0.7), (B, 0.6)], 1.0, 1.0, id="duplicates at last"),
    ],
)  # fmt: skip
def test_the_area_is_what_arithmetic_says(
    found: list[tuple[FoundTube, float]], act: float, every_point: float
) -> None:
    tubes = [replace(each, score=score) for each, score in found]
    assert mean_ap(tubes, [A, B]) == pytest.approx(act, abs=1e-12)
    for protocol in ("ava", "road", "yowo"):
        assert mean_ap(tubes, [A, B], protocol=protocol) == pytest.approx(every_point, abs=1e-12)


def test_act_gives_a_tube_the_best_truth_that_is_left() -> None:
    first, second = tube(0, 10), tube(1, 10)
    found = [tube(0, 10, score=0.9), tube(0, 10, score=0.8)]
    assert mean_ap(found, [first, second]) == 1.0
    assert mean_ap(found, [first, second], protocol="ava") == 0.5


def test_an_overlap_equal_to_the_threshold_is_enough_but_for_road() -> None:
    found = [tube(0, 5)]
    assert mean_ap(found, [tube(0, 10)]) == 1.0
    assert mean_ap(found, [tube(0, 10)], protocol="road") == 0.0


def test_the_mean_over_overlaps_is_that_of_ten() -> None:
    # Eight of ten frames: a hit up to 0.8, seven of the ten thresholds.
    metrics = evaluate_tubes([tube(0, 8)], [tube(0, 10)], num_classes=2)
    assert metrics.mean_ap_many == pytest.approx(0.7)
    assert (metrics.mean_ap(0.2), metrics.mean_ap(0.85)) == (1.0, 0.0)
    assert np.isnan(metrics.by_iou[0.5].ap[1]), "a class without truth has no AP"
    assert tuple(metrics.by_iou) == IOUS == (0.2, *MANY_IOUS)
    some = evaluate_tubes([], [tube()], num_classes=1, ious=(0.5,))
    assert np.isnan(some.mean_ap_many)


def test_equal_scores_have_bounds() -> None:
    found = [replace(A, score=0.5), replace(WRONG, score=0.5)]
    metrics = evaluate_tubes(
        found, [A], num_classes=1, ious=(0.5,), ties="spread", rules=PROTOCOLS["ava"].tubes
    )
    assert metrics.mean_ap(0.5) == (1 + 1 / 2) / 2
    assert metrics.by_iou[0.5].tie_bounds == (0.5, 1.0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        pytest.param(
            lambda: evaluate_tubes([tube(label=3)], [], num_classes=2),
            r"found tube in v has the label 3, expected 0 to 1", id="label",
        ),
        pytest.param(
            lambda: evaluate_tubes([], [tube()], num_classes=1, ious=(0.0,)),
            r"overlaps are \[0\.0\]", id="overlap",
        ),
        pytest.param(lambda: tube(score=float("nan")), "has the score nan", id="score"),
        pytest.param(
            lambda: link_boxes([], BoxTable(
                frame=np.empty(0, np.int64), label=np.empty(0, np.int64), xyxy=np.empty((0, 4)),
            )), "no scores", id="no scores",
        ),
        pytest.param(lambda: TubeConfig(min_frames=0), "min_frames is 0", id="min_frames"),
        pytest.param(lambda: TubeConfig(suppress_iou=0), "suppress_iou is 0", id="suppress"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        call()


def test_of_tubes_on_one_another_the_best_stays() -> None:
    chain = [
        tube(0, 10, score=0.9), tube(3, 10, score=0.8), tube(6, 10, score=0.7),
        tube(0, 10, score=0.1, label=1), tube(0, 10, score=0.1, video="w"),
    ]  # fmt: skip
    # The second falls to the first, and so cannot take the third with it.
    kept = suppress(list(reversed(chain)), iou=0.3)
    assert [(t.video, t.label, t.score) for t in kept] == [
        ("v", 0, 0.9), ("v", 0, 0.7), ("v", 1, 0.1), ("w", 0, 0.1),
    ]  # fmt: skip


# Against a plain reading of the published evaluations, one pair at a time.


def plain_overlap(a: Tube, b: Tube, protocol: str) -> float:
    pixel = 1 if protocol in ("act", "yowo") else 0
    low, high = max(a.frames[0], b.frames[0]), min(a.frames[-1], b.frames[-1])
    if high < low or (protocol in ("road", "yowo") and high == low):
        return 0.0
    ious = []
    for frame in range(low, high + 1):
        x = a.boxes[frame - a.frames[0]].astype(float).tolist()
        y = b.boxes[frame - b.frames[0]].astype(float).tolist()
        width = max(0, min(x[2], y[2]) - max(x[0], y[0]) + pixel)
        height = max(0, min(x[3], y[3]) - max(x[1], y[1]) + pixel)
        sizes = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (x, y)]
        ious.append(width * height / (sum(sizes) - width * height))
    last = 0 if protocol == "ava" else 1
    both = max(a.frames[-1], b.frames[-1]) - min(a.frames[0], b.frames[0]) + last
    return float(np.mean(ious) * (high - low + last) / both) if both else 0.0


def plain_ap(found: list[FoundTube], truth: list[Tube], iou: float, protocol: str) -> float:
    left = list(truth)
    taken: set[int] = set()
    curve, hits = [(1.0, 0.0)], 0
    for place, one in enumerate(sorted(found, key=lambda t: -t.score), start=1):
        pool = [t for t in left if t.video == one.video]
        overlaps = [plain_overlap(t, one, protocol) for t in pool]
        best = int(np.argmax(overlaps)) if overlaps else -1
        enough = best >= 0 and (
            overlaps[best] > iou if protocol == "road" else overlaps[best] >= iou
        )
        if enough and protocol == "ava":
            enough = id(pool[best]) not in taken
            taken.add(id(pool[best]))
        elif enough:
            left = [t for t in left if t is not pool[best]]
        hits += int(enough)
        curve.append((hits / place, hits / len(truth)))
    if protocol == "act":
        return sum((r2 - r1) * (p1 + p2) / 2 for (p1, r1), (p2, r2) in zip(curve, curve[1:]))  # noqa: B905, RUF007
    total, recall = 0.0, 0.0
    for i, (_, r) in enumerate(curve[1:], start=1):
        total += (r - recall) * max(p for p, _ in curve[i:])
        recall = r
    return total


spots = st.tuples(
    st.sampled_from("ab"), st.integers(0, 6), st.integers(1, 8), st.integers(0, 8),
    st.integers(0, 8), st.integers(4, 9), st.integers(4, 9),
)  # fmt: skip


def placed(spot: tuple[Any, ...], score: float = 0.0) -> FoundTube:
    video, first, count, x, y, width, height = spot
    # It drifts by a pixel a frame, so that the mean over frames is of different numbers.
    boxes = np.float32([[x + i, y, x + i + width, y + height] for i in range(count)])
    return FoundTube(
        video=video, label=0, score=score, frames=np.arange(first, first + count), boxes=boxes
    )


truths = st.lists(spots, min_size=1, max_size=6, unique=True).map(
    lambda rows: [placed(row) for row in rows]
)
scored = st.lists(st.tuples(spots, st.integers(0, 5)), max_size=8)
tied = scored.map(lambda rows: [placed(row, score / 5) for row, score in rows])
untied = scored.map(lambda rows: [placed(row, score / 5 + i / 100) for i, (row, score) in
                                  enumerate(rows)])  # fmt: skip
protocols = st.sampled_from(sorted(PROTOCOLS))
levels = st.sampled_from([0.1, 0.2, 0.5])


@settings(deadline=None, max_examples=300)
@given(truths, untied, protocols, levels)
def test_it_agrees_with_a_plain_reading_of_the_published_code(
    truth: list[Tube], found: list[FoundTube], protocol: str, iou: float
) -> None:
    # Equal overlaps have no order in the published code; ours is by content.
    for one in found:
        overlaps = [round(plain_overlap(t, one, protocol), 9) for t in truth
                    if t.video == one.video]  # fmt: skip
        positive = [o for o in overlaps if o > 0]
        if len(set(positive)) < len(positive) or iou in positive:
            return
    expected = plain_ap(found, truth, iou, protocol)
    assert mean_ap(found, truth, iou=iou, protocol=protocol) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(truths, tied, st.randoms(use_true_random=False), protocols)
def test_the_order_of_tubes_does_not_matter(
    truth: list[Tube], found: list[FoundTube], random: Any, protocol: str
) -> None:
    rules = PROTOCOLS[protocol].tubes
    metrics = evaluate_tubes(found, truth, num_classes=1, ious=(0.2, 0.5), rules=rules)
    random.shuffle(found)
    random.shuffle(truth)
    again = evaluate_tubes(found, truth, num_classes=1, ious=(0.2, 0.5), rules=rules)
    for iou in (0.2, 0.5):
        np.testing.assert_array_equal(metrics.by_iou[iou].ap, again.by_iou[iou].ap)
        low, high = metrics.by_iou[iou].tie_bounds
        assert low - 1e-12 <= metrics.mean_ap(iou) <= high + 1e-12


@settings(deadline=None)
@given(truths, tied, protocols)
def test_only_the_ranks_of_scores_matter(
    truth: list[Tube], found: list[FoundTube], protocol: str
) -> None:
    expected = mean_ap(found, truth, protocol=protocol)
    for change in (lambda s: np.exp(3 * s) - 7, lambda s: s**3, lambda s: 1e-6 * s):
        other = [replace(one, score=float(change(one.score))) for one in found]
        assert mean_ap(other, truth, protocol=protocol) == expected


@settings(deadline=None)
@given(truths, untied, protocols)
def test_removing_a_hit_never_helps(
    truth: list[Tube], found: list[FoundTube], protocol: str
) -> None:
    before = mean_ap(found, truth, protocol=protocol)
    rules = PROTOCOLS[protocol].tubes
    pairs = tube_overlaps(found, truth, rules)
    enough = pairs.iou > 0.5 if rules.strict else pairs.iou >= 0.5
    for index in range(len(found)):
        mine = pairs.truth[enough & (pairs.detection == index)]
        # Where another could take its place, that one's error goes: it may help, and should.
        if len(mine) == 1 and int((enough & (pairs.truth == mine[0])).sum()) == 1:
            less = found[:index] + found[index + 1 :]
            assert mean_ap(less, truth, protocol=protocol) <= before + 1e-12


# Real truth.


class _Plain(pickle.Unpickler):
    """Read a pickle of plain values and arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        core = np.core if not hasattr(np, "_core") else np._core
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): core.multiarray._reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): core.multiarray._reconstruct,
        }
        return allowed[module, name]


@pytest.fixture(scope="module")
def jhmdb(shared_data: Path) -> list[FoundTube]:
    """Return the true tubes of JHMDB-21's first test split."""
    with (shared_data / "annotations" / "jhmdb" / "JHMDB-GT.pkl").open("rb") as stream:
        content = _Plain(stream, encoding="latin1").load()
    return [
        FoundTube(
            video=video, label=label, score=1.0 - number / 1000, boxes=rows[:, 1:].copy(),
            frames=rows[:, 0].astype(np.int64) - 1,
        )
        for number, video in enumerate(content["test_videos"][0])
        for label, each in content["gttubes"][video].items()
        for rows in each
    ]  # fmt: skip


def as_boxes(tubes: list[FoundTube]) -> tuple[list[tuple[str, int]], BoxTable]:
    """Return the tubes' boxes, frame by frame."""
    places = sorted({(t.video, int(f)) for t in tubes for f in t.frames})
    number = {place: i for i, place in enumerate(places)}
    return places, BoxTable(
        frame=np.array([number[t.video, int(f)] for t in tubes for f in t.frames]),
        label=np.concatenate([np.full(len(t), t.label) for t in tubes]),
        xyxy=np.concatenate([t.boxes for t in tubes]).astype(np.float64),
        score=np.concatenate([np.full(len(t), t.score) for t in tubes]),
    )


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_truth_of_jhmdb_scores_exactly_one(jhmdb: list[FoundTube], protocol: str) -> None:
    assert len(jhmdb) == 268
    metrics = evaluate_tubes(jhmdb, jhmdb, num_classes=21, rules=PROTOCOLS[protocol].tubes)
    for iou in IOUS:
        assert metrics.mean_ap(iou) == 1.0
        assert (metrics.by_iou[iou].ap == 1.0).all()
    assert metrics.mean_ap_many == 1.0
    _, boxes = as_boxes(jhmdb)
    frames = evaluate_frames(boxes, replace(boxes, score=None), num_classes=21,
                             rules=PROTOCOLS[protocol].frames)  # fmt: skip
    assert frames.mean_ap == 1.0
    assert (frames.ap == 1.0).all()


def test_the_boxes_of_jhmdb_link_to_its_tubes(jhmdb: list[FoundTube]) -> None:
    places, boxes = as_boxes(jhmdb)
    linked = link_boxes(places, boxes)
    metrics = evaluate_tubes(linked, jhmdb, num_classes=21)
    assert len(linked) == len(jhmdb)
    assert metrics.mean_ap_many == 1.0


def test_logits_are_linked_as_probabilities_are(jhmdb: list[FoundTube]) -> None:
    places, boxes = as_boxes(jhmdb[:20])
    assert boxes.score is not None
    low = replace(boxes, score=boxes.score - 5.0)
    assert len(link_boxes(places, low)) == len(link_boxes(places, boxes)) == 20
    unlikely = replace(boxes, score=boxes.score * 1e-3)
    assert link_boxes(places, unlikely) == []


def changed(tubes: list[FoundTube], change: str) -> list[FoundTube]:
    if change == "the first half":
        half = [(len(t) + 1) // 2 for t in tubes]
        return [
            replace(t, frames=t.frames[:n], boxes=t.boxes[:n])
            for t, n in zip(tubes, half, strict=True)
        ]
    if change == "aside by a third":
        # As wide boxes as before, a third of their width aside: 2/3 of 4/3 in common.
        width = [(t.boxes[:, 2] - t.boxes[:, 0] + 1) / 3 for t in tubes]
        return [
            replace(t, boxes=t.boxes + w[:, None] * np.float32([1, 0, 1, 0]))
            for t, w in zip(tubes, width, strict=True)
        ]
    if change == "every second dropped":
        return [t for label in range(21) for t in [u for u in tubes if u.label == label][::2]]
    if change == "duplicated before":
        return [replace(t, score=t.score - d) for t in tubes for d in (0.0, 1e-6)]
    return [replace(t, score=t.score - d) for t in tubes for d in (0.0, 10.0)]


@pytest.mark.parametrize(
    ("change", "iou", "low", "high"),
    [
        pytest.param("the first half", 0.5, 1.0, 1.0, id="half, 0.5"),
        pytest.param("the first half", 0.55, 0.0, 0.0, id="half, 0.55"),
        pytest.param("aside by a third", 0.45, 1.0, 1.0, id="aside, 0.45"),
        pytest.param("aside by a third", 0.55, 0.0, 0.0, id="aside, 0.55"),
        pytest.param("duplicated at last", 0.5, 1.0, 1.0, id="duplicated at last"),
    ],
)
def test_tubes_that_are_cut_or_shifted_fall_where_arithmetic_says(
    jhmdb: list[FoundTube], change: str, iou: float, low: float, high: float
) -> None:
    assert low <= mean_ap(changed(jhmdb, change), jhmdb, iou=iou, classes=21) <= high


def test_dropped_and_duplicated_tubes_cost_what_arithmetic_says(jhmdb: list[FoundTube]) -> None:
    counts = np.bincount([t.label for t in jhmdb], minlength=21)
    dropped = mean_ap(changed(jhmdb, "every second dropped"), jhmdb, classes=21)
    assert dropped == pytest.approx(np.mean(np.ceil(counts / 2) / counts), abs=1e-12)
    # Hit, error, hit, error: the k-th hit stands at 2k - 1, behind k - 1 hits among 2k - 2.
    every, trapezoid = [], []
    for n in counts:
        k = np.arange(1, n + 1)
        every.append(np.mean(k / (2 * k - 1)))
        before = np.where(k > 1, 0.5, 1.0)
        trapezoid.append(np.mean((k / (2 * k - 1) + before) / 2))
    twice = changed(jhmdb, "duplicated before")
    assert mean_ap(twice, jhmdb, classes=21) == pytest.approx(np.mean(trapezoid), abs=1e-12)
    assert mean_ap(twice, jhmdb, classes=21, protocol="ava") == pytest.approx(
        np.mean(every), abs=1e-12
    )
