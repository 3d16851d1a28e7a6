"""What labelled clips decide: θ, and which of two sets of weights is shipped; layers in float32."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge.cli import main
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.model.bmvit import BMViT
from edge.model.checkpoint import save_checkpoint
from export import export_bundle, pipeline
from export.labelled import Comparison
from quantize.mixed_precision import choose_float_layers, int8_layers
from runtime.bundle import Bundle
from runtime.errors import ConfigError
from runtime.preprocess import normalize
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares
from tests.export.conftest import clips_of, small_model, tiny_model

torch.set_num_threads(1)


def save(path: Path, model: BMViT) -> Path:
    save_checkpoint(path, model, class_names=MovingSquares.class_names, trained=True)
    return path


class OwnAnswers(ClipDataset):
    """Squares whose truth is what the small float network says of them at its surest token."""

    class_names = MovingSquares.class_names

    def __init__(self, shape: ClipSpec) -> None:
        self.squares, self.model = MovingSquares(shape, length=8, seed=5), small_model()

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, index: int) -> ClipSample:
        sample = self.squares[index]
        clip = normalize(sample.frames_rgb, self.model.config.clip)
        with torch.no_grad():
            found = self.model(torch.from_numpy(clip).transpose(1, 2))
        token = int(found["pred_actor"][0].argmax())
        x, y, w, h = found["pred_boxes"][0, token].numpy()
        labels = np.zeros((1, 2), np.float32)
        labels[0, int(found["pred_actions"][0, token].argmax())] = 1
        boxes = np.array([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], np.float32)
        return replace(sample, boxes=boxes).with_labels(labels)


@pytest.fixture
def labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "open_dataset", lambda spec, shape, limit: OwnAnswers(shape))


@pytest.mark.usefixtures("labelled", "whole_only")
def test_weights_trained_for_int8_are_kept_where_they_are_better(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    spoilt = small_model()
    with torch.no_grad():  # it finds the same people, and is sure of other ones
        spoilt.heads.actor.last.weight.neg_()
    plain, good = save(tmp_path / "f.pt", spoilt), save(tmp_path / "q.pt", small_model())
    out = tmp_path / "bundle"
    argv = ["export", "--model", str(plain), "--qat-model", str(good), "--quiet"]
    argv += ["--calib-data", str(video), "--calib-clips", "4", "--val-data", "words"]
    assert main([*argv, "--out", str(out)]) == 0
    artifact = Bundle.load(out).spec.artifacts[0]
    assert artifact.accuracy is not None
    compared = artifact.accuracy["compared"]
    assert artifact.accuracy["weights"] == "quantization-aware"
    assert artifact.accuracy["frame_map_50"] == pytest.approx(
        compared["quantization-aware"], abs=0.2
    )
    assert compared["quantization-aware"] > compared["post-training"]
    assert artifact.accuracy["clips"] == 8
    assert artifact.threshold is not None
    assert artifact.threshold.rule == "f1"
    printed = capsys.readouterr().out
    assert "kept q.pt, quantization-aware: frame-mAP@0.5" in printed
    assert "of f.pt (+" in printed
    assert f"frame-mAP@0.5 {artifact.accuracy['frame_map_50']:.4f}" in printed


@pytest.mark.parametrize(
    ("plain", "trained", "kept", "words"),
    [
        pytest.param(0.7, 0.72, "quantization-aware", "kept q.pt, quantization-aware: "
                     "frame-mAP@0.5 0.7200 against 0.7000 of f.pt (+0.0200), int8 in torch on 20 "
                     "clips of d", id="better"),
        pytest.param(0.7, 0.69, "post-training", "kept f.pt, post-training: frame-mAP@0.5 0.7000 "
                     "against 0.6900 of q.pt (+0.0100)", id="worse"),
        pytest.param(0.7, 0.7, "post-training", "(+0.0000)", id="a tie"),
        pytest.param(None, None, "post-training", "kept f.pt", id="no actions to find"),
    ],
)  # fmt: skip
def test_the_better_is_kept_and_said(
    plain: float | None, trained: float | None, kept: str, words: str
) -> None:
    maps = {"post-training": plain, "quantization-aware": trained}
    compared = Comparison(frame_map_50=maps, clips=20, data="d")
    assert compared.best == kept
    assert words in compared.line({"post-training": "f.pt", "quantization-aware": "q.pt"})
    assert compared.record() == {**maps, "clips": 20}


@pytest.mark.usefixtures("whole_only")
def test_layers_stay_in_float32_and_their_cost_is_told(video: Path, tmp_path: Path) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    report = export_bundle(
        save(tmp_path / "f.pt", small_model()), targets=["xnnpack-int8"], calib_data=video,
        calib_clips=4, float_layers=["backbone.merge.conv", "backbone.neck.conv"],
        out=tmp_path / "b",
    )  # fmt: skip
    text = "\n".join(report.lines())
    calls = report.artifacts[0].entry.delegated["calls"]
    assert f"2 layers in float32: {calls} delegate calls" in text
    assert "ms a clip" in text
    names = ["model.backbone.merge.conv", "model.backbone.neck.conv"]
    assert report.artifacts[0].entry.delegated["float_layers"] == names


def test_the_costliest_layers_are_found() -> None:
    model = tiny_model()
    with torch.no_grad():
        # One row with a large weight on what is never there leaves its others no level of int8.
        conv = model.backbone.blocks[1].mlp[2].conv
        hidden = model.backbone.blocks[1].mlp[0].norm
        hidden.weight[0], hidden.bias[0] = 0.0, -1.0
        conv.weight[:, 0] = 1000.0
    before = copy.deepcopy(model.state_dict())
    placed = choose_float_layers(model, ["1"], clips_of(model, 2))
    assert placed.names == {"model.backbone.blocks.1.mlp.2.conv"}
    assert "backbone.blocks.1.mlp.2.conv" in placed.lines[0]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert "heads.box.layers.2" not in int8_layers(model), "float in any case"
    assert "backbone.stem.0.conv" in int8_layers(model)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        pytest.param(["backbone.nek.conv"], "Did you mean 'backbone.neck.conv'", id="unknown"),
        pytest.param(["0"], "expected 1 to", id="none"),
        pytest.param(["999"], "expected 1 to", id="too many"),
    ],
)
def test_layers_that_are_not_there_are_refused(wanted: list[str], words: str) -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match=words):
        choose_float_layers(model, wanted, clips_of(model, 1))


@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"qat_model": "q.pt"}, "needs --val-data", id="unmeasured"),
        pytest.param(
            {"float_layers": ["1"], "targets": ["xnnpack-fp32"]}, "are for int8", id="not int8"
        ),
        pytest.param({"qat_model": "other", "val_data": "x"}, "another network", id="network"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(
    checkpoint: Path, video: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    arguments = {"targets": ["xnnpack-int8"], "calib_data": video, **change}
    if change.get("qat_model") == "other":
        arguments["qat_model"] = tmp_path / "other.pt"
        save_checkpoint(
            arguments["qat_model"], tiny_model(), class_names=("a", "b", "c"), trained=True
        )
    with pytest.raises(ConfigError, match=words):
        export_bundle(checkpoint, out=tmp_path / "b", **arguments)
    assert not (tmp_path / "b").exists()


def test_clips_with_other_actions_are_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "open_dataset", lambda spec, shape, limit: MovingSquares(shape))
    with pytest.raises(ConfigError, match="only the data set knows left, right"):
        export_bundle(
            checkpoint, targets=["xnnpack-fp32"], calib_data=None, val_data="x", out=tmp_path / "b"
        )
