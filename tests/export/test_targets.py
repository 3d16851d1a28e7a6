"""Several targets in one export: what cannot be made here stops nothing else, and is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from edge.cli import main
from edge.model.checkpoint import load_checkpoint, save_checkpoint
from export import export_bundle
from export.base import ExportedArtifact, Exporter, Precision
from export.cli import ExportOptions
from export.fp16 import ALL_HALF, TENSORRT_HALF
from export.registry import ALIASES, TARGETS, TargetEntry, get_target
from quantize.graph import Method
from quantize.schemes import TENSORRT_INT8, XNNPACK_INT8
from runtime.artifact_table import artifact_table
from runtime.bundle import Bundle
from runtime.engine import load_engine
from runtime.engines import ENGINES
from runtime.errors import BackendUnavailableError, ConfigError, ExportError
from tests.export.conftest import Whole, clips_of, small_model


class Elsewhere(Whole):
    """XNNPACK under another engine's name, as if that engine were on other machines only."""

    engine = "elsewhere"
    not_run = "it is a phone's"


class Twin(Whole):
    """XNNPACK's target under another name, for the same engine."""


class Absent(Whole):
    """A target whose package is not installed."""

    def check_packages(self) -> None:
        raise BackendUnavailableError("target absent needs absence, run:\n  pip install absence")


