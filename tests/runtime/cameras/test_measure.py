from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.cameras.measure import advice, colour_order, measure_source
from runtime.errors import CaptureError
from runtime.sources import SourceConfig
from runtime.types import ClipSpec
from tests.runtime.fake_camera import FakeCamera, steady

CLIP = ClipSpec(num_frames=8, sampling_rate=4, fps=30.0, height=224, width=224)
QUICK = SourceConfig(reconnect_attempts=0, read_timeout_s=1, max_age_ms=400)


def _film(path: Path, frames: int = 30, fps: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[...] = (200, 60, 20)  # blue
    for _ in range(frames):
        writer.write(picture)
    writer.release()
    return path


def test_a_file_is_measured_by_its_own_clock(tmp_path: Path) -> None:
    found = measure_source(_film(tmp_path / "a.avi"), seconds=1.0)
    assert (found.live, found.size_wh, found.age_ms) == (False, (64, 48), None)
    assert found.fps == pytest.approx(25, abs=0.1)
    assert found.jitter_ms == pytest.approx(0, abs=0.5)
    assert "blue first" in found.colours
    assert "fast enough" in advice(found, CLIP)[1]
    assert any("TOO SMALL" in line for line in advice(found, CLIP))


def test_exchanged_colours_are_seen(tmp_path: Path) -> None:
    path = _film(tmp_path / "a.avi")
    _, picture = cv2.VideoCapture(str(path)).read()
    assert "RED AND BLUE ARE EXCHANGED" in colour_order(
        path, np.ascontiguousarray(picture[..., ::-1])
    )
    grey: Any = np.full_like(picture, 90)
    assert "not checked" in colour_order(0, grey)


def test_a_live_camera_has_an_age_and_all_its_frames_count() -> None:
    found = measure_source(
        0, seconds=0.4, config=QUICK, opener=FakeCamera(steady(40, (320, 240), fps=50))
    )
    assert found.live
    assert found.age_ms is not None
    assert found.frames >= 3
    assert found.size_wh == (320, 240)
    assert "no second reader" in found.colours


def test_too_few_frames_are_an_error() -> None:
    with pytest.raises(CaptureError, match=r"frames came in|lost|no frame"):
        measure_source(0, seconds=0.2, config=QUICK, opener=FakeCamera([(32, 24)]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"fps": 5.0}, "TOO SLOW: 5 fps", id="slow"),
        pytest.param({"jitter_ms": 90.0}, "UNSTEADY", id="jitter"),
        pytest.param({"longest_ms": 400.0}, "UNSTEADY", id="a pause"),
        pytest.param({"size_wh": (3840, 2160)}, "1280x720 is cheaper", id="4K"),
        pytest.param({"live": True, "age_ms": 300.0}, "OLD", id="old"),
        pytest.param({"gaps": ("the stream was lost",)}, "gap: the stream was lost", id="gap"),
    ],
)
def test_what_a_clip_wants_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    found = replace(measure_source(_film(tmp_path / "a.avi"), seconds=1.0), **changes)
    assert any(said in line for line in advice(found, CLIP))
