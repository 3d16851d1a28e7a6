"""The benchmark of labels: its counting, and that it writes both files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.labelling import LabellingOptions, Tally, run
from runtime.errors import ConfigError
from tests.edge.blob_detector import SIDE, blob_detector


def test_one_box_is_one_hit() -> None:
    tally = Tally()
    truth = np.array([[0, 0, 10, 10], [20, 20, 30, 30.0]])
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [20, 20, 30, 28.0]])
    tally.add(boxes, np.array([0.9, 0.8, 0.7, 0.3]), truth)
    figures = tally.figures(0.5)
    assert figures["precision"] == pytest.approx(1 / 3)
    assert figures["recall"] == pytest.approx(1 / 2)
    # The second hit stands fourth: precision 1 for one half of the truth, 1/2 for the other.
    assert figures["ap50"] == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert figures["iou"] == pytest.approx(0.9)


def test_nothing_found_and_nothing_there() -> None:
    tally = Tally()
    tally.add(np.zeros((0, 4)), np.zeros(0), np.array([[0, 0, 1, 1.0]]))
    tally.add(np.array([[0, 0, 1, 1.0]]), np.array([0.9]), np.zeros((0, 4)))
    assert tally.figures(0.5)["recall"] == 0
    assert tally.figures(0.5)["precision"] == 0


def test_a_report_is_written(tmp_path: Path) -> None:
    detector = blob_detector(tmp_path / "d.onnx")
    (tmp_path / "real").mkdir()
    path = tmp_path / "real" / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 16.0, (SIDE, SIDE))
    image = np.full((SIDE, SIDE, 3), 10, np.uint8)
    image[8:32, 0:24] = 255
    for _ in range(16):
        writer.write(image)
    writer.release()
    options = LabellingOptions(detectors=(str(detector), str(detector)), num=1, small=0,
                               real=str(tmp_path / "real"), out=str(tmp_path / "out"))  # fmt: skip
    text = run(options)
    content = json.loads((tmp_path / "out" / "labelling.json").read_text())
    assert [row["from"] for row in content["world"]] == [
        "one look", "one look, tracks", "all looks", "all looks, tracks"
    ]  # fmt: skip
    assert content["real"]["tracks"] == [1, 1]
    assert "of which 100% lie over one of the other's" in text
    assert str(tmp_path) not in text


def test_real_clips_need_two_detectors() -> None:
    with pytest.raises(ConfigError, match="two --detectors"):
        LabellingOptions(detectors=("a.onnx",), real="clips")
