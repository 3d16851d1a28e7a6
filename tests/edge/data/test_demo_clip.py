"""The demo clip is a real, reproducible video in which people-like figures move."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.data.demo_clip import FPS, SIZE_WH, render_frame, write_demo_clip
from runtime.errors import SinkError


def test_the_written_file_decodes_to_the_frames_that_were_drawn(tmp_path: Path) -> None:
    path = tmp_path / "clips" / "demo.mp4"
    count = write_demo_clip(path, seconds=1.0, seed=3)
    assert count == 30
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS)
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == count
    assert frames[0].shape == (SIZE_WH[1], SIZE_WH[0], 3)
    error = np.abs(frames[15].astype(int) - render_frame(15 / FPS, seed=3)).mean()
    assert error < 8, "the codec may blur, not repaint"
    assert [p.name for p in path.parent.iterdir()] == ["demo.mp4"], "no temporary file stays"


def test_a_seed_gives_the_same_frame_and_time_moves_it() -> None:
    frame = render_frame(1.0, seed=5)
    assert np.array_equal(frame, render_frame(1.0, seed=5))
    assert not np.array_equal(frame, render_frame(1.0, seed=6))
    moved = np.abs(frame.astype(int) - render_frame(1.4, seed=5)).max(axis=2) > 40
    assert 0.005 < moved.mean() < 0.4, "figures move, the room does not"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be written as mp4"):
        write_demo_clip(tmp_path / "demo.txt", seconds=0.1)
    assert not list(tmp_path.iterdir())
