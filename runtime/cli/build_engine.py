"""`edge build-engine BUNDLE`: build a TensorRT engine on this device from a bundle's ONNX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

from runtime.cli import say
from runtime.errors import ConfigError
from runtime.options import OptionParser, did_you_mean, option
from runtime.tensorrt.build import BuildSettings, build_engines
from runtime.tensorrt.choice import PRECISIONS
from runtime.tensorrt.engine import NOT_RUN


def default_timing_cache() -> Path:
    """Return where timings are kept: they are of this machine, not of a bundle."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "bmvit-edge" / "tensorrt.timing"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEngineOptions:
    """Flags of `edge build-engine`."""

    model: str = option(MISSING, "bundle folder with onnx-fp16 or onnx-int8", metavar="BUNDLE")
    precisions: tuple[str, ...] = option(
        PRECISIONS,
        "precisions to build; the faster one that keeps its accuracy is kept",
        metavar="fp16|int8",
    )
    workspace: int = option(1024, "largest memory for the builder, MiB")
    timing_cache: str | None = option(
        None, "file for the builder's timings; else one of this user", metavar="FILE"
    )
    dla_core: int | None = option(
        None, "build for this DLA core, with the GPU for the rest; it is doubtful that DLA takes "
              "strongly typed networks",
    )  # fmt: skip
    trtexec: bool = option(False, "build with trtexec instead of TensorRT's Python package")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        for word in self.precisions:
            if word not in PRECISIONS:
                raise ConfigError(
                    f"--precisions {word!r} is not known.{did_you_mean(word, PRECISIONS)} Choose "
                    f"from: {', '.join(PRECISIONS)}"
                )


def main(argv: Sequence[str]) -> int:
    """Build, measure, choose, and add the engine to the bundle."""
    parser = OptionParser(prog="edge build-engine", description=__doc__)
    argv = list(argv)
    if argv and not argv[0].startswith("-"):
        argv.insert(0, "--model")
    options = parser.parse_into(BuildEngineOptions, argv)
    cache = Path(options.timing_cache) if options.timing_cache else default_timing_cache()
    settings = BuildSettings(
        workspace_mb=options.workspace,
        timing_cache=cache,
        dla_core=options.dla_core,
        trtexec=options.trtexec,
    )
    artifact = build_engines(
        options.model,
        precisions=tuple(dict.fromkeys(options.precisions)),
        settings=settings,
        say=say,
    )
    made = artifact.made_with
    say(
        f"{Path(options.model) / artifact.file}  {artifact.size_bytes / 1e6:.2f} MB  for "
        f"{made['gpu']} ({made['compute_capability']}), TensorRT {made['tensorrt']}"
    )
    say(f"note: {NOT_RUN}")
    say("next:")
    say(f"  edge info {options.model}")
    say(f"  edge run --model {options.model} --source 0")
    return 0
