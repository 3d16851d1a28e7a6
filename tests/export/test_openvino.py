"""OpenVINO programs: made, run by OpenVINO, chosen by the runtime, and refused where broken."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.model.checkpoint import load_checkpoint
from export import ExportReport, export_bundle
from export.base import Precision
from export.openvino import OpenVinoExporter
from runtime.bundle import Bundle
from runtime.bundle_spec import OUTPUTS
from runtime.engine import load_engine
from runtime.engines.openvino import OPENVINO, OpenVinoProgram
from runtime.errors import (
    ArtifactError,
    ArtifactMismatchError,
    BackendUnavailableError,
    ExportError,
)
from runtime.preprocess import normalize

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed here")

torch.set_num_threads(1)

STEMS = ("openvino-fp32", "openvino-int8")


@pytest.fixture(scope="module")
def bundled(
    checkpoint: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    return export_bundle(
        checkpoint,
        targets=STEMS,
        calib_data=video,
        calib_clips=12,
        verify_clips=6,
        out=tmp_path_factory.mktemp("openvino") / "tiny",
    )


def test_both_were_run_by_openvino_and_hold(bundled: ExportReport) -> None:
    artifacts = {a.stem: a for a in Bundle.load(bundled.out).spec.artifacts}
    assert set(artifacts) == set(STEMS)
    for stem, limit in zip(STEMS, (1e-5, 0.3), strict=True):
        artifact = artifacts[stem]
        assert (artifact.file, artifact.target) == (f"{stem}.ir", "openvino")
        assert artifact.parity["ran"] is True
        assert 0.0 < artifact.parity["max_abs"]["pred_actor"] < limit
        assert artifact.made_with["openvino"] in openvino.__version__
        assert artifact.parity["matched"]["boxes"] > 0
    assert artifacts["openvino-int8"].size_bytes < artifacts["openvino-fp32"].size_bytes / 2


def test_every_convolution_but_the_heads_last_ones_computes_in_int8(bundled: ExportReport) -> None:
    kinds = precisions(bundled.out, "Convolution")
    assert kinds["f32"] <= 4, "the last layers of the heads; a processor may leave one more"
    assert kinds["u8"] + kinds["i8"] >= 28


def test_a_model_on_a_stem_is_made_and_holds(
    stem_checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    report = export_bundle(
        stem_checkpoint, targets=STEMS, calib_data=video, calib_clips=6, verify_clips=3,
        out=tmp_path / "b",
    )  # fmt: skip
    artifacts = {a.stem: a for a in Bundle.load(report.out).spec.artifacts}
    assert set(artifacts) == set(STEMS), report.lines()
    for stem, limit in zip(STEMS, (1e-4, 1.0), strict=True):
        assert artifacts[stem].parity["ran"] is True
        assert 0.0 < artifacts[stem].parity["max_abs"]["pred_actor"] < limit
    kinds = precisions(report.out, "Convolution")
    assert kinds["f32"] <= 5, "the last layers of the heads; a processor may leave two more"
    assert kinds["u8"] + kinds["i8"] >= 66


def precisions(out: Path, layer: str) -> Counter[str]:
    """Count in which type each layer of a kind is computed."""
    with zipfile.ZipFile(out / "openvino-int8.ir") as archive:
        model = openvino.Core().read_model(archive.read("model.xml"), archive.read("model.bin"))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return Counter(
        str(node.get_rt_info()["runtimePrecision"].value)
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].value == layer
    )


def test_no_path_of_the_machine_is_in_them(bundled: ExportReport) -> None:
    for stem in STEMS:
        with zipfile.ZipFile(bundled.out / f"{stem}.ir") as archive:
            text = archive.read("model.xml")
            assert {part.date_time[0] for part in archive.infolist()} == {1980}
        assert b"/tmp" not in text
        assert b".py" not in text


@pytest.mark.parametrize("stem", STEMS)
def test_edge_val_reads_them_from_their_bundle(bundled: ExportReport, stem: str) -> None:
    from edge.evaluation.options import ModelChoice
    from edge.evaluation.predictors import open_predictor

    predictor = open_predictor(ModelChoice(model=str(bundled.out / f"{stem}.ir"), num_threads=1))
    golden = np.load(bundled.out / "golden.npz")
    found = predictor.run([golden["frames_rgb"]])[0]
    for name, output in zip(OUTPUTS, found, strict=True):
        assert np.allclose(output, golden[f"{stem}/{name}"], atol=1e-4)
    assert predictor.precision == stem.removeprefix("openvino-")


def test_the_runtime_takes_them_and_each_answer_is_its_own(bundled: ExportReport) -> None:
    with Bundle.load(bundled.out) as bundle:
        loaded = load_engine(bundle, num_threads=1)
        assert loaded.artifact.target == "openvino"
        assert ": 1 thread, self-test passed" in loaded.reason
        golden = np.load(bundled.out / "golden.npz")["frames_rgb"]
        clip = normalize(golden, bundle.spec.clip)
    first = loaded(clip)
    kept = [output.copy() for output in first]
    loaded(clip * 0.5)
    for output, copy in zip(first, kept, strict=True):
        assert np.array_equal(output, copy), "a later clip does not write over an answer"


def test_where_it_is_not_installed_the_runtime_says_so_in_one_sentence(
    bundled: ExportReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert OPENVINO.missing() == "OpenVINO is not installed (pip install openvino)"
    with (
        Bundle.load(bundled.out) as bundle,
        pytest.raises(BackendUnavailableError, match="OpenVINO is not installed"),
    ):
        load_engine(bundle)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_missing_package_is_named_with_its_extra(
    precision: Precision,
) -> None:
    class Missing(OpenVinoExporter):
        packages = ("no_such_package",)

    with pytest.raises(BackendUnavailableError, match=r"no_such_package.*'\.\[export,openvino\]'$"):
        Missing("openvino-x", precision).check_packages()


def test_a_network_that_it_cannot_convert_is_one_sentence(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("Conversion\n is failed for:\n\taten.roll")

    monkeypatch.setattr(openvino, "convert_model", refuse)
    model = load_checkpoint(checkpoint).model.eval()
    clip = np.zeros((1, 4, 3, 64, 64), np.float32)
    with pytest.raises(ExportError, match=r"could not convert .*Conversion is failed for: aten"):
        OpenVinoExporter("openvino-fp32", "fp32").lower(model, [clip])


def _zip(**parts: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


def _larger_than_it_says(program: bytes) -> bytes:
    """Let the list of parts promise less than there is."""
    where = program.rindex(b"PK\x01\x02") + 24
    return program[:where] + (5).to_bytes(4, "little") + program[where + 4 :]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda p: b"", "no OpenVINO model", id="empty"),
        pytest.param(lambda p: b"text" * 99, "no OpenVINO model", id="text"),
        pytest.param(lambda p: p[: len(p) // 2], "no OpenVINO model", id="cut"),
        pytest.param(lambda p: _zip(a=b"", b=b""), "holds a, b; expected model.xml", id="parts"),
        pytest.param(
            lambda p: _zip(model_xml=b"<net/>", model_bin=b""), "does not load", id="no graph"
        ),
        pytest.param(_larger_than_it_says, "no OpenVINO model|cannot be read", id="sizes"),
    ],
)
def test_a_broken_file_is_one_sentence(
    bundled: ExportReport, tmp_path: Path, spoil: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / "x.ir"
    path.write_bytes(spoil((bundled.out / "openvino-fp32.ir").read_bytes()))
    with pytest.raises(ArtifactError, match=words) as caught:
        OpenVinoProgram(path)
    assert "\n" not in str(caught.value)
    with (
        pytest.raises(ExportError, match=r"^openvino-fp32\.ir was made, but OpenVINO refuses it"),
        OpenVinoExporter("openvino-fp32", "fp32").open(path.read_bytes()),
    ):
        pass


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no file"):
        OpenVinoProgram(tmp_path / "gone.ir")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    from openvino import opset13

    clip = opset13.parameter([1, 4], np.float32)
    model = openvino.Model([opset13.relu(clip)], [clip])
    openvino.save_model(model, str(tmp_path / "model.xml"))
    parts = {f"model_{kind}": (tmp_path / f"model.{kind}").read_bytes() for kind in ("xml", "bin")}
    (tmp_path / "x.ir").write_bytes(_zip(**parts))
    with pytest.raises(ArtifactMismatchError, match=r"1 inputs and gives .*expected one float32"):
        OpenVinoProgram(tmp_path / "x.ir")


def test_a_clip_of_another_size_is_one_sentence(bundled: ExportReport) -> None:
    program = OpenVinoProgram(bundled.out / "openvino-fp32.ir", 1)
    assert program.num_threads == 1
    with pytest.raises(ArtifactError, match="failed: ") as caught:
        program(np.zeros((1, 4, 3, 32, 32), np.float32))
    assert "\n" not in str(caught.value)
