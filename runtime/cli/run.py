"""`edge run`: detect people and their actions in a camera, stream, file or folder."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backend_library import use_backend_library
from runtime.bundle import DEFAULT_BUNDLE
from runtime.cli.stopping import stoppable
from runtime.engines.base import DEVICES
from runtime.errors import CaptureError, ConfigError
from runtime.options import OptionParser, option
from runtime.outputs import part_names, why_in_the_way, why_no_output
from runtime.secrets import redact

# A day is the longest age that anybody means; no camera is faster than 1000 frames a second.
UPPER_BOUNDS = {"stride": 1e6, "max_keyframes": math.inf, "fps": 1000.0, "max_age_ms": 86.4e6}

if TYPE_CHECKING:
    from runtime.runner import ClipRunner
    from runtime.sinks.base import Sink, Sinks
    from runtime.sources import SourceConfig

logger = logging.getLogger(__name__)

NO_NMS = (
    "there is no NMS and so no IoU threshold: the model is trained to report each "
    "person; use --conf, the threshold on p(actor)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Flags of `edge run`."""

    source: str = option(
        dataclasses.MISSING,
        "0, v4l2:///dev/video0, csi://0, rtsp://..., a video file, or a folder of images",
        positional=True,
    )
    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    artifact: str | None = option(None, "which artifact of the bundle; else the best that runs")
    conf: float | None = option(None, "threshold on p(actor), 0..1; else the artifact's own θ")
    action_conf: float | None = option(
        None,
        "threshold on each action's probability, 0..1; else the artifact's own for each action, "
        "0.5 where it has none",
    )
    track: bool = option(False, "give each person a number that stays the same between results")
    stride: int | None = option(
        None,
        "frames between two decisions, at the bundle's fps; else two samples of the clip",
        aliases=("--vid-stride",),
    )
    device: str = option(
        "auto", "where to run; auto takes the best device for which the bundle has a program",
        choices=("auto", *DEVICES),
    )  # fmt: skip
    num_threads: int = option(0, "threads of the engine; 0 = one for each that it may use")
    backend_library: str | None = option(
        None, "load this backend of ExecuTorch beside the runtime; several are divided by a colon",
        metavar="FILE.so",
    )  # fmt: skip
    fps: float | None = option(None, "frames per second of a folder of images")
    max_age_ms: float = option(500.0, "live sources: age from which the newest frame is stale, ms")
    stream_buffer: bool = option(False, "live sources: take every frame, not only the newest")
    max_reconnects: int = option(3, "live sources: attempts to reconnect after a loss")
    max_keyframes: int | None = option(None, "stop after this many results")
    show: bool = option(False, "show a live window")
    save: str | None = option(None, "write the annotated video to this file", metavar="FILE.mp4")
    save_json: str | None = option(None, "write JSON Lines to this file", metavar="FILE.jsonl")
    save_events: str | None = option(
        None, "write the begin and end of people's actions to this file; implies --track",
        metavar="FILE.jsonl",
    )  # fmt: skip
    json: bool = option(False, "print JSON Lines to stdout instead of the table")
    overwrite: bool = option(False, "replace existing output files")
    imgsz: int | None = option(None, "input size that the bundle must have, px (a check only)")
    quiet: bool = option(False, "no table, no progress bar, only warnings and errors")
    verbose: bool = option(False, "log more, and show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")
    iou: float | None = option(None, "", refused=NO_NMS)
    nms: float | None = option(None, "", refused=NO_NMS)

    def __post_init__(self) -> None:
        for name in ("conf", "action_conf"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is {value:g}, expected a probability between 0 and 1")
        for name, most in UPPER_BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not 0 < value <= most:
                expected = "above 0" if value < most else f"at most {most:g}"
                raise ConfigError(f"--{name.replace('_', '-')} is {value:g}, expected {expected}")
        for name in ("num_threads", "max_reconnects"):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is {getattr(self, name)}, expected 0 or more")
        for name in ("model", "save", "save_json", "save_events"):
            if getattr(self, name) == "":
                raise ConfigError(f"--{name.replace('_', '-')} is empty, expected a path")
        for path in self.outputs:
            _check_output(path, overwrite=self.overwrite)
        for number, path in enumerate(self.outputs):
            later = self.outputs[number + 1 :]
            parts = [part for other in later for part in part_names(other)]
            if why_in_the_way(path, [*later, *parts]):
                raise ConfigError(f"two of the outputs are {path}; name a file for each")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that the run will make."""
        return tuple(Path(path) for path in (self.save, self.save_json, self.save_events) if path)


def _check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output before any work: what can be known now is not an error at the end."""
    reason = why_no_output(path)
    if reason:
        raise ConfigError(reason)
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; add --overwrite to replace it, or name another file")


def _keep_inputs(options: RunOptions) -> None:
    """Refuse an output that would take the place of the source or of the bundle."""
    from runtime.sources.uri import image_files, parse_uri

    uri = parse_uri(options.source)
    target = Path(uri.target)
    read = {"file": [target], "images": image_files(target) if uri.kind == "images" else []}
    model = Path(options.model)
    bundle = sorted(model.iterdir()) if model.is_dir() else [model]
    for path in options.outputs:
        reason = why_in_the_way(path, [*read.get(uri.kind, []), *bundle])
        if reason:
            raise ConfigError(reason)


def main(argv: Sequence[str]) -> int:
    """Run a bundle on a source; results to stdout and to the files that were asked for."""
    parser = OptionParser(prog="edge run", description=__doc__)
    options = parser.parse_into(RunOptions, argv)
    with logging_to_stderr(verbose=options.verbose, quiet=options.quiet), stoppable() as stop:
        try:
            _run(options)
        except KeyboardInterrupt:
            if not stop.normal:
                raise
            logger.info("stopped by SIGTERM")
    return 0


def _run(options: RunOptions) -> None:
    # Imported here: a wrong flag should not wait for OpenCV.
    from runtime.runner import ClipRunner
    from runtime.sinks.base import Sinks
    from runtime.sources import SourceConfig

    use_backend_library(options.backend_library)
    _keep_inputs(options)
    with ClipRunner(
        options.model,
        artifact=options.artifact,
        conf=options.conf,
        action_conf=options.action_conf,
        stride=options.stride,
        device=options.device,
        num_threads=options.num_threads,
        max_age_ms=options.max_age_ms,
    ) as runner:
        _check_size(options, runner)
        config = SourceConfig(
            image_fps=options.fps or runner.spec.clip.fps,
            stream_buffer=options.stream_buffer,
            reconnect_attempts=options.max_reconnects,
        )
        sinks, nothing = Sinks(_sinks(options, runner)), False
        try:
            with sinks:
                _stream(options, runner, config, sinks)
        except CaptureError:
            # Of a source that could not be read there is nothing to sum up.
            nothing = not runner.profile.stages["capture"].count
            raise
        finally:  # also where the run was stopped, or failed
            if not options.quiet and not nothing:
                for line in runner.summary():
                    sys.stderr.write(line + "\n")


def _stream(options: RunOptions, runner: ClipRunner, config: SourceConfig, sinks: Sinks) -> None:
    stream = runner.stream(
        options.source,
        config=config,
        on_frame=sinks.frame if sinks.wants_frames else None,
        on_event=sinks.event,
        track=options.track or options.save_events is not None,
    )
    # Closed on the way out: leaving the loop early must stop the camera at once.
    with closing(stream), _progress(options) as move:
        for count, result in enumerate(stream, start=1):
            sinks.result(result)
            move(*runner.progress)
            if sinks.done or count == options.max_keyframes:
                break


def _sinks(options: RunOptions, runner: ClipRunner) -> list[Sink]:
    from runtime.sinks import (
        ActionLinesSink,
        JsonLinesSink,
        JsonStdoutSink,
        ShowSink,
        TableSink,
        VideoSink,
    )
    from runtime.sources import parse_uri

    clip, trained = runner.spec.clip, runner.spec.trained
    sinks: list[Sink] = []
    if options.json:
        sinks.append(JsonStdoutSink())
    elif not options.quiet:
        sinks.append(TableSink())
    if options.save:
        sinks.append(
            VideoSink(
                options.save,
                clip=clip,
                stride=runner.stride,
                trained=trained,
                overwrite=options.overwrite,
            )
        )
    if options.show:
        sinks.append(ShowSink(clip=clip, stride=runner.stride, trained=trained))
    # Last, since it has a file from now on.
    if options.save_json:
        sinks.append(JsonLinesSink(options.save_json, overwrite=options.overwrite))
    if options.save_events:
        uri = parse_uri(options.source)
        sinks.append(
            ActionLinesSink(
                options.save_events,
                camera=uri.shown,
                class_names=runner.spec.class_names,
                live=uri.live,
                overwrite=options.overwrite,
            )
        )
    return sinks


def _check_size(options: RunOptions, runner: ClipRunner) -> None:
    size = runner.spec.clip
    if options.imgsz is not None and (size.height, size.width) != (options.imgsz, options.imgsz):
        raise ConfigError(
            f"--imgsz is {options.imgsz}, the bundle's programs are fixed at "
            f"{size.width}x{size.height}; leave the flag out, or export for that size"
        )


@contextmanager
def _progress(options: RunOptions) -> Iterator[Callable[[int, int | None], None]]:
    """Give a callback `(frames, of)` that moves a bar on stderr.

    No bar where nobody watches, where the table scrolls on the same terminal, or without tqdm,
    which a device does not install.
    """
    hidden = options.quiet or not sys.stderr.isatty() or sys.stdout.isatty()
    if hidden or importlib.util.find_spec("tqdm") is None:
        yield lambda frames, total: None
        return
    from tqdm import tqdm

    with tqdm(unit="frame", dynamic_ncols=True, leave=False) as bar:

        def move(frames: int, total: int | None) -> None:
            bar.total = total
            bar.update(frames - bar.n)

        yield move


@contextmanager
def logging_to_stderr(*, verbose: bool, quiet: bool) -> Iterator[None]:
    """Send log lines to stderr for the time of the run, as `level: text`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lowercase("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _Lowercase(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return redact(super().format(record))
