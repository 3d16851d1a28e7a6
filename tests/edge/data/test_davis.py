"""DAVIS: boxes of people, boxes that are of more than a person, and crowds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.annotations import ClipPlace
from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from runtime.errors import ConfigError
from runtime.options import EXIT_FAILED, EXIT_OK
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=3, height=32, width=32, sampling_rate=2, fps=24.0)
HEADER = "video,frame,x1,y1,x2,y2,label,box_covers\n"


def rows(video: str, covers: str, count: int = 4) -> str:
    return "".join(
        f"{video},{i:05d},0.{i + 1},0.2,0.{i + 4},0.9,runs,{covers}\n" for i in range(count)
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("parkour", "bmx-trees", "breakdance", "motocross-jump"):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"),
                                 24.0, (64, 48))  # fmt: skip
        for index in range(4):
            writer.write(np.full((48, 64, 3), 40 * index, np.uint8))
        writer.release()
    (tmp_path / "boxes.csv").write_text(
        HEADER + rows("parkour", "person", 5) + rows("bmx-trees", "person+bike")
        + rows("breakdance", "person") + rows("motocross-jump", "person+motorbike")
    )  # fmt: skip
    return tmp_path


def test_a_person_alone_acts_and_a_person_with_a_bike_is_ignored(data: Path) -> None:
    clips = open_dataset(f"davis:{data}", SHAPE)
    assert clips.class_names == ("person",)
    samples: dict[str, ClipSample] = {clips[i].clip_id: clips[i] for i in range(len(clips))}
    assert len(samples) == 12  # frame 4 of parkour is not in the video, motocross-jump is left out
    runs = samples["parkour/000002"]
    assert np.allclose(runs.boxes, [[0.3, 0.2, 0.6, 0.9]])
    assert runs.labels.tolist() == [[1.0]]
    assert len(runs.ignored) == 0
    assert clips.where(10) == ClipPlace(video="parkour", frame=2, timestamp=2 / 24)
    assert abs(int(runs.frames_rgb[1, 0, 0, 0]) - 80) < 8
    rides = samples["bmx-trees/000001"]
    assert len(rides.boxes) == 0
    assert np.allclose(rides.ignored, [[0.2, 0.2, 0.5, 0.9]])


def test_where_a_crowd_looks_on_all_else_is_ignored(data: Path) -> None:
    clips = open_dataset(f"davis:{data}", SHAPE, part="train")
    dances = next(s for s in (clips[i] for i in range(len(clips))) if "breakdance" in s.clip_id)
    assert len(dances.boxes) == 1
    assert dances.ignored.tolist() == [[0, 0, 1, 1]]


def test_check_knows_it(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", f"davis:{data}", "--decode"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "| person | 8" in out
    assert "motocross-jump is left out" in out
    (data / "parkour.avi").unlink()
    assert main(["data", "check", f"davis:{data}"]) == EXIT_FAILED


@pytest.mark.parametrize(
    ("line", "match"),
    [
        pytest.param("parkour,1,0.1,0.2,0.3,0.4,runs", "7 columns; expected video,frame", id="few"),
        pytest.param("parkour,one,0.1,0.2,0.3,0.4,runs,person", "frame 'one'", id="frame"),
        pytest.param("parkour,1,100,0.2,0.3,0.4,runs,person", "pixels are to be", id="pixels"),
        pytest.param(",1,0.1,0.2,0.3,0.4,runs,person", "no video", id="video"),
    ],
)
def test_a_wrong_row_is_one_sentence(data: Path, line: str, match: str) -> None:
    (data / "boxes.csv").write_text(HEADER + rows("parkour", "person") + line + "\n")
    with pytest.raises(ConfigError, match=match):
        open_dataset(f"davis:{data}", SHAPE)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no boxes\.csv"):
        open_dataset(f"davis:{tmp_path}", SHAPE)
    with pytest.raises(ConfigError, match=r"'train' is no part of it. Choose from: nothing"):
        open_dataset(f"davis:{tmp_path}:train", SHAPE)


def test_the_published_videos(shared_data: Path) -> None:
    root = shared_data / "davis_people"
    if not root.is_dir():
        pytest.skip("DAVIS is not among the reference data")
    clips = open_dataset(f"davis:{root}", SHAPE)
    truth = [clips.without_frames(i) for i in range(len(clips))]  # type: ignore[attr-defined]
    assert sum(len(sample.boxes) for sample in truth) == 274
    assert sum(not len(sample.boxes) for sample in truth) == 173
    index = next(i for i, sample in enumerate(truth) if sample.clip_id == "parkour/000050")
    assert clips[index].frames_rgb.std() > 10
