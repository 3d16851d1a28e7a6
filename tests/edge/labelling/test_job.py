"""`edge label` from videos to a data set: what is written, resumed, reviewed and refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge.labelling.job as job_module
from edge.cli import main
from edge.data.check import check_data
from runtime.options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from tests.edge.blob_detector import BLOB, SIDE, blob_detector, constant_detector

FPS, FRAMES = 16.0, 24
Run = Callable[..., int]


def write_video(path: Path, *tracks: Callable[[int], tuple[int, int] | None]) -> None:
    """Write a second and a half in which each track is a bright square at a place, or nowhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (SIDE, SIDE))
    for index in range(FRAMES):
        image = np.full((SIDE, SIDE, 3), 10, np.uint8)
        for place in tracks:
            at = place(index)
            if at is not None:
                x, y = at
                image[y - BLOB // 2 : y + BLOB // 2, x - BLOB // 2 : x + BLOB // 2] = 255
        writer.write(image)
    writer.release()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    write_video(folder / "fight" / "a.avi", lambda i: (12, 20))
    write_video(folder / "fight" / "b.avi", lambda i: (12, 20), lambda i: (52, 44))
    write_video(folder / "calm" / "c.avi", lambda i: (12, 20) if i < 13 else None)
    write_video(folder / "calm" / "empty.avi")
    return folder


@pytest.fixture
def run(tmp_path: Path, source: Path) -> Run:
    detector = blob_detector(tmp_path / "d.onnx")

    def call(*more: str, out: str = "out", src: Path = source, model: Path = detector) -> int:
        return main(["label", "--source", str(src), "--detector", str(model), "--scales", "1",
                     "--out", str(tmp_path / out), "--quiet", *more])  # fmt: skip

    return call


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_folder_becomes_a_data_set(run: Run, tmp_path: Path, source: Path) -> None:
    assert run("--present", "fighting=fight/*", "--absent", "fighting=calm/*") == EXIT_OK
    out = tmp_path / "out"
    assert (out / "classes.txt").read_text() == "person\nfighting\n"
    table = rows(out / "annotations.csv")
    first = [row for row in table if row[:2] == ["fight/a", "0.5"]]
    assert [row[6:] for row in first] == [["1", "0"]]
    np.testing.assert_allclose(np.array(first[0][2:6], float) * 64, [0, 8, 24, 32], atol=0.7)
    assert len([row for row in table if row[:2] == ["fight/b", "0.5"]]) == 2
    times = [f"{t:g}" for t in np.arange(0, 1.4, 0.25)]
    assert [row for row in table if row[0] == "calm/empty"] == [
        ["calm/empty", t, "", "", "", "", ""] for t in times
    ]
    # Seen until 0.75 s; behind that nobody is there.
    assert [r[2] != "" for r in table if r[0] == "calm/c"] == [True] * 4 + [False] * 2
    assert rows(out / "video_labels.csv") == [
        ["calm/c", "2", "0"], ["calm/empty", "2", "0"], ["fight/a", "2", "1"], ["fight/b", "2", "1"]
    ]  # fmt: skip
    link = out / "videos" / "fight" / "a.avi"
    assert link.is_symlink()
    assert link.resolve() == (source / "fight" / "a.avi").resolve()
    told = json.loads((out / "labelling.json").read_text())
    assert told["counts"]["annotations.csv"]["tracks"] == 4
    assert told["detector"]["layout"] == "yolox"
    assert len(told["detector"]["sha256"]) == 64


def test_the_reader_of_ones_own_videos_finds_nothing_wrong(run: Run, tmp_path: Path) -> None:
    assert run("--copy") == EXIT_OK
    out = tmp_path / "out"
    assert not (out / "videos" / "fight" / "a.avi").is_symlink()
    assert not (out / "video_labels.csv").exists()
    assert all(report.good for report in check_data(str(out)))


def test_patterns_may_come_in_one_flag_or_several(run: Run, tmp_path: Path) -> None:
    assert run("--present", "x=fight/a", "--present=y=fight/*", "x=calm/c", "--val-share",
               "0") == EXIT_OK  # fmt: skip
    assert (tmp_path / "out" / "classes.txt").read_text() == "person\nx\ny\n"
    assert rows(tmp_path / "out" / "video_labels.csv") == [
        ["calm/c", "2", "1"], ["fight/a", "2", "1"], ["fight/a", "3", "1"], ["fight/b", "3", "1"]
    ]  # fmt: skip


def test_a_split_by_source(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("clip,source\na,1\nb,1\nc,2\nempty,\n")
    assert run("--groups", str(groups), "--val-share", "0.4") == EXIT_OK
    out = tmp_path / "out"
    parts = [{row[0] for row in rows(out / f"annotations_{part}.csv")} for part in ("train", "val")]
    assert parts[0] & parts[1] == set()
    assert parts[0] | parts[1] == {"fight/a", "fight/b", "calm/c", "calm/empty"}
    assert ("fight/a" in parts[0]) == ("fight/b" in parts[0])
    assert "calm/empty" in parts[0]
    assert rows(out / "groups.csv") == [
        ["calm/c", "2"], ["calm/empty", ""], ["fight/a", "1"], ["fight/b", "1"]
    ]  # fmt: skip
    assert all(report.good for report in check_data(str(out)))
    assert not (out / "annotations.csv").exists()
    printed = capsys.readouterr().out
    assert "1 videos of unknown source are for train only" in printed
    assert f"edge train --data {out}:train --val-data {out}:val" in printed
    # Back to one table: those of the split would win over it.
    assert run() == EXIT_OK
    assert not (out / "annotations_val.csv").exists()
    assert not (out / "groups.csv").exists()


def test_a_killed_run_goes_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    find = job_module.find_people

    def until(most: int) -> Callable[..., object]:
        def counted(*args: object) -> object:
            if len(calls) >= most:
                raise KeyboardInterrupt
            calls.append(1)
            return find(*args)  # type: ignore[arg-type]

        return counted

    monkeypatch.setattr(job_module, "find_people", until(17))
    assert run() == EXIT_INTERRUPTED
    tracks = tmp_path / "out" / "tracks"
    assert [p.relative_to(tracks).as_posix() for p in sorted(tracks.rglob("*.json"))] == [
        "calm/c.json"
    ]
    calls.clear()
    monkeypatch.setattr(job_module, "find_people", until(1000))
    assert run() == EXIT_OK
    assert len(calls) == 3 * 12  # the frames of the three others
    resumed = (tmp_path / "out" / "annotations.csv").read_bytes()
    assert run(out="again") == EXIT_OK
    assert (tmp_path / "again" / "annotations.csv").read_bytes() == resumed
    calls.clear()
    assert run("--keyframe-every-s", "0.5", "--min-track-s", "1.0") == EXIT_OK
    assert calls == []  # other rows and other tracks need no other boxes
    assert len([r for r in rows(tmp_path / "out" / "annotations.csv") if r[0] == "fight/a"]) == 3


def test_shares_fill_one_folder_and_a_last_run_writes_the_tables(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(out="whole") == EXIT_OK
    assert run("--shard", "2/3") == EXIT_OK
    assert "share 2 of 3: 1 of 4 videos labelled" in capsys.readouterr().out
    out = tmp_path / "out"
    tracks = out / "tracks"
    assert [p.name for p in tracks.rglob("*.json")] == ["empty.json"]
    assert not (out / "annotations.csv").exists()
    assert run("--shard", "1/3") == EXIT_OK
    assert run("--shard", "3/3") == EXIT_OK
    assert len(list(tracks.rglob("*.json"))) == 4
    monkeypatch.setattr(job_module, "find_people", None)  # no detection again
    assert run() == EXIT_OK
    for name in ("annotations.csv", "classes.txt", "tracks/fight/b.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_shares_may_run_at_once(tmp_path: Path, source: Path) -> None:
    detector = blob_detector(tmp_path / "d.onnx")
    argv = [sys.executable, "-m", "edge", "label", "--source", str(source), "--detector",
            str(detector), "--scales", "1", "--out", str(tmp_path / "out"), "--quiet"]  # fmt: skip
    shares = [subprocess.Popen([*argv, "--shard", f"{i}/4"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE) for i in (1, 2, 3, 4)]  # fmt: skip
    errors = [share.communicate()[1] for share in shares]
    assert ([share.returncode for share in shares], errors) == ([0] * 4, [b""] * 4)
    assert len(list((tmp_path / "out" / "tracks").rglob("*.json"))) == 4


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        pytest.param(["--shard", "0/3"], "--shard is '0/3', expected I/N", id="from-1"),
        pytest.param(["--shard", "4/3"], "--shard is '4/3', expected I/N", id="too-many"),
        pytest.param(["--shard", "1"], "--shard is '1', expected I/N", id="no-number"),
        pytest.param(["--shard", "1/2", "--overwrite"], "neither --overwrite", id="overwrite"),
        pytest.param(["--shard", "1/2", "--review", "r.csv"], "nor --review", id="review"),
    ],
)
def test_a_wrong_share_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    assert run(*flags) == EXIT_USAGE
    assert says in capsys.readouterr().err


def test_a_video_that_changed_is_done_again(run: Run, tmp_path: Path, source: Path) -> None:
    assert run() == EXIT_OK
    write_video(source / "calm" / "empty.avi", lambda i: (36, 36))
    assert run() == EXIT_OK
    table = rows(tmp_path / "out" / "annotations.csv")
    assert all(row[2] for row in table if row[0] == "calm/empty")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        pytest.param(["--every-s", "0.25"], "--every-s is 0.25", id="every"),
        pytest.param(["--no-flip"], "--flip is False", id="flip"),
        pytest.param(["--scales", "1", "2"], r"--scales is 1\.0 2\.0", id="scales"),
        pytest.param(["--person-class", "0"], "--person-class is 0", id="class"),
    ],
)
def test_other_flags_are_refused_by_name(
    run: Run, capsys: pytest.CaptureFixture[str], flags: list[str], named: str
) -> None:
    assert run() == EXIT_OK
    assert run(*flags) == EXIT_USAGE
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert named.replace("\\", "") in message
    assert run(*flags, "--overwrite") == EXIT_OK


def test_another_detector_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == EXIT_OK
    other = constant_detector(tmp_path / "o.onnx", np.zeros((1, 84, 6)), (1, 3, 64, 64))
    assert run(model=other) == EXIT_USAGE
    assert "--detector is a file of SHA-256" in capsys.readouterr().err


def test_a_review_drops_what_was_rejected(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == EXIT_OK
    out = tmp_path / "out"
    page = (out / "review.html").read_text()
    content = json.loads(page.split('type="application/json">')[1].split("</script>")[0])
    shown = {video["name"]: video for video in content["videos"]}
    assert [track["person"] for track in shown["fight/b"]["tracks"]] == [0, 1]
    assert all(len(track["thumbs"]) == 3 for track in shown["fight/b"]["tracks"])
    assert "http" not in page.replace("http://www.w3.org", "")
    assert content["notes"] == []
    review = tmp_path / "review.csv"
    review.write_text("video,person,keep\nfight/b,,1\nfight/b,0,0\nfight/b,1,1\ncalm/c,,0\n")
    monkeypatch.setattr(job_module, "find_people", None)  # no detection again
    assert run("--review", str(review)) == EXIT_OK
    table = rows(out / "annotations.csv")
    assert {row[7] for row in table if row[0] == "fight/b"} == {"1"}
    assert not [row for row in table if row[0] == "calm/c"]
    assert not (out / "videos" / "calm" / "c.avi").is_symlink()
    assert all(report.good for report in check_data(str(out)))
    assert "rejected: 1 tracks, 1 videos" in capsys.readouterr().out
    summary = json.loads((out / "labelling.json").read_text())
    assert summary["rejected"]["of_videos"] == {"fight/b": [0]}
    assert run("--review", str(review), "--conf", "0.5") == EXIT_USAGE
    assert "--conf is 0.5" in capsys.readouterr().err
    assert run() == EXIT_OK
    assert "review of an earlier run is not in these rows" in capsys.readouterr().out
    assert (out / "videos" / "calm" / "c.avi").is_symlink()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("fight/x,0,0\n", "no video 'fight/x'", id="no-such-video"),
        pytest.param("fight/a,7,0\n", "no person '7'", id="no-such-person"),
        pytest.param("fight/a,0\n", "expected video,person,keep", id="two-columns"),
        pytest.param("fight/a,0,no\n", "expected video,person,keep", id="no-number"),
    ],
)
def test_a_wrong_review_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, match: str
) -> None:
    assert run("--page-tracks", "0") == EXIT_OK
    (tmp_path / "review.csv").write_text(text)
    assert run("--review", str(tmp_path / "review.csv")) == EXIT_USAGE
    assert match in capsys.readouterr().err


