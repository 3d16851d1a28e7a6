"""Distillation from a larger model.

Student and teacher are each matched to the people of a clip, so their grids, widths and numbers of
tokens may differ; the two tokens that are matched to the same person are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from edge.model.bmvit import BMViT, BMViTConfig
from edge.training.boxes import cxcywh_to_xyxy, generalized_iou
from edge.training.config import DistillOptions
from edge.training.matcher import HungarianMatcher, Matches
from edge.training.taps import TokenTap
from edge.training.targets import PackedTargets
from runtime.errors import ConfigError


class Distiller:
    """Compares a student's tokens with a teacher's."""

    def __init__(
        self, teacher: BMViT, matcher: HungarianMatcher, config: DistillOptions | None = None
    ) -> None:
        """Take a trained teacher, on the student's device."""
        self.teacher = teacher.eval().requires_grad_(False)
        self.matcher = matcher
        self.config = config or DistillOptions()
        self._tap = TokenTap(teacher)

    @property
    def channels(self) -> int:
        """Width of the teacher's features, to which a student's are projected."""
        return self._tap.channels

    def __call__(
        self,
        clip_ncthw: Tensor,
        outputs: Mapping[str, Tensor],
        targets: PackedTargets,
        matches: Matches,
        *,
        num_people: float,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, and each loss without its weight, detached.

        Args:
            clip_ncthw: What the student saw; resized where the teacher's input is of another size.
            outputs: The student's, with `features`.
            targets: The people.
            matches: The student's tokens and their people.
            num_people: What the sums are divided by.
        """
        with torch.no_grad():
            theirs = self.teacher(self._resized(clip_ncthw))
            features = self._tap.take(clip_ncthw.shape[0]).float()
            theirs = {name: value.float() for name, value in theirs.items()}
            other = self.matcher(theirs, targets)
        mine, match = _same_person(matches, other, targets)
        student = (matches.clip[mine], matches.token[mine])
        teacher = (other.clip[match], other.token[match])
        parts = self._compare(
            {name: value[student].float() for name, value in outputs.items()},
            {name: value[teacher] for name, value in {**theirs, "features": features}.items()},
        )
        parts = {name: value / max(1.0, num_people) for name, value in parts.items()}
        config = self.config
        total = (
            config.distill_logits * parts["distill_logits"]
            + config.distill_boxes * parts["distill_boxes"]
            + config.distill_features * parts["distill_features"]
        )
        return total, {name: value.detach() for name, value in parts.items()}

    @staticmethod
    def _compare(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of each loss over pairs of tokens, (K, ...) each."""
        said = [
            F.binary_cross_entropy_with_logits(
                student[name], teacher[name].sigmoid(), reduction="sum"
            )
            for name in ("pred_actor", "pred_actions")
        ]
        boxes, wanted = student["pred_boxes"], teacher["pred_boxes"]
        _, giou = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(wanted))
        alike = F.cosine_similarity(student["features"], teacher["features"], dim=-1)
        return {
            "distill_logits": said[0] + said[1],
            "distill_boxes": (boxes - wanted).abs().sum() + (1 - giou).sum(),
            "distill_features": (1 - alike).sum(),
        }

    def _resized(self, clip_ncthw: Tensor) -> Tensor:
        config = self.teacher.config
        size = (config.height, config.width)
        if tuple(clip_ncthw.shape[-2:]) == size:
            return clip_ncthw
        batch, channels = clip_ncthw.shape[:2]
        frames = clip_ncthw.transpose(1, 2).flatten(0, 1)
        frames = F.interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
        return frames.reshape(batch, -1, channels, *size).transpose(1, 2)


def check_teacher(
    teacher: BMViTConfig,
    teacher_names: Sequence[str],
    student: BMViTConfig,
    student_names: Sequence[str],
) -> None:
    """Refuse a teacher that sees other moments or knows other actions than its student.

    Raises:
        ConfigError: Classes, frames or their times differ.
    """
    if tuple(teacher_names) != tuple(student_names):
        raise ConfigError(
            f"the teacher knows {', '.join(teacher_names)}; the data set has "
            f"{', '.join(student_names)}"
        )
    if (teacher.num_frames, teacher.clip.period_s) != (
        student.num_frames,
        student.clip.period_s,
    ):
        raise ConfigError(
            f"the teacher sees {teacher.num_frames} frames {teacher.clip.period_s:.3f} s apart, "
            f"its student {student.num_frames} frames {student.clip.period_s:.3f} s apart"
        )


def _same_person(first: Matches, second: Matches, targets: PackedTargets) -> tuple[Tensor, Tensor]:
    """Return the indices of the pairs in both that are of the same people, (K,) each."""
    clips, most = targets.boxes.shape[:2]
    place = torch.full((clips * most,), -1, dtype=torch.int64, device=first.clip.device)
    place[second.clip * most + second.person] = torch.arange(len(second), device=first.clip.device)
    match = place[first.clip * most + first.person]
    mine = torch.nonzero(match >= 0).flatten()
    return mine, match[mine]
