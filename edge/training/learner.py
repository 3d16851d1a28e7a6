"""The module that is trained: the model, what only training needs beside it, and its wrapper.

A wrapper lets another module (quantization-aware training) put its own graph in the model's place
without the loop knowing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from torch import Tensor, nn

from edge.model.bmvit import BMViT
from edge.model.checkpoint import save_checkpoint
from edge.training.aux_heads import AuxiliaryHeads
from edge.training.one_to_many import OneToManyHeads
from edge.training.taps import TokenTap
from runtime.errors import ConfigError


class TrainingWrapper(Protocol):
    """In which form a model is trained, and how it is saved from there."""

    def wrap(self, model: BMViT) -> nn.Module:
        """Return what is to be trained: clips in, the model's own dict of outputs out."""

    def at_step(self, trained: nn.Module, step: int, steps: int) -> None:
        """Change the trained module at the beginning of a step, such as freezing observers."""

    def save(
        self, path: Path, trained: nn.Module, *, class_names: Sequence[str], note: str
    ) -> None:
        """Write a checkpoint of the trained module, or of its averaged copy."""


class NoWrapper:
    """The model itself."""

    def wrap(self, model: BMViT) -> nn.Module:
        """Return the model."""
        return model

    def at_step(self, trained: nn.Module, step: int, steps: int) -> None:
        """Change nothing."""

    def save(
        self, path: Path, trained: nn.Module, *, class_names: Sequence[str], note: str
    ) -> None:
        """Write an ordinary checkpoint."""
        if not isinstance(trained, BMViT):
            raise ConfigError(f"only a BMViT is saved here, got {type(trained).__name__}")
        save_checkpoint(path, trained, class_names=class_names, trained=True, note=note)


class Learner(nn.Module):
    """The trained module, and what training adds: further heads, a projection for a teacher."""

    def __init__(
        self,
        model: BMViT,
        wrapper: TrainingWrapper,
        *,
        teacher_channels: int | None = None,
        aux: bool = False,
        one_to_many: bool = False,
    ) -> None:
        """Wrap a model.

        Args:
            model: The model.
            wrapper: In which form it is trained.
            teacher_channels: Width of the teacher's `TokenTap`, where there is a teacher.
            aux: Whether features before the last stage get heads of their own.
            one_to_many: Whether there are heads with several tokens a person.

        Raises:
            ConfigError: A teacher or auxiliary heads meet another form of the model, or auxiliary
                heads find no place in it.
        """
        super().__init__()
        self._tap = TokenTap(model) if teacher_channels is not None else None
        self.aux = AuxiliaryHeads(model) if aux else None
        self.one_to_many = OneToManyHeads(model) if one_to_many else None
        self.trained = wrapper.wrap(model)
        other = self.trained is not model and not getattr(wrapper, "keeps_heads", False)
        if other and (aux or one_to_many or self._tap is not None):
            raise ConfigError(
                "--teacher, --loss-aux and --loss-one-to-many work on the model itself, not on "
                "another form of it"
            )
        self.project: nn.Linear | None = None
        if self._tap is not None and teacher_channels is not None:
            self.project = nn.Linear(self._tap.channels, teacher_channels)

    def forward(self, clip_ncthw: Tensor, scales: Tensor | None = None) -> dict[str, Tensor]:
        """Return the model's outputs for clips, or for a stem's features and their scales.

        With a teacher also `features` (B, N, teacher_channels), with auxiliary heads their outputs
        under the same names behind `aux_`, with one-to-many heads behind `one_to_many_`.
        """
        batch = clip_ncthw.shape[0]
        inputs = (clip_ncthw,) if scales is None else (clip_ncthw, scales)
        outputs = cast("dict[str, Tensor]", self.trained(*inputs))
        if self._tap is not None and self.project is not None:
            outputs["features"] = self.project(self._tap.take(batch))
        for kind, heads in (("aux", self.aux), ("one_to_many", self.one_to_many)):
            if heads is not None:
                outputs |= {f"{kind}_{name}": value for name, value in heads(batch).items()}
        return outputs
