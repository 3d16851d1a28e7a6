"""A calibration file is used for what it was made for, and refused for anything else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from calibration import cache
from calibration.cache import load_clips, save_clips
from calibration.clips import CalibrationClips, ClipSource, clips_of_data_set
from runtime.errors import CalibrationError
from runtime.types import ClipSpec

FORMAT = ClipSpec(num_frames=2, sampling_rate=1, fps=10.0, height=8, width=8)
WEIGHTS = "a" * 64


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Path, CalibrationClips]:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"pixels")
    frames = np.random.default_rng(0).integers(0, 255, (3, 2, 8, 8, 3), dtype=np.uint8)
    clips = CalibrationClips(
        frames_rgb=frames,
        sources=tuple(ClipSource(path=video, centre_s=float(i)) for i in range(3)),
        videos=(video,),
        wanted=3,
    )
    path = tmp_path / "calib.npz"
    save_clips(path, clips, weights_sha256=WEIGHTS, clip=FORMAT, seed=0)
    return path, video, clips


def test_clips_come_back(stored: tuple[Path, Path, CalibrationClips]) -> None:
    path, _, clips = stored
    back = load_clips(path, weights_sha256=WEIGHTS, clip=FORMAT)
    assert np.array_equal(back.frames_rgb, clips.frames_rgb)
    assert back.sources == clips.sources
    assert [p.name for p in path.parent.iterdir() if "part" in p.name] == []


def test_other_weights_are_refused(stored: tuple[Path, Path, CalibrationClips]) -> None:
    with pytest.raises(CalibrationError, match="other weights"):
        load_clips(stored[0], weights_sha256="b" * 64, clip=FORMAT)


def test_clips_of_another_size_are_refused_by_their_size(
    stored: tuple[Path, Path, CalibrationClips],
) -> None:
    other = ClipSpec(num_frames=2, sampling_rate=1, fps=10.0, height=16, width=8)
    with pytest.raises(CalibrationError, match=r"2 x 8 x 8 x 3 .* takes 2 x 16 x 8 x 3; run"):
        load_clips(stored[0], weights_sha256="b" * 64, clip=other)


def test_clips_of_a_data_set_that_a_word_names_are_kept(tmp_path: Path) -> None:
    clip = ClipSpec(num_frames=2, sampling_rate=1, fps=10.0, height=32, width=32)
    clips = clips_of_data_set("synthetic-train:3", clip, count=2)
    path = tmp_path / "calib.npz"
    save_clips(path, clips, weights_sha256=WEIGHTS, clip=clip, seed=0)
    back = load_clips(path, weights_sha256=WEIGHTS, clip=clip)
    assert np.array_equal(back.frames_rgb, clips.frames_rgb)


def test_another_preprocess_is_refused(stored: tuple[Path, Path, CalibrationClips]) -> None:
    other = ClipSpec(num_frames=2, sampling_rate=2, fps=10.0, height=8, width=8)
    with pytest.raises(CalibrationError, match="another preprocess"):
        load_clips(stored[0], weights_sha256=WEIGHTS, clip=other)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda video: video.write_bytes(b"more pixels"), id="size"),
        pytest.param(lambda video: os.utime(video, ns=(1, 1)), id="time-of-change"),
    ],
)
def test_a_changed_video_is_refused(stored: tuple[Path, Path, CalibrationClips], change) -> None:
    path, video, _ = stored
    change(video)
    with pytest.raises(CalibrationError, match="has changed"):
        load_clips(path, weights_sha256=WEIGHTS, clip=FORMAT)


def test_a_video_that_moved_away_cannot_have_changed(
    stored: tuple[Path, Path, CalibrationClips],
) -> None:
    path, video, _ = stored
    video.unlink()
    assert len(load_clips(path, weights_sha256=WEIGHTS, clip=FORMAT).sources) == 3


def test_other_versions_are_refused(
    stored: tuple[Path, Path, CalibrationClips], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "versions", lambda: {"opencv": "0"})
    with pytest.raises(CalibrationError, match="was made with"):
        load_clips(stored[0], weights_sha256=WEIGHTS, clip=FORMAT)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda p: p.write_bytes(b"no archive"), id="text"),
        pytest.param(lambda p: p.write_bytes(p.read_bytes()[:200]), id="truncated"),
        pytest.param(lambda p: p.unlink(), id="missing"),
        pytest.param(lambda p: np.savez(p, frames_rgb=np.zeros(3)), id="other-archive"),
        pytest.param(
            lambda p: np.savez(p, frames_rgb=np.array([{}], dtype=object), meta=np.array("{}")),
            id="pickle",
        ),
    ],
)
def test_what_is_no_calibration_file_is_refused(
    stored: tuple[Path, Path, CalibrationClips], spoil
) -> None:
    spoil(stored[0])
    with pytest.raises(CalibrationError, match="no file of calibration clips"):
        load_clips(stored[0], weights_sha256=WEIGHTS, clip=FORMAT)


def test_others_may_read_the_file(stored: tuple[Path, Path, CalibrationClips]) -> None:
    assert stored[0].stat().st_mode & 0o777 == 0o644
