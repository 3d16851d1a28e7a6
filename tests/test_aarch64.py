"""The aarch64 build, run under qemu-aarch64: the results of this machine, from the same pixels.

Only where somebody has built it (tools/cross_build_aarch64.sh); these tests then keep it current.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from runtime.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "tools" / "cross_build_aarch64.sh"
BUILD = REPOSITORY / "build" / "aarch64"
PYTHON_ROOT = REPOSITORY / "build" / "aarch64-python"
LIBC_ROOT = Path("/usr/aarch64-linux-gnu")  # of Debian's cross compiler
NANO = REPOSITORY / "runtime" / "models" / "nano"
COMMANDS = (
    "apt-get install g++-aarch64-linux-gnu qemu-user && sh tools/cross_build_aarch64.sh; "
    "docs/devices.md"
)
# Thirteen keyframes: of fewer, chance decides how many have a value that rounds the other way.
NUM_FRAMES, FPS = 120, 28
# Every token is compared, also those that the suppression has silenced.
CONF = 0.0
# Of the picture's sides. JSON has two digits of a pixel, so 0.01 of 256 is the least that can show.
# A clip in four has an int8 value that rounds the other way, and differs by more (docs/devices.md);
# in float32 every clip is the same, which says that it is the rounding and nothing else.
BOX_TOLERANCE = 1e-3
PROBABILITY_TOLERANCE = 1e-4
# Where a value rounds the other way.
ROUNDED_BOX, ROUNDED_PROBABILITY = 0.02, 0.05

# Without instructions of int8 dot products (Raspberry Pi 3, 4), with them (Pi 5; Jetson Orin's
# A78AE), and with int8 matrix products. Not plain `max`: qemu before 10 computes SME wrongly.
CPUS = ("cortex-a53", "cortex-a76", "max,sme=off")


@dataclass(frozen=True)
class Emulated:
    """The folder that is copied to a device, and how its programs are run here."""

    runtime: Path
    qemu: str

    def run(self, *command: str | Path, cpu: str, frames: bytes = b"") -> str:
        root = PYTHON_ROOT if (PYTHON_ROOT / "usr" / "bin" / "python3").exists() else LIBC_ROOT
        packages = f"{self.runtime.parent}:{PYTHON_ROOT / 'packages'}"
        emulator = [self.qemu, "-cpu", cpu, "-L", str(root), "-E", f"PYTHONPATH={packages}"]
        # There, since `python -m` looks for packages in the folder it is started in first.
        return _run([*emulator, *map(str, command)], frames, cwd=self.runtime.parent)

    def python(self, *arguments: str | Path, cpu: str) -> str:
        if not list(self.runtime.glob("_native*.so")):
            pytest.skip("build/aarch64 is a build of edge_runner alone (--runner-only)")
        if not (PYTHON_ROOT / ".complete").exists():
            pytest.skip("no aarch64 Python to run: sh tools/fetch_aarch64_python.sh")
        return self.run(PYTHON_ROOT / "usr" / "bin" / "python3", *arguments, cpu=cpu)


def _run(command: list[str], frames: bytes = b"", cwd: Path = REPOSITORY) -> str:
    done = subprocess.run(
        command, input=frames, capture_output=True, cwd=cwd, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


@pytest.fixture(scope="module")
def emulated() -> Emulated:
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if shutil.which("aarch64-linux-gnu-g++") is None or qemu is None:
        pytest.skip(f"no cross compiler or no qemu-aarch64 ({COMMANDS})")
    if not (BUILD / "build.ninja").exists():
        pytest.skip(f"nothing is built for aarch64 ({COMMANDS})")
    cache = (BUILD / "CMakeCache.txt").read_text(encoding="utf-8").splitlines()
    headers = [line for line in cache if line.startswith("Python_INCLUDE_DIR:")]
    flags = [f"-DPython_INCLUDE_DIR={line.partition('=')[2]}" for line in headers]
    if "EDGE_PYTHON:BOOL=OFF" in cache:
        flags = ["--runner-only"]
    done = subprocess.run(
        ["sh", str(SCRIPT), *flags],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return Emulated(runtime=BUILD / "device" / "runtime", qemu=qemu)


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> npt.NDArray[np.uint8]:
    capture = cv2.VideoCapture(str(shared_data / "videos" / "mmaction2_demo.mp4"))
    images = [capture.read()[1] for _ in range(NUM_FRAMES)]
    capture.release()
    return np.stack(images)


def results(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def check_same(
    found: list[dict[str, Any]], expected: list[dict[str, Any]], size_wh: tuple[int, int]
) -> int:
    """Compare results of the same frames; return how many detections were equal.

    Half of the clips must be equal in all tokens. Where one float rounds to the next int8 step on
    one processor and not on the other, more than a last digit moves: there, who is above the
    bundle's own threshold on one of the two must be found on the other as well, with nearly the
    same score; a score at the threshold may be on its other side.
    """
    when = ("frame", "t", "keyframe", "keyframe_t")
    assert [[one[key] for key in when] for one in found] == [
        [one[key] for key in when] for one in expected
    ]
    with Bundle.load(NANO) as bundle:
        theta = bundle.spec.artifacts[0].conf
    count = equal = 0
    for ours, theirs in zip(found, expected, strict=True):
        mine, others = ours["detections"], theirs["detections"]
        if differences(mine, others, size_wh, BOX_TOLERANCE, PROBABILITY_TOLERANCE) is None:
            equal += 1
            count += len(mine)
            continue
        for some, all_of_other in ((mine, others), (others, mine)):
            sure = [one for one in some if one["actor"] >= theta]
            rounded = (ROUNDED_BOX, ROUNDED_PROBABILITY)
            assert differences(all_of_other, sure, size_wh, *rounded, more=True) is None
    assert equal >= 0.5 * len(expected)
    return count


def differences(
    found: list[dict[str, Any]],
    expected: list[dict[str, Any]],
    size_wh: tuple[int, int],
    box: float,
    probability: float,
    *,
    more: bool = False,
) -> str | None:
    """Return where two clips differ by more than is allowed; boxes as shares of the picture.

    With `more`, the first may have further detections.
    """
    left = list(found)
    if len(left) < len(expected) or (len(left) > len(expected) and not more):
        return f"{len(left)} detections for {len(expected)}"
    sides = np.array([*size_wh, *size_wh])
    for actor in expected:
        # Scores that are equal but for rounding may change places.
        off = [np.abs(np.subtract(one["xyxy"], actor["xyxy"])).max() / sides.min() for one in left]
        same = left.pop(int(np.argmin(off)))
        if min(off) > box:
            return f"a box is off by {min(off):.2g}"
        scores = [same["actor"] - actor["actor"]]
        scores += [same["actions"][name] - value for name, value in actor["actions"].items()]
        if max(map(abs, scores)) > probability:
            return f"a probability is off by {max(map(abs, scores)):.2g}"
    return None


def run_on_both(
    emulated: Emulated, bundle: Path, frames: npt.NDArray[np.uint8], cpu: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[int, int]]:
    """Return what edge_runner finds on this machine and on that processor, and the frames' size."""
    native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    runner = Path(native.__file__).with_name("bin") / "edge_runner"
    if not runner.is_file():
        pytest.skip("edge_runner is not built for this machine (tools/build_native.sh)")
    _, height, width, _ = frames.shape
    flags = ["--model", str(bundle), "--raw", f"{width}x{height}@{FPS}", "--threads", "1"]
    flags += ["--conf", str(CONF), "--action-conf", "0"]
    expected = results(_run([str(runner), *flags], frames.tobytes()))
    binary = emulated.runtime / "bin" / "edge_runner"
    found = results(emulated.run(binary, *flags, cpu=cpu, frames=frames.tobytes()))
    return expected, found, (width, height)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", CPUS)
