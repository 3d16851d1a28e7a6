"""Less work in ExecuTorch's lowering, and the same program."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch

from export.executorch import quiet_delegate
from export.quick_lowering import quick_lowering, replaced
from quantize.graph import export_graph, quiet_tools
from quantize.ptq import int8_graphs
from quantize.schemes import XNNPACK_INT8
from tests.export.conftest import clips_of, small_model


def test_the_program_is_equal_byte_by_byte() -> None:
    pytest.importorskip("executorch.exir", reason="ExecuTorch is not installed here")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.exir.pass_base import ExportPass

    model = small_model()
    clips = clips_of(model, 2)
    traces: list[str] = []
    trace = ExportPass.call_submodule

    def counted(self: ExportPass, *args: object) -> object:
        traces.append(type(self).__name__)
        return trace(self, *args)

    programs, counts = [], []
    with quiet_tools(), quiet_delegate(), replaced(ExportPass, "call_submodule", counted):
        float_graph = export_graph(model, torch.from_numpy(clips[0]))
        graph = int8_graphs([float_graph], model, clips, XNNPACK_INT8)[0]
        for how in (nullcontext, quick_lowering):
            traces.clear()
            with how():
                edge = to_edge_transform_and_lower(
                    torch.export.export(copy.deepcopy(graph), (torch.from_numpy(clips[0]),)),
                    partitioner=[XnnpackPartitioner()],
                    compile_config=EdgeCompileConfig(_check_ir_validity=False),
                )
                programs.append(bytes(edge.to_executorch().buffer))
            counts.append(len(traces))
    assert programs[0] == programs[1]
    assert counts[1] < 0.8 * counts[0], counts


def test_what_was_replaced_comes_back() -> None:
    class Base:
        value = 1

    class Derived(Base):
        pass

    def fail() -> None:
        with replaced(Derived, "value", 2), replaced(Base, "value", 3):
            assert (Derived.value, Base.value) == (2, 3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (Derived.value, Base.value) == (1, 1)
    assert "value" not in vars(Derived)
