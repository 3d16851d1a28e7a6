"""ONNX targets: what is in the graphs, how far they are from torch, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge.model.checkpoint import load_checkpoint
from export import ExportReport, export_bundle
from export.base import Precision
from export.onnx import OnnxExporter
from export.onnx_graph import (
    TENSORRT_OPERATORS,
    check_graph,
    count_operators,
    quantization_faults,
    unfolded_nodes,
    unsupported_operators,
)
from export.registry import get_target
from quantize.graph import float_outputs
from runtime.bundle import Bundle
from runtime.bundle_spec import OUTPUTS
from runtime.engine import load_engine
from runtime.errors import BackendUnavailableError, ExportError, UnsupportedOpError
from runtime.instructions import int8_sums_overflow
from runtime.preprocess import normalize

onnx = pytest.importorskip("onnx", reason="onnx is not installed here")
pytest.importorskip("onnxscript", reason="onnxscript is not installed here")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")

STEMS = ("onnx-fp32", "onnx-fp16", "onnx-int8")


@pytest.fixture(scope="module")
def bundled(
    checkpoint: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    """Export all ONNX targets at once."""
    return export_bundle(
        checkpoint,
        targets=["onnx", "onnx-fp16", "onnx-int8"],
        calib_data=video,
        calib_clips=16,
        out=tmp_path_factory.mktemp("onnx") / "tiny",
    )


@pytest.fixture(params=STEMS)
def stem(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def graph(bundled: ExportReport, stem: str):
    return onnx.load(str(bundled.out / f"{stem}.onnx"))


def test_no_graph_has_an_operator_that_tensorrt_lacks(graph, stem: str) -> None:
    assert unsupported_operators(graph) == []
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 18)]
    used = set(count_operators(graph))
    expected = {
        name for name, known in TENSORRT_OPERATORS.items() if known.used_by in ("all", "compact")
    }
    extra = stem.removeprefix("onnx-")
    expected |= {name for name, known in TENSORRT_OPERATORS.items() if known.used_by == extra}
    assert used == expected, "the table says which operators the compact networks have"


@pytest.fixture(scope="module")
def stem_bundled(
    stem_checkpoint: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    """Export all ONNX targets of a model on a pretrained stem."""
    return export_bundle(
        stem_checkpoint,
        targets=["onnx", "onnx-fp16", "onnx-int8"],
        calib_data=video,
        calib_clips=6,
        verify_clips=3,
        out=tmp_path_factory.mktemp("onnx-stem") / "tiny",
    )


def test_a_model_on_a_stem_has_the_operators_of_the_table(
    stem_bundled: ExportReport, stem: str
) -> None:
    graph = onnx.load(str(stem_bundled.out / f"{stem}.onnx"))
    extra = stem.removeprefix("onnx-")
    expected = {
        name
        for name, known in TENSORRT_OPERATORS.items()
        if known.used_by in ("all", "compact", "stem", extra)
    }
    assert set(count_operators(graph)) == expected - {"MaxPool"}
    artifact = next(a for a in Bundle.load(stem_bundled.out).spec.artifacts if a.stem == stem)
    limits = {"onnx-fp32": 1e-4, "onnx-fp16": 0.1, "onnx-int8": 3.0}
    assert artifact.parity["clips"] == 3
    assert 0.0 < artifact.parity["max_abs"]["pred_actor"] < limits[stem]


def test_a_stem_is_in_int8_but_the_convolution_that_grows_the_grid(
    stem_bundled: ExportReport,
) -> None:
    model = onnx.load(str(stem_bundled.out / "onnx-int8.onnx"))
    assert list(quantization_faults(model)) == []
    makers = {output: node for node in model.graph.node for output in node.output}
    users = {name: node for node in model.graph.node for name in node.input}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    quantized = [node for node in convs if node.input[1] in makers]
    assert len(convs) - len(quantized) == 3, "the last layer of each head"
    (growing,) = (node for node in model.graph.node if node.op_type == "ConvTranspose")
    assert growing.input[1] not in makers
    # ReLU6 is the end of int8's range: behind a convolution stands a Relu or nothing.
    behind = {users[node.output[0]].op_type for node in quantized}
    assert "Clip" not in behind
    assert "Relu" in behind


def test_constants_are_folded_and_no_path_of_the_machine_is_left(graph) -> None:
    assert unfolded_nodes(graph) == []
    assert not {"Constant", "Identity", "Shape", "Expand"} & set(count_operators(graph))
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert b"/export/" not in graph.SerializeToString()
    assert b".py" not in graph.SerializeToString()


def test_all_take_and_give_what_the_bundle_says(graph) -> None:
    def shapes(values) -> list[tuple[str, int, list[int]]]:
        kinds = [(value.name, value.type.tensor_type) for value in values]
        return [(n, kind.elem_type, [d.dim_value for d in kind.shape.dim]) for n, kind in kinds]

    assert shapes(graph.graph.input) == [("clip", onnx.TensorProto.FLOAT, [1, 4, 3, 64, 64])]
    tails = ([4], [], [3])
    assert shapes(graph.graph.output) == [
        (name, onnx.TensorProto.FLOAT, [1, 32, *tail])
        for name, tail in zip(OUTPUTS, tails, strict=True)
    ]


def test_int8_is_explicit_symmetric_and_by_channel_for_every_layer_but_the_last_ones(
    bundled: ExportReport,
) -> None:
    model = onnx.load(str(bundled.out / "onnx-int8.onnx"))
    assert list(quantization_faults(model)) == []
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    scales = []
    for node in (n for n in model.graph.node if n.op_type == "Conv"):
        maker = makers.get(node.input[1])
        if maker is None:
            scales.append(None)  # the last layer of a head
            continue
        assert maker.op_type == "DequantizeLinear"
        assert constants[maker.input[0]].data_type == onnx.TensorProto.INT8
        assert list(constants[maker.input[1]].dims) == [constants[maker.input[0]].dims[0]]
        assert makers[node.input[0]].op_type == "DequantizeLinear", "its clip is in int8, too"
        scales.append(maker.input[1])
    assert scales.count(None) == 3
    assert len(scales) == 32


def test_scales_have_the_type_of_the_floats_beside_them(bundled: ExportReport) -> None:
    model = onnx.load(str(bundled.out / "onnx-int8.onnx"))
    del model.graph.value_info[:]  # types are to follow from the nodes alone
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = model.graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    seen = set()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            floats = node.input[0] if node.op_type == "QuantizeLinear" else node.output[0]
            assert types[node.input[1]] == types[floats], node.name
            seen.add(node.op_type)
        elif node.op_type in ("MatMul", "Softmax"):
            assert {types[value] for value in node.input} == {onnx.TensorProto.FLOAT}
            seen.add(node.op_type)
    assert seen == {"QuantizeLinear", "DequantizeLinear", "MatMul", "Softmax"}


def test_fp16_keeps_softmax_and_boxes_in_float32(bundled: ExportReport) -> None:
    model = onnx.load(str(bundled.out / "onnx-fp16.onnx"))
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    types |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    types |= {t.name: t.data_type for t in model.graph.initializer}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT

    def kinds(operator: str) -> list[int]:
        return [types[n.output[0]] for n in model.graph.node if n.op_type == operator]

    assert set(kinds("Softmax")) == {single}
    assert set(kinds("Sigmoid")) == {single}
    assert set(kinds("MatMul")) == {half}
    assert kinds("Conv").count(single) == 2, "the two layers of the head of boxes"
    assert kinds("Conv").count(half) == 30


def test_each_was_run_on_sixteen_clips_and_matched(bundled: ExportReport, stem: str) -> None:
    artifact = next(a for a in Bundle.load(bundled.out).spec.artifacts if a.stem == stem)
    assert artifact.target == "onnx"
    assert artifact.parity["clips"] == 16
    assert artifact.made_with["opset"] == "18"
    limits = {"onnx-fp32": 1e-5, "onnx-fp16": 0.01, "onnx-int8": 0.3}
    assert 0.0 < artifact.parity["max_abs"]["pred_actor"] < limits[stem]
    matched = artifact.parity["matched"]
    assert matched["conf"] == artifact.conf
    assert 0 < matched["boxes"] <= min(matched["expected"], matched["found"])
    if stem == "onnx-fp32":
        assert matched["boxes"] == matched["actions"] == matched["expected"] == matched["found"]


def test_the_report_has_a_row_for_each_and_no_delegate(bundled: ExportReport) -> None:
    lines = bundled.lines()
    for row, stem in zip(lines[1:], STEMS, strict=False):
        assert row.startswith(stem)
        assert "whole" in row
        assert row.split()[-4:] == ["yes,", "16", "clips", "yes"]
    assert sum("detections matched" in line for line in lines) == len(STEMS)


def test_edge_val_reads_them_from_their_bundle(bundled: ExportReport, stem: str) -> None:
    from edge.evaluation.options import ModelChoice
    from edge.evaluation.predictors import open_predictor

    path = bundled.out / f"{stem}.onnx"
    predictor = open_predictor(ModelChoice(model=str(path), num_threads=1))
    golden = np.load(bundled.out / "golden.npz")
    found = predictor.run([golden["frames_rgb"]])[0]
    for name, output in zip(OUTPUTS, found, strict=True):
        assert np.allclose(output, golden[f"{stem}/{name}"], atol=1e-5)
    assert predictor.precision == stem.removeprefix("onnx-")
    assert predictor.conf is not None


def test_the_devices_runtime_takes_them_where_nothing_faster_is_there(
    bundled: ExportReport,
) -> None:
    with Bundle.load(bundled.out) as bundle:
        loaded = load_engine(bundle, num_threads=1)
    # Which of the three is the fastest is measured.
    assert loaded.artifact.target == "onnx"
    assert "measured here: " in loaded.reason
    assert ": 1 thread, self-test passed" in loaded.reason
    golden = np.load(bundled.out / "golden.npz")
    with Bundle.load(bundled.out) as bundle:
        clip = normalize(golden["frames_rgb"], bundle.spec.clip)
    assert np.allclose(loaded(clip)[1], golden[f"{loaded.artifact.stem}/pred_actor"], atol=1e-5)


def test_the_next_commands_of_an_onnx_bundle_can_be_run(bundled: ExportReport) -> None:
    assert f"edge run --model {bundled.out} --source 0" in "\n".join(bundled.lines())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_missing_package_is_named_with_its_extra(
    precision: Precision,
) -> None:
    class Missing(OnnxExporter):
        packages = ("onnx", "no_such_package")

    with pytest.raises(
        BackendUnavailableError, match=r"no_such_package, .*pip install '\.\[export,onnx\]'$"
    ):
        Missing("onnx", precision).check_packages()


def _add_constant(model) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "one"))
    model.graph.node.insert(0, onnx.helper.make_node("Add", ["one", "one"], ["two"], name="sum"))


def _set(model, where: int, value: np.ndarray) -> None:
    """Give the first QuantizeLinear another constant input."""
    node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
    model.graph.initializer.append(onnx.numpy_helper.from_array(value, "spoilt"))
    node.input[where] = "spoilt"


def _rename(model) -> None:
    node = next(n for n in model.graph.node if n.op_type == "Relu")
    node.op_type = "Hardmax"


def _break(model) -> None:
    model.graph.node[3].input[0] = "nothing"


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        pytest.param(_rename, UnsupportedOpError, "Hardmax", id="operator"),
        pytest.param(_add_constant, ExportError, "were to be folded", id="constant"),
        pytest.param(_break, ExportError, "checker refuses", id="checker"),
        pytest.param(lambda m: _set(m, 2, np.int8(3)), ExportError, "zero point", id="affine"),
        pytest.param(lambda m: _set(m, 1, np.float32(0)), ExportError, "positive", id="scale"),
        pytest.param(
            lambda m: _set(m, 1, np.float16(0.1)), ExportError, "checker refuses", id="half scale"
        ),
    ],
)
def test_a_graph_that_tensorrt_would_refuse_is_an_error(
    bundled: ExportReport, spoil, error: type[Exception], words: str
) -> None:
    model = onnx.load(str(bundled.out / "onnx-int8.onnx"))
    check_graph(model, name="x.onnx")
    spoil(model)
    with pytest.raises(error, match=words):
        check_graph(model, name="x.onnx")


@pytest.mark.parametrize("program", [b"", b"no graph" * 100], ids=["empty", "text"])
def test_a_program_that_onnx_runtime_refuses_is_an_error(program: bytes) -> None:
    with (
        pytest.raises(ExportError, match="ONNX Runtime refuses it"),
        OnnxExporter("onnx-fp32", "fp32").open(program),
    ):
        pass


def test_an_artifact_over_its_tolerance_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.verify import TOLERANCES, Tolerance

    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance(boxes=1e-12, logits=1e-12, engine=1.0))
    with pytest.raises(ExportError, match=r"onnx-fp32\.onnx differs from .*nothing was written"):
        export_bundle(checkpoint, targets=["onnx"], calib_data=None, out=tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_float16_that_overflows_is_found_though_the_processor_computes_in_float32(
    checkpoint: Path,
) -> None:
    """ONNX Runtime's kernels for processors keep what a GPU would lose."""
    from export.verify import verify

    loaded = load_checkpoint(checkpoint)
    model = loaded.model.eval()
    actor = model.heads.actor.layers
    with torch.no_grad():
        scale = 6e4 / actor[0].weight.abs().max()  # the weights fit, their products do not
        actor[0].weight.mul_(scale)
        actor[-1].weight.div_(scale)
    clip = np.random.default_rng(0).normal(size=(1, 4, 3, 64, 64)).astype(np.float32)
    target = get_target("onnx-fp16")
    lowered = target.lower(model, [clip])
    with (
        target.open(lowered.program) as run,
        pytest.raises(ExportError, match=r"its graph in torch.* not finite"),
    ):
        verify(run, [clip], name="x", precision="fp16", truth=float_outputs(model),
               simulate=lowered.simulate)  # fmt: skip


def test_an_int8_program_says_where_it_runs_in_float32(bundled: ExportReport) -> None:
    with Bundle.load(bundled.out) as bundle:
        reason = load_engine(bundle, artifact="onnx-int8").reason
        assert ("int8 sums overflow" in reason) == int8_sums_overflow()
        assert "overflow" not in load_engine(bundle, artifact="onnx-fp32").reason
