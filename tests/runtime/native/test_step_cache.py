"""Clips that overlap share their steps: the same answers, and the stem runs for new steps only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.engine import load_engine
from runtime.errors import ConfigError
from runtime.runner import ClipRunner

_native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")

FRAMES, SIZE = 4, 32  # of tests/runtime/make_tiny_program.py; a step has two frames


@pytest.fixture
def buffer() -> Any:
    return new_buffer()


def new_buffer() -> Any:
    preprocess = _native.Preprocess(SIZE, SIZE, [0.45] * 3, [0.225] * 3)
    return _native.ClipBuffer(preprocess, FRAMES)


def pictures(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield random.integers(0, 256, (24, 40, 3), dtype=np.uint8)


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("stride", "shares", "per_clip"),
    [
        pytest.param(1, True, 1, id="by-samples"),
        pytest.param(2, True, 1, id="by-steps"),
        pytest.param(3, False, 0, id="between-steps"),
        pytest.param(4, False, 0, id="no-overlap"),
        pytest.param(0, False, 0, id="unrelated"),
    ],
)
def test_stem_runs_for_new_steps_only(
    tiny_program: Any, buffer: Any, stride: int, shares: bool, per_clip: int
) -> None:
    whole = _native.Engine(str(tiny_program.path))
    engine = _native.Engine(str(tiny_program.path), stride=stride)
    assert engine.shares_steps is shares
    runs = []
    for index, picture in enumerate(pictures(24)):
        buffer.push(picture)
        if not buffer.full or (index + 1 - FRAMES) % max(1, stride):
            continue
        before = engine.stem_runs
        assert_equal(engine(buffer.clip(), buffer.first), whole(buffer.clip()))
        runs.append(engine.stem_runs - before)
    if not shares:
        assert set(runs) == {0}
        return
    # The first clips have nothing to share: with a stride of one, of either parity.
    assert runs[0] == FRAMES // 2
    assert set(runs[2:]) == {per_clip}


def test_clip_without_a_number_is_computed_whole(tiny_program: Any) -> None:
    engine = _native.Engine(str(tiny_program.path), stride=2)
    for _ in range(3):
        assert_equal(engine(tiny_program.clip), tiny_program.outputs)
    assert engine.stem_runs == 3 * FRAMES // 2


def test_nothing_is_shared_across_a_flush(tiny_program: Any, buffer: Any) -> None:
    whole = _native.Engine(str(tiny_program.path))
    engine = _native.Engine(str(tiny_program.path), stride=2)
    for seed in range(3):
        for picture in pictures(FRAMES, seed):
            buffer.push(picture)
        assert_equal(engine(buffer.clip(), buffer.first), whole(buffer.clip()))
        buffer.flush()
    assert engine.stem_runs == 3 * FRAMES // 2


def test_nothing_is_shared_between_buffers(tiny_program: Any) -> None:
    whole = _native.Engine(str(tiny_program.path))
    engine = _native.Engine(str(tiny_program.path), stride=2)
    for seed in range(3):
        buffer = new_buffer()
        for picture in pictures(FRAMES, seed):
            buffer.push(picture)
        assert_equal(engine(buffer.clip(), buffer.first), whole(buffer.clip()))


def test_repeated_samples_are_samples(tiny_program: Any, buffer: Any) -> None:
    whole = _native.Engine(str(tiny_program.path))
    engine = _native.Engine(str(tiny_program.path), stride=2)
    for index, picture in enumerate(pictures(16)):
        if index % 3 == 2:
            buffer.repeat()
        else:
            buffer.push(picture)
        if buffer.full:
            assert_equal(engine(buffer.clip(), buffer.first), whole(buffer.clip()))


def test_serial_numbers_go_on_after_a_flush(buffer: Any) -> None:
    for picture in pictures(FRAMES):
        buffer.push(picture)
    start = buffer.first
    buffer.push(next(pictures(1)))
    assert buffer.first == start + 1
    buffer.flush()
    assert buffer.first == start + 1 + FRAMES


def test_steps_survive_another_number_of_threads(tiny_program: Any, buffer: Any) -> None:
    engine = _native.Engine(str(tiny_program.path), stride=2)
    before = engine.num_threads
    for picture in pictures(FRAMES):
        buffer.push(picture)
    first = engine(buffer.clip(), buffer.first)
    try:
        _native.Engine(str(tiny_program.path), 1)
        assert_equal(engine(buffer.clip(), buffer.first), first)
    finally:
        _native.Engine(str(tiny_program.path), before)
    assert engine.stem_runs == FRAMES // 2


def test_program_without_the_methods_runs_whole(whole_program: Any) -> None:
    engine = _native.Engine(str(whole_program.path), stride=2)
    assert not engine.shares_steps
    assert_equal(engine(whole_program.clip, 0), whole_program.outputs)


def test_silly_stride_is_refused(tiny_program: Any) -> None:
    with pytest.raises(ConfigError, match="stride is -1 samples, expected 0 or more"):
        _native.Engine(str(tiny_program.path), stride=-1)


def test_reason_says_that_steps_are_shared(make_bundle: Any) -> None:
    bundle = Bundle.load(make_bundle())
    assert load_engine(bundle, stride=2).reason.endswith("overlapping clips share their steps")
    assert "share" not in load_engine(bundle).reason


def test_runner_gives_the_same_results_either_way(make_bundle: Any, tmp_path: Any) -> None:
    import cv2

    for index, picture in enumerate(pictures(40)):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), picture)
    folder = make_bundle()
    found = {}
    for stride in (2, 4):  # steps are shared with the first only
        with ClipRunner(folder, stride=stride * Bundle.load(folder).spec.clip.sampling_rate) as one:
            assert one.engine.program.shares_steps is (stride == 2)
            found[stride] = {r.frame: r.to_dict() for r in one.stream(tmp_path)}
    common = set(found[2]) & set(found[4])
    assert len(common) >= 3
    for frame in common:
        one, other = (dict(found[stride][frame], latency_ms=0) for stride in (2, 4))
        assert one == other
