"""AVA's files: published answers from published files, and a sentence for each wrong row."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from edge.data.annotations import BoxTable
from edge.data.ava_files import (
    AvaRows,
    read_detections,
    read_excluded,
    read_ground_truth,
    read_label_map,
    write_label_map,
    write_rows,
)
from edge.evaluation.ava import evaluate_ava
from runtime.errors import ConfigError


def published(path: Path) -> dict[int, float]:
    with path.open(encoding="utf-8") as stream:
        return {int(row["action_id"]): float(row["ap50"]) for row in csv.DictReader(stream)}


def test_i3d_on_har_in_space_scores_as_published(shared_data: Path) -> None:
    folder = shared_data / "evaluator" / "har_in_space"
    metrics = evaluate_ava(
        read_detections(folder / "I3D_8x8_R50.detections.csv.gz"),
        read_ground_truth(folder / "ground_truth.csv.gz"),
    )
    assert metrics.mean_ap == pytest.approx(0.46409, abs=1e-5)
    for label, ap in published(folder / "I3D_8x8_R50.ap_per_class.csv").items():
        assert metrics.ap[label] == pytest.approx(ap, abs=1e-4, nan_ok=True), label


@pytest.mark.parametrize("ties", ["fixed", "spread"])
def test_many_tied_scores_stay_inside_their_bounds_in_any_order(
    shared_data: Path, ties: str, tmp_path: Path
) -> None:
    folder = shared_data / "evaluator" / "har_in_space"
    truth = read_ground_truth(folder / "ground_truth.csv.gz")
    path = folder / "MVIT_B_16x4.detections.csv.gz"
    metrics = evaluate_ava(read_detections(path), truth, ties=ties)
    assert 0.1214 < metrics.mean_ap < 0.1896
    assert metrics.tie_bounds == (pytest.approx(0.1214, abs=1e-4), pytest.approx(0.1896, abs=1e-4))
    low, high = metrics.ap_least, metrics.ap_most
    for label, ap in published(folder / "MVIT_B_16x4.ap_per_class.csv").items():
        assert np.isnan(ap) or low[label] - 1e-5 <= ap <= high[label] + 1e-5

    with gzip.open(path, "rt", encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    np.random.default_rng(0).shuffle(lines)
    (tmp_path / "shuffled.csv").write_text("\n".join(lines), encoding="utf-8")
    again = evaluate_ava(read_detections(tmp_path / "shuffled.csv"), truth, ties=ties)
    np.testing.assert_array_equal(metrics.ap, again.ap)


def test_loose_boxes_score_as_mmaction2_says(shared_data: Path) -> None:
    folder = shared_data / "evaluator" / "mmaction2"
    classes = read_label_map(folder / "action_list.txt")
    assert classes == {1: "action1", 2: "action2", 3: "action3"}
    metrics = evaluate_ava(
        read_detections(folder / "pred.csv"),
        read_ground_truth(folder / "gt.csv"),
        label_map=classes,
    )
    assert metrics.mean_ap == pytest.approx(0.09385522, abs=1e-5)


def test_real_label_maps_and_exclusions_are_read(shared_data: Path) -> None:
    folder = shared_data / "annotations" / "ava"
    evaluated = read_label_map(folder / "ava_action_list_v2.2_for_activitynet_2019.pbtxt")
    everything = read_label_map(folder / "ava_action_list_v2.2.pbtxt")
    assert (len(evaluated), len(everything)) == (60, 80)
    assert evaluated[80] == "watch (a person)"
    assert set(evaluated) < set(everything)
    excluded = read_excluded(folder / "ava_val_excluded_timestamps_v2.2.csv")
    assert ("5BDj0ow5hnA", 1038) in excluded


def lines(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_excluded_keyframes_and_other_labels_do_not_count(tmp_path: Path) -> None:
    truth = read_ground_truth(
        lines(tmp_path / "gt.csv", "a,1,0,0,1,1,1,7", "a,2,0,0,1,1,1,7", "a,1,0,0,1,1,5,7")
    )
    found = read_detections(
        lines(tmp_path / "d.csv", "a,0002,0,0,1,1,2,1.0", "a,0001,0,0,1,1,1,0.5")
    )
    assert evaluate_ava(found, truth, label_map=[1]).mean_ap == 0.5
    assert evaluate_ava(found, truth, label_map=[1], excluded={("a", 2)}).mean_ap == 1.0
    everything = evaluate_ava(found, truth)
    assert everything.ap[[1, 5]].tolist() == [0.5, 0.0], "labels without truth do not count"
    assert np.isnan(everything.ap[2])


def test_a_keyframe_with_nobody_in_it_is_known_but_has_no_boxes(tmp_path: Path) -> None:
    rows = read_ground_truth(lines(tmp_path / "gt.csv", "b,3,,,,,,", "a,1,0,0,1,1,1", "", "a,9"))
    assert rows.keyframes == (("a", 1), ("a", 9), ("b", 3))
    assert rows.boxes.frame.tolist() == [0]


GOOD = "a,0001,0.1,0.1,0.5,0.5,3,0.9"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        pytest.param("a,0001,0.1,0.1,0.5,0.5,3", "7 columns, expected video,", id="no score"),
        pytest.param(GOOD + ",1", "9 columns", id="too many columns"),
        pytest.param("a,x,0.1,0.1,0.5,0.5,3,0.9", "timestamp is 'x'", id="timestamp"),
        pytest.param("a,1.5,0.1,0.1,0.5,0.5,3,0.9", "expected whole seconds", id="half a second"),
        pytest.param("a,1,0.1,left,0.5,0.5,3,0.9", "y1 is 'left'", id="word for a number"),
        pytest.param("a,1,0.1,0.1,0.5,nan,3,0.9", "y2 is 'nan'", id="NaN"),
        pytest.param("a,1,0.1,0.1,0.5,0.5,3,inf", "score is 'inf'", id="infinite score"),
        pytest.param("a,1,0.5,0.1,0.1,0.5,3,0.9", "ends before it begins", id="corners swapped"),
        pytest.param("a,1,0.1,0.1,0.5,0.5,3.5,0.9", "label is 3.5", id="half a label"),
        pytest.param("a,1,0.1,0.1,0.5,0.5,-1,0.9", "label is -1", id="negative label"),
        pytest.param("a,1,0.1,0.1,0.5,0.5,9e9,0.9", "label is 9e9", id="huge label"),
        pytest.param("a", "1 columns", id="one column"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, sentence: str) -> None:
    path = lines(tmp_path / "d.csv", GOOD, "", row, GOOD)
    with pytest.raises(ConfigError) as caught:
        read_detections(path)
    assert sentence in str(caught.value)
    assert f"{path}, line 3:" in str(caught.value)


def test_a_header_is_named_as_such(tmp_path: Path) -> None:
    path = lines(tmp_path / "d.csv", "video_id,frame_timestamp,x1,y1,x2,y2,action_id,score", GOOD)
    with pytest.raises(ConfigError, match="no header"):
        read_detections(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("absent.csv", None, id="absent"),
        pytest.param("d.csv", b"\xff\xfe\x00,1", id="not UTF-8"),
        pytest.param("d.csv.gz", b"not gzip", id="not gzip"),
        pytest.param("d.csv.gz", gzip.compress(GOOD.encode())[:-9], id="cut off"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_detections(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "holds no classes", id="empty"),
        pytest.param('item { name: "a" }', "without name and id", id="no id"),
        pytest.param('item { name: "a" id: 1 } item { name: "b" id: 1 }', "twice", id="twice"),
        pytest.param('item { name: "a" id: 999999999 }', "above", id="huge"),
    ],
)
def test_a_label_map_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_label_map(lines(tmp_path / "map.pbtxt", text))


def test_pixels_against_shares_are_refused(tmp_path: Path) -> None:
    truth = read_ground_truth(lines(tmp_path / "gt.csv", "a,1,0.1,0.1,0.5,0.5,1"))
    found = read_detections(lines(tmp_path / "d.csv", "a,1,10,10,50,50,1,0.9"))
    with pytest.raises(ConfigError, match="one file holds pixels"):
        evaluate_ava(found, truth)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    corner = random.random((50, 2)).astype(np.float32)
    boxes = BoxTable(
        frame=random.integers(0, 3, 50),
        label=random.integers(1, 4, 50),
        xyxy=np.concatenate([corner, corner + np.float32(0.25)], axis=1).astype(np.float64),
        score=random.random(50).astype(np.float32).astype(np.float64),
    )
    keyframes = (("a", 0), ("b, with a comma", 7), ('c "quoted"', 12))
    write_rows(tmp_path / "d.csv", keyframes, boxes)
    back = read_detections(tmp_path / "d.csv")
    assert back.keyframes == keyframes
    for name in ("frame", "label"):
        np.testing.assert_array_equal(getattr(back.boxes, name), getattr(boxes, name))
    np.testing.assert_array_equal(back.boxes.xyxy.astype(np.float32), boxes.xyxy.astype(np.float32))
    assert back.boxes.score is not None
    np.testing.assert_array_equal(back.boxes.score.astype(np.float32), boxes.score)
    truth = BoxTable(frame=boxes.frame, label=boxes.label, xyxy=boxes.xyxy)
    write_rows(tmp_path / "gt.csv", keyframes, truth)
    assert isinstance(read_ground_truth(tmp_path / "gt.csv"), AvaRows)
    write_label_map(tmp_path / "map.pbtxt", ["walk", "wave", 'say "hi"'])
    assert read_label_map(tmp_path / "map.pbtxt") == {1: "walk", 2: "wave", 3: "say 'hi'"}
