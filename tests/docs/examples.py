"""Examples of the documentation: how they are found, and the folder in which they are run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.data.demo_clip import render_frame, write_demo_clip
from tests.edge.blob_detector import constant_movenet

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a reader of the page needs to run the command, and a test does not have.
NEEDS = re.compile(r"\s+# needs (.+)$")


@dataclass(frozen=True)
class Command:
    """One command of a `console` block.

    Attributes:
        machine: Empty for `$`; `jetson` for a line that begins with `jetson$`.
        words: The command, without its comment.
        needs: What the comment says that it needs; empty where a test runs it.
    """

    machine: str
    words: tuple[str, ...]
    needs: str


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield language and text of each fenced block."""
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2]


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a `console` block; lines without a prompt are output."""
    joined = re.sub(r"\s*\\\n\s*", " ", block)
    for line in joined.splitlines():
        found = re.match(r"([a-z]*)\$ +(.+)$", line)
        if not found:
            continue
        needs = NEEDS.search(found[2])
        text = re.sub(r"\s+# .*$", "", found[2])
        yield Command(found[1], tuple(shlex.split(text)), needs[1] if needs else "")


def _videos(path: Path) -> None:
    for index, name in enumerate(("fight/a", "fight/b", "no_fight/c", "no_fight/d")):
        file = path / f"{name}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_demo_clip(file, seconds=1.2, seed=index)


def _photos(path: Path) -> None:
    path.mkdir()
    for index in range(2):
        cv2.imwrite(str(path / f"{index}.jpg"), render_frame(0.5 * index))


def _detector(path: Path) -> None:
    """Write a MoveNet that finds one person, where somebody waves in the drawn clips."""
    maps = {"center_0": np.full((1, 1, 16, 16), -9.0), "box_scale_0": np.ones((1, 2, 16, 16)),
            "box_offset_0": np.zeros((1, 2, 16, 16))}  # fmt: skip
    maps["center_0"][0, 0, 9, 10] = 2.0
    maps["box_scale_0"][0, :, 9, 10] = [7.3, 1.6]
    constant_movenet(path, maps, 64)


def _labelled(path: Path) -> None:
    """Label clips by the commands of the page about it."""
    from edge.cli import main

    words = (
        "--source", "clips", "--detector", "movenet_multipose_256.onnx", "--out", path.name,
        "--present", "fighting=fight/*", "--absent", "fighting=no_fight/*", "--groups",
        "sources.csv", "--val-share", "0.25",
    )  # fmt: skip
    provide(path.parent, words)
    assert main(["label", *words, "--quiet"]) == 0


def _my_videos(path: Path) -> None:
    """Write four videos with a table of boxes around the one who waves."""
    for index in range(4):
        (path / "videos").mkdir(parents=True, exist_ok=True)
        write_demo_clip(path / "videos" / f"{index}.mp4", seconds=1.2, seed=index)
    (path / "classes.txt").write_text("clap\njump\n")
    for part, videos in (("train", (0, 1, 2)), ("val", (3,))):
        rows = [
            f"{v},{t},0.606,0.366,0.706,0.822,{1 + v % 2},0" for v in videos for t in (0.4, 0.8)
        ]
        (path / f"annotations_{part}.csv").write_text("\n".join(rows) + "\n")


def _sources(path: Path) -> None:
    path.write_text("clip,source\nfight/a,1\nfight/b,2\nno_fight/c,3\nno_fight/d,4\n")


def _bundle(path: Path) -> None:
    shutil.copytree(ROOT / "runtime" / "models" / "nano", path)


def _weights(path: Path) -> None:
    path.symlink_to(ROOT / "weights", target_is_directory=True)


def _checkpoint(path: Path) -> None:
    """Save a network of 32 x 32 px: the export of a real one takes minutes."""
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model

    model = build_model(
        "pico-scratch", num_classes=2, seed=0, height=32, width=32, num_frames=4,
        hidden_channels=16, channels=(32, 32), depths=(1, 1), head_channels=32, strides=(2,),
        kv_strides=(2, 1),
    )  # fmt: skip
    save_checkpoint(path, model, class_names=("person", "fighting"), trained=False, note="tiny")


# What an example may name without making it.
INPUTS: dict[str, Callable[[Path], None]] = {
    "clip.mp4": lambda path: write_demo_clip(path, seconds=1.5),
    "clips": _videos,
    "photos": _photos,
    "sources.csv": _sources,
    "movenet_multipose_256.onnx": _detector,
    "bundle": _bundle,
    "weights": _weights,
    "nano.pt": _checkpoint,
    "labelled": _labelled,
    "my-videos": _my_videos,
}


def provide(folder: Path, words: tuple[str, ...]) -> None:
    """Make what a command reads and is not there yet; take away what it is to make itself."""
    written = words[words.index("--out") + 1].strip("/") if "--out" in words else ""
    if written in INPUTS and words[:2] == ("edge", "export"):
        shutil.rmtree(folder / written, ignore_errors=True)
    for word in words:
        for name, make in INPUTS.items():
            named = re.search(rf"(^|[=:+ ]){re.escape(name)}($|[/:*+ ])", word)
            if named and name != written and not (folder / name).exists():
                make(folder / name)
