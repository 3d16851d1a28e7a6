"""Quantization-aware training: the graph of the export, for batches, rounded as it will be there.

The model is exported once as the device gets it and once for a batch of any size, both annotated by
the quantizer of the same scheme. Each place where the batched graph rounds must be one of the other
and rounds with its partners there: so what is learned is what is shipped. Training moves weights;
at export they go the way of all weights, ranges from calibration clips included.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule, Node

from edge.model.bmvit import BMViT
from edge.model.checkpoint import save_checkpoint
from quantize.fake import FakeQuantize
from quantize.folding import folded_weights
from quantize.graph import export_graph, head_output_layers, quiet_tools
from quantize.ranges import describe, observed
from quantize.rewrite import rewrite_for_export
from quantize.schemes import XNNPACK_INT8, Scheme, build_quantizer
from runtime.errors import ConfigError, ExportError

OUTPUTS = ("pred_boxes", "pred_actor", "pred_actions")

# They move values and change none: what goes in rounded comes out rounded.
_MOVES = frozenset(
    ("cat", "contiguous", "expand", "flatten", "getitem", "permute", "repeat", "reshape", "select",
     "slice", "stack", "transpose", "unbind", "unsqueeze", "view", "view_as")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class QatConfig:
    """How int8 is trained.

    Attributes:
        scheme: Where int8 goes; the export's.
        freeze_ranges: Share of the steps after which the ranges of activations stay.
        freeze_norms: Share of the steps after which the statistics of BatchNorm stay; 0 keeps
            those that the weights came with.
    """

    scheme: Scheme = XNNPACK_INT8
    freeze_ranges: float = 0.5
    freeze_norms: float = 0.0

    def __post_init__(self) -> None:
        """Check the shares."""
        for name in ("freeze_ranges", "freeze_norms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise ConfigError(f"{name} is {value}, expected a share of the steps, 0 to 1")


class QatModel(nn.Module):
    """A model in the form that int8 training needs: clips in, the model's own outputs out."""

    def __init__(self, model: BMViT, config: QatConfig) -> None:
        """Build it around `model`, whose weights it trains.

        Raises:
            ConfigError: The model is neither compact nor on a pretrained stem.
            ExportError: The graph for batches would round elsewhere than the device's.
        """
        super().__init__()
        self.model = model
        weights = folded_weights(model)  # refuses other variants before the work begins
        with quiet_tools():
            self.graph = training_graph(model, config.scheme)
        self._names = _take_weights_out(self.graph, weights)
        self.observe_ranges = True
        self.follow_norms = False

    def __deepcopy__(self, memo: dict[int, Any]) -> QatModel:
        result = QatModel.__new__(QatModel)
        memo[id(self)] = result
        with quiet_tools():  # what torch.export leaves in a graph warns when it is copied
            result.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return result

    def quantizers(self) -> list[FakeQuantize]:
        """Return what rounds, in the order of the graph."""
        return [m for m in self.graph.modules() if isinstance(m, FakeQuantize)]

    def train(self, mode: bool = True) -> QatModel:
        """Let ranges follow the batches, or not; an exported graph has no other modes.

        The model stays in evaluation mode: its norms are folded, and no branch is dropped.
        """
        self.training = mode
        self.model.eval()
        for quantizer in self.quantizers():
            quantizer.observing = mode and self.observe_ranges
        return self

    def forward(self, clip_ncthw: Tensor) -> dict[str, Tensor]:
        """Predict as `BMViT.forward` does, through int8."""
        # int8 has as many digits as bfloat16: rounding to both would not be what the device does.
        with torch.autocast(clip_ncthw.device.type, enabled=False):
            clip = clip_ncthw.float()
            if self.training and self.follow_norms:
                self._follow(clip)
            alone = clip.shape[0] == 1  # the graph is for batches, from two on
            weights = folded_weights(self.model)
            found = functional_call(
                self.graph,
                {f"model.{name}": weights[name] for name in self._names},
                (torch.cat([clip, clip]) if alone else clip,),
            )
        count = clip.shape[0]
        return {name: value[:count] for name, value in zip(OUTPUTS, found, strict=True)}

    @torch.no_grad()
    def _follow(self, clip: Tensor) -> None:
        """Let the statistics of BatchNorm follow the batch, as in float training."""
        norms = [m for m in self.model.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.train()
        self.model(clip)
        for norm in norms:
            norm.eval()


class QatWrapper:
    """`edge.training`'s form of a model for int8 training."""

    def __init__(self, config: QatConfig) -> None:
        """Keep what decides the form."""
        self.config = config

    def wrap(self, model: BMViT) -> nn.Module:
        """Return the model to train."""
        return QatModel(model, self.config)

    def at_step(self, trained: nn.Module, step: int, steps: int) -> None:
        """Freeze ranges and statistics when their share of the steps is over."""
        model = _qat(trained)
        # Without one batch there is no range at all.
        model.observe_ranges = step == 0 or step < self.config.freeze_ranges * steps
        model.follow_norms = step < self.config.freeze_norms * steps
        model.train(model.training)

    def save(
        self, path: Path, trained: nn.Module, *, class_names: Sequence[str], note: str
    ) -> None:
        """Write an ordinary checkpoint."""
        note = f"{note}; trained for {self.config.scheme.name}"
        save_checkpoint(path, _qat(trained).model, class_names=class_names, trained=True, note=note)


def _qat(trained: nn.Module) -> QatModel:
    if not isinstance(trained, QatModel):
        raise ConfigError(f"this form holds a QatModel, got {type(trained).__name__}")
    return trained


class _Batched(nn.Module):
    """A model whose layers have the names that they have in the device's graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clip_ncthw: Tensor) -> tuple[Tensor, ...]:
        found = self.model(clip_ncthw)
        return tuple(found[name] for name in OUTPUTS)


def training_graph(model: BMViT, scheme: Scheme) -> GraphModule:
    """Return the graph for batches, prepared for training."""
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    _, channels, frames, height, width = model.config.clip_shape
    batch = torch.export.Dim("batch", min=2, max=1 << 16)
    exported = torch.export.export(
        _Batched(rewrite_for_export(model)).eval(),
        (torch.zeros(3, channels, frames, height, width),),
        dynamic_shapes={"clip_ncthw": {0: batch}},
    )
    float_names = head_output_layers(model)
    device = export_graph(model, torch.zeros(1, frames, channels, height, width))
    graph, reference = (
        cast(
            GraphModule,
            prepare_qat_pt2e(made, build_quantizer(scheme, float_names, training=True)),
        )
        for made in (exported.module(check_guards=False), device)
    )
    round_alike(graph, reference)
    return graph


def _take_weights_out(graph: GraphModule, weights: dict[str, Tensor]) -> tuple[str, ...]:
    """Leave empty places for the weights, and return their names in the model."""
    names: list[str] = []
    for name, value in list(graph.named_parameters()):
        path, _, leaf = name.rpartition(".")
        given = weights.get(name.removeprefix("model."))
        if given is None or not torch.equal(value.detach().cpu(), given.detach().cpu()):
            raise ExportError(f"the export makes another weight of {name} than training does")
        module = graph.get_submodule(path)
        delattr(module, leaf)
        module.register_buffer(leaf, torch.empty(0), persistent=False)
        names.append(name.removeprefix("model."))
    return tuple(names)


def round_alike(graph: GraphModule, device: GraphModule) -> None:
    """Let a graph round where another does, and share a range where the other shares one.

    Args:
        graph: Prepared for training; changed in place.
        device: The graph of the export, prepared by the same scheme.

    Raises:
        ExportError: The first one rounds other values than the second.
    """
    mine, again = rounded_places(graph)
    theirs, _ = rounded_places(device)
    for index in range(max(len(mine), len(theirs))):
        names = [describe(_origin(nodes[index])) if index < len(nodes) else "nothing"
                 for nodes in (mine, theirs)]  # fmt: skip
        if names[0] != names[1]:
            raise ExportError(
                f"in training {names[0]} would be rounded, on the device {names[1]}; this network "
                "cannot be trained for int8"
            )
    for node in again:
        node.replace_all_uses_with(cast(Node, node.args[0]))
        graph.graph.erase_node(node)
    shared: dict[str, nn.Module] = {}
    for node, other in zip(mine, theirs, strict=True):
        name = str(node.target)
        graph.set_submodule(name, shared.setdefault(str(other.target), graph.get_submodule(name)))
    graph.delete_all_unused_submodules()
    graph.recompile()


def rounded_places(graph: GraphModule) -> tuple[list[Node], list[Node]]:
    """Return where a prepared graph rounds activations, and where it rounds rounded ones again."""
    first: list[Node] = []
    again: list[Node] = []
    for node in observed(graph):
        # An embedding is a parameter, and yet rounded as what it is added to.
        if graph.get_submodule(str(node.target)).qscheme == torch.per_tensor_affine:
            (again if _origin(node).op == "call_module" else first).append(node)
    return sorted(first, key=_order), again


def _order(node: Node) -> str:
    """Put what is computed first, as the graph has it, and then the parameters by their names."""
    origin = _origin(node)
    return describe(origin) if origin.op == "get_attr" else ""


def _origin(node: Node) -> Node:
    """Return what made the values that a node rounds: an operation, or a node that rounds."""
    origin = cast(Node, node.args[0])
    while origin.op == "call_function" and origin.all_input_nodes and _moves(origin):
        origin = origin.all_input_nodes[0]
    return origin


def _moves(node: Node) -> bool:
    name = getattr(node.target, "overloadpacket", node.target)
    return getattr(name, "__name__", "") in _MOVES
