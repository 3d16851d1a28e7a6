"""A tiny checkpoint, a video, and one export of it for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge.data.demo_clip import write_demo_clip
from edge.model.bmvit import BMViT
from edge.model.checkpoint import save_checkpoint
from edge.model.variants import build_model
from export import ExportReport, export_bundle
from export.base import Precision
from export.registry import TARGETS
from export.xnnpack import XnnpackExporter

torch.set_num_threads(1)
cv2.setNumThreads(1)

CLASS_NAMES = ("walk", "wave", "fall")


def tiny_model() -> BMViT:
    """Return a compact model of two blocks for clips of 4 x 64 x 64."""
    model = build_model(
        "nano-scratch",
        num_classes=len(CLASS_NAMES),
        seed=0,
        num_frames=4,
        height=64,
        width=64,
        channels=(16, 32),
        depths=(1, 1),
        head_channels=16,
        strides=(2,),
        kv_strides=(4, 2),
        # Neighbours suppress each other: their boxes are large enough to overlap.
        suppression_strength=4.0,
        reference_size=(0.8, 0.9),
        reference_spread=1.2,
    )
    with torch.no_grad():  # so that tokens and clips differ by more than rounding
        for head in (model.heads.box, model.heads.actor, model.heads.actions):
            head.last.weight.mul_(20)
    return model.eval()


def stem_model(num_classes: int = len(CLASS_NAMES)) -> BMViT:
    """Return a narrow model on a per-frame stem, for clips of 8 x 64 x 64."""
    model = build_model(
        "nano",
        num_classes=num_classes,
        seed=0,
        height=64,
        width=64,
        stem_width=0.25,
        frame_channels=16,
        channels=(32,),
        depths=(1,),
        head_channels=16,
        kv_strides=(2,),
        # All boxes overlap, and suppression multiplies the errors of logits, too.
        suppression_strength=4.0,
        reference_size=(0.8, 0.9),
        reference_spread=1.0,
    )
    with torch.no_grad():
        for name, conv in model.backbone.stem.convolutions():
            # So that values do not die away with depth, and reach 6.
            conv.weight.mul_(1.0 if "project" in name else 1.5)
        for head in (model.heads.box, model.heads.actor, model.heads.actions):
            head.last.weight.mul_(20)
    return model.eval()


def small_model() -> BMViT:
    """Return a network of one block, the quickest to export."""
    model = build_model(
        "nano-scratch", num_classes=2, seed=0, num_frames=4, height=64, width=64,
        channels=(16,), depths=(1,), head_channels=16, strides=(), kv_strides=(4,), step_stages=0,
        kv_pairs=False,
    )  # fmt: skip
    with torch.no_grad():
        for head in (model.heads.box, model.heads.actor, model.heads.actions):
            head.last.weight.mul_(20)
    return model.eval()


def clips_of(model: BMViT, count: int, seed: int = 0) -> list[np.ndarray]:
    """Return clips (1, T, 3, H, W) of smooth noise."""
    config = model.config
    random = np.random.default_rng(seed)
    shape = (1, config.num_frames, 3, config.height, config.width)
    return [random.normal(size=shape).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    save_checkpoint(path, tiny_model(), class_names=CLASS_NAMES, trained=False, note="for tests")
    return path


@pytest.fixture(scope="session")
def stem_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stem") / "stem.pt"
    save_checkpoint(path, stem_model(), class_names=CLASS_NAMES, trained=False, note="for tests")
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "drawn.mp4"
    write_demo_clip(path, seconds=5.0)
    return path


@pytest.fixture(scope="session")
def exported(
    checkpoint: Path, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    return export_bundle(
        checkpoint,
        targets=["xnnpack-int8", "xnnpack-fp32"],
        calib_data=video,
        calib_clips=12,
        verify_clips=6,
        out=tmp_path_factory.mktemp("bundle") / "tiny",
    )


class Whole(XnnpackExporter):
    """XNNPACK's exporter without the methods for overlapping clips: half the work."""

    def __init__(self, name: str, precision: Precision) -> None:
        super().__init__(name, precision, shares_steps=False)


@pytest.fixture
def whole_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry give `Whole` for XNNPACK."""
    for name in ("xnnpack-int8", "xnnpack-fp32"):
        row = TARGETS[name]._replace(exporter="tests.export.conftest.Whole")
        monkeypatch.setitem(TARGETS, name, row)
