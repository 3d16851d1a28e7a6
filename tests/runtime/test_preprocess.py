"""The fixed-point preprocess: NumPy and C++ equal to the bit, and close to Pillow."""

from __future__ import annotations

import itertools
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import _native
from runtime.errors import ConfigError
from runtime.preprocess import normalize, preprocess_reference, resize_reference, triangle_weights
from runtime.types import ClipSpec

SIZES = [(1, 1), (1, 7), (3, 2), (17, 33), (120, 161), (240, 320), (479, 641), (1080, 1920)]
TARGETS = [(1, 1), (32, 32), (31, 65), (160, 160)]
CONFIG = ClipSpec(
    num_frames=1, sampling_rate=1, fps=30.0, height=40, width=56,
    mean=(0.4, 0.45, 0.5), std=(0.2, 0.225, 0.25),
)  # fmt: skip


def random_frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 7919 + width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


def native(config: ClipSpec, *, portable: bool = False) -> _native.Preprocess:
    return _native.Preprocess(
        config.height, config.width, config.mean, config.std, portable=portable
    )


# The kernels this processor gets, and those that any processor gets; the same on some.
both_kernels = pytest.mark.parametrize("portable", [False, True], ids=["fastest", "portable"])


def test_kernels_are_the_fastest_that_run_here_unless_told() -> None:
    cpu = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and not cpu.exists():
        pytest.skip("/proc/cpuinfo is not there to say what this processor can do")
    avx2 = platform.machine() == "x86_64" and "avx2" in cpu.read_text().split()
    assert native(CONFIG).kernels == ("avx2" if avx2 else "portable")
    assert native(CONFIG, portable=True).kernels == "portable"


@both_kernels
@pytest.mark.parametrize(("source", "target"), [*itertools.product(SIZES, TARGETS)])
def test_native_equals_numpy_bit_for_bit(
    source: tuple[int, int], target: tuple[int, int], portable: bool
) -> None:
    frame = random_frame(*source)
    config = replace(CONFIG, height=target[0], width=target[1])
    tested = native(config, portable=portable)
    np.testing.assert_array_equal(tested.resize(frame), resize_reference(frame, *target))
    np.testing.assert_array_equal(tested(frame), preprocess_reference(frame, config))


@both_kernels
def test_native_equals_numpy_on_4k(portable: bool) -> None:
    frame = random_frame(2160, 3840)
    config = replace(CONFIG, height=160, width=160)
    tested = native(config, portable=portable)
    np.testing.assert_array_equal(tested(frame), preprocess_reference(frame, config))


@both_kernels
@pytest.mark.parametrize("value", [0, 255])
def test_native_equals_numpy_at_the_ends_of_the_range(value: int, portable: bool) -> None:
    frame = np.full((217, 333, 3), value, dtype=np.uint8)
    frame[::7, ::5] = 255 - value
    tested = native(CONFIG, portable=portable)
    np.testing.assert_array_equal(tested(frame), preprocess_reference(frame, CONFIG))


@both_kernels
def test_native_equals_numpy_where_weights_are_below_zero(portable: bool) -> None:
    # More than 16384 taps that each round up to 1: the largest absorbs what is too much.
    start, weights = triangle_weights(20000, 1)[0]
    assert weights.min() < 0
    frame = np.zeros((3, 20000, 3), dtype=np.uint8)
    frame[:, start + int(weights.argmin())] = 255
    tested = _native.Preprocess(3, 1, (0, 0, 0), (1, 1, 1), portable=portable)
    np.testing.assert_array_equal(tested.resize(frame), resize_reference(frame, 3, 1))


@both_kernels
@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    target=st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
def test_native_equals_numpy_for_any_size(
    source: tuple[int, int], target: tuple[int, int], portable: bool
) -> None:
    frame = random_frame(*source)
    tested = _native.Preprocess(*target, (0, 0, 0), (1, 1, 1), portable=portable)
    np.testing.assert_array_equal(tested.resize(frame), resize_reference(frame, *target))


