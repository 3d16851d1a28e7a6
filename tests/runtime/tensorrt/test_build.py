"""`edge build-engine` as far as it goes without TensorRT: nothing here pretends to be it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import bundle_update
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.bundle_spec import OUTPUTS, Artifact
from runtime.bundle_update import add_artifact, exchange
from runtime.cli import main
from runtime.engine import load_engine
from runtime.engines.tensorrt import TENSORRT
from runtime.errors import (
    ArtifactError,
    ArtifactMismatchError,
    BackendUnavailableError,
    ConfigError,
    EdgeError,
)
from runtime.tensorrt.build import (
    BuildSettings,
    build_engines,
    check_memory,
    choose_way,
    plan,
    run_child,
)
from runtime.tensorrt.build import _why as why
from runtime.tensorrt.choice import Candidate, choose, record
from runtime.tensorrt.engine import Machine, check_machine, missing
from runtime.tensorrt.trtexec import build_command, find_trtexec, read_report

ORIN = Machine(tensorrt="10.3.0", cuda="12.6", gpu="Orin", compute_capability="8.7")
HERE = missing()
needs_no_tensorrt = pytest.mark.skipif(HERE is None, reason="TensorRT is here")


def onnx(precision: str, **changes: Any) -> Artifact:
    """Return the record of an ONNX program."""
    artifact = Artifact(
        file=f"onnx-{precision}.onnx", sha256="0" * 64, size_bytes=3 << 20, target="onnx",
        precision=precision, conf=0.4, made_with={"onnx": "1.19"}, delegated={}, parity={},
        self_test_tolerance=dict.fromkeys(OUTPUTS, 0.01),
    )  # fmt: skip
    return replace(artifact, **changes)


def candidate(
    precision: str,
    median_ms: float | None = 2.0,
    share: float | None = 0.5,
    frame_map: float | None = None,
) -> Candidate:
    """Return an engine as its measurement would describe it."""
    accuracy = None if frame_map is None else {"frame_map_50": frame_map}
    return Candidate(
        source=onnx(precision, accuracy=accuracy), engine=Path(f"{precision}.engine"),
        made_with=ORIN.record(), median_ms=median_ms,
        errors=None if share is None else dict.fromkeys(OUTPUTS, 0.01 * share),
    )  # fmt: skip


@pytest.fixture
def onnx_bundle(tmp_path: Path) -> Path:
    """Copy the default bundle, and list two ONNX programs that nothing here opens."""
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    spec = Bundle.load(folder).spec
    listed = []
    with np.load(folder / spec.golden.file) as stored:
        golden = dict(stored)
    for precision in ("fp16", "int8"):
        content = f"an ONNX program in {precision}".encode()
        (folder / f"onnx-{precision}.onnx").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        listed.append(onnx(precision, sha256=digest, size_bytes=len(content)))
        for name in OUTPUTS:
            golden[f"onnx-{precision}/{name}"] = golden[f"{spec.artifacts[0].stem}/{name}"] + 0.001
    np.savez_compressed(folder / "golden.npz", **golden)
    sealed = hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest()
    spec = replace(
        spec,
        artifacts=(*spec.artifacts, *listed),
        golden=replace(spec.golden, file="golden.npz", sha256=sealed),
    )
    (folder / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    Bundle.load(folder).verify()
    return folder


def built(bundle: Bundle, folder: Path, precision: str = "int8", content: bytes = b"plan") -> Any:
    """Return a record, its file and its source, as if an engine had been built."""
    engine = folder / f"{precision}.engine"
    engine.write_bytes(content)
    one = replace(candidate(precision), engine=engine)
    return record(one, (), "the only one"), engine, bundle.artifact(f"onnx-{precision}")


# --- what is built, by whom, and whether there is room


def test_fp16_and_int8_are_both_planned(onnx_bundle: Path) -> None:
    with Bundle.load(onnx_bundle) as bundle:
        assert [a.stem for a in plan(bundle)] == ["onnx-fp16", "onnx-int8"]
        assert [a.stem for a in plan(bundle, ["int8"])] == ["onnx-int8"]


def test_a_bundle_without_onnx_names_the_export() -> None:
    with pytest.raises(ConfigError, match="edge export --targets onnx-fp16 onnx-int8"):
        plan(Bundle.load(DEFAULT_BUNDLE))


@pytest.mark.parametrize(
    ("asked", "lack", "found", "way"),
    [
        pytest.param(False, None, None, "python", id="the package"),
        pytest.param(False, None, Path("t"), "python", id="the package before the tool"),
        pytest.param(False, "no package", Path("t"), "trtexec", id="the tool in its place"),
        pytest.param(True, None, Path("t"), "trtexec", id="the tool where it is asked for"),
    ],
)
def test_who_builds(asked: bool, lack: str | None, found: Path | None, way: str) -> None:
    assert choose_way(asked, lack, found) == way


@pytest.mark.parametrize(
    ("asked", "lack", "said"),
    [
        pytest.param(False, "no package", "no package, and trtexec is neither", id="neither"),
        pytest.param(True, None, "trtexec was asked for, and trtexec is neither", id="asked"),
    ],
)
def test_nobody_can_build(asked: bool, lack: str | None, said: str) -> None:
    with pytest.raises(BackendUnavailableError, match=said) as stop:
        choose_way(asked, lack, None)
    assert "apt-get install libnvinfer-bin" in str(stop.value)


def meminfo(available_mb: int, swap_mb: int) -> str:
    """Return /proc/meminfo's lines that count."""
    return f"MemAvailable:  {available_mb << 10} kB\nSwapFree:  {swap_mb << 10} kB\n"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        pytest.param(meminfo(6000, 0), True, id="enough"),
        pytest.param(meminfo(1500, 8000), True, id="enough with swap"),
        pytest.param(meminfo(2000, 0), False, id="too little"),
        pytest.param("", True, id="nothing known"),
        pytest.param("MemFree: nonsense kB\n", True, id="nonsense"),
    ],
)
def test_memory_is_checked_before_the_build(text: str, fits: bool) -> None:
    if fits:
        check_memory(text, 1024, 3 << 20)
        return
    with pytest.raises(EdgeError, match=r"2000 MiB .* about 2060 MiB.*lower --workspace") as stop:
        check_memory(text, 1024, 3 << 20)
    assert "mkswap" in str(stop.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"workspace_mb": 1}, "--workspace is 1 MiB", id="workspace"),
        pytest.param({"dla_core": -1}, "--dla-core is -1", id="dla core"),
    ],
)
def test_settings_are_checked(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BuildSettings(**settings)  # type: ignore[arg-type]


# --- which one stays


@pytest.mark.parametrize(
    ("fp16", "int8", "kept", "why_"),
    [
        pytest.param({}, {"median_ms": 1.0}, "int8", "fp16 is not faster (2.00 ms)", id="faster"),
        pytest.param({}, {"median_ms": 3.0}, "fp16", "int8 is not faster", id="int8 slower"),
        pytest.param({}, {}, "fp16", "int8 is not faster", id="a tie is fp16"),
        pytest.param({}, {"median_ms": 1.0, "share": 1.2}, "fp16", "fails its self-test", id="off"),
        pytest.param(
            {}, {"median_ms": 1.0, "share": float("nan")}, "fp16", "fails its self-test", id="nan"
        ),
        pytest.param(
            {"frame_map": 0.5}, {"median_ms": 1.0, "frame_map": 0.48}, "fp16", "loses more than",
            id="mAP lost",
        ),
        pytest.param(
            {"frame_map": 0.5}, {"median_ms": 1.0, "frame_map": 0.495}, "int8", "fp16 is not",
            id="mAP kept",
        ),
        pytest.param(
            {"frame_map": 0.5}, {"median_ms": 1.0}, "int8", "fp16 is not", id="one mAP says nothing"
        ),
        pytest.param(
            {"share": None}, {"median_ms": 1.0, "share": None}, "fp16", "not taken unseen",
            id="neither was run",
        ),
    ],
)  # fmt: skip
def test_the_faster_that_keeps_its_accuracy_stays(
    fp16: dict[str, Any], int8: dict[str, Any], kept: str, why_: str
) -> None:
    best, reason = choose([candidate("fp16", **fp16), candidate("int8", **int8)])
    assert best.source.precision == kept
    assert why_ in reason


def test_none_that_passes_writes_nothing() -> None:
    with pytest.raises(ArtifactError, match=r"self-test at 300%.*nothing was written"):
        choose([candidate("fp16", share=3.0)])


def test_what_is_recorded_says_what_was_measured_and_what_not(tmp_path: Path) -> None:
    engine = tmp_path / "e"
    engine.write_bytes(b"plan")
    best = replace(candidate("int8", 1.0, 0.25, 0.4), engine=engine)
    artifact = record(best, (candidate("fp16"),), "why")
    assert artifact.file == "tensorrt-int8.engine"
    assert artifact.accuracy is None  # its ONNX program has one; the engine was not measured
    assert artifact.parity["ran"] is True
    assert "onnx-int8" in artifact.parity["against"]
    assert [c["name"] for c in artifact.delegated["candidates"]] == [
        "tensorrt-int8", "tensorrt-fp16",
    ]  # fmt: skip
    unseen = record(replace(best, errors=None), (), "why")
    assert unseen.parity["ran"] is False


# --- the bundle, changed whole or not at all


def test_an_engine_is_added_and_the_bundle_sealed_again(onnx_bundle: Path, tmp_path: Path) -> None:
    before = Bundle.load(onnx_bundle).spec
    bundle = Bundle.load(onnx_bundle)
    artifact, engine, source = built(bundle, tmp_path)
    changed = add_artifact(bundle, artifact, engine, answers_of=source)
    changed.verify()
    assert [a.file for a in changed.spec.artifacts] == [
        *(a.file for a in before.artifacts), "tensorrt-int8.engine",
    ]  # fmt: skip
    assert changed.spec.artifacts[-1].made_with["gpu"] == "Orin"
    with np.load(changed.golden_path()) as golden:
        for name in OUTPUTS:
            np.testing.assert_array_equal(golden[f"tensorrt-int8/{name}"],
                                          golden[f"onnx-int8/{name}"])  # fmt: skip
    assert sorted(p.name for p in onnx_bundle.parent.iterdir()) == ["bundle", "int8.engine"]


def test_a_new_engine_takes_the_place_of_older_ones(onnx_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(onnx_bundle)
    old, engine, source = built(bundle, tmp_path, "fp16")
    bundle = add_artifact(bundle, old, engine, answers_of=source)
    new, engine, source = built(bundle, tmp_path, "int8")
    bundle = add_artifact(bundle, new, engine, answers_of=source, instead_of=[old])
    assert [a.file for a in bundle.spec.artifacts if a.target == "tensorrt"] == [new.file]
    assert not (onnx_bundle / old.file).exists()
    with np.load(bundle.golden_path()) as golden:
        assert not [key for key in golden if key.startswith("tensorrt-fp16")]
    again, engine, source = built(bundle, tmp_path, "int8", b"another plan")
    add_artifact(bundle, again, engine, answers_of=source).verify()


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file's content, of the folder and of what lies beside it."""
    return {str(p): p.read_bytes() for p in sorted(folder.parent.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("step", ["_write_golden", "exchange", "_copy"])
def test_a_failure_on_the_way_leaves_the_bundle_as_it_was(
    step: str, onnx_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bundle = Bundle.load(onnx_bundle)
    artifact, engine, source = built(bundle, tmp_path)
    before = snapshot(onnx_bundle)
    monkeypatch.setattr(bundle_update, step, full)
    with pytest.raises(OSError, match="No space"):
        add_artifact(bundle, artifact, engine, answers_of=source)
    assert snapshot(onnx_bundle) == before


def test_folders_change_places_also_where_the_system_has_no_such_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
        (folder / folder.name).touch()
    exchange(new, old)
    assert (old / "new").exists()
    assert (new / "old").exists()
    monkeypatch.setattr(bundle_update.ctypes, "CDLL", lambda *_, **__: object())
    exchange(new, old)
    assert (old / "old").exists()
    assert (new / "new").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old"]


def test_what_does_not_fit_is_not_added(onnx_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(onnx_bundle)
    artifact, engine, source = built(bundle, tmp_path)
    before = (onnx_bundle / "bundle.json").read_bytes()
    with pytest.raises(ArtifactError, match="lacks the answers of onnx-fp32"):
        add_artifact(bundle, artifact, engine, answers_of=onnx("fp32"))
    engine.write_bytes(b"another")
    with pytest.raises(ArtifactError, match="not the program that its record"):
        add_artifact(bundle, artifact, engine, answers_of=source)
    assert (onnx_bundle / "bundle.json").read_bytes() == before


# --- what reads such a bundle


@needs_no_tensorrt
def test_where_there_is_no_tensorrt_the_next_program_runs(
    onnx_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("runtime._native", reason="the native module is not built")
    bundle = Bundle.load(onnx_bundle)
    artifact, engine, source = built(bundle, tmp_path)
    bundle = add_artifact(bundle, artifact, engine, answers_of=source)
    loaded = load_engine(bundle, self_test=False)
    assert loaded.artifact.target == "xnnpack"
    assert "tensorrt-int8 needs tensorrt: " in loaded.reason
    with pytest.raises(BackendUnavailableError, match="tensorrt-int8 needs tensorrt"):
        load_engine(bundle, artifact="tensorrt-int8")


def test_edge_runner_takes_its_own_program_of_such_a_bundle(
    onnx_bundle: Path, tmp_path: Path
) -> None:
    native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    runner = Path(native.__file__).with_name("bin") / "edge_runner"
    if not runner.is_file():
        pytest.skip("edge_runner is not built (tools/build_native.sh)")
    bundle = Bundle.load(onnx_bundle)
    artifact, engine, source = built(bundle, tmp_path)
    add_artifact(bundle, artifact, engine, answers_of=source)
    frames = np.zeros((40, 32, 32, 3), np.uint8).tobytes()
    done = subprocess.run(
        [runner, "--model", str(onnx_bundle), "--raw", "32x32@30"],
        input=frames, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"gpu": "NVIDIA L4"}, "built for NVIDIA L4 (compute", id="gpu"),
        pytest.param({"compute_capability": "9.0"}, "and here is Orin (8.7)", id="capability"),
        pytest.param({"tensorrt": "10.7.0"}, "by TensorRT 10.7.0", id="release"),
        pytest.param({"gpu": ""}, "does not say for which GPU", id="no word of it"),
        pytest.param({"gpu": "\x1b[2J"}, r"built for '\x1b[2J'", id="hostile"),
    ],
)
def test_an_engine_of_another_machine_is_refused(changes: dict[str, str], said: str) -> None:
    artifact = replace(
        onnx("fp16"), file="tensorrt-fp16.engine", made_with={**ORIN.record(), **changes}
    )
    with pytest.raises(ArtifactMismatchError) as stop:
        check_machine(artifact, ORIN, Path("my bundle"))
    assert said in str(stop.value)
    assert str(stop.value).endswith("edge build-engine 'my bundle'")


def test_a_dla_core_that_is_none_is_refused_before_tensorrt_is_asked() -> None:
    artifact = replace(onnx("fp16"), made_with={**ORIN.record(), "dla_core": "0; x"})
    assert TENSORRT.load_recorded is not None
    with pytest.raises(ArtifactMismatchError, match="names the DLA core '0; x', not 0 to 7"):
        TENSORRT.load_recorded(Path("e"), artifact, Path("b"))


@pytest.mark.parametrize("version", ["10.3.0", "10.3.0.30"])
def test_an_engine_of_this_machine_is_taken(version: str) -> None:
    artifact = replace(onnx("fp16"), made_with={**ORIN.record(), "tensorrt": version})
    check_machine(artifact, ORIN, Path("b"))


# --- trtexec

# Lines as TensorRT's samples write them (samples/common/sampleDevice.cpp, sampleReporting.cpp).
SAID = """&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=a.onnx
[I] Selected Device: Orin
[I] Selected Device ID: 0
[I] Compute Capability: 8.7
[I] Latency: min = 2.1 ms, max = 2.6 ms, mean = 2.2 ms, median = 2.15 ms, percentile(90%) = 2.3 ms
[I] GPU Compute Time: min = 1.9 ms, max = 2.4 ms, mean = 2.0 ms, median = 1.97 ms
&&&& PASSED TensorRT.trtexec [TensorRT v100300]
"""


def test_trtexec_is_read() -> None:
    report = read_report(SAID)
    assert (report.tensorrt, report.gpu, report.compute_capability) == ("10.3.0", "Orin", "8.7")
    assert report.median_ms == 1.97
    assert read_report(SAID.replace("v100300", "v110400")).tensorrt == "11.4.0"
    assert read_report(SAID.replace("GPU Compute", "Other")).median_ms is None


@pytest.mark.parametrize("line", ["&&&& RUNNING", "Selected Device: ", "Compute Capability"])
def test_trtexec_that_says_less_is_refused(line: str) -> None:
    text = "\n".join(row for row in SAID.splitlines() if line not in row and "PASSED" not in row)
    with pytest.raises(ArtifactError, match="did not say"):
        read_report(text)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        pytest.param({}, [], id="plain"),
        pytest.param({"timing_cache": Path("/c")}, ["--timingCacheFile=/c"], id="timings"),
        pytest.param({"dla_core": 1}, ["--useDLACore=1", "--allowGPUFallback"], id="dla"),
    ],
)
def test_the_command_of_trtexec(options: dict[str, Any], more: list[str]) -> None:
    settings = {"workspace_mb": 512, "timing_cache": None, "dla_core": None} | options
    command = build_command(Path("/t"), Path("/m.onnx"), Path("/m.engine"), **settings)
    assert command == [
        "/t", "--onnx=/m.onnx", "--saveEngine=/m.engine", "--stronglyTyped",
        "--memPoolSize=workspace:512", "--useCudaGraph", *more,
    ]  # fmt: skip
    assert not {"--fp16", "--int8", "--best", "--calib"} & set(command)  # TensorRT 11 has none


@pytest.fixture
def failing_trtexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a trtexec on PATH that does as one without a GPU: it says so, and fails."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "trtexec"
    tool.write_text("#!/bin/sh\necho '[E] Cannot find any available devices (GPUs)!'\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tool


def test_trtexec_that_fails_leaves_the_bundle_alone(
    onnx_bundle: Path, failing_trtexec: Path
) -> None:
    assert find_trtexec() == failing_trtexec
    before = snapshot(onnx_bundle)
    settings = BuildSettings(trtexec=True, workspace_mb=16)
    said: list[str] = []
    with pytest.raises(ArtifactError, match="trtexec failed: Cannot find any available devices"):
        build_engines(onnx_bundle, settings=settings, say=said.append)
    assert [line.split(":")[0] for line in said if "NOT BUILT" in line] == ["tensorrt-fp16"]
    assert snapshot(onnx_bundle) == before


# --- the builder's process


@needs_no_tensorrt
def test_the_child_says_what_is_not_here() -> None:
    with pytest.raises(ArtifactError, match="no TensorRT engine can be built or run here"):
        run_child({"do": "build"})


def test_the_child_imports_no_torch() -> None:
    code = "import runtime.tensorrt.child, sys; print([m for m in sys.modules if m == 'torch'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("code", "said", "wanted"),
    [
        pytest.param(-9, "", "was killed, as the system does where memory is short", id="killed"),
        pytest.param(1, "x\nerror: TensorRT's parser", "failed: TensorRT's parser", id="sentence"),
        pytest.param(-11, "", "ended with code -11 and no word of why", id="crash"),
    ],
)
def test_a_child_that_ends_badly(code: int, said: str, wanted: str) -> None:
    done = subprocess.CompletedProcess[str]([], code, "", said)
    assert wanted in why(done, "the builder's process", r"^error: (.+)$")


# --- the command

Run = Callable[[list[str]], int]


@needs_no_tensorrt
@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        pytest.param([], 1, "tensorrt", id="no TensorRT"),
        pytest.param(["--precisions", "int4"], 2, "--precisions 'int4' is not known", id="int4"),
        pytest.param(["--workspace", "0"], 2, "--workspace is 0", id="workspace"),
        pytest.param(["--fp16"], 2, "unknown flag '--fp16'", id="unknown flag"),
    ],
)
def test_the_command_refuses_in_a_sentence(
    argv: list[str],
    code: int,
    said: str,
    onnx_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.tensorrt.build.find_trtexec", lambda: None)
    before = snapshot(onnx_bundle)
    assert main(["build-engine", str(onnx_bundle), *argv]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert snapshot(onnx_bundle) == before


def test_a_zip_is_refused(onnx_bundle: Path, tmp_path: Path) -> None:
    zipped = shutil.make_archive(str(tmp_path / "b"), "zip", onnx_bundle)
    with pytest.raises(ConfigError, match=r"b\.zip is a zip; unzip it"):
        build_engines(zipped)


def test_doctor_says_that_it_was_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)["TensorRT"]
    if HERE is None:
        assert "has not run TensorRT itself" in found["text"]
    else:
        assert HERE in found["text"]
