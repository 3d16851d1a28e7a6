"""What labelled clips say of a program: by its own engine on all, by torch on some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calibration import actions
from calibration.threshold import fit_threshold
from edge.data.cache import MemoryCache
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.data.video_labels import VideoLabels
from export.labelled import LabelledClips
from runtime.errors import ConfigError
from runtime.types import ClipModel, ClipSpec, Floats, Outputs
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


def over(
    clips: ClipDataset,
    class_names: tuple[str, ...] = MovingSquares.class_names,
    truth: ClipModel = bright_places,
) -> LabelledClips:
    """Return labelled clips for a model with those classes."""
    return LabelledClips(
        MemoryCache(clips), CONFIG, class_names=class_names, data="squares", truth=truth
    )


@pytest.fixture
def squares() -> Counted:
    return Counted()


@pytest.fixture
def labelled(squares: Counted) -> LabelledClips:
    return over(squares)


def test_the_threshold_is_the_one_that_edge_calibrate_finds(labelled: LabelledClips) -> None:
    found = labelled.measure(bright_places, "x.pte")
    squares = MovingSquares(SHAPE, length=12)
    names = ("left", "right")
    assert found.fitted == fit_threshold(bright_places, squares, CONFIG, class_names=names)
    assert found.accuracy["clips"] == 12
    assert "simulated" not in found.accuracy
    assert found.accuracy["frame_map_50"] == found.accuracy["float_frame_map_50"]
    assert 0 < found.accuracy["frame_map_50"] < 1


def test_actions_get_a_threshold_where_enough_people_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "LEAST_PEOPLE", 2)
    monkeypatch.setattr(actions, "LEAST_CONF", 0.0)  # these scores mean nothing
    squares, names = MovingSquares(SHAPE, length=80), ("left", "right")
    labelled = over(squares)
    fitted = labelled.measure(bright_places, "x.pte").fitted
    assert set(fitted.actions) == {"left", "right"}
    assert fitted == fit_threshold(bright_places, squares, CONFIG, class_names=names)


def test_clips_are_made_once_for_all_artifacts_and_the_float_model(
    labelled: LabelledClips, squares: Counted
) -> None:
    steps: list[str] = []
    for name in ("a.pte", "b.onnx"):
        labelled.measure(bright_places, name,
                      progress=lambda step, *_: steps.append(step))  # fmt: skip
    assert sorted(squares.made) == list(range(12))
    assert list(dict.fromkeys(steps)) == [
        "measuring the float model", "measuring a.pte", "measuring b.onnx"
    ]  # fmt: skip
    assert steps.count("measuring the float model") == 12, "once"


def test_what_torch_stands_in_for_is_measured_on_some_and_marked(
    labelled: LabelledClips, squares: Counted
) -> None:
    labelled.simulated_clips = 6
    asked: list[Floats] = []
    labelled.truth = lambda clip: asked.append(clip) or bright_places(clip)
    told: list[tuple[Any, ...]] = []
    found = labelled.measure(bright_places, "x.pte", simulated=True,
                          progress=lambda *step: told.append(step))  # fmt: skip
    assert sorted(squares.made) == [0, 2, 4, 6, 8, 10], "spread over all: the first may be alike"
    assert found.accuracy["simulated"] is True
    assert found.accuracy["clips"] == found.fitted.record.clips == 6
    assert told[-1] == ("measuring x.pte (its graph in torch)", 6, 6)
    assert len(asked) == 6, "the float model is compared on the same clips"
    whole = labelled.measure(bright_places, "y.pte")
    assert (whole.accuracy["clips"], len(asked)) == (12, 6 + 12)


def test_a_model_that_knows_more_is_measured_on_the_classes_of_the_clips(
    labelled: LabelledClips, squares: Counted
) -> None:
    def wider(clip: Floats) -> Outputs:
        boxes, actor, actions = bright_places(clip)
        others = np.concatenate([actions[..., 1:], actor[..., None] + 9, actions[..., :1]], axis=-1)
        return Outputs(boxes, actor, others)

    wide = over(squares, ("right", "jumps", "left"), wider)
    found = wide.measure(wider, "x.pte")
    assert found == labelled.measure(bright_places, "x.pte")
    with pytest.raises(ConfigError, match="only the data set knows right"):
        LabelledClips(
            MemoryCache(squares), CONFIG, class_names=("left",), data="squares", truth=wider
        )


def test_a_class_that_is_said_of_whole_videos_is_no_part_of_the_frame_map() -> None:
    class Weak(MovingSquares):
        video_labels = VideoLabels(video_level=np.array([False, True]), states={})

    plain, video_level = (
        over(kind(SHAPE, length=12)).measure(bright_places, "x.pte")
        for kind in (MovingSquares, Weak)
    )  # fmt: skip
    assert video_level.accuracy["actor_ap_50"] == plain.accuracy["actor_ap_50"]
    assert video_level.accuracy["frame_map_50"] != plain.accuracy["frame_map_50"]


def test_the_int8_graphs_of_several_weights_are_compared_on_some(labelled: LabelledClips) -> None:
    def other(clip: Floats) -> Outputs:
        found = bright_places(clip)
        return found._replace(pred_actions=-found.pred_actions)

    labelled.simulated_clips = 6
    found = labelled.compare({"post-training": other, "quantization-aware": bright_places})
    assert (found.clips, found.data) == (6, "squares")
    for how, run in (("post-training", other), ("quantization-aware", bright_places)):
        measured = labelled.measure(run, "x", simulated=True)
        assert found.frame_map_50[how] == measured.accuracy["frame_map_50"]
