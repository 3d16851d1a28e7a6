"""The peer is what was published, its boxes are right, and both methods are measured alike."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks._engines import artifact, engine_named
from benchmarks._harness import Job, Measured, measure
from benchmarks._loop import STAGES
from benchmarks._pipelines import (
    ClipQueue,
    FrameCapture,
    Grid,
    YOWOv2,
    decode_cells,
    fix_candidates,
    scores,
)
from benchmarks.methods import PEER, MethodOptions, best_peer, decoded_frames, shape_of, table
from runtime.errors import ConfigError, DecodeError

STRIDES = (8, 16, 32)
SIZE = 64
GRID = Grid.of(SIZE, STRIDES)
CELLS = 64 + 16 + 4
NOTHING = -20.0

Logits = npt.NDArray[np.float32]


def _outputs(
    *cells: tuple[int, float, int, tuple[float, float, float, float]], classes: int = 3
) -> tuple[Logits, Logits, Logits]:
    """Return outputs where only the given cells (cell, logit, class, box offsets) stand out."""
    conf = np.full(CELLS, NOTHING, np.float32)
    kinds = np.full((CELLS, classes), NOTHING, np.float32)
    box = np.zeros((CELLS, 4), np.float32)
    for cell, logit, kind, offsets in cells:
        conf[cell], kinds[cell, kind], box[cell] = logit, 20.0, offsets
    return conf, kinds, box


def _decode(outputs: tuple[Logits, Logits, Logits], **kwargs: Any) -> Any:
    return decode_cells(
        *outputs, grid=GRID, **{"threshold": 0.5, "size_wh": (SIZE, SIZE), **kwargs}
    )


def test_peer_has_the_published_size_and_work() -> None:
    pytest.importorskip("torch")
    from benchmarks import _yowov2 as yowov2
    from edge.model.complexity import count

    model = yowov2.YOWOv2Nano(yowov2.PUBLISHED_CLASSES)
    whole = count(model, (1, yowov2.NUM_FRAMES, 3, yowov2.SIZE, yowov2.SIZE))
    assert round(whole.params / 1e6, 1) == yowov2.PUBLISHED_MPARAMS
    # The published figure is 1.3 and counts norms and poolings, too.
    assert whole.macs / 1e9 == pytest.approx(yowov2.PUBLISHED_GMAC, rel=0.06)
    assert whole.gflops == pytest.approx(2.47, abs=0.005)


@pytest.mark.parametrize(("size", "cells"), [(64, CELLS), (96, 144 + 36 + 9)])
def test_peer_answers_for_each_cell(size: int, cells: int) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks._yowov2 import YOWOv2Nano

    model = YOWOv2Nano(5).eval()
    with torch.no_grad():
        conf, classes, box = model(torch.rand(1, 16, 3, size, size) * 255)
    assert (conf.shape, classes.shape, box.shape) == ((1, cells), (1, cells, 5), (1, cells, 4))
    assert Grid.of(size, STRIDES).ends[-1] == cells


@pytest.fixture(scope="module")
def small_peer() -> Any:
    """Return the network for clips of 64 x 64 pixels, and one of those its norms come from."""
    torch = pytest.importorskip("torch")
    from benchmarks._yowov2 import random_yowov2

    clips = [torch.from_numpy(clip) for clip in _clips(decoded_frames((64, 48), 20), 4)]
    return random_yowov2(3, clips, seed=1), clips


def test_peer_sees_motion_and_its_keyframe_is_the_newest(small_peer: Any) -> None:
    import torch

    model, clips = small_peer
    clip, seen = clips[0], []
    hook = model.detector.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        before = model(clip)[1]
        after = model(torch.cat([clip[:, :15].flip(1), clip[:, 15:]], dim=1))[1]
    hook.remove()
    assert torch.equal(seen[0], clip[:, -1])
    assert (before - after).abs().max() > 1e-3


def test_random_weights_are_the_same_each_time_and_cells_differ(small_peer: Any) -> None:
    import torch

    from benchmarks._yowov2 import random_yowov2

    model, clips = small_peer
    state = torch.random.get_rng_state()
    again = random_yowov2(3, clips, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        conf, classes, box = model(clips[0])
        assert torch.equal(again(clips[0])[0], conf)
    assert conf.std() > 0.3
    assert classes.std() > 0.3
    assert box.exp().isfinite().all()


def test_queue_hands_out_the_newest_frames_in_order() -> None:
    queue = ClipQueue(4, 8)
    for value in range(1, 7):
        frame = np.empty((12, 16, 3), np.uint8)
        frame[:] = (value, 10 + value, 20 + value)  # blue, green, red
        queue.push(frame)
    clip = queue.clip()
    assert clip.shape == (1, 4, 3, 8, 8)
    assert clip.flags.c_contiguous
    assert clip.dtype == np.float32
    assert clip[0, :, :, 0, 0].tolist() == [[20.0 + v, 10.0 + v, v] for v in (3, 4, 5, 6)]


def test_cells_lie_by_rows_and_levels() -> None:
    assert GRID.ends == (64, 80, 84)
    assert GRID.centre[[0, 1, 8, 64, 80, 83]].tolist() == [
        [4, 4], [12, 4], [4, 12], [8, 8], [16, 16], [48, 48]
    ]  # fmt: skip
    assert GRID.stride[[0, 64, 80], 0].tolist() == [8, 16, 32]


def test_box_of_a_cell() -> None:
    wide = float(np.log(2.0))
    found = _decode(_outputs((64, 4.0, 2, (0.5, 0.0, wide, 0.0))), size_wh=(640, 320))
    # Centre (8 + 8, 8), 32 x 16 pixels of 64, then of 640 x 320.
    np.testing.assert_allclose(found.xyxy, [[0.0, 0.0, 320.0, 80.0]], atol=1e-3)
    assert found.label.tolist() == [2]
    assert found.score[0] == pytest.approx((1 / (1 + np.exp(-4.0))) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        pytest.param((10, 3.0, 0, (-1.0, 0.0, 1.0, 1.0)), 1, id="double of one class"),
        pytest.param((10, 3.0, 1, (-1.0, 0.0, 1.0, 1.0)), 2, id="same place, other class"),
        pytest.param((60, 3.0, 0, (0.0, 0.0, 1.0, 1.0)), 2, id="other place"),
        pytest.param((60, -3.0, 0, (0.0, 0.0, 1.0, 1.0)), 1, id="below the threshold"),
    ],
)
def test_doubles_go(second: tuple[Any, ...], kept: int) -> None:
    found = _decode(_outputs((9, 4.0, 0, (0.0, 0.0, 1.0, 1.0)), second))
    assert len(found.xyxy) == kept
    assert found.score[0] == found.score.max()


def test_nothing_above_the_threshold_is_no_box() -> None:
    found = _decode(_outputs())
    assert found.xyxy.shape == (0, 4)
    assert (len(found.score), len(found.label), found.candidates) == (0, 0, 0)


def test_a_level_keeps_its_best_candidates_only() -> None:
    # Far apart boxes of one pixel: nothing is suppressed.
    small = (0.0, 0.0, -2.0, -2.0)
    cells = [(cell, 1.0 + cell / 64, 0, small) for cell in range(64)] + [(64, 1.0, 0, small)]
    found = _decode(_outputs(*cells), top_k=5)
    assert found.candidates == 6
    best = (1 / (1 + np.exp(-np.array([1 + c / 64 for c in (63, 62, 61, 60, 59)])))) ** 0.5
    np.testing.assert_allclose(np.sort(found.score)[::-1][:5], best, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_decoding_equals_the_plain_way(seed: int) -> None:
    random = np.random.default_rng(seed)
    conf = random.normal(-1, 2, CELLS).astype(np.float32)
    classes = random.normal(0, 2, (CELLS, 3)).astype(np.float32)
    box = random.normal(0, 0.4, (CELLS, 4)).astype(np.float32)
    found = _decode((conf, classes, box), threshold=0.6)
    expected = _plain(conf, classes, box, threshold=0.6)
    assert len(found.xyxy) == len(expected) > 3
    order = np.lexsort((found.label, -found.score))
    rows = np.column_stack([found.xyxy, found.score, found.label])[order]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-3)


def _plain(conf: Logits, classes: Logits, box: Logits, *, threshold: float) -> Logits:
    """Decode cell by cell and class by class; rows are x1 y1 x2 y2 score class, best first."""
    every = scores(conf, classes)
    rows: list[list[float]] = []
    for kind in range(classes.shape[1]):
        kept: list[list[float]] = []
        for cell in np.argsort(-every[:, kind]):
            if every[cell, kind] <= threshold:
                break
            x, y = GRID.centre[cell] + box[cell, :2] * GRID.stride[cell]
            w, h = np.exp(box[cell, 2:]) * GRID.stride[cell]
            row = [x - w / 2, y - h / 2, x + w / 2, y + h / 2, every[cell, kind], kind]
            if all(_iou(row, other) <= 0.5 for other in kept):
                kept.append(row)
        rows += kept
    rows.sort(key=lambda row: (-row[4], row[5]))
    found = np.array(rows, np.float32)
    found[:, :4] = found[:, :4].clip(0, SIZE)
    return found


def _iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if min(width, height) <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def test_capture_gives_frames_over_and_over_in_time() -> None:
    import cv2

    frames = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)
    capture = FrameCapture(frames, 7.5)
    values, times = [], []
    for _ in range(4):
        assert capture.grab()
        values.append(int(capture.retrieve()[1].max()))
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    assert values == [0, 1, 2, 0]
    assert times == pytest.approx([0.0, 1e3 / 7.5, 2e3 / 7.5, 3e3 / 7.5])
    assert capture.get(cv2.CAP_PROP_FPS) == 7.5


def test_threshold_lets_the_wanted_number_through() -> None:
    random = np.random.default_rng(3)
    answers = itertools.cycle(
        [
            (
                random.normal(-3, 2, (1, CELLS)).astype(np.float32),
                random.normal(0, 2, (1, CELLS, 4)).astype(np.float32),
                random.normal(0, 0.3, (1, CELLS, 4)).astype(np.float32),
            )
            for _ in range(8)
        ]
    )
    frames = random.integers(0, 255, (2, 30, 40, 3), np.uint8)
    pipeline = YOWOv2(
        lambda clip: next(answers), frames,
        new_frames=2, num_frames=4, size=SIZE, strides=STRIDES,
    )  # fmt: skip
    facts = fix_candidates(pipeline, 12)
    assert 0 < facts["threshold"] < 1
    assert 6 <= facts["candidates"] <= 24
    assert 0 < facts["detections"] <= facts["candidates"]
    result = next(pipeline.results())
    assert set(result.stages_ms) == set(STAGES)
    assert sum(result.stages_ms.values()) == pytest.approx(result.total_ms)


def test_scores_that_are_no_numbers_are_refused() -> None:
    nan = np.full((1, CELLS), np.nan, np.float32)
    pipeline = YOWOv2(
        lambda clip: (nan, nan[..., None], nan[..., None]), np.zeros((1, 8, 8, 3), np.uint8),
        new_frames=1, num_frames=2, size=SIZE, strides=STRIDES,
    )  # fmt: skip
    with pytest.raises(DecodeError, match="nan"):
        fix_candidates(pipeline, 5)


def _clips(frames: npt.NDArray[np.uint8], count: int) -> list[Logits]:
    queue = ClipQueue(16, SIZE)
    for frame in frames[:16]:
        queue.push(frame)
    clips = []
    for frame in frames[16 : 16 + count]:
        queue.push(frame)
        clips.append(queue.clip().copy())
    return clips


def test_all_are_measured_from_frames_to_detections(
    tiny_checkpoint: Path, int8_program: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks._networks import Clips, Network
    from benchmarks._yowov2 import random_yowov2
    from edge.model.checkpoint import load_checkpoint

    frames = decoded_frames((64, 48), 20)
    np.save(tmp_path / "frames.npy", frames)
    clips = _clips(frames, 4)
    peer = Network(
        PEER,
        random_yowov2(3, [torch.from_numpy(clip) for clip in clips], seed=0),
        Clips(calibration=tuple(clips), held_out=tuple(clips[:1]), videos=tmp_path, origin="drawn"),
    )
    program = artifact(peer, engine_named("torch-fp32"), tmp_path)
    tiny = Network("tiny", load_checkpoint(tiny_checkpoint).model, peer.clips)
    common = {"kind": "pipeline", "frames": str(tmp_path / "frames.npy"), "new_frames": 2,
              "candidates": 3}  # fmt: skip
    jobs = [
        Job(key=("tiny", "xnnpack-int8"), content={
            **common, "engine": "xnnpack-int8", "path": str(int8_program), "network": None}),
        Job(key=(PEER, "torch-fp32"), content={
            **common, "engine": "torch-fp32", "path": str(program), "network": shape_of(peer)}),
        Job(key=("tiny", "torch-fp32"), content={
            **common, "engine": "torch-fp32", "path": str(tiny_checkpoint),
            "network": shape_of(tiny)}),
        Job(key=("broken", "xnnpack-int8"), content={
            **common, "engine": "xnnpack-int8", "path": str(tmp_path / "absent" / "x.pte"),
            "network": None}),
    ]  # fmt: skip
    measured = measure(jobs, threads=1, rounds=2, turn_ms=1.0)
    for job in jobs[:3]:
        taken = measured[job.key]
        assert not taken.failure
        assert len(taken.rounds) == 2
        count = sum(map(len, taken.rounds))
        assert count >= 10
        assert all(len(taken.stages[name]) == count for name in STAGES)
        assert 0 < taken.stage_ms("network") <= taken.median_ms <= taken.p95_ms
        assert taken.facts["candidates"] >= 1
        assert taken.peak_mb > 0
    assert "absent" in measured["broken", "xnnpack-int8"].failure


def _measured(ms: float) -> Measured:
    stages = {name: [part] for name, part in zip(STAGES, (0.2, ms - 1, 0.05), strict=True)}
    return Measured(rounds=[[ms]], stages=stages, peak_mb=100.0)


def test_the_peer_is_held_against_us_in_its_best_engine() -> None:
    found = {
        ("nano", "xnnpack-int8"): _measured(8.0),
        ("pico", "xnnpack-int8"): _measured(2.0),
        (PEER, "onnxruntime-int8"): _measured(32.0),
        (PEER, "openvino-int8"): _measured(16.0),
    }
    assert best_peer(found) == [
        "- nano int8 / YOWOv2-Nano in its best engine (openvino-int8): 0.50"
    ]
    assert best_peer({("nano", "xnnpack-int8"): _measured(8.0)}) == []


def test_table_has_a_line_for_each_row() -> None:
    found = {("nano", "xnnpack-int8"): _measured(8.0), (PEER, "torch-fp32"): _measured(16.0)}
    header, own, peer, absent = table(found, {(PEER, "openvino-bf16"): "no"}, {"nano": 1, PEER: 2})
    assert len(header) == len(own) == len(peer) == len(absent)
    assert own[2:9] == ["0.20 ms", "7.00 ms", "0.05 ms", "8.00 ms", "8.00 ms", "125", "-"]
    assert peer[8] == "0.50"
    assert absent[2] == "not measured"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"new_frames": 0}, "new-frames is 0", id="no new frame"),
        pytest.param({"size": (640,)}, "size is", id="half a size"),
        pytest.param({"turn_ms": -1.0}, "turn-ms is", id="no time"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MethodOptions(**values)  # type: ignore[arg-type]
