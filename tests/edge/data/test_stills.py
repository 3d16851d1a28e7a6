"""Photographs as clips: the table, the camera that moves, and boxes where the people are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.augment import AugmentConfig, Augmented
from edge.data.dataset import ClipDataset
from edge.data.registry import open_dataset, split_mix
from edge.data.specs import parse_real
from edge.data.still_motion import CameraMotion, draw_windows, seen_shares, show, through
from edge.training.config import TrainOptions
from edge.training.data import open_training
from runtime.errors import CaptureError, ConfigError
from runtime.options import EXIT_FAILED, EXIT_OK
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=5, height=96, width=120, sampling_rate=4, fps=30.0)
# A bright rectangle is somebody: name, corners in px of a picture of 180x120, score.
PEOPLE = (
    ("one.png", (60, 30, 100, 90), "0.9"),
    ("two/a.png", (20, 20, 60, 100), ""),
    ("two/b.png", (80, 40, 120, 80), "0.41"),
)
WH = np.array([180, 120] * 2)


def draw(path: Path, corners: tuple[int, int, int, int]) -> None:
    picture = np.full((120, 180, 3), 40, np.uint8)
    x1, y1, x2, y2 = corners
    picture[y1:y2, x1:x2] = (60, 160, 250)  # as OpenCV writes: blue, green, red
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def row(name: str, corners: tuple[int, int, int, int], score: str) -> str:
    return ",".join([name, *(f"{v:.5f}" for v in np.array(corners) / WH), score])


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, corners, _ in PEOPLE:
        draw(root / name, corners)
    rows = ["image,x1,y1,x2,y2,score", *(row(*one) for one in PEOPLE)]
    (root / "boxes.csv").write_text("\n".join(rows) + "\n")
    return root


def found(frame: np.ndarray) -> np.ndarray:
    """Return the bright rectangle in shares of a frame; half a shade is half a pixel."""
    mask = (frame[..., 0].astype(float) - 40) / 210
    height, width = mask.shape
    columns, rows = mask.max(axis=0), mask.max(axis=1)
    left, top = np.argmax(columns > 0.5), np.argmax(rows > 0.5)
    return np.array([left / width, top / height,
                     (left + columns.sum()) / width, (top + rows.sum()) / height])  # fmt: skip


def test_the_box_is_where_the_person_is_and_the_camera_moves(stills: Path) -> None:
    clips = open_dataset(f"stills:{stills}", SHAPE)
    assert clips.class_names == ("person",)
    assert len(clips) == 3
    moving = 0
    for index in range(3 * 8):
        sample = clips.clip(index % 3, index // 3)
        assert sample.labels.tolist() == [[1.0]]
        assert (
            np.abs(found(sample.frames_rgb[SHAPE.keyframe_index]) - sample.boxes[0]).max()
            < 2.5 / 96
        )
        moving += not np.array_equal(sample.frames_rgb[0], sample.frames_rgb[-1])
    assert 8 < moving < 24  # some stand on a tripod


def test_each_pass_moves_differently_and_the_same_pass_the_same(stills: Path) -> None:
    clips, again = (open_dataset(f"stills:{stills}", SHAPE, seed=5) for _ in range(2))
    other = open_dataset(f"stills:{stills}", SHAPE, seed=6)
    first, second = clips[1], clips.clip(1, 1)
    assert [first.clip_id, second.clip_id] == ["two/a.png", "two/a.png@1"]
    assert not np.array_equal(first.frames_rgb, second.frames_rgb)
    assert np.array_equal(second.frames_rgb, again.clip(1, 1).frames_rgb)
    assert np.array_equal(second.boxes, again.clip(1, 1).boxes)
    assert not np.array_equal(first.frames_rgb, other[1].frames_rgb)


def test_the_motion_goes_on_behind_what_stands_in_front(stills: Path) -> None:
    train = open_dataset(f"stills:{stills}", SHAPE, part="train")  # with the next where broken
    changed = Augmented(train, AugmentConfig.none(), seed=1)
    plain = open_dataset(f"stills:{stills}", SHAPE)
    for which in ((0, 0), (1, 1), (2, 2)):
        sample = plain.clip(*which)
        assert np.array_equal(train.clip(*which).frames_rgb, sample.frames_rgb)
        assert np.array_equal(changed.clip(*which).frames_rgb, sample.frames_rgb)
        assert changed.clip(*which).clip_id == sample.clip_id


def test_a_mosaic_shows_the_pictures_of_its_pass(stills: Path) -> None:
    changed = Augmented(open_dataset(f"stills:{stills}", SHAPE), AugmentConfig(mosaic=1.0))
    assert all(part.endswith("@2") for part in changed.clip(0, 2).clip_id.split("+"))


def test_a_cache_does_not_stop_the_camera(stills: Path, tmp_path: Path) -> None:
    options = TrainOptions.of(data=f"stills:{stills}", cache=str(tmp_path / "cache"), augment="off")
    clips = open_training(options, SHAPE)
    assert not (tmp_path / "cache").exists()
    assert not np.array_equal(clips[0].frames_rgb, clips.clip(0, 1).frames_rgb)


def test_a_picture_that_cannot_be_read_is_skipped_while_learning(stills: Path) -> None:
    (stills / "two" / "a.png").write_bytes(b"no picture")
    with pytest.raises(CaptureError, match="cannot be read as an image"):
        open_dataset(f"stills:{stills}", SHAPE).clip(1, 1)
    train = open_dataset(f"stills:{stills}", SHAPE, part="train")
    assert train.clip(1, 1).clip_id == "two/b.png@1"


def write(stills: Path, *rows: str) -> ClipDataset:
    (stills / "boxes.csv").write_text("\n".join(rows) + "\n")
    return open_dataset(f"stills:{stills}", SHAPE)


@pytest.mark.parametrize(
    ("more", "clips"),
    [
        pytest.param([(1, 1, 20, 40, "0.95")], 2, id="somebody else"),
        pytest.param([(1, 1, 20, 40, "0.2")], 1, id="perhaps somebody else"),
        pytest.param([(1, 1, 20, 40, "0.1")], 2, id="a shadow"),
        pytest.param([(62, 30, 98, 60, "0.3")], 2, id="the same person, half of them"),
    ],
)
def test_who_may_be_a_person_costs_the_picture(
    stills: Path, more: list[tuple[int, int, int, int, str]], clips: int
) -> None:
    rows = [row("one.png", c[:4], c[4]) for c in more]
    data = write(stills, *(row(*one) for one in PEOPLE[:2]), *rows)
    assert len(data) == clips


def test_nobody_who_is_sure_costs_the_picture(stills: Path) -> None:
    data = write(stills, row(*PEOPLE[0]), row("two/a.png", PEOPLE[1][1], "0.39"))
    assert [data[i].clip_id for i in range(len(data))] == ["one.png"]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        pytest.param("one.png,0.1,0.1,0.5", "4 columns; expected image,x1", id="columns"),
        pytest.param("one.png,10,10,50,50,0.9", "pixels are to be divided", id="pixels"),
        pytest.param("one.png,0.5,0.1,0.4,0.9,0.9", "expected x1 below x2", id="turned"),
        pytest.param("one.png,0.1,0.1,0.4,0.9,9", "score '9'; expected a number", id="score"),
        pytest.param("../one.png,0.1,0.1,0.4,0.9", "a picture below the folder", id="outside"),
    ],
)
def test_a_wrong_row_is_one_sentence(
    stills: Path, line: str, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=match):
        write(stills, row(*PEOPLE[1]), line)
    assert main(["data", "check", f"stills:{stills}"]) == EXIT_FAILED
    assert match.split(";")[0] in capsys.readouterr().out


def test_check_and_preview_know_pictures(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", f"stills:{stills}", "--decode"]) == EXIT_OK
    assert "| person | 3" in capsys.readouterr().out
    sheet = tmp_path / "sheet.png"
    words = ["data", "preview", "--data", f"stills:{stills}", "--size", "48", "--out", str(sheet)]
    assert main(words) == EXIT_OK
    assert cv2.imread(str(sheet)) is not None
    (stills / "one.png").write_bytes(b"no picture")
    assert main(["data", "check", f"stills:{stills}", "--decode"]) == EXIT_FAILED
    assert "one.png cannot be read as an image" in capsys.readouterr().out


def test_the_table_may_lie_elsewhere(stills: Path, tmp_path: Path) -> None:
    table = tmp_path / "a+b:c.csv"
    (stills / "boxes.csv").rename(table)
    with pytest.raises(ConfigError, match=r"boxes\.csv is no file"):
        open_dataset(f"stills:{stills}", SHAPE)
    assert len(open_dataset(f"stills:{stills}:{table}", SHAPE)) == 3
    assert split_mix(f"x+stills:{stills}:{table}*3") == [("x", 1), (f"stills:{stills}:{table}", 3)]
    real = parse_real(f"stills:{stills}:{table}")
    assert real is not None
    assert (real.root, real.beside) == (stills, table)
    with pytest.raises(ConfigError, match="expected a table of boxes"):
        open_dataset(f"stills:{stills}:absent.csv", SHAPE)


@pytest.mark.parametrize("seed", range(20))
def test_a_window_sees_somebody_and_cuts_nobody_by_much(seed: int) -> None:
    boxes = np.array([[0.1, 0.2, 0.3, 0.9], [0.6, 0.1, 0.9, 0.95]], np.float32)
    motion, times = CameraMotion(resting=0.0), np.linspace(-0.5, 0.5, 5)
    windows = draw_windows(boxes, times, 2, motion, np.random.default_rng(seed))
    shares = seen_shares(boxes, windows[2])
    assert (shares >= motion.keep).any()
    assert ((shares >= motion.keep) | (shares == 0)).all()
    assert np.abs(np.diff(windows[:, :2], axis=0)).max() > 0
    assert np.abs(np.diff(windows[:, 2:], axis=0)).max() < 0.2


def test_a_window_maps_pixels_as_it_maps_boxes() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[50:150, 90:180] = 250
    boxes = np.array([[0.3, 0.25, 0.6, 0.75]], np.float32)
    for window in ([0.0, 0.0, 1.0, 1.0], [0.2, 0.1, 0.5, 0.8], [-0.2, -0.1, 1.4, 1.3]):
        frame = show(picture, np.array([window]), boxes, 100, 150)[0]
        bright = np.argwhere(frame[..., 0] > 125)
        (top, left), (bottom, right) = bright.min(axis=0), bright.max(axis=0) + 1
        seen = np.array([left / 150, top / 100, right / 150, bottom / 100])
        assert np.abs(seen - through(boxes, np.array(window))[0]).max() <= 1 / 100
    at_edge = show(picture, np.array([window]), np.array([[0, 0, 0.5, 1]], np.float32), 100, 150)
    assert at_edge[0, 0, 0].tolist() == [115, 115, 115]  # nobody is drawn long


def test_a_row_without_a_box_says_that_nobody_is_there(stills: Path) -> None:
    draw(stills / "dog.png", (0, 0, 1, 1))
    with (stills / "boxes.csv").open("a") as table:
        table.write("dog.png,,,,\n")
    clips = open_dataset(f"stills:{stills}", SHAPE)
    assert len(clips) == 4
    (index,) = (i for i in range(4) if clips.clip(i).clip_id == "dog.png")
    assert clips.clip(index).boxes.shape == (0, 4)
    assert clips.clip(index).labels.shape == (0, 1)
    assert clips.clip(index).frames_rgb.shape == (5, 96, 120, 3)


@pytest.mark.parametrize("first", [True, False])
def test_nobody_and_somebody_in_one_picture_is_a_fault(stills: Path, first: bool) -> None:
    rows = (stills / "boxes.csv").read_text().splitlines()
    rows.insert(1 if first else len(rows), "one.png,,,,")
    (stills / "boxes.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(ConfigError, match=r"nobody.*expected one of the two"):
        open_dataset(f"stills:{stills}", SHAPE)
