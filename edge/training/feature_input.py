"""Training behind a pretrained stem: what of it is frozen, and how kept features go in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from edge.model.bmvit import BMViT
from edge.model.checkpoint import save_checkpoint
from edge.model.stem_mvit import StemMViT
from edge.model.stem_weights import stem_digest
from edge.training.features import FeatureAbout, unpack_features
from runtime.errors import ArtifactMismatchError, ConfigError

logger = logging.getLogger(__name__)


class FeatureInputModel(nn.Module):
    """A model that takes a stem's kept features in place of clips, and clips as before."""

    def __init__(self, model: BMViT, about: FeatureAbout) -> None:
        """Wrap a model whose weights it shares."""
        super().__init__()
        self.model = model
        self.about = about

    def forward(self, clip: Tensor, scales: Tensor | None = None) -> dict[str, Tensor]:
        """Predict as `BMViT.forward` does.

        Args:
            clip: Normalised clips (B, 3, T, H, W), or int8 features (B, K).
            scales: What a step of each channel of the features is worth, (B, channels).
        """
        if scales is None:
            return cast("dict[str, Tensor]", self.model(clip))
        backbone = cast(StemMViT, self.model.backbone)
        kept = unpack_features(clip, scales, self.about)
        steps = backbone.fusion(backbone.stem.upper(kept, self.about.cut))
        features = backbone.trunk(steps, clip.shape[0])
        return self.model.triplets(backbone.slices(features, clip.shape[0]))


class FeatureWrapper:
    """The form in which a model learns from kept features; saved as an ordinary checkpoint."""

    keeps_heads = True

    def __init__(self, about: FeatureAbout) -> None:
        """Take what the features are."""
        self.about = about

    def wrap(self, model: BMViT) -> nn.Module:
        """Return the model behind an input for features.

        Raises:
            ConfigError: The model has no pretrained stem.
            ArtifactMismatchError: The features are of another stem or input size.
        """
        check_features(model, self.about)
        return FeatureInputModel(model, self.about)

    def at_step(self, trained: nn.Module, step: int, steps: int) -> None:
        """Change nothing."""

    def save(
        self, path: Path, trained: nn.Module, *, class_names: Sequence[str], note: str
    ) -> None:
        """Write an ordinary checkpoint."""
        assert isinstance(trained, FeatureInputModel)
        save_checkpoint(path, trained.model, class_names=class_names, trained=True, note=note)


def check_features(model: BMViT, about: FeatureAbout) -> None:
    """Check that features were computed by the stem of a model, for its input.

    Raises:
        ConfigError: The model has no pretrained stem.
        ArtifactMismatchError: They were not.
    """
    backbone = model.backbone
    if not isinstance(backbone, StemMViT):
        raise ConfigError(
            f"features are for models with a pretrained stem (pico, nano, tiny), not for "
            f"{model.config.variant}"
        )
    mine = (model.config.num_frames, model.config.height, model.config.width)
    if mine != (about.num_frames, about.height, about.width):
        raise ArtifactMismatchError(
            f"the features are of clips of {about.num_frames} frames of "
            f"{about.height}x{about.width}; the model takes {mine[0]} of {mine[1]}x{mine[2]}"
        )
    if stem_digest(backbone.stem, about.cut) != about.stem_digest:
        raise ArtifactMismatchError(
            "the features were computed by other weights of the stem than the model has; compute "
            "them again with `edge features`, with the same --init or --stem-weights"
        )


def freeze_stem(model: BMViT, before: int) -> None:
    """Leave the blocks of the stem before `before`, and its first convolution, as they are."""
    backbone = model.backbone
    if not isinstance(backbone, StemMViT):
        return
    backbone.stem.first.requires_grad_(before <= 0)
    for index, block in enumerate(backbone.stem.blocks):
        block.requires_grad_(index >= before)
    count = len(backbone.stem.blocks)
    if before >= count:
        logger.info("the stem is frozen")
    else:
        logger.info("the stem's blocks %d to %d of %d learn", before, count - 1, count)


def stem_parameters(model: BMViT) -> set[int]:
    """Return the identities of the parameters of a pretrained stem."""
    backbone = model.backbone
    if not isinstance(backbone, StemMViT):
        return set()
    return {id(parameter) for parameter in backbone.stem.parameters()}
