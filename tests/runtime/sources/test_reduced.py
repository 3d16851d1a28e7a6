"""Frames much larger than the network's input: reduced by their decoder, for the clip only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from runtime.runner import ClipRunner
from runtime.sources import Frame, SourceConfig, open_source
from tests.runtime.sources.films import pictures, write_film

LARGE = (320, 256)  # of a network that takes 32x32


def _first(path: Path, **settings: Any) -> Frame:
    with open_source(path, SourceConfig(**settings)) as source:
        frame = source.read()
    assert isinstance(frame, Frame)
    return frame


def test_a_large_frame_comes_reduced_beside_the_full_one(tmp_path: Path) -> None:
    soft = (cv2.GaussianBlur(one, (0, 0), 12) for one in pictures(4, LARGE))
    path = write_film(tmp_path / "a.mp4", size_wh=LARGE, frames=soft)
    frame = _first(path, clip_wh=(32, 32))
    assert frame.image_bgr.shape == (256, 320, 3)
    assert frame.clip_bgr is not None
    assert frame.clip_bgr.shape == (32, 40, 3)
    assert frame.size_wh == LARGE
    expected = cv2.resize(frame.image_bgr, (40, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(frame.clip_bgr.astype(int) - expected).mean() < 3


def test_nobody_who_looks_saves_the_full_one(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", count=4, size_wh=LARGE)
    frame = _first(path, clip_wh=(32, 32), full_frames=False)
    assert frame.image_bgr is frame.clip_bgr
    assert frame.size_wh == LARGE


@pytest.mark.parametrize(
    "clip_wh",
    [pytest.param((96, 96), id="too little to gain"), pytest.param(None, id="nothing asked")],
)
def test_other_frames_stay_as_they_are(tmp_path: Path, clip_wh: tuple[int, int] | None) -> None:
    path = write_film(tmp_path / "a.mp4", count=4, size_wh=LARGE)
    frame = _first(path, clip_wh=clip_wh, full_frames=False)
    assert frame.clip_bgr is None
    assert frame.image_bgr.shape == (256, 320, 3)


def test_results_are_the_same_whether_somebody_looks_or_not(
    make_bundle: Any, tmp_path: Path
) -> None:
    pytest.importorskip("runtime._native")
    path = write_film(tmp_path / "a.mp4", count=40, fps=30, size_wh=LARGE)
    with ClipRunner(make_bundle(), conf=0.0) as runner:
        alone = list(runner.stream(path))
        seen: list[tuple[int, int]] = []
        looked = list(
            runner.stream(path, on_frame=lambda frame, status: seen.append(frame.size_wh))
        )
    assert len(alone) == len(looked) > 1
    assert set(seen) == {LARGE}
    for one, other in zip(alone, looked, strict=True):
        assert one.size_wh == other.size_wh == LARGE
        np.testing.assert_array_equal(one.detections.xyxy, other.detections.xyxy)