@pytest.mark.parametrize("source", [(64, 48), (240, 320), (37, 500), (720, 1280)])
@pytest.mark.parametrize("target", [(160, 160), (33, 90)])
def test_resize_is_within_one_level_of_pillow(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frame = random_frame(*source)
    expected = image.fromarray(frame).resize(target[::-1], image.Resampling.BILINEAR)
    difference = resize_reference(frame, *target).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("sizes", [(1, 1), (7, 160), (1080, 160), (161, 160), (4001, 3)])
def test_weights_sum_to_one_exactly_and_read_inside(sizes: tuple[int, int]) -> None:
    for start, weights in triangle_weights(*sizes):
        assert weights.sum() == 16384
        assert weights.min() >= 0
        assert start >= 0
        assert start + len(weights) <= sizes[0]


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_flat_image_stays_flat(value: int) -> None:
    frame = np.full((97, 211, 3), value, dtype=np.uint8)
    assert np.unique(resize_reference(frame, 60, 80)).tolist() == [value]


def test_same_size_is_the_same_image_in_rgb_and_normalised() -> None:
    frame = random_frame(CONFIG.height, CONFIG.width)
    planes = preprocess_reference(frame, CONFIG)
    rgb = frame[:, :, ::-1].astype(np.float64) / 255
    expected = ((rgb - CONFIG.mean) / CONFIG.std).transpose(2, 0, 1)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes, expected, rtol=1e-6, atol=1e-6)


def test_normalize_gives_the_clip_of_single_frames() -> None:
    frames = np.stack(
        [random_frame(CONFIG.height, CONFIG.width + i)[:, : CONFIG.width] for i in range(3)]
    )
    clip = normalize(frames[..., ::-1], CONFIG)
    assert clip.shape == (1, 3, 3, CONFIG.height, CONFIG.width)
    assert clip.flags.c_contiguous
    for sample, frame in zip(clip[0], frames, strict=True):
        np.testing.assert_array_equal(sample, preprocess_reference(frame, CONFIG))


WRONG_FRAMES = [
    pytest.param(np.zeros((4, 4, 4), np.uint8), id="four channels"),
    pytest.param(np.zeros((4, 4), np.uint8), id="grey"),
    pytest.param(np.zeros((4, 4, 3), np.float32), id="float"),
    pytest.param(np.zeros((0, 4, 3), np.uint8), id="no rows"),
    pytest.param([[0, 0, 0]], id="list"),
    pytest.param(None, id="none"),
]


@pytest.mark.parametrize("frame", WRONG_FRAMES)
def test_wrong_frame_is_one_clear_error_in_both(frame: np.ndarray) -> None:
    with pytest.raises(
        ConfigError, match=r"expected a frame: a uint8 array of \(height, width, 3\)"
    ):
        preprocess_reference(frame, CONFIG)
    with pytest.raises(
        ConfigError, match=r"expected a frame: a uint8 array of \(height, width, 3\)"
    ):
        native(CONFIG)(frame)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"height": 0}, id="no rows"),
        pytest.param({"std": (0.2, 0.0, 0.2)}, id="std of 0"),
        pytest.param({"mean": (0.2, float("nan"), 0.2)}, id="mean not finite"),
        pytest.param({"mean": (0.2, 0.2)}, id="two means"),
    ],
)
def test_wrong_config_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **change)


@pytest.mark.parametrize(
    ("size", "mean", "std"),
    [
        pytest.param((0, 8), (0, 0, 0), (1, 1, 1), id="no rows"),
        pytest.param((8, 5000), (0, 0, 0), (1, 1, 1), id="too wide"),
        pytest.param((8, 8), (0, 0, 0), (1, 0, 1), id="std of 0"),
        pytest.param((8, 8), (float("inf"), 0, 0), (1, 1, 1), id="mean not finite"),
    ],
)
def test_wrong_native_config_is_refused(
    size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigError):
        _native.Preprocess(*size, mean, std)
