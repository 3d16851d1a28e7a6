"""The self-test refuses every engine that is wrong, and takes one that rounds another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.engine import load_engine
from runtime.self_test import SelfTestResult, check_answer, golden_answer

Run = Callable[[Any], Any]


class Case:
    """The default bundle's own program, and what it is held against."""

    def __init__(self) -> None:
        self.bundle = Bundle.load(DEFAULT_BUNDLE)
        self.loaded = load_engine(self.bundle, num_threads=1)
        self.run: Run = self.loaded.program
        self.clip, self.recorded = golden_answer(self.bundle, self.loaded.artifact)

    def check(self, run: Run) -> SelfTestResult:
        artifact = self.loaded.artifact
        return check_answer(
            run, self.clip, self.recorded, largest=artifact.self_test_tolerance,
            precision=artifact.precision, conf=artifact.conf,
        )  # fmt: skip


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def parts(answer: Any) -> list[Any]:
    return [np.array(one) for one in answer]


def on_output(index: int, change: Callable[[Any], Any]) -> Callable[[Run], Run]:
    def wrap(run: Run) -> Run:
        def wrong(clip: Any) -> Any:
            answer = parts(run(clip))
            answer[index] = change(answer[index])
            return answer

        return wrong

    return wrap


def on_input(change: Callable[[Any], Any]) -> Callable[[Run], Run]:
    return lambda run: lambda clip: run(np.ascontiguousarray(change(clip)))


def stale(run: Run) -> Run:
    kept = [None]

    def wrong(clip: Any) -> Any:
        before, kept[0] = kept[0], parts(run(clip))
        return kept[0] if before is None else before

    return wrong


def half_of_the_tokens(run: Run) -> Run:
    def wrong(clip: Any) -> Any:
        answer = parts(run(clip))
        for one in answer:
            half = one.shape[1] // 2
            one[:, half:] = one[:, :half]
        return answer

    return wrong


def smaller_detection(answer: list[Any]) -> list[Any]:
    answer[0][0, answer[1].argmax(), 2:] *= 0.8
    return answer


def swap_actions(actions: Any) -> Any:
    order = np.arange(actions.shape[2])
    order[[4, 9]] = order[[9, 4]]
    return actions[:, :, order]


WRONG = {
    "actor logits + 7": on_output(1, lambda actor: actor + 7),
    "actor logits + 2": on_output(1, lambda actor: actor + 2),
    "actor logits + 1": on_output(1, lambda actor: actor + 1),
    "actor logits - 1": on_output(1, lambda actor: actor - 1),
    "action logits + 1": on_output(2, lambda actions: actions + 1),
    "actor logits negated": on_output(1, lambda actor: -actor),
    "probabilities in place of logits": on_output(1, lambda actor: 1 / (1 + np.exp(-actor))),
    "actions moved by a class": on_output(2, lambda actions: np.roll(actions, 1, axis=2)),
    "two actions exchanged": on_output(2, swap_actions),
    "boxes yxhw": on_output(0, lambda boxes: boxes[..., [1, 0, 3, 2]]),
    "boxes as corners": on_output(
        0, lambda b: np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)
    ),
    "boxes moved a little": on_output(0, lambda boxes: boxes + np.float32([0, 0.02, 0, 0])),
    "boxes too small": on_output(0, lambda boxes: boxes * np.float32([1, 1, 0.9, 0.9])),
    "a detection too small": lambda run: lambda clip: smaller_detection(parts(run(clip))),
    "boxes moved": on_output(0, lambda boxes: boxes + np.float32([0.03, 0, 0, 0])),
    "one NaN": on_output(0, lambda boxes: np.where(np.arange(4) == 2, np.nan, boxes)),
    "nothing": lambda run: lambda clip: [np.zeros_like(one) for one in parts(run(clip))],
    "the clip before": stale,
    "half of the tokens twice": half_of_the_tokens,
    "colours exchanged": on_input(lambda clip: clip[:, :, ::-1]),
    "rows and columns exchanged": on_input(lambda clip: clip.swapaxes(-1, -2)),
    "frames backwards": on_input(lambda clip: clip[:, ::-1]),
    "one frame late": on_input(lambda clip: np.concatenate([clip[:, :1], clip[:, :-1]], 1)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_engine_is_refused(case: Case, name: str) -> None:
    verdict = case.check(WRONG[name](case.run))
    assert verdict.fault is not None


def test_an_engine_that_does_not_look_at_its_input_is_refused(case: Case) -> None:
    verdict = case.check(lambda clip: [one[None] for one in case.recorded])
    assert verdict.fault == "the answer to a black clip is the same"


def test_the_weights_of_another_model_are_refused(case: Case) -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(case.recorded[1].shape[0])
    verdict = case.check(lambda clip: [np.asarray(one)[:, order] for one in case.run(clip)])
    assert verdict.fault is not None


def test_the_engine_itself_passes_far_from_the_limit(case: Case) -> None:
    verdict = case.check(case.run)
    assert verdict.fault is None
    assert verdict.share < 0.8


@pytest.mark.parametrize("seed", range(4))
def test_rounding_that_goes_another_way_passes(case: Case, seed: int) -> None:
    # A level more or less in one of a thousand values changes int8 roundings in all layers.
    rng = np.random.default_rng(seed)
    step = 1 / 255 / 0.226
    noise = (rng.random(case.clip.shape) < 0.001) * rng.choice([-step, step], case.clip.shape)
    verdict = case.check(lambda clip: case.run((clip + noise).astype(np.float32)))
    assert verdict.fault is None
