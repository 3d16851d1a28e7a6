"""Chains of layout operators: fewer of them, and the same values in the same places."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model.checkpoint import load_checkpoint
from edge.model.variants import with_suppression
from export import transpose_pass
from export.registry import get_target
from export.transpose_pass import shortest_steps
from export.verify import run_program

Shape = tuple[int, ...]


def apply(steps: list[tuple[str, Shape]], shape: Shape) -> np.ndarray:
    order = np.arange(math.prod(shape)).reshape(shape)
    for kind, argument in steps:
        order = order.reshape(argument) if kind == "reshape" else order.transpose(argument)
    return order


@pytest.mark.parametrize(
    ("shape", "chain", "expected"),
    [
        pytest.param((4, 5), [], [], id="nothing"),
        pytest.param(
            (4, 20, 20, 96),
            [
                ("transpose", (0, 3, 1, 2)),
                ("reshape", (4, 1, 96, 400)),
                ("transpose", (0, 1, 3, 2)),
                ("reshape", (4, 400, 96)),
            ],
            [("reshape", (4, 400, 96))],
            id="channels-last-to-tokens-moves-nothing",
        ),
        pytest.param(
            (2, 5, 5, 8),
            [("transpose", (0, 3, 1, 2)), ("transpose", (0, 2, 3, 1))],
            [],
            id="there-and-back",
        ),
        pytest.param(
            (4, 10, 10, 192),
            [
                ("transpose", (0, 3, 1, 2)),
                ("reshape", (4, 2, 96, 100)),
                ("transpose", (1, 0, 3, 2)),
                ("reshape", (2, 400, 96)),
            ],
            [("reshape", (400, 2, 96)), ("transpose", (1, 0, 2))],
            id="heads-need-one-transpose",
        ),
        pytest.param(
            (1, 8, 3, 16, 16),
            [("reshape", (8, 3, 16, 16)), ("transpose", (0, 2, 3, 1))],
            [("transpose", (0, 1, 3, 4, 2)), ("reshape", (8, 16, 16, 3))],
            id="what-is-needed-stays",
        ),
    ],
)
def test_known_chains(
    shape: Shape, chain: list[tuple[str, Shape]], expected: list[tuple[str, Shape]]
) -> None:
    assert shortest_steps(apply(chain, shape), shape) == expected


@st.composite
def chains(draw: st.DrawFn) -> tuple[Shape, list[tuple[str, Shape]]]:
    """Return a shape, and transposes and reshapes as a network has them: axes joined and split."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    current, steps = shape, []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            perm = tuple(draw(st.permutations(range(len(current)))))
            steps.append(("transpose", perm))
            current = tuple(current[axis] for axis in perm)
        elif len(current) > 1:
            cut = draw(st.integers(0, len(current) - 2))
            joined = (*current[:cut], current[cut] * current[cut + 1], *current[cut + 2 :])
            steps.append(("reshape", joined))
            current = joined
    return shape, steps


@given(chains())
@settings(max_examples=300, deadline=None)
def test_any_chain_has_a_short_equal_one(case: tuple[Shape, list[tuple[str, Shape]]]) -> None:
    shape, chain = case
    order = apply(chain, shape)
    found = shortest_steps(order, shape)
    assert np.array_equal(apply(found, shape), order)
    assert apply(found, shape).shape == order.shape
    assert len(found) <= 3
    assert sum(kind == "transpose" for kind, _ in found) <= 1


def test_program_is_shorter_and_answers_the_same(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal bit for bit, with fewer operators."""
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    from export.executorch import lower_methods
    from quantize.graph import Method, export_graph, quiet_tools
    from quantize.ptq import quantize_static
    from quantize.schemes import XNNPACK_INT8

    # Without the arithmetic of suppression: what is shortened is the way to it.
    model = with_suppression(load_checkpoint(checkpoint).model, 0.0).eval()
    shape = (1, model.config.num_frames, 3, model.config.height, model.config.width)
    random = np.random.default_rng(0)
    clips = [random.normal(size=shape).astype(np.float32) for _ in range(2)]
    tensors = [torch.from_numpy(clip) for clip in clips]
    shorten = transpose_pass.shorten
    counts: list[int] = []

    def counted(graph: Any) -> Any:
        counts.extend((len(graph.xnodes), len(shorten(graph).xnodes)))
        return shorten(graph)

    with quiet_tools():
        graph = quantize_static(export_graph(model, tensors[0]), tensors, scheme=XNNPACK_INT8)
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        methods = {"forward": Method(graph=graph, example=tensors[0])}
        monkeypatch.setattr(transpose_pass, "shorten", counted)
        with transpose_pass.shortest_layouts():
            short = lower_methods(methods, XnnpackPartitioner, name="short").program
            monkeypatch.setattr(transpose_pass, "shorten", lambda graph: graph)
            plain = lower_methods(methods, XnnpackPartitioner, name="plain").program
    found, expected = (run_program(get_target("xnnpack-int8"), p, clips) for p in (short, plain))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
        assert float(np.std(one)) > 0
    before, after = counts  # one delegate
    assert after < 0.8 * before


def test_nothing_is_left_patched() -> None:
    from executorch.backends.xnnpack import xnnpack_preprocess

    before = xnnpack_preprocess.serialize_xnnpack_binary

    def fail() -> None:
        with transpose_pass.shortest_layouts():
            assert xnnpack_preprocess.serialize_xnnpack_binary is not before
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert xnnpack_preprocess.serialize_xnnpack_binary is before
