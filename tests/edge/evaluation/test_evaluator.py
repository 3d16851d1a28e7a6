"""One loop runs a model over clips: batches, classes, and clips that cannot be decoded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge.data.samples import ClipSample
from edge.evaluation.evaluator import Evaluator, class_order, run_clips, tokens_of
from runtime.errors import CaptureError, ConfigError
from runtime.types import Outputs
from tests.edge.moving_squares import MovingSquares
from tests.edge.tiny import SHAPE


class Broken(MovingSquares):
    """Twenty clips, the first few of which cannot be decoded."""

    def __init__(self, broken: int) -> None:
        super().__init__(SHAPE, length=20)
        self.broken = broken

    def __getitem__(self, index: int) -> ClipSample:
        if index < self.broken:
            raise CaptureError(f"video {index} ends early")
        return super().__getitem__(index)


class Model:
    """Finds every person and their actions, among the classes right, other and left."""

    class_names = ("right", "other", "left")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, samples: Sequence[ClipSample]) -> list[Outputs]:
        self.batches.append(len(samples))
        return [self.outputs(sample) for sample in samples]

    def outputs(self, sample: ClipSample) -> Outputs:
        low, high = sample.boxes[:, :2], sample.boxes[:, 2:]
        names = list(MovingSquares.class_names)
        columns = [names.index("right"), None, names.index("left")]
        does = [np.zeros(len(low)) if c is None else sample.labels[:, c] for c in columns]
        return Outputs(
            np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32),
            np.full(len(low), 4.0, np.float32),
            (8 * np.stack(does, axis=1) - 4).astype(np.float32),
        )


def test_every_clip_is_run_once_in_batches_of_those_that_can_be_decoded() -> None:
    model = Model()
    clips = list(run_clips(Broken(2), model, range(8), batch=4))
    assert [clip.index for clip in clips] == list(range(8))
    assert model.batches == [4, 2]
    assert [clip.reason for clip in clips[:3]] == ["video 0 ends early", "video 1 ends early", ""]
    assert clips[0].outputs is None
    assert len(tokens_of(clips[0])) == 0
    assert len(tokens_of(clips[2])) == len(clips[2].sample.boxes)


def test_a_model_that_is_right_has_all_and_its_other_classes_are_left_out() -> None:
    told: list[tuple[str, int, int]] = []
    evaluator = Evaluator(MovingSquares(SHAPE, length=6), Model.class_names)
    metrics = evaluator.run(
        Model(), limit=4, step="measuring", progress=lambda *step: told.append(step)
    )
    assert len(metrics) == 4
    assert evaluator.result()["frame_map"] == pytest.approx(1.0)
    assert set(evaluator.result()["ap"]) == set(MovingSquares.class_names)
    assert told[-1] == ("measuring", 4, 4)


def test_clips_that_cannot_be_decoded_are_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    evaluator = Evaluator(Broken(2), Model.class_names)
    assert len(evaluator.run(Model())) == 18
    assert evaluator.left_out == ["video 0 ends early", "video 1 ends early"]
    assert evaluator.result()["undecodable_clips"] == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"clip clip {at} cannot be decoded, the {at + 1}. of this run: video {at} ends early"
        for at in range(2)
    ]


def test_more_than_a_tenth_of_them_ends_the_run_unless_asked() -> None:
    with pytest.raises(CaptureError, match=r"3 of 20 clips cannot .* the last: video 2 ends early"):
        Evaluator(Broken(3), Model.class_names).run(Model())
    assert len(Evaluator(Broken(3), Model.class_names).run(Model(), refuse=False)) == 17


def test_a_class_that_the_model_does_not_know_is_refused() -> None:
    assert class_order(("a", "b", "c"), ("c", "a")) == [2, 0]
    with pytest.raises(ConfigError, match="only the data set knows left"):
        Evaluator(MovingSquares(SHAPE, length=2), ("right",))
