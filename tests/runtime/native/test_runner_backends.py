"""edge_runner with a backend of ExecuTorch in a library of its own, built here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.backend_library import VARIABLE
from runtime.bundle import Bundle
from runtime.bundle_spec import GoldenClip

_native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")
RUNNER = Path(
    os.environ.get("EDGE_RUNNER", Path(_native.__file__).with_name("bin") / "edge_runner")
)
FRAMES = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
RAW = ("--raw", "96x64@30", "--conf", "0")
LACKING = "no VulkanBackend is loaded (--backend-library libexecutorch_backend_vulkan.so"

pytestmark = pytest.mark.skipif(
    not RUNNER.is_file(), reason="edge_runner is not built (tools/build_native.sh)"
)


def run(*flags: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [RUNNER, *RAW, *map(str, flags)], input=FRAMES.tobytes(), capture_output=True, timeout=120,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def detections(text: str) -> list[Any]:
    return [json.loads(line)["detections"] for line in text.splitlines()]


def build(source: str, library: Path, *flags: str) -> Path:
    """Compile a shared library against ExecuTorch's headers."""
    compiler = shutil.which("c++")
    spec = importlib.util.find_spec("executorch")
    if compiler is None or spec is None or not spec.submodule_search_locations:
        pytest.skip("no C++ compiler, or no ExecuTorch wheel, to build a backend with")
    root = Path(spec.submodule_search_locations[0])
    includes = (root / "include", root / "include/executorch/runtime/core/portable_type/c10")
    done = subprocess.run(
        [
            compiler, "-std=c++17", "-shared", "-fPIC", "-DC10_USING_CUSTOM_GENERATED_MACROS",
            *(f"-isystem{folder}" for folder in includes), "-x", "c++", "-", "-o", str(library),
            *(flag.format(lib=root / "lib") for flag in flags),
        ],
        input=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return library


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).with_name("relu_backend.cc").read_text(encoding="utf-8")
    library = tmp_path_factory.mktemp("plug-in") / "librelu_backend.so"
    return build(source, library, "-L{lib}", "-lexecutorch")


