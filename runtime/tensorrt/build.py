"""Build TensorRT engines of a bundle's ONNX programs on this device, measure them, keep the best.

The builder and each measurement are processes of their own (`runtime.tensorrt.child`, or trtexec),
so nothing here needs TensorRT to be imported, and what decides can be tested without it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.bundle import Bundle
from runtime.bundle_spec import Artifact
from runtime.bundle_update import add_artifact
from runtime.errors import (
    ArtifactError,
    BackendUnavailableError,
    ConfigError,
    EdgeError,
)
from runtime.tensorrt.choice import PRECISIONS, Candidate, choose, record
from runtime.tensorrt.engine import NO_PACKAGE, missing
from runtime.tensorrt.trtexec import Report, build_command, find_trtexec, read_report

Way = Literal["python", "trtexec"]
# Of the process and of TensorRT's libraries, beside workspace and weights. Not measured here: an
# Orin Nano with 8 GB is said to run out with little less (ultralytics/ultralytics#14751).
BASE_MB = 1024
WARMUP, RUNS = 20, 100
ADD_SWAP = (
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
    "sudo swapon /swapfile"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """How to build.

    Attributes:
        workspace_mb: Most memory that the builder may use for one layer's trials, MiB.
        timing_cache: File that keeps what the builder measured; None keeps nothing.
        dla_core: Which DLA core the engine is for; None for the GPU.
        trtexec: Build by trtexec even where TensorRT's Python package is here.
    """

    workspace_mb: int = 1024
    timing_cache: Path | None = None
    dla_core: int | None = None
    trtexec: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.workspace_mb <= 1 << 20:
            raise ConfigError(f"--workspace is {self.workspace_mb} MiB, expected 16 to 1048576")
        if self.dla_core is not None and not 0 <= self.dla_core < 8:
            raise ConfigError(f"--dla-core is {self.dla_core}, expected 0 to 7")


def plan(bundle: Bundle, precisions: Sequence[str] = PRECISIONS) -> list[Artifact]:
    """Return the ONNX artifacts to build from.

    Raises:
        ConfigError: The bundle has none of them.
    """
    found = [
        artifact
        for precision in precisions
        for artifact in bundle.spec.artifacts
        if artifact.target == "onnx" and artifact.precision == precision
    ]
    if not found:
        wanted = " ".join(f"onnx-{precision}" for precision in precisions)
        raise ConfigError(
            f"{bundle.path} has no {wanted.replace(' ', ' or ')} to build an engine from; make "
            f"the bundle with edge export --targets {wanted}"
        )
    return found


def choose_way(trtexec: bool, lack: str | None, found: Path | None) -> Way:
    """Decide who builds.

    Args:
        trtexec: The user asked for trtexec.
        lack: Why engines cannot be built by the Python package, or None.
        found: Where trtexec is, or None.

    Raises:
        BackendUnavailableError: Neither is here.
    """
    if not trtexec and lack is None:
        return "python"
    if found is not None:
        return "trtexec"
    raise BackendUnavailableError(
        f"{lack or NO_PACKAGE if not trtexec else 'trtexec was asked for'}, and trtexec is neither "
        "on PATH nor in /usr/src/tensorrt/bin (sudo apt-get install libnvinfer-bin)"
    )


def check_memory(meminfo: str, workspace_mb: int, onnx_bytes: int) -> None:
    """Refuse a build that this machine's free memory does not hold, before it is begun.

    Args:
        meminfo: The text of /proc/meminfo; a Jetson's GPU uses the same memory.
        workspace_mb: The builder's workspace, MiB.
        onnx_bytes: Size of the largest program; its weights are held several times.

    Raises:
        EdgeError: Too little is free.
    """
    values = {k: int(v) >> 10 for k, v in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    if "MemAvailable" not in values:
        return  # no Linux; nothing is known, so nothing is refused
    free = values["MemAvailable"] + values.get("SwapFree", 0)
    needed = BASE_MB + workspace_mb + 4 * (onnx_bytes >> 20)
    if free < needed:
        raise EdgeError(
            f"{free} MiB of memory and swap are free, and building takes about {needed} MiB; close "
            f"programs, lower --workspace (it is {workspace_mb} MiB), or add swap: {ADD_SWAP}"
        )


def build_engines(
    path: str | Path,
    *,
    precisions: Sequence[str] = PRECISIONS,
    settings: BuildSettings | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Artifact:
    """Build, measure, choose, and add the best engine to the bundle in the place of older ones.

    Args:
        path: Bundle folder with `onnx-fp16.onnx`, `onnx-int8.onnx` or both.
        precisions: Which of them to build.
        settings: How to build.
        say: Told a line at a time what is done.

    Returns:
        The artifact that was added.

    Raises:
        ConfigError: The bundle is a zip, or has no ONNX program.
        BackendUnavailableError: Neither TensorRT's Python package nor trtexec is here.
        EdgeError: Too little memory, or the builder failed; nothing was written.
    """
    settings = settings or BuildSettings()
    with Bundle.load(path) as bundle:
        if not bundle.path.is_dir():
            raise ConfigError(f"{bundle.path} is a zip; unzip it, and name the folder")
        sources = plan(bundle, precisions)
        bundle.verify()
        lack = missing()
        trtexec = find_trtexec()
        way = choose_way(settings.trtexec, lack, trtexec)
        meminfo = Path("/proc/meminfo")
        largest = max(source.size_bytes for source in sources)
        text = meminfo.read_text(encoding="utf-8") if meminfo.is_file() else ""
        check_memory(text, settings.workspace_mb, largest)
        with tempfile.TemporaryDirectory(prefix="bmvit-engine-") as work:
            candidates: list[Candidate] = []
            for source in sources:
                say(f"building tensorrt-{source.precision} from {source.file} by {way} ...")
                program = trtexec if way == "trtexec" else None
                try:
                    built = _build(bundle, source, Path(work), settings, program, lack is None)
                except ArtifactError as error:
                    if source is sources[-1] and not candidates:
                        raise  # the last, and none was built
                    say(f"tensorrt-{source.precision}: NOT BUILT: {error}")
                    continue
                candidates.append(built)
                say(built.line())
            best, reason = choose(candidates)
            say(f"kept {best.name}: {reason}")
            others = [c for c in candidates if c is not best]
            artifact = record(best, others, reason)
            older = [a for a in bundle.spec.artifacts if a.target == "tensorrt"]
            add_artifact(bundle, artifact, best.engine, answers_of=best.source, instead_of=older)
    return artifact


def _build(
    bundle: Bundle,
    source: Artifact,
    work: Path,
    settings: BuildSettings,
    trtexec: Path | None,
    can_run: bool,
) -> Candidate:
    """Build one engine, by trtexec where that is given, and measure it where it can be run."""
    onnx, engine = bundle.artifact_path(source), work / f"{source.stem}.engine"
    made_with = {"onnx": source.file, "onnx_sha256": source.sha256}
    if settings.dla_core is not None:
        made_with["dla_core"] = str(settings.dla_core)
    report: Report | None = None
    if trtexec is not None:
        report = _by_trtexec(trtexec, onnx, engine, settings)
        made_with |= {"builder": "trtexec"} | _machine(report)
    else:
        cache = None if settings.timing_cache is None else str(settings.timing_cache)
        found = run_child(
            {
                "do": "build", "onnx": str(onnx), "engine": str(engine), "timing_cache": cache,
                "workspace_mb": settings.workspace_mb, "dla_core": settings.dla_core,
            }
        )  # fmt: skip
        made_with |= {"builder": "python"} | found["machine"]
    if not can_run:
        return Candidate(
            source=source, engine=engine, made_with=made_with, errors=None,
            median_ms=None if report is None else report.median_ms,
        )  # fmt: skip
    found = run_child(
        {
            "do": "measure", "engine": str(engine), "bundle": str(bundle.folder),
            "reference": source.stem, "warmup": WARMUP, "runs": RUNS,
            "dla_core": settings.dla_core,
        }
    )  # fmt: skip
    return Candidate(
        source=source, engine=engine, made_with=made_with | found["machine"],
        median_ms=found["median_ms"], errors=found["errors"],
    )  # fmt: skip


def _machine(report: Report) -> dict[str, str]:
    return {
        "tensorrt": report.tensorrt,
        "cuda": "not said by trtexec",
        "gpu": report.gpu,
        "compute_capability": report.compute_capability,
    }


def _by_trtexec(trtexec: Path, onnx: Path, engine: Path, settings: BuildSettings) -> Report:
    if settings.timing_cache is not None:
        settings.timing_cache.parent.mkdir(parents=True, exist_ok=True)
    command = build_command(
        trtexec, onnx, engine, workspace_mb=settings.workspace_mb,
        timing_cache=settings.timing_cache, dla_core=settings.dla_core,
    )  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    if done.returncode != 0 or not engine.is_file():
        raise ArtifactError(_why(done, "trtexec", r"^.*\[E\] (.+)$"))
    return read_report(done.stdout + done.stderr)


def run_child(asked: Mapping[str, object]) -> dict[str, Any]:
    """Let `runtime.tensorrt.child` do something in a process of its own, without torch.

    Raises:
        ArtifactError: It failed; its own sentence is passed on.
    """
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "runtime.tensorrt.child", json.dumps(asked)],
        env={**os.environ, "PYTHONPATH": paths}, check=False, capture_output=True, text=True,
        errors="replace",
    )  # fmt: skip
    if done.returncode != 0:
        raise ArtifactError(_why(done, "the builder's process", r"^error: (.+)$"))
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise ArtifactError(
            f"the builder's process printed no result: {done.stdout.strip()[-200:]!r}"
        ) from error
    return found


def _why(done: subprocess.CompletedProcess[str], who: str, pattern: str) -> str:
    """Say in a sentence why a process failed."""
    if done.returncode in (-9, 137):
        return (
            f"{who} was killed, as the system does where memory is short; lower --workspace, close "
            f"programs, or add swap: {ADD_SWAP}"
        )
    said = re.findall(pattern, done.stdout + "\n" + done.stderr, re.MULTILINE)
    if said:
        return f"{who} failed: {said[-1].strip()}"
    return f"{who} ended with code {done.returncode} and no word of why"
