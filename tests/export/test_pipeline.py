"""From a checkpoint to a bundle that the device's own engine runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calibration import calibrate
from export import ExportReport, export_bundle
from runtime.bundle import Bundle
from runtime.decode import decode
from runtime.engine import load_engine
from runtime.errors import ArtifactError, CalibrationError, ConfigError


@pytest.mark.parametrize("stem", ["xnnpack-int8", "xnnpack-fp32"])
def test_each_artifact_runs_and_tests_itself(exported: ExportReport, stem: str) -> None:
    with Bundle.load(exported.out) as bundle:
        engine = load_engine(bundle, artifact=stem, num_threads=1)
        assert engine.self_test_share == pytest.approx(0.0, abs=1e-5)
        assert engine.artifact.delegated["share"] >= 0.99
        assert engine.artifact.delegated["calls"] == 1
        assert engine.artifact.parity["clips"] == 6
        methods = engine.artifact.delegated["methods"]
        assert {name: taken["calls"] for name, taken in methods.items()} == {"stem": 1, "trunk": 1}
        assert all(taken["share"] >= 0.99 for taken in methods.values())
        # The same arithmetic on the same ranges: not only close.
        assert max(engine.artifact.parity["steps_max_abs"].values()) <= 1e-6


@pytest.fixture(scope="module")
def on_stem(
    stem_checkpoint: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    return export_bundle(
        stem_checkpoint,
        targets=["xnnpack-int8", "xnnpack-fp32"],
        calib_data=video,
        calib_clips=6,
        verify_clips=3,
        out=tmp_path_factory.mktemp("stem-bundle") / "stem",
    )


@pytest.mark.parametrize("stem", ["xnnpack-int8", "xnnpack-fp32"])
def test_a_model_on_a_stem_is_one_call_and_shares_its_frames(
    on_stem: ExportReport, stem: str
) -> None:
    from runtime import _native

    with Bundle.load(on_stem.out) as bundle:
        loaded = load_engine(bundle, artifact=stem, num_threads=1)
        delegated, parity = loaded.artifact.delegated, loaded.artifact.parity
        path = str(bundle.artifact_path(loaded.artifact))
    assert loaded.self_test_share == pytest.approx(0.0, abs=1e-5)
    assert delegated["share"] >= 0.99
    assert delegated["calls"] == 1
    methods = delegated["methods"]
    assert {name: taken["calls"] for name, taken in methods.items()} == {"stem": 1, "trunk": 1}
    assert max(parity["steps_max_abs"].values()) <= 1e-5
    # A clip that moves on by one frame pays for one frame.
    clips = np.random.default_rng(0).normal(size=(1, 11, 3, 64, 64)).astype(np.float32)
    whole, steps = _native.Engine(path, 1), _native.Engine(path, 1, 1)
    assert steps.shares_steps
    for first in range(4):
        clip = np.ascontiguousarray(clips[:, first : first + 8])
        for one, other in zip(whole(clip), steps(clip, first), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
    assert steps.stem_runs == 8 + 3


def test_theta_lets_a_few_tokens_of_the_golden_clip_pass(exported: ExportReport) -> None:
    with Bundle.load(exported.out) as bundle:
        golden = np.load(bundle.golden_path())
        for artifact in bundle.spec.artifacts:
            outputs = [golden[f"{artifact.stem}/{n}"] for n in ("pred_boxes", "pred_actor")]
            found = decode(
                *outputs,
                golden[f"{artifact.stem}/pred_actions"],
                conf=artifact.conf,
                size_wh=(640, 360),
            )
            assert len(found) < bundle.spec.num_tokens / 2


def test_int8_is_smaller_and_further_off(exported: ExportReport) -> None:
    int8, fp32 = exported.artifacts
    assert int8.entry.precision == "int8"
    assert int8.entry.size_bytes < fp32.entry.size_bytes
    assert fp32.parity.max_abs["pred_actor"] < 1e-3
    assert int8.parity.mean_abs["pred_boxes"] > fp32.parity.mean_abs["pred_boxes"]


def test_the_bundle_says_all_that_the_device_needs(exported: ExportReport) -> None:
    spec = Bundle.load(exported.out).spec
    assert spec.clip.input_shape == (1, 4, 3, 64, 64)
    assert spec.class_names == ("walk", "wave", "fall")
    assert spec.trained is False
    assert spec.num_tokens == 2 * 4 * 4
    assert {"torch", "torchao", "executorch"} <= set(spec.artifacts[0].made_with)


def test_the_report_names_size_share_error_threshold_and_what_next(exported: ExportReport) -> None:
    text = "\n".join(exported.lines())
    for word in ("xnnpack-int8", "MB", "100.0% in 1", "box error", "θ"):
        assert word in text
    assert "detections matched" in text
    assert "untrained" in text
    assert text.endswith(f"  edge run --model {exported.out} --source 0")


def test_the_report_says_where_nothing_runs_here(
    exported: ExportReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = exported.artifacts
    for artifact in others:
        monkeypatch.setitem(artifact.entry.parity, "ran", False)
    assert "nothing of this bundle" not in exported.lines()[-1]
    monkeypatch.setitem(first.entry.parity, "ran", False)
    assert exported.lines()[-1].endswith("# on the device: nothing of this bundle runs here")


def test_nothing_else_is_left_beside_the_bundle(exported: ExportReport) -> None:
    assert [p.name for p in exported.out.parent.iterdir()] == ["tiny"]
    files = {"bundle.json", "golden.npz", "xnnpack-fp32.pte", "xnnpack-int8.pte"}
    assert {p.name for p in exported.out.iterdir()} == files
    assert "/" not in json.loads((exported.out / "bundle.json").read_text())["name"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        pytest.param({"targets": []}, ConfigError, "no target", id="no-target"),
        pytest.param(
            {"targets": ["xnnpack-int4"]}, ConfigError, "Did you mean 'xnnpack-int8'", id="unknown"
        ),
        pytest.param({"calib_data": None}, CalibrationError, "--calib-data", id="no-clips"),
        pytest.param({"calib_data": "/nowhere"}, CalibrationError, "/nowhere", id="no-folder"),
        pytest.param({"verify_clips": 0}, ConfigError, "verify_clips", id="no-verification"),
        pytest.param(
            {"checkpoint_path": "/nowhere.pt"}, ArtifactError, "nowhere.pt", id="no-checkpoint"
        ),
    ],
)
def test_what_cannot_be_exported_is_said_before_any_work(
    checkpoint: Path, video: Path, tmp_path: Path, change: dict, error: type, words: str
) -> None:
    arguments = {
        "checkpoint_path": checkpoint,
        "targets": ["xnnpack-int8"],
        "calib_data": video,
        "out": tmp_path / "b",
        **change,
    }
    with pytest.raises(error, match=words):
        export_bundle(arguments.pop("checkpoint_path"), **arguments)
    assert not (tmp_path / "b").exists()


def test_an_existing_bundle_is_kept(exported: ExportReport, checkpoint: Path, video: Path) -> None:
    before = (exported.out / "bundle.json").read_bytes()
    with pytest.raises(ConfigError, match="exists; choose another name or pass --overwrite"):
        export_bundle(checkpoint, targets=["xnnpack-int8"], calib_data=video, out=exported.out)
    assert (exported.out / "bundle.json").read_bytes() == before


def test_a_folder_of_other_things_is_never_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is no bundle"):
        export_bundle(
            checkpoint, targets=["xnnpack-fp32"], calib_data=None, out=tmp_path, overwrite=True
        )
    assert (tmp_path / "thesis.txt").exists()


def test_a_calibration_file_serves_its_own_checkpoint_only(
    checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    from calibration.calibrate import obtain_clips
    from edge.model.checkpoint import load_checkpoint, save_checkpoint

    report = calibrate(checkpoint, video, 5, tmp_path / "c.npz")
    loaded = load_checkpoint(checkpoint)
    clips = obtain_clips(checkpoint, loaded.config, report.out, count=5)
    assert np.array_equal(clips.frames_rgb, report.clips.frames_rgb)
    assert len(report.ranges) > 10
    assert "layers measured" in "\n".join(report.lines())
    other = tmp_path / "other.pt"
    loaded.model.heads.actor.last.bias.data += 1
    save_checkpoint(other, loaded.model, class_names=loaded.class_names, trained=False)
    with pytest.raises(CalibrationError, match="other weights"):
        obtain_clips(other, loaded.config, report.out, count=5)
    with pytest.raises(ConfigError, match="exists"):
        calibrate(checkpoint, video, 5, tmp_path / "c.npz")
