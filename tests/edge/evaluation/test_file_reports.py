"""Detections from files: tubes as JSON, AVA's rows against tubes, and a sentence for each fault."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.data.annotations import Tube
from edge.evaluation.file_reports import FileReport, evaluate_files
from edge.evaluation.options import FileOptions, ReportOptions
from edge.evaluation.tube_json import read_found_tubes, read_true_tubes, write_tubes
from edge.evaluation.video import FoundTube
from runtime.errors import ConfigError

NAMES = ("run", "sit")
BOX = [10, 10, 30, 50]


def found(first: int, count: int, *, video: str = "a", label: int = 0, score: float = 0.9,
          box: list[float] | None = None) -> FoundTube:  # fmt: skip
    return FoundTube(
        video=video, label=label, score=score, frames=np.arange(first, first + count),
        boxes=np.tile(np.float32(box or BOX), (count, 1)),
    )  # fmt: skip


def truth(first: int, count: int, **values: Any) -> Tube:
    tube = found(first, count, **values)
    return Tube(video=tube.video, label=tube.label, frames=tube.frames, boxes=tube.boxes)


@pytest.mark.parametrize("name", ["tubes.json", "tubes.json.gz"])
def test_tubes_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    gaps = FoundTube(
        video="ä b", label=1, score=-1.5, frames=np.array([3, 7]),
        boxes=np.float32([[0.1, 0.2, 1.3, 1.7], [1 / 3, 0, 1e4, 1]]),
    )  # fmt: skip
    tubes = [found(4, 3), gaps]
    write_tubes(tmp_path / name, NAMES, tubes)
    read = read_found_tubes(tmp_path / name)
    assert read.class_names == NAMES
    for a, b, scores in zip(tubes, read.tubes, read.scores, strict=True):
        assert (a.video, a.label, a.score) == (b.video, b.label, b.score)
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(scores, np.full(len(a), a.score, np.float32))
    assert len(read_true_tubes(tmp_path / name).tubes) == 2


def tube_json(**changes: Any) -> dict[str, Any]:
    row = {"video": "a", "label": "run", "score": 0.5, "first": 0, "boxes": [BOX, BOX], **changes}
    row = {key: value for key, value in row.items() if value is not ...}
    return {"class_names": list(NAMES), "tubes": [row]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param("{", "is no JSON file", id="broken"),
        pytest.param("[" * 100_000, "is no JSON file", id="deep"),
        pytest.param('{"class_names": ["a"], "tubes": [NaN]}', "NaN is no number", id="NaN"),
        pytest.param([], 'has no "class_names"', id="a list"),
        pytest.param({"class_names": ["a", "a"], "tubes": []}, "twice", id="a class twice"),
        pytest.param({"class_names": ["a"]}, 'has no "tubes"', id="no tubes"),
        pytest.param({"class_names": ["a"], "tubes": [3]}, "tube 0: 3", id="a number"),
        pytest.param(tube_json(video=7), "tube 0: video is 7", id="video"),
        pytest.param(tube_json(label="fly"), "label is 'fly'", id="label"),
        pytest.param(tube_json(label=2), "label is 2", id="label number"),
        pytest.param(tube_json(label=True), "label is True", id="label true"),
        pytest.param(tube_json(score=...), "score is None", id="no score"),
        pytest.param(tube_json(score="high"), "score is 'high'", id="score"),
        pytest.param(tube_json(score=10**400), "score is 1", id="a huge score"),
        pytest.param(tube_json(boxes=[]), "boxes is", id="no boxes"),
        pytest.param(tube_json(boxes=[[1, 2, 3]]), "boxes is", id="three corners"),
        pytest.param(tube_json(boxes=[[1, 2, 3, 1e300]]), "boxes is", id="a huge box"),
        pytest.param(tube_json(boxes=[BOX, [3, 2, 1, 5]]), "box 1 is", id="turned"),
        pytest.param(tube_json(first=-1), "its frames are", id="before the first"),
        pytest.param(tube_json(first=10**12), "its frames are", id="far away"),
        pytest.param(tube_json(first=0.5), "its frames are", id="half a frame"),
        pytest.param(tube_json(frames=[0, 1]), "either", id="first and frames"),
        pytest.param(tube_json(first=..., frames=[1, 1]), "2 frames for 2", id="not rising"),
        pytest.param(tube_json(first=..., frames=[1]), "1 frames for 2", id="too few"),
        pytest.param(tube_json(scores=[0.5]), "expected 2 numbers", id="scores"),
        pytest.param(tube_json(skore=1), "unknown key 'skore'", id="unknown"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / "tubes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence) as error:
        read_found_tubes(path)
    assert len(str(error.value)) < 400


def test_a_file_that_is_absent_or_cut_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_true_tubes(tmp_path / "absent.json")
    write_tubes(tmp_path / "t.json.gz", NAMES, [found(0, 50)])
    data = (tmp_path / "t.json.gz").read_bytes()
    (tmp_path / "t.json.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match=r"t\.json\.gz"):
        read_true_tubes(tmp_path / "t.json.gz")


REPORT_FLAGS = {"out", "plots", "overwrite", "protocol"}


def evaluate(tmp_path: Path, detections: str, ground_truth: str, **values: Any) -> FileReport:
    written = {"plots": False, "out": tmp_path / "out"}
    written |= {name: values.pop(name) for name in REPORT_FLAGS & values.keys()}
    options = FileOptions(
        detections=tmp_path / detections, ground_truth=tmp_path / ground_truth, **values
    )
    return evaluate_files(options, ReportOptions(**written))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two videos, three true tubes; a model that is half right."""
    write_tubes(
        tmp_path / "truth.json", NAMES,
        [truth(0, 20), truth(5, 10, label=1, box=[60, 10, 80, 50]), truth(0, 20, video="b")],
    )  # fmt: skip
    write_tubes(
        tmp_path / "found.json", ("sit", "run"),
        # The second class here is the first there. The tube in b has three quarters of the time.
        [found(0, 20, label=1), found(0, 15, video="b", label=1, score=0.8),
         found(5, 10, label=0, score=0.7)],
    )  # fmt: skip
    rows = [("a", t, *BOX, 1, 0.9) for t in range(20)]
    rows += [("b", t, *BOX, 1, 0.8) for t in range(15)]
    rows += [("a", t, *BOX, 2, 0.7) for t in range(5, 15)]
    with (tmp_path / "found.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return tmp_path


@pytest.mark.parametrize("detections", ["found.json", "found.csv"])
def test_tubes_and_rows_of_them_score_alike(files: Path, detections: str) -> None:
    report = evaluate(files, detections, "truth.json")
    content = report.content
    assert (content["protocol"], content["true_tubes"], content["found_tubes"]) == ("act", 3, 3)
    assert content["video_map"]["0.5"] == pytest.approx(0.5), "run: both; sit: in the wrong place"
    assert content["video_ap"]["run"]["0.75"] == 1.0
    assert content["video_ap"]["run"]["0.5:0.95"] == pytest.approx((6 + 4 * 0.5) / 10)
    assert content["ap"]["run"] == pytest.approx(35 / 40)
    assert content["by_protocol"]["ava"]["video_map"]["0.75"] == pytest.approx(0.25), "14 of 19"
    assert json.loads((files / "out" / "metrics.json").read_text("utf-8")) == content
    with (files / "out" / "per_class.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["class"] for row in table] == list(NAMES)
    assert table[0]["video-AP@0.5"] == "1.0000"
    assert any("| act " in line for line in report.lines())
    again = files / "out" / "tubes.json.gz"
    assert again.exists() == (detections == "found.csv")
    if again.exists():
        relinked = evaluate(files, "out/tubes.json.gz", "truth.json", out=files / "again")
        assert relinked.content["by_protocol"]["act"]["video_map"] == content["video_map"]


def test_frames_from_one_are_seen(files: Path) -> None:
    rows = (files / "found.csv").read_text("utf-8").splitlines()
    cells = [row.split(",") for row in rows]
    later = [",".join([c[0], str(int(c[1]) + 1), *c[2:]]) for c in cells]
    (files / "later.csv").write_text("\n".join(later), encoding="utf-8")
    expected = evaluate(files, "found.csv", "truth.json").content
    report = evaluate(files, "later.csv", "truth.json", overwrite=True)
    assert report.content["first_frame"] == 1
    assert report.content["by_protocol"] == expected["by_protocol"]
    assert any("counted from 1" in line for line in report.lines())
    told = evaluate(files, "later.csv", "truth.json", overwrite=True, first_frame=0)
    assert told.content["video_map"]["0.5:0.95"] < expected["video_map"]["0.5:0.95"]
    with pytest.raises(ConfigError, match=r"has frame 0 of [ab].*from 1"):
        evaluate(files, "found.csv", "truth.json", overwrite=True, first_frame=1)


def test_keyframes_are_scored_as_ava_does(files: Path) -> None:
    (files / "gt.csv").write_text("v,1,0,0,0.5,0.5,1\nv,2,0,0,0.5,0.5,2\n", encoding="utf-8")
    (files / "d.csv").write_text("v,1,0,0,0.5,0.5,1,0.9\nv,2,0,0,0.5,0.24,2,0.9\n", "utf-8")
    (files / "map.pbtxt").write_text(
        'item { name: "run" id: 1 } item { name: "sit" id: 2 }', encoding="utf-8"
    )
    report = evaluate(files, "d.csv", "gt.csv", label_map=files / "map.pbtxt")
    assert report.content["frame_map"] == 0.5
    assert report.content["ap"] == {"run": 1.0, "sit": 0.0}
    report = evaluate(files, "d.csv", "gt.csv", min_overlap=0.4, overwrite=True)
    assert report.content["ap"] == {"1": 1.0, "2": 1.0}
    (files / "skip.csv").write_text("v,2\n", encoding="utf-8")
    report = evaluate(files, "d.csv", "gt.csv", excluded=files / "skip.csv", overwrite=True)
    assert report.content["frame_map"] == 1.0


@pytest.mark.parametrize(
    ("detections", "ground_truth", "values", "sentence"),
    [
        pytest.param("found.json", "found.csv", {}, "give the truth as tubes", id="mixed"),
        pytest.param("small.csv", "truth.json", {}, "shares of the frame", id="shares"),
        pytest.param("three.csv", "truth.json", {}, "labels 3 to 3, expected 1 to 2", id="label"),
        pytest.param("other.json", "truth.json", {}, "says 'fly'", id="class"),
        pytest.param(
            "found.json", "truth.json", {"label_map": Path("x")}, "--label-map", id="label map"
        ),
        pytest.param(
            "found.json", "truth.json", {"min_overlap": 0.4}, "--min-overlap", id="overlap"
        ),
        pytest.param("found.json", "truth.json", {"min_overlap": 0.0}, "is 0.0", id="no overlap"),
        pytest.param("found.json", "truth.json", {"first_frame": 2}, "--first-frame", id="first"),
        pytest.param("found.json", "broken.pkl", {}, "no pickle that can be read", id="pickle"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    files: Path, detections: str, ground_truth: str, values: dict[str, Any], sentence: str
) -> None:
    (files / "small.csv").write_text("a,1,0,0,0.5,0.5,1,0.9\n", encoding="utf-8")
    (files / "three.csv").write_text("a,1,0,0,50,50,3,0.9\n", encoding="utf-8")
    (files / "broken.pkl").write_bytes(b"no pickle")
    write_tubes(files / "other.json", ("fly",), [found(0, 5)])
    with pytest.raises(ConfigError, match=sentence):
        evaluate(files, detections, ground_truth, **values)
    assert not (files / "out").exists()


def test_an_older_report_is_not_replaced_unasked(files: Path) -> None:
    evaluate(files, "found.csv", "truth.json")
    with pytest.raises(ConfigError, match="--overwrite"):
        evaluate(files, "found.json", "truth.json")
    evaluate(files, "found.json", "truth.json", overwrite=True)
    assert not (files / "out" / "tubes.json.gz").exists(), "of the older report"


def test_curves_are_drawn(files: Path) -> None:
    pytest.importorskip("matplotlib")
    evaluate(files, "found.csv", "truth.json", plots=True)
    image = cv2.imread(str(files / "out" / "precision_recall.png"))
    assert image is not None
    assert image.std() > 5


def test_jhmdbs_own_file_is_the_truth(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "annotations" / "jhmdb" / "JHMDB-GT.pkl"
    from edge.evaluation.tube_truth import read_truth

    real = read_truth(path, split=2)
    assert len(real.tubes) == 270
    with gzip.open(tmp_path / "rows.csv.gz", "wt", encoding="utf-8") as stream:
        for tube in real.tubes:
            for frame, box in zip(tube.frames, tube.boxes, strict=True):
                corners = ",".join(f"{v:g}" for v in box)
                stream.write(f"{tube.video},{frame + 1},{corners},{tube.label + 1},0.5\n")
    options = FileOptions(detections=tmp_path / "rows.csv.gz", ground_truth=path, split=2)
    content = evaluate_files(options, ReportOptions(out=tmp_path / "out", plots=False)).content
    assert content["frame_map"] == 1.0
    assert content["video_map"] == {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0, "0.5:0.95": 1.0}
    with pytest.raises(ConfigError, match="splits 1 to 3, not 4"):
        read_truth(path, split=4)


def test_a_published_file_measured_against_itself_is_perfect(
    shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "annotations" / "jhmdb" / "JHMDB-GT.pkl"
    options = FileOptions(detections=path, ground_truth=path, split=2)
    content = evaluate_files(options, ReportOptions(out=tmp_path / "out", plots=False)).content
    assert (content["true_tubes"], content["found_tubes"]) == (270, 270)
    assert content["frame_map"] == 1.0
    assert content["video_map"] == {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0, "0.5:0.95": 1.0}
