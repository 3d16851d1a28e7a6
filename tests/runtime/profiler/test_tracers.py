"""ONNX Runtime's and OpenVINO's own times of a tiny program's operators, from real runs."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.profiler import operators

SHAPE = (1, 4, 3, 8, 8)


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trace a file as a program of one target on a clip of SHAPE."""
    pytest.importorskip("runtime._native", reason="the native module is not built here")
    clip = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    monkeypatch.setattr(operators, "golden_answer", lambda *_: (clip, []))

    def trace(path: Path, target: str) -> operators.OperatorTrace:
        with Bundle.load(DEFAULT_BUNDLE) as bundle:
            artifact = dataclasses.replace(bundle.spec.artifacts[0], target=target)
            monkeypatch.setattr(Bundle, "artifact_path", lambda *_: path)
            return operators.trace_operators(bundle, artifact, num_threads=1, stride=2, runs=4)

    return trace


def test_onnx_runtime_times_each_operator(tmp_path: Path, traced: Any) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info("clip", TensorProto.FLOAT, SHAPE)
    names = ("pred_boxes", "pred_actor", "pred_actions")
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in names]
    nodes = [
        helper.make_node(kind, ["clip"], [name])
        for kind, name in zip(("Sigmoid", "Exp", "Tanh"), names, strict=True)
    ]
    graph = helper.make_graph(nodes, "tiny", [one], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "tiny.onnx"
    onnx.save(model, str(path))
    found = traced(path, "onnx")
    assert found.reason == ""
    assert found.runs == 4
    assert {o.kind for o in found.operators} == {"Sigmoid", "Exp", "Tanh"}
    assert all(o.count == 1 for o in found.operators)


def test_openvino_times_each_operator(tmp_path: Path, traced: Any) -> None:
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    clip = ops.parameter(SHAPE, np.float32, name="clip")
    results = []
    kinds = {"pred_boxes": ops.sigmoid, "pred_actor": ops.exp, "pred_actions": ops.tanh}
    for name, kind in kinds.items():
        result = kind(clip)
        result.output(0).set_names({name})
        results.append(ops.result(result))
    model = openvino.Model(results, [clip], "tiny")
    openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)
    path = tmp_path / "tiny.ir"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("model.xml", "model.bin"):
            archive.write(tmp_path / name, name)
    found = traced(path, "openvino")
    assert found.reason == ""
    assert found.runs == 4
    # It may join operators to one; each has a time, and says how it is executed.
    assert found.operators
    assert all("(" in o.kind and o.count >= 1 for o in found.operators)


def test_tensorrt_is_said_to_be_missing_and_not_run(tmp_path: Path, traced: Any) -> None:
    pytest.importorskip("runtime._native")
    from runtime.tensorrt.engine import missing

    if missing() is None:
        pytest.skip("TensorRT is here")
    found = traced(tmp_path / "x.engine", "tensorrt")
    assert found.operators == ()
    assert "not run by this project" in found.tracer
    assert found.reason
