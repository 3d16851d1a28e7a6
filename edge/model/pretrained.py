"""Load published Kinetics weights of MViTv2 into our backbone, in either of the two namings.

* PySlowFast: a `.pyth` file, weights under `model_state` (`blocks.0.attn.pool_q.weight`);
* torchvision's `mvit_v2_s`: a state dict (`blocks.0.attn.pool_q.pool.weight`), maybe nested.

Our own names are the former's. Either everything that the model needs fits, or nothing is copied.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from edge.model._files import check_fit, read_torch_file, tensors_of
from edge.model.attention import resize_table
from edge.model.bmvit import BMViT
from edge.model.mvit import MViT
from runtime.errors import ArtifactMismatchError, ConfigError

logger = logging.getLogger(__name__)

Naming = Literal["pyslowfast", "torchvision"]

_NESTS = ("model_state", "state_dict", "model")
_LANDMARKS: dict[str, Naming] = {
    "patch_embed.proj.weight": "pyslowfast",
    "conv_proj.weight": "torchvision",
}
_KINETICS_HEAD = re.compile(r"head\.(projection|1)\.(weight|bias)")
_TABLE = re.compile(r"blocks\.\d+\.attn\.rel_pos_[hwt]")

# torchvision's name -> ours; the first pattern that matches a name is applied
_FROM_TORCHVISION: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^conv_proj\."), "patch_embed.proj."),
    (re.compile(r"^pos_encoding\.class_token$"), "cls_token"),
    (re.compile(r"(attn)\.pool_([qkv])\.pool\."), r"\1.pool_\2."),
    (re.compile(r"(attn)\.pool_([qkv])\.norm_act\.0\."), r"\1.norm_\2."),
    (re.compile(r"(attn)\.project\.0\."), r"\1.proj."),
    (re.compile(r"(blocks\.\d+)\.project\."), r"\1.proj."),
    (re.compile(r"(mlp)\.0\."), r"\1.fc1."),
    (re.compile(r"(mlp)\.3\."), r"\1.fc2."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of a file's weights.

    Attributes:
        path: The file.
        naming: Whose names it uses.
        loaded: Number of tensors copied into the model.
        dropped: Names in the file that the model has no place for: the Kinetics classifier, and the
            class token or the position tables where the model has none.
        interpolated: Names of position tables that were resized for another input size.
    """

    path: Path
    naming: Naming
    loaded: int
    dropped: tuple[str, ...]
    interpolated: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one sentence."""
        text = f"{self.path.name} ({self.naming}): {self.loaded} tensors loaded"
        if self.interpolated:
            text += f", {len(self.interpolated)} position tables interpolated to this input size"
        if self.dropped:
            text += f", dropped {_shortened(self.dropped)}"
        return text


def load_pretrained(model: BMViT | MViT, path: str | Path) -> LoadReport:
    """Load a published Kinetics checkpoint into a backbone, whole or not at all.

    Args:
        model: An `MViT`, or a `BMViT` around one; its heads are left as they are.
        path: A PySlowFast `.pyth` or a torchvision `.pth` file. It is read with
            `weights_only=True`: no code in it is ever run.

    Returns:
        What was loaded, dropped and interpolated; also logged.

    Raises:
        ConfigError: The model is of a kind that no published weights exist for.
        ArtifactError: The file is missing, broken, or asks to run code.
        ArtifactMismatchError: It is whole, but its weights do not fit the model.
    """
    path = Path(path)
    backbone = model.backbone if isinstance(model, BMViT) else model
    if not isinstance(backbone, MViT):
        raise ConfigError(
            f"published Kinetics weights are for MViTv2 (variant 'small'), "
            f"not for a {type(backbone).__name__}"
        )
    weights = _unwrap(read_torch_file(path), path)
    naming = _naming(weights, path)
    dropped = tuple(name for name in weights if _KINETICS_HEAD.fullmatch(name))
    kept = {name: value for name, value in weights.items() if name not in dropped}
    if naming == "torchvision":
        kept = {_our_name(name): value for name, value in kept.items()}
    expected = backbone.state_dict()
    kept, unused = _without_unused(_fuse_qkv(kept), expected)
    kept, interpolated = _resize_tables(kept, expected)
    if "cls_token" in kept and kept["cls_token"].numel() == expected["cls_token"].numel():
        kept["cls_token"] = kept["cls_token"].reshape(expected["cls_token"].shape)
    check_fit(kept, expected, path)
    backbone.load_state_dict(kept)
    report = LoadReport(
        path=path,
        naming=naming,
        loaded=len(kept),
        dropped=dropped + unused,
        interpolated=interpolated,
    )
    logger.info("%s", report)
    return report


def _unwrap(payload: dict[str, object], path: Path) -> dict[str, Tensor]:
    """Find the weights in what the file holds, and take away a wrapper's `module.` prefix."""
    for nest in _NESTS:
        inner = payload.get(nest)
        if isinstance(inner, Mapping):
            weights = tensors_of(inner, path, nest)
            break
    else:
        if payload.get("format") == "bmvit-edge":
            raise ArtifactMismatchError(
                f"{path} is a checkpoint of bmvit-edge itself; load it with load_checkpoint"
            )
        weights = tensors_of(payload, path, "its state dict")
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def _naming(weights: Mapping[str, Tensor], path: Path) -> Naming:
    for landmark, naming in _LANDMARKS.items():
        if landmark in weights:
            return naming
    raise ArtifactMismatchError(
        f"{path} is not a published MViTv2: it has neither {' nor '.join(_LANDMARKS)}; "
        f"its first names are {_shortened(tuple(weights))}"
    )


def _our_name(name: str) -> str:
    for pattern, replacement in _FROM_TORCHVISION:
        renamed, count = pattern.subn(replacement, name)
        if count:
            return renamed
    return name


def _fuse_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join separate q, k and v projections, as some PySlowFast configurations save them."""
    fused = dict(weights)
    for name in weights:
        match = re.fullmatch(r"(blocks\.\d+\.attn)\.q\.(weight|bias)", name)
        if match is None:
            continue
        parts = [f"{match[1]}.{part}.{match[2]}" for part in "qkv"]
        if all(part in weights for part in parts):
            fused[f"{match[1]}.qkv.{match[2]}"] = torch.cat([fused.pop(part) for part in parts])
    return fused


def _without_unused(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Leave out what our model may do without: the class token, and position tables."""
    unused = tuple(
        name
        for name in weights
        if name not in expected and (name == "cls_token" or _TABLE.fullmatch(name))
    )
    return {name: value for name, value in weights.items() if name not in unused}, unused


def _resize_tables(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Interpolate position tables to this model's input size, as the reference does at run time."""
    resized = dict(weights)
    changed = []
    for name, table in weights.items():
        if not _TABLE.fullmatch(name) or name not in expected or table.ndim != 2:
            continue
        length, dim = expected[name].shape
        if table.shape[0] not in (0, length) and table.shape[1] == dim:
            resized[name] = resize_table(table, length)
            changed.append(name)
    return resized, tuple(changed)


def _shortened(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
