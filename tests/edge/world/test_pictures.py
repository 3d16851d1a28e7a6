"""The pictures of the drawn world stay the same bit for bit: weights and figures name its version.

Where a change of a picture is meant, `WORLD_VERSION` goes up and the checksums are taken anew.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from edge.world.video import render_video
from runtime.types import ClipSpec

SQUARE = ClipSpec(num_frames=8, height=96, width=96, sampling_rate=4, fps=30.0)
WIDE = ClipSpec(num_frames=5, height=128, width=192, sampling_rate=3, fps=25.0)
# Checksum of a few results of NumPy; libraries that round another way draw other pictures.
PROBE = "9566a83f11c92a71"


def _checksum(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()[:16]


def _probe() -> str:
    x = np.linspace(-9.0, 9.0, 4097)
    matrix = np.outer(np.sin(x[:64]), np.cos(x[:64]))
    fft = np.fft.irfft2(np.fft.rfft2(matrix) / 3.0, matrix.shape)
    parts = (np.sin(x), np.cos(x), np.arctan2(x, 1.7 - x), np.arccos(np.tanh(x)), np.abs(x) ** 2.1)
    return _checksum(*parts, fft, matrix @ matrix, cv2.__version__)


@pytest.fixture(scope="module", autouse=True)
def _same_libraries() -> None:
    if _probe() != PROBE:
        pytest.skip("NumPy or OpenCV round another way than where the checksums were taken")


def _of_clip(clip: ClipSample) -> str:
    return _checksum(clip.frames_rgb, clip.boxes, clip.labels, clip.inactive_persons, clip.size_wh)


@pytest.mark.parametrize(
    ("spec", "shape", "seed", "expected"),
    [
        pytest.param("synthetic-train", SQUARE, 0, "15a6a28c489f556f", id="train"),
        pytest.param("synthetic-train", WIDE, 3, "a32fd60c644565b1", id="train-wide"),
        pytest.param("synthetic-val", SQUARE, 0, "9343c19d15f2513c", id="val"),
        pytest.param("synthetic-val", WIDE, 0, "50ded0de98ca79d6", id="val-wide"),
        pytest.param("synthetic-train:50:throw,fall", SQUARE, 0, "12db844a59dfa495", id="practice"),
    ],
)
def test_clips_are_those_of_this_version(
    spec: str, shape: ClipSpec, seed: int, expected: str
) -> None:
    dataset = open_dataset(spec, shape, seed=seed)
    assert _checksum(*(_of_clip(dataset[index]) for index in range(32))) == expected


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        pytest.param(0, "e5fb3549e9dea302", id="first"),
        pytest.param(7, "70cc9c7bbbcea51c", id="other"),
    ],
)
def test_a_video_is_that_of_this_version(seed: int, expected: str) -> None:
    frames = render_video(seed, 4.0, (320, 180), 10.0)
    parts = (_checksum(f.image_bgr, f.t, f.actors, f.inactive_persons) for f in frames)
    assert _checksum(*parts) == expected
