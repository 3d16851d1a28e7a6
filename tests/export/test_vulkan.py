"""Vulkan programs: all of the network inside one delegate call, int8 in int8 operations."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge.model.bmvit import BMViT
from edge.model.checkpoint import load_checkpoint
from export.base import ExportedArtifact, Exporter, Precision
from export.batch_to_height import stack_batches
from export.executorch import lower_methods, quiet_delegate
from export.registry import TARGETS, get_target
from export.vulkan import VulkanExporter
from quantize.graph import Method, quiet_tools
from runtime.errors import BackendUnavailableError, PartitionError
from tests.export.conftest import clips_of

pytest.importorskip("executorch.backends.vulkan", reason="ExecuTorch is not installed here")

torch.set_num_threads(1)


def lower(
    checkpoint: Path, precision: Precision, exporter: type[VulkanExporter] = VulkanExporter
) -> tuple[ExportedArtifact, list[float]]:
    """Lower the tiny model; the errors are means against the float model."""
    from quantize.graph import float_outputs

    model = load_checkpoint(checkpoint).model.eval()
    clips = clips_of(model, 3)
    lowered = exporter(f"vulkan-{precision}", precision).lower(model, clips)
    found, truth = lowered.simulate(clips[0]), float_outputs(model)(clips[0])
    errors = [float(np.abs(a - b).mean()) for a, b in zip(found, truth, strict=True)]
    return lowered, errors


def delegate_operations(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count, from now on, the operations that reach the delegate's file."""
    with quiet_tools(), quiet_delegate():
        from executorch.backends.vulkan import vulkan_preprocess

    found: Counter[str] = Counter()
    serialize = vulkan_preprocess.serialize_vulkan_graph

    def counting(graph, *others):
        found.update(call.name for call in graph.chain)
        return serialize(graph, *others)

    monkeypatch.setattr(vulkan_preprocess, "serialize_vulkan_graph", counting)
    return found


