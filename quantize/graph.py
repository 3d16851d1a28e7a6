"""From a model to the exported graph that every target starts from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.rewrite import cancel_permutes, rewrite_for_export
from runtime.bundle_spec import OUTPUTS
from runtime.errors import ExportError, UnsupportedOpError
from runtime.types import ClipModel, Floats, Outputs

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT
    from edge.model.compact import CompactMViT


@contextmanager
def quiet_tools() -> Iterator[None]:
    """Ignore warnings inside: deprecations of torch and ExecuTorch that no user can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class DeployedModel(nn.Module):
    """A model with the device's interface: a clip (1, T, 3, H, W) in, three tensors out."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a model whose layers were rewritten."""
        super().__init__()
        self.model = model

    def forward(self, clip_ntchw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pred_boxes (1, N, 4), pred_actor (1, N), pred_actions (1, N, C)."""
        found = self.model(clip_ntchw.transpose(1, 2))
        return found["pred_boxes"], found["pred_actor"], found["pred_actions"]


class StemModel(nn.Module):
    """The part of a model that sees one step of time: one or two frames in, their features out."""

    def __init__(self, model: BMViT) -> None:
        """Wrap a model whose backbone has such a part."""
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        """Map (frames of a step, 3, H, W) to features (1, C, H', W')."""
        return cast("CompactMViT", self.model.backbone).steps(frames)


class TrunkModel(nn.Module):
    """The rest of such a model: the features of a clip's steps in, three tensors out."""

    def __init__(self, model: BMViT) -> None:
        """Wrap a model whose backbone has such a part."""
        super().__init__()
        self.model = model

    def forward(self, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map features (steps, C, H', W') to pred_boxes, pred_actor and pred_actions."""
        backbone = cast("CompactMViT", self.model.backbone)
        features = backbone.trunk(steps, 1)
        found = self.model.triplets(backbone.slices(features, 1))
        return found["pred_boxes"], found["pred_actor"], found["pred_actions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a program.

    Attributes:
        graph: What it computes.
        example: Its input.
    """

    graph: GraphModule
    example: Tensor


def export_methods(model: BMViT, clip: Tensor) -> dict[str, Method]:
    """Export a model as the methods of a program.

    Args:
        model: The float model.
        clip: One clip (1, T, 3, H, W).

    Returns:
        `forward`, the whole model. Where the backbone has a part that sees one step of time only,
        also `stem`, that part, and `trunk`, the rest: together they are the whole.

    Raises:
        UnsupportedOpError: A 3D operation is left that no target takes.
        ExportError: torch cannot export the model.
    """
    methods = {"forward": Method(graph=export_graph(model, clip), example=clip)}
    if not hasattr(model.backbone, "trunk"):
        return methods
    rewritten = cast("BMViT", rewrite_for_export(model))
    together = cast(int, model.backbone.frames_per_step)
    steps = clip.shape[1] // together
    frames = clip[0, :together].contiguous()
    stem = StemModel(rewritten).eval()
    with torch.no_grad():
        features = stem(frames).repeat(steps, 1, 1, 1)
    methods["stem"] = Method(graph=_export(stem, frames), example=frames)
    methods["trunk"] = Method(
        graph=_export(TrunkModel(rewritten).eval(), features), example=features
    )
    return methods


def export_graph(model: BMViT, example: Tensor) -> GraphModule:
    """Export a model with static shapes, its 3D layers rewritten and needless copies removed.

    Args:
        model: The float model.
        example: One clip (1, T, 3, H, W).

    Raises:
        UnsupportedOpError: A 3D operation is left that no target takes.
        ExportError: torch cannot export the model.
    """
    return _export(DeployedModel(rewrite_for_export(model)).eval(), example)


def _export(module: nn.Module, example: Tensor) -> GraphModule:
    try:
        graph_module = torch.export.export(module, (example,)).module()
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        raise ExportError(f"torch.export does not take this model: {error}") from error
    assert isinstance(graph_module, GraphModule)
    cancel_permutes(graph_module)
    left = three_dimensional_ops(graph_module)
    if left:
        raise UnsupportedOpError(
            f"the exported graph still has {', '.join(left)}, which no target here takes; "
            "use nn.Conv3d and nn.MaxPool3d, which are rewritten to 2D"
        )
    return graph_module


def three_dimensional_ops(graph_module: GraphModule) -> list[str]:
    """Return the names of convolutions and poolings over three dimensions in a graph."""
    found: list[str] = []
    for node in graph_module.graph.nodes:
        name = str(node.target)
        if node.op != "call_function" or not any(word in name for word in ("conv", "pool")):
            continue
        source = node.args[0]
        value = source.meta.get("val") if isinstance(source, torch.fx.Node) else None
        if "3d" in name or (isinstance(value, Tensor) and value.dim() == 5):
            found.append(name)
    return sorted(set(found))


def float_outputs(model: BMViT) -> ClipModel:
    """Return the float model as a function of the engine's clip: the truth that parity means."""

    def run(clips: Floats) -> Outputs:
        with torch.no_grad():
            found = model(torch.from_numpy(clips).transpose(1, 2))
        return Outputs(*(found[name].numpy() for name in OUTPUTS))

    return run


def graph_outputs(graph_module: nn.Module) -> ClipModel:
    """Return an exported graph as a function of the engine's clip."""

    def run(clips: Floats) -> Outputs:
        with torch.no_grad():
            found = graph_module(torch.from_numpy(clips))
        return Outputs(*(tensor.numpy() for tensor in found))

    return run


def head_output_layers(model: BMViT) -> frozenset[str]:
    """Return the names, inside `DeployedModel`, of the last layer of each head."""
    from edge.model.heads import TokenMLP

    names: set[str] = set()
    for name, module in model.named_modules():
        if isinstance(module, TokenMLP):
            names.add(f"model.{name}.layers.{len(module.layers) - 1}")
    return frozenset(names)
