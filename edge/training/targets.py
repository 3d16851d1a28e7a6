"""Who is to be found in each clip, as the criterion wants it, and clips as the model wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from edge.data.samples import F32, ClipSample
from edge.model.bmvit import BMViTConfig
from edge.training.boxes import xyxy_to_cxcywh
from runtime.errors import ConfigError
from runtime.preprocess import normalize


class OptionalTarget(TypedDict, total=False):
    """What most clips have not; without masks, every label of a clip is known."""

    label_mask: Tensor
    """(M, C) bool, as in `ClipSample`."""
    bag_id: Tensor
    """(M, C) int64, as in `ClipSample`."""
    ignored: Tensor
    """(I, 4) float32, cxcywh in [0, 1]: people who are neither actors nor background."""


class ClipTarget(OptionalTarget):
    """The actors of one clip at its keyframe."""

    boxes: Tensor
    """(M, 4) float32, cxcywh in [0, 1]."""
    labels: Tensor
    """(M, C) float32, 1 for each action that the person does."""
    clip_id: str
    """Which clip, for messages."""


class Batch(NamedTuple):
    """Clips as bytes, (B, T, H, W, 3) uint8 RGB, and their targets.

    Or, with `scales` (B, channels), a frozen stem's features of them, int8 (B, K).
    """

    frames: Tensor
    targets: list[ClipTarget]
    scales: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedTargets:
    """Targets of a batch in one padded block, so that a device handles all clips at once.

    Attributes:
        boxes: (B, M, 4) float32, cxcywh; M is the largest number of people, padded with zeros.
        labels: (B, M, C) float32.
        counts: People of each clip, on the host.
        clip_ids: One name per clip.
        label_mask: (B, M, C) bool, whether a label is known; None where all of the batch are.
        bag_id: (B, M, C) int64, numbers from 0 that tell the bags of all clips apart, -1 outside
            of bags; None as above.
        ignored: (B, I, 4) float32, cxcywh of people who are neither actors nor background, padded
            with zeros; None where no clip has any.
    """

    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...]
    clip_ids: tuple[str, ...]
    label_mask: Tensor | None = None
    bag_id: Tensor | None = None
    ignored: Tensor | None = None

    @property
    def num_people(self) -> int:
        """People in the whole batch."""
        return sum(self.counts)


def collate(samples: Sequence[ClipSample]) -> Batch:
    """Put samples together; pixels stay bytes until they are on the model's device."""
    scales: Tensor | None = None
    if samples[0].features is None:
        frames = torch.from_numpy(np.stack([sample.frames_rgb for sample in samples]))
    else:
        frames = torch.from_numpy(np.stack([cast(F32, sample.features) for sample in samples]))
        scales = torch.from_numpy(
            np.stack([cast(F32, sample.feature_scales) for sample in samples])
        )
    targets: list[ClipTarget] = []
    for sample in samples:
        labels = np.ascontiguousarray(sample.labels, dtype=np.float32)
        target: ClipTarget = {
            "boxes": _cxcywh(sample.boxes),
            "labels": torch.from_numpy(labels),
            "clip_id": sample.clip_id,
        }
        if not sample.label_mask.all():
            target["label_mask"] = torch.from_numpy(sample.label_mask)
            target["bag_id"] = torch.from_numpy(sample.bag_id)
        if len(sample.ignored):
            target["ignored"] = _cxcywh(sample.ignored)
        targets.append(target)
    return Batch(frames, targets, scales)


def _cxcywh(xyxy: F32) -> Tensor:
    return xyxy_to_cxcywh(torch.from_numpy(np.ascontiguousarray(xyxy, np.float32)))