@pytest.mark.slow
def test_int8_takes_all_in_one_call_and_its_convolutions_are_int8_operations(
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    level = logging.getLogger().level
    operations = delegate_operations(monkeypatch)
    lowered, errors = lower(checkpoint, "int8")
    assert lowered.delegation is not None
    assert (lowered.delegation.share, lowered.delegation.calls) == (1.0, 1)
    assert lowered.delegation.fallbacks == ()
    convolutions = {name: n for name, n in operations.items() if "conv" in name}
    quantized = sum(n for name, n in convolutions.items() if name.startswith("et_vk.q8ta_conv2d"))
    assert quantized == 29
    assert convolutions["aten.convolution.default"] == 3, "the last layer of each head"
    assert 0 < max(errors) < 0.02
    assert b"VulkanBackend" in lowered.program
    assert "Vulkan" not in capfd.readouterr().err, "the partitioner's own log is kept off"
    assert logging.getLogger().level == level
    assert logging.root.manager.disable == 0


@pytest.mark.slow
def test_a_model_on_a_stem_is_taken_whole_in_int8_operations(
    stem_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = delegate_operations(monkeypatch)
    lowered, errors = lower(stem_checkpoint, "int8")
    assert lowered.delegation is not None
    assert (lowered.delegation.share, lowered.delegation.calls) == (1.0, 1)
    assert lowered.delegation.fallbacks == ()
    quantized = {
        name.removeprefix("et_vk.q8ta_conv2d").removesuffix(".default"): n
        for name, n in operations.items()
        if name.startswith("et_vk.q8ta_conv2d")
    }
    assert sum(quantized.values()) == 71
    assert quantized["_transposed"] == 1
    assert operations["aten.convolution.default"] == 3, "the last layer of each head"
    assert "aten.hardtanh.default" not in operations, "int8 ends where ReLU6 does"
    assert 0 < errors[0] < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_model_on_a_stem_is_taken_whole(stem_checkpoint: Path, precision: Precision) -> None:
    lowered, errors = lower(stem_checkpoint, precision)
    assert lowered.delegation is not None
    assert (lowered.delegation.share, lowered.delegation.calls) == (1.0, 1)
    low, high = (0.0, 1e-5) if precision == "fp32" else (1e-6, 0.05)
    assert low <= max(errors) < high


@pytest.mark.slow
@pytest.mark.parametrize("family", ["checkpoint", "stem_checkpoint"])
def test_int8_sums_are_of_tensors_of_one_shape(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delegate's int8 sum reads beside a constant that would have to be broadcast."""
    with quiet_tools(), quiet_delegate():
        from executorch.backends.vulkan import vulkan_preprocess

    shapes: list[list[tuple[int, ...]]] = []
    serialize = vulkan_preprocess.serialize_vulkan_graph

    def looking(graph, *others):
        for call in graph.chain:
            if call.name.startswith("et_vk.q8ta_add"):
                values = [graph.values[which].value for which in call.args]
                shapes.append([tuple(v.dims) for v in values if hasattr(v, "dims")])
        return serialize(graph, *others)

    monkeypatch.setattr(vulkan_preprocess, "serialize_vulkan_graph", looking)
    lower(request.getfixturevalue(family), "int8")
    assert len(shapes) > 5
    for tensors in shapes:
        assert len(tensors) == 3
        assert len(set(tensors)) == 1, tensors


def test_a_batch_is_delegated_once_it_is_stacked(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_tools(), quiet_delegate():
        from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    module = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    example = torch.zeros(3, 4, 8, 8)
    with quiet_tools():
        graph = torch.export.export(module, (example,)).module()
        methods = {"forward": Method(graph=graph, example=example)}
        with quiet_delegate(), pytest.raises(PartitionError, match=r"convolution\.default x 2"):
            lower_methods(methods, VulkanPartitioner, name="v", least=0.99)
        methods = {"forward": Method(graph=stack_batches(graph), example=example)}
        with quiet_delegate():
            emitted = lower_methods(methods, VulkanPartitioner, name="v", least=0.99)
    found = emitted.delegations["forward"]
    assert (found.share, found.calls) == (1.0, 1)
    assert b"VulkanBackend" in emitted.program
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_takes_all_in_one_call(checkpoint: Path, precision: Precision) -> None:
    lowered, errors = lower(checkpoint, precision)
    assert lowered.delegation is not None
    assert (lowered.delegation.share, lowered.delegation.calls) == (1.0, 1)
    assert set(lowered.delegations) == {"forward"}
    weights = sum(p.numel() for p in load_checkpoint(checkpoint).model.parameters())
    if precision == "fp32":
        assert max(errors) < 1e-6
        assert len(lowered.program) > 4 * weights
    else:
        assert 1e-6 < max(errors) < 0.01
        assert len(lowered.program) < 4 * weights, "weights are stored in float16"


@pytest.mark.slow
def test_a_graph_that_is_not_stacked_is_refused_and_what_stayed_outside_is_named(
    checkpoint: Path,
) -> None:
    class NotStacked(VulkanExporter):
        def export(self, model: BMViT, example: torch.Tensor) -> dict[str, Method]:
            return Exporter.export(self, model, example)

    with pytest.raises(PartitionError, match=r"took 0\.\d%.*at least 99%.*convolution"):
        lower(checkpoint, "fp32", NotStacked)


def test_it_says_that_it_is_not_run_here() -> None:
    names = [name for name in TARGETS if name.startswith("vulkan")]
    assert names == ["vulkan-fp32", "vulkan-fp16", "vulkan-int8"]
    for name in names:
        target = get_target(name)
        assert target.not_run == "the ExecuTorch package holds no Vulkan engine"
        with (
            pytest.raises(BackendUnavailableError, match="cannot be run here"),
            target.open(b"program"),
        ):
            pass


def test_a_missing_package_is_named_with_its_extra() -> None:
    class Missing(VulkanExporter):
        packages = ("torch", "no_such_package")

    with pytest.raises(BackendUnavailableError, match=r"no_such_package.*\.\[export\]"):
        Missing("vulkan-fp16", "fp16").check_packages()
