"""`edge data preview`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.preview import chosen_frames, contact_sheet, tiles
from edge.data.samples import ClipSample
from runtime.options import EXIT_FAILED, EXIT_OK, EXIT_USAGE

FAST = ["--num", "2", "--size", "48", "--num-frames", "4"]


def test_a_sheet_is_written_whole_and_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet.png"
    assert main(["data", "preview", "--out", str(out), *FAST]) == EXIT_OK
    sheet = cv2.imread(str(out))
    assert sheet is not None
    assert sheet.shape[0] >= 2 * 256
    assert sheet.std() > 5
    assert list(tmp_path.iterdir()) == [out]
    told = capsys.readouterr().out
    assert "clips 0 to 1" in told
    assert str(out) in told


def test_a_video_is_written_whole_and_can_be_read(tmp_path: Path) -> None:
    out = tmp_path / "preview.mp4"
    flags = ["--data", "synthetic-train:5", "--start", "3", "--frozen"]
    assert main(["data", "preview", "--out", str(out), *FAST, *flags]) == EXIT_OK
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 2 * 8
    good, frame = capture.read()
    capture.release()
    assert good
    assert frame.shape == (480, 640, 3)
    assert list(tmp_path.iterdir()) == [out]


def test_the_same_flags_write_the_same_sheet(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("a.png", "b.png")]
    for name in names:
        assert main(["data", "preview", "--out", str(name), *FAST]) == EXIT_OK
    assert names[0].read_bytes() == names[1].read_bytes()


def test_flags_may_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "flags.json"
    config.write_text(json.dumps({"num": 1, "size": 48, "num-frames": 2, "start": 4}))
    out = tmp_path / "sheet.jpg"
    assert main(["data", "preview", "--out", str(out), "--config", str(config)]) == EXIT_OK
    assert "clips 4 to 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        pytest.param(["--out", ""], "--out is empty", id="no-name"),
        pytest.param(["--out", "sheet.gif"], "choose from: .png", id="suffix"),
        pytest.param(["--out", "sheet"], "ends in nothing", id="no-suffix"),
        pytest.param(["--out", "absent/sheet.png"], "no folder", id="no-folder"),
        pytest.param(["--out", "taken.png"], "--overwrite", id="taken"),
        pytest.param(["--out", "folder.png"], "is a folder", id="folder"),
        pytest.param(["--out", "link.png"], "is a link", id="link"),
        pytest.param(["--out", "pipe.png"], "device or a pipe", id="pipe"),
        pytest.param(["--out", "s.png", "--num", "0"], "--num is 0", id="none"),
        pytest.param(["--out", "s.png", "--columns", "0"], "--columns is 0", id="columns"),
        pytest.param(["--out", "s.png", "--start", "-1"], "--start is -1", id="start"),
        pytest.param(["--out", "s.png", "--start", "2000"], "has 2000 clips", id="behind-the-end"),
        pytest.param(["--out", "s.png", "--seed", "-1"], "--seed is -1", id="seed"),
        pytest.param(["--out", "s.png", "--size", "8"], "height 32 to 1024", id="size"),
        pytest.param(["--out", "s.png", "--fps", "nan"], "fps", id="fps"),
        pytest.param(["--out", "s.png", "--data", "synthetic"], "Did you mean", id="data"),
        pytest.param(["--out", "s.png", "--nun", "3"], "--num", id="misspelt"),
        pytest.param([], "--out", id="nothing"),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_nothing(
    flags: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "taken.png")
    os.mkfifo(tmp_path / "pipe.png")
    before = sorted(tmp_path.iterdir())
    assert main(["data", "preview", *flags]) == EXIT_USAGE
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "taken.png").read_bytes() == b"mine"


def test_overwrite_replaces(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    out.write_bytes(b"old")
    assert main(["data", "preview", "--out", str(out), "--overwrite", *FAST]) == EXIT_OK
    assert cv2.imread(str(out)) is not None


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, locked: Callable[[], AbstractContextManager[Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["data", "preview", "--out", str(tmp_path / "s.png"), *FAST]) == EXIT_OK
    with locked() as folder:
        assert main(["data", "preview", "--out", str(folder / "s.png"), *FAST]) == EXIT_FAILED
        assert str(folder) in capsys.readouterr().err
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("argv", [[], ["--help"], ["preview", "--help"]])
def test_the_verb_says_what_it_has(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["data", *argv])
    assert stop.value.code == EXIT_OK
    assert "edge data preview" in capsys.readouterr().out


def test_a_misspelt_verb_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "previw"]) == EXIT_USAGE
    assert "Did you mean 'preview'" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("columns", [1, 2, 4, 64])
def test_the_keyframe_is_always_shown(count: int, columns: int) -> None:
    chosen = chosen_frames(count, columns)
    assert count // 2 in chosen
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= min(columns, count)


def test_truth_is_drawn_on_the_keyframe_only_in_the_original_aspect() -> None:
    sample = ClipSample(
        frames_rgb=np.full((3, 32, 32, 3), 90, np.uint8),
        boxes=np.array([[0.1, 0.1, 0.4, 0.9]], np.float32),
        labels=np.array([[0, 1]], np.float32),
        inactive_persons=np.array([[0.6, 0.2, 0.9, 0.95]], np.float32),
        clip_id="grey",
        size_wh=(640, 320),
    )
    shown = tiles(sample, ("walk", "wave"), height=100)
    assert [tile.shape for tile in shown] == [(100, 200, 3)] * 3
    assert (shown[0] == 90).all()
    assert (shown[2] == 90).all()
    assert (shown[1] != 90).any()
    sheet = contact_sheet([sample] * 9, ("walk", "wave"), columns=2)
    assert sheet.shape[0] < 6 * 300
