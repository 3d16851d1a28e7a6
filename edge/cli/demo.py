"""`edge demo`: the whole road on a video that it draws itself, and how well it went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.data.synthetic.actions import CLASS_NAMES
from edge.data.world_video import SIZE_WH, write_world_video
from edge.evaluation.verdict import judge
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import run
from runtime.options import OptionParser, option


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Flags of `edge demo`."""

    out: str = option("runs/demo", "folder for the clip, the video and the results")
    seconds: float = option(8.0, "length of the clip, s")
    seed: int = option(2, "which clip")
    model: str | None = option(None, "bundle; the default one when absent", metavar="BUNDLE")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")


def main(argv: Sequence[str]) -> int:
    """Make the clip, run a bundle on it, and say where the results are."""
    options = OptionParser(prog="edge demo", description=__doc__).parse_into(DemoOptions, argv)
    folder = Path(options.out)
    clip, video, lines = folder / "clip.mp4", folder / "annotated.mp4", folder / "results.jsonl"
    truth = write_world_video(clip, seconds=options.seconds, seed=options.seed)
    print(f"made {clip}: {len(truth)} frames of the benchmark world")
    flags = ["--source", str(clip), "--save", str(video), "--save-json", str(lines)]
    flags += ["--overwrite", *(["--model", options.model] if options.model else [])]
    code = run.main(flags)
    if code == 0:
        with Bundle.load(options.model or DEFAULT_BUNDLE) as bundle:
            names = set(bundle.spec.class_names)
        if names >= set(CLASS_NAMES):
            results = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
            verdict = judge(results, truth, SIZE_WH, actions=CLASS_NAMES)
            print("\n".join(["", *verdict.lines()]))
        else:
            print("\nthis model knows other actions than the clip shows")
        print(f"\nannotated video: {video}\nresults, one JSON object a keyframe: {lines}")
        print("your own camera:  edge run --source 0 --show")
        print("a stream, saved:  edge run --source rtsp://ADDRESS --save out.mp4")
    return code
