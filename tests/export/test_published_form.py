"""The published form of the network (3D convolutions, LayerNorm) lowers too, and answers alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.model.bmvit import BMViT
from edge.model.variants import build_model
from export.onnx_graph import TENSORRT_OPERATORS, count_operators
from export.registry import get_target
from export.verify import verify
from quantize.graph import export_graph, float_outputs, three_dimensional_ops

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small() -> BMViT:
    """Return an MViTv2 of two blocks with every kind of layer that the published one has."""
    return build_model(
        "small",
        num_classes=2,
        seed=0,
        num_frames=4,
        height=32,
        width=32,
        depth=2,
        embed_dim=16,
        stage_starts=(1,),
        q_pool_at=(1,),
        kv_stride=(1, 4, 4),
    ).eval()


@pytest.fixture(scope="module")
def clip(small: BMViT) -> np.ndarray:
    config = small.config
    shape = (1, config.num_frames, 3, config.height, config.width)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_no_3d_operation_is_left_and_the_numbers_stay(small: BMViT, clip: np.ndarray) -> None:
    kinds = {type(module) for module in small.modules()}
    assert {torch.nn.Conv3d, torch.nn.MaxPool3d, torch.nn.LayerNorm} <= kinds
    graph = export_graph(small, torch.from_numpy(clip))
    assert three_dimensional_ops(graph) == []
    with torch.no_grad():
        found = graph(torch.from_numpy(clip))
    for got, expected in zip(found, float_outputs(small)(clip), strict=True):
        assert np.allclose(got.numpy(), expected, atol=1e-4)


@pytest.mark.slow
def test_it_lowers_whole_and_the_engine_agrees(small: BMViT, clip: np.ndarray) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    lowered = get_target("xnnpack-fp32").lower(small, [clip])
    assert lowered.delegation.share >= 0.99
    outside = " ".join(lowered.delegation.fallbacks)
    assert "convolution" not in outside
    assert "layer_norm" not in outside
    with get_target("xnnpack-fp32").open(lowered.program) as run:
        verified = verify(run, [clip], name="small.pte", precision="fp32",
                          truth=float_outputs(small), simulate=lowered.simulate)  # fmt: skip
    assert verified.max_abs["pred_boxes"] < 1e-3


def test_its_onnx_graph_has_the_operators_of_the_table_and_agrees(
    small: BMViT, clip: np.ndarray
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed here")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed here")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")
    target = get_target("onnx")
    lowered = target.lower(small, [clip])
    used = set(count_operators(onnx.load_from_string(lowered.program)))
    kinds = ("all", "small")
    table = {name for name, known in TENSORRT_OPERATORS.items() if known.used_by in kinds}
    assert used == table | {"Mul"}
    with target.open(lowered.program) as run:
        verify(run, [clip], name="x.onnx", precision="fp32", truth=float_outputs(small),
               simulate=lowered.simulate)  # fmt: skip
