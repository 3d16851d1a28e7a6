"""The row of YOWOv2-Nano: trained on the same videos, judged at the same keyframes, measured."""

from __future__ import annotations

import io
import json
import logging
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._engines import ENGINES, Run, artifact, engine_named, load
from benchmarks._method_clips import EndingClips
from benchmarks._method_cost import Work
from benchmarks._method_data import NumberedKeyframes, SparseKeyframes, jhmdb
from benchmarks._method_judging import judged
from benchmarks._method_options import TableOptions
from benchmarks._method_rows import Row
from benchmarks._networks import Clips, Network
from benchmarks._pipelines import Boxes, Grid, decode_cells
from benchmarks._yowov2 import CLIP_SHAPE, NUM_FRAMES, SIZE, STRIDES, YOWOv2Nano
from benchmarks._yowov2_training import PeerBudget, fresh_yowov2, train_yowov2
from edge.evaluation.decode_errors import EvalClip, read_clip
from edge.model.complexity import count
from runtime.decode import Detections
from runtime.outputs import write_atomically
from runtime.types import ClipSpec, Progress

logger = logging.getLogger(__name__)

# Least score of a detection in its published evaluation on videos of single actions.
LEAST_SCORE = 0.005
FAMILIES = ("onnxruntime", "openvino")
_CLASSES = 21
_CALIBRATION = 16
_SPEC = ClipSpec(num_frames=NUM_FRAMES, sampling_rate=1, fps=30.0, height=SIZE, width=SIZE)


def run_peer(options: TableOptions, row: Row, seed: int, progress: Progress | None) -> None:
    """Train a run, unless its weights are there, judge it, and keep both."""
    file = options.result_file(row, seed)
    weights = file.with_suffix(".pt")
    if not weights.exists():
        _train(options, row, seed, progress)
    loaded = torch.load(weights, weights_only=True)
    model = YOWOv2Nano(_CLASSES).eval()
    model.load_state_dict(loaded["weights"])

    @torch.inference_mode()
    def run(clip: Any) -> list[Any]:
        return [output.numpy() for output in model(torch.from_numpy(clip))]

    content = {**loaded["run"], "judged": {"": judge_peer(run, keyframes_of(options))}}
    write_atomically(file, json.dumps(content, indent=1) + "\n")


