"""`trtexec`, the second way to a TensorRT engine: where it is, its flags, what it prints."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ArtifactError

# Where JetPack and the Debian package libnvinfer-bin put it, which is on nobody's PATH.
PLACES = (Path("/usr/src/tensorrt/bin/trtexec"),)


def find_trtexec() -> Path | None:
    """Return where trtexec is, or None."""
    found = shutil.which("trtexec")
    if found is not None:
        return Path(found)
    return next((place for place in PLACES if place.is_file()), None)


def build_command(
    trtexec: Path,
    onnx: Path,
    engine: Path,
    *,
    workspace_mb: int,
    timing_cache: Path | None,
    dla_core: int | None,
) -> list[str]:
    """Return the command that builds an engine, and times it.

    The flags are those of TensorRT 10 and 11; `--stronglyTyped` is taken and ignored by 11, where
    nothing else is possible. Types are in the graph, so there is no `--fp16` or `--int8`, which 11
    does not have.
    """
    command = [
        str(trtexec), f"--onnx={onnx}", f"--saveEngine={engine}", "--stronglyTyped",
        f"--memPoolSize=workspace:{workspace_mb}", "--useCudaGraph",
    ]  # fmt: skip
    if timing_cache is not None:
        command.append(f"--timingCacheFile={timing_cache}")
    if dla_core is not None:
        command += [f"--useDLACore={dla_core}", "--allowGPUFallback"]
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What trtexec says of the machine and of the engine.

    Attributes:
        tensorrt: Version, such as `10.3.0`.
        gpu: The GPU's name.
        compute_capability: Such as `8.7`.
        median_ms: Of the GPU's work alone; None where it did not run the engine.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    median_ms: float | None


def read_report(text: str) -> Report:
    """Find the facts in trtexec's output.

    Raises:
        ArtifactError: They are not there: it is another program, or its output has another form.
    """
    version = re.search(r"TensorRT\.trtexec \[TensorRT v(\d+)\]", text)
    gpu = re.search(r"Selected Device: (.+)", text)
    capability = re.search(r"Compute Capability: (\d+\.\d+)", text)
    if version is None or gpu is None or capability is None:
        raise ArtifactError(
            "trtexec did not say its version, GPU and compute capability where TensorRT 10 and 11 "
            "do; build with TensorRT's Python package instead"
        )
    median = re.search(r"GPU Compute Time:.*?median = ([\d.]+) ms", text)
    number = int(version.group(1))  # 100300 is 10.3.0
    return Report(
        tensorrt=f"{number // 10000}.{number // 100 % 100}.{number % 100}",
        gpu=gpu.group(1).strip(),
        compute_capability=capability.group(1),
        median_ms=None if median is None else float(median.group(1)),
    )
