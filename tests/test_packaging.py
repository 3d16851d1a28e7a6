"""What an installation brings, and how the native build refuses a wrong ExecuTorch."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def provider() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "device_requirements", REPOSITORY / "tools" / "device_requirements.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param(
            "1",
            ["numpy>=1.24,<2" if sys.version_info < (3, 13) else "numpy>=1.24", "av>=14.1"],
            id="system OpenCV",
        ),
        pytest.param("0", ["numpy>=1.24", "av>=14.1", "opencv-python>=4.8"], id="OpenCV from PyPI"),
    ],
)
def test_device_needs_numpy_and_some_opencv(
    provider: ModuleType, monkeypatch: pytest.MonkeyPatch, override: str, expected: list[str]
) -> None:
    monkeypatch.setenv("EDGE_SYSTEM_OPENCV", override)
    assert provider.dynamic_metadata("dependencies", {}) == expected


def test_wrong_override_is_refused(provider: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SYSTEM_OPENCV", "yes")
    with pytest.raises(ValueError, match="set it to 1, 0, or leave it unset"):
        provider.dynamic_metadata("dependencies", {})


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        pytest.param({}, False, id="no OpenCV"),
        pytest.param({"cv2.py": "VideoCapture = object"}, True, id="OpenCV unknown to pip"),
        pytest.param({"cv2.py": "raise OSError('libGL')"}, False, id="OpenCV that fails"),
        pytest.param(
            {
                "cv2.py": "VideoCapture = object",
                "opencv_python-4.9.0.dist-info/METADATA": "Name: opencv-python\nVersion: 4.9.0\n",
            },
            False,
            id="OpenCV from PyPI",
        ),
    ],
)
def test_opencv_that_pip_does_not_know_of_is_accepted(
    provider: ModuleType, tmp_path: Path, packages: dict[str, str], expected: bool
) -> None:
    for name, text in packages.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    probe = (
        f"import sys; sys.path = [{str(tmp_path)!r}, *[p for p in sys.path if 'site-' not in p]]\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", probe + provider.PROBE], capture_output=True, check=False
    )
    assert (done.returncode == 0) is expected


@pytest.mark.parametrize(
    ("version", "found"),
    [
        pytest.param('set(PACKAGE_VERSION "1.4.0")', "holds executorch '1.4.0'", id="older"),
        pytest.param("", "holds executorch ''", id="no package"),
    ],
)
def test_native_build_refuses_another_executorch(tmp_path: Path, version: str, found: str) -> None:
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.is_file() else shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    folder = tmp_path / "executorch"
    config = folder / "lib" / "cmake" / "executorch" / "executorch-config-version.cmake"
    config.parent.mkdir(parents=True)
    config.write_text(version, encoding="utf-8")
    # Only the search, without a compiler.
    script = tmp_path / "find.cmake"
    script.write_text(
        f'include("{REPOSITORY}/tools/cmake/executorch-wheel.cmake")\n'
        "edge_find_executorch(1.5.1)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [cmake, f"-DEDGE_EXECUTORCH_DIR={folder}", "-P", str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert found in said
    assert "expected 1.5.1" in said


@pytest.mark.parametrize(
    ("library", "inside"),
    [
        pytest.param("libexecutorch_backend_xnnpack.so", ("XNNPACK", "pthreadpool"), id="xnnpack"),
        pytest.param("libexecutorch_threadpool.so", ("cpuinfo", "pthreadpool"), id="threads"),
        pytest.param("libexecutorch_kernels_optimized.so", ("Eigen",), id="kernels"),
        pytest.param("libexecutorch.so", ("FlatBuffers",), id="programs"),
    ],
)
def test_terms_of_what_a_library_holds_go_into_the_wheel(
    library: str, inside: tuple[str, ...]
) -> None:
    spec = importlib.util.find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("executorch is not installed")
    content = (Path(next(iter(spec.submodule_search_locations))) / "lib" / library).read_bytes()
    named = {path.stem for path in (REPOSITORY / "licences").glob("*.txt")}
    for name in inside:
        assert name.lower().encode() in content.lower()
        assert name in named
    assert {"ExecuTorch", "FP16", "FXdiv", "nanobind", "nlohmann-json", "robin-map"} <= named
    assert all("opyright" in (REPOSITORY / "licences" / f"{n}.txt").read_text() for n in named)


@pytest.mark.parametrize("name", ["runtime.py", "export.py", "quantize/__init__.py"])
def test_a_file_that_hides_a_package_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    # Without `site`, whose finder of an editable installation comes before all folders.
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import edge"], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
    )  # fmt: skip
    assert done.returncode == 1
    package = name.removesuffix(".py").split("/")[0]
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: `import {package}` finds")
    assert "rename yours" in done.stderr


def test_no_message_names_a_package_that_is_not_published() -> None:
    folders = ("runtime", "edge", "export", "quantize", "calibration")
    sources = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(sources) > 200
    named = [path for path in sources if "bmvit-edge[" in path.read_text(encoding="utf-8")]
    assert named == [], "the extras are installed from a checkout: pip install '.[train]'"
