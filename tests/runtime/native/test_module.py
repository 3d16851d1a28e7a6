"""The native module: engine, clip buffer, frames of any layout, threads and lifetimes."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import _native
from runtime.errors import ArtifactError, ConfigError

MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
HEIGHT, WIDTH = 24, 40


@pytest.fixture
def preprocess() -> _native.Preprocess:
    return _native.Preprocess(HEIGHT, WIDTH, MEAN, STD)


def frame(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Clip buffer


def test_clip_is_always_the_newest_frames_oldest_first(preprocess: _native.Preprocess) -> None:
    buffer = _native.ClipBuffer(preprocess, 4)
    for newest in range(11):
        buffer.push(frame(newest))
        assert buffer.count == min(newest + 1, 4)
        assert buffer.full == (newest >= 3)
        if buffer.full:
            expected = np.stack([preprocess(frame(i)) for i in range(newest - 3, newest + 1)])
            np.testing.assert_array_equal(buffer.clip(), expected[None])


def test_clip_is_a_contiguous_read_only_view_without_a_copy(
    preprocess: _native.Preprocess,
) -> None:
    buffer = _native.ClipBuffer(preprocess, 3)
    for i in range(5):
        buffer.push(frame(i))
    clip = buffer.clip()
    assert clip.shape == (1, 3, 3, HEIGHT, WIDTH)
    assert clip.dtype == np.float32
    assert clip.flags.c_contiguous
    assert not clip.flags.owndata
    assert not clip.flags.writeable
    assert clip.ctypes.data == buffer.clip().ctypes.data


def test_clip_outlives_its_buffer(preprocess: _native.Preprocess) -> None:
    buffer = _native.ClipBuffer(preprocess, 8)
    for i in range(8):
        buffer.push(frame(i))
    clip = buffer.clip()
    expected = clip.copy()
    del buffer, preprocess
    gc.collect()
    # Memory given back would soon be used again, by arrays of the same size.
    filler = [np.full_like(expected, i) for i in range(20)]
    np.testing.assert_array_equal(clip, expected)
    assert len(filler) == 20


def test_repeat_takes_the_newest_sample_again(preprocess: _native.Preprocess) -> None:
    buffer = _native.ClipBuffer(preprocess, 3)
    for i in range(4):
        buffer.push(frame(i))
    buffer.repeat()
    expected = [preprocess(frame(i)) for i in (2, 3, 3)]
    np.testing.assert_array_equal(buffer.clip()[0], expected)


def test_flush_forgets_everything(preprocess: _native.Preprocess) -> None:
    buffer = _native.ClipBuffer(preprocess, 2)
    buffer.push(frame(0))
    buffer.push(frame(1))
    buffer.flush()
    assert buffer.count == 0
    assert not buffer.full
    with pytest.raises(ConfigError, match="0 of 2 samples"):
        buffer.clip()
    with pytest.raises(ConfigError, match="no sample to repeat"):
        buffer.repeat()
    buffer.push(frame(2))
    buffer.push(frame(3))
    np.testing.assert_array_equal(buffer.clip()[0], [preprocess(frame(i)) for i in (2, 3)])


def test_refused_frame_leaves_the_buffer_as_it_was(preprocess: _native.Preprocess) -> None:
    buffer = _native.ClipBuffer(preprocess, 2)
    buffer.push(frame(0))
    buffer.push(frame(1))
    before = buffer.clip().copy()
    with pytest.raises(ConfigError):
        buffer.push(np.zeros((4, 4), np.uint8))
    np.testing.assert_array_equal(buffer.clip(), before)


@pytest.mark.parametrize("num_frames", [0, -1, 257])
def test_clip_of_a_silly_length_is_refused(preprocess: _native.Preprocess, num_frames: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 256"):
        _native.ClipBuffer(preprocess, num_frames)


# Frames of any layout


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(np.s_[10:50, 7:61], id="crop"),
        pytest.param(np.s_[::2], id="every other row"),
        pytest.param(np.s_[::-1], id="upside down"),
        pytest.param(np.s_[:, 5:6], id="one column"),
    ],
)
def test_rows_may_lie_any_distance_apart(preprocess: _native.Preprocess, view: Any) -> None:
    part = frame(5)[view]
    np.testing.assert_array_equal(preprocess(part), preprocess(np.ascontiguousarray(part)))


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(np.s_[:, ::2], id="every other column"),
        pytest.param(np.s_[:, ::-1], id="mirrored"),
        pytest.param(np.s_[:, :, ::-1], id="channels swapped"),
    ],
)
def test_pixels_that_do_not_lie_side_by_side_are_refused(
    preprocess: _native.Preprocess, view: Any
) -> None:
    with pytest.raises(ConfigError, match="ascontiguousarray"):
        preprocess(frame(5)[view])


def test_read_only_frames_are_taken(preprocess: _native.Preprocess) -> None:
    locked = frame(5)
    locked.flags.writeable = False
    np.testing.assert_array_equal(preprocess(locked), preprocess(frame(5)))


# Engine


def test_engine_agrees_with_torch(tiny_program: Any) -> None:
    engine = _native.Engine(str(tiny_program.path))
    assert engine.input_shape == tiny_program.clip.shape
    assert engine.output_shapes == tuple(o.shape for o in tiny_program.outputs)
    assert engine.load_ms > 0
    for ours, torchs in zip(engine(tiny_program.clip), tiny_program.outputs, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, torchs, atol=1e-5)


def test_a_path_is_a_str_bytes_or_path_of_any_bytes(tiny_program: Any, tmp_path: Path) -> None:
    for name in (b"caf\xe9.pte", "caf\u00e9.pte".encode()):
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))  # noqa: PTH118
        shutil.copy(tiny_program.path, path)
        for given in (path, str(path), os.fsencode(path)):
            assert _native.Engine(given).input_shape == tiny_program.clip.shape
    with pytest.raises(TypeError):
        _native.Engine(3)  # type: ignore[arg-type]


def test_an_error_with_a_name_that_is_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"caf\\xe9\.pte does not load"):
        _native.Engine(os.fsencode(tmp_path) + b"/caf\xe9.pte")


def test_outputs_are_not_overwritten_by_the_next_run(tiny_program: Any) -> None:
    engine = _native.Engine(str(tiny_program.path))
    first = engine(tiny_program.clip)
    kept = [output.copy() for output in first]
    engine(-tiny_program.clip)
    for output, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(output, copy)


def test_engine_runs_the_view_of_a_clip_buffer(tiny_program: Any) -> None:
    _, frames, _, height, width = tiny_program.clip.shape
    buffer = _native.ClipBuffer(_native.Preprocess(height, width, MEAN, STD), frames)
    for i in range(frames + 2):
        buffer.push(frame(i))
    engine = _native.Engine(str(tiny_program.path))
    for ours, again in zip(engine(buffer.clip()), engine(buffer.clip().copy()), strict=True):
        np.testing.assert_array_equal(ours, again)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c[:, :2], id="too short"),
        pytest.param(lambda c: c[0], id="no batch"),
        pytest.param(lambda c: c.astype(np.float64), id="float64"),
        pytest.param(lambda c: c.astype(np.uint8), id="uint8"),
        pytest.param(lambda c: c[..., ::-1], id="mirrored"),
        pytest.param(lambda c: c.tolist(), id="list"),
        pytest.param(lambda c: None, id="none"),
    ],
)
def test_wrong_clip_is_refused_with_the_shape_expected(tiny_program: Any, change: Any) -> None:
    engine = _native.Engine(str(tiny_program.path))
    with pytest.raises(ConfigError, match=r"expected a clip: a float32 array of \(1, 4, 3, 32, 32"):
        engine(change(tiny_program.clip))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999])
def test_truncated_program_is_one_error(tiny_program: Any, tmp_path: Path, share: float) -> None:
    content = tiny_program.path.read_bytes()
    broken = tmp_path / "broken.pte"
    broken.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError, match=r"broken.pte does not load: ExecuTorch 1\.5\.1 says"):
        _native.Engine(str(broken))


@pytest.mark.parametrize("path", ["missing.pte", "."])
def test_what_is_no_file_is_one_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArtifactError, match="does not load"):
        _native.Engine(str(tmp_path / path))


def test_text_file_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "notes.pte").write_text("not a program\n" * 50)
    with pytest.raises(ArtifactError, match="does not load"):
        _native.Engine(str(tmp_path / "notes.pte"))


def test_engine_errors_are_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArtifactError):
        _native.Engine(str(tmp_path / "missing.pte"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("num_threads", [-1, 257])
def test_silly_number_of_threads_is_refused(tiny_program: Any, num_threads: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 256"):
        _native.Engine(str(tiny_program.path), num_threads)


def test_number_of_threads_can_be_set_under_a_loaded_engine(tiny_program: Any) -> None:
    first = _native.Engine(str(tiny_program.path))
    before, expected = first.num_threads, first(tiny_program.clip)
    try:
        for count in (1, 3, 2):
            engine = _native.Engine(str(tiny_program.path), count)
            assert engine.num_threads == first.num_threads == count
            for one in (first, engine):
                for output, wanted in zip(one(tiny_program.clip), expected, strict=True):
                    np.testing.assert_allclose(output, wanted, atol=1e-6)
    finally:
        _native.Engine(str(tiny_program.path), before)


def test_info_names_version_backend_and_compiler() -> None:
    info = _native.info()
    assert info["executorch_version"] == "1.5.1"
    assert "XnnpackBackend" in info["backends"]
    assert info["threads"] >= 1
    assert info["compiler"].startswith(("gcc", "clang"))


# Threads


def run_together(*work: Any, times: int = 40) -> list[BaseException]:
    errors: list[BaseException] = []

    def loop(one: Any) -> None:
        try:
            for _ in range(times):
                one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=loop, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    return errors


def test_engines_may_run_together_while_the_pool_changes(tiny_program: Any) -> None:
    path, clip = str(tiny_program.path), tiny_program.clip
    shared, other = _native.Engine(path), _native.Engine(path)
    before, expected = shared.num_threads, shared(clip)

    def check(engine: _native.Engine) -> None:
        for output, wanted in zip(engine(clip), expected, strict=True):
            np.testing.assert_allclose(output, wanted, atol=1e-6)

    counts = iter(range(10**6))
    errors = run_together(
        lambda: check(shared),
        lambda: check(shared),
        lambda: check(other),
        lambda: check(_native.Engine(path, 1 + next(counts) % 3)),
    )
    _native.Engine(path, before)
    assert errors == []


def test_preprocess_may_be_called_from_several_threads_with_several_sizes(
    preprocess: _native.Preprocess,
) -> None:
    frames = [frame(i, 40 + 9 * i, 50 + 7 * i) for i in range(7)]
    expected = [_native.Preprocess(HEIGHT, WIDTH, MEAN, STD)(one) for one in frames]

    def check() -> None:
        for one, wanted in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(preprocess(one), wanted)

    assert run_together(check, check, check) == []


def test_clip_buffer_may_be_used_from_several_threads(preprocess: _native.Preprocess) -> None:
    buffer = _native.ClipBuffer(preprocess, 4)
    for i in range(4):
        buffer.push(frame(i))

    def read() -> None:
        assert buffer.count in range(5)
        if buffer.full:
            try:
                assert buffer.clip().shape[1] == 4
            except ConfigError as error:
                assert "samples" in str(error)  # noqa: PT017  (another thread flushed)

    errors = run_together(
        lambda: buffer.push(frame(1)), buffer.flush, read, lambda: buffer.push(frame(2))
    )
    assert errors == []
    assert 0 <= buffer.count <= 4


def test_other_threads_run_while_the_native_code_computes() -> None:
    big = _native.Preprocess(1024, 1024, MEAN, STD)
    image = frame(1, 2160, 3840)
    beats: list[float] = []
    done = threading.Event()

    def beat() -> None:
        while not done.is_set():
            beats.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=beat)
    thread.start()
    start = time.perf_counter()
    for _ in range(10):
        big(image)
    end = time.perf_counter()
    done.set()
    thread.join()
    # With the GIL held there would be at most one beat between two calls.
    assert len([b for b in beats if start < b < end]) > 20


# One process with executorch's own runtime

BOTH_RUNTIMES = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
if sys.argv[3] == "ours first":
    from runtime import _native
import torch
from executorch.runtime import Runtime
import executorch.kernels.quantized
from runtime import _native
record = np.load(sys.argv[2])
clip = record["clip"]
ours = _native.Engine(sys.argv[1])(clip)
theirs = Runtime.get().load_program(sys.argv[1]).load_method("forward").execute(
    [torch.from_numpy(clip.copy())])
assert all(np.allclose(a, b.numpy(), atol=1e-6) for a, b in zip(ours, theirs))
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_lives_in_one_process_with_executorchs_own_runtime(tiny_program: Any, order: str) -> None:
    record = tiny_program.path.with_suffix(".npz")
    done = subprocess.run(
        [sys.executable, "-c", BOTH_RUNTIMES, str(tiny_program.path), str(record), order],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]


def test_threads_follow_what_the_process_may_use(tmp_path: Path) -> None:
    """In a process of its own, since the pool is sized once."""
    code = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import sys\n"
        "from runtime.bundle import DEFAULT_BUNDLE, Bundle\n"
        "from runtime.engine import load_engine\n"
        "with Bundle.load(DEFAULT_BUNDLE) as bundle:\n"
        "    engine = load_engine(bundle, self_test=False)\n"
        "    sys.stdout.write(str(engine.num_threads))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "120000 100000"}, 1,
                     id="v2"),
        pytest.param({"proc/self/cgroup": "4:cpu:/a\n", "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us":
                      "100000", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000"}, 1, id="v1"),
    ],
)  # fmt: skip
def test_control_groups_limit_the_processors(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _native.usable_processors(str(tmp_path)) == expected
