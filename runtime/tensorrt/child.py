"""The process that builds an engine, or measures one: `python -m runtime.tensorrt.child JSON`.

One process each: a builder takes gigabytes, which end with it, and a device that runs out of memory
kills it and not its parent. The result is a JSON object on stdout; TensorRT's messages are log
lines on stderr. Like the engine, **not run by this project** (docs/devices.md).
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.bundle import Bundle
from runtime.engine import golden_errors
from runtime.errors import ArtifactError, BackendUnavailableError, ConfigError
from runtime.options import guarded
from runtime.outputs import write_atomically
from runtime.preprocess import normalize
from runtime.tensorrt.engine import (
    Machine,
    TensorRTProgram,
    last_error,
    missing,
    started,
    tensorrt_log,
)

if TYPE_CHECKING:
    import tensorrt as trt


def main(argv: Sequence[str]) -> int:
    """Do what the JSON object in the first argument says, and print what came of it."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    asked: dict[str, Any] = json.loads(argv[0])
    lack = missing()
    if lack is not None:
        raise BackendUnavailableError(f"no TensorRT engine can be built or run here: {lack}")
    start = time.perf_counter()
    try:
        found = WORK[asked.pop("do")](**asked)
    except RuntimeError as error:  # what pybind11 makes of a C++ exception
        raise ArtifactError(f"TensorRT failed: {error}") from error
    found |= {"machine": Machine.here().record(), "seconds": time.perf_counter() - start}
    sys.stdout.write(json.dumps(found))
    return 0


def build(
    *, onnx: str, engine: str, workspace_mb: int, timing_cache: str | None, dla_core: int | None
) -> dict[str, Any]:
    """Build an engine from an ONNX file, in the types that the graph itself has.

    Raises:
        ArtifactError: TensorRT does not take the graph, or cannot build it in this memory.
        ConfigError: There is no such DLA core.
    """
    import tensorrt as trt

    builder = started(trt.Builder)
    # The only creation flag of 10 that is needed; 11 takes it and knows nothing else.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, tensorrt_log())
    if not parser.parse(Path(onnx).read_bytes()):
        why = parser.get_error(0).desc() if parser.num_errors else last_error()
        raise ArtifactError(f"TensorRT's parser does not take {Path(onnx).name}: {why}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mb << 20)
    cache = None if timing_cache is None else Path(timing_cache)
    _use_timings(config, cache)
    if dla_core is not None:
        if not 0 <= dla_core < builder.num_DLA_cores:
            raise ConfigError(
                f"--dla-core is {dla_core}; this machine has {builder.num_DLA_cores} DLA cores "
                "that TensorRT can use"
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ArtifactError(
            f"TensorRT built nothing from {Path(onnx).name}: {last_error()}; if memory is short, "
            "lower --workspace or close other programs"
        )
    write_atomically(Path(engine), bytes(plan))
    timings = config.get_timing_cache()
    if cache is not None and timings is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache, bytes(timings.serialize()))
    return {}


def _use_timings(config: trt.IBuilderConfig, path: Path | None) -> None:
    """Start from what earlier builds measured; a cache of another GPU or release is left alone."""
    contents = [b""]
    if path is not None and path.is_file():
        contents.insert(0, path.read_bytes())
    for content in contents:
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def measure(
    *, engine: str, bundle: str, reference: str, warmup: int, runs: int, dla_core: int | None
) -> dict[str, Any]:
    """Run an engine on the golden clip: its times, and its error against the recorded answer.

    Args:
        engine: The engine's file.
        bundle: The bundle's folder.
        reference: Stem of the ONNX artifact that it was built from.
        warmup: Runs before the first that counts.
        runs: Runs that count; the copies to the GPU and back are part of each.
        dla_core: Which DLA core runs it, where it was built for one.
    """
    import numpy as np

    opened = Bundle.load(bundle)
    artifact = opened.artifact(reference)
    program = TensorRTProgram(Path(engine), dla_core=dla_core or 0)
    errors = golden_errors(opened, artifact, program)
    with np.load(opened.golden_path(), allow_pickle=False) as golden:
        clip = normalize(golden["frames_rgb"], opened.spec.clip)
    for _ in range(warmup):
        program(clip)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        program(clip)
        times.append((time.perf_counter() - start) * 1e3)
    return {"median_ms": statistics.median(times), "errors": errors}


WORK: dict[str, Callable[..., dict[str, Any]]] = {"build": build, "measure": measure}


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