class Unwilling(Whole):
    """A target that does not take the model."""

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        raise ExportError("the delegate does not take aten.roll")


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the classes above rows in the registry."""
    for kind in (Elsewhere, Twin, Absent, Unwilling):
        name = kind.__name__
        row = TargetEntry(f"{__name__}.{name}", "for a test")
        monkeypatch.setitem(TARGETS, f"{name.lower()}-fp32", row)
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")


@pytest.mark.usefixtures("targets", "whole_only")
def test_the_rest_is_made_and_every_reason_is_kept(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["absent-fp32", "xnnpack-fp32", "unwilling-fp32", "elsewhere-fp32"]
    report = export_bundle(checkpoint, targets=names, calib_data=None, out=tmp_path / "b")
    assert report.failed == ("unwilling-fp32",), "what is not installed has not failed"
    assert report.spec.not_made == {
        "absent-fp32": "target absent needs absence, run: pip install absence",
        "unwilling-fp32": "the delegate does not take aten.roll",
    }
    text = "\n".join(report.lines())
    assert "absent-fp32: NOT MADE: target absent needs absence" in text
    assert "elsewhere-fp32: exported, not run at export (it is a phone's)" in text

    table = artifact_table(Bundle.load(tmp_path / "b").spec)
    assert all(line in report.lines() for line in table), "the bundle has the whole table"
    assert main(["info", str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in table if line not in printed] == []
    here, there = table[1:3]
    assert here.split()[:2] == ["xnnpack-fp32", "fp32"]
    assert "100.0% in 1" in here
    assert here.split()[-4:] == ["yes,", "4", "clips", "yes"]
    assert there.split()[-5:] == ["NO", "no:", "no", "such", "engine"]

    loaded = load_engine(Bundle.load(tmp_path / "b"))
    assert loaded.artifact.stem == "xnnpack-fp32"
    assert "skipped: elsewhere-fp32 needs elsewhere" in loaded.reason


@pytest.mark.usefixtures("targets")
def test_what_was_not_run_is_judged_by_its_graph_and_marked(
    checkpoint: Path, tmp_path: Path
) -> None:
    export_bundle(checkpoint, targets=["elsewhere-fp32"], calib_data=None, out=tmp_path / "b")
    spec = Bundle.load(tmp_path / "b").spec
    (artifact,) = spec.artifacts
    assert artifact.file == "elsewhere-fp32.pte"
    assert artifact.parity["ran"] is False
    assert artifact.parity["not_run"] == "it is a phone's"
    assert "(no labels, torch)" in artifact_table(spec)[1], "θ is of torch's answers"
    assert "steps_max_abs" not in artifact.parity, "no engine has computed anything in steps"
    golden = np.load(tmp_path / "b" / "golden.npz")
    assert golden["elsewhere-fp32/pred_boxes"].shape == (spec.num_tokens, 4)
    # On a machine that has the engine, the answers of torch are what it is tested by.
    mine = replace(artifact, target="xnnpack")
    (tmp_path / "b" / "bundle.json").write_text(replace(spec, artifacts=(mine,)).to_json())
    assert load_engine(Bundle.load(tmp_path / "b")).self_test_share is not None


@pytest.mark.usefixtures("targets", "whole_only")
def test_two_targets_of_one_engine_stand_in_one_bundle(tmp_path: Path) -> None:
    path, names = tmp_path / "small.pt", ["xnnpack-fp32", "twin-fp32"]
    save_checkpoint(path, small_model(), class_names=("walk", "wave"), trained=False, note="test")
    export_bundle(path, targets=names, calib_data=None, out=tmp_path / "b")
    bundle = Bundle.load(tmp_path / "b")
    assert [artifact.stem for artifact in bundle.spec.artifacts] == names
    for name in names:
        loaded = load_engine(bundle, artifact=name)
        assert (loaded.artifact.stem, loaded.artifact.target) == (name, "xnnpack")


@pytest.mark.usefixtures("targets", "whole_only")
@pytest.mark.parametrize(
    ("names", "error"),
    [
        pytest.param(["absent-fp32"], BackendUnavailableError, id="not installed"),
        pytest.param(["unwilling-fp32"], ExportError, id="not taken"),
        pytest.param(["absent-fp32", "unwilling-fp32"], ExportError, id="both"),
    ],
)
def test_nothing_is_written_where_nothing_was_made(
    checkpoint: Path, tmp_path: Path, names: list[str], error: type
) -> None:
    with pytest.raises(error):
        export_bundle(checkpoint, targets=names, calib_data=None, out=tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("targets", "whole_only")
@pytest.mark.parametrize(("name", "code"), [("unwilling-fp32", 1), ("absent-fp32", 0)])
def test_the_command_fails_only_where_work_failed(
    checkpoint: Path, tmp_path: Path, name: str, code: int
) -> None:
    argv = ["export", "--model", str(checkpoint), "--out", str(tmp_path / "b"), "--quiet"]
    assert main([*argv, "--targets", "xnnpack-fp32", name]) == code
    assert (tmp_path / "b" / "bundle.json").exists()


@pytest.mark.parametrize(
    ("flags", "target"),
    [
        pytest.param({}, "xnnpack-int8", id="default"),
        pytest.param({"format": "pte", "precision": "fp32"}, "xnnpack-fp32", id="pte"),
        pytest.param(
            {"format": "executorch", "backend": "vulkan", "precision": "fp16"}, "vulkan-fp16",
            id="delegate",
        ),
        pytest.param({"format": "onnx"}, "onnx-int8", id="onnx"),
        pytest.param({"format": "onnx", "precision": "fp32"}, "onnx-fp32", id="onnx float"),
        pytest.param({"format": "engine", "precision": "fp16"}, "tensorrt-fp16", id="engine"),
        pytest.param({"format": "trt"}, "tensorrt-int8", id="trt"),
        pytest.param({"targets": ("onnx",)}, "onnx", id="targets"),
    ],
)  # fmt: skip
def test_flags_name_a_target(flags: dict[str, Any], target: str) -> None:
    assert ExportOptions(model="m.pt", out="b", **flags).wanted == (target,)


def test_every_name_and_alias_is_a_target_of_that_name() -> None:
    for name in TARGETS:
        target = get_target(name)
        assert target.name == name
        assert target.precision in get_args(Precision), "the last word of the name"
        assert target.engine in ENGINES or target.not_run, "no device could run its programs"
    for alias, name in ALIASES.items():
        assert get_target(alias).name == name
        assert alias not in TARGETS


def test_the_docs_say_what_stays_in_float32() -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z_0-9]+)` +\| (.*?) *\| (.*?) *\|", text, flags=re.MULTILINE)
    rules = {
        "XNNPACK_INT8": (XNNPACK_INT8, "int8"), "TENSORRT_INT8": (TENSORRT_INT8, "int8"),
        "TENSORRT_HALF": (TENSORRT_HALF, "fp16"), "ALL_HALF": (ALL_HALF, "fp16"),
    }  # fmt: skip
    assert [name for name, *_ in rows] == list(rules)
    for name, targets, modules in rows:
        rule, precision = rules[name]
        assert tuple(re.findall(r"`(.*?)`", modules)) == rule.float_modules
        for target in map(get_target, re.findall(r"`(.*?)`", targets)):
            assert (target.precision, _rules_of(target)) == (precision, name), target.name
    low = [get_target(name) for name in TARGETS if not name.endswith("fp32")]
    assert {_rules_of(target) for target in low} == set(rules), "each target's rules have a row"


def _rules_of(target: Exporter) -> str:
    """Return the name of what an int8 or float16 target keeps in float32."""
    return target.scheme if target.precision == "int8" else target.half or "ALL_HALF"


def test_a_precision_that_an_engine_lacks_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown target 'xnnpack-fp16'.*Choose from: xnnpack-i"):
        get_target("xnnpack-fp16")


def test_halves_are_cut_off_toward_zero() -> None:
    from export.fp16 import toward_zero

    values = torch.cat(
        [torch.randn(5000) * 10, torch.tensor([0.0, -0.0, 1e-9, 1e6, -1e6, 65504.0])]
    )
    cut = toward_zero(values)
    assert torch.equal(cut, cut.half().float())
    assert bool((cut.abs() <= values.abs()).all())
    nearest = values.clamp(-65504, 65504).half().float()
    step = (nearest.abs() * 2**-10).clamp_min(2**-24)
    assert bool(((cut - nearest).abs() <= step).all())
    assert cut[-2:].tolist() == [-65504.0, 65504.0]


def test_a_driver_that_cuts_off_is_further_off_than_one_that_rounds(checkpoint: Path) -> None:
    from export.fp16 import ALL_HALF, half_graph, half_outputs_toward_zero
    from quantize.graph import export_graph, graph_outputs, quiet_tools

    model = load_checkpoint(checkpoint).model.eval()
    clip = clips_of(model, 1)[0]
    with quiet_tools():
        graph = export_graph(model, torch.from_numpy(clip))
        truth = graph_outputs(graph)(clip)
        nearest = graph_outputs(half_graph(graph, ALL_HALF))(clip)
        cut = half_outputs_toward_zero(graph)(clip)
    for wanted, one, other in zip(truth, nearest, cut, strict=True):
        near, far = np.abs(one - wanted).mean(), np.abs(other - wanted).mean()
        assert 0 < near < far < 0.1


def test_the_self_test_of_a_half_program_lets_both_ways_of_rounding_pass(checkpoint: Path) -> None:
    """A device that cuts off must not be refused; one that is far off still is."""
    from export.vulkan import VulkanExporter
    from quantize.graph import quiet_tools

    model = load_checkpoint(checkpoint).model.eval()
    exporter = VulkanExporter("vulkan-fp16", "fp16")
    with quiet_tools():
        graph = exporter.export(model, torch.from_numpy(clips_of(model, 1)[0]))["forward"].graph
    assert exporter.cut_off(graph) is not None
    assert VulkanExporter("vulkan-fp32", "fp32").cut_off(graph) is None
    assert VulkanExporter("vulkan-int8", "int8").cut_off(graph) is None
