"""What labelled clips say of a program: by its own engine on all, by torch on some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calibration import actions
from calibration.threshold import fit_threshold
from edge.data.cache import MemoryCache
from edge.data.samples import ClipSample
from edge.data.video_labels import VideoLabels
from export import judge as judging
from export.judge import Judge
from export.verify import simulated
from runtime.errors import ConfigError
from runtime.types import ClipSpec, Floats, Outputs
from tests.edge.moving_squares import MovingSquares

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=1, fps=10)
CONFIG = ClipSpec(
    num_frames=1, sampling_rate=1, fps=30.0, height=32, width=32, mean=(0.0,) * 3, std=(1.0,) * 3
)


class Counted(MovingSquares):
    """Squares that count how often each is made."""

    def __init__(self) -> None:
        super().__init__(SHAPE, length=12)
        self.made: list[int] = []

    def __getitem__(self, index: int) -> ClipSample:
        self.made.append(index)
        return super().__getitem__(index)


def bright_places(clip: Floats, *, off: float = 0.0) -> Outputs:
    """Answer with four boxes of fixed places, surer of those that are bright."""
    boxes = np.array([[x, y, 0.4, 0.4] for x in (0.3, 0.7) for y in (0.3, 0.7)], np.float32)
    key = clip[0, 2].mean(axis=0)
    cells = [key[y : y + 12, x : x + 12].mean() for x in (4, 16) for y in (4, 16)]
    actor = np.array(cells, np.float32) / 8 - 4 + off
    actions = np.stack([actor, -actor], axis=1)
    return Outputs(boxes[None], actor[None], actions[None])


@pytest.fixture
def squares() -> Counted:
    return Counted()


@pytest.fixture
def judge(squares: Counted) -> Judge:
    return Judge(MemoryCache(squares), CONFIG, class_names=("left", "right"), data="squares",
                 truth=bright_places)  # fmt: skip


def test_the_threshold_is_the_one_that_edge_calibrate_finds(judge: Judge) -> None:
    found = judge.measure(b"", name="x.pte", engine=simulated(bright_places))
    squares = MovingSquares(SHAPE, length=12)
    names = ("left", "right")
    assert found.fitted == fit_threshold(bright_places, squares, CONFIG, class_names=names)
    assert found.accuracy["clips"] == 12
    assert "simulated" not in found.accuracy
    assert found.accuracy["frame_map_50"] == found.accuracy["float_frame_map_50"]
    assert 0 < found.frame_map < 1


def test_actions_get_a_threshold_where_enough_people_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "LEAST_PEOPLE", 2)
    monkeypatch.setattr(actions, "LEAST_CONF", 0.0)  # these scores mean nothing
    squares, names = MovingSquares(SHAPE, length=80), ("left", "right")
    judge = Judge(MemoryCache(squares), CONFIG, class_names=names, data="squares",
                  truth=bright_places)  # fmt: skip
    fitted = judge.measure(b"", name="x.pte", engine=simulated(bright_places)).fitted
    assert set(fitted.actions) == {"left", "right"}
    assert fitted == fit_threshold(bright_places, squares, CONFIG, class_names=names)


def test_clips_are_made_once_for_all_artifacts_and_the_float_model(
    judge: Judge, squares: Counted
) -> None:
    steps: list[str] = []
    for name in ("a.pte", "b.onnx"):
        judge.measure(b"", name=name, engine=simulated(bright_places),
                      progress=lambda step, *_: steps.append(step))  # fmt: skip
    assert sorted(squares.made) == list(range(12))
    assert list(dict.fromkeys(steps)) == [
        "measuring the float model", "measuring a.pte", "measuring b.onnx"
    ]  # fmt: skip
    assert steps.count("measuring the float model") == 12, "once"


def test_what_torch_stands_in_for_is_measured_on_some_and_marked(
    judge: Judge, squares: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "SIMULATED_CLIPS", 6)
    asked: list[Floats] = []
    judge.truth = lambda clip: asked.append(clip) or bright_places(clip)
    told: list[tuple[Any, ...]] = []
    found = judge.measure(b"", name="x.pte", engine=simulated(bright_places), simulated=True,
                          progress=lambda *step: told.append(step))  # fmt: skip
    assert sorted(squares.made) == [0, 2, 4, 6, 8, 10], "spread over all: the first may be alike"
    assert found.accuracy["simulated"] is True
    assert found.accuracy["clips"] == found.fitted.record.clips == 6
    assert told[-1] == ("measuring x.pte (its graph in torch)", 6, 6)
    assert len(asked) == 6, "the float model is compared on the same clips"
    whole = judge.measure(b"", name="y.pte", engine=simulated(bright_places))
    assert (whole.accuracy["clips"], len(asked)) == (12, 6 + 12)


def test_a_model_that_knows_more_is_measured_on_the_classes_of_the_clips(
    judge: Judge, squares: Counted
) -> None:
    def wider(clip: Floats) -> Outputs:
        boxes, actor, actions = bright_places(clip)
        others = np.concatenate([actions[..., 1:], actor[..., None] + 9, actions[..., :1]], axis=-1)
        return Outputs(boxes, actor, others)

    wide = Judge(MemoryCache(squares), CONFIG, class_names=("right", "jumps", "left"),
                 data="squares", truth=wider)  # fmt: skip
    found = wide.measure(b"", name="x.pte", engine=simulated(wider))
    assert found == judge.measure(b"", name="x.pte", engine=simulated(bright_places))
    with pytest.raises(ConfigError, match=r"has the classes left, right; the model has left"):
        Judge(MemoryCache(squares), CONFIG, class_names=("left",), data="squares", truth=wider)


def test_a_class_that_is_said_of_whole_videos_is_no_part_of_the_frame_map() -> None:
    class Weak(MovingSquares):
        video_labels = VideoLabels(video_level=np.array([False, True]), states={})

    plain, video_level = (
        Judge(kind(SHAPE, length=12), CONFIG, class_names=("left", "right"), data="squares",
              truth=bright_places).measure(b"", name="x.pte", engine=simulated(bright_places))
        for kind in (MovingSquares, Weak)
    )  # fmt: skip
    assert video_level.accuracy["actor_ap_50"] == plain.accuracy["actor_ap_50"]
    assert video_level.frame_map != plain.frame_map
