"""`edge demo`: on the drawn clip, on a video of yours, and on what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli import main
from edge.cli.demo import count_lines
from edge.data.demo_clip import write_demo_clip

pytest.importorskip("runtime._native", reason="the native runtime is not built here")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "my film.mp4"
    write_demo_clip(path, seconds=2.0)
    return path


def test_a_video_of_yours_is_annotated_and_counted(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "demo"
    assert main(["demo", "--video", str(film), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"annotated.mp4", "results.jsonl"}
    results = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    assert len(results) > 3
    people = sum(len(result["detections"]) for result in results)
    assert f"{people} detections of people who act in {len(results)} keyframes" in printed
    assert f"annotated video: {out / 'annotated.mp4'}" in printed
    assert "truth of this clip" not in printed
    assert film.is_file()
    assert main(["demo", "--video", str(film), "--out", str(out)]) == 0, "it may be run again"


def test_actions_are_counted_the_most_frequent_first() -> None:
    walk, both, none = {"walk": 0.9}, {"walk": 0.8, "wave": 0.6}, {}
    results = [
        {"detections": [{"actions": walk}, {"actions": both}]},
        {"detections": [{"actions": none}]},
        {"detections": []},
        {"detections": [{"actions": walk}]},
    ]
    assert count_lines(results) == [
        "4 detections of people who act in 4 keyframes",
        "  walk                  3  in 2 keyframes",
        "  wave                  1  in 1 keyframes",
        "  no action named       1",
    ]
    assert count_lines([{"detections": []}]) == ["0 detections of people who act in 1 keyframes"]


@pytest.mark.parametrize(
    ("video", "content", "code", "sentence"),
    [
        pytest.param("absent.mp4", None, 2, "absent.mp4: no such file", id="missing"),
        pytest.param(".", None, 2, "no such file", id="a folder"),
        pytest.param("x" * 300, None, 2, "no such file", id="a name too long"),
        pytest.param("rtsp://host/main", None, 2, "edge run --source", id="a stream"),
        pytest.param("empty.mp4", b"", 1, "the file is empty", id="empty"),
        pytest.param("text.mp4", b"hello\n" * 99, 1, "it holds text, not a video", id="text"),
        pytest.param("cut.mp4", b"cut", 1, "cut off before its index", id="cut"),
    ],
)
def test_what_is_no_video_is_one_sentence(
    video: str, content: bytes | None, code: int, sentence: str, film: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / video
    if content is not None:
        path.write_bytes(film.read_bytes()[:20_000] if content == b"cut" else content)
    given = video if "://" in video else str(path)
    out = tmp_path / "out"
    assert main(["demo", "--video", given, "--out", str(out)]) == code
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert sentence in error[-1]
    assert "Traceback" not in "".join(error)
    assert not list(out.glob("*")), "nothing half is left"


@pytest.mark.parametrize("flag", ["--seconds", "--seed"])
def test_flags_of_the_drawn_clip_do_not_go_with_a_video(
    flag: str, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--video", str(film), flag, "3"]) == 2
    assert f"{flag} is about the drawn clip" in capsys.readouterr().err
