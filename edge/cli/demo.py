"""`edge demo`: run the default bundle on a drawn video, or on yours, and score the result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.data.class_tables import ANY
from edge.data.joint_classes import JOINT
from edge.evaluation.demo_score import score_demo
from edge.world.casting import CLASS_NAMES
from edge.world.video import SIZE_WH, write_world_video
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import run
from runtime.errors import ConfigError
from runtime.options import OptionParser, option


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Flags of `edge demo`."""

    out: str = option("runs/demo", "folder for the clip, the video and the results")
    video: str | None = option(None, "your video, instead of the drawn clip", metavar="FILE")
    seconds: float | None = option(None, "length of the drawn clip, seconds; by default 8")
    seed: int | None = option(None, "seed of the drawn clip; by default 2")
    model: str | None = option(None, "bundle; by default the one of this package", metavar="BUNDLE")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        if self.video is None:
            return
        for name in ("seconds", "seed"):
            if getattr(self, name) is not None:
                raise ConfigError(f"--{name} is about the drawn clip, and --video is given")
        if not _is_file(self.video):
            raise ConfigError(
                f"--video {self.video}: no such file; a camera or stream is for edge run --source"
            )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a closed folder; a name that no file can have
        return False


def main(argv: Sequence[str]) -> int:
    """Run a bundle on a video, and say where the results are and what they hold."""
    options = OptionParser(prog="edge demo", description=__doc__).parse_into(DemoOptions, argv)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    video, lines = folder / "annotated.mp4", folder / "results.jsonl"
    if options.video is None:
        code = _on_drawn_clip(options, folder / "clip.mp4", video, lines)
    else:
        code = _run(options, options.video, video, lines)
        if code == 0:
            print("\n".join(["", *count_lines(_results(lines))]))
    if code == 0:
        print(f"\nannotated video: {video}\nresults, one JSON object a keyframe: {lines}")
        print("your own camera:  edge run --source 0 --show")
        print("a stream, saved:  edge run --source rtsp://ADDRESS --save out.mp4")
    return code


def _on_drawn_clip(options: DemoOptions, clip: Path, video: Path, lines: Path) -> int:
    seconds = 8.0 if options.seconds is None else options.seconds
    seed = 2 if options.seed is None else options.seed
    truth = write_world_video(clip, seconds=seconds, seed=seed)
    print(f"made {clip}: {len(truth)} frames of the benchmark world")
    code = _run(options, str(clip), video, lines)
    if code == 0:
        with Bundle.load(options.model or DEFAULT_BUNDLE) as bundle:
            names = set(bundle.spec.class_names)
        words = _words_of(names)
        if words is not None:
            renamed = [
                replace(
                    frame,
                    actors=tuple(
                        (box, tuple(words[n] for n in said)) for box, said in frame.actors
                    ),
                )
                for frame in truth
            ]
            score = score_demo(_results(lines), renamed, SIZE_WH, actions=set(words.values()))
            print("\n".join(["", *score.lines()]))
        else:
            print("\nthis model knows other actions than the clip shows")
    return code


def _words_of(names: Collection[str]) -> dict[str, str] | None:
    """Return a model's word for each action of the clip; None where it does not know them all."""
    joins = JOINT.sources[ANY].join
    for words in (
        {name: name for name in CLASS_NAMES},
        {name: joins.get(name) or name for name in CLASS_NAMES},
    ):
        if set(names) >= set(words.values()):
            return words
    return None


def _run(options: DemoOptions, source: str, video: Path, lines: Path) -> int:
    flags = ["--source", source, "--save", str(video), "--save-json", str(lines)]
    return run.main([*flags, "--overwrite", *(["--model", options.model] if options.model else [])])


def _results(lines: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.read_text("utf-8").splitlines()]


def count_lines(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return how often each action was said, as text; the most frequent first."""
    keyframes = people = unnamed = 0
    said: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for result in results:
        keyframes += 1
        people += len(result["detections"])
        unnamed += sum(not found["actions"] for found in result["detections"])
        names = [name for found in result["detections"] for name in found["actions"]]
        said.update(names)
        shown.update(set(names))
    lines = [f"{people} detections of people who act in {keyframes} keyframes"]
    rows = [(name, count, f"in {shown[name]} keyframes") for name, count in said.most_common()]
    rows += [("no action named", unnamed, "")] if unnamed else []
    width = max((len(name) for name, _, _ in rows), default=0)
    return lines + [f"  {name:<{width}}  {n:>6}  {where}".rstrip() for name, n, where in rows]
