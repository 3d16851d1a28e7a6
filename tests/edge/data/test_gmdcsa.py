"""GMDCSA24: times written by hand, boxes of a detector, and what is not known when."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from edge.data.timed_actions import CLASSES, WORDS, understand
from runtime.errors import ConfigError
from runtime.options import EXIT_FAILED, EXIT_OK
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=2, height=32, width=32, sampling_rate=2, fps=20.0)
FPS = 20.0
HEADER = "File Name,Length (seconds),Time of Recording,Attire,Description, Classes\n"


@pytest.mark.parametrize(
    ("text", "spans", "left_open"),
    [
        pytest.param("Falling (SW)[3.4 to 6]; Sitting[0 to 3.4]",
                     [("fall", 3.4, 6), ("sitting", 0, 3.4)], set(), id="plain"),
        pytest.param(" Fall (FW)[2.6 to 6]; Standing [1.3 to 2.2]:;",
                     [("fall", 2.6, 6), ("standing", 1.3, 2.2)], set(), id="another word"),
        pytest.param("Falling (BW[5.9 to 10]; Walking[0 to 1.3]",
                     [("fall", 5.9, 10), ("walk", 0, 1.3)], set(), id="no bracket behind the way"),
        pytest.param("Standing[2.4 to 3.6; 6.6 to 7.9; Walking[3.6 to 5.2]",
                     [("standing", 2.4, 3.6), ("standing", 6.6, 7.9), ("walk", 3.6, 5.2)], set(),
                     id="no bracket behind the times"),
        pytest.param("Eating[0.9 4.6]; Falling (FW) [ 8 to 15]",
                     [("eating", 0.9, 4.6), ("fall", 8, 15)], set(), id="no to"),
        pytest.param("Reading; Sleeping[0 to 2]", [("lying", 0, 2)], {"reading"}, id="no time"),
        pytest.param("Sitting[9.7 to 3]; Walking[0 to 1]", [("walk", 0, 1)], {"sitting"},
                     id="backwards"),
        pytest.param("Falling (FW); Sitting[0 to 1.7]", [("sitting", 0, 1.7)], {"fall"},
                     id="a fall without a time"),
    ],
)  # fmt: skip
def test_what_was_written_by_hand(
    text: str, spans: list[tuple[str, float, float]], left_open: set[str]
) -> None:
    actions = understand(text)
    assert actions.spans == spans
    assert actions.open == left_open
    assert bool(actions.odd) == bool(left_open)


def test_an_action_that_nobody_knows_is_told() -> None:
    assert understand("Juggling[0 to 3]").odd == ["the action 'Juggling'"]


def known(text: str, time_s: float) -> dict[str, str]:
    """Return 1, 0 or ? for each class at a time."""
    done, known = understand(text).at(time_s)
    return {
        name: str(int(name in done)) if said else "?"
        for name, said in zip(CLASSES, known.tolist(), strict=True)
    }


def test_who_falls_falls_for_two_seconds_and_then_nobody_knows() -> None:
    text = "Falling (BW)[3 to 9]; Standing[0 to 2.5]; Drinking[1 to 2]"
    standing = known(text, 1.5)
    assert {n for n, k in standing.items() if k == "1"} == {"person", "standing", "drinking"}
    assert standing["fall"] == standing["walk"] == standing["lying"] == "0"
    between = known(text, 2.8)
    assert between.pop("person") == "1"
    assert set(between.values()) == {"?"}
    falling, fallen = known(text, 4.9), known(text, 5.2)
    assert (falling["fall"], fallen["fall"]) == ("1", "?")
    assert falling["walk"] == fallen["walk"] == "0"
    assert falling["lying"] == fallen["lying"] == falling["sitting"] == "?"
    # A second fall begins anew.
    twice = "Falling (BW)[2 to 4]; Falling (SW)[4 to 11]"
    assert [known(twice, t)["fall"] for t in (3.9, 5.9, 6.1)] == ["1", "1", "?"]


def test_an_action_without_a_time_is_known_nowhere() -> None:
    assert known("Falling (FW); Sitting[0 to 1.7]", 1.0)["fall"] == "?"
    assert known("Reading; Sitting[0 to 8]", 1.0)["reading"] == "?"
    assert known("Reading[0 to 2]", 1.0)["fall"] == "?"  # no posture is said


def write_video(path: Path, seconds: float) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    for _ in range(round(seconds * FPS)):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()


def rows(video: str, person: int, start: float, stop: float, left: float) -> list[str]:
    times = np.arange(start, stop, 0.5)
    return [f"{video},{t:g},{left},0.2,{left + 0.2},0.9,1,{person}" for t in times]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "gmdcsa24"
    (root / "labelled").mkdir(parents=True)
    for subject in (1, 2):
        (root / f"Subject_{subject}_Fall.csv").write_text(
            HEADER + "01.mp4,05,Day,Shirt,Standing then falling, Falling (SW)[2 to 5]; "
            "Standing[0 to 2]\n02.mp4,09,Day,Shirt,Not here, Sitting[0 to 9]"
        )
        write_video(root / f"Subject_{subject}_Fall_01.avi", 5.0)
    (root / "Subject_1_ADL.csv").write_text(HEADER + "07.mp4,03,Day,Shirt,Odd, Reading\n")
    write_video(root / "Subject_1_ADL_07.avi", 3.0)
    lines = [
        # A chair, taken for a person; and two tracks of the one person.
        *rows("Subject_1_Fall_01", 0, 1.0, 4.0, 0.7),
        *rows("Subject_1_Fall_01", 1, 0.0, 3.5, 0.1),
        *rows("Subject_1_Fall_01", 2, 3.5, 5.0, 0.15),
        *rows("Subject_2_Fall_01", 0, 0.0, 1.0, 0.4),
        "Subject_2_Fall_01,1,,,,,",
        *rows("Subject_1_ADL_07", 0, 0.0, 1.0, 0.3),
    ]
    (root / "labelled" / "annotations.csv").write_text("\n".join(lines) + "\n")
    return root


def seen(sample: ClipSample) -> tuple[float, list[str]]:
    assert len(sample.boxes) == 1
    names = [CLASSES[i] for i in np.flatnonzero(sample.labels[0])]
    return round(float(sample.boxes[0, 0]), 2), names


def test_one_person_of_each_video_and_nothing_where_nobody_is_found(data: Path) -> None:
    clips = open_dataset(f"gmdcsa24:{data}:{data / 'labelled'}", SHAPE)
    assert clips.class_names == CLASSES
    assert set(WORDS.values()) < set(CLASSES)
    assert len(clips) == 2 + 10 + 2
    by_name = {clips[i].clip_id: clips[i] for i in range(len(clips))}
    assert seen(by_name["Subject_1_Fall_01/000001.500"]) == (0.1, ["person", "standing"])
    assert seen(by_name["Subject_1_Fall_01/000003.000"]) == (0.1, ["person", "fall"])
    assert seen(by_name["Subject_1_Fall_01/000004.500"]) == (0.15, ["person"])
    assert seen(by_name["Subject_1_ADL_07/000000.500"]) == (0.3, ["person"])
    fallen = by_name["Subject_1_Fall_01/000004.500"]
    assert fallen.label_mask.shape == (1, len(CLASSES))
    assert not fallen.label_mask[0, CLASSES.index("fall")]
    assert (fallen.bag_id == -1).all()
    assert not fallen.ignore.any()


def test_some_subjects_alone(data: Path) -> None:
    spec = f"gmdcsa24:{data}:{data / 'labelled'}"
    assert len(open_dataset(f"{spec}:subject2", SHAPE)) == 2
    assert len(open_dataset(f"{spec}:subject1:subject2", SHAPE)) == 14
    with pytest.raises(ConfigError, match="no clip that can be used"):
        open_dataset(f"{spec}:subject4", SHAPE)
    with pytest.raises(ConfigError, match="'subject5' is no part of it"):
        open_dataset(f"{spec}:subject1:subject5", SHAPE)


def test_boxes_may_lie_in_the_folder_and_must_lie_somewhere(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"edge label --source .* then gmdcsa24:"):
        open_dataset(f"gmdcsa24:{data}", SHAPE)
    shutil.copy(data / "labelled" / "annotations.csv", data)
    assert len(open_dataset(f"gmdcsa24:{data}", SHAPE)) == 14
    with pytest.raises(ConfigError, match="is not there, expected a folder that edge label wrote"):
        open_dataset(f"gmdcsa24:{data}:absent", SHAPE)


def test_check_tells_what_is_odd(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = f"gmdcsa24:{data}:{data / 'labelled'}"
    assert main(["data", "check", spec, "--decode"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "Subject_1_ADL_07: Reading without a time; when is not known" in out
    assert "note: 6 boxes beside the one person are left out" in out
    assert "| fall       | 5" in out
    (data / "Subject_1_ADL_07.avi").unlink()
    assert main(["data", "check", spec]) == EXIT_FAILED


def test_the_published_tables_are_understood(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "gmdcsa24"
    if not root.is_dir():
        pytest.skip("GMDCSA24 is not among the reference data")
    table = tmp_path / "annotations.csv"
    table.write_text("\n".join(rows("Subject_2_Fall_12", 0, 0.0, 12.0, 0.3)) + "\n")
    clips = open_dataset(f"gmdcsa24:{root}:{table}", SHAPE)
    said = [seen(clips.without_frames(i))[1] for i in range(len(clips))]  # type: ignore[attr-defined]
    assert said[0] == ["person", "walk"]
    assert said[8] == ["person", "standing", "drinking"]
    assert said[14] == ["person", "fall"]
    assert said[20] == ["person"]