def _train(options: TableOptions, row: Row, seed: int, progress: Progress | None) -> None:
    file = options.result_file(row, seed)
    videos = jhmdb(Path(options.jhmdb), _SPEC, part="train")
    data = EndingClips(videos, NUM_FRAMES, SIZE, augment=True, seed=seed)
    budget = PeerBudget(steps=options.steps_of(row), batch=options.batch)
    kept = file.with_suffix(".state.pt")
    trained, losses, cpu_s = train_yowov2(
        fresh_yowov2(_CLASSES, seed), data, budget, seed=seed, kept=kept, progress=progress
    )
    content = {
        "row": row.name, "seed": seed, "steps": budget.steps, "batch": budget.batch,
        "train_clips": len(data), "loss_first": losses[0],
        "loss_last": statistics.fmean(losses[-10:]), "cpu_s": cpu_s,
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save({"weights": trained.state_dict(), "run": content}, buffer)
    write_atomically(file.with_suffix(".pt"), buffer.getbuffer())
    kept.unlink(missing_ok=True)


def keyframes_of(options: TableOptions) -> NumberedKeyframes:
    """Return the keyframes that all rows are judged at, in clips of YOWOv2's form."""
    videos = jhmdb(Path(options.jhmdb), _SPEC, part="test-annotated")
    chosen = SparseKeyframes(videos).chosen
    return NumberedKeyframes(EndingClips(videos, NUM_FRAMES, SIZE), sorted(chosen))


def judge_peer(run: Run, data: NumberedKeyframes) -> dict[str, Any]:
    """Return frame-mAP, video-mAP and actor AP of a network, its decoding and NMS included.

    Args:
        run: Turns a clip (1, T, 3, S, S), 0 to 255, into the outputs of `YOWOv2Nano.forward`.
        data: The test clips.
    """
    return judged(data, _results(run, data))


def _results(run: Run, data: NumberedKeyframes) -> Iterator[tuple[EvalClip, Detections]]:
    grid: Grid | None = None
    for index in range(len(data)):
        clip = read_clip(data, index)
        frames = clip.sample.frames_rgb
        if clip.reason:
            yield clip, tokens_of_boxes(None, len(data.class_names))
            continue
        grid = grid or Grid.of(frames.shape[1], STRIDES)
        conf, classes, box = run(frames.transpose(0, 3, 1, 2)[None].astype(np.float32))
        found = decode_cells(
            conf[0], classes[0], box[0], grid=grid, threshold=LEAST_SCORE, size_wh=(1, 1)
        )
        yield clip, tokens_of_boxes(found, len(data.class_names))


def tokens_of_boxes(found: Boxes | None, num_classes: int) -> Detections:
    """Return detections of one class each as tokens: a box has the scores of all its classes.

    The product of p(actor) and p(action) is the detection's score, and 0 for a class in which the
    box was not kept.
    """
    if found is None or not len(found.score):
        return Detections(
            xyxy=np.zeros((0, 4), np.float32), actor=np.zeros(0, np.float32),
            actions=np.zeros((0, num_classes), np.float32), token=np.zeros(0, np.int64),
        )  # fmt: skip
    xyxy, at = np.unique(found.xyxy, axis=0, return_inverse=True)
    score = np.zeros((len(xyxy), num_classes), np.float32)
    np.maximum.at(score, (at.reshape(-1), found.label), found.score.astype(np.float32))
    actor = score.max(axis=1)
    order = np.argsort(-actor, kind="stable")
    return Detections(
        xyxy=xyxy[order], actor=actor[order], actions=(score / actor[:, None])[order],
        token=order.astype(np.int64),
    )  # fmt: skip


def work_of_peer(num_classes: int) -> Work:
    """Count the network on one clip; nothing of it is a stem that another network shares."""
    whole = count(YOWOv2Nano(num_classes), CLIP_SHAPE)
    return Work(params=whole.params, macs=whole.macs, trunk_macs=whole.macs)


def peer_programs(options: TableOptions, row: Row) -> dict[str, Path]:
    """Lower the network of the first run, or one of random weights, for every engine there is."""
    data = keyframes_of(options)
    chosen = range(0, len(data), max(1, len(data) // _CALIBRATION))
    clips = tuple(
        data[index].frames_rgb.transpose(0, 3, 1, 2)[None].astype(np.float32) for index in chosen
    )
    weights = options.result_file(row, 0).with_suffix(".pt")
    model = fresh_yowov2(_CLASSES, 0)
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True)["weights"])
    network = Network(
        row.name, model.eval(),
        Clips(calibration=clips, held_out=clips[:1], videos=Path(options.jhmdb), origin="jhmdb"),
    )  # fmt: skip
    found: dict[str, Path] = {}
    for engine in ENGINES:
        if engine.family not in FAMILIES:
            continue
        made = artifact(network, engine, options.folder / "artifacts")
        if isinstance(made, str):
            logger.warning("%s, %s: %s", row.name, engine.name, made)
        else:
            found[engine.name] = made
    return found


def cost_of_peer(
    times: Mapping[str, list[float] | None], programs: Mapping[str, Path]
) -> dict[str, Any]:
    """Return what the row costs in its fastest engine; overlapping clips share nothing in it.

    Args:
        times: The median of each round, milliseconds, by engine; None where it was not measured.
        programs: What each engine runs.
    """
    medians = {name: statistics.median(ms) for name, ms in times.items() if ms}
    if not medians:
        return {}
    best = min(medians, key=lambda name: medians[name])
    files = [programs[best], programs[best].with_suffix(".bin")]
    return {
        "rounds_ms": times[best], "live_ms": times[best], "engine": best, "engines_ms": medians,
        "bytes": sum(file.stat().st_size for file in files if file.exists()),
    }  # fmt: skip


def judge_engine(options: TableOptions, row: Row, engine: str | None) -> None:
    """Judge what the fastest engine runs of the first run, once, and keep the result with it."""
    file = options.result_file(row, 0)
    if engine is None or not file.exists():
        return
    content = json.loads(file.read_text("utf-8"))
    if content.get("engine") == engine:
        return
    program = peer_programs(options, row)[engine]
    result = judge_peer(load(program, engine_named(engine), 1), keyframes_of(options))
    name = "int8" if "int8" in engine else "in_engine"
    content = {key: value for key, value in content.items() if key not in ("int8", "in_engine")}
    content |= {"engine": engine, name: result}
    write_atomically(file, json.dumps(content, indent=1) + "\n")
