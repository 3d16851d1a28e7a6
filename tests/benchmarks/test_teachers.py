"""The benchmark of teachers: real actors, drawn people, and that it writes both files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.teachers import PLANS, TeacherOptions, run
from edge.data.problems import ProblemList
from edge.data.tube_files import read_tube_file
from runtime.errors import ConfigError
from tests.edge.blob_detector import constant_movenet
from tests.edge.data.test_tube_clips import gt_content, write_frames, write_gt
from tests.edge.labelling.test_labelling import movenet_maps


def test_actors_and_drawn_people_are_counted(tmp_path: Path) -> None:
    root = tmp_path / "jhmdb"
    path = write_gt(root, gt_content())
    for name, truth in read_tube_file(path, ProblemList()).videos.items():
        write_frames(root / "Frames" / name, list(truth.tubes), 12)
    maps = movenet_maps()
    # One person, 8 by 13 of 16 cells: where the annotation has the actor of the first frame.
    maps["center_0"][:] = -9.0
    maps["center_0"][0, 0, 8, 6] = 2.0
    maps["box_scale_0"][0, :, 8, 6] = [13.3, 8]
    maps["box_offset_0"][:] = 0
    detector = constant_movenet(tmp_path / "d.onnx", maps, 64)
    options = TeacherOptions(detectors=(str(detector),), data=f"jhmdb:{root}:train", frames=6,
                             num=2, out=str(tmp_path / "out"))  # fmt: skip
    text = run(options)
    rows = json.loads((tmp_path / "out" / "teachers.json").read_text())["rows"]
    assert [row["looks"] for row in rows] == [*PLANS] * 2
    real = rows[0]
    assert (real["set"], real["pictures"], real["people"]) == ("real actors", 6, 6)
    assert (real["recall_any"], real["recall"], real["precision"]) == (1, 1, 1)
    assert real["best_iou"] > 0.85
    assert real["boxes"] == 1
    assert rows[3]["set"] == "drawn, everyone"
    assert rows[3]["people"] >= 2
    assert "real actors: 6 pictures, 6 people" in text
    assert "--data jhmdb:FOLDER:train --frames 6 --num 2" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        pytest.param({"num": 0}, "leaves nothing", id="nothing"),
        pytest.param({"frames": 0}, "--frames is 0", id="frames"),
        pytest.param({"conf": 2.0}, "--conf is 2", id="conf"),
    ],
)
def test_wrong_flags_are_refused(flags: dict[str, float], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        TeacherOptions(detectors=("a.onnx",), **flags)  # type: ignore[arg-type]


def test_clips_without_videos_are_refused(tmp_path: Path) -> None:
    detector = constant_movenet(tmp_path / "d.onnx", movenet_maps(), 64)
    with pytest.raises(ConfigError, match="lie in no video"):
        run(TeacherOptions(detectors=(str(detector),), data="synthetic-val:1", num=0))
