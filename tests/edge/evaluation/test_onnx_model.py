"""An ONNX graph is a model like any other, or is refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.evaluation.onnx_model import open_beside
from edge.evaluation.options import ModelChoice
from edge.evaluation.predictors import open_predictor
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.bundle_spec import BundleSpec
from runtime.errors import ArtifactError, ArtifactMismatchError
from runtime.preprocess import normalize

onnx = pytest.importorskip("onnx", reason="onnx is not installed here")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")

TOKENS = 5


@pytest.fixture(scope="module")
def spec() -> BundleSpec:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        return bundle.spec


def write_graph(
    path: Path, clip: tuple[int, ...], classes: int, *, outputs: tuple[str, ...] | None = None,
    kind: str = "FLOAT", width: int = 4,
) -> None:  # fmt: skip
    """Write a graph whose actor logits are the mean of the clip and whose rest is constant."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    names = outputs or ("pred_actions", "pred_boxes", "pred_actor")
    shapes = {"pred_boxes": (1, TOKENS, width), "pred_actor": (1, TOKENS),
              "pred_actions": (1, TOKENS, classes)}  # fmt: skip
    dtype = {"FLOAT": np.float32, "FLOAT16": np.float16, "INT32": np.int32}[kind]
    made = [("axes", np.arange(5)), ("one", np.array([1, 1])), ("wide", np.array([1, TOKENS]))]
    constants = [numpy_helper.from_array(array.astype(np.int64), name) for name, array in made]
    nodes = [
        helper.make_node("ReduceMean", ["clip", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["small"]),
        helper.make_node("Expand", ["small", "wide"], ["pred_actor"]),
    ]
    for name in ("pred_boxes", "pred_actions"):
        values = np.linspace(0.1, 0.9, int(np.prod(shapes[name]))).reshape(shapes[name])
        constants.append(numpy_helper.from_array(values.astype(dtype), f"{name}_values"))
        nodes.append(helper.make_node("Identity", [f"{name}_values"], [name]))
    element = getattr(onnx.TensorProto, kind)
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("clip", element, clip)],
        [helper.make_tensor_value_info(n, element, shapes[n]) for n in names], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16"])
def test_a_graph_beside_a_bundle_answers(spec: BundleSpec, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    write_graph(folder / "own.onnx", spec.clip.input_shape, len(spec.class_names), kind=kind)
    predictor = open_predictor(ModelChoice(model=str(folder / "own.onnx"), num_threads=1))
    assert predictor.class_names == spec.class_names
    assert predictor.name.endswith("/own")
    assert predictor.conf is None, "no threshold was fitted to it"
    size = (spec.clip.num_frames, spec.clip.height, spec.clip.width, 3)
    clip = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    boxes, actor, actions = predictor.run([clip])[0]
    assert boxes.shape == (TOKENS, 4)
    assert actions.shape == (TOKENS, len(spec.class_names))
    expected = normalize(clip, spec.clip).mean()
    np.testing.assert_allclose(actor, np.full(TOKENS, expected), atol=2e-2)
    assert {a.dtype for a in (boxes, actor, actions)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"clip": (1, 4, 3, 8, 8)}, "its bundle says one clip", id="another clip"),
        pytest.param({"kind": "INT32"}, "of floats", id="whole numbers"),
        pytest.param({"outputs": ("pred_boxes", "pred_actor")}, "expected pred_boxes", id="two"),
        pytest.param({"classes": 1}, "expected (1, N, 4), (1, N), (1, N, ", id="classes"),
        pytest.param({"width": 5}, "expected (1, N, 4)", id="boxes"),
    ],
)
def test_another_model_is_refused(
    spec: BundleSpec, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    values = {"clip": spec.clip.input_shape, "classes": len(spec.class_names), **change}
    write_graph(tmp_path / "g.onnx", **values)
    with pytest.raises(ArtifactMismatchError) as error:
        open_beside(tmp_path / "g.onnx", spec)(np.zeros(spec.clip.input_shape, np.float32))
    assert sentence in str(error.value)


def test_what_is_no_graph_is_refused(spec: BundleSpec, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match=r"g\.onnx does not load"):
        open_beside(tmp_path / "g.onnx", spec)
    with pytest.raises(ArtifactError, match="there is no file"):
        open_beside(tmp_path / "absent.onnx", spec)
