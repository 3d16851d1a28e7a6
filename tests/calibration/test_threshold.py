"""θ lets about as many tokens pass as it was asked to, in the scores of the decoder."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.threshold import fit_threshold, quantile_threshold
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from runtime.decode import decode
from runtime.errors import CalibrationError, DecodeError
from runtime.types import ClipSpec, Outputs


def passing(logits: np.ndarray, conf: float) -> list[int]:
    """Count the tokens that the runtime's own decoder keeps."""
    boxes = np.full((logits.shape[1], 4), 0.5, np.float32)
    actions = np.zeros((logits.shape[1], 2), np.float32)
    return [len(decode(boxes, row, actions, conf=conf, size_wh=(10, 10))) for row in logits]


def test_a_few_tokens_of_a_clip_pass() -> None:
    logits = np.random.default_rng(0).normal(-4, 1, (40, 200)).astype(np.float32)
    counts = passing(logits, quantile_threshold(logits))
    assert 2 <= np.median(counts) <= 4


def test_one_odd_clip_does_not_decide() -> None:
    logits = np.random.default_rng(1).normal(-4, 1, (20, 50)).astype(np.float32)
    logits[0] += 20
    counts = passing(logits, quantile_threshold(logits))
    assert 2 <= np.median(counts) <= 4
    assert counts[0] == 50


def test_few_levels_of_an_int8_output_are_split_at_the_nearest() -> None:
    logits = np.array([[-2.0, -2.0, -2.0, 1.0]] * 5, np.float32)
    assert passing(logits, quantile_threshold(logits, tokens_per_clip=1.5)) == [1] * 5


def test_tokens_all_alike_pass_none() -> None:
    logits = np.zeros((3, 4), np.float32)
    assert passing(logits, quantile_threshold(logits)) == [0, 0, 0]


@pytest.mark.parametrize(
    "logits",
    [
        pytest.param(np.zeros((0, 4), np.float32), id="no-clips"),
        pytest.param(np.zeros(4, np.float32), id="one-dimension"),
        pytest.param(np.array([[0, np.nan]], np.float32), id="nan"),
        pytest.param(np.array([[0, np.inf]], np.float32), id="inf"),
    ],
)
def test_scores_that_mean_nothing_are_refused(logits: np.ndarray) -> None:
    with pytest.raises(CalibrationError):
        quantile_threshold(logits)


SIZE = ClipSpec(num_frames=1, sampling_rate=1, fps=30.0, height=8, width=8)


class Labelled(ClipDataset):
    """Clips with one actor each; the brightness of a clip is its number."""

    class_names = ("walk", "wave")

    def __init__(self, count: int, actors: int = 1) -> None:
        self.count, self.actors = count, actors

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ClipSample:
        box = np.array([[0.1, 0.1, 0.5, 0.9]] * self.actors, np.float32)
        return ClipSample(
            frames_rgb=np.full((2, 8, 8, 3), index, np.uint8),
            boxes=box.reshape(-1, 4),
            labels=np.ones((self.actors, 2), np.float32),
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=str(index),
            size_wh=(8, 8),
        )


class Answers:
    """An engine that knows its answers: per clip a logit on the actor, and one on nobody."""

    def __init__(self, right: list[float], wrong: list[float], where: float = 0.3) -> None:
        self.right, self.wrong, self.where = right, wrong, where

    def __call__(self, clip: np.ndarray) -> Outputs:
        assert clip.shape == (1, 2, 3, 8, 8)
        index = round((float(clip[0, 0, 0, 0, 0]) * 0.225 + 0.45) * 255)
        boxes = [[self.where, 0.5, 0.4, 0.8], [0.8, 0.5, 0.2, 0.2]]
        logits = [self.right[index], self.wrong[index]]
        found = np.array(boxes, np.float32), np.array(logits, np.float32), np.zeros((2, 5), "f4")
        return Outputs(*(array[None] for array in found))


def test_the_threshold_parts_hits_from_errors_where_it_can() -> None:
    engine = Answers(right=[2.0, 3.0, 1.0, 2.5], wrong=[-1.0, 0.0, -2.0, -3.0])
    fitted = fit_threshold(engine, Labelled(4), SIZE)
    low, high = (1 / (1 + np.exp(-logit)) for logit in (0.0, 1.0))
    assert fitted.conf == pytest.approx((low + high) / 2), "midway between the two"
    record = fitted.record
    assert (record.rule, record.clips) == ("f1", 4)
    assert (record.f1, record.precision, record.recall) == (1.0, 1.0, 1.0)
    assert (np.diff(np.array(record.curve)[:, 0]) > 0).all()


def test_one_error_above_a_hit_is_accepted_or_not_as_f1_says() -> None:
    # Keeping all: 4 right, 1 wrong, F1 8/9. Dropping the last hit as well: 3 right, F1 6/7.
    engine = Answers(right=[2.0, 3.0, 1.0, 2.5], wrong=[1.5, 0.0, -2.0, -3.0])
    fitted = fit_threshold(engine, Labelled(4), SIZE)
    assert fitted.record.f1 == pytest.approx(8 / 9)
    assert fitted.record.precision == pytest.approx(4 / 5)


def test_every_clip_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    fit_threshold(
        Answers([2.0] * 3, [-2.0] * 3), Labelled(3), SIZE, progress=lambda *step: told.append(step)
    )
    assert [(done, total) for _, done, total in told] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("engine", "clips", "error", "sentence"),
    [
        pytest.param(
            Answers([1.0], [0.0]), Labelled(1, actors=0), CalibrationError, "show no actor",
            id="no actors",
        ),
        pytest.param(
            Answers([1.0], [0.0], where=0.9), Labelled(1), CalibrationError, "finds nobody",
            id="nobody found",
        ),
        pytest.param(
            Answers([np.nan], [0.0]), Labelled(1), DecodeError, "pred_actor holds nan", id="nan",
        ),
    ],
)  # fmt: skip
def test_what_gives_no_threshold_is_said(
    engine: Answers, clips: Labelled, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        fit_threshold(engine, clips, SIZE)
