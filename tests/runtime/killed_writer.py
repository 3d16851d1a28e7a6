"""Writers that a test kills: this process forks one for each line `KIND FOLDER` of its stdin.

Forking costs milliseconds where starting Python and loading OpenCV cost half a second, so that a
test can kill a hundred. A writer says on stdout what is written; its parent, at its death, `.`.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import numpy as np

from runtime.decode import Detections
from runtime.results import KeyframeResult, Timings
from runtime.sinks import JsonLinesSink
from runtime.sinks.video_file import VideoFile


def result(frame: int) -> KeyframeResult:
    """Return a result without detections."""
    nobody = Detections(
        xyxy=np.zeros((0, 4), np.float32),
        actor=np.zeros(0, np.float32),
        actions=np.zeros((0, 1), np.float32),
        token=np.zeros(0, np.int64),
    )
    return KeyframeResult(
        frame=frame, t=0.0, keyframe=0, keyframe_t=0.0, latency_ms=0.0, detections=nobody,
        class_names=("stand",), action_conf=0.5, trained=True, size_wh=(64, 48),
        timings=Timings(capture_ms=0, preprocess_ms=0, inference_ms=0, decode_ms=0),
    )  # fmt: skip


def say(text: object) -> None:
    """Tell the test at once."""
    os.write(1, f"{text}\n".encode())


def lines(folder: Path) -> None:
    """Write one file without end."""
    sink = JsonLinesSink(folder / "out.jsonl")
    for frame in itertools.count():
        sink.result(result(frame))
        say(frame)


def files(folder: Path) -> None:
    """Write one file of three lines after the other."""
    first = len(list(folder.glob("*.jsonl")))
    for number in itertools.count(first):
        sink = JsonLinesSink(folder / f"{number}.jsonl", overwrite=True)
        for frame in range(3):
            sink.result(result(frame))
        sink.close(ok=True)
        say(number)


def video(folder: Path) -> None:
    """Write one video without end."""
    file = VideoFile(folder / "out.mp4", fps=10.0, size_wh=(64, 48), overwrite=False)
    image = np.zeros((48, 64, 3), np.uint8)
    for frame in itertools.count():
        image[:] = frame % 256
        file.write(image)
        say(frame)


def main() -> None:
    """Fork a writer for each line of stdin."""
    for line in sys.stdin:
        kind, folder = line.split()
        child = os.fork()
        if child == 0:
            {"lines": lines, "files": files, "video": video}[kind](Path(folder))
        say(f"pid {child}")
        os.waitpid(child, 0)
        say(".")


if __name__ == "__main__":
    main()