@pytest.fixture
def bundle(make_bundle: Any, plug_in_program: Any) -> Path:
    """Return a bundle of the tiny network for XNNPACK, and for the plug-in (as vulkan-fp32)."""
    folder: Path = make_bundle()
    spec = Bundle.load(folder).spec
    content = plug_in_program.path.read_bytes()
    (folder / "vulkan-fp32.pte").write_bytes(content)
    artifact = replace(
        spec.artifacts[0], file="vulkan-fp32.pte", target="vulkan", precision="fp32",
        sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content),
    )  # fmt: skip
    with np.load(folder / "golden.npz") as golden:
        arrays = dict(golden)
    for name in list(arrays):
        if name.startswith("xnnpack-int8/"):
            arrays[name.replace("xnnpack-int8", "vulkan-fp32")] = arrays[name]
    np.savez(folder / "golden.npz", **arrays)
    digest = hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest()
    golden_clip = GoldenClip(file="golden.npz", sha256=digest)
    spec = replace(spec, artifacts=(*spec.artifacts, artifact), golden=golden_clip)
    (folder / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("way", ["flag", "environment", "several", "twice"])
def test_a_loaded_backend_runs_its_programs(bundle: Path, plug_in: Path, way: str) -> None:
    wanted = run("--model", bundle)
    assert "(xnnpack-int8.pte, int8)" in wanted.stderr, "the processor is preferred, as in Python"
    given: dict[str, tuple[str, ...]] = {
        "flag": ("--backend-library", str(plug_in)),
        "environment": (),
        "several": (f"--backend-library={openvino()}:{plug_in}",),
        "twice": ("--backend-library", f"{plug_in}:{plug_in}:"),
    }
    environment = {VARIABLE: str(plug_in)} if way == "environment" else {VARIABLE: "/no/where.so"}
    done = run("--model", bundle, "--device", "vulkan", *given[way], **environment)
    assert done.returncode == 0, done.stderr
    assert "(vulkan-fp32.pte, fp32)" in done.stderr
    assert "self-test passed" in done.stderr
    found, expected = detections(done.stdout), detections(wanted.stdout)
    assert len(found) == len(expected) > 3
    for ours, theirs in zip(found, expected, strict=True):
        assert [one["xyxy"] for one in ours] == [
            pytest.approx(one["xyxy"], abs=0.02) for one in theirs
        ]
        assert [one["actor"] for one in ours] == [
            pytest.approx(one["actor"], abs=1e-5) for one in theirs
        ]


def openvino() -> Path:
    spec = importlib.util.find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("ExecuTorch's wheel is not installed here")
    path = Path(spec.submodule_search_locations[0]) / "lib/libexecutorch_backend_openvino.so"
    if not path.is_file():
        pytest.skip(f"this wheel has no {path.name}")
    return path


def test_python_runs_the_same_program_by_the_same_library(bundle: Path, plug_in: Path) -> None:
    code = (
        "import sys; import numpy as np\n"
        "from runtime.backend_library import use_backend_library\n"
        "from runtime.bundle import Bundle; from runtime.engine import load_engine\n"
        "use_backend_library(sys.argv[2])\n"
        "with Bundle.load(sys.argv[1]) as bundle:\n"
        "    print(load_engine(bundle, device='vulkan').reason)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle), str(plug_in)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.startswith("vulkan-fp32 (vulkan, fp32), "), done.stderr
    assert "self-test passed" in done.stdout


def test_where_only_another_backend_would_do_it_is_named(bundle: Path, plug_in: Path) -> None:
    asked = run("--model", bundle, "--device", "vulkan")
    assert asked.returncode == 1
    assert f"vulkan-fp32.pte: {LACKING}" in asked.stderr
    assert "xnnpack-int8.pte: it runs on cpu, not on vulkan as asked" in asked.stderr
    assert "edge export" not in asked.stderr, "the program is there; its backend is not"
    spec = Bundle.load(bundle).spec
    alone = replace(spec, artifacts=spec.artifacts[1:])
    (bundle / "bundle.json").write_text(alone.to_json(), encoding="utf-8")
    lacking = run("--model", bundle)
    assert lacking.returncode == 1
    assert f"vulkan-fp32.pte: {LACKING}" in lacking.stderr
    other = replace(spec.artifacts[0], target="onnx")
    (bundle / "bundle.json").write_text(replace(spec, artifacts=(other,)).to_json(), "utf-8")
    assert "no program of ExecuTorch; make one with `edge export`" in run("--model", bundle).stderr
    (bundle / "bundle.json").write_text(alone.to_json(), encoding="utf-8")
    loaded = run("--model", bundle, "--backend-library", plug_in)
    assert "(vulkan-fp32.pte, fp32)" in loaded.stderr, "auto takes it where there is no other"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("/nowhere/libx.so", "there is no backend library", id="missing"),
        pytest.param("libnowhere-at-all.so", "does not load", id="not found by the system"),
        pytest.param(__file__, "does not load", id="no library"),
        pytest.param("libc.so.6", "registers no backend", id="another library"),
    ],
)
@pytest.mark.parametrize("way", ["flag", "environment"])
def test_what_is_no_backend_is_one_sentence_and_exit_2(way: str, name: str, said: str) -> None:
    flags = ["--backend-library", name] if way == "flag" else []
    environment = {VARIABLE: name} if way == "environment" else {}
    done = run("--model", "/nowhere", *flags, **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_a_device_that_is_unknown_is_refused() -> None:
    done = run("--model", "x", "--device", "gpu")
    assert done.returncode == 2
    assert "--device is 'gpu', expected auto, cpu or vulkan" in done.stderr
