"""ONNX files in layouts of real detectors: one finds bright squares, one says what it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
BLOB = 24


def _save(path: Path, nodes: list, weights: dict[str, np.ndarray], shape: list[int]) -> Path:
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "detector", [given], [gives],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def constant_detector(path: Path, output: np.ndarray, shape: tuple[int, ...]) -> Path:
    """Write a program of that input's shape that gives the same numbers for every picture."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "told"], ["output"]),
    ]
    weights = {"zero": np.float32(0), "told": output.astype(np.float32)}
    return _save(path, nodes, weights, list(shape))


def constant_movenet(path: Path, maps: dict[str, np.ndarray], side: int) -> Path:
    """Write a program of that side whose named outputs are the same for every picture."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    weights: dict[str, np.ndarray] = {"zero": np.float32(0)}
    gives = []
    for name, told in maps.items():
        weights[f"told_{name}"] = told.astype(np.float32)
        nodes.append(helper.make_node("Add", ["nothing", f"told_{name}"], [name]))
        gives.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(told.shape)))
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(
        nodes, "detector", [given], gives,
        [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def blob_detector(path: Path) -> Path:
    """Write a YOLOX of one class, 64 x 64 px, that finds bright squares of 24 px on its grid."""
    nodes, weights, outs = [], {}, []
    for stride in (8, 16, 32):
        kernel = BLOB if stride == 8 else stride
        cells = (SIDE // stride) ** 2
        weight = np.zeros((6, 3, kernel, kernel), np.float32)
        # A cell is sure where its window of 24 px is as good as all white.
        weight[4] = 60.0 / (3 * kernel * kernel * 255.0)
        bias = [0.5, 0.5, np.log(BLOB / stride), np.log(BLOB / stride), -54.0, 9.0]
        if stride != 8:
            weight[4], bias[4] = 0, -99.0
        weights[f"w{stride}"], weights[f"b{stride}"] = weight, np.array(bias, np.float32)
        weights[f"s{stride}"] = np.array([1, 6, cells], np.int64)
        pad = (kernel - stride) // 2
        nodes += [
            helper.make_node("Conv", ["images", f"w{stride}", f"b{stride}"], [f"c{stride}"],
                             kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4),
            helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"]),
        ]  # fmt: skip
        outs.append(f"r{stride}")
    nodes += [
        helper.make_node("Concat", outs, ["all"], axis=2),
        helper.make_node("Split", ["all", "parts"], ["box", "sure"], axis=1),
        helper.make_node("Sigmoid", ["sure"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["joined"], axis=1),
        helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]),
    ]
    weights["parts"] = np.array([4, 2], np.int64)
    return _save(path, nodes, weights, [1, 3, SIDE, SIDE])
