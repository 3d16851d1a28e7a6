"""A `.pte` says itself what model it is: `edge_runner` needs nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export import ExportReport
from runtime.bundle import Bundle

_native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")
RUNNER = Path(_native.__file__).with_name("bin") / "edge_runner"
needs_runner = pytest.mark.skipif(
    not RUNNER.is_file(), reason="edge_runner is not built (tools/build_native.sh)"
)
WIDTH, HEIGHT, FRAMES = 80, 60, 40


def run(model: Path) -> subprocess.CompletedProcess[str]:
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    command = [RUNNER, "--model", model, "--raw", f"{WIDTH}x{HEIGHT}@30", "--action-conf", "0"]
    done = subprocess.run(
        command, input=frames.tobytes(), capture_output=True, timeout=60, check=False
    )
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def results(text: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        del one["latency_ms"]
    return found


@needs_runner
def test_a_program_alone_gives_the_results_of_its_bundle(exported: ExportReport) -> None:
    whole, alone = run(exported.out), run(exported.out / "xnnpack-int8.pte")
    assert (whole.returncode, alone.returncode) == (0, 0), whole.stderr + alone.stderr
    assert results(alone.stdout) == results(whole.stdout)
    assert any(one["detections"] for one in results(alone.stdout)), "with its own threshold"
    assert "self-test passed" in whole.stderr
    assert "not self-tested (a program alone has no golden clip)" in alone.stderr
    assert "the weights are untrained" in alone.stderr


# In a process of its own: ExecuTorch's Python package and our module would share one log.
ASK = """
import json, sys
from executorch.runtime import Runtime
program = Runtime.get().load_program(sys.argv[1])
print(json.dumps({n: program.load_method(n).execute([])[0] for n in sys.argv[2:]}))
"""


def test_any_executorch_runner_can_ask_for_the_facts(exported: ExportReport) -> None:
    pytest.importorskip("executorch", reason="ExecuTorch is not installed here")
    spec = Bundle.load(exported.out).spec
    names = ["num_frames", "height", "width", "num_tokens", "num_classes", "conf", "bundle_json"]
    command = [sys.executable, "-c", ASK, exported.out / "xnnpack-fp32.pte", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    says = json.loads(done.stdout.splitlines()[-1])
    assert [says[name] for name in names[:3]] == [4, 64, 64]
    assert (says["num_tokens"], says["num_classes"]) == (spec.num_tokens, 3)
    assert says["conf"] == spec.artifacts[1].conf
    facts = json.loads(says["bundle_json"])
    assert facts["class_names"] == list(spec.class_names)
    assert facts["artifact"]["file"] == "xnnpack-fp32.pte"


@needs_runner
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_program_that_says_nothing_is_one_sentence(
    exported: ExportReport, tmp_path: Path, share: float
) -> None:
    """Cut, or (whole) from another exporter: its method has another name."""
    content = (exported.out / "xnnpack-int8.pte").read_bytes()
    content = content.replace(b"bundle_json", b"bundle_gone")
    (tmp_path / "x.pte").write_bytes(content[: int(share * len(content))])
    done = run(tmp_path / "x.pte")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    if share == 1.0:
        assert "does not say what model it is; give the folder of its bundle" in done.stderr