def test_edge_runner_gives_the_results_of_this_machine(
    emulated: Emulated, frames: npt.NDArray[np.uint8], cpu: str
) -> None:
    expected, found, size_wh = run_on_both(emulated, NANO, frames, cpu)
    assert len(expected) >= 12
    assert check_same(found, expected, size_wh) > 500


@pytest.mark.slow
def test_in_float32_every_clip_is_the_same(
    emulated: Emulated, frames: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    from export import export_bundle

    bundle = tmp_path / "float32"
    export_bundle(
        REPOSITORY / "weights" / "nano-scratch" / "model.pt",
        targets=["xnnpack-fp32"],
        calib_data="synthetic-train:8",
        out=bundle,
    )
    few = frames[: NUM_FRAMES // 2]
    expected, found, size_wh = run_on_both(emulated, bundle, few, "cortex-a76")
    assert len(found) == len(expected) >= 5
    assert sum(len(one["detections"]) for one in expected) > 500
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["keyframe_t"] == theirs["keyframe_t"]
        mine, others = ours["detections"], theirs["detections"]
        tolerances = (BOX_TOLERANCE, PROBABILITY_TOLERANCE)
        assert differences(mine, others, size_wh, *tolerances) is None


@pytest.mark.slow
def test_python_runtime_gives_the_results_of_this_machine(
    emulated: Emulated, frames: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    from runtime.runner import ClipRunner
    from runtime.sources import SourceConfig

    # Pictures, since FFmpeg's colour conversion rounds differently on the two processors.
    folder = tmp_path / "images"
    folder.mkdir()
    for i, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"{i:05d}.png"), frame)
    saved = tmp_path / "out.jsonl"
    emulated.python(
        *("-m", "runtime", "run", "--model", NANO, "--source", folder, "--save-json", saved),
        *("--conf", str(CONF), "--action-conf", "0", "--num-threads", "1", "--quiet"),
        cpu="cortex-a76",
    )
    with ClipRunner(NANO, conf=CONF, action_conf=0.0, num_threads=1) as python:
        stream = python.stream(folder, config=SourceConfig(image_fps=30.0))
        expected = [result.to_dict() for result in stream]
    height, width = frames.shape[1:3]
    found = results(saved.read_text(encoding="utf-8"))
    assert len(expected) >= 8
    assert check_same(found, json.loads(json.dumps(expected)), (width, height)) > 500


EXACT = """
import platform
import numpy as np
from runtime import _native
from runtime.preprocess import preprocess_reference
from runtime.types import ClipSpec

assert platform.machine() == "aarch64"
config = ClipSpec(num_frames=1, sampling_rate=1, fps=30.0, height=160, width=144)
native = _native.Preprocess(160, 144, config.mean, config.std)
for height, width in ((256, 340), (97, 1280), (720, 61)):
    rng = np.random.default_rng(height)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(native(frame), preprocess_reference(frame, config))
print(_native.info()["executorch_version"], *_native.info()["backends"])
"""


@pytest.mark.slow
def test_python_module_preprocesses_bit_for_bit(emulated: Emulated) -> None:
    assert emulated.python("-c", EXACT, cpu="cortex-a53") == "1.5.1 XnnpackBackend\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "run_path"),
    [
        pytest.param("bin/edge_runner", "[$ORIGIN/../lib]", id="edge_runner"),
        pytest.param("_native*.so", "[$ORIGIN/lib]", id="module"),
    ],
)
def test_binaries_find_their_libraries_beside_them(
    emulated: Emulated, pattern: str, run_path: str
) -> None:
    found = list(emulated.runtime.glob(pattern))
    if not found:
        pytest.skip("build/aarch64 is a build of edge_runner alone (--runner-only)")
    said = _run(["aarch64-linux-gnu-readelf", "-hd", str(found[0])])
    assert "AArch64" in said
    assert [line.split()[-1] for line in said.splitlines() if "RUNPATH" in line] == [run_path]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_missing_cross_compiler_is_one_sentence(tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("aarch64-linux-gnu-g++")
    if beside.exists() or (dirname := shutil.which("dirname")) is None:
        pytest.skip("the compiler cannot be hidden here")
    (tmp_path / "dirname").symlink_to(dirname)
    done = subprocess.run(
        [shutil.which("sh") or "sh", str(SCRIPT)],
        env={"PATH": str(tmp_path), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "aarch64-linux-gnu-g++ is missing: apt-get install g++-aarch64-linux-gnu\n"
    )


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + machine.to_bytes(2, "little")


@pytest.mark.parametrize(
    ("content", "processor", "said"),
    [
        pytest.param(elf(183), "aarch64", "", id="fits"),
        pytest.param(elf(62), "x86_64", "", id="fits x86-64"),
        pytest.param(elf(62), "aarch64", "is for 'x86_64, AMD64', this build is", id="x86-64"),
        pytest.param(elf(183), "x86_64", "is for 'aarch64, arm64', this build is", id="aarch64"),
        pytest.param(b"", "aarch64", "is for 'no known processor', this build is", id="empty"),
    ],
)
def test_libraries_of_another_processor_are_refused(
    tmp_path: Path, content: bytes, processor: str, said: str
) -> None:
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.is_file() else shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    library = tmp_path / "libexecutorch.so"
    library.write_bytes(content)
    script = tmp_path / "check.cmake"
    script.write_text(
        "cmake_policy(VERSION 3.20)\n"
        f'include("{REPOSITORY}/tools/cmake/executorch-wheel.cmake")\n'
        f"set(CMAKE_SYSTEM_PROCESSOR {processor})\n"
        f'edge_check_processor("{library}")\n',
        encoding="utf-8",
    )
    done = subprocess.run([cmake, "-P", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (said == "")
    assert said in " ".join(done.stderr.split())
