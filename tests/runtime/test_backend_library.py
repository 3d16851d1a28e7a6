"""Backends loaded beside the runtime: the wheel's own OpenVINO and QNN ones stand for others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.backend_library import VARIABLE, named_libraries
from runtime.cli import main

pytest.importorskip("runtime._native", reason="the native module is not built here")


def _library(name: str) -> Path:
    spec = importlib.util.find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("ExecuTorch's wheel is not installed here")
    path = Path(spec.submodule_search_locations[0]) / "lib" / f"libexecutorch_backend_{name}.so"
    if not path.is_file():
        pytest.skip(f"this wheel has no {path.name}")
    return path


def _child(code: str, *words: str) -> str:
    """Run code in a process of its own: a library stays loaded."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_library_makes_its_backend_selectable() -> None:
    code = (
        "import sys; from runtime import _native; from runtime.backend_library import *\n"
        "print(_native.info()['backends']); print(load_backend_library(sys.argv[1]))\n"
        "print(load_backend_library(sys.argv[1])); print(_native.info()['backends'])"
    )
    lines = _child(code, str(_library("openvino"))).splitlines()
    assert lines == [
        "['XnnpackBackend']", "('OpenvinoBackend',)", "('OpenvinoBackend',)",
        "['XnnpackBackend', 'OpenvinoBackend']",
    ]  # fmt: skip


def test_the_environment_names_it_for_every_engine() -> None:
    code = (
        "import os, sys\n"
        f"os.environ['{VARIABLE}'] = sys.argv[1]\n"
        "from runtime import _native; from runtime.bundle import *; from runtime.engine import *\n"
        "with Bundle.load(DEFAULT_BUNDLE) as bundle: load_engine(bundle, self_test=False)\n"
        "print('OpenvinoBackend' in _native.info()['backends'])"
    )
    assert _child(code, str(_library("openvino"))) == "True"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("/nowhere/libx.so", "there is no backend library", id="missing"),
        pytest.param(__file__, "does not load", id="no library"),
        pytest.param("libc.so.6", "registers no backend", id="another library"),
    ],
)
def test_what_is_no_backend_is_one_sentence(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--backend-library", name, "--source", "0"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_doctor_lists_the_libraries(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["doctor", "--backend-library", "/nowhere/libx.so"])
    assert "there is no backend library /nowhere/libx.so" in capsys.readouterr().out
    monkeypatch.setenv(VARIABLE, "/nowhere/liby.so")
    main(["doctor"])
    assert "/nowhere/liby.so" in capsys.readouterr().out


def test_names_are_divided_by_a_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_libraries("a.so:b.so:") == ["a.so", "b.so"]
    monkeypatch.delenv(VARIABLE, raising=False)
    assert named_libraries(None) == []


def test_a_vulkan_program_says_what_it_lacks() -> None:
    from runtime.engines import ENGINES

    reason = ENGINES["vulkan"].missing()
    assert reason is not None
    assert "--backend-library libexecutorch_backend_vulkan.so" in reason
