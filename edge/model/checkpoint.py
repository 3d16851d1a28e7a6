"""Save and load our own checkpoints: configuration, class names and weights in one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch

from edge.model._files import check_fit, read_torch_file, tensors_of
from edge.model.backbones import BACKBONES
from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.compact import COMPACT_VARIANTS
from edge.model.heads import HeadConfig
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError
from runtime.outputs import write_atomically

FORMAT = "bmvit-edge"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: The model with its weights, in eval mode.
        config: Its configuration.
        class_names: One name per action class.
        trained: Whether the weights were ever trained.
        note: What the one who saved it wanted to say.
    """

    model: BMViT
    config: BMViTConfig
    class_names: tuple[str, ...]
    trained: bool
    note: str


def save_checkpoint(
    path: str | Path,
    model: BMViT,
    *,
    class_names: Sequence[str],
    trained: bool,
    note: str = "",
    half: bool = False,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: Where to; an older file there is replaced.
        model: The model.
        class_names: One name per action class.
        trained: Whether the weights were ever trained; users are told when not.
        note: Free text, kept with the weights.
        half: Round weights to float16, for a file of half the size; they are loaded as float32.

    Raises:
        ConfigError: There is not one name per class.
        ArtifactError: The file cannot be written.
    """
    path = Path(path)
    _check_names(class_names, model.config.num_classes)
    buffer = io.BytesIO()
    weights = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
    if half:
        weights = {n: w.half() if w.dtype == torch.float32 else w for n, w in weights.items()}
    payload = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "config": config_to_dict(model.config),
        "class_names": list(class_names),
        "trained": bool(trained),
        "note": note,
        "state_dict": weights,
    }
    torch.save(payload, buffer)
    try:
        write_atomically(path, buffer.getbuffer())
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Load a checkpoint that `save_checkpoint` wrote.

    Raises:
        ArtifactError: The file is missing, broken, or asks to run code.
        ArtifactMismatchError: It is whole, but of another program, schema or model.

    Example:
        >>> import tempfile
        >>> from edge.model.variants import build_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = build_model("pico", num_classes=2, seed=0)
        ...     names = ("sit down", "fall")
        ...     save_checkpoint(f"{folder}/model.pt", model, class_names=names, trained=False)
        ...     checkpoint = load_checkpoint(f"{folder}/model.pt")
        >>> checkpoint.class_names
        ('sit down', 'fall')
    """
    path = Path(path)
    payload = read_torch_file(path)
    if payload.get("format") != FORMAT:
        raise ArtifactMismatchError(
            f"{path} is not a bmvit-edge checkpoint; published Kinetics weights go through "
            f"edge.model.pretrained.load_pretrained"
        )
    if payload.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactMismatchError(
            f"{path} has schema version {payload.get('schema_version')!r}, this program reads "
            f"{SCHEMA_VERSION}; update it, or save the checkpoint again"
        )
    names, trained, note = _labels(payload, path)
    state = payload.get("state_dict")
    if not isinstance(state, dict):
        raise ArtifactError(f"{path} holds no state_dict")
    weights = tensors_of(state, path, "state_dict")
    try:
        config = config_from_dict(payload.get("config"))
        _check_names(names, config.num_classes)
        model = BMViT(config)
    except (ConfigError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ArtifactMismatchError(
            f"{path} describes a model that cannot be built: {error}"
        ) from error
    except (MemoryError, RuntimeError, AttributeError) as error:
        raise ArtifactMismatchError(
            f"{path} describes a model that cannot be built here ({type(error).__name__}): "
            f"its configuration is damaged"
        ) from error
    expected = model.state_dict()
    for name, weight in weights.items():
        if weight.dtype == torch.float16 and name in expected:
            weights[name] = weight.to(expected[name].dtype)
    check_fit(weights, expected, path)
    model.load_state_dict(weights)
    model.eval()
    return Checkpoint(model=model, config=config, class_names=names, trained=trained, note=note)


def config_to_dict(config: BMViTConfig) -> dict[str, Any]:
    """Turn a configuration into plain values, the backbone's kind named."""
    plain = asdict(config)
    kinds = [kind for kind, row in BACKBONES.items() if type(config.backbone) is row.config]
    if not kinds:
        raise ConfigError(
            f"a {type(config.backbone).__name__} backbone cannot be saved; "
            f"known are {', '.join(BACKBONES)}"
        )
    plain["backbone"] = {"kind": kinds[0], **plain["backbone"]}
    return plain


def config_from_dict(plain: object) -> BMViTConfig:
    """Turn plain values back into a configuration.

    Raises:
        ConfigError: A field is unknown, missing or of no use.
    """
    if not isinstance(plain, dict) or not isinstance(plain.get("backbone"), dict):
        raise ConfigError("the configuration must be a mapping with a 'backbone'")
    fields = dict(plain)
    backbone = dict(cast("dict[str, Any]", fields.pop("backbone")))
    kind = backbone.pop("kind", None)
    if kind not in BACKBONES:
        raise ConfigError(f"unknown backbone {kind!r}; known are {', '.join(BACKBONES)}")
    # Before there were pretrained stems, the variants without one had these names.
    if kind == "compact" and fields.get("variant") in COMPACT_VARIANTS:
        fields["variant"] = f"{fields['variant']}-scratch"
    try:
        heads = dict(fields.pop("heads", {}))
        if "rivals" in heads:  # its name until version 0.2
            heads["suppression_strength"] = heads.pop("rivals")
        return BMViTConfig(
            backbone=BACKBONES[kind].config(**backbone), heads=HeadConfig(**heads), **fields
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the configuration does not fit: {error}") from error


def _labels(payload: dict[str, object], path: Path) -> tuple[tuple[str, ...], bool, str]:
    names, trained, note = (payload.get(key) for key in ("class_names", "trained", "note"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{path} has no list of class names")
    if not isinstance(trained, bool) or not isinstance(note, str):
        raise ArtifactError(f"{path} does not say whether it was trained")
    return tuple(names), trained, note


def _check_names(class_names: Sequence[str], num_classes: int) -> None:
    if len(class_names) != num_classes:
        raise ConfigError(
            f"the model has {num_classes} action classes, got {len(class_names)} class names"
        )
    # What a bundle refuses is better known before the hours of an export.
    for name in class_names:
        if not (name and name.isprintable()):
            raise ConfigError(f"the class name {name[:40]!r} is empty or not printable")
    if len(set(class_names)) != len(class_names):
        raise ConfigError("a class name is there twice")
