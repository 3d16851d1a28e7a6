"""`edge demo`: the whole road on a clip that it draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.data.demo_clip import write_demo_clip
from runtime.cli import run
from runtime.options import OptionParser, option


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Flags of `edge demo`."""

    out: str = option("runs/demo", "folder for the clip, the video and the results")
    seconds: float = option(6.0, "length of the clip, s")
    model: str | None = option(None, "bundle; the default one when absent", metavar="BUNDLE")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")


def main(argv: Sequence[str]) -> int:
    """Make the clip, run a bundle on it, and say where the results are."""
    options = OptionParser(prog="edge demo", description=__doc__).parse_into(DemoOptions, argv)
    folder = Path(options.out)
    clip, video, lines = folder / "clip.mp4", folder / "annotated.mp4", folder / "results.jsonl"
    frames = write_demo_clip(clip, seconds=options.seconds)
    print(f"made {clip}: {frames} frames of drawn figures")
    flags = ["--source", str(clip), "--save", str(video), "--save-json", str(lines)]
    flags += ["--overwrite", *(["--model", options.model] if options.model else [])]
    code = run.main(flags)
    if code == 0:
        print(f"\nannotated video: {video}\nresults, one JSON object a keyframe: {lines}")
        print("your own camera:  edge run --source 0 --show")
        print("a stream, saved:  edge run --source rtsp://ADDRESS --save out.mp4")
    return code
