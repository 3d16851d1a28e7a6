"""`edge cameras`: list the cameras; `edge cameras probe --source ...` measures one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle import DEFAULT_BUNDLE
from runtime.cli import say
from runtime.errors import ConfigError
from runtime.options import OptionParser, check_options, did_you_mean, option
from runtime.outputs import why_no_output, write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class CamerasOptions:
    """Flags of `edge cameras`."""

    source: str | None = option(
        None, "probe: camera, stream, file or folder to measure", positional=True
    )
    seconds: float = option(5.0, "probe: duration, seconds", above=0, most=3600)
    size: str | None = option(None, "probe: frame size to request from a camera, px", metavar="WxH")
    fps: float | None = option(
        None, "probe: frame rate to request from a camera", above=0, most=1000
    )
    model: str = option(str(DEFAULT_BUNDLE), "probe: bundle for whose clip the source is checked",
                        metavar="BUNDLE")  # fmt: skip
    picture: str | None = option(
        None, "probe: write the newest frame to this file", metavar="FILE.png"
    )
    overwrite: bool = option(False, "replace the picture if it exists")
    json: bool = option(False, "print one JSON object")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)
        _size(self.size)
        if self.picture is not None:
            path = Path(self.picture)
            reason = why_no_output(path)
            if reason is None and path.exists() and not self.overwrite:
                reason = f"{path} exists; add --overwrite to replace it, or name another file"
            if reason:
                raise ConfigError(reason)


def main(argv: Sequence[str]) -> int:
    """List cameras, or probe one source."""
    argv = list(argv)
    probe = bool(argv) and argv[0] == "probe"
    if argv and not probe and not argv[0].startswith("-"):
        hint = did_you_mean(argv[0], ["probe"])
        raise ConfigError(f"edge cameras knows no {argv[0]!r}.{hint} Use: edge cameras [probe]")
    parser = OptionParser(prog="edge cameras" + (" probe" if probe else ""), description=__doc__)
    options = parser.parse_into(CamerasOptions, argv[1:] if probe else argv)
    if probe:
        if options.source is None:
            raise ConfigError("edge cameras probe needs --source: a camera, stream or file")
        return _probe(options, options.source)
    if options.source is not None:
        raise ConfigError("--source is measured by: edge cameras probe --source ...")
    return _list(options)


def _list(options: CamerasOptions) -> int:
    from runtime.cameras import list_cameras

    cameras = list_cameras()
    if options.json:
        say(json.dumps({"cameras": [dataclasses.asdict(camera) for camera in cameras]}))
        return 0
    if not cameras:
        say("no camera: this machine has no /dev/video* that gives frames; a CSI camera of a "
            "Jetson shows as csi://0, network cameras as rtsp://")  # fmt: skip
    for camera in cameras:
        driver = f" ({camera.driver})" if camera.driver else ""
        say(f"{camera.path}  {camera.name}{driver}" + (f": {camera.reason}" * bool(camera.reason)))
        for mode in camera.modes:
            say(f"    {mode}")
    return 0


def _probe(options: CamerasOptions, source: str) -> int:
    import cv2

    from runtime.bundle import Bundle
    from runtime.cameras.measure import advice, measure_source, measured_rows
    from runtime.sources import SourceConfig

    with Bundle.load(options.model) as bundle:
        clip = bundle.spec.clip
    config = SourceConfig(
        image_fps=options.fps or clip.fps, size_wh=_size(options.size), camera_fps=options.fps
    )
    found = measure_source(source, seconds=options.seconds, config=config)
    if options.picture is not None:
        good, png = cv2.imencode(".png", found.picture)
        if good:
            write_atomically(Path(options.picture), png.tobytes())
    says = advice(found, clip)
    if options.json:
        facts = {
            field.name: getattr(found, field.name)
            for field in dataclasses.fields(found)
            if field.name != "picture"
        }
        say(json.dumps({**facts, "advice": says}))
        return 0
    for name, text in measured_rows(found):
        say(f"{name:<8} {text}")
    for line in says:
        say(f"- {line}")
    return 0


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"--size is {text!r}, expected width x height, such as 1280x720")
    return int(width), int(height)
