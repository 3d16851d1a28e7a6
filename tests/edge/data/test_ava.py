"""AVA as it is downloaded: 60 classes of 80, whole seconds of movies, excluded time stamps."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.ava import open_ava, read_classes
from edge.data.ava_files import read_ground_truth
from edge.data.check import check_data
from edge.data.problems import DataReport, ProblemList
from edge.data.registry import open_dataset
from edge.data.table import TableRules, read_table
from runtime.errors import ConfigError
from runtime.options import EXIT_FAILED, EXIT_OK
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=3, height=32, width=32, sampling_rate=15, fps=30.0)
LABELS = "ava_action_list_v2.2_for_activitynet_2019.pbtxt"

ROWS = """\
movie,0902,0.1,0.1,0.5,0.9,12,0
movie,0902,0.1,0.1,0.5,0.9,17,0
movie,0902,0.1,0.1,0.5,0.9,12,1
movie,0902,0.6,0.1,0.9,0.9,2,2
movie,0903,0.1,0.1,0.5,0.9,80,0
pictures,0902,0.1,0.1,0.5,0.9,80,0
absent,0902,0.1,0.1,0.5,0.9,80,0
absent,0903,0.1,0.1,0.5,0.9,80,0
"""


@pytest.fixture
def ava(tmp_path: Path) -> Path:
    """Return a small AVA: a cut video and pictures, both from second 900 on."""
    root = tmp_path / "ava"
    (root / "annotations").mkdir(parents=True)
    (root / "videos").mkdir()
    writer = cv2.VideoWriter(
        str(root / "videos" / "movie.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48)
    )
    for index in range(60):
        writer.write(np.full((48, 64, 3), 4 * index, np.uint8))
    writer.release()
    folder = root / "frames" / "pictures"
    folder.mkdir(parents=True)
    for index in range(91):
        picture = np.full((24, 32, 3), 2 * index, np.uint8)
        cv2.imwrite(str(folder / f"pictures_{index + 1:06d}.png"), picture)
    items = "".join(f'item {{ name: "action {i}" id: {i} }}\n' for i in (12, 17, 80))
    (root / "annotations" / LABELS).write_text(items)
    for part in ("train", "val"):
        (root / "annotations" / f"ava_{part}_v2.2.csv").write_text(ROWS)
    (root / "annotations" / "ava_val_excluded_timestamps_v2.2.csv").write_text("movie,0903\n")
    return root


def test_people_of_a_keyframe_have_all_their_actions(ava: Path) -> None:
    clips = open_dataset(f"ava:{ava}:train", SHAPE)
    assert clips.class_names == ("action 12", "action 17", "action 80")
    assert clips.label_ids == (12, 17, 80)
    first = clips[0]
    # Two people in the same box, told apart by their number.
    np.testing.assert_allclose(first.boxes, [[0.1, 0.1, 0.5, 0.9]] * 2)
    assert first.labels.tolist() == [[1, 1, 0], [1, 0, 0]]
    # Label 2 is one of the 20 classes that are not evaluated.
    np.testing.assert_allclose(first.inactive_persons, [[0.6, 0.1, 0.9, 0.9]])
    places = [clips.where(index) for index in range(len(clips))]
    assert [(p.video, p.frame, p.timestamp) for p in places if p is not None] == [
        ("movie", 20, 902.0),
        ("movie", 30, 903.0),
        ("pictures", 60, 902.0),
    ]


def test_seconds_count_from_900_where_the_movie_is_cut(ava: Path) -> None:
    clips = open_dataset(f"ava:{ava}:train", SHAPE)
    assert [round(float(p.mean()) / 4) for p in clips[0].frames_rgb] == [15, 20, 25]
    assert [round(float(p.mean()) / 2) for p in clips[2].frames_rgb] == [45, 60, 75]


def test_excluded_time_stamps_and_missing_movies_are_left_out_and_said(
    ava: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = open_dataset(f"ava:{ava}", SHAPE)
    seen = [clips.where(index) for index in range(len(clips))]
    assert [p.timestamp for p in seen if p is not None] == [902.0, 902.0]
    assert "left out are 1 video, with 2 clips" in caplog.text
    report = DataReport(name="ava")
    open_ava(ava, SHAPE, report, part="val", strict=True)
    assert any("1 time stamps are excluded" in note for note in report.notes)
    assert any("no list of included time stamps" in note for note in report.notes)


def test_seconds_that_were_looked_at_count_though_nobody_is_in_them(ava: Path) -> None:
    included = ava / "annotations" / "ava_included_timestamps_v2.2.txt"
    included.write_text("0902\n0903\n0904\n")
    clips = open_dataset(f"ava:{ava}:val", SHAPE)
    places = [clips.where(index) for index in range(len(clips))]
    assert [(p.video, p.timestamp) for p in places if p is not None] == [
        ("movie", 902.0), ("movie", 904.0), ("pictures", 902.0), ("pictures", 903.0),
    ]  # fmt: skip
    assert len(clips[1].boxes) == len(clips[1].inactive_persons) == 0
    assert len(open_dataset(f"ava:{ava}:train", SHAPE)) == 3


def test_the_newest_version_is_taken_and_old_forms_are_read(ava: Path) -> None:
    folder = ava / "annotations"
    (folder / "ava_train_v2.1.csv").write_text("movie,0902,0.1,0.1,0.5,0.9,80,0\n")
    assert len(open_dataset(f"ava:{ava}:train", SHAPE)) == 3
    (folder / "ava_test_v1.0.tsv").write_text("movie\t902\t0.1\t0.1\t0.5\t0.9\t80\n")
    assert open_dataset(f"ava:{ava}:test", SHAPE)[0].labels.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        pytest.param("movie,0902.5,0.1,0.1,0.5,0.9,80,0", "whole seconds", id="fraction"),
        pytest.param("movie,0902,0.1,0.1,0.5,0.9,81,0", "from 1 to 80", id="label"),
        pytest.param("movie,0902,0.1,0.1,0.5,0.9,,0", "no label", id="no-label"),
    ],
)
def test_wrong_rows_are_named(
    ava: Path, row: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (ava / "annotations" / "ava_train_v2.2.csv").open("a") as table:
        table.write(row + "\n")
    with pytest.raises(ConfigError, match=f"row 9.*{says}"):
        open_dataset(f"ava:{ava}:train", SHAPE)
    assert main(["data", "check", f"ava:{ava}:train"]) == EXIT_FAILED
    assert says in capsys.readouterr().out


def test_a_whole_ava_is_checked_part_by_part(ava: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = check_data(f"ava:{ava}")
    assert [report.name.split()[-1] for report in reports] == ["train", "val"]
    assert [len(report.skipped) for report in reports] == [1, 1]
    for part in ("train", "val"):
        path = ava / "annotations" / f"ava_{part}_v2.2.csv"
        path.write_text("".join(line for line in ROWS.splitlines(True) if "absent" not in line))
    assert main(["data", "check", f"ava:{ava}"]) == EXIT_OK
    assert "| action 12 | 2 " in capsys.readouterr().out


def test_the_published_files_are_read(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "annotations" / "ava"
    classes = read_classes([folder])
    assert len(classes) == 60
    assert min(classes) == 1
    assert max(classes) == 80
    path = folder / "ava_test_v1.0.tsv.gz"
    problems = ProblemList()
    rows = read_table(path, TableRules(num_labels=80, whole_seconds=True), problems)
    assert (len(rows), len(rows.videos), len(problems)) == (41425, 38, 0)
    assert main(["data", "check", str(path)]) == EXIT_OK
    # The same rows as the evaluator's own reader gives, who takes commas only.
    plain = tmp_path / "test.csv"
    lines = [",".join([rows.videos[v], f"{t:g}", *map(str, b), str(label)]) for v, t, b, label in
             zip(rows.video, rows.timestamp, rows.boxes, rows.label, strict=True)]  # fmt: skip
    plain.write_text("\n".join(lines))
    truth = read_ground_truth(plain)
    assert len(truth.boxes) == 41425
    assert len(truth.keyframes) == len(set(zip(rows.video, rows.timestamp, strict=True)))


def test_published_labels_give_60_classes_and_excluded_seconds(
    ava: Path, shared_data: Path
) -> None:
    for name in (LABELS, "ava_val_excluded_timestamps_v2.2.csv"):
        shutil.copyfile(shared_data / "annotations" / "ava" / name, ava / "annotations" / name)
    shutil.copyfile(shared_data / "annotations" / "ava" / "ava_included_timestamps_v2.2.txt",
                    ava / "annotations" / "ava_included_timestamps_v2.2.txt")  # fmt: skip
    report = DataReport(name="ava")
    clips = open_ava(ava, SHAPE, report, part="val", strict=True)
    assert len(clips.class_names) == len(clips.label_ids) == 60
    assert clips.class_names[0] == "bend/bow (at the waist)"
    # The cut video lasts 6 s and the pictures 3 s: what lies behind is left out, and counted.
    assert report.keyframes + report.lost_keyframes == 3 * 897
    assert report.keyframes == 5 + 2
