"""Videos are told apart: areas and thresholds by hand, intervals by recording, alarms as runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.annotations import ClipPlace
from edge.data.samples import ClipSample
from edge.data.video_labels import NO_ROW, VideoLabels
from edge.evaluation.clip_metrics import ClipMetrics
from edge.evaluation.options import ModelChoice, ValOptions
from edge.evaluation.predictors import Predictor
from edge.evaluation.validate import ValReport, validate
from edge.evaluation.video_scores import VideoScores, best_threshold, table_of
from runtime.decode import Detections
from tests.edge.evaluation.test_validate import NAMES, SHAPE, Drawn, predictor
from tests.edge.partial_labels import KNOWN, SOMEBODY, masks

CLASSES = ("walk", "fight")


def found(*scores: float, actor: float = 1.0) -> Detections:
    """Return tokens that are surely somebody, and fight with these probabilities."""
    actions = np.array([[0.9, score] for score in scores], np.float32).reshape(-1, 2)
    return Detections(
        xyxy=np.tile(np.array([0, 0, 1, 1], np.float32), (len(scores), 1)),
        actor=np.full(len(scores), actor, np.float32), actions=actions,
        token=np.arange(len(scores)),
    )  # fmt: skip


def scores_of(
    present: dict[str, int], sources: dict[str, str] | None = None, seconds: float = 360.0
) -> VideoScores:
    states = {name: np.array([NO_ROW, state], np.int8) for name, state in present.items()}
    labels = VideoLabels(video_level=np.array([False, True]), states=states, sources=sources or {})
    return VideoScores(labels, CLASSES, dict.fromkeys(present, seconds))


def add(videos: VideoScores, name: str, *keyframes: float) -> None:
    for index, score in enumerate(keyframes):
        videos.add(ClipPlace(video=name, frame=index, timestamp=float(index)), found(score, 0.01))


def test_a_video_scores_as_its_surest_somebody() -> None:
    videos = scores_of({"a": 1, "b": 0, "other": NO_ROW})
    videos.add(ClipPlace(video="a", frame=9, timestamp=1.0), found(0.3, 0.4))
    # Half hidden, and as sure to fight.
    videos.add(ClipPlace(video="a", frame=0, timestamp=0.0), found(0.5, actor=0.2))
    # A token on nobody may say what it likes.
    videos.add(ClipPlace(video="b", frame=0, timestamp=0.0), found(0.99, actor=0.09))
    videos.add(ClipPlace(video="b", frame=2, timestamp=2.0), found(0.375, actor=0.1))
    videos.add(ClipPlace(video="b", frame=1, timestamp=1.0), found())
    videos.add(ClipPlace(video="other", frame=0, timestamp=0.0), found(0.99))
    one = videos.result()["fight"]
    assert (one["videos_with"], one["videos_without"], one["sources"]) == (1, 1, 2)
    assert one["roc_auc"]["value"] == 1.0
    assert one["at_best"]["threshold"] == pytest.approx((0.5 + 0.375) / 2)
    assert one["at_best"]["accuracy"]["value"] == 1.0
    assert one["at_0.5"]["sensitivity"]["value"] == 0.0
    assert one["at_0.5"]["specificity"]["value"] == 1.0
    assert videos.auc() == {"fight": 1.0}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=12), st.randoms())
def test_the_area_is_the_share_of_pairs_in_the_right_order(
    videos: list[tuple[int, bool]], random: object
) -> None:
    random.shuffle(videos)  # type: ignore[attr-defined]
    collected = scores_of({str(i): int(present) for i, (_, present) in enumerate(videos)})
    for index, (score, _) in enumerate(videos):
        add(collected, str(index), score / 10)
    have = [score for score, present in videos if present]
    lack = [score for score, present in videos if not present]
    right = [1.0 if a > b else 0.5 if a == b else 0.0 for a in have for b in lack]
    wanted = None if not right else pytest.approx(float(np.mean(right)))
    assert collected.auc()["fight"] == wanted


def test_the_precision_is_taken_where_recall_moves() -> None:
    videos = scores_of({"a": 1, "b": 0, "c": 1, "d": 0, "e": 1})
    for name, score in zip("abcde", (0.9, 0.8, 0.7, 0.7, 0.1), strict=True):
        add(videos, name, score)
    value = videos.result()["fight"]["average_precision"]["value"]
    assert value == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)


def test_an_alarm_is_a_run_of_keyframes() -> None:
    videos = scores_of({"a": 1, "b": 0, "c": 0}, seconds=1800.0)
    add(videos, "a", 0.9, 0.1, 0.9)
    add(videos, "b", 0.9, 0.8, 0.1, 0.6, 0.1, 0.7)
    add(videos, "c", 0.1, 0.2)
    one = videos.result()["fight"]
    assert one["hours_without"] == 1.0
    assert one["at_0.5"]["false_alarms_per_hour"]["value"] == 3.0


def test_intervals_are_over_recordings() -> None:
    random = np.random.default_rng(3)
    names = [f"v{i:02d}" for i in range(40)]
    present = {name: int(i % 2) for i, name in enumerate(names)}
    values = np.clip(random.normal(0.4, 0.15, 40) + [0.15 * (i % 2) for i in range(40)], 0, 1)

    def width(sources: dict[str, str]) -> float:
        videos = scores_of(present, sources)
        for name, value in zip(names, values, strict=True):
            add(videos, name, float(value))
        auc = videos.result()["fight"]["roc_auc"]
        assert auc["low"] < auc["value"] < auc["high"]
        return float(auc["high"] - auc["low"])

    alone = width({})
    assert 0.1 < alone < 0.5
    assert alone == width({})
    # Ten recordings of four videos each tell less than forty of one.
    in_order = sorted(range(40), key=lambda i: (i % 2, values[i]))
    assert width({names[i]: f"r{place // 4}" for place, i in enumerate(in_order)}) > alone
    videos = scores_of(present, dict.fromkeys(names, "one"))
    for name in names:
        add(videos, name, 0.3)
    one = videos.result()["fight"]
    assert one["roc_auc"] == {"value": 0.5, "low": None, "high": None}


@pytest.mark.parametrize(
    ("scores", "present", "wanted"),
    [
        pytest.param([0.1, 0.3], [0, 1], 0.2, id="apart"),
        pytest.param([0.2, 0.2, 0.6], [1, 1, 0], 0.1, id="turned round"),
        pytest.param([0.2, 0.6], [1, 1], None, id="of one kind"),
    ],
)
def test_the_best_threshold_is_between_two_scores(
    scores: list[float], present: list[int], wanted: float | None
) -> None:
    best = best_threshold(np.array(scores), np.array(present, bool))
    assert best == (None if wanted is None else pytest.approx(wanted))


def test_a_table_says_what_there_is() -> None:
    videos = scores_of({"a": 1, "b": 1})
    add(videos, "a", 0.9)
    add(videos, "b", 0.3)
    rows = table_of(videos.result())
    assert len(rows) == 2  # no best threshold where all are of one kind
    assert rows[1][:4] == ["fight", "2", "0", "2"]
    assert rows[1][4] == "-"


def test_a_token_on_somebody_who_may_act_is_neither_right_nor_wrong() -> None:
    boxes = np.array([[0, 0, 0.4, 1], [0.6, 0, 1, 1]], np.float32)
    both = Detections(
        xyxy=boxes, actor=np.array([0.9, 0.8], np.float32),
        actions=np.array([[0.9, 0.1], [0.1, 0.9]], np.float32), token=np.arange(2),
    )  # fmt: skip
    metrics = ClipMetrics(CLASSES, video_level=[1])
    metrics.add(boxes, np.array([[1, 0], [0, 0]], np.float32), boxes[:0], both,
                np.array([False, True]))  # fmt: skip
    result = metrics.result(0.5)
    assert (result["actors"], result["undecided"]) == (1, 1)
    assert result["ap"] == {"walk": 1.0, "fight": None}
    assert (result["frame_map"], result["actor_ap"]) == (1.0, 1.0)
    at = result["at_threshold"]
    assert (at["precision"], at["kept_per_clip"], at["elsewhere_fp_per_clip"]) == (1.0, 1.0, 0.0)
    assert metrics.errors_by_clip(0.5).tolist() == [0]
    assert len(metrics.kept(0, 0.5)[0]) == 1
    assert metrics.confusion(0.5).sum() == 1
    # Who carries the weak label counts as an actor, and not for the class.
    metrics.add(boxes[:1], np.array([[0, 1]], np.float32), boxes[:0], both)
    assert metrics.result(0.5)["ap"]["fight"] is None
    assert metrics.result(0.5)["actors"] == 2


@dataclass
class Media:
    start_s: float = 0.0
    end_s: float = 36.0


class InVideos(Drawn):
    """Clips of eight videos, in which somebody falls or nobody does."""

    def __init__(self) -> None:
        super().__init__()
        states = {f"v{i}": np.array([NO_ROW, NO_ROW, i % 3 == 2], np.int8) for i in range(3)}
        self.video_labels = VideoLabels(video_level=np.array([False, False, True]), states=states)
        self.media = {f"v{i}": Media() for i in range(3)}

    def where(self, index: int) -> ClipPlace:
        return ClipPlace(video=f"v{index % 3}", frame=index, timestamp=float(index))

    def __getitem__(self, index: int) -> ClipSample:
        sample = super().__getitem__(index)
        labels = sample.labels.copy()
        labels[:, 2] = 0
        codes = np.zeros((len(labels), 3), np.uint8)
        codes[:, 2] = SOMEBODY if index % 3 == 2 else KNOWN
        return ClipSample(
            frames_rgb=sample.frames_rgb, boxes=sample.boxes, labels=labels,
            inactive_persons=sample.inactive_persons, clip_id=sample.clip_id,
            size_wh=sample.size_wh, **masks(codes),
        )  # fmt: skip


@pytest.mark.parametrize("frozen", [False, True], ids=["clips", "frozen"])
def test_an_evaluation_reports_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    from edge.evaluation import validate as validate_module

    chosen: Predictor = predictor()
    monkeypatch.setattr(validate_module, "open_predictor", lambda choice: chosen)
    report: ValReport = validate(
        ModelChoice(model="x"), lambda shape: InVideos(), data="videos",
        options=ValOptions(out=tmp_path, plots=False, worst=3, frozen=frozen),
    )  # fmt: skip
    content = report.content
    assert SHAPE.num_frames == 4
    assert list(content["ap"]) == list(NAMES)
    assert content["ap"]["fall"] is None
    assert (content["actors"], content["undecided"]) == (27, 13)
    one = content["whole_videos"]["fall"]
    assert (one["videos_with"], one["videos_without"]) == (1, 2)
    assert one["roc_auc"]["value"] == (0.5 if frozen else 1.0)
    printed = "\n".join(report.lines())
    assert "13 who may act" in printed
    assert "not in the frame-mAP: fall" in printed
    if not frozen:
        assert content["frame_map"] == content["actor_ap"] == 1.0