def test_a_large_page_says_that_it_is_a_part(run: Run, tmp_path: Path) -> None:
    assert run("--page-tracks", "2") == EXIT_OK
    assert "This page shows a part: 2 of 4 tracks" in (tmp_path / "out/review.html").read_text()


def test_a_video_that_does_not_open_is_named(
    run: Run, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        write_video(source / "more" / f"{number}.avi")
    (source / "broken.mp4").write_bytes(b"no video")
    assert run() == EXIT_OK
    assert "left out: broken.mp4: " in capsys.readouterr().out
    (source / "broken2.mp4").write_bytes(b"")
    assert run() == EXIT_FAILED
    message = capsys.readouterr().err
    assert "2 of 12 videos cannot be used, more than a tenth; the first is broken.mp4" in message


def test_names_that_differ_in_the_suffix_keep_it(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "twins"
    write_video(folder / "v.avi", lambda i: (12, 20))
    write_video(folder / "v.mkv", lambda i: (12, 20))
    write_video(folder / "with, a comma.avi", lambda i: (12, 20))
    assert run(src=folder) == EXIT_OK
    names = {row[0] for row in rows(tmp_path / "out" / "annotations.csv")}
    assert names == {"v.avi", "v.mkv", "with, a comma"}
    assert all(report.good for report in check_data(str(tmp_path / "out")))


def test_folders_of_pictures(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "yard").mkdir(parents=True)
    image = np.full((SIDE, SIDE, 3), 10, np.uint8)
    image[8:32, 0:24] = 255
    for number in range(20):
        cv2.imwrite(str(folder / "yard" / f"{number:03d}.png"), image)
    assert run("--fps", "10", src=folder) == EXIT_OK
    assert (tmp_path / "out" / "fps.txt").read_text() == "10\n"
    assert rows(tmp_path / "out" / "annotations.csv")[0][:2] == ["yard", "0"]
    assert all(report.good for report in check_data(str(tmp_path / "out")))


def test_one_video(run: Run, tmp_path: Path, source: Path) -> None:
    assert run(src=source / "fight" / "b.avi") == EXIT_OK
    assert {row[0] for row in rows(tmp_path / "out" / "annotations.csv")} == {"b"}


@pytest.mark.parametrize(
    ("flags", "code", "match"),
    [
        pytest.param(["--source", "none"], EXIT_USAGE, "--source none is not there", id="source"),
        pytest.param(["--detector", "none.onnx"], EXIT_FAILED, "no detector at none.onnx",
                     id="detector"),
        pytest.param(["--present", "x=nothing/*"], EXIT_USAGE, "matches no video", id="pattern"),
        pytest.param(["--groups", "none.csv"], EXIT_USAGE, "--groups none.csv cannot be read",
                     id="groups"),
        pytest.param(["--low-conf", "0.9"], EXIT_USAGE, "--low-conf 0.9 is above", id="conf"),
        pytest.param(["--scales", "0.5"], EXIT_USAGE, "--scales 0.5", id="scales"),
        pytest.param(["--every-s", "0"], EXIT_USAGE, "--every-s is 0", id="every"),
        pytest.param(["--every-s", "nan"], EXIT_USAGE, "--every-s is nan", id="nan"),
        pytest.param(["--review", "r.csv"], EXIT_USAGE, "no finished labels yet", id="review"),
        pytest.param(["--val-share", "0.99"], EXIT_USAGE, "--val-share is 0.99", id="share"),
    ],
)  # fmt: skip
def test_wrong_flags(
    run: Run, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, match: str
) -> None:
    assert run(*flags) == code
    message = capsys.readouterr().err
    assert match in message
    assert message.count("\n") == 1


def test_source_and_result_lie_apart(
    run: Run, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(out="source/labels") == EXIT_USAGE
    assert "lies in --source" in capsys.readouterr().err
    assert run(out="source") == EXIT_USAGE
    assert run(out=".") == EXIT_USAGE
    assert "lies in --out" in capsys.readouterr().err
    (tmp_path / "link").symlink_to(source)
    assert run(out="link/labels") == EXIT_USAGE


def test_a_folder_with_other_things_is_left_alone(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert run("--overwrite") == EXIT_USAGE
    assert "is not empty and holds no labelling.json" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_a_damaged_file_of_a_finished_video_is_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == EXIT_OK
    (tmp_path / "out" / "tracks" / "fight" / "a.json").write_text('{"format": 1')
    assert run() == EXIT_FAILED
    assert "fight/a.json is damaged" in capsys.readouterr().err


def test_a_missing_extra_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run() == EXIT_FAILED
    assert "needs onnxruntime, which is not installed: pip install '.[label]'" in (
        capsys.readouterr().err
    )


def test_files_that_are_no_links_stay(
    run: Run, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == EXIT_OK
    videos = tmp_path / "out" / "videos"
    (videos / "mine.avi").write_bytes(b"mine")
    (source / "calm" / "c.avi").unlink()
    assert run("--copy") == EXIT_OK
    assert not (videos / "calm" / "c.avi").is_symlink()
    assert (videos / "mine.avi").read_bytes() == b"mine"
    copied = videos / "fight" / "a.avi"
    assert copied.read_bytes() == (source / "fight" / "a.avi").read_bytes()
    assert run() == EXIT_OK
    assert not copied.is_symlink()  # the copy will do
    copied.write_bytes(b"another film")
    assert run() == EXIT_USAGE
    assert "is no copy of" in capsys.readouterr().err
    assert copied.read_bytes() == b"another film"


def test_a_page_survives_any_name(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "names"
    write_video(folder / "</script><b>.avi".replace("/", "_"), lambda i: (12, 20))
    assert run(src=folder) == EXIT_OK
    page = (tmp_path / "out" / "review.html").read_text()
    assert page.count("</script>") == 2
    assert "\\u003c_script>\\u003cb>" in page


def test_rows_are_the_same_whichever_run_wrote_them(run: Run, tmp_path: Path, source: Path) -> None:
    # Places between cells, so that boxes are no whole numbers; in a mirror, other ones.
    write_video(source / "fight" / "a.avi", lambda i: (13 + i, 21))
    assert run("--low-conf", "0.01", "--conf", "0.05", "--keep-conf", "0") == EXIT_OK
    first = (tmp_path / "out" / "annotations.csv").read_bytes()
    assert run("--low-conf", "0.01", "--conf", "0.05", "--keep-conf", "0") == EXIT_OK
    assert (tmp_path / "out" / "annotations.csv").read_bytes() == first
    assert run("--smooth-s", "0") == EXIT_OK
    assert run("--smooth-s", "0", out="fresh") == EXIT_OK
    fresh = (tmp_path / "fresh" / "annotations.csv").read_bytes()
    assert (tmp_path / "out" / "annotations.csv").read_bytes() == fresh


def test_what_a_data_set_would_not_take_is_refused_at_once(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "film.xyz").write_bytes(b"0" * 100)
    assert run(src=tmp_path / "film.xyz") == 2
    assert "film.xyz is named .xyz, and a data set knows its videos by" in capsys.readouterr().err
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "0001.jpg").write_bytes(b"0")
    assert run(src=pictures) == 2
    assert "may be one video: name the folder above it" in capsys.readouterr().err
    (pictures / "0001.jpg").rename(pictures / "notes.txt")
    assert run(src=pictures) == 2
    assert "notes.txt: no suffix of a video, such as .mp4" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
