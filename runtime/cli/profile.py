"""`edge profile`: measure a bundle's time and energy on this machine, also in long runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.backend_library import use_backend_library
from runtime.bundle import DEFAULT_BUNDLE
from runtime.cli import say
from runtime.engines.base import DEVICES
from runtime.options import CommonOptions, OptionParser, check_options, option, section

if TYPE_CHECKING:
    from runtime.profiler import OperatorTrace
    from runtime.runner import ClipRunner
    from runtime.sinks.base import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """Flags of `edge profile`."""

    source: str | None = option(
        None, "camera, stream, video or folder; else the bundle's golden clip, as pictures",
        positional=True,
    )  # fmt: skip
    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    artifact: str | None = option(None, "which artifact of the bundle; else the best that runs")
    device: str = option("auto", "where to run", choices=("auto", *DEVICES))
    num_threads: int = option(0, "threads of the engine; 0 = one for each that it may use", least=0)
    backend_library: str | None = option(
        None, "load this backend of ExecuTorch beside the runtime; several are divided by a colon",
        metavar="FILE.so",
    )  # fmt: skip
    stride: int | None = option(
        None, "frames between two decisions, at the bundle's fps", least=1,
        aliases=("--vid-stride",),
    )  # fmt: skip
    results: int = option(200, "counted results; the source starts again at its end", least=1)
    soak: float = option(0.0, "run for this many minutes instead, and judge it by minute", least=0,
                         most=10_080, metavar="MINUTES")  # fmt: skip
    traced: int = option(30, "traced runs for the time of operators; 0 = none", least=0)
    save: str | None = option(
        None, "also write the annotated video to this file", metavar="FILE.mp4"
    )
    out: str = option("runs/profile", "folder for profile.json, profile.md, profile.html, "
                                      "trace.json")  # fmt: skip
    quiet: bool = option(False, "no progress")
    common: CommonOptions = section(CommonOptions)

    def __post_init__(self) -> None:
        check_options(self)


def main(argv: Sequence[str]) -> int:
    """Profile a bundle; print the stages, write the page and the trace."""
    parser = OptionParser(prog="edge profile", description=__doc__)
    say(_profile(parser.parse_into(ProfileOptions, argv)))
    return 0


def _profile(options: ProfileOptions) -> str:
    # Imported here: a wrong flag should not wait for OpenCV.
    from runtime.profiler import golden_folder, measure, trace_operators, write_profile
    from runtime.runner import ClipRunner
    from runtime.sinks.base import Sinks
    from runtime.sources import SourceConfig

    use_backend_library(options.backend_library)
    with (
        tempfile.TemporaryDirectory(prefix="bmvit-profile-") as folder,
        ClipRunner(
            options.model, artifact=options.artifact, stride=options.stride,
            device=options.device, num_threads=options.num_threads,
        ) as runner,
    ):  # fmt: skip
        clip = runner.spec.clip
        config = SourceConfig(image_fps=clip.fps)
        source: str | Path | None = options.source
        if source is None:
            source = golden_folder(runner.bundle, Path(folder))
            config = dataclasses.replace(config, image_fps=clip.fps / clip.sampling_rate)
        with Sinks(_sinks(options, runner, Path(folder))) as sinks, _progress(options) as told:
            measured = measure(
                runner, source, sinks, results=options.results, minutes=options.soak,
                config=config, told=told,
            )  # fmt: skip
        operators = _traced(options, runner, trace_operators)
        facts = {
            "bundle": f"{runner.spec.name}, {runner.engine.artifact.stem}",
            "engine": runner.engine.reason,
            "source": options.source or "the bundle's golden clip, as pictures",
            "stride": f"{runner.stride} frames at {clip.fps:g} fps",
        }
        return write_profile(
            Path(options.out), measured, operators, facts=facts, soak=options.soak,
            command=_command(options),
        )  # fmt: skip


def _traced(
    options: ProfileOptions, runner: ClipRunner, trace: Callable[..., OperatorTrace]
) -> OperatorTrace:
    from runtime.profiler import OperatorTrace

    if options.traced == 0:
        return OperatorTrace(tracer="none", reason="--traced 0")
    return trace(
        runner.bundle, runner.engine.artifact, num_threads=options.num_threads,
        stride=runner.config.stride_samples, runs=options.traced,
    )  # fmt: skip


def _sinks(options: ProfileOptions, runner: ClipRunner, folder: Path) -> list[Sink]:
    from runtime.sinks import JsonLinesSink, VideoSink

    sinks: list[Sink] = [JsonLinesSink(str(folder / "results.jsonl"))]
    if options.save:
        sinks.append(
            VideoSink(
                options.save, clip=runner.spec.clip, stride=runner.stride,
                trained=runner.spec.trained,
            )
        )  # fmt: skip
    return sinks


def _command(options: ProfileOptions) -> str:
    words = ["edge profile", *([options.source] if options.source else [])]
    for name in ("model", "artifact", "num_threads", "stride", "results", "soak"):
        value: Any = getattr(options, name)
        default = next(f.default for f in dataclasses.fields(options) if f.name == name)
        if value != default:
            words.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(words)


@contextmanager
def _progress(options: ProfileOptions) -> Iterator[Callable[[int, float], None]]:
    """Give a callback `(results, seconds)` that shows them on stderr, where somebody watches."""
    if options.quiet or not sys.stderr.isatty() or importlib.util.find_spec("tqdm") is None:
        yield lambda results, seconds: None
        return
    from tqdm import tqdm

    total = options.soak * 60 if options.soak else options.results
    unit = "s" if options.soak else "result"
    with tqdm(total=round(total), unit=unit, dynamic_ncols=True, leave=False) as bar:

        def move(results: int, seconds: float) -> None:
            now = min(int(seconds) if options.soak else results, round(total))
            bar.update(now - bar.n)

        yield move