def pack(targets: Sequence[ClipTarget], num_classes: int, device: torch.device) -> PackedTargets:
    """Pad the targets of a batch to one size and put them on the device.

    Raises:
        ConfigError: A target has another shape than (M, 4) boxes and (M, num_classes) labels.
    """
    for target in targets:
        people = target["boxes"].shape[0]
        if target["boxes"].shape != (people, 4) or target["labels"].shape != (people, num_classes):
            raise ConfigError(
                f"clip {target['clip_id']!r} has boxes {tuple(target['boxes'].shape)} and labels "
                f"{tuple(target['labels'].shape)}; expected (M, 4) and (M, {num_classes})"
            )
    counts = tuple(int(target["boxes"].shape[0]) for target in targets)
    block = torch.zeros(len(targets), max(counts, default=0), 4 + num_classes)
    for row, target in enumerate(targets):
        block[row, : counts[row], :4] = target["boxes"]
        block[row, : counts[row], 4:] = target["labels"]
    block = block.to(device, non_blocking=True)
    return PackedTargets(
        boxes=block[..., :4],
        labels=block[..., 4:],
        counts=counts,
        clip_ids=tuple(target["clip_id"] for target in targets),
        **_masks(targets, counts, num_classes, device),
        ignored=_ignored(targets, device),
    )


def _ignored(targets: Sequence[ClipTarget], device: torch.device) -> Tensor | None:
    """Return the ignored people of a batch in one padded block; None where there are none."""
    people = [target["ignored"] if "ignored" in target else torch.zeros(0, 4) for target in targets]
    most = max((len(boxes) for boxes in people), default=0)
    if not most:
        return None
    block = torch.zeros(len(people), most, 4)
    for row, boxes in enumerate(people):
        block[row, : len(boxes)] = boxes
    return block.to(device, non_blocking=True)


def _masks(
    targets: Sequence[ClipTarget], counts: Sequence[int], num_classes: int, device: torch.device
) -> dict[str, Tensor]:
    """Return the masks and bags of a batch; nothing where every label is known."""
    if not any("label_mask" in target and not bool(target["label_mask"].all())
               for target in targets):  # fmt: skip
        return {}
    shape = (len(targets), max(counts), num_classes)
    label_mask = torch.ones(shape, dtype=torch.bool)
    bag_id = torch.full(shape, -1)
    first = 0
    for row, (target, count) in enumerate(zip(targets, counts, strict=True)):
        if "label_mask" not in target:
            continue
        label_mask[row, :count] = target["label_mask"]
        inside = target["bag_id"] >= 0
        own, number = torch.unique(target["bag_id"][inside], return_inverse=True)
        bag_id[row, :count][inside] = number + first
        first += len(own)
    return {
        "label_mask": label_mask.to(device, non_blocking=True),
        "bag_id": bag_id.to(device, non_blocking=True),
    }


class Normalize:
    """Bytes to the network's input, by the table that `runtime.preprocess` uses on a device."""

    def __init__(self, config: BMViTConfig, device: torch.device) -> None:
        """Take the table from the runtime itself: its value for each byte and channel."""
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, None, :, None], 3, axis=3)
        preprocess = replace(config.clip, height=1, width=256)
        table = torch.from_numpy(normalize(ramp, preprocess)[0, 0, :, 0])  # (3, 256)
        self._alike = bool((table == table[0]).all())
        self.table = table.to(device)

    def __call__(self, frames: Tensor) -> Tensor:
        """Turn (B, T, H, W, 3) uint8 on the device into (B, 3, T, H, W) float32.

        The result is a view with channels innermost: folding time into the batch then costs
        nothing, and convolutions get the layout that they are fastest in.
        """
        if self._alike:
            values = _looked_up(self.table[0], frames)
        else:
            values = torch.stack(
                [_looked_up(self.table[c], frames[..., c]) for c in range(3)], dim=-1
            )
        return values.permute(0, 4, 1, 2, 3)


def _looked_up(table: Tensor, frames: Tensor) -> Tensor:
    """Return the table's value for each byte; nine times as fast on a CPU as `table[frames]`."""
    return table.index_select(0, frames.int().flatten()).view(frames.shape)
