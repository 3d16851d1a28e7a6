"""Fitting θ of a finished bundle again changes it at once and whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration import actions
from calibration.refit import refit_thresholds
from calibration.threshold import FittedThreshold, fit_threshold
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from runtime.bundle import DEFAULT_BUNDLE, Bundle, pack_bundle
from runtime.bundle_spec import BUNDLE_FILE, ActionThreshold
from runtime.engine import load_engine
from runtime.errors import ArtifactError, CalibrationError, ConfigError
from runtime.types import ClipSpec

Opener = Callable[[ClipSpec], ClipDataset]


def fitted_by_hand(path: Path, dataset: ClipDataset) -> FittedThreshold:
    with Bundle.load(path) as bundle:
        config = bundle.spec.clip
        return fit_threshold(load_engine(bundle), dataset, config)


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_the_bundle_gets_the_threshold_of_its_own_engine(
    bundle_copy: Path, open_noise: Opener, opened: list[ClipSpec], tmp_path: Path, zipped: bool
) -> None:
    path = bundle_copy
    if zipped:
        path = tmp_path / "bundle.zip"
        pack_bundle(bundle_copy, path)
    report = refit_thresholds(path, open_noise)
    with Bundle.load(path) as bundle, Bundle.load(DEFAULT_BUNDLE) as before:
        bundle.verify()
        artifact = bundle.spec.artifacts[0]
        assert bundle.spec.class_names == before.spec.class_names
        shape = opened[0]
        assert (1, shape.num_frames, 3, shape.height, shape.width) == bundle.spec.clip.input_shape
        assert shape.period_s == bundle.spec.clip.period_s
        assert load_engine(bundle).artifact.conf == artifact.conf
    expected = fitted_by_hand(DEFAULT_BUNDLE, open_noise(shape))
    assert artifact.conf == expected.conf
    assert artifact.threshold == expected.record
    assert artifact.threshold.clips == 6
    assert f"-> {artifact.conf:.4g}" in report.lines()[0]
    assert report.spec == bundle.spec
    assert ("untrained" in report.lines()[-1]) is not bundle.spec.trained
    said = replace(report, spec=replace(bundle.spec, trained=False)).lines()
    assert said[-1] == "note: the weights are untrained: detections and θ mean nothing"
    assert sorted(p.name for p in path.parent.iterdir() if "part" in p.name) == []


def test_a_threshold_of_torch_is_one_of_the_engine_afterwards(
    bundle_copy: Path, open_noise: Opener
) -> None:
    spec = Bundle.load(bundle_copy).spec
    parity = {**spec.artifacts[0].parity, "ran": False, "conf_by": "torch"}
    marked = replace(spec, artifacts=(replace(spec.artifacts[0], parity=parity),))
    (bundle_copy / BUNDLE_FILE).write_text(marked.to_json(), "utf-8")
    refit_thresholds(bundle_copy, open_noise)
    kept = Bundle.load(bundle_copy).spec.artifacts[0].parity
    assert "conf_by" not in kept
    assert kept["ran"] is False, "the export did not run it all the same"


def test_actions_that_the_clips_show_get_a_threshold_and_others_keep_theirs(
    bundle_copy: Path, open_noise: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "LEAST_PEOPLE", 2)
    spec = Bundle.load(bundle_copy).spec
    kept = ActionThreshold(conf=0.125, f1=0.5, precision=0.5, recall=0.5, doing=11, not_doing=12)
    before = replace(spec.artifacts[0], action_thresholds=dict.fromkeys(spec.class_names, kept))
    (bundle_copy / BUNDLE_FILE).write_text(replace(spec, artifacts=(before,)).to_json(), "utf-8")

    class TwoClasses(ClipDataset):
        class_names = (spec.class_names[3], "swim", spec.class_names[0])

        def __init__(self, dataset: ClipDataset) -> None:
            self.dataset = dataset

        def __len__(self) -> int:
            return len(self.dataset)

        def __getitem__(self, index: int) -> ClipSample:
            sample = self.dataset[index]
            labels = np.zeros((len(sample.boxes), 3), np.float32)
            labels[np.arange(len(labels)), np.arange(len(labels)) % 2] = 1
            return sample.with_labels(labels)

    report = refit_thresholds(bundle_copy, lambda shape: TwoClasses(open_noise(shape)))
    found = Bundle.load(bundle_copy).spec.artifacts[0]
    fitted = found.action_thresholds[spec.class_names[3]]
    assert fitted.doing >= 2
    assert fitted.not_doing >= 2
    rest = set(spec.class_names) - {spec.class_names[3]}
    assert all(found.action_thresholds[name] == kept for name in rest)
    own = found.action_confs(spec.class_names)
    assert own[3] == fitted.conf
    assert own[:3] == (0.125,) * 3
    assert any(line.startswith(spec.class_names[3]) and f"{fitted.conf:.3f} (F1" in line
               for line in report.lines())  # fmt: skip


def test_a_bundle_that_cannot_be_fitted_stays_as_it_was(
    bundle_copy: Path, open_noise: Opener
) -> None:
    before = (bundle_copy / BUNDLE_FILE).read_bytes()

    class Nobody(ClipDataset):
        class_names = ("walk",)

        def __init__(self, dataset: ClipDataset) -> None:
            self.dataset = dataset

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> ClipSample:
            sample = self.dataset[index]
            return sample.with_people(np.zeros(len(sample.boxes), bool))

    with pytest.raises(CalibrationError, match="show no actor"):
        refit_thresholds(bundle_copy, lambda shape: Nobody(open_noise(shape)))
    with pytest.raises(ConfigError, match="not in"):
        refit_thresholds(bundle_copy, open_noise, artifact="vulkan-fp16")
    assert (bundle_copy / BUNDLE_FILE).read_bytes() == before


def test_a_failed_write_leaves_the_old_bundle(
    bundle_copy: Path, open_noise: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (bundle_copy / BUNDLE_FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runtime.outputs.os.fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        refit_thresholds(bundle_copy, open_noise)
    assert (bundle_copy / BUNDLE_FILE).read_bytes() == before
    assert {p.name for p in bundle_copy.iterdir()} == {p.name for p in DEFAULT_BUNDLE.iterdir()}


def test_the_command_line_names_what_it_needs(
    bundle_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge.cli import main

    assert main(["calibrate", "--threshold", "--model", str(bundle_copy)]) == 2
    assert "--val-data" in capsys.readouterr().err
    argv = ["calibrate", "--threshold", "--model", str(bundle_copy), "--val-data", ""]
    assert main(argv) == 2
    assert "--val-data is empty" in capsys.readouterr().err
