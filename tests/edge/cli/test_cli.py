"""The verbs that need no source: help, info, doctor, benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli import VERBS, main
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import main as device_main


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {verb}" in printed for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_its_flags(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"edge {verb}" in capsys.readouterr().out


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bmvit-edge ")


@pytest.mark.parametrize("run", [main, device_main], ids=["edge", "python -m runtime"])
def test_info_describes_the_default_bundle(run: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(run)
    assert run(["info"]) == 0
    printed = capsys.readouterr().out
    spec = Bundle.load(DEFAULT_BUNDLE).spec
    assert f"{spec.clip.num_frames} frames" in printed
    assert all(name in printed for name in spec.class_names)
    assert ("UNTRAINED" in printed) is not spec.trained


def test_info_and_doctor_say_what_the_probes_see(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info"])
    assert "this machine:" in capsys.readouterr().out
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert "load average" in found["load"]["text"]
    assert "tegrastats" in found["tegrastats" if "tegrastats" in found else "not here"]["text"]


def test_info_as_json_is_the_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(DEFAULT_BUNDLE), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema_version"] == 1
    assert content["artifacts"][0]["target"] == "xnnpack"


def test_doctor_finds_what_edge_run_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("native module", "OpenCV", "default bundle"):
        assert found[name]["state"] == "ok", found[name]
    assert "XnnpackBackend" in found["native module"]["text"]


def test_benchmark_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["benchmark", "--runs", "5", "--warmup", "1", "--cold-starts", "1"]
    assert main([*argv, "--num-threads", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "benchmark.json").read_text("utf-8"))
    assert printed.strip() == (tmp_path / "benchmark.md").read_text("utf-8").strip()
    artifact = content["artifacts"][0]
    assert len(artifact["latency_ms"]) == 5
    assert artifact["torch_imported"] is False
    assert content["host"]["cores"] >= 1
    # Five runs have no 99th percentile, and a figure says whether the machine was quiet.
    assert content["table"][1][content["table"][0].index("p99 ms")] == "-"
    machine = dict(content["machine"])
    assert "of" in machine["before"]
    assert machine["during"] in printed
