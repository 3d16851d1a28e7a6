"""Judge a row of a table: on kept features in torch, and on frames in the runtime that ships."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks._method_data import (
    MOST_PEOPLE,
    KeptTest,
    NumberedKeyframes,
    PeopleBoxes,
    clip_name,
)
from benchmarks._method_training import slices_of
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation.clip_tubes import clip_tubes
from edge.evaluation.decode_errors import EvalClip
from edge.evaluation.evaluator import Evaluator, RunClips, by_engine, run_clips, tokens_of
from edge.evaluation.linking import TubeConfig
from edge.evaluation.protocols import TUBES
from edge.model.baselines import TwoStage
from edge.model.bmvit import BMViT
from edge.training.features import FeatureAbout
from edge.training.targets import collate
from export.executorch import native_engine
from runtime.decode import Detections
from runtime.types import ClipSpec, Outputs


def judge(
    model: BMViT,
    data: KeptTest,
    about: FeatureAbout,
    *,
    boxes: PeopleBoxes | None = None,
    batch: int = 32,
) -> dict[str, Any]:
    """Return frame-mAP, video-mAP and actor AP of a model on kept features.

    Args:
        model: In eval mode.
        data: The test clips.
        about: What the features are.
        boxes: Of each clip, for a two-stage model.
        batch: Clips that run together.
    """
    run = _runner(model, about, boxes, data)
    return judged(data, _results(run, data, people=boxes is not None, batch=batch))


def judge_program(path: Path, data: KeptTest, spec: ClipSpec) -> dict[str, Any]:
    """Return the same of an XNNPACK program, run by the native runtime on the frames of the clips.

    Args:
        path: The program; one of two stages has its boxes inside and cannot be judged.
        data: The test clips.
        spec: Size and normalisation of a clip.
    """
    engine = native_engine()(str(path), 1, 0)
    by_frames = by_engine(lambda clip: Outputs(*engine(clip)), spec)
    at = {clip_name(data, index): index for index in range(len(data))}

    def run(samples: Sequence[ClipSample]) -> Sequence[Outputs]:
        return by_frames([data.with_frames(at[sample.clip_id]) for sample in samples])

    return judged(data, _results(run, data, people=False, batch=8))


def judged(
    data: NumberedKeyframes, results: Iterable[tuple[EvalClip, Detections]]
) -> dict[str, Any]:
    """Return the same of whatever a method says of each clip.

    Args:
        data: The test clips.
        results: Each clip with its tokens, boxes in [0, 1].
    """
    evaluator = Evaluator(data)
    clips: list[EvalClip] = []
    found = []
    for clip, tokens in results:
        evaluator.add(clip.index, clip.sample, tokens)
        bare = replace(clip.sample, frames_rgb=clip.sample.frames_rgb[:0], features=None)
        clips.append(replace(clip, sample=bare, outputs=None))
        found.append(tokens)
    result = evaluator.result()
    places = [data.place(index) for index in range(len(data))]
    tubes, _, _ = clip_tubes(
        clips, found, places, data.tubes(), class_names=data.class_names, protocol=TUBES,
        config=TubeConfig(min_frames=1),
    )  # fmt: skip
    content = tubes.content()
    return {
        "frame_map": result["frame_map"],
        "actor_ap": result["actor_ap"],
        "video_map": content["video_map"],
        "clips": len(data),
    }


def _results(
    run: RunClips, data: KeptTest, *, people: bool, batch: int
) -> Iterator[tuple[EvalClip, Detections]]:
    for clip in run_clips(data, run, range(len(data)), batch=batch):
        tokens = tokens_of(clip)
        yield clip, tokens_with_people(tokens) if people else tokens


def tokens_with_people(tokens: Any) -> Any:
    """Leave out rows whose box has no area: the detector found fewer people."""
    xyxy = tokens.xyxy
    there = ((xyxy[:, 2:] - xyxy[:, :2]) > 1e-6).all(axis=1)
    return replace(
        tokens, xyxy=xyxy[there], actor=tokens.actor[there], actions=tokens.actions[there],
        token=tokens.token[there],
    )  # fmt: skip


def _runner(
    model: BMViT, about: FeatureAbout, boxes: PeopleBoxes | None, data: ClipDataset
) -> RunClips:
    at = {} if boxes is None else {data[index].clip_id: index for index in range(len(data))}

    @torch.no_grad()
    def run(samples: Sequence[ClipSample]) -> list[Outputs]:
        part = collate(samples)
        assert part.scales is not None
        slices = slices_of(model, part.frames, part.scales, about)
        if isinstance(model, TwoStage):
            assert boxes is not None, "a two-stage model needs boxes"
            rows = [at[sample.clip_id] for sample in samples]
            xyxy, scores = (torch.from_numpy(one[rows]) for one in (boxes.xyxy, boxes.scores))
            outputs = model.triplets_of(slices, xyxy, scores)
            assert outputs["pred_actor"].shape[1] == MOST_PEOPLE
        else:
            outputs = model.triplets(slices)
        parts = (
            outputs[name].float().numpy() for name in ("pred_boxes", "pred_actor", "pred_actions")
        )
        return list(map(Outputs, *parts))

    return run
