"""A minute of the faults of `tools/soak.py`: the whole suite is `make soak MINUTES=10`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.bundle import DEFAULT_BUNDLE

pytest.importorskip("runtime._native", reason="the native module is not built here")

SOAK = Path(__file__).resolve().parents[1] / "tools" / "soak.py"


@pytest.mark.slow
def test_a_live_run_survives_a_minute_of_faults(tmp_path: Path) -> None:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    python = Path("/usr/bin/python3")
    if (
        not python.exists()
        or subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode
    ):
        pytest.skip("no GStreamer RTSP server: sh tools/install-test-packages.sh")
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    soak = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = soak  # dataclasses look their module up
    spec.loader.exec_module(soak)
    report = soak.soak(str(DEFAULT_BUNDLE), 1.0, tmp_path / "work")
    assert report["wrong"] == []
    assert report["faults"] >= 1
    assert report["results"] >= 5
