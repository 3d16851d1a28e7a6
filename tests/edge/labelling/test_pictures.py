"""`edge label --pictures`: from photographs to the table that `stills:` reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge.labelling.pictures as pictures_module
from edge.cli import main
from edge.data.registry import open_dataset
from runtime.options import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from runtime.types import ClipSpec
from tests.edge.blob_detector import BLOB, SIDE, blob_detector

SHAPE = ClipSpec(num_frames=2, height=64, width=64, sampling_rate=2, fps=10.0)
Run = Callable[..., int]


def write_picture(path: Path, *centres: tuple[int, int]) -> None:
    image = np.full((SIDE, SIDE, 3), 10, np.uint8)
    for x, y in centres:
        image[y - BLOB // 2 : y + BLOB // 2, x - BLOB // 2 : x + BLOB // 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_picture(folder / "one.png", (12, 20))
    write_picture(folder / "more" / "two.png", (12, 20), (52, 44))
    write_picture(folder / "nobody.png")
    (folder / "text.txt").write_text("no picture")
    return folder


@pytest.fixture
def run(tmp_path: Path, source: Path) -> Run:
    detector = blob_detector(tmp_path / "d.onnx")

    def call(*more: str, out: str = "out") -> int:
        return main(["label", "--source", str(source), "--detector", str(detector), "--scales", "1",
                     "--out", str(tmp_path / out), "--quiet", "--pictures", *more])  # fmt: skip

    return call


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_photographs_become_a_table_that_trains(
    run: Run, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == EXIT_OK
    table = rows(tmp_path / "out" / "boxes.csv")
    assert table[0] == ["image", "x1", "y1", "x2", "y2", "score"]
    sure = [row for row in table[1:] if float(row[5]) >= 0.4]
    assert sorted(row[0] for row in sure) == ["more/two.png", "more/two.png", "one.png"]
    (one,) = [row for row in sure if row[0] == "one.png"]
    np.testing.assert_allclose(np.array(one[1:5], float) * SIDE, [0, 8, 24, 32], atol=0.5)
    printed = capsys.readouterr().out
    assert "boxes.csv: 3 pictures, 3 boxes of a score from 0.4" in printed
    spec = f"stills:{source}:{tmp_path / 'out' / 'boxes.csv'}"
    assert f"Train: edge train --data {spec}" in printed
    clips = open_dataset(spec, SHAPE, part="train")
    assert len(clips) == 2


def test_a_second_run_looks_at_new_pictures_only(
    run: Run, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == EXIT_OK
    before = (tmp_path / "out" / "boxes.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(pictures_module, "find_people", None)
        assert run() == EXIT_OK
    assert (tmp_path / "out" / "boxes.csv").read_bytes() == before
    write_picture(source / "a.png", (20, 20))
    assert run() == EXIT_OK
    assert rows(tmp_path / "out" / "boxes.csv")[1][0] == "a.png"
    (source / "one.png").unlink()
    assert run() == EXIT_OK
    assert "one.png" not in {row[0] for row in rows(tmp_path / "out" / "boxes.csv")}


def test_broken_pictures_are_named_and_many_end_the_run(
    run: Run, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(8):
        write_picture(source / f"good{index}.png", (20, 20))
    (source / "bad.jpg").write_bytes(b"no picture")
    assert run() == EXIT_OK
    assert "left out: bad.jpg: it cannot be read as a picture" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "labelling.json").read_text())["broken"] == ["bad.jpg"]
    (source / "worse.jpg").write_bytes(b"no picture")
    assert run() == EXIT_FAILED
    assert "2 of 13 pictures cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        pytest.param(["--present", "x=*"], "--present is about videos", id="present"),
        pytest.param(["--every-s", "0.5"], "--every-s is about videos", id="every"),
        pytest.param(["--shard", "1/2"], "--shard is about videos", id="shard"),
        pytest.param(
            ["--source", "no-such-folder"], "is no folder with pictures", id="no-pictures"
        ),
    ],
)
def test_flags_of_videos_are_refused(
    run: Run, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    assert run(*flags) == EXIT_USAGE
    assert says in capsys.readouterr().err


def test_other_flags_are_refused_by_name(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == EXIT_OK
    assert run("--no-flip") == EXIT_USAGE
    assert "--flip is False, but" in capsys.readouterr().err
    assert run("--no-flip", "--overwrite") == EXIT_OK
    (tmp_path / "out" / "boxes.csv").write_text("image\none.png\n")
    assert run("--no-flip") == EXIT_FAILED
    assert "boxes.csv is damaged" in capsys.readouterr().err
