"""MViTv2 as published, at the size of `nano-scratch`, lowered as a first try would be.

LayerNorms (51 of them), tokens in rows, GELU, keys and values projected before they are pooled.
Only what any first try must do is done: its 3D convolutions and poolings are rewritten (XNNPACK has
none), and its matrix products are put into a form that XNNPACK takes without copies. Relative
positions are left out, which favours it. Its unbinding of q, k and v stays outside the delegate:
with slices inside, int8 padding makes a program that XNNPACK refuses to load.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.fx import GraphModule, Node

from benchmarks._engines.artifacts import digest
from benchmarks._engines.networks import SEED, Clips, Network

if TYPE_CHECKING:
    from edge.model.bmvit import BMViTConfig

_aten = torch.ops.aten


def textbook(config: BMViTConfig, clips: Clips) -> Network:
    """Return the network for the clips of a model of `nano-scratch`'s kind."""
    from edge.model.bmvit import BMViTConfig
    from edge.model.mvit import MViTConfig
    from edge.model.variants import from_config
    from quantize.graph import DeployedModel
    from quantize.rewrite import Conv3dAs2d, MaxPool3dAs2d

    backbone = MViTConfig(
        num_frames=config.num_frames,
        height=config.height,
        width=config.width,
        depth=10,
        embed_dim=32,
        stage_starts=(1, 3, 8),
        q_pool_at=(1, 3),
        rel_pos_spatial=False,
        rel_pos_temporal=False,
        drop_path=0.0,
    )
    model = from_config(
        BMViTConfig(variant="textbook", backbone=backbone, num_classes=config.num_classes),
        seed=SEED,
    ).eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv3d):
                setattr(parent, name, Conv3dAs2d(child))
            elif isinstance(child, nn.MaxPool3d):
                setattr(parent, name, MaxPool3dAs2d(child))
    return _Textbook("textbook", DeployedModel(model), clips, naive=True)


class _Textbook(Network):
    @cached_property
    def fingerprint(self) -> str:
        return digest(super().fingerprint, Path(__file__).read_bytes())

    @cached_property
    def graph(self) -> GraphModule:
        graph_module = super().graph
        for node in list(graph_module.graph.nodes):
            if node.target is _aten.matmul.default:
                _by_bmm(graph_module, node)
        graph_module.graph.eliminate_dead_code()
        graph_module.recompile()
        return graph_module


def _shape(node: Node) -> list[int]:
    return [int(n) for n in node.meta["val"].shape]


def _by_bmm(graph_module: GraphModule, node: Node) -> None:
    """Replace a product of four dimensions, which is expanded by copies, by one of three."""
    left, right = cast("tuple[Node, Node]", node.args)
    if not len(_shape(left)) == len(_shape(right)) == 4:
        return
    with graph_module.graph.inserting_before(node):
        flat = [
            graph_module.graph.call_function(_aten.reshape.default, (x, [-1, *_shape(x)[2:]]))
            for x in (left, right)
        ]
        product = graph_module.graph.call_function(_aten.bmm.default, tuple(flat))
        back = graph_module.graph.call_function(_aten.reshape.default, (product, _shape(node)))
    node.replace_all_uses_with(back)
