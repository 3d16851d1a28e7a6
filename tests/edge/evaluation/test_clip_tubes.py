"""`edge val` where whole tubes are labelled: from tokens to video-mAP, and files that say where."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.data.annotations import ClipPlace, Tube
from edge.data.ava_files import read_detections, read_label_map
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation import validate as validate_module
from edge.evaluation.file_reports import evaluate_files
from edge.evaluation.options import FileOptions, ModelChoice, ReportOptions, ValOptions
from edge.evaluation.predictors import Predictor
from edge.evaluation.tube_json import read_found_tubes, write_tubes
from edge.evaluation.validate import ValReport, validate
from runtime.errors import CaptureError
from runtime.types import ClipSpec, Outputs

NAMES = ("walk", "wave")
SIZE_WH = (200, 100)
FRAMES = 24


class Videos(ClipDataset):
    """Two videos of a bright person; in each, another action. The first goes on without it."""

    class_names = NAMES
    label_ids = (3, 7)

    def __init__(self, *, by_second: bool = False, whole: bool = False) -> None:
        self.by_second, self.whole = by_second, whole

    def __len__(self) -> int:
        return 2 * FRAMES

    def where(self, index: int) -> ClipPlace:
        video, frame = divmod(index, FRAMES)
        stamp = float(900 + frame) if self.by_second else frame / 25
        return ClipPlace(video=f"clips/{'ab'[video]}", frame=frame, timestamp=stamp)

    def tubes(self) -> list[Tube]:
        if self.by_second:
            return []
        return [self._tube(0, FRAMES if self.whole else FRAMES // 2), self._tube(1, FRAMES)]

    def _tube(self, video: int, count: int) -> Tube:
        frames = np.arange(count)
        left = 20 + 2 * frames
        columns = [left, np.full(count, 20), left + 40, np.full(count, 80)]
        return Tube(
            video=f"clips/{'ab'[video]}", label=video, frames=frames,
            boxes=np.stack(columns, axis=1).astype(np.float32),
        )  # fmt: skip

    def __getitem__(self, index: int) -> ClipSample:
        video, frame = divmod(index, FRAMES)
        acts = video == 1 or self.whole or frame < FRAMES // 2
        box = np.float32([[20 + 2 * frame, 20, 60 + 2 * frame, 80]])
        frames = np.full((2, 8, 8, 3), 10 * video, np.uint8)
        frames[:, 0, 0] = frame, int(acts), 0
        return ClipSample(
            frames_rgb=frames, boxes=box / np.float32([*SIZE_WH, *SIZE_WH]) if acts else box[:0],
            labels=np.eye(2, dtype=np.float32)[[video]][: int(acts)],
            inactive_persons=np.zeros((0, 4), np.float32), clip_id=f"{'ab'[video]}/{frame}",
            size_wh=SIZE_WH,
        )  # fmt: skip


def see(clips: Sequence[np.ndarray]) -> list[Outputs]:
    """Answer rightly, but with a box when nobody acts, of a low score; and a double behind it."""
    result = []
    for clip in clips:
        (frame, acts, _), video = clip[1, 0, 0].tolist(), int(clip[1, 4, 4, 0]) // 10
        x = (40 + 2 * frame) / SIZE_WH[0]
        boxes = np.float32([[x, 0.5, 0.2, 0.6], [x + 0.01, 0.5, 0.2, 0.6], [0.9, 0.1, 0.05, 0.05]])
        actor = np.float32([3.0 if acts else -1.5, 1.0 if acts else -3.0, -8.0])
        actions = np.full((3, 2), -6.0, np.float32)
        actions[:, video] = 5.0
        result.append((boxes, actor, actions))
    return result


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Any, **values: Any) -> ValReport:
    model = Predictor(
        name="drawn", class_names=NAMES, conf=0.5, trained=True, precision="fp32", sha256="0" * 64,
        shape=ClipSpec(num_frames=2, height=8, width=8, sampling_rate=1, fps=25.0), run=see,
    )  # fmt: skip
    monkeypatch.setattr(validate_module, "open_predictor", lambda choice: model)
    options = ValOptions(out=tmp_path / "val", plots=False, worst=0, **values)
    return validate(ModelChoice(model="x"), lambda shape: dataset, data="drawn", options=options)


def test_untrimmed_videos_are_trimmed_to_their_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(tmp_path, monkeypatch, Videos())
    video = report.content["video"]
    assert (video["protocol"], video["trimmed"]) == ("act", True)
    assert (video["true_tubes"], video["found_tubes"]) == (2, 2), "the double starts no tube"
    assert video["video_map"] == {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0, "0.5:0.95": 1.0}
    assert set(video["by_protocol"]) == {"act", "ava", "road", "yowo"}
    assert video["frame_map"] == 1.0, "false boxes come behind all hits"
    assert report.content["frame_map"] == 1.0
    with (report.out / "per_class.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["video-AP@0.5"] for row in rows] == ["1.0000", "1.0000"]
    assert any("2 true tubes, 2 linked (trimmed)" in line for line in report.lines())
    assert json.loads((report.out / "metrics.json").read_text("utf-8")) == report.content


def test_videos_that_were_cut_to_their_action_are_left_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = run(tmp_path, monkeypatch, Videos(whole=True), protocol="ava").content["video"]
    assert (video["protocol"], video["trimmed"]) == ("ava", False)
    assert video["video_map"]["0.5:0.95"] == 1.0


def test_the_files_can_be_evaluated_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Videos()
    report = run(tmp_path, monkeypatch, dataset, frozen=False)
    assert read_label_map(report.out / "classes.pbtxt") == {3: "walk", 7: "wave"}
    rows = read_detections(report.out / "detections.csv")
    assert rows.keyframes[:2] == (("clips/a", 0), ("clips/a", 1)), "the number of the frame"
    best = int(np.argmax(rows.boxes.score))
    assert rows.boxes.xyxy[best][3] == pytest.approx(80), "px, as the tubes have"
    assert set(rows.boxes.label.tolist()) == {3, 7}
    write_tubes(tmp_path / "truth.json", NAMES, dataset.tubes())
    assert len(read_found_tubes(report.out / "tubes.json.gz").tubes) == 2
    again = evaluate_files(
        FileOptions(detections=report.out / "tubes.json.gz", ground_truth=tmp_path / "truth.json"),
        ReportOptions(out=tmp_path / "again", plots=False),
    )
    assert again.content["video_map"] == report.content["video"]["video_map"]


def test_keyframes_at_whole_seconds_are_named_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(tmp_path, monkeypatch, Videos(by_second=True))
    assert "video" not in report.content
    rows = read_detections(report.out / "detections.csv")
    assert rows.keyframes[0] == ("clips/a", 900)
    assert rows.boxes.xyxy.max() <= 1.0
    first = (report.out / "detections.csv").read_text("utf-8").splitlines()[0]
    assert first.startswith("clips/a,0900,")


def test_a_frozen_clip_lies_where_it_lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run(tmp_path, monkeypatch, Videos(), frozen=True)
    assert report.content["video"]["video_map"]["0.5"] == 1.0


@pytest.mark.parametrize("truth", [True, False])
def test_frames_that_cannot_be_decoded_give_no_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, truth: bool
) -> None:
    lost = {0, 1, FRAMES + 22, FRAMES + 23}  # the first of a video, the last of the other

    class Torn(Videos):
        def __getitem__(self, index: int) -> ClipSample:
            if index in lost:
                raise CaptureError("damaged there")
            return super().__getitem__(index)

        def without_frames(self, index: int) -> ClipSample | None:
            return super().__getitem__(index) if truth else None

    report = run(tmp_path, monkeypatch, Torn(whole=True))
    assert report.content["undecodable_clips"] == 4
    found = read_detections(report.out / "detections.csv").keyframes
    assert set(found) == {
        ("clips/" + "ab"[i // FRAMES], i % FRAMES) for i in range(2 * FRAMES) if i not in lost
    }
    first, second = sorted(read_found_tubes(report.out / "tubes.json.gz").tubes,
                           key=lambda tube: tube.video)  # fmt: skip
    assert (first.frames[0], first.frames[-1]) == (2, FRAMES - 1)
    assert (second.frames[0], second.frames[-1]) == (0, 21)
    video = report.content["video"]
    assert video["video_map"]["0.75"] == 1.0
    assert video["video_map"]["0.5:0.95"] < 1.0, "the true tubes go on"
    assert (video["frame_map"] < 1.0) == truth
