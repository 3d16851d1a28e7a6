"""Each action's threshold is the one of the best F1 among people of whom it is known."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.actions import LEAST_CONF, LEAST_PEOPLE, ActionScores
from calibration.threshold import fit_threshold
from edge.data.annotations import ClipPlace
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.data.video_labels import VideoLabels
from runtime.decode import Detections
from runtime.types import ClipSpec, Outputs

MODEL = ("climb", "walk", "wave")


class Clips(ClipDataset):
    """Says which classes there are; the clips come one by one."""

    def __init__(self, class_names: tuple[str, ...] = ("walk", "wave")) -> None:
        self.class_names = class_names

    def __len__(self) -> int:
        return 0


class WeakWave(Clips):
    video_labels = VideoLabels(video_level=np.array([False, True]), states={})


LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0)


def clip(
    *labels: tuple[int, int], bystander: bool = False, known: list[list[bool]] | None = None
) -> ClipSample:
    """Return a clip with somebody on the left and perhaps on the right."""
    places = (LEFT, RIGHT)[: len(labels)]
    return ClipSample(
        frames_rgb=np.zeros((0, 0, 0, 3), np.uint8),
        boxes=np.array(places, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.float32).reshape(-1, 2),
        inactive_persons=np.array([RIGHT][: int(bystander)], np.float32).reshape(-1, 4),
        clip_id="c",
        size_wh=(8, 8),
        label_mask=np.array(known or [(True, True)] * len(labels), bool).reshape(-1, 2),
    )


def tokens(*rows: tuple[tuple[float, ...], float, float, float]) -> Detections:
    """Return tokens (box, p(actor), p(walk), p(wave)), which fall by p(actor)."""
    boxes, actor, walk, wave = zip(*rows, strict=True)
    actions = np.stack([np.full(len(rows), 0.99), walk, wave], axis=1)
    return Detections(
        xyxy=np.array(boxes, np.float32), actor=np.array(actor, np.float32),
        actions=actions.astype(np.float32), token=np.arange(len(rows)),
    )  # fmt: skip


def filled(data: Clips | None = None, count: int = LEAST_PEOPLE) -> ActionScores:
    """Return scores of people who walk at 0.3 or more, and of as many who wave, at 0.1 or less."""
    scores = ActionScores(Clips() if data is None else data, MODEL)
    for i in range(count):
        step = 0.01 * i
        scores.update(clip((1, 0)), tokens((LEFT, 0.9, 0.3 + step, 0.05)))
        scores.update(clip((0, 1)), tokens((LEFT, 0.9, 0.1 - 0.001 * i, 0.6 + step)))
    return scores


def test_a_threshold_parts_those_who_do_it_from_those_who_do_not() -> None:
    found = filled().fit(0.5)
    assert list(found) == ["walk", "wave"], "of climb the clips say nothing"
    walk = found["walk"]
    assert walk.conf == pytest.approx(0.2), "midway between 0.3 and 0.1"
    assert (walk.f1, walk.precision, walk.recall) == (1.0, 1.0, 1.0)
    assert (walk.doing, walk.not_doing) == (LEAST_PEOPLE, LEAST_PEOPLE)
    assert found["wave"].conf == pytest.approx(0.325)


def test_errors_above_a_hit_are_accepted_where_f1_says_so() -> None:
    scores = filled()
    scores.update(clip((0, 1)), tokens((LEFT, 0.9, 0.35, 0.9)))
    walk = scores.fit(0.5)["walk"]
    assert walk.conf == pytest.approx(0.2)
    assert walk.precision == pytest.approx(10 / 11)
    assert walk.f1 == pytest.approx(20 / 21)


def test_an_action_of_too_few_people_has_no_threshold() -> None:
    assert filled(count=LEAST_PEOPLE - 1).fit(0.5) == {}
    everybody = ActionScores(Clips(), MODEL)
    for _ in range(3 * LEAST_PEOPLE):
        everybody.update(clip((1, 0)), tokens((LEFT, 0.9, 0.3, 0.05)))
    assert everybody.fit(0.5) == {}, "nobody is there to be told apart"
    assert ActionScores(Clips(), MODEL).fit(0.5) == {}


def test_who_is_not_shown_does_not_count() -> None:
    scores = filled()
    for _ in range(LEAST_PEOPLE):
        scores.update(clip((1, 0)), tokens((LEFT, 0.5, 0.01, 0.9)))
    assert scores.fit(0.5) == filled().fit(0.5), "θ itself is not above θ"
    assert scores.fit(0.4)["walk"].doing == 2 * LEAST_PEOPLE


def test_a_person_is_spoken_of_once_and_by_the_surest_token() -> None:
    scores, moved = filled(), (0.05, 0.0, 0.45, 1.0)
    scores.update(
        clip((1, 0), (0, 1)),
        tokens((LEFT, 0.9, 0.3, 0.05), (RIGHT, 0.8, 0.1, 0.6), (moved, 0.7, 0.0, 0.99),
               ((0.45, 0.0, 0.5, 0.1), 0.6, 0.9, 0.9)),
    )  # fmt: skip
    found = scores.fit(0.5)
    assert (found["walk"].doing, found["walk"].not_doing) == (LEAST_PEOPLE + 1,) * 2
    assert (found["walk"].f1, found["wave"].f1) == (1.0, 1.0)


def test_what_is_not_known_of_somebody_is_neither_right_nor_wrong() -> None:
    scores = filled()
    for _ in range(5):
        scores.update(clip((0, 1), known=[[False, True]]), tokens((LEFT, 0.9, 0.95, 0.7)))
    found = scores.fit(0.5)
    assert found["walk"] == filled().fit(0.5)["walk"]
    assert found["wave"].doing == LEAST_PEOPLE + 5


@pytest.mark.parametrize("silent", [False, True])
def test_bystanders_do_none_of_the_actions_that_the_clip_speaks_of(silent: bool) -> None:
    scores = filled()
    known = [[True, False]] if silent else None
    for _ in range(3):
        scores.update(clip((1, 0), bystander=True, known=known),
                      tokens((LEFT, 0.9, 0.5, 0.0), (RIGHT, 0.8, 0.05, 0.7)))  # fmt: skip
    wave = scores.fit(0.5)["wave"]
    assert wave.not_doing == LEAST_PEOPLE + (0 if silent else 6)
    assert (wave.precision == 1.0) is silent


@pytest.mark.parametrize("partly", [False, True])
def test_bystanders_alone_are_unknown_where_any_clip_is_partly_labelled(partly: bool) -> None:
    scores = filled()
    if partly:
        scores.update(clip((1, 0), known=[[True, False]]), tokens((LEFT, 0.9, 0.5, 0.0)))
    for _ in range(3):
        scores.update(clip(bystander=True), tokens((RIGHT, 0.8, 0.05, 0.7)))
    assert scores.fit(0.5)["wave"].not_doing == LEAST_PEOPLE + (0 if partly else 3)


def test_labels_of_whole_videos_say_nothing_of_people() -> None:
    assert list(filled(WeakWave()).fit(0.5)) == ["walk"]


class WeakVideos(Clips):
    """Two keyframes of each video; somebody waves in the first ten, nobody in the last ten."""

    video_labels = VideoLabels(
        video_level=np.array([False, True]),
        states={f"v{i}": np.array([-1, int(i < LEAST_PEOPLE)], np.int8)
                for i in range(2 * LEAST_PEOPLE)},
    )  # fmt: skip

    def where(self, index: int) -> ClipPlace:
        return ClipPlace(video=f"v{index // 2}", frame=index % 2, timestamp=float(index % 2))


def test_a_label_of_whole_videos_has_the_threshold_that_parts_the_videos() -> None:
    scores = ActionScores(WeakVideos(), MODEL)
    for video in range(2 * LEAST_PEOPLE):
        high = 0.8 if video < LEAST_PEOPLE else 0.4
        high = {0: 0.3, 19: 0.9}.get(video, high)  # one missed, one false alarm
        for keyframe, score in enumerate((0.05, high)):
            scores.update(clip((1, 0)), tokens((LEFT, 0.9, 0.9, score)), 2 * video + keyframe)
    found = scores.fit(0.5)["wave"]
    assert found.conf == pytest.approx(0.6)
    assert (found.doing, found.not_doing) == (LEAST_PEOPLE, LEAST_PEOPLE)
    assert (found.precision, found.recall, found.f1) == (0.9, 0.9, 0.9)


def test_too_few_videos_give_no_threshold() -> None:
    scores = ActionScores(WeakVideos(), MODEL)
    for index in range(2 * LEAST_PEOPLE + 2 * (LEAST_PEOPLE - 1)):
        scores.update(clip((1, 0)), tokens((LEFT, 0.9, 0.9, 0.5)), index)
    assert "wave" not in scores.fit(0.5)


def test_clips_and_a_model_may_know_different_actions() -> None:
    scores = ActionScores(Clips(("wave", "swim")), MODEL)
    assert scores.names == ("wave",)
    for i in range(LEAST_PEOPLE):
        scores.update(clip((1, 0)), tokens((LEFT, 0.9, 0.9, 0.4)))
        scores.update(clip((0, 1)), tokens((LEFT, 0.9, 0.9, 0.2 - 0.01 * i)))
    assert scores.fit(0.5)["wave"].conf == pytest.approx(0.3)


class Engine:
    """One token on the left whose p(walk) the brightness of the clip says."""

    def __call__(self, frames: np.ndarray) -> Outputs:
        value = round((float(frames[0, 0, 0, 0, 0]) * 0.225 + 0.45) * 255)
        box = np.array([[0.2, 0.5, 0.4, 1.0]], np.float32)
        actions = np.array([[0.0, value / 10 - 5, 5 - value / 10]], np.float32)
        return Outputs(box[None], np.array([[2.0]], np.float32), actions[None])


class Bright(Clips):
    """The brighter half walks, the darker half waves."""

    def __len__(self) -> int:
        return 2 * LEAST_PEOPLE

    def __getitem__(self, index: int) -> ClipSample:
        sample = clip((1, 0) if index >= LEAST_PEOPLE else (0, 1))
        frames = np.full((2, 8, 8, 3), 5 * index, np.uint8)
        return ClipSample(
            frames_rgb=frames, boxes=sample.boxes, labels=sample.labels, clip_id=str(index),
            inactive_persons=sample.inactive_persons, size_wh=(8, 8),
        )  # fmt: skip


def test_the_engine_of_an_artifact_gives_both_kinds_of_threshold() -> None:
    size = ClipSpec(num_frames=1, sampling_rate=1, fps=30.0, height=8, width=8)
    fitted = fit_threshold(Engine(), Bright(), size, class_names=MODEL)
    low, high = (1 / (1 + np.exp(-logit)) for logit in (-0.5, 0.0))
    assert fitted.actions["walk"].conf == pytest.approx((low + high) / 2, abs=1e-6)
    assert list(fitted.actions) == ["walk", "wave"]
    assert fit_threshold(Engine(), Bright(), size).actions == {}


def test_a_threshold_is_not_below_its_least() -> None:
    scores = ActionScores(Clips(), MODEL)
    for i in range(12):
        low = 0.5 if i < 4 else 0.02  # most of those who do it have a score of nearly nothing
        scores.update(clip((1, 0)), tokens((LEFT, 0.9, low, 0.05)))
        scores.update(clip((0, 1)), tokens((LEFT, 0.9, 0.01, 0.05)))
    found = scores.fit(0.5)
    assert found["walk"].conf >= LEAST_CONF
    assert found["walk"].recall == pytest.approx(4 / 12)
    assert "wave" not in found, "none of those who do it has a score above the least"
