"""What `export/tensorrt.py` decides without TensorRT: the graph that is built, and refusals."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch._inductor.constant_folding import ConstantFolder
from torch.fx import GraphModule

from edge.model.bmvit import BMViT
from edge.model.variants import build_model
from export.registry import get_target
from export.tensorrt_int8 import FAKE_INT8, paired_graph
from quantize.graph import export_graph, graph_outputs
from quantize.ptq import int8_graphs
from quantize.schemes import TENSORRT_INT8
from runtime.errors import BackendUnavailableError, ExportError
from runtime.tensorrt.engine import missing
from tests.export.conftest import clips_of, stem_model

pytest.importorskip("torchao", reason="torchao is not installed")
pytest.importorskip("executorch", reason="executorch is not installed")
torch.set_num_threads(1)
# torch's exporter warns of its own ways, as everywhere here (quantize/graph.py).
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def model() -> BMViT:
    """Return a network of one block, the quickest to export."""
    network = build_model(
        "nano-scratch", num_classes=2, seed=0, num_frames=4, height=64, width=64,
        channels=(16,), depths=(1,), head_channels=16, strides=(), kv_strides=(4,), step_stages=0,
        kv_pairs=False,
    )  # fmt: skip
    return network.eval()


@pytest.fixture(scope="module")
def clips(model: BMViT) -> list[np.ndarray]:
    return clips_of(model, 3)


@pytest.fixture(scope="module")
def converted(model: BMViT, clips: list[np.ndarray]) -> GraphModule:
    graph = export_graph(model, torch.from_numpy(clips[0]))
    return int8_graphs([graph], model, clips, TENSORRT_INT8)[0]


def targets(graph: torch.nn.Module) -> list[str]:
    assert isinstance(graph, GraphModule)
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def test_pairs_answer_as_the_converted_graph_does(
    converted: GraphModule, clips: list[np.ndarray]
) -> None:
    paired = paired_graph(converted)
    assert not [name for name in targets(paired) if "quantized_decomposed" in name]
    assert [name for name in targets(converted) if "quantized_decomposed" in name]
    for clip in clips:
        for ours, theirs in zip(graph_outputs(paired)(clip), graph_outputs(converted)(clip),
                                strict=True):  # fmt: skip
            # One scale is 127 of it over 127, to the last bit but one: a rare level of int8.
            np.testing.assert_allclose(ours, theirs, atol=5e-3 * (1.0 + theirs.std()))


def test_pairs_survive_an_export_with_their_weights(
    converted: GraphModule, clips: list[np.ndarray]
) -> None:
    paired = paired_graph(converted)
    exported = torch.export.export(paired, (torch.from_numpy(clips[0]),)).run_decompositions({})
    module = exported.module()
    before = targets(paired).count("bmvit_edge.fake_int8.default")
    assert before > 10
    assert targets(module).count("bmvit_edge.fake_int8.default") == before


class Folder(ConstantFolder):
    """As torch_tensorrt folds constants where NVIDIA's quantizer is not installed."""

    def is_impure(self, node: torch.fx.Node) -> bool:
        return False


def test_weights_are_not_folded_to_float(converted: GraphModule) -> None:
    folder = Folder(paired_graph(converted))
    folder.run()
    assert not [n for n in folder.node_replacements if n.target == FAKE_INT8]


def test_weights_by_channel_are_exact(converted: GraphModule) -> None:
    paired = paired_graph(converted)
    checked = 0
    for node in paired.graph.nodes:
        if node.target != FAKE_INT8 or node.args[0].op != "get_attr":
            continue
        values, amax = (getattr(paired, str(arg.target)) for arg in node.args)
        torch.testing.assert_close(FAKE_INT8(values, amax), values, rtol=1e-6, atol=0.0)
        if amax.numel() > 1:
            assert amax.shape == (len(values), *[1] * (values.ndim - 1))
            checked += 1
    assert checked > 3


def test_a_model_on_a_stem_has_pairs_but_where_it_grows_the_grid() -> None:
    model = stem_model()
    clips = clips_of(model, 2)
    graph = export_graph(model, torch.from_numpy(clips[0]))
    converted = int8_graphs([graph], model, clips, TENSORRT_INT8)[0]
    paired = paired_graph(converted)
    assert not [name for name in targets(paired) if "quantized_decomposed" in name]
    (growing,) = (n for n in paired.graph.nodes if "conv_transpose2d" in str(n.target))
    assert growing.args[1].op == "get_attr", "its weights are float32"
    found, wanted = graph_outputs(paired)(clips[0]), graph_outputs(converted)(clips[0])
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.abs(ours - theirs).mean() < 0.02 * (1.0 + theirs.std())


def test_a_zero_point_is_refused(converted: GraphModule) -> None:
    import copy

    affine = copy.deepcopy(converted)
    node = next(n for n in affine.graph.nodes if "dequantize_per_tensor" in str(n.target))
    node.args = (*node.args[:2], 3, *node.args[3:])
    with pytest.raises(ExportError, match="has the zero point 3, expected 0"):
        paired_graph(affine)


def test_half_goes_to_torch_tensorrt_in_its_own_types(
    model: BMViT, clips: list[np.ndarray]
) -> None:
    graph = get_target("tensorrt-fp16").prepare(model, clips)["forward"].graph
    types = {p.dtype for p in (*graph.parameters(), *graph.buffers())}
    assert torch.float16 in types
    assert all(np.isfinite(out).all() for out in graph_outputs(graph)(clips[0]))


@pytest.mark.parametrize("name", ["tensorrt-fp16", "tensorrt-int8"])
def test_the_targets_say_what_is_missing_and_the_other_way(name: str) -> None:
    target = get_target(name)
    assert (target.engine, target.suffix) == ("tensorrt", ".engine")
    if missing() is None and importlib.util.find_spec("torch_tensorrt") is not None:
        pytest.skip("TensorRT is here")
    assert target.not_run == missing()
    with pytest.raises(BackendUnavailableError) as stop:
        target.check_packages()
    assert "edge build-engine BUNDLE on the device" in str(stop.value)
    assert "\n" not in str(stop.value)
